"""The MLflow run of a pipeline: begun by `train`, continued by `evaluate`.

`out/run.json` keeps its id, and what the training was bound to (`trained`: commit, data, environment, machine).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ai4diag.errors import DataError
from ai4diag.files import read_json, sha256_file, write_json
from ai4diag.pipelines.stages import stage_file
from ai4diag.pipelines.workspace import Pipeline
from ai4diag.tracking import NoTracker, Tracker, record, track

RECORD = "run.json"


@contextmanager
def training(pipeline: Pipeline) -> Iterator[Tracker | NoTracker]:
    """Record a training; one that was killed is continued in the run in which it began.

    Until it is done its id stands beside the checkpoints, because `out/` still holds what another run made.
    """
    from ai4diag.training.ranks import world  # loads torch: training needs it, and only then can the run name the GPU

    checkpoints = pipeline.out / "checkpoint"
    interrupted = any(checkpoints.glob("*.safetensors"))
    with _track(pipeline, str(_read(checkpoints).get("run_id", "")) if interrupted else "") as tracker:
        write_json(checkpoints / RECORD, {"run_id": tracker.run_id})
        yield tracker
    bound = binding(pipeline) | {"processes": str(world())}
    write_json(pipeline.out / RECORD, {"run_id": tracker.run_id, "trained": bound})


@contextmanager
def evaluation(pipeline: Pipeline) -> Iterator[Tracker | NoTracker]:
    """Record estimates in the run of the training; under another plan they are a run of their own."""
    with _track(pipeline, run_id(pipeline)) as tracker:
        yield tracker
    if tracker.run_id:
        write_json(pipeline.out / RECORD, {"run_id": tracker.run_id, "trained": trained(pipeline)})


def run_id(pipeline: Pipeline) -> str:
    """Return the id of the run that recorded what is in `out/`; empty when there is none, or its file is damaged."""
    return str(_read(pipeline.out).get("run_id", ""))


def trained(pipeline: Pipeline) -> dict[str, str]:
    """Return what the training of what is in `out/` was bound to; empty when that is not known."""
    return dict(_read(pipeline.out).get("trained") or {})


def binding(pipeline: Pipeline) -> dict[str, str]:
    """Return what a run rests on now: commit, data, lock file, environment, seed, machine."""
    data = sha256_file(stage_file(pipeline, "prepared/prepared.json", "prepare"))
    tags = record.binding(pipeline.workspace.root, data_sha256=data, seed=pipeline.recipe.train.seed)
    return {name.removeprefix(record.PREFIX): value for name, value in tags.items()}


def _track(pipeline: Pipeline, continued: str) -> Tracker | NoTracker:
    recipe = pipeline.recipe
    return track(
        pipeline.workspace.root,
        pipeline.name,
        recipe=recipe.model_dump(mode="json", exclude={"quick"}),
        changed=recipe.model_dump(mode="json", exclude={"quick"}, exclude_defaults=True),
        data_sha256=sha256_file(stage_file(pipeline, "prepared/prepared.json", "prepare")),
        seed=recipe.train.seed,
        primary=recipe.evaluate.primary,
        variant=pipeline.variant or "full",
        run_id=continued,
    )


def _read(folder: Path) -> dict[str, Any]:
    try:
        found = read_json(folder / RECORD)
    except DataError:
        return {}
    return found if isinstance(found, dict) else {}
