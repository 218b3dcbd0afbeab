"""What the report shows of several classes of which one holds, and of the steps of a scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ai4diag.evaluation.report.charts import Chart, Table
from ai4diag.evaluation.report.classes import roc_charts, worst_cases
from ai4diag.evaluation.report.context import ReportContext
from ai4diag.evaluation.report.frequencies import Dots, dots, known, lowest, of_hundred
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


def answers(evaluation: Evaluation) -> tuple[str, ...]:
    """Return how many of 100 are right, which class is found least often, and what is mixed up most often."""
    matrix, found = np.asarray(evaluation.curves["confusion"], np.int64), []
    right = known(evaluation, "accuracy")
    if right is not None and evaluation.primary != "accuracy":
        found.append(f"Of 100 cases, the model calls {of_hundred(right)} rightly.")
    if evaluation.target == "ordinal" and len(matrix) > 2:
        steps = np.abs(np.subtract.outer(np.arange(len(matrix)), np.arange(len(matrix))))
        near = int(matrix[steps <= 1].sum())
        found.append(f"{near:,} of {int(matrix.sum()):,} cases are called rightly or one step off.")
    poorest = lowest(evaluation, "sensitivity")
    if poorest is not None and poorest[1].value < 1:
        label, item = poorest
        tested = int(matrix[evaluation.classes.index(label)].sum())
        found.append(f"Found least often is {label}: of 100 such cases, the model finds {of_hundred(item, tested)}.")
    wrong = np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
    if wrong.any():
        true, called = np.unravel_index(int(wrong.argmax()), wrong.shape)
        found.append(
            f"The commonest mistake: {evaluation.classes[true]} is called {evaluation.classes[called]}, in "
            f"{wrong[true, called]:,} of its {matrix[true].sum():,} cases."
        )
    return tuple(found)


def pictured(evaluation: Evaluation) -> tuple[Dots, ...]:
    """Return what is called rightly as dots."""
    return dots(known(evaluation, "accuracy"), "{} of 100 cases called rightly")


def never(evaluation: Evaluation) -> tuple[str, ...]:
    """Return that answers depend on how frequent the classes are."""
    return ("That an answer is right as often where classes are more or less frequent than here.",)


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
    """Return the worst cases, and typical ones where there are pictures; None when there are none."""
    furthest = "that are furthest off, then those " if evaluation.target == "ordinal" else ""
    sentence = f"{{shown}} of the test part, first those {furthest}whose true class has the lowest score."
    return worst_cases(evaluation, context, sentence, "Score of the truth")
