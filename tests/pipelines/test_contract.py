"""Every pipeline folder inherits the contract."""

from __future__ import annotations

import pytest

from ai4diag.pipelines.check import check
from ai4diag.pipelines.workspace import Workspace
from tests.conftest import ROOT

HERE = Workspace(ROOT)


@pytest.mark.parametrize("name", sorted(HERE.table | HERE.waiting))
def test_contract(name, mirror):
    failed = [f"{item.name}: {item.detail}" for item in check(HERE.pipeline(name), mirror=mirror) if not item.passed]
    assert failed == []


def test_params_lists_every_folder():
    folders = {path.parent.name for path in (ROOT / "pipelines").glob("*/pipeline.yaml")}
    assert folders == set(HERE.table) | set(HERE.waiting)
