"""The MLflow run of a pipeline: begun by `train`, continued by `evaluate`, its id kept in `out/run.json`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ai4diag.errors import DataError
from ai4diag.files import read_json, sha256_file, write_json
from ai4diag.pipelines.stages import stage_file
from ai4diag.pipelines.workspace import Pipeline
from ai4diag.tracking import NoTracker, Tracker, track

RECORD = "run.json"


@contextmanager
def training(pipeline: Pipeline) -> Iterator[Tracker | NoTracker]:
    """Record a training; one that was killed is continued in the run in which it began."""
    import torch  # noqa: F401 - training needs it anyway, and only when it is loaded the run can name the GPU

    interrupted = any((pipeline.out / "checkpoint").glob("*.safetensors"))
    with _track(pipeline, continued=interrupted) as tracker:
        yield tracker


@contextmanager
def evaluation(pipeline: Pipeline) -> Iterator[Tracker | NoTracker]:
    """Record estimates in the run of the training; under another plan they are a run of their own."""
    with _track(pipeline, continued=True) as tracker:
        yield tracker


def run_id(pipeline: Pipeline) -> str:
    """Return the id of the run that recorded what is in `out/`; empty when there is none, or its file is damaged."""
    try:
        return str(read_json(pipeline.out / RECORD)["run_id"])
    except (DataError, KeyError, TypeError):
        return ""


def _track(pipeline: Pipeline, *, continued: bool) -> Tracker | NoTracker:
    recipe = pipeline.recipe
    tracker = track(
        pipeline.workspace.root,
        pipeline.name,
        recipe=recipe.model_dump(mode="json", exclude={"quick"}),
        data_sha256=sha256_file(stage_file(pipeline, "prepared/prepared.json", "prepare")),
        seed=recipe.train.seed,
        primary=recipe.evaluate.primary,
        variant=pipeline.variant or "full",
        run_id=run_id(pipeline) if continued else "",
    )
    if tracker.run_id:
        write_json(pipeline.out / RECORD, {"run_id": tracker.run_id, "experiment": pipeline.name})
    elif not continued:
        (pipeline.out / RECORD).unlink(missing_ok=True)  # it names the run of an earlier training
    return tracker
