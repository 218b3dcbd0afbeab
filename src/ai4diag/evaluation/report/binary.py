"""What the report shows of two classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ai4diag.evaluation.report import charts, words
from ai4diag.evaluation.report.charts import Chart, Line, Table
from ai4diag.evaluation.report.classes import pictures_of
from ai4diag.evaluation.report.context import ReportContext
from ai4diag.evaluation.report.frequencies import Dots, dots, frequency, known, of_hundred
from ai4diag.evaluation.report.parts import Section, defined, plain, said

if TYPE_CHECKING:
    from ai4diag.evaluation.evaluate import Evaluation

TRUTH = "Truth"
"""What the classes of a case are called."""
COUNTED = "{name}"
"""Heading of the number of cases of a class."""
YES = "A score of at least {at:.3g} counts as a yes."
"""What the operating point means."""
LEGEND: tuple[tuple[str, str], ...] = ()
"""Nothing is drawn over pictures."""
ERRORS = 10
"""Worst cases that are shown in a table."""


def answers(evaluation: Evaluation) -> tuple[str, ...]:
    """Return what is found, cleared and right of 100 at the operating point."""
    counts = evaluation.curves.get("confusion")
    if not counts:
        return ()
    negative, positive = map(_literal, evaluation.classes)
    ill, well = counts["tp"] + counts["fn"], counts["tn"] + counts["fp"]
    share = f"{words.of_hundred(ill / (ill + well))[0]} of 100"
    templates: list[tuple[str, str, int]] = [
        ("sensitivity", f"Of 100 {positive} cases, the model finds {{}}; it misses the others.", ill),
        ("specificity", f"Of 100 {negative} cases, it clears {{}}; the others are false alarms.", well),
        (
            "ppv",
            f"Of 100 cases that it calls {positive}, {{}} are. This holds where {share} cases are {positive}, as here; "
            "where they are rarer, fewer of its alarms are right.",
            counts["tp"] + counts["fp"],
        ),
    ]
    stated = evaluation.operating_point.prevalence
    if stated is not None:
        where = f"Where {frequency(stated)} cases are {positive}, as the recipe states for its use"
        templates.append(("ppv_at_prevalence", f"{where}, of 100 that it calls so {{}} are.", 0))
    found = [(known(evaluation, name), text, tested) for name, text, tested in templates]
    return tuple(text.format(of_hundred(item, tested)) for item, text, tested in found if item is not None)


def pictured(evaluation: Evaluation) -> tuple[Dots, ...]:
    """Return what is found and cleared as dots."""
    negative, positive = map(_literal, evaluation.classes)
    found = dots(known(evaluation, "sensitivity"), f"{{}} of 100 {positive} cases found")
    return found + dots(known(evaluation, "specificity"), f"{{}} of 100 {negative} cases cleared")


def _literal(name: str) -> str:
    """Return a name whose braces are no places to fill."""
    return name.replace("{", "{{").replace("}", "}}")


def never(evaluation: Evaluation) -> tuple[str, ...]:
    """Return that a score is no probability, where calibration says so."""
    slope = known(evaluation, "calibration_slope")
    if "reliability" not in evaluation.curves:
        return ("That a score is a probability: some lie outside 0 to 1.",)
    if slope is not None and (slope.low > 1 or slope.high < 1):
        extreme = "cautious" if slope.low > 1 else "extreme"
        return (
            f"That a score of 0.3 means 30 of 100: the scores are too {extreme} (calibration slope "
            f"{words.number(slope.value)}, {words.limits(slope)}; 1 is ideal).",
        )
    level = known(evaluation, "calibration_intercept")
    if level is not None and (level.low > 0 or level.high < 0):
        high = "low" if level.low > 0 else "high"
        return (
            f"That a score of 0.3 means 30 of 100: the scores are too {high} (calibration intercept "
            f"{words.number(level.value)}, {words.limits(level)}; 0 is ideal).",
        )
    return ()


def curves(evaluation: Evaluation) -> list[Chart]:
    """Return the plots of the curves that are defined."""
    found, known = [], evaluation.curves
    counts = known.get("confusion")
    rates = _rates(counts) if counts else None
    roc, pr = known["roc"], known["pr"]
    if defined(roc["fpr"], roc["tpr"]):
        point = (1 - rates["specificity"], rates["sensitivity"]) if rates else None
        area = said(evaluation, "auroc")
        found.append(charts.roc(Line("", roc["fpr"], roc["tpr"]), roc["threshold"], point, area))
    if defined(pr["recall"], pr["precision"]):
        point = (rates["sensitivity"], rates["ppv"]) if rates else None
        area = said(evaluation, "auprc")
        line = Line("", pr["recall"], pr["precision"])
        found.append(charts.precision_recall(line, pr["threshold"], known["prevalence"], point, area))
    if "reliability" in known and known["reliability"]["n"]:
        bins = known["reliability"]
        found.append(charts.reliability(bins["mean_score"], bins["observed"], bins["n"]))
    if known.get("reliability_recalibrated", {}).get("n"):
        bins = known["reliability_recalibrated"]
        found.append(charts.reliability(bins["mean_score"], bins["observed"], bins["n"], recalibrated=True))
    if "decision" in known and defined(known["decision"]["model"]):
        found.append(charts.decision(**known["decision"]))
    return found


def _rates(counts: Mapping[str, int]) -> dict[str, float]:
    def share(part: int, rest: int) -> float:
        return part / (part + rest) if part + rest else math.nan

    return {
        "sensitivity": share(counts["tp"], counts["fn"]),
        "specificity": share(counts["tn"], counts["fp"]),
        "ppv": share(counts["tp"], counts["fp"]),
    }


def confusion(evaluation: Evaluation) -> Table | None:
    """Return who was called what at the operating point; None without one."""
    counts = evaluation.curves.get("confusion")
    if not counts:
        return None
    negative, positive = evaluation.classes
    tp, fp, fn, tn = (counts[key] for key in ("tp", "fp", "fn", "tn"))
    return Table(
        "Confusion matrix: cases",
        ("Truth", f"called {positive}", f"called {negative}", "all"),
        ((positive, f"{tp:,}", f"{fn:,}", f"{tp + fn:,}"), (negative, f"{fp:,}", f"{tn:,}", f"{fp + tn:,}")),
    )


def cases(evaluation: Evaluation, context: ReportContext) -> Section | None:
    """Return the worst cases, and typical ones where there are pictures; None when there are none."""
    worst = evaluation.curves.get("worst") or []
    if not worst:
        return None
    table = _error_table(worst[:ERRORS], evaluation)
    wrong = sum(row[1] != row[2] for row in table.rows)
    shown = words.counted(len(table.rows), "case")
    sentence = f"The {shown} of the test part whose score is furthest from the truth; {wrong} of them called wrongly."
    typical = _called(evaluation.curves.get("typical") or [], evaluation)
    return Section((sentence,), (table,), pictures=pictures_of(_called(worst, evaluation), typical, context, "Score"))


def _called(lines: Sequence[Mapping[str, Any]], evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return cases with what they were called at the operating point of their fold."""
    point, found = evaluation.operating_point, []
    for line in lines:
        at = point.folds.get(int(line["fold"]), point.value)
        called = "undecided" if math.isnan(at) else evaluation.classes[int(line["score"] >= at)]
        found.append({"case_id": "", "truth": "", "score": "", "called": called, **line})
    return found


def _error_table(worst: Sequence[Mapping[str, Any]], evaluation: Evaluation) -> Table:
    """Return the cases with what they were called; columns that say nothing are left out."""
    lines = _called(worst, evaluation)
    first = ["case_id", "truth", "called", "score"]
    names = [name for name in lines[0] if name not in first]
    names = [name for name in names if len({str(line[name]) for line in lines}) > 1]
    names = first + [name for name in names if any(str(line[name]) != str(line["case_id"]) for line in lines)]
    titles = tuple(name.replace("_id", "").replace("_", " ").capitalize() for name in names)
    rows = tuple(
        tuple(words.number(line[name]) if name == "score" else plain(line[name]) for name in names) for line in lines
    )
    numeric = {i for i, name in enumerate(names) if all(isinstance(line[name], (int, float)) for line in lines)}
    return Table("Largest errors first", titles, rows, frozenset(set(range(len(names))) - numeric))
