"""The MLflow run of a pipeline: begun by `train`, continued by `evaluate`, its id kept in `out/run.json`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ai4diag.errors import DataError
from ai4diag.files import read_json, sha256_file, write_json
from ai4diag.pipelines.stages import stage_file
from ai4diag.pipelines.workspace import Pipeline
from ai4diag.tracking import NoTracker, Tracker, track

RECORD = "run.json"


@contextmanager
def training(pipeline: Pipeline) -> Iterator[Tracker | NoTracker]:
    """Record a training; one that was killed is continued in the run in which it began.

    Until it is done its id stands beside the checkpoints, because `out/` still holds what another run made.
    """
    import torch  # noqa: F401 - training needs it anyway, and only when it is loaded the run can name the GPU

    checkpoints = pipeline.out / "checkpoint"
    interrupted = any(checkpoints.glob("*.safetensors"))
    with _track(pipeline, _read(checkpoints) if interrupted else "") as tracker:
        _write(checkpoints, tracker)
        yield tracker
    _write(pipeline.out, tracker)


@contextmanager
def evaluation(pipeline: Pipeline) -> Iterator[Tracker | NoTracker]:
    """Record estimates in the run of the training; under another plan they are a run of their own."""
    with _track(pipeline, run_id(pipeline)) as tracker:
        yield tracker
    if tracker.run_id:
        _write(pipeline.out, tracker)


def run_id(pipeline: Pipeline) -> str:
    """Return the id of the run that recorded what is in `out/`; empty when there is none, or its file is damaged."""
    return _read(pipeline.out)


def _track(pipeline: Pipeline, continued: str) -> Tracker | NoTracker:
    recipe = pipeline.recipe
    return track(
        pipeline.workspace.root,
        pipeline.name,
        recipe=recipe.model_dump(mode="json", exclude={"quick"}),
        data_sha256=sha256_file(stage_file(pipeline, "prepared/prepared.json", "prepare")),
        seed=recipe.train.seed,
        primary=recipe.evaluate.primary,
        variant=pipeline.variant or "full",
        run_id=continued,
    )


def _read(folder: Path) -> str:
    try:
        return str(read_json(folder / RECORD)["run_id"])
    except (DataError, KeyError, TypeError):
        return ""


def _write(folder: Path, tracker: Tracker | NoTracker) -> None:
    write_json(folder / RECORD, {"run_id": tracker.run_id})
