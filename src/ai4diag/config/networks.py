"""The models that a recipe can name, and their settings. Nothing here imports the models themselves."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ai4diag.config.base import Settings


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


TabularModel = Annotated[LogisticRegression | Mlp | GradientBoosting, Field(discriminator="network")]


class _Detector(Settings):
    """What both detectors have in common."""

    window: tuple[int, ...] | None = None
    """Size in packed pixels of the piece of an image that one training step sees; None: the whole image."""
    flips: bool = True
    """Predict on mirrored images as well and join the answers: better edges, in 4 times the time (8 times in 3D)."""
    transpose: bool = False
    """Predict with the last two axes exchanged as well, where pixels are square: twice the time again."""


class AnchorFree(_Detector):
    """Anchor-free detector: at every cell of a grid, a score per class and the distances to the sides of a box."""

    network: Literal["anchor_free"] = "anchor_free"
    """The kind of model."""
    width: int = Field(default=24, ge=4)
    """Channels of the first stage; the others follow from it."""
    stride: Literal[4, 8] = 4
    """Packed pixels per cell of the grid. 8 is faster, but blurs what is smaller than some 30 pixels."""


class RetinaNet(_Detector):
    """RetinaNet on MONAI's ResNet, feature pyramid and heads, with ATSS matching."""

    network: Literal["retinanet"] = "retinanet"
    """The kind of model."""
    backbone: Literal["resnet10", "resnet18", "resnet34", "resnet50"] = "resnet18"
    """Depth of the residual network, trained from scratch."""


DetectionModel = Annotated[AnchorFree | RetinaNet, Field(discriminator="network")]
