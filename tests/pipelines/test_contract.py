"""Every pipeline folder inherits the contract."""

from __future__ import annotations

import pytest

from ai4diag.pipelines.check import check
from ai4diag.pipelines.workspace import Workspace
from tests.conftest import ROOT

HERE = Workspace(ROOT)


def pipelines():
    """Return every pipeline; those that train a network on images or signals take some ten seconds each."""
    for name, line in sorted((HERE.table | HERE.waiting).items()):
        yield pytest.param(name, marks=[] if line["task"] == "tabular" else pytest.mark.slow)


@pytest.mark.parametrize("name", list(pipelines()))
def test_contract(name, mirror):
    failed = [f"{item.name}: {item.detail}" for item in check(HERE.pipeline(name), mirror=mirror) if not item.passed]
    assert failed == []


def test_params_lists_every_folder():
    folders = {path.parent.name for path in (ROOT / "pipelines").glob("*/pipeline.yaml")}
    assert folders == set(HERE.table) | set(HERE.waiting)
