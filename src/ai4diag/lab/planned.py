"""The plan of a segmentation pipeline as it shows itself."""

from __future__ import annotations

from dataclasses import dataclass

from ai4diag.pipelines.plan import Planned
from ai4diag.shown import Shown, html_table


@dataclass(frozen=True, repr=False)
class Plan(Shown):
    """What the prepared cases look like, and what network, patch, batch and windows follow from them.

    Attributes:
        words: the pipeline, as a command names it.
        planned: fingerprint and plan as plain values, and the page that `ai4diag plan` prints.
    """

    words: str
    planned: Planned

    def __str__(self) -> str:
        return self.planned.page

    def html(self) -> str:
        """Return one table for each paragraph of the page."""
        shown, rows, heading = "", [], ""
        for line in [*self.planned.page.splitlines(), ""]:
            if line.startswith("  "):
                key, _, text = line.strip().partition("  ")
                rows.append((key, text.strip()))
                continue
            shown += html_table(f"{heading} ({self.words})", (), rows) if rows else ""
            heading, rows = line, []
        return shown
