"""Rows of one or more files as typed cases."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.card import Card
from ai4diag.config.sources.table import DAYS, Column, Table
from ai4diag.data.check_table import column_findings, time_findings
from ai4diag.data.identify import finish_index, identifiers
from ai4diag.data.problems import ReadError, stop_on_errors
from ai4diag.data.tables import RawTable, levels, numbers, read_table
from ai4diag.errors import DataError
from ai4diag.types import Finding

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TableCases:
    """All rows of all files, typed.

    Attributes:
        index: case_id, patient_id, site, truth and attributes; of a time to event also time_days.
        values: number of a column, or level number of a category, by column name; `(cases,)`, NaN where missing.
    """

    index: pd.DataFrame
    values: dict[str, Floats]

    def keep(self, rows: npt.NDArray[np.bool_]) -> TableCases:
        """Return the cases for which `rows` is true."""
        values = {name: column[rows] for name, column in self.values.items()}
        return TableCases(self.index[rows].reset_index(drop=True), values)

    def chance_copies(self) -> float:
        """Return how many other rows a row is expected to equal by chance alone, label included.

        It is the number of other rows times the product over columns of the share of pairs of cells that are equal.
        """
        pairs = len(self.index) * (len(self.index) - 1)
        counts = [np.unique(column, return_counts=True)[1] for column in self._columns()]
        chances = [float((count * (count - 1)).sum()) / max(pairs, 1) for count in counts]
        return (len(self.index) - 1) * float(np.prod(chances))

    def _columns(self) -> list[Floats]:
        outcome = [name for name in ("truth", "time_days") if name in self.index]
        return [*self.values.values(), *(self.index[name].to_numpy(np.float64) for name in outcome)]

    def content(self) -> list[str]:
        """Return a hash of each row: all columns that were read, and the label."""
        stacked = np.column_stack(self._columns()) + 0.0
        stacked[np.isnan(stacked)] = np.nan  # one NaN, whatever its bits were
        return [hashlib.sha256(row.tobytes()).hexdigest() for row in np.ascontiguousarray(stacked)]


def read_table_cases(
    raw: Path, card: Card, table: Table, drop: tuple[str, ...] = ()
) -> tuple[TableCases, list[Finding]]:
    """Read all files of a table, and look at every column.

    Args:
        raw: folder of the data set.
        card: what the data set shall be.
        table: the card's table.
        drop: columns that are read, so that damage is found, but not judged, because no model sees them.

    Returns:
        The cases in the order of the files, and what was noticed.

    Raises:
        DataError: lists every file, line and cell that is not what the card says.
    """
    tables, findings = _read_files(raw, card, table)
    sites = _sites(tables, table, raw)
    places = [f"{found.name}, line {line}" for found, _ in tables for line in found.lines]
    roles = {*table.roles, *(item.column for item in (card.case, card.patient) if item is not None)}
    values: dict[str, Floats] = {}
    for column in table.columns:
        if column.kind == "text" or column.name in roles:
            continue
        values[column.name], zeros, noticed = _column([found for found, _ in tables], column, table)
        findings += noticed
        if column.name not in drop:
            findings += column_findings(column, values[column.name], sites, places, zeros)
    truth, noticed = _truth([found for found, _ in tables], table)
    findings += noticed
    time_days, noticed = _time([found for found, _ in tables], table, truth, places)
    findings += noticed
    stop_on_errors(findings, card.name)
    index = _index(tables, card, sites)
    findings += finish_index(index, card, ", ".join(found.name for found, _ in tables))
    index["truth"] = truth.astype(np.int64)
    if time_days is not None:
        index["time_days"] = time_days
    for column in table.columns:
        if column.attribute:
            name, words = _attribute(column, values[column.name])
            index[name] = words
    return TableCases(index, values), findings


def _read_files(raw: Path, card: Card, table: Table) -> tuple[list[tuple[RawTable, str]], list[Finding]]:
    findings: list[Finding] = []
    tables: list[tuple[RawTable, str]] = []
    for file in table.files:
        try:
            found, noticed = read_table(raw / file.path, [c.name for c in table.columns], header=table.header)
        except ReadError as error:
            findings.append(error.finding)
            continue
        tables.append((found, file.site))
        findings += noticed
    stop_on_errors(findings, card.name)
    return tables, findings


def _column(
    tables: list[RawTable], column: Column, table: Table
) -> tuple[Floats, npt.NDArray[np.bool_], list[Finding]]:
    """Return a column over all files, where it had zeros that mean missing, and what was noticed."""
    findings: list[Finding] = []
    pieces = []
    for found in tables:
        if column.kind == "category":
            piece, noticed = levels(
                found, column.name, {name: (value,) for name, value in column.levels.items()}, table.missing
            )
        else:
            piece, noticed = numbers(found, column, table.missing)
        pieces.append(piece)
        findings += noticed
    values = np.concatenate(pieces)
    zeros = (values == 0) & column.zero_is_missing
    values[zeros] = np.nan
    return values, zeros, findings


def _truth(tables: list[RawTable], table: Table) -> tuple[Floats, list[Finding]]:
    """Return the class number of each row; a missing label is an error."""
    findings, pieces = [], []
    for found in tables:
        piece, noticed = levels(found, table.label.column, dict(table.label.values), table.missing)
        findings += noticed
        empty = np.flatnonzero(np.isnan(piece))
        if len(empty):
            where = found.where(int(empty[0]), table.label.column)
            what = f"no label ({len(empty)} such rows)"
            cure = "Remove the rows, or find their outcome."
            findings.append(Finding("error", "label-missing", where, what, "a label in every row", cure))
        pieces.append(piece)
    return np.concatenate(pieces), findings


def _time(
    tables: list[RawTable], table: Table, truth: Floats, places: list[str]
) -> tuple[Floats | None, list[Finding]]:
    """Return the time under observation of each row in days, None without one, and what was noticed."""
    column = next((column for column in table.columns if column.name == table.time), None)
    if column is None:
        return None, []
    values, _, findings = _column(tables, column, table)
    return values * DAYS[column.unit], findings + time_findings(column.name, values, truth, places)


def _index(tables: list[tuple[RawTable, str]], card: Card, sites: list[str]) -> pd.DataFrame:
    """Return case_id, patient_id when known, and site. Rows without a name are numbered: `<site>-<row>`."""
    pieces = []
    for found, default in tables:
        piece = pd.DataFrame(index=range(len(found.cells)))
        if card.case is not None:
            piece["case_id"] = identifiers(found.cells[card.case.column], card.case, found.name)
        else:
            stem = default if len(tables) > 1 or default != "unknown" else card.name
            piece["case_id"] = [f"{stem}-{row:04d}" for row in range(1, len(piece) + 1)]
        if card.patient is not None:
            piece["patient_id"] = identifiers(found.cells[card.patient.column], card.patient, found.name)
        pieces.append(piece)
    index = pd.concat(pieces, ignore_index=True)
    index["site"] = sites
    return index


def _sites(tables: list[tuple[RawTable, str]], table: Table, raw: Path) -> list[str]:
    """Return the site of each row: that of its file, or what a column says, looked up where the card says so.

    Raises:
        DataError: the table to look it up in lacks a column or a code, or holds a code twice.
    """
    place = table.site
    if place is None:
        return [default for found, default in tables for _ in range(len(found.cells))]
    codes = [code for found, _ in tables for code in identifiers(found.cells[place.column], place, found.name)]
    if place.lookup is None:
        return codes
    path, names = raw / place.lookup.path, [place.lookup.key, place.lookup.value]
    try:
        known, _ = read_table(path, names, header=True)
    except ReadError as error:
        raise DataError(str(error.finding), "Look at table.site.lookup of the card.") from None
    keys = known.cells[place.lookup.key]
    wrong = sorted(set(keys[keys.duplicated()])) or sorted(set(codes) - set(keys))
    if wrong:
        found = "twice" if keys.duplicated().any() else "nowhere"
        raise DataError(
            f"{path} has the code '{wrong[0]}' {found}; expected each code once ({len(wrong)} such).",
            "Correct the table, or table.site of the card.",
        )
    meaning = dict(zip(keys, known.cells[place.lookup.value], strict=True))
    return [meaning[code] for code in codes]


def _attribute(column: Column, values: Floats) -> tuple[str, list[str | None]]:
    """Return name and words of an attribute: the level of a category, the band of a number, None where missing."""
    if column.kind == "category":
        words = list(column.levels)
        return column.name, [None if np.isnan(value) else words[int(value)] for value in values]
    limits = [f"{limit:g}" for limit in column.bands]
    names = [f"under {limits[0]}"]
    names += [f"{low} to under {high}" for low, high in pairwise(limits)]
    names.append(f"{limits[-1]} and over")
    bands = np.searchsorted(np.asarray(column.bands), values, side="right")
    return f"{column.name}_band", [
        None if np.isnan(value) else names[band] for value, band in zip(values, bands, strict=True)
    ]
