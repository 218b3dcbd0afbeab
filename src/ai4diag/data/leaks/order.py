"""Traces of how a data set was put together: order, sizes and brightness that tell the class or the part."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.data.check_table import auroc
from ai4diag.data.leaks.columns import told_share
from ai4diag.types import PARTS, Finding, Level

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

TELLS = 0.9
"""AUROC from which an order, a size or a brightness tells the class or the part."""
SORTED = -8.0
"""Standardised number of runs (Wald and Wolfowitz 1940) under which cases are sorted by class."""
FEW = 20
"""So few cases of a class or part are not judged."""
NEIGHBOURS = 0.7
"""Share of neighbours that are more alike than a case is to another at random, from which numbers tell who is who."""


def order_findings(
    index: pd.DataFrame, split: pd.DataFrame, truth: Labels | None, traits: Mapping[str, Floats]
) -> list[Finding]:
    """Find orders and traits that tell the class, or the part, of a case.

    Args:
        index: of the cases, in the order of the files or rows.
        split: lines of the split.
        truth: `(cases,)` class numbers; None where a case has no single class.
        traits: what else can be told without looking at what is shown: name to `(cases,)`.
    """
    findings: list[Finding] = []
    fold = _first_fold(split, index)
    order, named = np.arange(len(index), dtype=np.float64), _numbers(index["case_id"])
    for name, values in (("the order of the cases", order), ("the number in the name", named)):
        if truth is not None and values is not None and not findings:  # mostly both are the same order
            findings += _tells_class(name, values, truth, "order-tells-label", _mixing(values, truth, index))
    if named is not None:
        findings += _tells_part("the number in the name", named, fold, "order-tells-part", "info")
    for name, values in traits.items():
        if truth is not None:
            findings += _tells_class(name, values, truth, "trait-tells-label", None)
        findings += _tells_part(name, values, fold, "trait-tells-part", "warning")
    return findings


def neighbour_findings(alike: Floats, index: pd.DataFrame, split: pd.DataFrame) -> list[Finding]:
    """Find out whether cases with neighbouring numbers are of one patient, where nobody says who the patients are.

    Args:
        alike: `(cases - 1,)`, for each case and the next the share of all other cases that are less like it.
        index: of the cases, each counted as a patient of its own, in the order of the files.
        split: lines of the split.
    """
    part = _first_fold(split, index)
    apart = part[1:] != part[:-1]
    if len(alike) < FEW or not apart.any() or float(np.mean(alike)) < NEIGHBOURS:
        return []
    found = (
        f"cases that follow one another look more alike than {np.mean(alike):.0%} of the others, and "
        f"{int(apart.sum())} of these pairs are in two parts"
    )
    cure = "They may be of one patient, slide or film: find out, and give the card a patient; else the test flatters."
    where, expected = "case order", "about 50% where every case is of another patient"
    return [Finding("warning", "neighbours-alike", where, found, expected, cure)]


def _tells_class(name: str, values: Floats, truth: Labels, code: str, runs: float | None) -> list[Finding]:
    if (count := np.bincount(truth)[np.unique(truth)]).min(initial=FEW) < FEW or len(count) < 2:
        return []
    if len(count) == 2:
        told = auroc(values, (truth == truth.max()).astype(np.int64))
        told, said = max(told, 1 - told), "AUROC"
    else:
        told, said = 0.5 + told_share(values, truth) / 2, "a share (0.5 by chance) of"
    if told < TELLS and (runs is None or runs > SORTED):
        return []
    level: Level = "info" if code == "order-tells-label" else "warning"
    found = f"{name} tells the class with {said} {told:.3f}"
    found += f"; the classes change in {-runs:.0f} standard deviations fewer places than by chance" if runs else ""
    cure = "Harmless as long as nothing that follows the order is a feature and the split deals cases at random."
    if code != "order-tells-label":
        cure = "A model may learn it instead of the disease: bring all classes to one size and exposure, or test that."
    return [Finding(level, code, name, found, f"an AUROC below {TELLS}", cure)]


def _tells_part(name: str, values: Floats, part: npt.NDArray[np.str_], code: str, level: Level) -> list[Finding]:
    test = (part == "test").astype(np.int64)
    if min(test.sum(), len(test) - test.sum()) < FEW:
        return []
    told = auroc(values, test)
    told = max(told, 1 - told)
    if told < TELLS:
        return []
    found = f"{name} tells the test part from the rest with AUROC {told:.3f}"
    cure = "Right where later patients are the test; else deal the cases at random (data.split.test: 0.2)."
    if level == "warning":
        cure = "The parts were made or exported differently: the test result is then not about new patients only."
    return [Finding(level, code, name, found, f"an AUROC below {TELLS}", cure)]


def _first_fold(split: pd.DataFrame, index: pd.DataFrame) -> npt.NDArray[np.str_]:
    """Return the part of each case in the first fold that has a test part."""
    lines = split[(split["contrast"] == 0) & (split["fold"] >= 0)]
    lines = lines[lines["fold"] == lines["fold"].min()]
    assert set(lines["part"]) <= set(PARTS)
    return index["case_id"].map(lines.set_index("case_id")["part"]).to_numpy(dtype="<U10")


def _numbers(names: Sequence[str] | pd.Series) -> Floats | None:
    """Return the last number in each name, or None where a name has none."""
    found = [re.findall(r"\d+", str(name)) for name in names]
    return np.array([float(own[-1]) for own in found]) if all(found) else None


def _mixing(values: Floats, truth: Labels, index: pd.DataFrame) -> float:
    """Return how well the classes are mixed along an order: runs within each site, with each patient once, joined."""
    first = ~index["patient_id"].duplicated().to_numpy()
    order = np.argsort(values, kind="stable")
    order = order[first[order]]
    sites = index["site"].to_numpy()[order]
    found = [_runs(truth[order][sites == site]) for site in dict.fromkeys(sites) if (sites == site).sum() >= FEW]
    return float(np.sum(found) / np.sqrt(len(found))) if found else 0.0


def _runs(labels: Labels) -> float:
    """Return the number of runs of equal classes, less its expectation, in standard deviations."""
    count = len(labels)
    shares = np.bincount(labels)[np.unique(labels)].astype(np.float64)
    runs = 1 + int((labels[1:] != labels[:-1]).sum())
    squares, cubes = float((shares**2).sum()), float((shares**3).sum())
    expected = (count * (count + 1) - squares) / count
    variance = (squares * (squares + count * (count + 1)) - 2 * count * cubes - count**3) / (count**2 * (count - 1))
    return (runs - expected) / float(np.sqrt(variance)) if variance > 0 else 0.0
