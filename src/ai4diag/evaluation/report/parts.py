"""What the modules of the report share: a section, and plain words for values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ai4diag.evaluation.report import words
from ai4diag.evaluation.report.charts import Chart, Table
from ai4diag.evaluation.report.pictures import CasePicture

if TYPE_CHECKING:
    from ai4diag.evaluation.evaluate import Evaluation


@dataclass(frozen=True)
class Section:
    """What a section holds; the template shows what is there."""

    sentences: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    chart: Chart | None = None
    pictures: tuple[tuple[str, tuple[CasePicture, ...]], ...] = ()


def said(evaluation: Evaluation, name: str) -> str:
    """Return an estimate of the whole test part with its interval, in words."""
    item = next(i for i in evaluation.estimates if (i.name, i.part, i.subgroup) == (name, "test", "all"))
    return f"{words.name(name)} {words.number(item.value)}, interval {words.limits(item)}"


def defined(*values: Sequence[float]) -> bool:
    """Whether every sequence has numbers, and none of them is NaN."""
    return all(len(numbers) > 0 and not any(math.isnan(number) for number in numbers) for numbers in values)


def plain(value: Any) -> str:
    """Return a value of a recipe or a table as a reader writes it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(item) for item in value) or "none"
    if isinstance(value, Mapping):
        return "none" if not value else str(dict(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
