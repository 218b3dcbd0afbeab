"""The `data` block: which cases, and how they are divided."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ai4diag.config.base import Settings
from ai4diag.config.waive import Waiver

Fraction = Annotated[float, Field(gt=0, lt=1)]


class Split(Settings):
    """How cases are divided into train, validation and test. No unit of `by` is ever in two parts."""

    by: str = "patient_id"
    """Column that holds together what must not be separated."""
    test: Fraction | Literal["official", "folds"] = 0.2
    """A fraction; `official` for the split that the dataset card names; `folds` for cross-validation."""
    validation: Fraction = 0.15
    """Fraction of what is not test. Ignored where the official split has a validation part."""
    folds: int = Field(default=5, ge=2)
    """Number of folds when `test: folds`."""
    seed: int = 7
    """Decides which groups go to which part; the same seed gives the same split on every machine."""
    contrast: str | None = None
    """A wrong grouping to evaluate beside the right one, so that the report can show by how much it flatters."""

    @model_validator(mode="after")
    def _contrast_needs_folds(self) -> Split:
        if self.contrast is not None and self.test not in ("folds", "official"):
            raise ValueError("contrast needs test: folds or official")
        return self


class Data(Settings):
    """Which cases, and how they are divided."""

    dataset: str
    """Name of a dataset card: `datasets/<name>.yaml`."""
    split: Split = Split()
    """How the cases are divided."""
    waive: tuple[Waiver, ...] = ()
    """Leaks that are known and may stand, each with a reason."""
