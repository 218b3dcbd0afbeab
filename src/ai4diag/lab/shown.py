"""Runs, their estimates and their reports, as they show themselves in JupyterLab."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from html import escape

import pandas as pd

from ai4diag.errors import UsageError, did_you_mean
from ai4diag.evaluation.gate import check_gate
from ai4diag.evaluation.report import words
from ai4diag.pipelines.records import Record
from ai4diag.shown import Shown, html_table
from ai4diag.tracking.query import RunSummary
from ai4diag.types import Estimate

HEIGHT = 720
"""Height of a report in the page, in CSS pixels."""
LARGEST = 16_000_000
"""Characters of a report from which a notebook would become too large to open; its place is named instead."""
SHOWN = 8
"""So many estimates are shown with a run."""


@dataclass(frozen=True, repr=False)
class Report(Shown):
    """The report of a run.

    Attributes:
        title: what it is of.
        page: the whole HTML page.
        headline: the headline estimate.
        place: the file that it is in; empty when it is in none.
    """

    title: str
    page: str
    headline: Estimate
    place: str = ""

    def __str__(self) -> str:
        return f"Report of {self.title}: {self.headline}"

    def html(self) -> str:
        """Return the page in a frame of its own, in which nothing runs and from which nothing is fetched."""
        label = escape(str(self))
        if len(self.page) > LARGEST:
            size = f"{len(self.page) / 1e6:.0f} MB are too much for a notebook; open the file {self.place}"
            return f"<p>{label}. {escape(size)}</p>"
        frame = f'<iframe srcdoc="{escape(self.page)}" sandbox="" title="{label}" loading="lazy"'
        return f'{frame} style="width:100%;height:{HEIGHT}px;border:1px solid currentColor"></iframe>'


@dataclass(frozen=True, repr=False)
class Run(Shown):
    """A run that was evaluated; `run["auroc"]` is one of its estimates.

    Attributes:
        record: what was kept of it.
    """

    record: Record

    @cached_property
    def estimates(self) -> list[Estimate]:
        """All estimates, the headline first."""
        return self.record.estimates()

    @property
    def headline(self) -> Estimate:
        """The headline estimate."""
        return self.estimates[0]

    @property
    def report(self) -> Report:
        """The report, as it was written."""
        path = self.record.folder / "report.html"
        return Report(self._name, path.read_text(encoding="utf-8"), self.headline, str(path))

    @property
    def predictions(self) -> pd.DataFrame:
        """What the model answered, one line per case and fold."""
        return self.record.predictions()

    def __getitem__(self, name: str) -> Estimate:
        """Return an estimate of the whole test part.

        Raises:
            UsageError: there is none of this name.
        """
        known = {item.name: item for item in self._whole}
        if name not in known:
            raise UsageError(f"{self._name} has no estimate '{name}'. {did_you_mean(name, known)}")
        return known[name]

    def table(self) -> pd.DataFrame:
        """Return all estimates as a table: name, value, low, high, n, n_patients, part, subgroup, note."""
        return pd.DataFrame([item.as_dict() for item in self.estimates])

    def __str__(self) -> str:
        lines = [
            f"Run {self.record.run_id[:8]} of {self._name}",
            *(f"  {label}: {text}" for label, text in self._facts),
        ]
        return "\n".join([*lines, *(f"  {item}" for item in self._whole[:SHOWN])])

    def html(self) -> str:
        """Return name, facts and the first estimates."""
        caption = f"Run {self.record.run_id[:8]} of {self._name}"
        rows = [
            (item.name, words.number(item.value), words.limits(item), f"{item.n:,}", f"{item.n_patients:,}")
            for item in self._whole[:SHOWN]
        ]
        header = ("Estimate", "Value", "Interval", "Cases", "Patients")
        return html_table(caption, (), self._facts) + html_table("Estimates on the test part", header, rows)

    @property
    def _name(self) -> str:
        variant = self.record.facts["variant"]
        return self.record.pipeline + ("" if variant == "full" else f" ({variant})")

    @property
    def _whole(self) -> list[Estimate]:
        return [item for item in self.estimates if (item.part, item.subgroup) == ("test", "all")]

    @cached_property
    def _facts(self) -> list[tuple[str, str]]:
        facts, verdicts = self.record.facts, self.record.verdicts()
        gate = self.record.plan.accept
        unmet = check_gate(self.estimates, gate)
        commit = facts["evaluated"]["git_commit"][:12]
        dirty = " with changes that were not committed" if facts["evaluated"]["git_dirty"] == "true" else ""
        return [
            ("Headline", str(self.headline)),
            ("Release gate", "none" if not gate else "; ".join(unmet) if unmet else "met"),
            ("Look at this test part", f"number {facts['look']}"),
            (
                "Reproduced",
                verdicts[-1]["verdict"] if verdicts else f"not yet: ai4diag verify {self.record.run_id[:8]}",
            ),
            ("Evaluated", f"{facts['created']}, commit {commit}{dirty}"),
        ]


@dataclass(frozen=True, repr=False)
class Runs(Shown):
    """Runs, newest first.

    Attributes:
        runs: what is known of each.
    """

    runs: tuple[RunSummary, ...]

    def __len__(self) -> int:
        return len(self.runs)

    def __str__(self) -> str:
        return "\n".join("  ".join(row) for row in self._rows) or "No runs yet."

    def html(self) -> str:
        """Return one line per run."""
        header = ("Run", "Pipeline", "Variant", "Status", "Started (UTC)", "Headline")
        return html_table("Runs", header, self._rows) if self.runs else "No runs yet."

    @property
    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                item.run_id[:8],
                item.pipeline,
                item.variant,
                item.status,
                f"{item.started:%Y-%m-%d %H:%M}",
                str(item.headline or ""),
            )
            for item in self.runs
        ]
