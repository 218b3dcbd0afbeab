"""Two or more models on the same cases: how far apart they are, and how sure that is.

Both are estimated in the same resamples: a patient who is drawn is drawn for every model. What makes a resample easy
makes it easy for all, so that a difference is known more exactly than the two intervals side by side suggest.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 8 (resampling whole units).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.plan import Evaluate
from ai4diag.errors import DataError, UsageError
from ai4diag.evaluation import guard
from ai4diag.evaluation.bootstrap import FEW_UNITS, in_words, intervals
from ai4diag.evaluation.classification import Threshold
from ai4diag.evaluation.delong import delong
from ai4diag.evaluation.evaluate import (
    Entries,
    Scores,
    check_columns,
    estimates_of,
    fixed_beforehand,
    groups,
    headline_first,
)
from ai4diag.evaluation.paired_words import Verdict, judge, minding
from ai4diag.evaluation.predictions import check
from ai4diag.evaluation.remembered import Remembered
from ai4diag.evaluation.targets import scored_by
from ai4diag.evaluation.truth import differing
from ai4diag.types import Estimate

ScoresOf = Callable[..., Scores]
"""From the position of a side, and a subgroup (all cases, when left out), to these cases ready to be weighted."""


@dataclass(frozen=True)
class Side:
    """What one model answered, and how its answers are read.

    Attributes:
        label: what it is called, such as `A`.
        predictions: see `ai4diag.evaluation.predictions`; its validation lines fix its own operating point.
        plan: its own `evaluate` block.
    """

    label: str
    predictions: pd.DataFrame
    plan: Evaluate


@dataclass(frozen=True)
class Pair:
    """One estimate of two models on the same cases, in the same resamples.

    Attributes:
        reference, other: the estimate of each.
        difference: other minus reference.
    """

    reference: Estimate
    other: Estimate
    difference: Estimate

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class AreaTest:
    """The difference of two AUROCs after DeLong, without resampling.

    Attributes:
        value, low, high: other minus reference, with its interval.
        p: two-sided, of no difference; adjusted (Holm) where several models are compared with the reference.
        clustered: whether patients have several cases, so that Obuchowski's version was used.
    """

    value: float
    low: float
    high: float
    p: float
    clustered: bool


@dataclass(frozen=True)
class Comparison:
    """One model beside the reference.

    Attributes:
        reference, other: their labels.
        pairs: the headline first, the other estimates of the whole test part, the headline in subgroups.
        headline: difference of the headline; its interval is at `level`.
        level: of the headline's interval, raised where several models are compared (Bonferroni).
        verdict: what the headline says.
        delong: for the AUROC of a binary outcome.
    """

    reference: str
    other: str
    pairs: list[Pair]
    headline: Estimate
    level: float
    verdict: Verdict
    delong: AreaTest | None


@dataclass(frozen=True)
class Comparisons:
    """Models on the same cases.

    Attributes:
        target, classes, primary: what was predicted, and the headline.
        cases, patients: what all of them answered.
        left_out: by label, test cases that another one has no answer for.
        margin: the largest difference that does not matter, if one was named; else NaN.
        comparisons: every other model beside the first.
        notes: what to mind.
    """

    target: str
    classes: tuple[str, ...]
    primary: str
    cases: int
    patients: int
    left_out: dict[str, int]
    margin: float
    comparisons: list[Comparison]
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def compare(
    sides: Sequence[Side], *, target: str, classes: Sequence[str], plan: Evaluate, margin: float = np.nan
) -> Comparisons:
    """Compare models with the first of them, on the test cases that all answered.

    Args:
        sides: at least two.
        target: what was predicted.
        classes: class names.
        plan: headline, intervals, subgroups and their least size; operating points are each side's own.
        margin: the largest difference of the headline that does not matter.

    Raises:
        UsageError: fewer than two sides, or a margin that is not above 0.
        DataError: no case in common; a case of which the truth differs, which is named.
        ConfigError: the plan names an estimate, unit or subgroup that does not exist, or a headline that would mislead.
    """
    if len(sides) < 2:
        raise UsageError("One model alone cannot be compared.", "Name two or more.")
    if not (np.isnan(margin) or 0 < margin < np.inf):
        raise UsageError(f"A margin is a number above 0, found {margin:g}.")
    for side in sides:
        check(side.predictions, target, classes, f"The table of predictions of {side.label}")
    tables, left_out = _same_cases(sides, target, classes)
    check_columns(tables[0], (plan.interval.unit,), "interval.unit")
    check_columns(tables[0], plan.subgroups, "subgroups")
    inside_of = {f"{a}={name}": inside for a in plan.subgroups for name, inside in groups(tables[0][a])}
    scoring = scored_by(target)
    guard.refuse(tables[0], target, classes, plan)
    points = [_operating_point(side, target, classes) for side in sides]

    @cache
    def scores_of(position: int, subgroup: str = "") -> Scores:
        rows = tables[position][inside_of[subgroup]] if subgroup else tables[position]
        return Remembered(scoring.scores(rows, classes, points[position]))

    unit = tables[0][plan.interval.unit]
    level = 1 - (1 - plan.interval.level) / (len(sides) - 1)
    tests = _area_tests(tables, unit, level) if target == "binary" and plan.primary == "auroc" else [None] * len(sides)
    comparisons = []
    for position in range(1, len(sides)):
        pairs = _pairs(scores_of(0), scores_of(position), tables[0], plan)
        for subgroup, inside in inside_of.items():
            pairs.append(_in_subgroup(scores_of, position, inside, tables[0], plan, subgroup))
        headline = (
            _headline(scores_of(0), scores_of(position), tables[0], plan, level)
            if len(sides) > 2
            else pairs[0].difference
        )
        labels, test = (sides[0].label, sides[position].label), tests[position]
        identical = _same_answers(tables[0], tables[position])
        limits = (test.low, test.high) if test else None
        verdict = judge(plan.primary, headline, labels, margin, identical=identical, test=limits)
        comparisons.append(Comparison(*labels, pairs, headline, level, verdict, test))
    return Comparisons(
        target=target,
        classes=tuple(classes),
        primary=plan.primary,
        cases=len(unit),
        patients=unit.nunique(),
        left_out=left_out,
        margin=margin,
        comparisons=comparisons,
        notes=_notes(sides, tables, points, comparisons, left_out, plan),
    )


def _same_cases(
    sides: Sequence[Side], target: str, classes: Sequence[str]
) -> tuple[list[pd.DataFrame], dict[str, int]]:
    """Return the test lines of the cases that all sides have, in the order of the first, and how many each has more.

    A case that is in several folds of a side is known by its fold as well. Attributes are those of the first side.
    """
    tests = [side.predictions[side.predictions["part"] == "test"] for side in sides]
    key = ["case_id", "fold"] if any(test["case_id"].duplicated().any() for test in tests) else ["case_id"]
    tests = [test.assign(case_id=test["case_id"].astype(str)).set_index(key, drop=False) for test in tests]
    common = tests[0].index
    for test in tests[1:]:
        common = common[common.isin(test.index)]
    if not len(common):
        first = [f"{s.label} has '{t['case_id'].iloc[0]}'" for s, t in zip(sides, tests, strict=True) if len(t)]
        raise DataError(
            f"No test case was answered by all: {', '.join(first) or 'there are none'}.",
            "Cases are matched by case_id. Compare models of the same data and split.",
        )
    tables = [test.loc[common].reset_index(drop=True) for test in tests]
    for side, table in zip(sides[1:], tables[1:], strict=True):
        wrong = np.flatnonzero(differing(tables[0], table, target, classes))
        if len(wrong):
            raise DataError(
                f"{sides[0].label} and {side.label} do not agree on the truth of {len(wrong)} of {len(common)} cases, "
                f"the first is '{table['case_id'].iloc[wrong[0]]}'.",
                "Models are compared on the same cases with the same truth: check case_id and the classes' order.",
            )
    left_out = {side.label: len(test) - len(common) for side, test in zip(sides, tests, strict=True)}
    return tables, left_out


def _operating_point(side: Side, target: str, classes: Sequence[str]) -> Threshold:
    parts = {name: side.predictions[side.predictions["part"] == name] for name in ("validation", "test")}
    return fixed_beforehand(parts, target, classes, side.plan)


def _pairs(
    reference: Scores, other: Scores, rows: pd.DataFrame, plan: Evaluate, subgroup: str | None = None
) -> list[Pair]:
    """Estimate what both can be asked for, the headline first; of a subgroup, the headline alone."""
    entries = headline_first([entry for entry in reference.entries if entry in other.entries], plan.primary)
    if subgroup is not None:
        entries = entries[:1]
    sides = [estimates_of(side, entries, rows, plan, "test", subgroup)[0] for side in (reference, other)]
    differences = _differences(reference, other, entries, rows, plan)
    return [
        Pair(one, two, replace(difference, subgroup=one.subgroup))
        for one, two, difference in zip(*sides, differences, strict=True)
    ]


def _differences(
    reference: Scores, other: Scores, entries: Entries, rows: pd.DataFrame, plan: Evaluate
) -> list[Estimate]:
    """Estimate other minus reference; patients are drawn once for both."""
    one, two = reference.statistic(entries), other.statistic(entries)
    unit = rows[plan.interval.unit].to_numpy()
    found = intervals(lambda weights: two(weights) - one(weights), unit, plan.interval, reference.presence)
    limits = list(zip(found.value.tolist(), found.low.tolist(), found.high.tolist(), strict=True))
    notes = [
        minding(*numbers, note, _left_out(reference, entry), _left_out(other, entry))
        for entry, numbers, note in zip(entries, limits, found.notes, strict=True)
    ]
    each = zip(entries, limits, notes, strict=True)
    return [
        Estimate(f"{name}_difference", *numbers, len(rows), found.n_units, "test", group, note)
        for (name, group), numbers, note in each
    ]


def _left_out(scores: Scores, entry: tuple[str, str]) -> npt.NDArray[np.bool_] | None:
    """Return which cases (and classes) a mean over what is defined leaves out; None for what is no such mean."""
    asked = getattr(scores, "undefined", None)
    return asked(*entry) if asked else None


def _in_subgroup(
    scores_of: ScoresOf, position: int, inside: npt.NDArray[np.bool_], rows: pd.DataFrame, plan: Evaluate, subgroup: str
) -> Pair:
    n_units = int(rows.loc[inside, plan.interval.unit].nunique())
    if n_units >= plan.minimum_n:
        return _pairs(scores_of(0, subgroup), scores_of(position, subgroup), rows[inside], plan, subgroup)[0]
    note = f"masked: fewer than {plan.minimum_n} patients"
    nothing = Estimate(plan.primary, np.nan, np.nan, np.nan, int(inside.sum()), n_units, "test", subgroup, note)
    return Pair(nothing, nothing, nothing)


def _headline(reference: Scores, other: Scores, rows: pd.DataFrame, plan: Evaluate, level: float) -> Estimate:
    """Return the difference of the headline at another level."""
    chosen = plan.model_copy(update={"interval": plan.interval.model_copy(update={"level": level})})
    return _differences(reference, other, [(plan.primary, "all")], rows, chosen)[0]


def _same_answers(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Return whether two tables hold the same in every column that both have, but for the fold and the site."""
    shared = [name for name in one if name in other and name not in ("fold", "site")]
    return all(
        all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(one[name], other[name], strict=True))
        for name in shared
    )


