"""Recipes of the task `detection`. Nothing here imports the models themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from ai4diag.config.base import Settings
from ai4diag.config.data import Data
from ai4diag.config.plan import Evaluate
from ai4diag.config.train import Train


class DetectionData(Data):
    """Which images, in which size, and how they are divided."""

    image_size: tuple[int, ...] | None = None
    """Size in pixels to which images are resampled when packed, in array-axis order (rows, columns); None keeps it."""


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


class DetectionRecipe(Settings):
    """Images with boxes around what is to be found."""

    task: Literal["detection"]
    """The kind of problem; it decides what the other blocks may hold."""
    data: DetectionData
    """Which cases, and how they are divided: what `prepare` reads."""
    model: DetectionModel
    """What is trained; `network` names the kind, and the other keys belong to it."""
    train: Train = Train()
    """How it is trained."""
    evaluate: Evaluate
    """What is estimated from the predictions, and the release gate."""
    quick: Mapping[str, Any] = {}
    """Settings laid over the others by `--quick`: the small variant, for trying out."""
