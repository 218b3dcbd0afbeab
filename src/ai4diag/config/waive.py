"""The `data.waive` block: leaks that are known, and for which reason they may stand."""

from __future__ import annotations

from pydantic import Field, field_validator

from ai4diag.config.base import Settings
from ai4diag.errors import did_you_mean

WAIVABLE = (
    "patient-leak",
    "content-leak",
    "look-alike",
    "nearly-equal-rows",
    "post-outcome-column",
    "label-in-column",
    "identifier-column",
)
"""Findings that stop a pipeline because its test result would be flattered."""


class Waiver(Settings):
    """One leak that is known and may stand; it is then a warning that the report shows together with the reason."""

    finding: str
    """Code of the finding, such as `look-alike` (docs/reference/findings.md)."""
    where: str | None = None
    """A case or a column; None: wherever the finding is made."""
    reason: str = Field(min_length=1)
    """Why the result may still be believed, and by how much it is flattered, for whoever reads the report."""

    @field_validator("finding")
    @classmethod
    def _known(cls, code: str) -> str:
        if code not in WAIVABLE:
            raise ValueError(f"no finding of this name can be waived. {did_you_mean(code, WAIVABLE)}")
        return code

    @field_validator("reason")
    @classmethod
    def _says_something(cls, reason: str) -> str:
        if not reason.strip():
            raise ValueError("say why the result may still be believed")
        return " ".join(reason.split())
