"""Recipes of the task `tabular`. Nothing here imports the models themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ai4diag.config.base import Settings
from ai4diag.config.data import Data
from ai4diag.config.plan import Evaluate
from ai4diag.config.train import Train


class TabularData(Data):
    """Which rows and columns, and how the rows are divided."""

    drop: tuple[str, ...] = ()
    """Columns of the card that the model must not see."""
    horizons_days: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (365, 1096, 1826)
    """For time to event: the times for which survival is estimated; by default one, three and five years."""


class LogisticRegression(Settings):
    """Linear model with an L2 penalty, as a torch module.

    The penalty is `l2`; recipes set `train.weight_decay: 0`, so that no second one is laid over it.
    """

    network: Literal["logistic_regression"] = "logistic_regression"
    """The kind of model."""
    l2: float = Field(default=1.0, ge=0)
    """Penalty on the sum of losses, `l2 / 2 * |w|^2` without the bias: scikit-learn's `1 / C`."""


class Mlp(Settings):
    """Multi-layer perceptron: linear, batch-free, ReLU, dropout."""

    network: Literal["mlp"] = "mlp"
    """The kind of model."""
    hidden: tuple[int, ...] = (64, 32)
    """Units of each hidden layer."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of units that are switched off at random while training."""


class GradientBoosting(Settings):
    """LightGBM trees; `train.epochs` is the number of boosting rounds, `train.learning_rate` the shrinkage."""

    network: Literal["gradient_boosting"] = "gradient_boosting"
    """The kind of model."""
    leaves: int = Field(default=15, ge=2)
    """Leaves of a tree, at most."""
    min_cases_per_leaf: int = Field(default=10, ge=1)
    """Training cases that a leaf holds, at least."""
    feature_fraction: float = Field(default=0.8, gt=0, le=1)
    """Share of the features that each tree may use."""
    bagging_fraction: float = Field(default=0.8, gt=0, le=1)
    """Share of the training cases that each tree sees, drawn anew for each; 1 switches drawing off."""
    l2: float = Field(default=1.0, ge=0)
    """Penalty on the values of the leaves."""


class Cox(Settings):
    """Cox's proportional hazards for time to event: a linear model of the log risk with an L2 penalty.

    It is fitted by Newton's method; `train.epochs` are its steps at most, other settings of `train` play no part.
    """

    network: Literal["cox"] = "cox"
    """The kind of model."""
    ties: Literal["efron", "breslow"] = "efron"
    """How events at the same time share the risk (Efron, JASA 72:557, 1977; Breslow, Biometrics 30:89, 1974)."""
    l2: float = Field(default=1.0, ge=0)
    """Penalty on the sum of losses, `l2 / 2 * |w|^2`: lifelines' `n * penalizer`."""


class CoxMlp(Settings):
    """Proportional hazards whose log risk is a multi-layer perceptron, for time to event.

    A case is compared with those of its batch: give a `train.batch_size` that holds many events, or all cases.
    """

    network: Literal["cox_mlp"] = "cox_mlp"
    """The kind of model."""
    hidden: Annotated[tuple[int, ...], Field(min_length=1)] = (32,)
    """Units of each hidden layer."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of units that are switched off at random while training."""
    ties: Literal["efron", "breslow"] = "efron"
    """How events at the same time share the risk."""


TIME_TO_EVENT = ("cox", "cox_mlp")
"""Networks for time to event; the others are for two classes."""
TabularModel = Annotated[LogisticRegression | Mlp | GradientBoosting | Cox | CoxMlp, Field(discriminator="network")]


class TabularRecipe(Settings):
    """Rows of a table with two classes, or with a time to an event."""

    task: Literal["tabular"]
    """The kind of problem; it decides what the other blocks may hold."""
    data: TabularData
    """Which cases, and how they are divided: what `prepare` reads."""
    model: TabularModel
    """What is trained; `network` names the kind, and the other keys belong to it."""
    train: Train = Train()
    """How it is trained."""
    evaluate: Evaluate
    """What is estimated from the predictions, and the release gate."""
    quick: Mapping[str, Any] = {}
    """Settings laid over the others by `--quick`: the small variant, for trying out."""

    @model_validator(mode="after")
    def _operating_point_is_unseen(self) -> TabularRecipe:
        if self.model.network in TIME_TO_EVENT:
            return self  # there is no operating point
        if "validation" in self.train.parts and self.evaluate.operating_point.threshold is None:
            raise ValueError(
                "train.parts holds validation, so evaluate.operating_point cannot be fixed on it; "
                "give a threshold, for example {threshold: 0.5}"
            )
        return self
