"""What reports of several classes share: their ROC curves in one plot, and the worst and the typical cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ai4diag.evaluation.report import words
from ai4diag.evaluation.report.charts import DRAWN, Chart, Line, Table, roc_per_class
from ai4diag.evaluation.report.context import ReportContext
from ai4diag.evaluation.report.parts import Section, defined, plain
from ai4diag.evaluation.report.pictures import CasePicture, plain_picture
from ai4diag.evaluation.typical import WORST_SHOWN

if TYPE_CHECKING:
    from ai4diag.evaluation.evaluate import Evaluation

PICTURES = WORST_SHOWN
"""Worst cases that are shown as pictures."""
ERRORS = 10
"""Worst cases that are shown in a table."""


def roc_charts(evaluation: Evaluation) -> list[Chart]:
    """Return the ROC curves of the classes, each against all other cases; nothing where none is defined."""
    known = {name: curve for name, curve in evaluation.curves["roc"].items() if defined(curve["fpr"], curve["tpr"])}
    if not known:
        return []
    area = {name: float(np.trapezoid(curve["tpr"], curve["fpr"])) for name, curve in known.items()}
    lines = [Line(name, curve["fpr"], curve["tpr"]) for name, curve in known.items()]
    drawn = {name for name, _ in sorted(area.items(), key=lambda item: item[1])[:DRAWN]}
    return [roc_per_class(lines, [line.name in drawn for line in lines])]


def pictures_of(
    worst: Sequence[Mapping[str, Any]], typical: Sequence[Mapping[str, Any]], context: ReportContext, score: str
) -> tuple[tuple[str, tuple[CasePicture, ...]], ...]:
    """Return the pictures of cases with what was true and what was called; nothing where there are no images.

    Args:
        worst, typical: case_id, truth, called and score of each case.
        context: gives the images.
        score: what the score is.
    """
    if context.picture is None:
        return ()
    groups = []
    for title, key, lines in (("Largest errors", "case", worst[:PICTURES]), ("Typical", "typical", typical)):
        found = tuple(
            plain_picture(
                str(line["case_id"]),
                f"Truth: {line['truth']}. Answer: {line['called']}. {score}: {words.number(line['score'])}.",
                context.picture(str(line["case_id"])),
                f"{key}{number}",
            )
            for number, line in enumerate(lines)
        )
        groups += [(title, found)] if any(item.svg is not None for item in found) else []
    return tuple(groups)


def worst_cases(evaluation: Evaluation, context: ReportContext, sentence: str, score: str) -> Section | None:
    """Return the worst cases as pictures and a table, and pictures of typical ones; None when there are none.

    Args:
        evaluation: its `curves["worst"]` and `["typical"]` have truth, called and score of each case beside the
            columns of predictions.
        context: gives the images.
        sentence: what the cases are, with `{shown}`.
        score: heading of the column of scores.
    """
    worst: Sequence[Mapping[str, Any]] = (evaluation.curves.get("worst") or [])[:ERRORS]
    if not worst:
        return None
    first = ["case_id", "truth", "called", "score"]
    names = [name for name in worst[0] if name not in first]
    names = [name for name in names if len({str(line[name]) for line in worst}) > 1]
    names = first + [name for name in names if any(str(line[name]) != str(line["case_id"]) for line in worst)]
    titles = tuple(
        score if name == "score" else name.replace("_id", "").replace("_", " ").capitalize() for name in names
    )
    rows = tuple(
        tuple(words.number(line[name]) if name == "score" else plain(line[name]) for name in names) for line in worst
    )
    numeric = {i for i, name in enumerate(names) if all(isinstance(line[name], (int, float)) for line in worst)}
    text = frozenset(set(range(len(names))) - numeric)
    shown = words.counted(len(rows), "case")
    tables = (Table("Largest errors first", titles, rows, text),)
    pictures = pictures_of(worst, evaluation.curves.get("typical") or [], context, score)
    return Section((sentence.format(shown=shown),), tables, pictures=pictures)
