"""Foreign predictions as a table of predictions, whatever form they come in.

A case without a prediction is never dropped in silence: it counts as wrong, is left out with its number, or stops the
evaluation, as the plan says (`missing`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ai4diag.errors import ConfigError, DataError
from ai4diag.evaluation.predictions import check, need, read_table
from ai4diag.evaluation.report.words import counted
from ai4diag.evaluation.truth import COLUMNS

if TYPE_CHECKING:
    from ai4diag.pipelines.external import Asked

NAMED = 3
"""Cases that a message names."""
TAKEN = {"fold", "part", "size_0", "size_1", *COLUMNS["boxes"]([]), "boxes", "labels", "scores"}
TAKEN |= {*COLUMNS["masks"]([]), "runs"}
"""Columns that cannot be attributes of patients."""


@dataclass(frozen=True)
class Foreign:
    """Foreign predictions.

    Attributes:
        table: as `ai4diag.evaluation.predictions` has it.
        classes: class names.
        notes: what to mind: cases without a prediction, patients that are not known.
        patients_known: whether it is known which cases are of one patient.
        files: what was read.
    """

    table: pd.DataFrame
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    patients_known: bool
    files: tuple[Path, ...]


def read(path: Path, asked: Asked) -> Foreign:
    """Read predictions: a folder of label maps, COCO JSON, or else a table.

    Raises:
        DataError: a file is wrong.
        ConfigError: the plan lacks what this form needs.
    """
    from ai4diag.pipelines import foreign_boxes, foreign_maps, foreign_tables

    if not path.exists():
        raise DataError(f"{path} does not exist.", "Give the path of a file or a folder.")
    for wanted in map(asked.beside, filter(None, (asked.plan.truth, asked.plan.patients))):
        if not wanted.exists():
            raise DataError(f"{wanted} does not exist.", f"{asked.path} names it, as seen from its own folder.")
    if path.is_dir():
        found = foreign_maps.read(path, asked)
    elif path.suffix.lower() == ".json":
        found = foreign_boxes.read(path, asked)
    else:
        found = foreign_tables.read(path, asked)
    beside = "" if asked.plan.truth is None else f" and {asked.beside(asked.plan.truth)}"
    check(found.table, asked.target, found.classes, f"{path}{beside}")
    return found


def need_target(asked: Asked, target: str, path: Path) -> None:
    """Refuse a form of predictions that does not answer what the plan asks.

    Raises:
        ConfigError: the plan asks for something else.
    """
    if asked.target != target:
        raise ConfigError(
            f"{asked.path} asks for {asked.target}, and {path} holds {target}.",
            f"Correct task or target in {asked.path}.",
        )


def truth_path(asked: Asked, what: str) -> Path:
    """Return where the truth is.

    Raises:
        ConfigError: the plan does not say it.
    """
    if asked.plan.truth is None:
        raise ConfigError(f"{asked.path} does not say where the truth is.", f"Add `truth:`, {what}.")
    return asked.beside(asked.plan.truth)


def named(cases: Sequence[str], what: str = "case") -> str:
    """Return how many cases there are, the first by name.

    >>> named(["a"]), named(list("abcde"), "image")
    ("1 case: 'a'", "5 images: 'a', 'b', 'c' and 2 more")
    """
    shown = f"{counted(len(cases), what)}: " + ", ".join(f"'{case}'" for case in cases[:NAMED])
    return shown + (f" and {len(cases) - NAMED} more" if len(cases) > NAMED else "")


def extra(cases: Sequence[str], asked: Asked, path: Path) -> list[str]:
    """Return the note on predictions of cases without truth, which are left out.

    Raises:
        DataError: the plan does not say that they may be.
    """
    if not cases:
        return []
    said = f"a prediction and no truth for {named(cases)}"
    if asked.plan.extra == "refuse":
        raise DataError(f"{path}: {said}.", "Give their truth, or write `extra: leave_out` into the plan.")
    return [f"Left out, with {said}."]


def refuse_missing(cases: Sequence[str], path: Path, *, wrong: bool = True) -> None:
    """Stop because of cases without a prediction; `wrong`: whether the plan could count them as wrong answers.

    Raises:
        DataError: always.
    """
    ways = "`missing: wrong` (a wrong answer) or `missing: leave_out`" if wrong else "`missing: leave_out`"
    raise DataError(
        f"{path}: no prediction for {named(cases)}.",
        f"Add them, or say in the plan what they count as: {ways}.",
    )


def refuse_none(answered: int, path: Path) -> None:
    """Stop where no case has a prediction and none would be left.

    Raises:
        DataError: `answered` is 0.
    """
    if not answered:
        raise DataError(f"{path}: no case has a prediction.", "Look whether the names of the cases are the truth's.")


def left_out(cases: Sequence[str]) -> str:
    """Return the note on cases without a prediction that were left out, as the plan says."""
    return f"Left out for want of a prediction, as the plan says: {named(cases)}. Estimates flatter by it."


def who(cases: Sequence[str], asked: Asked, known: pd.DataFrame | None = None) -> tuple[pd.DataFrame, bool]:
    """Return case_id, patient_id, site and attributes of cases, and whether the patients are known.

    Args:
        cases: their names, such as `p01_t2`.
        asked: names the table of patients, or the pattern.
        known: columns that are known already, one line per case.

    Raises:
        DataError: a case is not in the table, or the pattern does not match its name.
        ConfigError: the pattern is no regular expression with one group.
    """
    base = pd.DataFrame({"case_id": list(cases)})
    if known is not None:
        _refuse_taken(known, "The images of the truth")
        base = pd.concat([base, known.reset_index(drop=True)], axis=1)
    if asked.plan.patients is not None:
        table = _patients(asked, cases)
        base = base.drop(columns=[name for name in table if name != "case_id" and name in base])
        base = base.merge(table, "left", "case_id")
        _refuse_taken(table, str(asked.beside(asked.plan.patients)))
        absent = base.loc[base["patient_id"].isna(), "case_id"].tolist()
        if absent:
            path = asked.beside(asked.plan.patients)
            raise DataError(f"{path} has no line for {named(absent)}.", "Add their patients.")
    elif asked.plan.patient_pattern is not None:
        base["patient_id"] = _matched(cases, asked)
    is_known = "patient_id" in base
    if not is_known:
        base["patient_id"] = base["case_id"]
    return base.assign(site=base.get("site", ""), fold=0, part="test"), is_known


def _refuse_taken(table: pd.DataFrame, where: str) -> None:
    """Refuse attributes of patients that are called like something else.

    Raises:
        DataError: an attribute has the name of a column that says what was predicted, or of which part a case is.
    """
    if taken := [str(name) for name in table if name in TAKEN]:
        raise DataError(
            f"{where}: '{taken[0]}' is no name for an attribute, it has a meaning of its own.", "Call it otherwise."
        )


def _patients(asked: Asked, cases: Sequence[str]) -> pd.DataFrame:
    """Return the table of patients; its cases may be called like their files, with the ending."""
    assert asked.plan.patients is not None
    path = asked.beside(asked.plan.patients)
    table, _ = read_table(path)
    need(table, ("case_id", "patient_id"), str(path))
    known = set(cases)
    table["case_id"] = [name if name in known else Path(name).stem for name in table["case_id"].astype(str)]
    if (double := table["case_id"].duplicated()).any():
        raise DataError(f"{path}: case '{table['case_id'][double].iloc[0]}' is there twice.", "Keep one line a case.")
    return table


def _matched(cases: Sequence[str], asked: Asked) -> list[str]:
    """Return what the one group of the pattern finds in the name of each case."""
    try:
        pattern = re.compile(asked.plan.patient_pattern or "")
    except re.error as error:
        raise ConfigError(f"{asked.path}: patient_pattern is no regular expression: {error}.") from None
    if pattern.groups != 1:
        raise ConfigError(
            f"{asked.path}: patient_pattern has {pattern.groups} groups; expected one.", "Such as ^(p\\d+)_."
        )
    found = [pattern.search(case) for case in cases]
    wrong = [case for case, match in zip(cases, found, strict=True) if match is None or not match.group(1)]
    if wrong:
        raise DataError(f"{asked.path}: patient_pattern does not match {named(wrong)}.", "Correct the pattern.")
    return [match.group(1) for match in found if match]


def unknown_patients(known: bool) -> list[str]:
    """Return the note on patients that are not known."""
    if known:
        return []
    return [
        "Which cases are of one patient is not known: every case counts as a patient of its own, so that intervals are "
        "too narrow where patients have several. Give `patients` or `patient_pattern` in the plan."
    ]
