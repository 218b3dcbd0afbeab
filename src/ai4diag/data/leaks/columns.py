"""Columns that carry the outcome, or tell who or where a patient is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.data.check_table import ALONE_AUROC, FEW_CASES, auroc
from ai4diag.types import Finding, Level

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

IS_THE_LABEL = 0.9995
"""A column that separates the classes this well is the label under another name."""
FOLLOW_UP_AUROC = 0.75
"""A column whose name speaks of follow-up, and that separates the classes this well, is known after the outcome."""
LEAST_COPY = 6
"""Cases of each class from which a column with one value per class is no chance."""
SAME_TIME = 0.95
"""Rank correlation of a column with the time to the event from which it is that time."""
TELLS_SITE = 0.98
"""Share of the cases whose site a column alone tells, beyond what the largest site gives."""
BINS = 16
CASES_PER_BIN = 10
AFTERWARDS = re.compile(
    r"follow|surviv|death|dead|died|decease|mortal|outcome|discharge|length_of_stay|relaps|recur|readmi|autops|"
    r"time_to|days_to|days_until|last_contact|vital_status|end_of|cause_of"
)
BEFOREHAND = re.compile(
    r"precursor|survivin|dead_space|(nipple|vaginal|urethral|nasal|ear|eye|purulent)_discharge|family_\w*|end_of_(dia|sy)stol"
)
"""Measurements and complaints whose names hold such a word."""
LASTS = re.compile(r"(^|_)(time|duration|days|weeks|months|los|stay|t)(_|$)")
LONG_UNITS = ("d", "day", "days", "weeks", "months", "years", "h", "hours")
NAMES_A_CASE = re.compile(r"(^|_)(id|ids|mrn|accession|record|row|serial|uid|key|case|patient)(_|$)")
NAMES_A_NUMBER = re.compile(r"(^|_)(index|number|no|nr)(_|$)")
WITHOUT_GAPS = 2.0
"""A count of cases takes at most so many numbers per case; a platelet number takes any."""
NAMES_A_TIME = re.compile(r"(^|_)(date|year|month|day|timestamp|datetime|acquired|admission|visit)(_|$)")
SITE_WORDS = ("site", "centre", "center", "hospital", "clinic", "scanner", "manufacturer", "device", "ward")


def outcome_columns(
    features: Floats, described: Sequence[Mapping[str, Any]], truth: Labels, time_days: Floats | None = None
) -> list[Finding]:
    """Find columns that are the label, that nearly are, or that speak of what came after.

    Args:
        features: `(cases, features)` of the training part, NaN where missing.
        described: name, kind, unit and levels of each feature.
        truth: `(cases,)` class numbers; of a time to event, 1 where it happened.
        time_days: `(cases,)`, of a time to event.
    """
    findings = []
    for number, item in enumerate(described):
        name, values = str(item["name"]), features[:, number]
        alone = separation(values, truth, category=bool(item["levels"]))
        alone = 1.0 if _is_copy(values, truth) else alone
        late = _is_late(name, str(item.get("unit", "")))
        if alone >= ALONE_AUROC:
            level: Level = "error" if alone >= IS_THE_LABEL else "warning"
            found = f"this column alone predicts the label with AUROC {alone:.3f} on the training part"
            expected = f"an AUROC below {ALONE_AUROC} from any single column"
            cure = f"Find out whether it is known before the outcome; if not, data.drop: [{name}]."
            findings.append(Finding(level, "label-in-column", f"column '{name}'", found, expected, cure))
        elif late and time_days is None:
            level = "error" if alone >= FOLLOW_UP_AUROC else "warning"
            found = f"a name that speaks of what came after the outcome; alone it has AUROC {alone:.3f}"
            expected = "columns that are known when the prediction is made"
            cure = f"If it is known only afterwards, data.drop: [{name}], and post_outcome: true on the card."
            findings.append(Finding(level, "post-outcome-column", f"column '{name}'", found, expected, cure))
        if time_days is not None and (same := _rank_correlation(values, time_days)) >= SAME_TIME:
            found = f"this column has a rank correlation of {same:.3f} with the time to the event"
            cure = f"It is that time in another unit: data.drop: [{name}]."
            expected = f"a rank correlation below {SAME_TIME}"
            findings.append(Finding("error", "label-in-column", f"column '{name}'", found, expected, cure))
    return findings


def identifying_columns(
    features: Floats, described: Sequence[Mapping[str, Any]], index: pd.DataFrame, truth: Labels
) -> list[Finding]:
    """Find columns that number the cases, or tell the site or the date of an examination.

    Args:
        features: `(cases, features)` of all cases.
        described: name, kind, unit and levels of each feature.
        index: of the cases, with patient_id and site.
        truth: `(cases,)`, class numbers.
    """
    findings = []
    sites, names = pd.factorize(index["site"])
    for number, item in enumerate(described):
        name, values = str(item["name"]), features[:, number]
        where = f"column '{name}'"
        if not item["levels"] and _numbers_the_cases(name, values, index["patient_id"]):
            alone = separation(values, truth)
            certain = _counts(values) or bool(NAMES_A_CASE.search(_words(name)))  # else rows sorted by a measurement
            level: Level = "error" if alone >= FOLLOW_UP_AUROC and certain else "warning"
            found = f"a number of the case: another in every patient; alone it has AUROC {alone:.3f}"
            cure = f"A model can only learn the order of entry from it: data.drop: [{name}]."
            findings.append(Finding(level, "identifier-column", where, found, "measurements", cure))
        elif NAMES_A_TIME.search(_words(name)) and not LASTS.search(_words(name)) and not item["levels"]:
            cure = f"It will never come again in a new patient: data.drop: [{name}], unless it is an age or a duration."
            findings.append(Finding("warning", "date-column", where, "a name of a date", "measurements", cure))
        by_name = any(word in _words(name).split("_") for word in SITE_WORDS)
        told = told_share(values, sites) if len(names) > 1 else 0.0
        if told >= TELLS_SITE or by_name:
            said = f"it tells the site of {told:.0%} of the cases beyond the largest" if not by_name else "its name"
            found, expected = f"a column that stands for the site: {said}", "measurements of the patient"
            cure = f"A model learns how ill the patients of a hospital are, and fails at the next: data.drop: [{name}]."
            findings.append(Finding("warning", "site-in-column", where, found, expected, cure))
    return findings


def separation(values: Floats, truth: Labels, *, category: bool = False) -> float:
    """Return how well one column separates the classes, 0.5 to 1: the AUROC in the better direction.

    Of several classes it is how often the column alone tells the class, on the same scale: 0.5 for no more often than
    the largest class, 1 for always. Missing values are left out; under `FEW_CASES` it is 0.5.

    >>> separation(np.arange(40.0), np.repeat([0, 1], 20))
    1.0
    """
    there = ~np.isnan(values)
    score, label = values[there], truth[there]
    if there.sum() < FEW_CASES or len(np.unique(label)) < 2:
        return 0.5
    if len(np.unique(truth)) > 2:
        return 0.5 + told_share(score, label) / 2
    label = (label == label.max()).astype(np.int64)
    if category:  # levels have no order: rank them by their share of positives
        score = pd.Series(label).groupby(score).transform("mean").to_numpy(np.float64)
    found = auroc(score, label)
    return max(found, 1 - found)


def told_share(values: Floats, labels: npt.NDArray[np.intp] | Labels) -> float:
    """Return the share of cases whose label a column alone tells, beyond the most common label: 0 to 1.

    Values are taken one by one where there are few, else in `BINS` bins of equal size. A missing value is one more.
    """
    count = len(values)
    filled = np.where(np.isnan(values), -np.inf, values)
    distinct, code = np.unique(filled, return_inverse=True)
    bins = min(BINS, count // CASES_PER_BIN)
    if bins < 2:
        return 0.0
    if len(distinct) > bins:
        code = np.searchsorted(np.quantile(filled, np.arange(1, bins) / bins, method="lower"), filled, side="left")
    most = pd.crosstab(code, labels).to_numpy()
    usual = most.sum(axis=0).max()
    return float((most.max(axis=1).sum() - usual) / (count - usual)) if usual < count else 0.0


def _is_copy(values: Floats, truth: Labels) -> bool:
    """Whether a column is the label in another code: for each class one value, also in a table too small to judge."""
    if np.isnan(values).any():
        return False
    pairs, counts = np.unique(np.column_stack([values, truth]), axis=0, return_counts=True)
    classes = len(np.unique(truth))
    return len(pairs) == len(np.unique(values)) == classes > 1 and bool(counts.min() >= LEAST_COPY)


def _is_late(name: str, unit: str) -> bool:
    words = _words(name)
    return bool(AFTERWARDS.search(BEFOREHAND.sub("", words))) or (bool(LASTS.search(words)) and unit in LONG_UNITS)


def _words(name: str) -> str:
    """Return a name in lower case with underscores: `FollowUpTime` and `follow-up time` are the same."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", apart.lower())


