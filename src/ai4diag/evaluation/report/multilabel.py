"""What the report shows of findings of which a case may have any number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ai4diag.evaluation.multilabel_scores import ThresholdPerClass
from ai4diag.evaluation.report import words
from ai4diag.evaluation.report.charts import Chart, Table
from ai4diag.evaluation.report.classes import roc_charts, worst_cases
from ai4diag.evaluation.report.context import ReportContext
from ai4diag.evaluation.report.parts import Section

if TYPE_CHECKING:
    from ai4diag.evaluation.evaluate import Evaluation

TRUTH = "Findings"
"""What the classes of a case are called."""
COUNTED = "{name}"
"""Heading of the number of cases of a class."""
YES = "Each class has its own threshold; a score of at least that counts as a yes."
"""What the operating point means."""

LEGEND: tuple[tuple[str, str], ...] = ()
"""Nothing is drawn over pictures."""


def curves(evaluation: Evaluation) -> list[Chart]:
    """Return the plots of the curves that are defined."""
    return roc_charts(evaluation)


def confusion(evaluation: Evaluation) -> Table | None:
    """Return for each class its threshold and who was called what; None where no threshold could be fixed."""
    counts = evaluation.curves["confusion"]
    if not counts:
        return None
    point = evaluation.operating_point
    assert isinstance(point, ThresholdPerClass)
    at = {name: threshold.value for name, threshold in zip(evaluation.classes, point.classes, strict=True)}
    columns = ("Class", "Threshold", "found", "missed", "false alarms", "cleared")
    rows = tuple(
        (name, words.number(at[name]), *(f"{line[key]:,}" for key in ("tp", "fn", "fp", "tn")))
        for name, line in counts.items()
    )
    return Table("Answers per class: cases", columns, rows)


def cases(evaluation: Evaluation, context: ReportContext) -> Section | None:
    """Return the worst cases; None when there are none."""
    sentence = "{shown} of the test part, those with the most wrong answers first."
    return worst_cases(evaluation, context, sentence, "Largest error")
