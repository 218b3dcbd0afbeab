"""Tables as they come: CSV, UCI `.data`, ARFF, Excel and Parquet, read tolerantly and reported exactly.

Tolerated: a byte order mark, `,` `;` or tab as separator, stray blanks and tabs around cells, decimal commas where
the separator is not a comma. Each is mended without loss, and the mending that a reader should know of is reported.
Everything else (ragged lines, bytes that are not UTF-8, text where a number belongs) is an error with its line.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.sources.table import Column, canonical
from ai4diag.data.problems import ReadError
from ai4diag.errors import did_you_mean
from ai4diag.types import Finding

LARGEST_FILE_BYTES = 2**30
MOST_COLUMNS = 10_000
SHEETS = (".xlsx", ".parquet")
"""Endings of files that are no text; `ai4diag.data.sheets` reads them."""
NAMED = (*SHEETS, ".arff")
"""Endings of files that name their own columns."""
_SEPARATORS = ",;\t"
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
_ATTRIBUTE = re.compile(r"@attribute\s+(?:'([^']+)'|\"([^\"]+)\"|(\S+))\s+\S", re.IGNORECASE)


@dataclass(frozen=True)
class RawTable:
    """Cells of a file as text, stripped.

    Attributes:
        name: the file, named in findings.
        cells: one column per name, text; the index counts rows from 0.
        lines: `(rows,)`, the line of each row in the file, counted from 1.
        separator: what stood between cells.
    """

    name: str
    cells: pd.DataFrame
    lines: npt.NDArray[np.int64]
    separator: str

    def where(self, row: int, column: str) -> str:
        """Name a cell as a reader finds it."""
        return f"{self.name}, line {self.lines[row]}, column '{column}'"


def read_table(path: Path, names: list[str], *, header: bool) -> tuple[RawTable, list[Finding]]:
    """Read a table as text.

    Args:
        path: ARFF, Excel (`.xlsx`, its first sheet) or Parquet by its ending, else CSV or UCI `.data`.
        names: columns that the card expects.
        header: whether the first line of a CSV names the columns; otherwise they are `names` in order.

    Returns:
        The columns of `names` in that order, and findings: mended blanks, columns that the card does not know.

    Raises:
        ReadError: the file is missing, not text, ragged, too large, or lacks a column.
    """
    rows, separator = _grid(path)
    header = header or path.suffix.lower() in NAMED
    found = [cell.strip() for cell in rows[0][1]] if header else list(names)
    rows = rows[1:] if header else rows
    _check_shape(path, found, names, rows)
    findings = _columns(path, found, names)
    stray = [number for number, cells in rows if any("\t" in cell for cell in cells) and separator != "\t"]
    if stray:
        what = f"stray tabs in {len(stray)} lines, the first is line {stray[0]}"
        cure = "They were removed; nothing else to do."
        findings.append(Finding("info", "stray-tabs", path.name, what, "cells without tabs around them", cure))
    cells = pd.DataFrame([[cell.strip() for cell in row] for _, row in rows], columns=found, dtype=str)
    table = RawTable(path.name, cells[names], np.array([number for number, _ in rows], np.int64), separator)
    return table, findings


def read_header(path: Path) -> list[str]:
    """Return the names in the first line of a table, as `read_table` finds them.

    Raises:
        ReadError: as `read_table`.
    """
    return [cell.strip() for cell in _grid(path)[0][0][1]]


def numbers(table: RawTable, column: Column, missing: tuple[str, ...]) -> tuple[npt.NDArray[np.float64], list[Finding]]:
    """Return a column as float64 `(rows,)`, NaN where missing.

    A cell that is not a finite number is an error; a decimal comma is read as one and reported.
    """
    text = table.cells[column.name]
    present = ~text.isin(missing).to_numpy(bool)
    findings = []
    commas = present & text.str.fullmatch(_DECIMAL_COMMA).to_numpy(bool)
    if table.separator != "," and commas.any():
        text = text.where(~commas, text.str.replace(",", "."))
        row = int(np.flatnonzero(commas)[0])
        found = f"decimal commas in {int(commas.sum())} cells, such as {table.cells[column.name].iloc[row]!r}"
        cure = "They were read as decimal points; check that none separates thousands."
        findings.append(Finding("warning", "decimal-comma", table.where(row, column.name), found, "points", cure))
    values = np.full(len(text), np.nan)
    values[present] = pd.to_numeric(text[present], errors="coerce")
    bad = np.flatnonzero(present & ~np.isfinite(values))
    if len(bad):
        cell = table.cells[column.name].iloc[bad[0]]
        what = f"the formula {cell!r}" if cell[:1] in "=@" and cell else repr(cell)
        more = f" ({len(bad)} such cells)" if len(bad) > 1 else ""
        cure = "Correct the cell, or add the word to table.missing of the card."
        if commas[bad[0]]:
            cure = "Write decimal points, or separate the cells by semicolons: this comma could part thousands."
        where = table.where(int(bad[0]), column.name)
        findings.append(Finding("error", "not-a-number", where, what + more, "a number", cure))
    return values, findings


def levels(
    table: RawTable, column: str, written: Mapping[str, tuple[str | int | float, ...]], missing: tuple[str, ...]
) -> tuple[npt.NDArray[np.float64], list[Finding]]:
    """Return a column as level numbers `(rows,)`, NaN where missing.

    Args:
        table: cells.
        column: name of the column.
        written: for each level in order, how the file writes it; `1`, `1.0` and 1 are the same.
        missing: how the file writes a missing value.
    """
    number_of = {canonical(str(value)): level for level, values in enumerate(written.values()) for value in values}
    text = table.cells[column]
    codes = text.map({cell: number_of.get(canonical(cell), -1) for cell in text.unique()}).to_numpy(np.float64)
    codes[text.isin(missing).to_numpy(bool)] = np.nan
    bad = np.flatnonzero(codes == -1)
    if not len(bad):
        return codes, []
    cell = text.iloc[bad[0]]
    known = ", ".join(f"{'/'.join(map(str, values))} ({name})" for name, values in written.items())
    more = f" ({len(bad)} such cells)" if len(bad) > 1 else ""
    cure = f"Correct the cell, or add it to the card. {did_you_mean(cell, [str(v[0]) for v in written.values()])}"
    return codes, [Finding("error", "unknown-level", table.where(int(bad[0]), column), repr(cell) + more, known, cure)]


def _grid(path: Path) -> tuple[list[tuple[int, list[str]]], str]:
    """Return the numbered lines of a table as cells, and what stood between them; there is at least one line."""
    kind = path.suffix.lower()
    separator = ","
    if kind in SHEETS:
        from ai4diag.data.sheets import SHEET_READERS

        rows = SHEET_READERS[kind](path)
    elif kind == ".arff":
        names, lines = _arff(path, _text(path))
        rows = [(1, names), *_rows(path, lines, separator)]
    else:
        text = _text(path)
        numbered = [(number, line) for number, line in enumerate(io.StringIO(text, newline=""), start=1)]
        separator = _separator(text)
        rows = list(_rows(path, numbered, separator))
    if not rows:
        raise ReadError(path.name, "an empty file", "rows", "Fetch or export the file again.")
    return rows, separator


def _text(path: Path) -> str:
    if not path.is_file():
        raise ReadError(path.name, "no such file", "a table", "Run `ai4diag data get` again.")
    size = path.stat().st_size
    if size > LARGEST_FILE_BYTES:
        raise ReadError(path.name, f"{size} bytes", f"at most {LARGEST_FILE_BYTES}", "Divide the file.")
    content = path.read_bytes()
    if b"\x00" in content:
        raise ReadError(path.name, "zero bytes", "text", "Export it as CSV in UTF-8; a spreadsheet file is not text.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ReadError(
            f"{path.name}, line {line}", f"byte 0x{content[error.start]:02x}", "UTF-8 text", "Save it as UTF-8."
        ) from None


def _separator(text: str) -> str:
    first = text.lstrip("\n").partition("\n")[0]
    counts = {separator: first.count(separator) for separator in _SEPARATORS}
    # of a line such as `1,5;2,5;3,1` the semicolon separates, although commas are as many
    return ";" if counts[";"] and counts[";"] + 1 >= counts[","] else max(_SEPARATORS, key=lambda mark: counts[mark])


def _rows(path: Path, numbered: list[tuple[int, str]], separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of each line that is not blank; a quoted cell may span lines."""
    position = {"line": 0}

    def feed() -> Iterator[str]:
        for number, line in numbered:
            position["line"] = number
            yield line

    reader = csv.reader(feed(), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield position["line"], cells
    except csv.Error as error:
        raise ReadError(
            f"{path.name}, line {position['line']}", f"broken quotes ({error})", "CSV", "Correct the line."
        ) from None


def _arff(path: Path, text: str) -> tuple[list[str], list[tuple[int, str]]]:
    """Return the attribute names and the numbered lines of data of an ARFF file."""
    names: list[str] = []
    numbered = list(enumerate(io.StringIO(text), start=1))
    for number, line in numbered:
        word = line.strip().lower()
        if word.startswith("@attribute"):
            match = _ATTRIBUTE.match(line.strip())
            if match is None:
                raise ReadError(
                    f"{path.name}, line {number}", repr(line.strip()), "@attribute name type", "Correct it."
                )
            names.append(next(group for group in match.groups() if group is not None))
        elif word.startswith("@data"):
            body = [(n, text) for n, text in numbered[number:] if not text.lstrip().startswith("%")]
            return names, [(n, text.replace("'", '"')) for n, text in body]
    raise ReadError(path.name, "no @data line", "an ARFF file with @attribute and @data", "Fetch the file again.")


def _check_shape(path: Path, found: list[str], names: list[str], rows: list[tuple[int, list[str]]]) -> None:
    if len(found) > MOST_COLUMNS:
        raise ReadError(path.name, f"{len(found)} columns", f"at most {MOST_COLUMNS}", "Choose the columns you need.")
    if not rows:
        raise ReadError(path.name, "no rows", "at least one row under the header", "Fetch or export the file again.")
    twice = [name for name in found if found.count(name) > 1]
    if twice:
        raise ReadError(path.name, f"column '{twice[0]}' twice", "each column once", "Rename or remove one of them.")
    for name in names:
        if name not in found:
            shown = ", ".join(found[:8]) + (", ..." if len(found) > 8 else "")
            cure = f"Correct the header, or the card. {did_you_mean(name, found)}"
            raise ReadError(path.name, f"columns {shown}", f"a column '{name}'", cure)
    for number, cells in rows:
        if len(cells) != len(found):
            raise ReadError(
                f"{path.name}, line {number}",
                f"{len(cells)} cells",
                f"{len(found)} cells",
                "Correct the line: a separator is missing or too many, or a number has a decimal comma.",
            )


def _columns(path: Path, found: list[str], names: list[str]) -> list[Finding]:
    surplus = [name for name in found if name not in names]
    if not surplus:
        return []
    shown = ", ".join(surplus[:5]) + (", ..." if len(surplus) > 5 else "")
    cure = "They are left out; add them to the card to use them."
    what = f"{len(surplus)} columns that the card does not know: {shown}"
    return [Finding("warning", "unknown-column", path.name, what, "the columns of the card", cure)]
