"""Recipes of the task `segmentation`. What is left out, the plan fills in from the data (`data/volume_plan.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from ai4diag.config.base import Settings
from ai4diag.config.data import Data
from ai4diag.config.plan import Evaluate
from ai4diag.config.train import Train

Side = Annotated[int, Field(ge=1)]
Millimetres = Annotated[float, Field(gt=0)]


class SegmentationData(Data):
    """Which cases, how they are packed, and how they are divided."""

    spacing_mm: tuple[Millimetres, Millimetres, Millimetres] | None = None
    """Spacing to which volumes are resampled, along right, front and head; None: the plan chooses."""
    crop: bool = True
    """Cut off margins that hold only zeros, where that saves a quarter of the voxels or more."""


class UNet(Settings):
    """A U-Net that configures itself; every setting given here overrides the plan."""

    network: Literal["unet"] = "unet"
    """The kind of model."""
    dimensions: Literal[2, 3] | None = None
    """3: volumes; 2: single layers, cut across the axis of largest spacing. None: 2 where volumes have one layer."""
    patch: tuple[Side, Side, Side] | None = None
    """Voxels that one training step sees of a case, along right, front and head; 1 across the layers in 2D."""
    width: int = Field(default=16, ge=1)
    """Channels of the first stage; each further stage has twice as many."""
    most_width: int = Field(default=320, ge=1)
    """Channels of a stage at most."""
    stages: int | None = Field(default=None, ge=2, le=8)
    """Resolutions; None: until the coarsest has four voxels along an axis."""
    convolutions: int = Field(default=2, ge=1, le=4)
    """Convolutions per stage."""
    residual: bool = False
    """Add the input of a stage to its output."""
    outputs: int = Field(default=2, ge=1)
    """Resolutions that are compared with the truth in training (deep supervision); 1: only the finest."""
    intensities: Literal["volume", "absolute"] = "volume"
    """`volume`: each volume is scaled by its own percentiles (MR); `absolute`: all by those of the training part's
    foreground (CT, whose numbers mean the same everywhere)."""
    foreground: float = Field(default=0.5, ge=0, le=1)
    """Share of patches that are cut around a voxel of a class; the classes take turns at random."""
    flips: tuple[Literal[0, 1, 2], ...] = ()
    """Axes (0 right, 1 front, 2 head) along which volumes are mirrored in prediction; all combinations are averaged."""
    window: tuple[Side, Side, Side] | Literal["whole"] | None = None
    """Voxels that are predicted at once; `whole`: the whole volume where memory allows. None: the whole volume where
    the patch covers the usual one, else windows of the patch's size."""
    overlap: float = Field(default=0.5, ge=0, lt=1)
    """Share by which neighbouring windows overlap."""
    largest_component: tuple[str, ...] = ()
    """Classes of which only the largest connected piece is kept."""
    memory_gb: float = Field(default=4, gt=0)
    """Memory that one training step, or one prediction, may take."""


class SegmentationRecipe(Settings):
    """Volumes, or single layers, in which every voxel gets a class."""

    task: Literal["segmentation"]
    """The kind of problem; it decides what the other blocks may hold."""
    data: SegmentationData
    """Which cases, and how they are divided: what `prepare` reads."""
    model: UNet = UNet()
    """What is trained; `network` names the kind, and the other keys belong to it."""
    train: Train = Train(batch_size=4)
    """How it is trained."""
    evaluate: Evaluate
    """What is estimated from the predictions, and the release gate."""
    quick: Mapping[str, Any] = {}
    """Settings laid over the others by `--quick`: the small variant, for trying out."""
