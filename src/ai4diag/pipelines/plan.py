"""The plan of a segmentation pipeline, without training it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ai4diag.config.segmentation import SegmentationRecipe
from ai4diag.data.volume_plan import Fingerprint, make_plan, page
from ai4diag.errors import UsageError
from ai4diag.pipelines.stages import open_prepared
from ai4diag.pipelines.workspace import Pipeline


@dataclass(frozen=True)
class Planned:
    """What the data look like, what follows from it, and both as one readable page."""

    fingerprint: dict[str, Any]
    plan: dict[str, Any]
    page: str


def plan_of(pipeline: Pipeline) -> Planned:
    """Return the plan that training would follow now.

    Raises:
        UsageError: the pipeline is of a task that plans nothing.
        DataError: nothing is prepared yet.
        ConfigError: the recipe asks for what cannot be.
    """
    recipe = pipeline.recipe
    if not isinstance(recipe, SegmentationRecipe):
        raise UsageError(
            f"{pipeline.name} is of task {recipe.task}, which has no plan.", "Only segmentation configures itself."
        )
    fingerprint = Fingerprint.of(open_prepared(pipeline).facts["fingerprint"])
    plan = make_plan(fingerprint, recipe.model, recipe.train.batch_size)
    return Planned(asdict(fingerprint), plan.as_dict(), page(plan, fingerprint, recipe.model))
