"""Images and volumes with boxes around what is to be found: an anchor-free detector, and RetinaNet on MONAI's parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import TypeAdapter

from ai4diag.config.detection import DetectionModel, DetectionRecipe
from ai4diag.errors import ConfigError, DataError
from ai4diag.tasks.base import check_hooks

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from ai4diag.config.card import Card
    from ai4diag.config.recipe import Recipe
    from ai4diag.data.prepared import Prepared
    from ai4diag.tasks.base import Learner
    from ai4diag.tasks.detection.learner import DetectionLearner

HOOKS = ("preprocess",)
"""Functions of `pipeline.py` that this task calls."""


class Detection:
    """Images in which objects of some classes are to be found and boxed."""

    name = "detection"

    def prepare(
        self, raw: Path, card: Card, recipe: DetectionRecipe, folder: Path, hooks: Mapping[str, Callable[..., Any]]
    ) -> None:
        """Read and validate the raw files, split, scan for leaks, and write prepared cases to `folder`.

        Raises:
            ConfigError: a hook is unknown.
            DataError: the data are missing, damaged, leaking, or not what the card says.
        """
        from ai4diag.data.prepare_images import prepare_images
        from ai4diag.data.prepare_scans import prepare_scans

        check_hooks(self.name, HOOKS, hooks)
        prepare = prepare_scans if card.scans is not None else prepare_images
        prepare(raw, card, recipe, folder, preprocess=hooks.get("preprocess"))

    def truth(self, prepared: Prepared, rows: npt.NDArray[np.int64]) -> pd.DataFrame:
        """Return `truth_boxes` (flattened), `truth_labels` and `truth_ignore`, one line per row, in original pixels."""
        from ai4diag.tasks.detection.truth import truth_columns

        return truth_columns(prepared, rows)

    def learner(self, prepared: Prepared, recipe: Recipe, hooks: Mapping[str, Callable[..., Any]]) -> Learner:
        """Build the untrained learner that the recipe names, with weights from `recipe.train.seed`.

        Raises:
            ConfigError: the recipe is of another task, a hook or augmentation is unknown, or the window does not fit.
        """
        from ai4diag.tasks.detection.learner import DetectionLearner

        check_hooks(self.name, HOOKS, hooks)
        if not isinstance(recipe, DetectionRecipe):
            raise ConfigError(f"The recipe is of task '{recipe.task}'; expected 'detection'.")
        if isinstance(recipe.train.augment, Mapping):
            raise ConfigError("train.augment: detection takes names; how far each goes is fixed.", "Give a list.")
        return DetectionLearner(
            recipe.model,
            classes=prepared.classes,
            channels=prepared.facts["channels"],
            size=prepared.facts["image_size"],
            augment=recipe.train.augment,
            seed=recipe.train.seed,
            packing=prepared.facts.get("packing"),
            preprocessed="preprocess" in hooks,
        )

    def load(self, folder: Path) -> Learner:
        """Read what a learner's `save` wrote.

        Raises:
            DataError: a file is missing, differs from its hash, or does not fit what `model.json` describes.
        """
        from ai4diag.tasks.detection.learner import read_learner
        from ai4diag.tasks.stored import read_model

        facts, weights = read_model(folder, self.name)
        model: DetectionModel = TypeAdapter(DetectionModel).validate_python(facts["model"])
        return read_learner(model, facts, weights)

    def gather(self, inputs: Sequence[Path], learner: Learner, folder: Path) -> Prepared:
        """Read new pictures (PNG, JPEG, TIFF, BMP) or volumes (`ai4diag.data.readers`), and pack them for the model.

        Raises:
            DataError: a file cannot be read, or is not what the model learned from; or the model's pipeline changes
                images in `preprocess`, which is not a part of the model.
        """
        from ai4diag.data.gather_boxes import gather_box_images, gather_box_volumes

        known = cast("DetectionLearner", learner)
        if known.preprocessed:
            raise DataError(
                "The pipeline changes images in `preprocess` of its pipeline.py, which is no part of the model.",
                "Prepare the new files as a data set of the pipeline.",
            )
        if known.packing is None:
            return gather_box_images(inputs, folder, known.classes, known.channels, known.size)
        return gather_box_volumes(inputs, folder, known.classes, known.channels, known.packing)

    def deliver(self, table: pd.DataFrame, prepared: Prepared, folder: Path) -> list[Path]:
        """Write `predictions.csv`, one line per box, and `cases.csv`, one line per case: `gather_boxes.box_lines`."""
        from ai4diag.data.gather_boxes import box_lines
        from ai4diag.tasks.deliver import write_csv

        boxes, cases = box_lines(table, prepared)
        return [write_csv(boxes, folder), write_csv(cases, folder, "cases.csv")]
