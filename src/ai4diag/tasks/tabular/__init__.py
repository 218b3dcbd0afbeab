"""Rows of a table with two classes, or with a time to an event.

Two classes: logistic regression, multi-layer perceptron, gradient-boosted trees. Time to event: proportional hazards,
linear or with a perceptron as log risk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from ai4diag.config.tabular import TIME_TO_EVENT, Cox, CoxMlp, TabularModel, TabularRecipe
from ai4diag.errors import ConfigError, DataError
from ai4diag.tasks.base import check_hooks
from ai4diag.tasks.stored import read_model

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
LISTS = ("survival", "survival_days", "horizons_days")
"""Columns of answers that hold a list in each line."""


class Tabular:
    """Rows of a table with a binary truth, or with a time to event."""

    name = "tabular"

    def prepare(
        self, raw: Path, card: Card, recipe: TabularRecipe, folder: Path, hooks: dict[str, Callable[..., Any]]
    ) -> None:
        """Read and validate the raw files, split, scan for leaks, and write prepared cases to `folder`.

        Raises:
            ConfigError: a hook is unknown.
            DataError: the data are missing, damaged, leaking, or not what the card says.
        """
        from ai4diag.data.prepare_table import prepare_table

        check_hooks(self.name, HOOKS, hooks)
        prepare_table(raw, card, recipe, folder, preprocess=hooks.get("preprocess"))

    def truth(self, prepared: Prepared, rows: npt.NDArray[np.int64]) -> pd.DataFrame:
        """Return `truth`, 1 for the positive class and 0 for the negative, or `time_days` and `event`, per row."""
        names = ["time_days", "event"] if prepared.target == "time_to_event" else ["truth"]
        return prepared.index[names].iloc[rows].reset_index(drop=True)

    def learner(self, prepared: Prepared, recipe: Recipe, hooks: dict[str, Callable[..., Any]]) -> Learner:
        """Build the untrained learner that the recipe names, with weights from `recipe.train.seed`.

        Raises:
            ConfigError: the recipe is of another task, its model of another target, or a hook is unknown.
        """
        check_hooks(self.name, HOOKS, hooks)
        if not isinstance(recipe, TabularRecipe):
            raise ConfigError(f"The recipe is of task '{recipe.task}'; expected 'tabular'.")
        built = self._build(prepared, recipe)
        built.reading = prepared.facts.get("reading", {})
        learner: Learner = built
        return learner

    def load(self, folder: Path) -> Learner:
        """Read what a learner's `save` wrote.

        Raises:
            DataError: a file is missing or differs from its hash.
        """
        facts, weights = read_model(folder, self.name)
        model: TabularModel = TypeAdapter(TabularModel).validate_python(facts["model"])
        if model.network == "gradient_boosting":
            from ai4diag.tasks.tabular.trees import read_trees

            return read_trees(model, facts, weights)
        if isinstance(model, (Cox, CoxMlp)):
            from ai4diag.tasks.tabular.survival import read_hazards

            return read_hazards(model, facts, weights)
        from ai4diag.tasks.tabular.networks import read_network

        return read_network(model, facts, weights)

    def gather(self, inputs: Sequence[Path], learner: Learner, folder: Path) -> Prepared:
        """Read new rows from CSV, Excel or Parquet; see `ai4diag.data.gather_table`.

        Raises:
            DataError: a file is not what the model learned from; every such place is named with its cure. Or the
                model's pipeline changes the table in `preprocess`, which is not a part of the model.
        """
        from ai4diag.data.gather_table import gather_table

        model: Any = learner
        if model.reading.get("preprocessed"):
            raise DataError(
                "The pipeline changes the table in `preprocess` of its pipeline.py, which is no part of the model.",
                "Prepare the new rows as a data set of the pipeline.",
            )
        return gather_table(inputs, folder, model.features, model.reading)

    def deliver(self, table: pd.DataFrame, prepared: Prepared, folder: Path) -> list[Path]:
        """Write `predictions.csv`: case, score, of a time to event risk group and survival at each horizon, remark."""
        from ai4diag.tasks.deliver import write_csv

        answers = table.drop(columns=[name for name in LISTS if name in table])
        if "survival" in table:
            answers["risk_group"] = answers["risk_group"].round().astype(int)  # several models may disagree
            days, horizons = (table[name].iloc[0] for name in LISTS[1:])
            for day in horizons:
                place = list(days).index(day)
                answers[f"survival_{day:g}_days"] = [float(curve[place]) for curve in table["survival"]]
        index = prepared.index
        return [write_csv(answers.assign(remark=index["remark"]).pipe(_first, index["case_id"]), folder)]

    def _build(self, prepared: Prepared, recipe: TabularRecipe) -> Any:
        features, classes = prepared.facts["features"], prepared.classes
        model = recipe.model
        if (model.network in TIME_TO_EVENT) != (prepared.target == "time_to_event"):
            raise ConfigError(
                f"model.network: '{model.network}' does not answer for the target {prepared.target} of these cases.",
                f"{', '.join(TIME_TO_EVENT)} are for a card with table.time; the others are for two classes.",
            )
        if isinstance(model, (Cox, CoxMlp)):
            from ai4diag.tasks.tabular.survival import DeepHazards, LinearHazards

            if isinstance(model, Cox):
                return LinearHazards(model, features, classes, prepared.facts, recipe.train)
            return DeepHazards(model, features, classes, prepared.facts, recipe.train.seed)
        if model.network == "gradient_boosting":
            from ai4diag.tasks.tabular.trees import Trees

            return Trees(model, recipe.train, features, classes)
        from ai4diag.tasks.tabular.networks import TabularNetwork

        return TabularNetwork(model, features, classes, recipe.train.seed)


def _first(table: pd.DataFrame, case_ids: pd.Series) -> pd.DataFrame:
    table.insert(0, "case_id", case_ids)
    return table
