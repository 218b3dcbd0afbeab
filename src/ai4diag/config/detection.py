"""Recipes of the task `detection`, in images and in volumes. Nothing here imports the models themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ai4diag.config.base import Settings
from ai4diag.config.data import Data
from ai4diag.config.plan import Evaluate
from ai4diag.config.train import Train

Millimetres = Annotated[float, Field(gt=0)]


class Grey(Settings):
    """Which values of a volume become black and white when it is packed; what lies between is spread over 0 to 255."""

    values: tuple[float, float] | None = None
    """Black and white in the units of the files, such as -1024 and 300 Hounsfield units: for values with a meaning."""
    percentiles: tuple[float, float] | None = None
    """Black and white as percentiles of each volume and channel: for MR, whose values mean nothing by themselves."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Grey:
        given = [pair for pair in (self.values, self.percentiles) if pair is not None]
        if len(given) != 1 or not given[0][0] < given[0][1]:
            raise ValueError("give either values or percentiles, the smaller first")
        if self.percentiles is not None and not (self.percentiles[0] >= 0 and self.percentiles[1] <= 100):
            raise ValueError("percentiles lie between 0 and 100")
        return self


class DetectionData(Data):
    """Which images or volumes, how they are packed, and how they are divided."""

    image_size: tuple[int, ...] | None = None
    """Size in pixels to which images are resampled when packed, in array-axis order (rows, columns); None keeps it."""
    spacing_mm: tuple[Millimetres, Millimetres, Millimetres] | None = None
    """Spacing to which volumes are resampled when packed, right-left, back-front, foot-head; None keeps it."""
    grey: Grey = Grey(percentiles=(0.5, 99.5))
    """Which values of a volume become black and white."""


class _Detector(Settings):
    """What both detectors have in common."""

    window: tuple[int, ...] | None = None
    """Size in packed pixels of the piece of an image that one training step sees; None: the whole image."""
    predict_window: tuple[int, ...] | None = None
    """Size in packed voxels of the pieces, overlapping by a quarter, in which a volume is predicted; None: the whole
    volume, or `window` where it has more than 8 million voxels."""
    near_boxes: float = Field(default=0.5, ge=0, le=1)
    """Share of the training windows of volumes larger than the window that hold the middle of a box."""
    flips: bool | tuple[int, ...] = True
    """Predict on mirrored images as well and join the answers: better edges, in 4 times the time (8 times in 3D). A
    list of axes, such as `[0]`, mirrors along these alone."""
    transpose: bool = False
    """Predict with the last two axes exchanged as well, where pixels are square: twice the time again."""
    same_object: float = Field(default=0.6, gt=0, lt=1)
    """Overlap (IoU) above which two detections of one class are taken for one object."""


class AnchorFree(_Detector):
    """Anchor-free detector: at every cell of a grid, a score per class and the distances to the sides of a box."""

    network: Literal["anchor_free"] = "anchor_free"
    """The kind of model."""
    width: int = Field(default=24, ge=4)
    """Channels of the first stage; the others follow from it."""
    stride: Literal[2, 4, 8] = 4
    """Packed pixels per cell of the grid. 8 is faster, but blurs what is smaller than some 30 pixels."""
    stages: Literal[2, 3, 4] = 4
    """Stages of the trunk after the first convolution, each halving the grid: the coarsest has cells of 32 pixels with
    four, of 8 with two. Sides of windows are multiples of that."""
    side: float | None = Field(default=None, gt=0)
    """Side in packed pixels of the boxes that an untrained network gives; None: five cells."""


class RetinaNet(_Detector):
    """RetinaNet on MONAI's ResNet, feature pyramid and heads, with ATSS matching."""

    network: Literal["retinanet"] = "retinanet"
    """The kind of model."""
    backbone: Literal["resnet10", "resnet18", "resnet34", "resnet50"] = "resnet18"
    """Depth of the residual network, trained from scratch."""
    width: int = Field(default=64, ge=4)
    """Channels of the trunk's first stage; each further stage has twice as many (ResNet-50: four times wider)."""
    pyramid: int = Field(default=64, ge=8, multiple_of=8)
    """Channels of the feature pyramid and of the heads."""
    levels: Literal[2, 3, 4] = 4
    """Levels of the pyramid, from the trunk's first stage on; small objects need no coarse ones."""
    first_stride: tuple[Literal[1, 2], ...] = (2,)
    """Stride of the first convolution, one for all axes or one per axis: 1 keeps an axis of thick slices finer."""
    anchor_shapes: tuple[tuple[float, ...], ...] | None = None
    """Sides in packed pixels of the anchors of the finest level; each further level doubles them. None: one square or
    cube of four strides."""
    candidates: int = Field(default=9, ge=1)
    """Anchors per level, box and shape among which matching chooses."""


DetectionModel = Annotated[AnchorFree | RetinaNet, Field(discriminator="network")]


class DetectionRecipe(Settings):
    """Images or volumes with boxes around what is to be found."""

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
