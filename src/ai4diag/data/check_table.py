"""What validation looks for in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata

from ai4diag.config.sources.table import Column
from ai4diag.data.problems import class_absent
from ai4diag.types import Finding, Level

MANY_MISSING = 0.2
"""Share of missing values from which a column is a warning."""
ALONE_AUROC = 0.98
"""A single column that separates the classes this well is looked at."""
MISSINGNESS_AUROC = 0.65
"""Missing values that separate the classes this well are looked at."""
MANY_ZEROS = 3
"""So many zeros outside a column's range are rather missing values than measurements."""
FEW_CASES = 30
"""Under so many training cases no single column is judged."""

Floats = npt.NDArray[np.float64]


def column_findings(
    column: Column, values: Floats, sites: Sequence[str], places: Sequence[str], zeros: npt.NDArray[np.bool_]
) -> list[Finding]:
    """Look at one column of all cases.

    Args:
        column: what the card says of it.
        values: `(cases,)`, NaN where missing, zeros that mean missing already replaced.
        sites: site of each case.
        places: file, line and column of each value.
        zeros: `(cases,)`, where the file had a zero that means missing.
    """
    findings = []
    where, site_of = f"column '{column.name}'", np.asarray(sites, dtype=str)
    if zeros.any():
        found = "0 " + _per_site(zeros, site_of, only_where=True)
        cure = "They count as missing; never let a model read them as measurements."
        expected = "an empty cell where nothing was measured"
        findings.append(Finding("warning", "zero-coded-missing", where, found, expected, cure))
    missing = np.isnan(values)
    if missing.any():
        level: Level = "warning" if missing.mean() >= MANY_MISSING else "info"
        found = f"{int(missing.sum())} of {len(values)} missing: {_per_site(missing, site_of, only_where=True)}"
        cure = "Drop the column where a site never measured it, or mind that imputed values stand for it."
        findings.append(Finding(level, "missing-values", where, found, "a value per case", cure))
    present = values[~missing]
    if not len(present) or (present == present[0]).all():
        cure = "Drop it (data.drop): it cannot help, and it may show that something went wrong when it was recorded."
        found = f"the same value {present[0]:g} in every case" if len(present) else "no value at all"
        findings.append(Finding("warning", "constant-column", where, found, "values that differ", cure))
    if column.range is not None:
        low, high = column.range
        outside = np.flatnonzero((values < low) | (values > high))
        if len(outside):
            shown = ", ".join(f"{values[row]:g} ({places[row]})" for row in outside[:3])
            found = f"{len(outside)} values outside: {shown}" + (", ..." if len(outside) > 3 else "")
            unit = "" if column.unit == "1" else f" {column.unit}"
            cure = "They are kept; look them up in the source: a typing error, another unit, or a rare patient."
            if (values[outside] == 0).sum() >= MANY_ZEROS:
                cure = "Is 0 written where nothing was measured? Then set zero_is_missing of the column in the card."
            findings.append(Finding("warning", "out-of-range", where, found, f"{low:g} to {high:g}{unit}", cure))
    return findings


def time_findings(name: str, values: Floats, truth: Floats, places: Sequence[str]) -> list[Finding]:
    """Look at the times of a time to event.

    Args:
        name: of the column.
        values: `(cases,)`, NaN where missing.
        truth: `(cases,)`, 1 where the event happened.
        places: file, line and column of each value.
    """
    where, findings = f"column '{name}'", []
    for wrong, code, what in (
        (np.isnan(values), "time-missing", "no time"),
        (values < 0, "time-negative", "a time before the start"),
    ):
        if wrong.any():
            found = f"{what} in {int(wrong.sum())} rows, the first is {places[int(np.flatnonzero(wrong)[0])]}"
            cure = "Find the date, or remove the rows and say so."
            findings.append(Finding("error", code, where, found, "a time of at least 0 in every row", cure))
    event, censored = ((values == 0) & (truth == kind) for kind in (1, 0))
    if event.any():
        found = f"{int(event.sum())} events at time 0, the first is {places[int(np.flatnonzero(event)[0])]}"
        cure = "Who was found ill at the start was no case to predict: look them up."
        findings.append(Finding("warning", "event-at-start", where, found, "events after the start", cure))
    if censored.any():
        found = f"{int(censored.sum())} rows with time 0 and no event"
        cure = "They are kept and counted, but tell nothing: nobody saw what became of them."
        findings.append(Finding("info", "no-follow-up", where, found, "a time under observation", cure))
    return findings


def class_findings(split: pd.DataFrame, truth_of: dict[str, int], classes: tuple[str, ...]) -> list[Finding]:
    """Find classes that are absent from a part: an error in train, a warning elsewhere."""
    findings = []
    lines = split.assign(truth=split["case_id"].map(truth_of))
    for (contrast, fold, part), group in lines.groupby(["contrast", "fold", "part"], sort=True):
        for number in sorted(set(range(len(classes))) - set(group["truth"])):
            found = f"no case of class {classes[number]} among {len(group)}"
            findings.append(class_absent(str(part), int(str(fold)), bool(contrast), found))
    return findings


def missingness_findings(
    features: Floats, described: Sequence[Mapping[str, Any]], truth: npt.NDArray[np.int64]
) -> list[Finding]:
    """Find columns in which it predicts the label whether there is a value.

    Args:
        features: `(cases, features)` of the training part, NaN where missing.
        described: name, kind, unit and levels of each feature.
        truth: `(cases,)`, 0 or 1.
    """
    if len(truth) < FEW_CASES or len(set(truth.tolist())) < 2:
        return []
    findings = []
    names = [str(item["name"]) for item in described]
    missing = np.isnan(features)
    rows = {f"column '{name}'": missing[:, number] for number, name in enumerate(names)}
    rows["number of missing values per case"] = missing.sum(axis=1)
    for where, amount in rows.items():
        separation = auroc(amount.astype(np.float64), truth)
        separation = max(separation, 1 - separation)
        if separation >= MISSINGNESS_AUROC:
            found = f"missing values alone predict the label with AUROC {separation:.3f} on the training part"
            cure = "Patients were examined differently by outcome or site: report results per site, and without it."
            expected = f"an AUROC below {MISSINGNESS_AUROC} from missing values"
            findings.append(Finding("warning", "informative-missingness", where, found, expected, cure))
    return findings


def duplicate_findings(case_ids: Sequence[str], content: Sequence[str], what: str) -> list[Finding]:
    """Report cases of equal content."""
    groups = pd.Series(list(case_ids)).groupby(list(content), sort=False).agg(list)
    copies = [cases for cases in groups if len(cases) > 1]
    if not copies:
        return []
    shown = "; ".join(" = ".join(cases[:4]) for cases in copies[:5]) + ("; ..." if len(copies) > 5 else "")
    found = f"{len(copies)} groups of equal {what}: {shown}"
    cure = "A split made here keeps them together; remove copies if they are one examination."
    return [Finding("warning", "duplicate-content", what, found, "every case once", cure)]


def auroc(score: Floats, truth: npt.NDArray[np.int64]) -> float:
    """Return the probability that a positive scores higher than a negative, ties half; 0.5 when a class is absent.

    >>> auroc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))
    0.75
    """
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return 0.5
    ranks = rankdata(score)
    return float((ranks[truth == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _per_site(flags: npt.NDArray[np.bool_], sites: npt.NDArray[np.str_], *, only_where: bool) -> str:
    words = []
    for site in dict.fromkeys(sites.tolist()):
        here = sites == site
        if flags[here].any() or not only_where:
            words.append(f"in {int(flags[here].sum())} of {int(here.sum())} rows of {site}")
    return ", ".join(words)
