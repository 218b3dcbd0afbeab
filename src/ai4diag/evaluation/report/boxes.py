"""What the report shows of boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ai4diag.evaluation.report import charts, words
from ai4diag.evaluation.report.box_planes import scan_picture
from ai4diag.evaluation.report.charts import Chart, Line, Table
from ai4diag.evaluation.report.context import ReportContext
from ai4diag.evaluation.report.frequencies import Dots, dots, known, of_hundred
from ai4diag.evaluation.report.parts import Section, defined
from ai4diag.evaluation.report.pictures import MOST_TAGS, CasePicture, case_picture

if TYPE_CHECKING:
    from ai4diag.evaluation.evaluate import Evaluation

TRUTH = "Boxes"
"""What the classes of a case are called."""
COUNTED = "{name} boxes"
"""Heading of the number of boxes of a class."""
YES = "A score of at least {at:.3g} counts as a yes."
"""What the operating point means."""
PICTURES = 8
"""Worst cases that are shown as pictures."""


def answers(evaluation: Evaluation) -> tuple[str, ...]:
    """Return what is found and right of 100 boxes, false boxes per image, and the class that is found least often."""
    counts = evaluation.curves.get("confusion")
    hit, right = (known(evaluation, name) for name in ("sensitivity", "ppv"))
    if not counts or hit is None:
        return ()
    matrix = np.asarray(counts, np.int64)
    truth, drawn = int(matrix[:-1].sum()), int(matrix[:, :-1].sum())
    found = [f"Of 100 true boxes, the model finds {of_hundred(hit, truth)}."]
    if right is not None:
        wrong = drawn - int(np.trace(matrix[:-1, :-1]))
        found.append(
            f"Of 100 boxes that it draws, {of_hundred(right, drawn)} are right. In {words.counted(hit.n, 'case')} "
            f"{words.counted(wrong, 'box', 'boxes')} {'is' if wrong == 1 else 'are'} false: {wrong / hit.n:.2g} each."
        )
    each = matrix[:-1].sum(axis=1)
    if len(each) > 1 and (each > 0).sum() > 1:
        shares = np.divide(np.diag(matrix)[:-1], each, out=np.ones(len(each)), where=each > 0)
        least = int(shares.argmin())
        found.append(f"Found least often is {evaluation.classes[least]}: {matrix[least, least]:,} of {each[least]:,}.")
    return tuple(found)


def pictured(evaluation: Evaluation) -> tuple[Dots, ...]:
    """Return what is found and right as dots."""
    if not evaluation.curves.get("confusion"):
        return ()
    found = dots(known(evaluation, "sensitivity"), "{} of 100 true boxes found")
    return found + dots(known(evaluation, "ppv"), "{} of 100 drawn boxes right")


def never(evaluation: Evaluation) -> tuple[str, ...]:
    """Return that a box is only as right as the overlap that was asked."""
    return (
        "That a box is exact: it counts as right from half an overlap on (IoU 0.5).",
        "That a picture without boxes holds nothing.",
    )


def curves(evaluation: Evaluation) -> list[Chart]:
    """Return the plots of the curves that are defined."""
    found, known = [], evaluation.curves
    pr = {name: curve for name, curve in known["pr"].items() if defined(curve["recall"], curve["precision"])}
    if pr:
        lines = [Line(name, curve["recall"], curve["precision"]) for name, curve in pr.items()]
        found.append(charts.precision_recall_per_class(lines))
    froc = {name: curve for name, curve in known["froc"].items() if defined(curve["sensitivity"])}
    if froc:
        lines = [Line(name, curve["false_per_image"], curve["sensitivity"]) for name, curve in froc.items()]
        first = next(iter(froc.values()))
        found.append(charts.froc(lines, first["at"], [curve["sensitivity_at"] for curve in froc.values()]))
    return found


def confusion(evaluation: Evaluation) -> Table | None:
    """Return which boxes were called what at the operating point; None without one."""
    counts = evaluation.curves.get("confusion")
    if not counts:
        return None
    rows = [
        (name, *(f"{n:,}" for n in line))
        for name, line in zip((*evaluation.classes, "nothing there"), counts, strict=True)
    ]
    rows[-1] = (*rows[-1][:-1], "")
    columns = ("", *(f"called {name}" for name in evaluation.classes), "missed")
    return Table("Confusion matrix at IoU 0.5: boxes", ("Truth", *columns[1:]), tuple(rows))


def cases(evaluation: Evaluation, context: ReportContext) -> Section | None:
    """Return the worst cases, and typical ones where there are pictures; None when there are none."""
    worst = evaluation.curves.get("worst") or []
    if not worst:
        return None
    typical = evaluation.curves.get("typical") or []
    groups = []
    for key, title, some in (("worst", "Most errors", worst[:PICTURES]), ("typical", "Typical", typical)):
        pictures = tuple(
            _picture(case, evaluation.classes, context, f"{key}{number}") for number, case in enumerate(some)
        )
        groups += [(title, pictures)] if pictures else []
    at = evaluation.curves["worst_threshold"]
    noun = "images" if context.scan is None else "volumes"
    sentence = (
        f"Test {noun} with the most errors, then such with a middling number. Detections with a score of at least "
        f"{at:.3g} are shown; one is right if its class is right and it overlaps the truth by at least half (IoU 0.5). "
        "A box of the right class that overlaps less is marked as off; it counts as missed and as a false alarm."
    )
    sentence += f" At most {MOST_TAGS} mistakes of a picture are named in it." if context.scan is None else ""
    return Section((sentence,), pictures=tuple(groups))


def _picture(case: Mapping[str, Any], classes: Sequence[str], context: ReportContext, key: str) -> CasePicture:
    """Return the picture of one image or volume."""
    name = str(case["case_id"])
    if context.scan is not None:
        return scan_picture(case, classes, context.scan(name), key)
    return case_picture(case, classes, None if context.picture is None else context.picture(name), key)
