"""Findings that stop a preparation, gathered so that one run names them all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.errors import DataError
from ai4diag.types import Finding, Level

SHOWN = 10


class ReadError(DataError):
    """One file, or one place in it, cannot be read; carries the parts of a finding."""

    def __init__(self, where: str, found: str, expected: str, cure: str) -> None:
        super().__init__(f"{where}: found {found}; expected {expected}.", cure)
        self.finding = Finding("error", "unreadable", where, found, expected, cure)


def stop_on_errors(findings: Iterable[Finding], what: str) -> None:
    """Raise when any finding is an error.

    Args:
        findings: what validation noticed.
        what: the data set, named in the error.

    Raises:
        DataError: lists the first errors and counts the rest.
    """
    errors = [finding for finding in findings if finding.level == "error"]
    if not errors:
        return
    lines = [f"  - {finding}" for finding in errors[:SHOWN]]
    if len(errors) > SHOWN:
        lines.append(f"  - and {len(errors) - SHOWN} more")
    noun = "error" if len(errors) == 1 else "errors"
    raise DataError(f"{what}: {len(errors)} {noun}, nothing was prepared:\n" + "\n".join(lines))


def class_absent(part: str, fold: int, contrast: bool, found: str) -> Finding:
    """Return the finding that a class is absent from a part: an error in train, where nothing could be learnt."""
    where = f"part {part}" + (f", fold {fold}" if fold else "") + (", contrast" if contrast else "")
    cure = "Take more cases, another seed or fewer parts; what needs every class, such as AUROC, is undefined here."
    level: Level = "error" if part == "train" else "warning"
    return Finding(level, "class-absent", where, found, "every class in every part", cure)


def absent_findings(
    split: pd.DataFrame, index: pd.DataFrame, held: npt.NDArray[np.bool_], classes: Sequence[str], words: str
) -> list[Finding]:
    """Find classes that no case of a part holds: an error in train, where nothing could be learnt, else a warning.

    Args:
        split: lines of the split.
        index: of the cases.
        held: bool `(cases, classes)`, in the order of the index.
        classes: their names.
        words: what is said, with the class as `{name}` and the cases of the part as `{count}`.
    """
    row_of = {case: row for row, case in enumerate(index["case_id"])}
    findings = []
    for (fold, contrast, part), lines in split.groupby(["fold", "contrast", "part"], sort=True):
        there = held[lines["case_id"].map(row_of).to_numpy()].any(axis=0)
        for number in np.flatnonzero(~there):
            found = words.format(name=classes[int(number)], count=len(lines))
            findings.append(class_absent(str(part), int(str(fold)), bool(contrast), found))
    return findings
