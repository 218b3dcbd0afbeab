"""The `train` block: how a model is fitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from ai4diag.config.base import Settings


class Change(Settings):
    """How far, and how often, a random change of training images goes (docs/reference/augment.md)."""

    amount: float | tuple[float, ...] | None = None
    """Largest change, in the unit of its kind; one number, or one per axis. None: the default of the kind."""
    chance: float | None = Field(default=None, ge=0, le=1)
    """Share of the images that are changed. None: the default of the kind."""


class Train(Settings):
    """The training loop. For gradient boosting, `epochs` are boosting rounds and `patience` counts rounds."""

    epochs: int = Field(default=50, ge=1)
    """Passes over the training part, at most."""
    batch_size: int = Field(default=32, ge=1)
    """Cases per step of a network. An epoch is divided into nearly equal batches of at most this size."""
    accumulate: int = Field(default=1, ge=1)
    """Parts in which a batch is computed one after another, so that it needs less memory; their gradients are added."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Largest step size of AdamW."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """AdamW's decay: a step takes the share `learning_rate * weight_decay` off each weight; biases are left out."""
    schedule: Literal["constant", "cosine", "one_cycle"] = "cosine"
    """The learning rate stays; falls to 0 along half a cosine; or rises over 30 % of the steps and then falls."""
    warmup_epochs: float = Field(default=0, ge=0)
    """Epochs over which the learning rate is ramped up, whatever the schedule."""
    ema: float = Field(default=0, ge=0, lt=1)
    """Decay per step of the averaged weights that are evaluated and kept; 0 switches averaging off."""
    gradient_clip: float = Field(default=0, ge=0)
    """Largest norm of the gradient; 0 switches clipping off."""
    patience: int | None = Field(default=None, ge=1)
    """Epochs without improvement on validation after which training stops and the best weights are kept."""
    validate_every: int = Field(default=1, ge=1)
    """Epochs between two looks at validation."""
    augment: tuple[str, ...] | Mapping[str, float | tuple[float, ...] | Change] = ()
    """Random changes of training images that the task knows (a table knows none): names, or how far each goes."""
    parts: tuple[Literal["train", "validation"], ...] = ("train",)
    """Parts to learn from. `[train, validation]` once the recipe is fixed; then nothing is chosen on validation."""
    balance: Literal["none", "class", "patient"] = "none"
    """What comes equally often in an epoch, which keeps its length: rare cases several times, others not at all."""
    precision: Literal["auto", "float32", "bfloat16", "probe"] = "auto"
    """`auto` uses bfloat16 autocast on a GPU that has it; `probe` times both on this network and machine, and on a GPU
    channels_last as well, and notes what it chose."""
    compile: Literal["off", "probe"] = "off"
    """`probe` compiles the network (`torch.compile`, on a GPU with CUDA graphs) where a step gains at least 5 %."""
    deterministic: Literal["auto", "strict", "warn"] = "auto"
    """Where torch has no deterministic algorithm: `strict` ends the training, `warn` goes on and lists it in the run;
    `auto` is strict on a machine without a GPU, and warns on one that has it."""
    seed: int = 7
    """Decides initial weights, order and augmentation: on a CPU, the same seed gives the same bits."""

    @model_validator(mode="after")
    def _patience_needs_validation(self) -> Train:
        if "train" not in self.parts:
            raise ValueError("parts must contain train")
        if self.patience is not None and "validation" in self.parts:
            raise ValueError("patience chooses on validation, so parts cannot contain validation")
        return self
