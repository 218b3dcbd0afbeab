"""Foreign predictions in CSV or Parquet, with the truth in the same table or in one of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.errors import ConfigError, DataError
from ai4diag.evaluation.predictions import need, read_table, refuse, with_usual
from ai4diag.evaluation.truth import truth_columns
from ai4diag.pipelines.external import Asked
from ai4diag.pipelines.foreign import Foreign, extra, left_out, named, refuse_missing, refuse_none

ONE_HOT = ("multiclass", "ordinal")


def read(path: Path, asked: Asked) -> Foreign:
    """Read a table of predictions.

    `truth` may hold class names instead of numbers. Where the plan names a table of its own for the truth, cases are
    joined by case_id; what it says about a case goes before what the predictions say.

    Raises:
        DataError: a file is wrong, or has cases twice, without truth, or without a prediction.
        ConfigError: the classes are not known.
    """
    table, facts = read_table(path)
    _same_question(path, asked, facts)
    classes = asked.classes(facts)
    notes: list[str] = []
    files = [path]
    if asked.plan.truth is not None:
        files.append(asked.beside(asked.plan.truth))
        table, notes = _joined(table, path, asked)
    need(table, ("case_id", "patient_id", *truth_columns(asked.target, classes)), str(files[-1]))
    table = with_usual(_numbered(table, classes, str(files[-1])))
    table, more = _answered(table, path, asked, classes)
    return Foreign(table, classes, (*notes, *more), True, tuple(files))


def _same_question(path: Path, asked: Asked, facts: dict[str, object]) -> None:
    """Refuse a table that says of itself that it answers something else."""
    for name, wanted in (("target", asked.plan.target), ("classes", asked.plan.classes)):
        found = facts.get(name)
        found = tuple(found) if isinstance(found, list) else found
        if wanted is not None and found is not None and found != wanted:
            raise ConfigError(f"{path} says its {name} is {found}; {asked.path} says {wanted}.", "Correct the plan.")


def _joined(table: pd.DataFrame, path: Path, asked: Asked) -> tuple[pd.DataFrame, list[str]]:
    """Return the truth with the predictions beside it; cases without a prediction have none.

    Scores are those of the predictions, whatever the table of the truth has.
    """
    assert asked.plan.truth is not None
    beside = asked.beside(asked.plan.truth)
    truth, _ = read_table(beside)
    truth = truth.drop(columns=_scores(truth))
    for one, where in ((table, path), (truth, beside)):
        need(one, ("case_id",), str(where))
        refuse(one["case_id"].isna(), one, "case_id", "a value", str(where))
        one["case_id"] = one["case_id"].astype(str)
        double = one["case_id"][one["case_id"].duplicated()]
        if len(double):
            raise DataError(f"{where}: case '{double.iloc[0]}' is there twice.", "Keep one line a case.")
    without = table["case_id"][~table["case_id"].isin(truth["case_id"])].astype(str).tolist()
    notes = extra(without, asked, path)
    answers = [name for name in table if name == "case_id" or name not in truth]
    return truth.merge(table[answers], "left", "case_id"), notes


def _numbered(table: pd.DataFrame, classes: tuple[str, ...], where: str) -> pd.DataFrame:
    """Return the table with class numbers where `truth` holds class names, which may look like other numbers."""
    numbered = {str(number) for number in range(len(classes))}
    named_by_numbers = all(name.isdigit() for name in classes) and set(classes) != numbered
    if "truth" not in table or (table["truth"].dtype.kind in "fiub" and not named_by_numbers):
        return table
    values = table["truth"]
    if values.dtype.kind == "f" and bool((values == values.round()).all()):
        values = values.astype(np.int64)
    words = values.astype(str).str.strip()
    known = words.isin(classes).to_numpy(bool)
    if not known.any():
        return table  # are refused with what is expected
    refuse(~known, table, "truth", f"one of {', '.join(classes)}", where)
    return table.assign(truth=words.map({name: number for number, name in enumerate(classes)}))


def _scores(table: pd.DataFrame) -> list[str]:
    """Return the names of the columns of scores."""
    return [str(name) for name in table if name == "score" or str(name).startswith("score_")]


def _answered(
    table: pd.DataFrame, path: Path, asked: Asked, classes: tuple[str, ...]
) -> tuple[pd.DataFrame, list[str]]:
    """Return the table with a prediction in every line, as the plan says what a missing one counts as."""
    scores = _scores(table)
    lacking = table[scores].isna().any(axis=1).to_numpy(bool) if scores else np.zeros(len(table), bool)
    if not lacking.any():
        return table, []
    cases = table["case_id"][lacking].astype(str).tolist() if "case_id" in table else []
    how = asked.plan.missing or "refuse"
    possible = asked.target != "time_to_event"
    if how == "refuse" or (how == "wrong" and not possible):
        refuse_missing(cases, path, wrong=possible)
    if how == "leave_out":
        refuse_none(int((~lacking).sum()), path)
        return table[~lacking].reset_index(drop=True), [left_out(cases)]
    for name in (*scores, *truth_columns(asked.target, classes)):
        values = pd.to_numeric(table[name], errors="coerce")
        refuse(values.isna() & table[name].notna(), table, name, "a number", str(path))
    filled = table.copy()
    filled.loc[table.index[lacking], scores] = _wrong(table, lacking, asked.target, scores, classes)
    return filled, [f"No prediction, which counts as a wrong answer as the plan says, for {named(cases)}."]


def _wrong(
    table: pd.DataFrame, rows: npt.NDArray[np.bool_], target: str, scores: list[str], classes: tuple[str, ...]
) -> npt.NDArray[np.float64]:
    """Return the scores of the wrong answer of each row, `(rows, scores)`: the worst that is possible.

    Of two classes, and of each finding, the score at the other end (0 or 1, beyond all others where scores are no
    probabilities); of several classes, all for a wrong one; on a scale, for the one farthest away.
    """
    known = table[scores].to_numpy(np.float64)
    low, high = float(np.nanmin(known, initial=0.0)), float(np.nanmax(known, initial=1.0))
    if low < 0 or high > 1:
        low, high = low - 1, high + 1
    truth = table.loc[rows, list(truth_columns(target, classes))].to_numpy(np.float64)
    if target not in ONE_HOT:
        return np.where(truth == 1, low, high)
    number, last = truth[:, 0], len(classes) - 1
    answer = np.where(number * 2 < last + 1, last, 0) if target == "ordinal" else (number + 1) % len(classes)
    return np.where(answer[:, None] == np.arange(len(classes)), high, low)
