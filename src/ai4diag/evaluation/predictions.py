"""Tables of predictions: written by `train`, read by `evaluate`, or handed in by somebody else.

One line per case and fold: case_id, patient_id, site, attributes, fold, part (`validation`, `test` or `contrast`), and
what the target adds: see the module that scores it (`ai4diag.evaluation.targets`).
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ai4diag.errors import DataError
from ai4diag.evaluation.targets import scored_by, target_of
from ai4diag.files import atomic_path, read_arrow

KEY = b"ai4diag"
EVERY_TASK = ("case_id", "patient_id", "fold", "part")
WORDS = ("case_id", "patient_id", "site")
PREDICTED_PARTS = ("validation", "test", "contrast")
OPTIONAL: dict[str, Any] = {"site": "", "fold": 0, "part": "test"}
"""What a foreign table may leave out, and what stands for it."""
NO_PARQUET = "Make it again with `train`; a table of your own is a .csv file, or Parquet."
COMMA_NUMBER = re.compile(r"\s*[+-]?\d+(,\d+)?([eE][+-]?\d+)?\s*")


def write_predictions(path: Path, table: pd.DataFrame, facts: Mapping[str, Any]) -> None:
    """Write predictions as Parquet, atomically.

    Args:
        path: the file.
        table: one line per case and fold, see above.
        facts: at least `task` and `classes`, and `target` unless it is the task's usual one; kept in the file's own
            metadata.

    Raises:
        DataError: a column is missing or malformed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    check(table, target_of(facts), facts["classes"])
    content = pa.Table.from_pandas(table, preserve_index=False)
    content = content.replace_schema_metadata(
        {**(content.schema.metadata or {}), KEY: json.dumps(dict(facts)).encode("utf-8")}
    )
    with atomic_path(path) as temporary:
        pq.write_table(content, temporary, write_page_checksum=True)


