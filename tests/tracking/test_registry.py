"""Versions, aliases and their history in MLflow's registry."""

from __future__ import annotations

import dataclasses

import pytest

from ai4diag.errors import UsageError
from ai4diag.tracking import registry
from ai4diag.tracking.registry import Event
from ai4diag.tracking.store import connect, locate, quietly


@pytest.fixture
def runs(workspace, begin):
    """Three finished runs of one pipeline."""
    found = []
    for _ in range(3):
        with begin() as tracker:
            pass
        found.append(tracker.run_id)
    return found


def test_nothing_is_registered_before_the_first_version(workspace):
    assert registry.models(workspace) == []
    assert registry.model(workspace, "blood-cells") is None


def test_a_version_is_a_run_and_is_registered_once(workspace, runs):
    numbers = [registry.version_of(workspace, "blood-cells", run) for run in (*runs, runs[0])]
    assert numbers == ["1", "2", "3", "1"]
    found = registry.model(workspace, "blood-cells")
    assert found.versions == dict(zip("123", runs, strict=True))
    assert (found.aliases, found.events) == ({}, ())
    with quietly():
        version = connect(locate(workspace)).get_model_version("blood-cells", "2")
        run = connect(locate(workspace)).get_run(runs[1])
    assert version.source == f"{run.info.artifact_uri}/model"  # as MLflow's own client reads it


def test_decisions_set_the_alias_and_stay_written_down(workspace, runs):
    for run in runs[:2]:
        registry.version_of(workspace, "blood-cells", run)
    first = Event("promoted", "staging", "1", runs[0], "A. Person", "2026-11-22T10:00:00+00:00", "", "ab" * 32, "key")
    second = dataclasses.replace(first, version="2", run=runs[1], reason="better")
    gone = Event("demoted", "staging", "2", runs[1], "B. Person", "2026-11-22T11:00:00+00:00", "missed a case")
    for event in (first, second, gone):
        registry.decide(workspace, "blood-cells", event)
    found = registry.model(workspace, "blood-cells")
    assert found.events == (first, second, gone)
    assert found.aliases == {}
    registry.decide(workspace, "blood-cells", first)
    with quietly():
        assert connect(locate(workspace)).get_model_version_by_alias("blood-cells", "staging").run_id == runs[0]
    assert len(registry.model(workspace, "blood-cells").events) == 4


def test_a_run_that_the_store_does_not_know_is_refused(workspace, runs):
    with pytest.raises(UsageError, match=r"mlruns does not know run 00000000.*copied") as raised:
        registry.version_of(workspace, "blood-cells", "0" * 32)
    assert "damaged" not in str(raised.value)
    assert "run the pipeline here" in str(raised.value)
