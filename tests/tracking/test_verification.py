"""Verdicts kept with a run, newest last."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ai4diag.tracking.query import show_run
from ai4diag.tracking.store import connect, locate, quietly
from ai4diag.tracking.verification import FILE, keep_verdict
from tests.tracking.conftest import Begin

FIRST = {"verdict": "holds", "when": "2026-11-22T20:00:00+00:00", "commit": "a" * 40, "differences": []}
SECOND = FIRST | {"verdict": "does not hold", "when": "2026-11-23T20:00:00+00:00", "differences": ["auroc is missing"]}


def test_the_newest_verdict_is_in_the_tags_and_all_in_the_artifact(begin: Begin, workspace: Path) -> None:
    with begin() as run:
        pass
    for verdicts in ([FIRST], [FIRST, SECOND]):
        assert keep_verdict(workspace, run.run_id, verdicts) == "in mlruns"
    found = show_run(workspace, run.run_id)
    assert found.status == "FINISHED"
    assert (found.tags["verified"], found.tags["verified_at"]) == ("does not hold", "2026-11-23T20:00:00+00:00")
    assert found.tags["verified_commit"] == "a" * 40
    with quietly():
        client = connect(locate(workspace))
        path = client.download_artifacts(run.run_id, FILE, str(workspace))
    assert json.loads(Path(path).read_text()) == [FIRST, SECOND]


def test_a_store_or_a_run_that_is_not_there_is_said(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert keep_verdict(workspace, "f" * 32, [FIRST]).startswith("not in mlruns (")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:1")
    said = keep_verdict(workspace, "f" * 32, [FIRST])
    assert said.startswith("not in 127.0.0.1:1 (")
    assert "secret" not in said


def test_tracking_can_be_switched_off(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI4DIAG_TRACKING", "off")
    run = begin()
    assert (run.run_id, run.message) == ("", "Not tracked: AI4DIAG_TRACKING is off.")
