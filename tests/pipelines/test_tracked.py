"""Which MLflow run the results of a pipeline are said to be in."""

from __future__ import annotations

import dataclasses

import pytest

from ai4diag.pipelines import stages, tracked
from ai4diag.pipelines.workspace import Workspace
from ai4diag.tracking.query import list_runs, show_run
from ai4diag.training.loop import fit


def quiet(name, fields):
    """An observer that looks away."""


def train(pipeline):
    with tracked.training(pipeline) as tracker:
        stages.train(pipeline, notify=quiet, tracker=tracker)
    return tracker.run_id


def evaluate(pipeline):
    with tracked.evaluation(pipeline) as tracker:
        stages.evaluate(pipeline, tracker=tracker)
    return tracker.run_id


def small(root):
    """A pipeline of seconds in a workspace."""
    changes = ["train.epochs=3", "evaluate.interval.resamples=100"]
    return dataclasses.replace(Workspace(root).pipeline("breast-mass", overrides=changes), variant="")


@pytest.fixture
def pipeline(make_workspace, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = small(make_workspace("breast-mass"))
    stages.prepare(made, notify=quiet)
    return made


def test_one_run_holds_training_and_estimates_and_names_the_machine(pipeline):
    assert tracked.run_id(pipeline) == ""
    begun = train(pipeline)
    assert evaluate(pipeline) == begun == tracked.run_id(pipeline)
    found = show_run(pipeline.workspace.root, begun)
    assert found.status == "FINISHED"
    assert found.headline is not None
    assert found.tags["gpu"] != "torch not loaded"
    assert "continued.gpu" not in found.tags

    plan = pipeline.recipe.evaluate.model_copy(update={"minimum_n": 3})
    other = dataclasses.replace(pipeline, recipe=pipeline.recipe.model_copy(update={"evaluate": plan}))
    assert evaluate(other) != begun
    assert len(list_runs(pipeline.workspace.root)) == 2


def test_a_killed_training_leaves_the_run_of_what_is_there_and_is_continued(pipeline, monkeypatch):
    monkeypatch.setitem(fit.__kwdefaults__, "checkpoint_seconds", 0.0)
    done = train(pipeline)

    def killer(name, fields):
        if name == "epoch" and fields["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), tracked.training(pipeline) as tracker:
        stages.train(pipeline, notify=killer, tracker=tracker)
    assert tracked.run_id(pipeline) == done
    runs = list_runs(pipeline.workspace.root)
    assert {run.run_id: run.status for run in runs} == {done: "FINISHED", tracker.run_id: "KILLED"}

    assert train(pipeline) == tracker.run_id == tracked.run_id(pipeline)
    assert {run.status for run in list_runs(pipeline.workspace.root)} == {"FINISHED"}


def test_without_a_store_no_run_of_another_training_is_named(pipeline, monkeypatch):
    begun = train(pipeline)
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
        assert evaluate(pipeline) == ""
        assert tracked.run_id(pipeline) == begun  # the training is still in it
        assert train(pipeline) == ""
        assert tracked.run_id(pipeline) == ""


@pytest.mark.parametrize("content", ["", "{", "3", "[]", '{"a": 1}'])
def test_a_damaged_record_names_no_run(pipeline, content):
    (pipeline.out / "run.json").write_text(content)
    assert tracked.run_id(pipeline) == ""
