"""Recipes of the task `classification`. Nothing here imports the models themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ai4diag.config.base import Settings
from ai4diag.config.data import Data
from ai4diag.config.plan import Evaluate
from ai4diag.config.train import Train


class ClassificationData(Data):
    """Which images, in which size, and how they are divided."""

    size: int | None = None
    """Which file, where the card has one for each size: side of the images in pixels; None: the smallest."""
    image_size: tuple[int, ...] | None = None
    """Size in pixels to which pictures are resampled when packed: (rows, columns); None keeps it."""


class _Classifier(Settings):
    """What all networks have in common."""

    balanced: bool = False
    """Let every class weigh the same in the loss, however rare; scores are then those of equally common classes."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of certainty that is taken from each truth and spread over all classes."""
    untouched: float = Field(default=0.0, ge=0, le=1)
    """Share of the training images of a batch that are left as they are, so that plain images stay familiar."""
    members: int = Field(default=1, ge=1)
    """So many networks with different initial weights are trained side by side, and their scores are averaged."""
    views: tuple[Literal["flip", "shift"], ...] = ()
    """Predict on further views of an image and average the scores: `flip` mirrors its last axis, `shift` moves it by
    one pixel to either side along each axis."""
    weights: str | None = None
    """File of initial weights (safetensors), relative to where the command runs, such as the `model.safetensors` of
    another run; layers that do not fit are left."""


class SmallResNet(_Classifier):
    """Residual network for small images: full resolution in its first stage, three stages, no pooling before them."""

    network: Literal["small_resnet"] = "small_resnet"
    """The kind of model."""
    width: int = Field(default=16, ge=4)
    """Channels of the first stage; each further one has twice as many."""
    blocks: int = Field(default=2, ge=1)
    """Residual blocks of each stage."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the last features that are switched off at random while training."""


class ResNet(_Classifier):
    """MONAI's ResNet (He et al., arXiv:1512.03385), for pictures and volumes."""

    network: Literal["resnet"] = "resnet"
    """The kind of model."""
    layers: Literal[10, 18, 34, 50] = 18
    """How many."""
    stem: Literal["auto", "large", "small"] = "auto"
    """`large` divides the resolution by 4 at once, `small` keeps it; `auto` takes `small` up to 64 pixels a side."""


class DenseNet(_Classifier):
    """MONAI's DenseNet (Huang et al., arXiv:1608.06993), for pictures and volumes."""

    network: Literal["densenet"] = "densenet"
    """The kind of model."""
    layers: Literal[121, 169, 201, 264] = 121
    """How many."""


class EfficientNet(_Classifier):
    """MONAI's EfficientNet (Tan and Le, arXiv:1905.11946), for pictures and volumes."""

    network: Literal["efficientnet"] = "efficientnet"
    """The kind of model."""
    scale: Literal["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"] = "b0"
    """How large."""


ClassificationModel = Annotated[SmallResNet | ResNet | DenseNet | EfficientNet, Field(discriminator="network")]


class ClassificationRecipe(Settings):
    """Images, or volumes of one size, each of one class, of several, or of a step on a scale."""

    task: Literal["classification"]
    """The kind of problem; it decides what the other blocks may hold."""
    data: ClassificationData
    """Which cases, and how they are divided: what `prepare` reads."""
    model: ClassificationModel
    """What is trained; `network` names the kind, and the other keys belong to it."""
    train: Train = Train()
    """How it is trained."""
    evaluate: Evaluate
    """What is estimated from the predictions, and the release gate."""
    quick: Mapping[str, Any] = {}
    """Settings laid over the others by `--quick`: the small variant, for trying out."""

    @model_validator(mode="after")
    def _operating_point_is_unseen(self) -> ClassificationRecipe:
        point = self.evaluate.operating_point
        if "validation" in self.train.parts and point.threshold is None and point.youden is None:
            raise ValueError(
                "train.parts holds validation, so evaluate.operating_point cannot be fixed on it; "
                "give a threshold, for example {threshold: 0.5}"
            )
        return self
