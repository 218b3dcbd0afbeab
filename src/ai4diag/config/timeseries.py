"""Recipes of the task `timeseries`. Nothing here imports the models themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from ai4diag.config.base import Settings
from ai4diag.config.data import Data
from ai4diag.config.plan import Evaluate
from ai4diag.config.train import Train


class Window(Settings):
    """Which piece of a record is one case: one around each beat, or one of fixed length after the other."""

    around: Literal["beat"] | None = None
    """One window around each annotated beat."""
    before_s: float = Field(default=0.0, ge=0)
    """Seconds before the beat."""
    after_s: float = Field(default=0.0, ge=0)
    """Seconds from the beat on."""
    length_s: float | None = Field(default=None, gt=0)
    """Seconds of a window of fixed length."""
    step_s: float | None = Field(default=None, gt=0)
    """Seconds from the start of one window to the start of the next; None: `length_s`, so that none overlap."""

    compare: bool = False
    """Add to each channel how it differs from the median window of its record: what is unlike the patient's own usual
    beat. The whole record is looked at, but no label."""

    @model_validator(mode="after")
    def _one_kind(self) -> Window:
        if (self.around is None) == (self.length_s is None):
            raise ValueError("give around: beat with before_s and after_s, or length_s")
        if self.around is not None and (self.before_s + self.after_s <= 0 or self.step_s is not None):
            raise ValueError("a window around a beat has before_s and after_s, and no step_s")
        if self.length_s is not None and (self.before_s or self.after_s):
            raise ValueError("a window of fixed length has no before_s and after_s")
        return self


class TimeseriesData(Data):
    """Which records, at which rate, in which windows, and how they are divided."""

    window: Window | None = None
    """Which piece of a record is one case; None: the whole record, where all are of one length."""
    sample_rate_hz: float | None = Field(default=None, gt=0)
    """Rate to which signals are resampled; None: that of the records, which must agree."""


class ResNet1d(Settings):
    """Residual convolutions along time, pooled, and joined with the rhythm where windows are around beats."""

    network: Literal["resnet1d"] = "resnet1d"
    """The kind of model."""
    width: int = Field(default=16, ge=4)
    """Channels of the first stage; each further stage has twice as many and half the samples."""
    stages: int = Field(default=3, ge=1, le=6)
    """Number of stages."""
    blocks: int = Field(default=2, ge=1, le=4)
    """Residual blocks per stage."""
    kernel: int = Field(default=7, ge=3)
    """Samples that a convolution sees at once, odd."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of the pooled features that are switched off at random while training."""
    rhythm: bool = True
    """Whether the intervals before and after the beat, relative to the local mean, are inputs as well."""
    normalise: Literal["record", "window", "channel"] = "record"
    """Centre and scale of each channel: those of the whole record, of the window, or of the training part."""

    centre: bool = False
    """Shift the answers of each record so that its median case is answered like that of a training record: where most
    cases of every record are of no finding, an odd-looking patient then raises no alarm at every beat."""

    @model_validator(mode="after")
    def _odd(self) -> ResNet1d:
        if self.kernel % 2 == 0:
            raise ValueError("kernel must be odd")
        return self


class TimeseriesRecipe(Settings):
    """Signals of some channels over time: beats, windows or whole records of some classes."""

    task: Literal["timeseries"]
    """The kind of problem; it decides what the other blocks may hold."""
    data: TimeseriesData
    """Which cases, and how they are divided: what `prepare` reads."""
    model: ResNet1d
    """What is trained; `network` names the kind, and the other keys belong to it."""
    train: Train = Train()
    """How it is trained."""
    evaluate: Evaluate
    """What is estimated from the predictions, and the release gate."""
    quick: Mapping[str, Any] = {}
    """Settings laid over the others by `--quick`: the small variant, for trying out."""

    @model_validator(mode="after")
    def _operating_point_is_unseen(self) -> TimeseriesRecipe:
        if "validation" in self.train.parts and self.evaluate.operating_point.threshold is None:
            raise ValueError(
                "train.parts holds validation, so evaluate.operating_point cannot be fixed on it; "
                "give a threshold, for example {threshold: 0.5}"
            )
        return self

    @model_validator(mode="after")
    def _a_centre_needs_cases(self) -> TimeseriesRecipe:
        if self.model.centre and self.data.window is None:
            raise ValueError("model.centre compares the cases of a record; without data.window a record is one case")
        return self
