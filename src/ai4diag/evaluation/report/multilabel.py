"""What the report shows of findings of which a case may have any number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ai4diag.evaluation.multilabel_scores import ThresholdPerClass
from ai4diag.evaluation.report import words
from ai4diag.evaluation.report.charts import Chart, Table
from ai4diag.evaluation.report.classes import roc_charts, worst_cases
from ai4diag.evaluation.report.context import ReportContext
from ai4diag.evaluation.report.frequencies import Dots, complement, dots, known, lowest, of_hundred
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


def answers(evaluation: Evaluation) -> tuple[str, ...]:
    """Return how many of 100 cases are wholly right, and what is found least often and called in vain most often."""
    counts, found = evaluation.curves["confusion"], []
    right = known(evaluation, "exact_match")
    if right is not None and evaluation.primary != "exact_match":
        found.append(f"Of 100 cases, the model answers {of_hundred(right)} without any error.")
    least, loudest = (lowest(evaluation, name) for name in ("sensitivity", "specificity"))
    if least is not None and least[1].value < 1:
        label, item = least
        tested = counts[label]["tp"] + counts[label]["fn"]
        found.append(f"Found least often is {label}: of 100 cases that show it, {of_hundred(item, tested)} are found.")
    if loudest is not None and loudest[1].value < 1:
        label, item = loudest
        tested = counts[label]["tn"] + counts[label]["fp"]
        share = of_hundred(complement(item), tested)
        found.append(f"Most false alarms are of {label}: of 100 cases without it, {share} are called so.")
    return tuple(found)


def pictured(evaluation: Evaluation) -> tuple[Dots, ...]:
    """Return the cases without any error as dots."""
    return dots(known(evaluation, "exact_match"), "{} of 100 cases without any error")


def never(evaluation: Evaluation) -> tuple[str, ...]:
    """Return that alarms depend on how frequent findings are."""
    return ("That an alarm is right as often where findings are more or less frequent than here.",)


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
    """Return the worst cases, and typical ones where there are pictures; None when there are none."""
    sentence = "{shown} of the test part, those with the most wrong answers first."
    return worst_cases(evaluation, context, sentence, "Largest error")