def read_predictions(
    path: Path, task: str | None = None, target: str | None = None, classes: Sequence[str] = ()
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read predictions from Parquet or CSV, and what is known about them.

    A table that `write_predictions` did not write may lack site, fold and part: all its cases are then one test part.

    Args:
        path: a `.csv` file, else Parquet. Detections only fit into Parquet.
        task, target, classes: for a table that does not say so itself; the target may be left out where it is the usual
            one of the task.

    Raises:
        DataError: the file is missing, is no such table, or a column is missing or malformed.
    """
    table, facts = read_table(path)
    known = {"task": task or facts.get("task"), "target": target or facts.get("target")}
    if known["task"] is None:
        raise DataError(f"{path} does not say which task its predictions are of.", "Name it in the plan.")
    if not facts:
        table = with_usual(table)
    check(table, target_of(known), classes or facts.get("classes", ()), str(path))
    return table, facts


def read_table(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a table from Parquet or CSV as it is, and what `write_predictions` noted in it, if it was written by that.

    A CSV is UTF-8 with commas, or semicolons and then perhaps decimal commas, as spreadsheets in Europe write it.

    Raises:
        DataError: the file is missing, or is no such table.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} does not exist.")
    return (_read_csv(path), {}) if path.suffix.lower() == ".csv" else _read_parquet(path)


def with_usual(table: pd.DataFrame) -> pd.DataFrame:
    """Return a foreign table with what it may leave out: all its cases are one test part."""
    return table.assign(**{name: value for name, value in OPTIONAL.items() if name not in table})


def check(
    table: pd.DataFrame, target: str, classes: Sequence[str] = (), where: str = "The table of predictions"
) -> None:
    """Refuse a table that is not one of predictions.

    Raises:
        ConfigError: no such target, or the classes do not suit it.
        DataError: a column is missing, or holds what it must not; the column and the first line are named.
    """
    need(table, EVERY_TASK, where)
    if not len(table):
        raise DataError(f"{where} has no lines.")
    for name in EVERY_TASK:
        refuse(table[name].isna(), table, name, "a value", where)
    fold = pd.to_numeric(table["fold"], errors="coerce").to_numpy(np.float64)
    refuse(fold != np.round(fold), table, "fold", "a whole number", where)
    refuse(~table["part"].isin(PREDICTED_PARTS), table, "part", f"one of {', '.join(PREDICTED_PARTS)}", where)
    double = table.duplicated(["case_id", "fold", "part"])
    refuse(double, table, "case_id", "each case once in a fold and part", where)
    scored_by(target).check(table, classes, where)


def need(table: pd.DataFrame, columns: Sequence[str], where: str) -> None:
    """Refuse a table that lacks a column."""
    for name in columns:
        if name not in table:
            raise DataError(f"{where} has no column '{name}'.", f"It has: {', '.join(map(str, table.columns))}.")


def need_number(table: pd.DataFrame, name: str, where: str) -> None:
    """Refuse a column that holds anything but finite numbers."""
    values = pd.to_numeric(table[name], errors="coerce")
    refuse(~np.isfinite(values.to_numpy(np.float64)), table, name, "a finite number", where)
    if table[name].dtype.kind not in "fiu":
        raise DataError(f"{where}: column '{name}' is text.", "Write numbers with a decimal point.")


def refuse(wrong: Any, table: pd.DataFrame, name: str, expected: str, where: str) -> None:
    """Refuse a column in which some lines are wrong; the first is named, the others are counted."""
    rows = np.flatnonzero(np.asarray(wrong))
    if len(rows):
        more = f" ({len(rows) - 1} more)" if len(rows) > 1 else ""
        found = np.asarray(table[name].iloc[rows[0]]).tolist()
        raise DataError(f"{where}: column '{name}', line {rows[0] + 1}: found {found!r}; expected {expected}{more}.")


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        text = path.read_text(encoding="utf-8-sig")
        header = text.partition("\n")[0]
        separator = ";" if header.count(";") > header.count(",") else ","
        shape: dict[str, Any] = {"sep": separator, "index_col": False, "skipinitialspace": True}
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # lines longer than the header
            table: pd.DataFrame = pd.read_csv(StringIO(text), **shape)
            # an identifier may be NA, which is no missing value, or 007, which is no number
            words = pd.read_csv(
                StringIO(text), **shape, dtype=str, keep_default_na=False, usecols=lambda name: name.strip() in WORDS
            )
            first = pd.read_csv(StringIO(text), **shape, header=None, nrows=1, dtype=str, keep_default_na=False)
    except (ValueError, pd.errors.ParserWarning) as error:
        raise DataError(
            f"{path} is not a table of comma-separated values: {error}.",
            "Write UTF-8, one cell per column in every line, and decimal points.",
        ) from None
    names = first.iloc[0].str.strip().loc[lambda cell: cell != ""]
    if names.duplicated().any():
        raise DataError(f"{path} has two columns '{names[names.duplicated()].iloc[0]}'.", "Keep one of them.")
    table, words = table.rename(columns=str.strip), words.rename(columns=str.strip)
    for name in words:
        table[name] = words[name].str.strip().replace("", None)
    if separator == ";":
        for name in table.columns.difference(list(WORDS)):
            table[name] = _decimal_commas(table[name])
    return table


def _decimal_commas(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column of numbers with decimal commas as numbers; any other column as it is."""
    if values.dtype.kind in "fiub" or not values.dropna().map(lambda v: bool(COMMA_NUMBER.fullmatch(str(v)))).all():
        return values
    return pd.to_numeric(values.str.replace(",", "."))


def _read_parquet(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    import pyarrow as pa

    try:
        content = read_arrow(path)
        raw = (content.schema.metadata or {}).get(KEY)
        facts: dict[str, Any] = json.loads(raw) if raw else {}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}.", NO_PARQUET) from None
    table: pd.DataFrame = content.to_pandas(use_threads=False)
    return table, facts
