"""From a table of predictions to estimates with intervals. Needs no model, and scores anybody's predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.plan import Evaluate
from ai4diag.errors import ConfigError, DataError, did_you_mean
from ai4diag.evaluation import guard, recalibration
from ai4diag.evaluation.bootstrap import ALL_AGREE, FEW_UNITS, Statistic, in_words, intervals
from ai4diag.evaluation.classification import Threshold
from ai4diag.evaluation.exact import at_the_border
from ai4diag.evaluation.predictions import check
from ai4diag.evaluation.targets import scored_by, target_of
from ai4diag.types import Estimate

SHARES = (
    "auroc", "auprc", "accuracy", "balanced_accuracy", "exact_match", "f1", "sensitivity", "specificity", "ppv", "npv",
    "map", "froc", "dice", "iou", "surface_dice", "c_index",
)  # fmt: skip
"""Estimates that lie within 0..1, 1 being best, also with something behind, such as `auroc_macro`."""
MOST_VALUES = 12
"""A numeric attribute with more distinct values is cut into four bands at its quartiles."""
NEAR_ONE = ("auroc", "auroc_macro")
NEAR = 0.95
"""Where percentile limits of these estimates were found to be too narrow (benchmarks/coverage.py: 0.97, not 0.85)."""
Entries = Sequence[tuple[str, str]]


class Scores(Protocol):
    """Some cases, ready to be weighted: whatever the target."""

    entries: tuple[tuple[str, str], ...]
    """Name and subgroup of everything that can be estimated."""
    presence: npt.NDArray[np.bool_]
    """Which classes each case shows, `(cases, classes)`."""

    def statistic(self, entries: Entries) -> Statistic:
        """Return the function from weights `(B, cases)` to values `(B, len(entries))`."""

    def counted(self, name: str, group: str) -> npt.NDArray[np.bool_] | None:
        """Return which cases a proportion is of, `(cases,)`; None for what is no proportion."""

    def remark(self, name: str, value: float) -> str:
        """Return why a value is undefined or would mislead."""

    def curves(self) -> dict[str, Any]:
        """Return curves and tables for the report."""


@dataclass(frozen=True)
class Evaluation:
    """What the predictions say.

    Attributes:
        task: name of the task.
        target: what was predicted.
        classes: class names.
        primary: name of the headline estimate.
        estimates: the headline first, then those of the test part, subgroups, validation, contrast.
        operating_point: threshold and rule; its value is NaN when it could not be fixed.
        curves: plain lists for the report (see the `curves` of the target) and `parts`, the number
            of cases and patients per part and site.
        notes: what to mind when reading the estimates.
    """

    task: str
    target: str
    classes: tuple[str, ...]
    primary: str
    estimates: list[Estimate]
    operating_point: Threshold
    curves: dict[str, Any] = field(repr=False)
    notes: list[str] = field(default_factory=list)


def evaluate(
    predictions: pd.DataFrame,
    *,
    task: str,
    classes: Sequence[str],
    plan: Evaluate,
    target: str | None = None,
    guarded: bool = True,
) -> Evaluation:
    """Estimate everything that the plan asks for.

    Test lines of several folds are pooled, scores as they are; decisions use each fold's own threshold.

    Args:
        predictions: see `ai4diag.evaluation.predictions`.
        task: name of the task.
        classes: class names; of two, the negative class first.
        plan: the recipe's `evaluate` block.
        target: what was predicted (`ai4diag.evaluation.targets`); None: the usual target of the task.
        guarded: whether a headline that would mislead is refused; False for a trial on a few cases.

    Raises:
        DataError: a column is missing or malformed, or there are no test lines.
        ConfigError: the plan names an estimate, unit or subgroup that does not exist, or a headline that would mislead.
    """
    target = target_of({"task": task, "target": target})
    check(predictions, target, classes)
    check_columns(predictions, (plan.interval.unit,), "interval.unit")
    check_columns(predictions, plan.subgroups, "subgroups")
    parts = {name: predictions[predictions["part"] == name] for name in ("test", "validation", "contrast")}
    test = parts["test"]
    if not len(test):
        raise DataError("The predictions have no lines of the test part.", "Estimates rest on the test part alone.")
    if guarded:
        guard.refuse(test, target, classes, plan)
    scoring = scored_by(target)
    point = fixed_beforehand(parts, target, classes, plan)

    def scores_of(rows: pd.DataFrame) -> Scores:
        return scoring.scores(rows, classes, point)

    whole = scores_of(test)
    entries = headline_first(whole.entries, plan.primary)
    estimates, stratified = estimates_of(whole, entries, test, plan, "test")
    for attribute in plan.subgroups:
        estimates += _subgroup_estimates(test, attribute, scores_of, whole, plan)
    for part in ("validation", "contrast"):
        if len(parts[part]):
            estimates += estimates_of(scores_of(parts[part]), entries[:1], parts[part], plan, part)[0]
    return Evaluation(
        task=task,
        target=target,
        classes=tuple(classes),
        primary=plan.primary,
        estimates=estimates,
        operating_point=point,
        curves={**whole.curves(), "parts": _part_counts(predictions, plan.interval.unit)},
        notes=[
            *_notes(estimates[0], test, scores_of, point, stratified, predictions, plan),
            *map(str, guard.cautions(whole, test, target, classes, plan, estimates)),
        ],
    )


def headline(predictions: pd.DataFrame, target: str, classes: Sequence[str], plan: Evaluate) -> float:
    """Return the value of the headline estimate on the test part, as `evaluate` finds it, without its interval."""
    parts = {name: predictions[predictions["part"] == name] for name in ("test", "validation")}
    point = fixed_beforehand(parts, target, classes, plan)
    return _point_value(scored_by(target).scores(parts["test"], classes, point), plan.primary)


def fixed_beforehand(
    parts: Mapping[str, pd.DataFrame], target: str, classes: Sequence[str], plan: Evaluate
) -> Threshold:
    """Return all that is fixed without a look at the outcomes of the test part: threshold, prevalence, recalibration.

    Args:
        parts: lines of the table of predictions of the parts `validation` and `test`.
        target: what was predicted.
        classes: class names.
        plan: the recipe's `evaluate` block.

    Raises:
        ConfigError: the plan asks for what this target does not have.
    """
    if plan.prevalence is not None and target != "binary":
        raise ConfigError("evaluate.prevalence is for two classes, one of them positive.", "Leave it out.")
    validation, test = parts["validation"], parts["test"]
    point = scored_by(target).choose_threshold(validation, test, classes, plan.operating_point)
    fitted = plan.recalibrate and recalibration.fit(validation, test, target, classes, plan.recalibrate)
    return replace(point, prevalence=plan.prevalence, recalibration=fitted or None)


def headline_first(entries: Entries, primary: str) -> list[tuple[str, str]]:
    """Return the entries with the headline of all cases first.

    Raises:
        ConfigError: there is no such estimate.
    """
    if (primary, "all") not in entries:
        known = dict.fromkeys(name for name, group in entries if group == "all")
        raise ConfigError(f"evaluate.primary: there is no estimate '{primary}'. {did_you_mean(primary, known)}")
    return sorted(entries, key=lambda entry: entry != (primary, "all"))


def estimates_of(
    scores: Scores, entries: Entries, rows: pd.DataFrame, plan: Evaluate, part: str, subgroup: str | None = None
) -> tuple[list[Estimate], str]:
    """Estimate entries on rows; return them and how the bootstrap was stratified.

    Args:
        scores: the cases of the rows.
        entries: what of them.
        rows: lines of the table of predictions.
        plan: says how intervals are made.
        part: what the rows are a part of.
        subgroup: what the rows are a subgroup of; None: `all` or the class of the entry.
    """
    unit = rows[plan.interval.unit].to_numpy()
    shares = [is_share(name) for name, _ in entries]
    found = intervals(scores.statistic(entries), unit, plan.interval, scores.presence, shares)
    result = []
    for s, (name, group) in enumerate(entries):
        value = float(found.value[s])
        remark = scores.remark(name, value)
        low, high, said = float(found.low[s]), float(found.high[s]), found.notes[s]
        if said == ALL_AGREE:
            exact = at_the_border(value, scores.counted(name, group), unit, plan.interval.level)
            low, high, said = exact or (low, high, said)
        note = remark if remark and np.isnan(value) else "; ".join(text for text in (said, remark) if text)
        result.append(Estimate(name, value, low, high, len(rows), found.n_units, part, subgroup or group, note))
    return result, found.stratified


def is_share(name: str) -> bool:
    """Return whether an estimate lies within 0..1 by definition.

    >>> [is_share(name) for name in ("map_50", "sensitivity_at_1_fp", "hd95_mm", "auroc_difference")]
    [True, True, False, False]
    """
    return not name.endswith("_difference") and f"{name}_".startswith(tuple(f"{share}_" for share in SHARES))


def _subgroup_estimates(
    test: pd.DataFrame, attribute: str, scores_of: Callable[[pd.DataFrame], Scores], whole: Scores, plan: Evaluate
) -> list[Estimate]:
    """Estimate every value of an attribute, and how far the headline differs from that of all other cases."""
    entries = [entry for entry in whole.entries if entry[1] == "all"]
    entries.sort(key=lambda entry: entry[0] != plan.primary)
    unit = test[plan.interval.unit]
    result = []
    for label, inside in groups(test[attribute]):
        subgroup, rows = f"{attribute}={label}", test[inside]
        n_units = int(unit[inside].nunique())
        if n_units < plan.minimum_n:
            note = f"masked: fewer than {plan.minimum_n} patients"
            nothing = (np.nan, np.nan, np.nan, len(rows), n_units, "test", subgroup, note)
            result += [Estimate(name, *nothing) for name, _ in entries]
            continue
        result += estimates_of(scores_of(rows), entries, rows, plan, "test", subgroup)[0]
        if unit[~inside].nunique() >= plan.minimum_n:
            result.append(_difference(whole, inside, test, plan, subgroup))
    return result


def _difference(
    whole: Scores, inside: npt.NDArray[np.bool_], test: pd.DataFrame, plan: Evaluate, subgroup: str
) -> Estimate:
    """Estimate headline of the subgroup minus headline of the rest; patients are drawn once for both."""
    statistic = whole.statistic([(plan.primary, "all")])
    presence = np.hstack([whole.presence & inside[:, None], whole.presence & ~inside[:, None]])
    found = intervals(
        lambda weights: statistic(weights * inside) - statistic(weights * ~inside),
        test[plan.interval.unit].to_numpy(),
        plan.interval,
        presence,
    )
    value, low, high = (float(values[0]) for values in (found.value, found.low, found.high))
    note = "; ".join(text for text in ("minus that of all other cases", found.notes[0]) if text)
    return Estimate(f"{plan.primary}_difference", value, low, high, len(test), found.n_units, "test", subgroup, note)


def groups(values: pd.Series[Any]) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Yield each value of an attribute and the rows that have it; bands of a number, `missing` last."""
    labels = values.astype(object)
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > MOST_VALUES:
        labels = pd.qcut(values, 4, duplicates="drop", precision=1).astype(object)
    missing = labels.isna().to_numpy()
    for label in _in_order(labels[~missing].unique()):
        yield str(label), np.asarray(labels == label) & ~missing
    if missing.any():
        yield "missing", missing


