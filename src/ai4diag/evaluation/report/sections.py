"""What each section of the report says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ai4diag.evaluation.report import charts, words
from ai4diag.evaluation.report.charts import Chart, Table
from ai4diag.evaluation.report.context import ReportContext
from ai4diag.evaluation.report.parts import Section, plain
from ai4diag.evaluation.targets import shown_as
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

SIDE_BY_SIDE = (
    "auroc",
    "sensitivity",
    "specificity",
    "ppv",
    "map_50",
    "froc_cpm",
    "dice",
    "hd95_mm",
    "volume_difference",
)
"""Estimates that the table of classes shows."""


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
    learned = "of which is not known whether it has learned" if context.outside else "that has not learned"
    return (
        f"Every estimate rests on {words.counted(headline.n, 'case')}{folds}, answered by a model {learned} "
        f"from them. Intervals are made so that {100 * confidence:g} of 100 such studies cover the true "
        f"value: whole units of {unit} are drawn again and again, so that cases that belong together count together."
    )


def by_class(evaluation: Evaluation, confidence: float) -> Table | None:
    """Return what is estimated of every class, side by side; None where there is one class, or nothing of each."""
    found = {(i.name, i.subgroup): i for i in evaluation.estimates if i.part == "test"}
    labels = [name for name in evaluation.classes if any(group == f"class={name}" for _, group in found)]
    names = [n for n in dict.fromkeys(n for n, group in found if group.startswith("class=")) if n in SIDE_BY_SIDE]
    if len(labels) < 2 or not names:
        return None
    rows = tuple((label, *(_cell(found.get((name, f"class={label}"))) for name in names)) for label in labels)
    caption = f"By class, with {confidence:.0%} intervals; notes stand with the subgroups"
    return Table(caption, ("Class", *map(words.name, names)), rows)


def _cell(item: Estimate | None) -> str:
    if item is None or math.isnan(item.value):
        return "undefined"
    return f"{words.number(item.value)} ({'no interval' if math.isnan(item.low) else words.limits(item)})"


def other_parts(evaluation: Evaluation) -> list[Table]:
    """Return the estimates of the validation part, for comparison."""
    found = [item for item in evaluation.estimates if item.part == "validation"]
    return [charts.estimate_table("On the validation part, for comparison", found)] if found else []


def curves(evaluation: Evaluation) -> list[Chart]:
    """Return the plots of the curves that are defined."""
    return shown_as(evaluation.target).curves(evaluation)


def cases(evaluation: Evaluation, context: ReportContext) -> Section | None:
    """Return the worst cases, and typical ones where there are pictures; None when there are none."""
    return shown_as(evaluation.target).cases(evaluation, context)


def operating(evaluation: Evaluation) -> Section:
    """Return the operating point: how it was fixed, and who was called what."""
    point = evaluation.operating_point
    if not point.rule:  # a target that has none
        table = shown_as(evaluation.target).confusion(evaluation)
        return Section((shown_as(evaluation.target).YES,), (table,) if table else ())
    if math.isnan(point.value):
        return Section((f"No operating point: {point.note or 'it could not be fixed'}. The rule was: {point.rule}.",))
    sentence = (
        f"{shown_as(evaluation.target).YES.format(at=point.value)} Rule: {point.rule}; never chosen on the test part."
    )
    own = {fold: value for fold, value in point.folds.items() if value != point.value}
    if own:
        each = ", ".join(f"{value:.3g}" for _, value in sorted(point.folds.items()))
        sentence += f" Each fold's model has its own threshold, fixed on its own validation cases: {each}."
    if point.note:
        sentence += f" To mind: {point.note}."
    table = shown_as(evaluation.target).confusion(evaluation)
    return Section((sentence,), (table,) if table else ())


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


def data(context: ReportContext) -> dict[str, Any]:
    """Return the data table, the findings, waived ones apart, and where the data come from."""
    heading = shown_as(context.target).COUNTED
    columns = ("Part", "Site", "Cases", "Patients", *(heading.format(name=name) for name in context.classes))
    rows = tuple(
        (line.part, line.site, *(f"{n:,}" for n in (line.cases, line.patients, *line.counts))) for line in context.parts
    )
    others = (item for item in context.findings if not item.waived)
    found = tuple((f.level, f.code, f.where, f.found, f.expected, f.cure) for f in others)
    waived = tuple((f.code, f.where, f.found, f.expected, f.waived) for f in context.findings if f.waived)
    reasons = ("Code", "Where", "Found", "Expected", "Reason for waiving")
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
        "waived": Table("Waived findings", reasons, waived, frozenset(range(5))) if waived else None,
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
            rows.append((f"{prefix}{key}", plain(value)))
    return rows
