"""Images, or volumes of one size, each of one class, of several, or of a step on a scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import TypeAdapter

from ai4diag.config.classification import ClassificationModel, ClassificationRecipe
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
    from ai4diag.tasks.classification.learner import ClassificationLearner

HOOKS = ("preprocess",)
"""Functions of `pipeline.py` that this task calls."""


class Classification:
    """Images that are to be told apart as a whole."""

    name = "classification"

    def prepare(
        self, raw: Path, card: Card, recipe: ClassificationRecipe, folder: Path, hooks: Mapping[str, Callable[..., Any]]
    ) -> None:
        """Read and validate the raw files, split, scan for leaks, and write prepared cases to `folder`.

        Raises:
            ConfigError: a hook is unknown, or the recipe asks for a size or a split that the card does not have.
            DataError: the data are missing, damaged, leaking, or not what the card says.
        """
        from ai4diag.data.prepare_labelled import prepare_labelled

        check_hooks(self.name, HOOKS, hooks)
        prepare_labelled(raw, card, recipe, folder, preprocess=hooks.get("preprocess"))

    def truth(self, prepared: Prepared, rows: npt.NDArray[np.int64]) -> pd.DataFrame:
        """Return `truth`, the class number, or for findings `truth_<class>` of 0 and 1, one line per row."""
        from ai4diag.tasks.classification.truth import truth_columns

        return truth_columns(prepared, rows)

    def learner(self, prepared: Prepared, recipe: Recipe, hooks: Mapping[str, Callable[..., Any]]) -> Learner:
        """Build the untrained learner that the recipe names, with weights from `recipe.train.seed`.

        Raises:
            ConfigError: the recipe is of another task, a hook or change of images is unknown, or the images are too
                small for the network.
        """
        from ai4diag.tasks.augment import plan
        from ai4diag.tasks.classification.learner import ClassificationLearner

        check_hooks(self.name, HOOKS, hooks)
        if not isinstance(recipe, ClassificationRecipe):
            raise ConfigError(f"The recipe is of task '{recipe.task}'; expected 'classification'.")
        size = prepared.images.shape[2:]
        return ClassificationLearner(
            recipe.model,
            target=prepared.target,
            classes=prepared.classes,
            channels=prepared.facts["channels"],
            size=size,
            changes=plan(recipe.train.augment, len(size)),
            seed=recipe.train.seed,
            preprocessed="preprocess" in hooks,
        )

    def load(self, folder: Path) -> Learner:
        """Read what a learner's `save` wrote.

        Raises:
            DataError: a file is missing, differs from its hash, or does not fit what `model.json` describes.
        """
        from ai4diag.tasks.classification.learner import read_learner
        from ai4diag.tasks.stored import read_model

        facts, weights = read_model(folder, self.name)
        model: ClassificationModel = TypeAdapter(ClassificationModel).validate_python(facts["model"])
        return read_learner(model, facts, weights)

    def gather(self, inputs: Sequence[Path], learner: Learner, folder: Path) -> Prepared:
        """Read new pictures (PNG, JPEG, TIFF, BMP) or arrays (`.npz`) and pack them in the size of the model.

        Raises:
            DataError: a file cannot be read, or has another number of channels or sides than the model's images; or the
                model's pipeline changes images in `preprocess`, which is not a part of the model.
        """
        from ai4diag.data.gather_images import gather_images

        known = cast("ClassificationLearner", learner)
        if known.preprocessed:
            raise DataError(
                "The pipeline changes images in `preprocess` of its pipeline.py, which is no part of the model.",
                "Prepare the new files as a data set of the pipeline.",
            )
        return gather_images(inputs, folder, known.target, known.classes, known.channels, known.size)

    def deliver(self, table: pd.DataFrame, prepared: Prepared, folder: Path) -> list[Path]:
        """Write `predictions.csv`: case_id, the scores, and of several classes `answer`, the one with the largest."""
        import pandas as pd

        from ai4diag.tasks.deliver import write_csv

        found = pd.concat([prepared.index[["case_id"]].reset_index(drop=True), table], axis=1)
        if prepared.target in ("multiclass", "ordinal"):
            scores = table[[f"score_{name}" for name in prepared.classes]].to_numpy()
            found["answer"] = [prepared.classes[number] for number in scores.argmax(axis=1)]
        return [write_csv(found, folder)]