def _in_order(values: Any) -> list[Any]:
    try:
        return sorted(values)
    except TypeError:  # numbers beside words
        return sorted(values, key=str)


def check_columns(table: pd.DataFrame, names: Sequence[str], where: str) -> None:
    """Refuse names of the plan that are no columns of the predictions; `where` is the setting.

    Raises:
        ConfigError: there is no such column, or it holds lists or mappings.
        DataError: it holds an infinite number.
    """
    for name in names:
        if name not in table or not _single(table[name]):  # lists of boxes are no groups
            known = [str(column) for column in table.columns if _single(table[column])]
            raise ConfigError(f"evaluate.{where}: the predictions have no column '{name}'. {did_you_mean(name, known)}")
        if table[name].dtype.kind == "f" and np.isinf(table[name]).any():
            raise DataError(f"evaluate.{where}: column '{name}' holds an infinite number.", "Leave it empty instead.")


def _single(values: pd.Series[Any]) -> bool:
    """Return whether each value of a column is one that can be told from others."""
    return not values.map(lambda value: np.ndim(value) > 0 or isinstance(value, (dict, set))).any()


def _part_counts(predictions: pd.DataFrame, unit: str) -> list[dict[str, Any]]:
    table = predictions.assign(site=predictions.get("site", ""))
    return [
        {"part": part, "site": site, "cases": int(rows["case_id"].nunique()), "patients": int(rows[unit].nunique())}
        for (part, site), rows in table.groupby(["part", "site"], sort=True, dropna=False)
    ]


