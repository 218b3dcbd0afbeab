"""A data set as it shows itself: what its card says, whether it is here, and what was counted when it was prepared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ai4diag.config.card import Card
from ai4diag.data.catalogue import SUMS, State, state
from ai4diag.evaluation.report import PartLine
from ai4diag.evaluation.report.words import counted
from ai4diag.pipelines.report_context import part_lines
from ai4diag.pipelines.stages import open_prepared
from ai4diag.pipelines.workspace import Pipeline, Workspace
from ai4diag.shown import Shown, code_marked, columns, html_table


@dataclass(frozen=True, repr=False)
class Dataset(Shown):
    """A data set.

    Attributes:
        card: what is known about it.
        workspace: where it is, or would be.
    """

    card: Card
    workspace: Workspace

    @property
    def state(self) -> State:
        """`present`, `incomplete` or `absent`, from the names of its files."""
        return state(self.card, self.workspace.data)

    @property
    def folder(self) -> Path:
        """Where its raw files are, or would be."""
        return self.workspace.data / self.card.name

    @cached_property
    def prepared(self) -> Pipeline | None:
        """The first pipeline, or quick variant of one, whose prepared cases are of this card as it is now."""
        return next(self._prepared(), None)

    def _prepared(self) -> Iterator[Pipeline]:
        for name in self.workspace.table | self.workspace.waiting:
            for quick in (False, True):
                pipeline = self.workspace.pipeline(name, quick=quick)
                there = (pipeline.out / "prepared" / "prepared.json").is_file()
                own = pipeline.recipe.data.dataset == self.card.name and there
                if own and open_prepared(pipeline).facts["card_sha256"] == self.card.sha256:
                    yield pipeline

    @cached_property
    def counts(self) -> tuple[PartLine, ...]:
        """Cases, patients and classes of each part and site; empty when nothing is prepared."""
        return tuple(part_lines(open_prepared(self.prepared))) if self.prepared is not None else ()

    def __str__(self) -> str:
        lines = [f"Data set {self.card.name}: {self.card.title}", *(f"  {key}: {text}" for key, text in self._facts)]
        lines += [f"  Pitfall: {pitfall}" for pitfall in self.card.pitfalls]
        if self.counts:
            lines += [f"  {self._counted}:", *(f"    {line}" for line in columns([self._header, *self._rows]))]
        return "\n".join(lines)

    def html(self) -> str:
        """Return facts, pitfalls and counts."""
        facts = [(key, code_marked(text)) for key, text in self._facts]
        shown = html_table(f"Data set {self.card.name}: {self.card.title}", (), facts)
        if self.card.pitfalls:
            shown += "<p><strong>Known pitfalls</strong></p><ul>"
            shown += "".join(f"<li>{code_marked(pitfall)}</li>" for pitfall in self.card.pitfalls) + "</ul>"
        return shown + (html_table(self._counted, self._header, self._rows) if self.counts else "")

    @property
    def _counted(self) -> str:
        assert self.prepared is not None
        what = {"boxes": "boxes", "masks": "voxels"}.get(open_prepared(self.prepared).target, "cases")
        return f"As prepared for {self.prepared.words}: cases, patients, and {what} of each class"

    @property
    def _header(self) -> tuple[str, ...]:
        return ("Part", "Site", "Cases", "Patients", *self.card.classes)

    @property
    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (line.part, line.site, *(f"{count:,}" for count in (line.cases, line.patients, *line.counts)))
            for line in self.counts
        ]

    @property
    def _facts(self) -> list[tuple[str, str]]:
        card = self.card
        allowed = "allowed" if card.licence.commercial else "not allowed"
        patient = "named: a patient's cases stay together" if card.patient else "not named: every case counts as one"
        facts = [
            ("Description", card.description),
            ("For", card.task),
            ("Classes", ", ".join(card.classes)),
            ("Patients", patient),
            ("Origin", card.origin.page),
            ("Citation", card.citation),
            ("Licence", f"{card.licence.id}; commercial use {allowed}"),
            ("Attribution", card.licence.attribution),
            ("Terms of use", card.terms),
            ("On this machine", self._here),
        ]
        return [(key, " ".join(text.split())) for key, text in facts if text]

    @property
    def _here(self) -> str:
        found = self.state
        if found == "present":
            files = [path for path in self.folder.rglob("*") if path.is_file() and path.name != SUMS]
            size = sum(path.stat().st_size for path in files)
            return f"present: {counted(len(files), 'file')}, {_size(size)}"
        cure = self.card.by_hand or f"in a terminal, `ai4diag data get {self.card.name}`"
        return f"{found}; to get it: {cure}"


def _size(size: float) -> str:
    """Return bytes in words.

    >>> _size(999), _size(1.25e7)
    ('999 B', '12.5 MB')
    """
    for unit in ("B", "kB", "MB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
