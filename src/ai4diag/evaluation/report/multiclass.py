"""What the report shows of several classes of which one holds, and of the steps of a scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ai4diag.evaluation.report.charts import Chart, Table
from ai4diag.evaluation.report.classes import roc_charts, worst_cases
from ai4diag.evaluation.report.context import ReportContext
from ai4diag.evaluation.report.parts import Section

if TYPE_CHECKING:
    from ai4diag.evaluation.evaluate import Evaluation

TRUTH = "Truth"
"""What the classes of a case are called."""
COUNTED = "{name}"
"""Heading of the number of cases of a class."""
YES = "The class with the largest score is the answer."
"""What the operating point means."""

LEGEND: tuple[tuple[str, str], ...] = ()
"""Nothing is drawn over pictures."""


def curves(evaluation: Evaluation) -> list[Chart]:
    """Return the plots of the curves that are defined."""
    return roc_charts(evaluation)


def confusion(evaluation: Evaluation) -> Table | None:
    """Return which cases were called what."""
    columns = ("Truth", *(f"called {name}" for name in evaluation.classes), "all")
    rows = tuple(
        (name, *(f"{n:,}" for n in (*line, sum(line))))
        for name, line in zip(evaluation.classes, evaluation.curves["confusion"], strict=True)
    )
    return Table("Confusion matrix: cases", columns, rows)


def cases(evaluation: Evaluation, context: ReportContext) -> Section | None:
    """Return the worst cases; None when there are none."""
    furthest = "that are furthest off, then those " if evaluation.target == "ordinal" else ""
    sentence = f"{{shown}} of the test part, first those {furthest}whose true class has the lowest score."
    return worst_cases(evaluation, context, sentence, "Score of the truth")
