"""The prepared cases of a pipeline: a table, and each of them by name or number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from ai4diag.data.prepared import Prepared
from ai4diag.errors import UsageError, did_you_mean
from ai4diag.evaluation.report.words import counted
from ai4diag.lab.answers import Answers
from ai4diag.lab.one_case import Case, parts_of
from ai4diag.pipelines.stages import open_prepared
from ai4diag.pipelines.workspace import Pipeline
from ai4diag.shown import Shown, columns, html_table
from ai4diag.types import PARTS

HEADER = ("Case", "Patient", "Site", "Part", "Truth")
FEW = 10
"""So many cases are shown in the page; `table()` has them all."""


@dataclass(frozen=True, repr=False)
class Cases(Shown):
    """Prepared cases, in the order of their index; `cases["wdbc-001"]` or `cases[0]` is one of them.

    Attributes:
        words: the pipeline, as a command names it.
        prepared: the prepared cases.
        answers: what the model answered; None when nothing was trained on them.
    """

    words: str
    prepared: Prepared
    answers: Answers | None

    @classmethod
    def of(cls, pipeline: Pipeline) -> Cases:
        """Open the cases of a pipeline or variant.

        Raises:
            DataError: nothing is prepared yet, or a file is damaged.
        """
        prepared = open_prepared(pipeline)
        return cls(pipeline.words, prepared, Answers.of(pipeline, prepared.target, prepared.classes))

    def __len__(self) -> int:
        return len(self.prepared.index)

    def __iter__(self) -> Iterator[Case]:
        return (Case(self.words, self.prepared, row, self.answers) for row in range(len(self)))

    def __getitem__(self, which: str | int) -> Case:
        """Return a case.

        Args:
            which: its `case_id`, or its number from 0; negative numbers count from the end.

        Raises:
            UsageError: there is no such case; the nearest is named.
            IndexError: there are fewer cases.
        """
        if isinstance(which, str):
            if which not in self._rows:
                near = did_you_mean(which, self._rows) if len(self) <= 2000 else ""
                near = near if near.startswith("Did") else ""
                raise UsageError(f"{self.words} has no case '{which}'. {near}".strip(), "`.table()` has them all.")
            return Case(self.words, self.prepared, self._rows[which], self.answers)
        if not -len(self) <= which < len(self):
            raise IndexError(f"{self.words} has {len(self)} cases, from 0 to {len(self) - 1}; found {which}.")
        return Case(self.words, self.prepared, which % len(self), self.answers)

    @property
    def usual(self) -> Case:
        """The first case of the test part that the model was asked about; the first of all when there is none."""
        asked = self.answers.lines if self.answers is not None else {}
        tested = (name for name in asked if self._parts.get(name, "").startswith("test"))
        return self[min((self._rows[name] for name in tested if name in self._rows), default=0)]

    def of_part(self, part: str) -> list[Case]:
        """Return the cases of a part of the split: `train`, `validation` or `test`."""
        return [case for case in self if self._parts.get(case.case_id) == part]

    def table(self) -> pd.DataFrame:
        """Return the index as a table: case_id, patient_id, site, part, attributes, and whether the model was asked."""
        index = self.prepared.index
        parts = index["case_id"].map(self._parts).fillna("")
        asked = index["case_id"].isin(list(self.answers.lines) if self.answers is not None else [])
        found = index.copy()
        found.insert(3, "part", parts)
        return found.assign(answered=asked)

    def __str__(self) -> str:
        return "\n".join([self._title, *(f"  {line}" for line in columns([HEADER, *self._shown])), *self._rest])

    def html(self) -> str:
        """Return the first cases."""
        rest = "".join(f"<p>{line}</p>" for line in self._rest)
        return html_table(self._title, HEADER, self._shown) + rest

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {str(case): row for row, case in enumerate(self.prepared.index["case_id"])}

    @cached_property
    def _parts(self) -> dict[str, str]:
        return parts_of(self.prepared)

    @property
    def _title(self) -> str:
        patients = counted(self.prepared.index["patient_id"].nunique(), "patient")
        each = Counter(self._parts.values())
        order = [part for part in PARTS if part in each] + sorted(each.keys() - set(PARTS))
        parts = ", ".join(f"{part} {each[part]:,}" for part in order)
        return f"{counted(len(self), 'case')} of {patients}, prepared for {self.words} ({parts})"

    @property
    def _shown(self) -> list[tuple[str, ...]]:
        first = (self[row] for row in range(min(FEW, len(self))))
        return [(case.case_id, case.patient_id, case.site, case.part, case.said_truth) for case in first]

    @property
    def _rest(self) -> list[str]:
        more = len(self) - FEW
        return (
            [f"... and {more:,} more; .table() has them all, [0] or a name in [] is one of them."] if more > 0 else []
        )
