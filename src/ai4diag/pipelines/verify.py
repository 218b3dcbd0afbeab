"""Reproduce a pipeline and say whether the committed numbers hold."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from dataclasses import dataclass

from ai4diag.errors import DataError
from ai4diag.evaluation.compare import compare_estimates
from ai4diag.pipelines import stages
from ai4diag.pipelines.workspace import Pipeline
from ai4diag.tasks.base import Notify
from ai4diag.types import Estimate


@dataclass(frozen=True)
class Verdict:
    """What a reproduction showed.

    Attributes:
        pipeline: its name.
        compared: number of committed estimates.
        identical: estimates that agree to the last bit.
        tolerance: largest absolute difference that was accepted.
        differences: what lies outside it, in words; empty when the numbers hold.
    """

    pipeline: str
    compared: int
    identical: int
    tolerance: float
    differences: tuple[str, ...]


def verify(pipeline: Pipeline, *, rerun: bool, mirror: str | None, notify: Notify) -> Verdict:
    """Compare estimates with those committed at HEAD.

    Args:
        pipeline: what to verify.
        rerun: run prepare, train and evaluate again, in a folder of their own; else take what is in `out/`.
        mirror: offline mirror of the data sets.
        notify: told of the progress.

    Raises:
        DataError: no estimates are committed.
    """
    committed = committed_estimates(pipeline)
    found = _reproduce(pipeline, mirror, notify) if rerun else stages.read_estimates(pipeline.out / "estimates.json")
    tolerance = pipeline.recipe.evaluate.tolerance
    again = {(item.name, item.part, item.subgroup): item.as_dict() for item in found}
    same = sum(str(again.get((item.name, item.part, item.subgroup))) == str(item.as_dict()) for item in committed)
    differences = tuple(str(item) for item in compare_estimates(committed, found, tolerance))
    return Verdict(pipeline.name, len(committed), same, tolerance, differences)


def committed_estimates(pipeline: Pipeline) -> list[Estimate]:
    """Return the estimates of the pipeline at git's HEAD.

    Raises:
        DataError: there are none.
    """
    name = f"HEAD:./pipelines/{pipeline.name}/out/estimates.json"
    shown = subprocess.run(  # noqa: S603 - fixed words, no shell
        ["git", "show", name],  # noqa: S607 - git is looked up on PATH
        cwd=pipeline.workspace.root,
        capture_output=True,
        text=True,
        check=False,
    )
    if shown.returncode:
        raise DataError(
            f"git has no {name}.", f"Run `ai4diag run {pipeline.name}` and commit its estimates.json first."
        )
    return stages.parse_estimates(shown.stdout, f"git's {name}")


def _reproduce(pipeline: Pipeline, mirror: str | None, notify: Notify) -> list[Estimate]:
    from ai4diag.tracking.run import NoTracker

    trial = dataclasses.replace(pipeline, variant="verify")
    with trial.alone():
        shutil.rmtree(trial.out, ignore_errors=True)
        try:
            stages.prepare(trial, mirror=mirror, notify=notify)
            stages.train(trial, notify=notify, tracker=NoTracker())
            stages.evaluate(trial, tracker=NoTracker())
            return stages.read_estimates(trial.out / "estimates.json")
        finally:
            shutil.rmtree(trial.out, ignore_errors=True)
