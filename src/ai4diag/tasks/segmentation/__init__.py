"""Volumes in which every voxel gets a class: a U-Net that configures itself from the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai4diag.config.segmentation import SegmentationRecipe
from ai4diag.errors import ConfigError
from ai4diag.tasks.base import check_hooks

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from ai4diag.config.card import Card
    from ai4diag.config.recipe import Recipe
    from ai4diag.data.prepared import Prepared
    from ai4diag.tasks.base import Learner

HOOKS: tuple[str, ...] = ()
"""Functions of `pipeline.py` that this task calls."""


class Segmentation:
    """Volumes, or single layers, in which every voxel gets a class."""

    name = "segmentation"

    def prepare(
        self, raw: Path, card: Card, recipe: SegmentationRecipe, folder: Path, hooks: Mapping[str, Callable[..., Any]]
    ) -> None:
        """Read and validate the raw files, split, scan for leaks, and write prepared cases to `folder`.

        Raises:
            ConfigError: a hook is unknown.
            DataError: the data are missing, damaged, leaking, or not what the card says.
        """
        from ai4diag.data.prepare_volumes import prepare_volumes

        check_hooks(self.name, HOOKS, hooks)
        prepare_volumes(raw, card, recipe, folder)

    def truth(self, prepared: Prepared, rows: npt.NDArray[np.int64]) -> pd.DataFrame:
        """Return `truth_runs`, `shape` and `spacing_mm`, one line per row, on the grid of the file, canonical axes."""
        from ai4diag.tasks.segmentation.truth import truth_columns

        return truth_columns(prepared, rows)

    def learner(self, prepared: Prepared, recipe: Recipe, hooks: Mapping[str, Callable[..., Any]]) -> Learner:
        """Build the untrained learner that the recipe names, with weights from `recipe.train.seed`.

        Raises:
            ConfigError: the recipe is of another task, a hook or random change is unknown, or the plan cannot be.
        """
        from ai4diag.data.volume_plan import Fingerprint, make_plan
        from ai4diag.tasks.segmentation.learner import SegmentationLearner

        check_hooks(self.name, HOOKS, hooks)
        if not isinstance(recipe, SegmentationRecipe):
            raise ConfigError(f"The recipe is of task '{recipe.task}'; expected 'segmentation'.")
        plan = make_plan(Fingerprint.of(prepared.facts["fingerprint"]), recipe.model, recipe.train.batch_size)
        return SegmentationLearner(
            recipe.model,
            plan,
            prepared.classes,
            prepared.facts["numbers"],
            prepared.facts["channels"],
            recipe.data.crop,
            recipe.train.augment,
            recipe.train.seed,
        )

    def load(self, folder: Path) -> Learner:
        """Read what a learner's `save` wrote.

        Raises:
            DataError: a file is missing, differs from its hash, or does not fit what `model.json` describes.
        """
        from ai4diag.tasks.segmentation.learner import read_learner
        from ai4diag.tasks.stored import read_model

        return read_learner(*read_model(folder, self.name))

    def gather(self, inputs: Sequence[Path], learner: Learner, folder: Path) -> Prepared:
        """Read new volumes and pack them in `folder` as the learner expects them.

        Raises:
            DataError: a file cannot be read, or has other channels; it is named.
        """
        from ai4diag.data.gather_volumes import gather_volumes
        from ai4diag.tasks.segmentation.learner import SegmentationLearner

        assert isinstance(learner, SegmentationLearner)
        return gather_volumes(
            inputs,
            folder,
            classes=learner.classes,
            numbers=learner.numbers,
            channels=learner.channels,
            spacing_mm=learner.plan.spacing_mm,
            crop=learner.crop,
        )

    def deliver(self, table: pd.DataFrame, prepared: Prepared, folder: Path) -> list[Path]:
        """Write `predictions.csv` (volume of each class in ml) and a label map per case in the geometry of its file."""
        from ai4diag.data.gather_volumes import write_label_maps
        from ai4diag.tasks.deliver import write_csv

        volumes, files = write_label_maps(table["runs"], prepared, folder)
        return [write_csv(volumes, folder), *files]