def _notes(
    headline: Estimate,
    test: pd.DataFrame,
    scores_of: Callable[[pd.DataFrame], Scores],
    point: Threshold,
    stratified: str,
    predictions: pd.DataFrame,
    plan: Evaluate,
) -> list[str]:
    interval = plan.interval
    notes = [
        f"Intervals: {in_words(interval)} of {headline.n_patients} units of "
        f"{interval.unit}, {interval.resamples} resamples, seed {interval.seed}"
        f"{', ' + stratified if stratified else ''}."
    ]
    if headline.n_patients < FEW_UNITS:
        notes.append(f"Only {headline.n_patients} patients: such intervals tend to be too narrow.")
    narrow = headline.name.startswith("map_") or (headline.name in NEAR_ONE and headline.value > NEAR)
    if interval.method == "percentile" and narrow and not np.isnan(headline.low):
        notes.append(
            f"Percentile intervals of {headline.name} like this one cover the true value in 90 to 93 of 100 simulated "
            "studies, not in 95 (docs/benchmarks.md, coverage); those of evaluate.interval.method logit do in 94 to 96."
        )
    if headline.note:
        notes.append(f"{headline.name}: {headline.note}.")
    if point.note:
        notes.append(f"Operating point: {point.note}.")
    if point.recalibration is not None and point.recalibration.note:
        notes.append(f"Recalibration ({point.recalibration.method}): {point.recalibration.note}.")
    if "score" in test and "time_days" not in test and not test["score"].between(0, 1).all():
        notes.append("Scores outside 0..1 are ranked, but are no probabilities: calibration is not estimated.")
    folds = sorted(test["fold"].unique())
    if len(folds) > 1:
        each = [_point_value(scores_of(test[test["fold"] == fold]), plan.primary) for fold in folds]
        notes.append(
            f"{len(folds)} folds are pooled, scores as they are. {plan.primary} per fold: "
            f"{', '.join(f'{value:.3f}' for value in each)}; mean {np.mean(each):.3f}."
        )
    shared = _shared_units(predictions, interval.unit)
    if shared:
        notes.append(f"{shared} units of {interval.unit} are in validation and test of the same fold: a leak.")
    return notes


def _point_value(scores: Scores, name: str) -> float:
    return float(scores.statistic([(name, "all")])(np.ones((1, len(scores.presence))))[0, 0])


def _shared_units(predictions: pd.DataFrame, unit: str) -> int:
    pairs = {
        part: set(zip(rows["fold"], rows[unit], strict=True))
        for part, rows in predictions.groupby("part")
        if part != "contrast"
    }
    return len(pairs.get("test", set()) & pairs.get("validation", set()))
