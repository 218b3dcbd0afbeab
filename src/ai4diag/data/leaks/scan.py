"""Look for every kind of leak in the cases of one task; `gate.gate` then decides whether they may be trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.data.leaks.columns import identifying_columns, outcome_columns
from ai4diag.data.leaks.copies import Floats, Ints, Pair, details, look_alikes, small_picture, small_volume
from ai4diag.data.leaks.order import neighbour_findings, order_findings
from ai4diag.data.leaks.rows import near_rows
from ai4diag.data.leaks.signals import similar_signals
from ai4diag.types import Finding, Level

ALL_ROWS = 5000
"""Up to so many cases a copy is looked for of every one; of more, only of those that are not always in train."""
STRANGERS = 200
"""Cases with which neighbours are compared."""
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Divided:
    """Cases and the parts they are in.

    Attributes:
        index: case_id, patient_id and site of each case, in the order of the files or rows.
        split: lines of the split.
        content: hash of each case's content; equal ones are another finding.
        truth: `(cases,)` class numbers, or None where a case has no single class.
    """

    index: pd.DataFrame
    split: pd.DataFrame
    content: Sequence[str]
    truth: Labels | None = None

    @property
    def patients(self) -> Ints:
        """Number of the patient of each case."""
        return pd.factorize(self.index["patient_id"])[0].astype(np.int64)

    def parts(self) -> npt.NDArray[np.str_]:
        """Return the part of each case in each fold that is no contrast, `(cases, folds)`."""
        lines = self.split[self.split["contrast"] == 0]
        wide = lines.pivot(index="case_id", columns="fold", values="part")
        return wide.reindex(self.index["case_id"]).to_numpy(dtype="<U10")

    def asked(self) -> Ints:
        """Return the rows for which a copy is looked for."""
        rows = np.arange(len(self.index))
        return rows if len(rows) <= ALL_ROWS else np.flatnonzero((self.parts() != "train").any(axis=1))


def scan_pictures(images: npt.NDArray[np.uint8], cases: Divided) -> list[Finding]:
    """Look for leaks in pictures, or volumes of one size: uint8 `(cases, channels, *sides)`, read one by one."""
    if images.ndim == 5:
        return scan_small(np.stack([small_volume(image.mean(axis=0)) for image in images]), cases)
    return scan_small(np.stack([small_picture(image) for image in images]), cases)


def scan_small(small: Floats, cases: Divided) -> list[Finding]:
    """Look for leaks in pictures or volumes that were made small (`copies.small_picture`, `copies.small_volume`).

    Args:
        small: `(cases, *sides)`.
        cases: who they are, and in which part; `size_0`, ... of the index are the sizes of the originals.
    """
    what = "picture" if small.ndim == 3 else "volume"
    pairs = look_alikes(small, cases.patients, cases.asked())
    findings = pair_findings(pairs, cases, "look-alike", what)
    sizes = [str(name) for name in cases.index if str(name).startswith("size_")]
    traits = {f"the size ({name})": cases.index[name].to_numpy(np.float64) for name in sizes}
    traits["the mean brightness"] = small.reshape(len(small), -1).mean(axis=1).astype(np.float64)
    findings += order_findings(cases.index, cases.split, cases.truth, traits)
    if cases.index["patient_id"].nunique() == len(cases.index):
        findings += neighbour_findings(_neighbours(small), cases.index, cases.split)
    return findings


def scan_signals(signals: npt.NDArray[np.float32], cases: Divided) -> list[Finding]:
    """Look for leaks in signals `(cases, channels, samples)`, read in blocks."""
    pairs = similar_signals(signals, cases.patients, cases.asked())
    return pair_findings(pairs, cases, "look-alike", "signal")


def scan_table(
    features: npt.NDArray[np.float64],
    described: Sequence[Mapping[str, Any]],
    cases: Divided,
    train: Labels,
    *,
    time_days: npt.NDArray[np.float64] | None = None,
    equal_by_chance: bool = False,
) -> list[Finding]:
    """Look for leaks in the rows and columns of a table.

    Args:
        features: `(cases, features)`, NaN where missing.
        described: name, kind, unit and levels of each feature.
        cases: who they are, and in which part.
        train: rows of the training part, on which columns are judged.
        time_days: `(cases,)`, of a time to event.
        equal_by_chance: rows have so few values that near copies mean nothing.
    """
    assert cases.truth is not None
    time = time_days[train] if time_days is not None else None
    findings = outcome_columns(features[train], described, cases.truth[train], time)
    findings += identifying_columns(features, described, cases.index, cases.truth)
    if not equal_by_chance:
        pairs = near_rows(features, cases.patients, cases.asked())
        findings += pair_findings(pairs, cases, "nearly-equal-rows", "row")
    return findings + order_findings(cases.index, cases.split, cases.truth, {})


def pair_findings(pairs: Iterable[Pair], cases: Divided, code: str, what: str) -> list[Finding]:
    """Return a finding for each two patients that have a pair, made from their most similar one.

    Level `error` where the pair is certain and a model is tested on one of it that has learned from the other.
    """
    parts = cases.parts()
    ids, patients = cases.index["case_id"].tolist(), cases.index["patient_id"].tolist()
    together: dict[tuple[str, str, str], list[Pair]] = {}
    for pair in pairs:
        if cases.content[pair.first] != cases.content[pair.second]:
            key = (_across(parts[pair.first], parts[pair.second]), patients[pair.first], patients[pair.second])
            together.setdefault(key, []).append(pair)
    findings = []
    for (across, _, _), own in together.items():
        best = max(own, key=lambda pair: (pair.sure, pair.similarity))
        level: Level = "error" if best.sure and across.endswith(" and test") else "warning"
        named = [f"{ids[row]} ({_part(parts[row])})" for row in (best.first, best.second)]
        said = f"similarity {best.similarity:.2f}" + (f", {best.way}" if best.way else "")
        said += "" if best.sure else ", perhaps not the same"
        more = f", and {len(own) - 1} more pairs of these two" if len(own) > 1 else ""
        found = f"{' and '.join(named)}: {said}{more}"
        involved = dict.fromkeys(ids[row] for pair in own for row in (pair.first, pair.second))
        cure = (
            f"Look at them. If it is one {what}, give both the same patient, or take one out; if not, or if it must "
            f"stay, data.waive: [{{finding: {code}, where: {ids[best.second]}, reason: ...}}]."
        )
        cure = cure if level == "error" else f"Look at them: one {what} under two names belongs to one patient."
        expected = f"every {what} once, or under one patient"
        findings.append(Finding(level, code, across, found, expected, cure, tuple(involved)))
    return _one_cure(findings)


def _one_cure(findings: list[Finding]) -> list[Finding]:
    """Give findings that will stand in one line the cure of the first."""
    first: dict[tuple[str, ...], str] = {}
    return [
        replace(
            finding, cure=first.setdefault((finding.level, finding.code, finding.where, finding.expected), finding.cure)
        )
        for finding in findings
    ]


def _across(one: npt.NDArray[np.str_], two: npt.NDArray[np.str_]) -> str:
    """Return between which parts a pair stands, in the fold that matters most."""
    found = [tuple(sorted(both, key=("train", "validation", "test").index)) for both in zip(one, two, strict=True)]
    across = [both for both in found if both[0] != both[1]]
    if not across:
        return str(found[0][0])
    first, second = next((both for both in across if both[1] == "test"), across[0])
    return f"{first} and {second}"


def _part(own: npt.NDArray[np.str_]) -> str:
    if len(own) == 1:
        return str(own[0])
    tested = np.flatnonzero(own[1:] == "test")  # the first column is the fold of the kept model, without a test part
    return f"tested in fold {tested[0]}" if len(tested) else "never tested"


def _neighbours(small: Floats) -> npt.NDArray[np.float64]:
    """Return for each case and the next the share of other cases that are less like it, `(cases - 1,)`."""
    flat = details(small).reshape(len(small), -1)
    if len(flat) < 3:
        return np.zeros(0)
    strangers = np.random.default_rng(0).choice(len(flat), min(STRANGERS, len(flat)), replace=False)
    usual = flat @ flat[strangers].T
    usual[strangers, np.arange(len(strangers))] = np.nan
    following = np.einsum("nv,nv->n", flat[:-1], flat[1:])
    with np.errstate(invalid="ignore"):
        less = (usual[:-1] < following[:, None]).sum(axis=1) / np.maximum((~np.isnan(usual[:-1])).sum(axis=1), 1)
    found: npt.NDArray[np.float64] = less.astype(np.float64)
    return found
