"""Signals over time: beats, windows or whole records of some classes; a residual network along time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai4diag.config.timeseries import ResNet1d, TimeseriesRecipe
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

HOOKS = ("preprocess",)
"""Functions of `pipeline.py` that this task calls."""


class Timeseries:
    """Signals whose beats, windows or records are of some classes."""

    name = "timeseries"

    def prepare(
        self, raw: Path, card: Card, recipe: TimeseriesRecipe, folder: Path, hooks: Mapping[str, Callable[..., Any]]
    ) -> None:
        """Read and validate the raw files, cut, split, scan for leaks, and write prepared cases to `folder`.

        Raises:
            ConfigError: a hook is unknown, or the windows do not suit the card.
            DataError: the data are missing, damaged, leaking, or not what the card says.
        """
        from ai4diag.data.prepare_signals import prepare_signals

        check_hooks(self.name, HOOKS, hooks)
        prepare_signals(raw, card, recipe, folder, preprocess=hooks.get("preprocess"))

    def truth(self, prepared: Prepared, rows: npt.NDArray[np.int64]) -> pd.DataFrame:
        """Return `truth`, a class number, or `truth_<class>` for each class, one line per row."""
        names = [f"truth_{name}" for name in prepared.classes] if prepared.target == "multilabel" else ["truth"]
        return prepared.index[names].iloc[rows].reset_index(drop=True)

    def learner(self, prepared: Prepared, recipe: Recipe, hooks: Mapping[str, Callable[..., Any]]) -> Learner:
        """Build the untrained learner that the recipe names, with weights from `recipe.train.seed`.

        Raises:
            ConfigError: the recipe is of another task, or a hook or augmentation is unknown.
        """
        from ai4diag.tasks.timeseries.learner import build

        check_hooks(self.name, HOOKS, hooks)
        if not isinstance(recipe, TimeseriesRecipe):
            raise ConfigError(f"The recipe is of task '{recipe.task}'; expected 'timeseries'.")
        names = recipe.train.augment
        if not isinstance(names, tuple):
            raise ConfigError("train.augment: signals take names, not amounts.", "For example: [scale, noise]")
        return build(recipe.model, prepared, names, recipe.train.seed)

    def load(self, folder: Path) -> Learner:
        """Read what a learner's `save` wrote.

        Raises:
            DataError: a file is missing, differs from its hash, or does not fit what `model.json` describes.
        """
        from ai4diag.tasks.stored import read_model
        from ai4diag.tasks.timeseries.learner import read_learner

        facts, weights = read_model(folder, self.name)
        return read_learner(ResNet1d.model_validate(facts["model"]), facts, weights)

    def gather(self, inputs: Sequence[Path], learner: Learner, folder: Path) -> Prepared:
        """Read new WFDB records and cut them as the learner's were; see `ai4diag.tasks.timeseries.answers`.

        Raises:
            DataError: a record cannot be read, or has other channels or another unit.
        """
        from ai4diag.tasks.timeseries.answers import gather

        return gather(inputs, learner, folder)

    def deliver(self, table: pd.DataFrame, prepared: Prepared, folder: Path) -> list[Path]:
        """Write `predictions.csv`: record, time and score of each case; return its path."""
        from ai4diag.tasks.timeseries.answers import deliver

        return deliver(table, prepared, folder)