def _numbers_the_cases(name: str, values: Floats, patients: pd.Series) -> bool:
    """Return whether a column holds another whole number in every patient, and runs with the rows or is named so."""
    there = ~np.isnan(values)
    if there.mean() < 0.95 or len(values) < FEW_CASES or (values[there] != np.round(values[there])).any():
        return False
    own = pd.Series(values[there]).groupby(patients.to_numpy()[there])
    if not (own.nunique() == 1).all() and len(own) < there.sum():
        return False
    different = len(np.unique(values[there])) >= 0.99 * len(own)
    runs = _rank_correlation(values, np.arange(len(values), dtype=np.float64)) >= 0.95
    named = NAMES_A_CASE.search(_words(name)) or (NAMES_A_NUMBER.search(_words(name)) and _counts(values))
    return different and (runs or bool(named))


def _counts(values: Floats) -> bool:
    """Whether whole numbers are a count of the cases, from any number on, with few gaps."""
    return float(np.nanmax(values) - np.nanmin(values)) < WITHOUT_GAPS * len(values)


def _rank_correlation(one: Floats, two: Floats) -> float:
    there = ~np.isnan(one) & ~np.isnan(two)
    if there.sum() < FEW_CASES or min(np.ptp(one[there]), np.ptp(two[there])) == 0:
        return 0.0
    return abs(float(pd.Series(one[there]).rank().corr(pd.Series(two[there]).rank())))
