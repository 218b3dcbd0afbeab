"""What each section of the report says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ai4diag.evaluation.report import charts, words
from ai4diag.evaluation.report.charts import Chart, Line, Table
from ai4diag.evaluation.report.context import ReportContext
from ai4diag.evaluation.report.pictures import CasePicture, case_picture
from ai4diag.types import Estimate

if TYPE_CHECKING:
    from ai4diag.evaluation.evaluate import Evaluation

CONTENTS = (
    ("summary", "In plain words"),
    ("estimates", "Estimates"),
    ("curves", "Curves"),
    ("operating", "At the operating point"),
    ("subgroups", "Subgroups"),
    ("contrast", "What a wrong split claims"),
    ("cases", "Cases"),
    ("data", "Data"),
    ("training", "Training"),
    ("reproduce", "How to reproduce"),
    ("checked", "Checked and not"),
)
PICTURES = 8
"""Worst cases that are shown as pictures."""
ERRORS = 10
"""Worst cases that are shown in a table."""


@dataclass(frozen=True)
class Section:
    """What a section holds; the template shows what is there."""

    sentences: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    chart: Chart | None = None
    pictures: tuple[tuple[str, tuple[CasePicture, ...]], ...] = ()


@dataclass(frozen=True)
class Gate:
    """The release gate: whether it is met, in a word and a sentence, and its lines."""

    met: bool
    word: str
    sentence: str
    table: Table | None


def level(context: ReportContext) -> float:
    """Return the confidence level of the intervals."""
    return float(context.recipe["evaluate"]["interval"]["level"])


def interval_text(estimate: Estimate, confidence: float) -> str:
    """Return the interval of the headline, or why there is none."""
    if math.isnan(estimate.value):
        return estimate.note or "too little data"
    if math.isnan(estimate.low):
        return "no interval"
    return f"{confidence:.0%} interval {words.limits(estimate)}"


def facts(headline: Estimate, context: ReportContext) -> list[tuple[str, str]]:
    """Return on whom the model was tested, as terms and facts."""
    lines = [line for line in context.parts if line.part in ("test", "every fold")]
    sites = sorted({line.site for line in lines})
    found = [
        ("Tested on", f"{words.counted(headline.n, 'case')} of {words.counted(headline.n_patients, 'patient')}"),
        ("From", words.counted(len(sites), "site") + (f": {', '.join(sites)}" if 0 < len(sites) <= 5 else "")),
    ]
    if lines:
        counts = np.sum([line.counts for line in lines], axis=0)
        named = ", ".join(f"{int(n):,} {name}" for name, n in zip(context.classes, counts, strict=True))
        found.append(("Boxes" if context.task == "detection" else "Truth", named))
    learned = context.recipe["train"]["parts"]
    train = sum(line.cases for line in context.parts if line.part in learned)
    if train:
        found.append(("Trained on", words.counted(train, "case")))
    if context.folds:
        found.append(("Cross-validation", words.counted(context.folds, "fold")))
    return found


def gate(evaluation: Evaluation, context: ReportContext) -> Gate:
    """Return what the release gate asks and whether it is met."""
    if not context.gate:
        return Gate(False, "No release gate", "The recipe asks for no lower limit; nothing was decided.", None)
    test = {item.name: item for item in evaluation.estimates if item.part == "test" and item.subgroup == "all"}
    rows = []
    for key, least in context.gate.items():
        name = key.removesuffix("_low")
        rows.append((words.name(name), f"{least:g}", words.number(test[name].low) if name in test else "undefined"))
    columns = ("Estimate", "Asked at least", "Lower limit found")
    table = Table("Release gate, on the lower limit of the interval", columns, tuple(rows))
    if context.unmet:
        return Gate(False, "Release gate not met", f"{'; '.join(context.unmet)}.", table)
    asked = ", ".join(f"{name} at least {least}" for name, least, _ in rows)
    return Gate(True, "Release gate met", f"Asked of the lower limit of the interval: {asked}.", table)


def how(headline: Estimate, context: ReportContext, confidence: float) -> str:
    """Return how to read the table of estimates."""
    unit = context.recipe["evaluate"]["interval"]["unit"]
    folds = f", each tested once in one of {context.folds} folds" if context.folds else ""
    return (
        f"Every estimate rests on {words.counted(headline.n, 'case')}{folds}, answered by a model that has not learned "
        f"from them. Intervals are made so that {100 * confidence:g} of 100 such studies cover the true "
        f"value: whole units of {unit} are drawn again and again, so that cases that belong together count together."
    )


def other_parts(evaluation: Evaluation) -> list[Table]:
    """Return the estimates of the validation part, for comparison."""
    found = [item for item in evaluation.estimates if item.part == "validation"]
    return [charts.estimate_table("On the validation part, for comparison", found)] if found else []


def curves(evaluation: Evaluation, context: ReportContext) -> list[Chart]:
    """Return the plots of the curves that are defined."""
    return _detection_curves(evaluation) if evaluation.task == "detection" else _binary_curves(evaluation)


def _said(evaluation: Evaluation, name: str) -> str:
    item = next(i for i in evaluation.estimates if (i.name, i.part, i.subgroup) == (name, "test", "all"))
    return f"{words.name(name)} {words.number(item.value)}, interval {words.limits(item)}"


def _binary_curves(evaluation: Evaluation) -> list[Chart]:
    found, known = [], evaluation.curves
    counts = known.get("confusion")
    rates = _rates(counts) if counts else None
    roc, pr = known["roc"], known["pr"]
    if _defined(roc["fpr"], roc["tpr"]):
        point = (1 - rates["specificity"], rates["sensitivity"]) if rates else None
        area = _said(evaluation, "auroc")
        found.append(charts.roc(Line("", roc["fpr"], roc["tpr"]), roc["threshold"], point, area))
    if _defined(pr["recall"], pr["precision"]):
        point = (rates["sensitivity"], rates["ppv"]) if rates else None
        area = _said(evaluation, "auprc")
        line = Line("", pr["recall"], pr["precision"])
        found.append(charts.precision_recall(line, pr["threshold"], known["prevalence"], point, area))
    if "reliability" in known and known["reliability"]["n"]:
        bins = known["reliability"]
        found.append(charts.reliability(bins["mean_score"], bins["observed"], bins["n"]))
    if "decision" in known and _defined(known["decision"]["model"]):
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


def _detection_curves(evaluation: Evaluation) -> list[Chart]:
    found, known = [], evaluation.curves
    pr = {name: curve for name, curve in known["pr"].items() if _defined(curve["recall"], curve["precision"])}
    if pr:
        lines = [Line(name, curve["recall"], curve["precision"]) for name, curve in pr.items()]
        found.append(charts.precision_recall_per_class(lines))
    froc = {name: curve for name, curve in known["froc"].items() if _defined(curve["sensitivity"])}
    if froc:
        lines = [Line(name, curve["false_per_image"], curve["sensitivity"]) for name, curve in froc.items()]
        first = next(iter(froc.values()))
        found.append(charts.froc(lines, first["at"], [curve["sensitivity_at"] for curve in froc.values()]))
    return found


def _defined(*values: Sequence[float]) -> bool:
    return all(len(numbers) > 0 and not any(math.isnan(number) for number in numbers) for numbers in values)


def operating(evaluation: Evaluation) -> Section:
    """Return the operating point: how it was fixed, and who was called what."""
    point, known = evaluation.operating_point, evaluation.curves
    if math.isnan(point.value):
        return Section((f"No operating point: {point.note or 'it could not be fixed'}. The rule was: {point.rule}.",))
    sentence = (
        f"A score of at least {point.value:.3g} counts as a yes. Rule: {point.rule}; never chosen on the test part."
    )
    own = {fold: value for fold, value in point.folds.items() if value != point.value}
    if own:
        each = ", ".join(f"{value:.3g}" for _, value in sorted(point.folds.items()))
        sentence += f" Each fold's model has its own threshold, fixed on its own validation cases: {each}."
    if point.note:
        sentence += f" To mind: {point.note}."
    counts = known.get("confusion")
    if not counts:
        return Section((sentence,))
    if evaluation.task == "detection":
        rows = [
            (name, *(f"{n:,}" for n in line))
            for name, line in zip((*evaluation.classes, "nothing there"), counts, strict=True)
        ]
        rows[-1] = (*rows[-1][:-1], "")
        columns = ("", *(f"called {name}" for name in evaluation.classes), "missed")
        table = Table("Confusion matrix at IoU 0.5: boxes", ("Truth", *columns[1:]), tuple(rows))
        return Section((sentence,), (table,))
    negative, positive = evaluation.classes
    tp, fp, fn, tn = (counts[key] for key in ("tp", "fp", "fn", "tn"))
    table = Table(
        "Confusion matrix: cases",
        ("Truth", f"called {positive}", f"called {negative}", "all"),
        ((positive, f"{tp:,}", f"{fn:,}", f"{tp + fn:,}"), (negative, f"{fp:,}", f"{tn:,}", f"{fp + tn:,}")),
    )
    return Section((sentence,), (table,))


def subgroups(evaluation: Evaluation) -> Section | None:
    """Return the headline estimate in subgroups, and every other one in a table; None without subgroups."""
    every = [item for item in evaluation.estimates if item.part == "test" and item.subgroup != "all"]
    if not every:
        return None
    shown = [item for item in every if item.name == evaluation.primary]
    masked = sorted({words.group(item.subgroup) for item in every if item.note.startswith("masked")})
    sentence = "A model can be good on average and poor for some. "
    sentence += f"Masked, because too few patients: {', '.join(masked)}." if masked else "No subgroup is masked."
    tables = []
    difference = f"{evaluation.primary}_difference"
    names = dict.fromkeys(item.name for item in every if item.name != evaluation.primary)
    for name in sorted(names, key=lambda name: name != difference):
        group = [item for item in every if item.name == name]
        tables.append(charts.estimate_table(f"{words.name(name)} in subgroups", group, by_group=True))
    chart = charts.forest(evaluation.estimates[0], shown) if shown else None
    return Section((sentence,), tuple(tables), chart)


def contrast(evaluation: Evaluation, context: ReportContext) -> Section | None:
    """Return what the split that is wrong on purpose would have claimed; None without one."""
    claimed = [item for item in evaluation.estimates if item.part == "contrast"]
    if not claimed:
        return None
    split, honest, wrong = context.recipe["data"]["split"], evaluation.estimates[0], claimed[0]
    sentences = (
        f"The same recipe was also tried on folds that keep {split['contrast']} together instead of {split['by']}. "
        "That is wrong on purpose: cases of one patient then stand on both sides, and a model that recognises the "
        "patient looks as if it recognised the disease. The next patient is always a new one.",
        f"The wrong split would have claimed {words.name(wrong.name)} {words.number(wrong.value)}; the right one gives "
        f"{words.number(honest.value)}. Only the right one is evidence.",
    )
    rows = tuple(
        (
            label,
            words.name(item.name),
            words.number(item.value),
            words.limits(item),
            f"{item.n:,}",
            f"{item.n_patients:,}",
        )
        for label, item in (
            (f"right: by {split['by']}", honest),
            *((f"wrong: by {split['contrast']}", item) for item in claimed),
        )
    )
    columns = ("Split", "Estimate", "Value", "Interval", "Cases", "Patients")
    return Section(sentences, (Table("The two splits", columns, rows, frozenset({0, 1})),))


def cases(evaluation: Evaluation, context: ReportContext) -> Section | None:
    """Return the worst cases, and typical ones where there are pictures; None when there are none."""
    worst = evaluation.curves.get("worst") or []
    if not worst:
        return None
    if evaluation.task == "tabular":
        table = _error_table(worst[:ERRORS], evaluation)
        wrong = sum(row[1] != row[2] for row in table.rows)
        shown = words.counted(len(table.rows), "case")
        sentence = (
            f"The {shown} of the test part whose score is furthest from the truth; {wrong} of them called wrongly."
        )
        return Section((sentence,), (table,))
    typical = evaluation.curves.get("typical") or []
    groups = []
    for key, title, some in (("worst", "Most errors", worst[:PICTURES]), ("typical", "Typical", typical)):
        pictures = tuple(
            case_picture(
                case,
                evaluation.classes,
                None if context.picture is None else context.picture(str(case["case_id"])),
                f"{key}{number}",
            )
            for number, case in enumerate(some)
        )
        groups += [(title, pictures)] if pictures else []
    at = evaluation.curves["worst_threshold"]
    sentence = (
        "Test images with the most errors, then such with a middling number. Detections with a score of at least "
        f"{at:.3g} are shown; one is right if its class is right and it overlaps the truth by at least half (IoU 0.5). "
        "A box of the right class that overlaps less is marked as off; it counts as missed and as a false alarm."
    )
    return Section((sentence,), pictures=tuple(groups))


def _error_table(worst: Sequence[Mapping[str, Any]], evaluation: Evaluation) -> Table:
    """Return the cases with what they were called; columns that say nothing are left out."""
    point, lines = evaluation.operating_point, []
    for line in worst:
        at = point.folds.get(int(line["fold"]), point.value)
        called = "undecided" if math.isnan(at) else evaluation.classes[int(line["score"] >= at)]
        lines.append({"case_id": "", "truth": "", "score": "", "called": called, **line})
    first = ["case_id", "truth", "called", "score"]
    names = [name for name in lines[0] if name not in first]
    names = [name for name in names if len({str(line[name]) for line in lines}) > 1]
    names = first + [name for name in names if any(str(line[name]) != str(line["case_id"]) for line in lines)]
    titles = tuple(name.replace("_id", "").replace("_", " ").capitalize() for name in names)
    rows = tuple(
        tuple(words.number(line[name]) if name == "score" else _plain(line[name]) for name in names) for line in lines
    )
    numeric = {i for i, name in enumerate(names) if all(isinstance(line[name], (int, float)) for line in lines)}
    return Table("Largest errors first", titles, rows, frozenset(set(range(len(names))) - numeric))


def data(context: ReportContext) -> dict[str, Any]:
    """Return the data table, the findings, and where the data come from."""
    boxes = context.task == "detection"
    columns = ("Part", "Site", "Cases", "Patients", *(f"{name} boxes" if boxes else name for name in context.classes))
    rows = tuple(
        (line.part, line.site, *(f"{n:,}" for n in (line.cases, line.patients, *line.counts))) for line in context.parts
    )
    found = tuple((f.level, f.code, f.where, f.found, f.expected, f.cure) for f in context.findings)
    headings = ("Level", "Code", "Where", "Found", "Expected", "What to do")
    facts = context.dataset
    source = (
        ("Citation", facts.citation),
        ("Page", facts.page),
        ("Licence", facts.licence),
        ("Attribution", facts.attribution),
        ("Terms", facts.terms),
    )
    return {
        "table": Table("Cases per part and site", columns, rows, frozenset({0, 1})) if rows else None,
        "findings": Table("Findings", headings, found, frozenset(range(6))) if found else None,
        "source": Table(
            "Source and licence", ("Item", "What the card says"), tuple(r for r in source if r[1]), frozenset({0, 1})
        ),
    }


def hashes(context: ReportContext) -> Table:
    """Return the SHA-256 of what the report rests on."""
    rows = tuple(context.hashes.items())
    return Table("SHA-256 of what this report rests on", ("What", "SHA-256"), rows, frozenset({0, 1}))


def recipe(context: ReportContext) -> Table:
    """Return the recipe as a flat table of settings."""
    rows = tuple(_flat(context.recipe))
    return Table("Recipe, defaults included", ("Setting", "Value"), rows, frozenset({0, 1}))


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", _plain(value)))
    return rows


def _plain(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(item) for item in value) or "none"
    if isinstance(value, Mapping):
        return "none" if not value else str(dict(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