def _area_tests(tables: Sequence[pd.DataFrame], unit: pd.Series[Any], level: float) -> list[AreaTest | None]:
    """Return the test of each table's AUROC against that of the first, p adjusted after Holm."""
    clustered = bool(unit.duplicated().any())
    areas = delong(
        tables[0]["truth"].to_numpy(),
        np.stack([table["score"].to_numpy(np.float64) for table in tables]),
        unit.to_numpy() if clustered else None,
    )
    found = [areas.difference(position, 0, level) for position in range(1, len(tables))]
    adjusted = holm([item.p for item in found])
    return [None, *(AreaTest(f.value, f.low, f.high, p, clustered) for f, p in zip(found, adjusted, strict=True))]


def holm(p: Sequence[float]) -> list[float]:
    """Return p values adjusted for being several, NaN left out (Holm, Scandinavian Journal of Statistics 6:65, 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = [position for position in np.argsort(p) if not np.isnan(p[position])]
    adjusted, largest = list(p), 0.0
    for rank, position in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p[position]))
        adjusted[position] = largest
    return adjusted


def _notes(
    sides: Sequence[Side],
    tables: Sequence[pd.DataFrame],
    points: Sequence[Threshold],
    comparisons: Sequence[Comparison],
    left_out: dict[str, int],
    plan: Evaluate,
) -> list[str]:
    interval, units = plan.interval, tables[0][plan.interval.unit]
    notes = [
        f"Intervals: {in_words(interval)} of {units.nunique()} units of {interval.unit}, "
        f"the same ones drawn for all; {interval.resamples} resamples, seed {interval.seed}."
    ]
    missing = [f"{label} {count}" for label, count in left_out.items() if count]
    if missing:
        notes.append(f"Test cases left out because another one has no answer for them: {', '.join(missing)}.")
    for side, table in zip(sides[1:], tables[1:], strict=True):
        other = (
            int((table[interval.unit].astype(str) != units.astype(str)).sum()) if interval.unit in table else len(table)
        )
        if other:
            notes.append(
                f"{other} cases have another {interval.unit} in {side.label}; those of {sides[0].label} are used."
            )
    if units.nunique() < FEW_UNITS:
        notes.append(f"Only {units.nunique()} patients: such intervals tend to be too narrow.")
    if len(comparisons) > 1:
        notes.append(
            f"{len(comparisons)} models are compared with {sides[0].label}: the intervals of the verdicts are at "
            f"{100 * comparisons[0].level:.3g} %, so that together they hold at {interval.level:.0%} (Bonferroni)"
            + ("; p is adjusted after Holm." if comparisons[0].delong else ".")
        )
    others = sum(bool(np.isfinite(pair.difference.low)) for item in comparisons for pair in item.pairs[1:])
    if others:
        chance = others * (1 - interval.level)
        notes.append(
            f"The verdict is on {plan.primary} alone. The other {others} intervals are not adjusted for being many: "
            f"about {chance:{'.1g' if chance < 1 else '.0f'}} of them would leave out 0 if nothing differed."
        )
    if decided := _decided(sides, points):
        notes.append(f"Decisions are each one's own, at its own operating point: {decided}.")
    return notes


def _decided(sides: Sequence[Side], points: Sequence[Threshold]) -> str:
    """Return the operating points in words; empty where the target has none."""
    by_rule: dict[str, list[str]] = {}
    for side, point in zip(sides, points, strict=True):
        if "undefined" in point.note:
            by_rule.setdefault(point.note, []).append(side.label)
        elif point.value > 0:
            by_rule.setdefault(point.rule, []).append(f"{side.label} {point.value:.3g}")
    return "; ".join(f"{', '.join(values)} ({rule})" for rule, values in by_rule.items())
