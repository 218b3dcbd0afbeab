"""The `evaluate` block: what is estimated, and what must hold before a model may leave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from ai4diag.config.base import Settings
from ai4diag.config.data import Fraction


class Interval(Settings):
    """Bootstrap of whole units."""

    level: Fraction = 0.95
    """Confidence level."""
    resamples: int = Field(default=2000, ge=100)
    """Number of bootstrap resamples."""
    unit: str = "patient_id"
    """Column of the unit that is drawn whole, with all its cases."""
    method: Literal["percentile", "bca", "logit"] = "percentile"
    """`bca` corrects for bias and skewness (Efron and Tibshirani 1993, chapter 14); `logit` is symmetric in log odds,
    for what lies within 0..1, best near 1 and for mAP; other estimates get percentiles."""
    seed: int = 7
    """Decides which units are drawn."""


class OperatingPoint(Settings):
    """Rule that fixes the decision threshold on validation predictions; exactly one of the fields."""

    youden: Literal[True] | None = None
    """Largest sensitivity + specificity."""
    accuracy: Literal[True] | None = None
    """Largest accuracy."""
    sensitivity: Fraction | None = None
    """Highest threshold with at least this sensitivity."""
    specificity: Fraction | None = None
    """Lowest threshold with at least this specificity."""
    threshold: Fraction | None = None
    """A threshold that was fixed before any data was seen."""

    @model_validator(mode="before")
    @classmethod
    def _accept_a_word(cls, values: Any) -> Any:
        return {values: True} if isinstance(values, str) else values

    @model_validator(mode="after")
    def _exactly_one(self) -> OperatingPoint:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("give exactly one of youden, accuracy, sensitivity, specificity, threshold")
        return self


class Evaluate(Settings):
    """What is estimated from the predictions, and what must hold before the model may leave."""

    primary: str
    """Name of the headline estimate."""
    interval: Interval = Interval()
    """How confidence intervals are made."""
    subgroups: tuple[str, ...] = ()
    """Attributes by which the estimates are repeated."""
    minimum_n: int = Field(default=10, ge=1)
    """Subgroups with fewer patients are masked."""
    operating_point: OperatingPoint = OperatingPoint(youden=True)
    """Rule that fixes the decision threshold; one of its words alone (`youden`) will do."""
    prevalence: Fraction | None = None
    """Share of positives where the model will be used: PPV and NPV are estimated at it as well (two classes)."""
    recalibrate: Literal["platt", "isotonic", "temperature"] | None = None
    """Fit this to the validation predictions and estimate calibration after it as well; where one of several classes
    holds, only `temperature`."""
    accept: Mapping[str, float] = {}
    """Release gate: `<estimate>_low: value` asks that the lower limit of the interval is at least `value`."""
    tolerance: float = Field(default=0.01, ge=0)
    """Largest absolute difference at which a reproduced estimate counts as the same on another machine."""

    @model_validator(mode="after")
    def _gate_on_lower_limits(self) -> Evaluate:
        for name in self.accept:
            if not name.endswith("_low"):
                raise ValueError(f"accept: '{name}' must end in _low: the gate is on the interval's lower limit")
        return self
