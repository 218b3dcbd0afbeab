"""The records of a data set: which there are, whose they are, and what is known of each as a whole."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.card import Card
from ai4diag.config.sources.signals import RecordAttribute, RecordLabels, RecordTable, Signals
from ai4diag.config.sources.table import canonical
from ai4diag.data.identify import finish_index, identifiers
from ai4diag.errors import DataError, did_you_mean
from ai4diag.types import Finding

_CODE = re.compile(r"""['"]([^'"]+)['"]\s*:""")
"""A key of a Python dictionary of texts."""


@dataclass(frozen=True)
class Records:
    """The records of a data set, before their samples are read.

    Attributes:
        index: case_id (the record's name), patient_id, site, attributes; one line per record.
        paths: of each record, relative to the data set's folder, without ending.
        labels: bool `(records, classes)` where records have a truth as a whole, else None.
    """

    index: pd.DataFrame
    paths: tuple[str, ...]
    labels: npt.NDArray[np.bool_] | None

    def keep(self, rows: npt.NDArray[np.bool_]) -> Records:
        """Return the records for which `rows` is true."""
        paths = tuple(path for path, kept in zip(self.paths, rows, strict=True) if kept)
        return Records(
            self.index[rows].reset_index(drop=True), paths, None if self.labels is None else self.labels[rows]
        )


def list_records(
    raw: Path, card: Card, signals: Signals, wanted_hz: float | None = None
) -> tuple[Records, list[Finding]]:
    """Return the records of a data set, and what was noticed.

    Args:
        raw: folder of the data set.
        card: says whose a record is.
        signals: names the records, or the table of records.
        wanted_hz: sampling rate of the recipe: of several rates that the data set offers, the smallest that is not
            below it is read.

    Raises:
        DataError: the table lacks a column, a cell is not what the card says, or a record is there twice.
    """
    if signals.table is None:
        table = pd.DataFrame({"record": [Path(path).name for path in signals.records]})
        paths, where = list(signals.records), "signals.records"
    else:
        table = _read_csv(raw / signals.table.path)
        where = signals.table.path
        _need(table, _wanted_columns(card, signals, signals.table), where)
        cells = table[_path_column(signals.table, wanted_hz)].str.strip()
        paths = [_inside(path, where, row) for row, path in enumerate(cells, start=2)]
        table["record"] = [Path(path).name for path in paths]
    index = pd.DataFrame({"case_id": table["record"]})
    if card.case is not None:
        index["case_id"] = identifiers(table[card.case.column], card.case, where)
    if card.patient is not None:
        patients = identifiers(table[card.patient.column], card.patient, where)
        index["patient_id"] = patients.replace(dict(signals.same_patient))
    by_column = signals.table.site if signals.table is not None else None
    index["site"] = table[by_column].replace("", "unknown") if by_column else signals.site
    for attribute in signals.table.attributes if signals.table is not None else ():
        index[attribute.column] = _attribute(table[attribute.column], attribute, where)
    findings = finish_index(index, card, where)
    shows = None if signals.labels is None else _labels(table, raw, signals.labels, card.classes, where)
    return Records(index, tuple(paths), shows), findings


def labelled(records: Records, labels: RecordLabels | None) -> tuple[Records, list[Finding]]:
    """Leave out records without a class where the card says so; records of several are errors unless multilabel."""
    if records.labels is None or labels is None:
        return records, []
    where, count = f"column '{labels.column}'", records.labels.sum(axis=1)
    findings = []
    wrong = np.flatnonzero((count > 1) & (not labels.multilabel))
    empty = np.flatnonzero(count == 0)
    if len(wrong):
        found = f"{len(wrong)} records of several classes, such as {records.index['case_id'].iloc[wrong[0]]}"
        cure = "Set multilabel in the card, or correct the values."
        findings.append(Finding("error", "several-classes", where, found, "one class per record", cure))
    if len(empty) and labels.leave_out_unlabelled:
        found = f"{len(empty)} of {len(count)} records are of no class and are left out"
        cure = "Nothing to do: the card says so."
        findings.append(Finding("info", "no-class", where, found, "a class per record", cure))
        return records.keep(count > 0), findings
    if len(empty) and not labels.multilabel:
        found = f"{len(empty)} records of no class, such as {records.index['case_id'].iloc[empty[0]]}"
        cure = "Correct the values, or set leave_out_unlabelled."
        findings.append(Finding("error", "label-missing", where, found, "a class per record", cure))
    return records, findings


def _labels(
    table: pd.DataFrame, raw: Path, labels: RecordLabels, classes: tuple[str, ...], where: str
) -> npt.NDArray[np.bool_]:
    """Return bool `(records, classes)`."""
    if labels.groups is not None:
        groups = _read_csv(raw / labels.groups.path)
        _need(groups, [labels.groups.column], labels.groups.path)
        pairs = zip(groups.iloc[:, 0], groups[labels.groups.column], strict=True)
        class_of = {canonical(code): classes.index(name.strip()) for code, name in pairs if name.strip() in classes}
        known = None
    else:
        named = [(canonical(str(one)), number) for number, ones in enumerate(labels.values.values()) for one in ones]
        class_of, known = dict(named), {name for name, _ in named}
    found = np.zeros((len(table), len(classes)), bool)
    for row, cell in enumerate(table[labels.column]):
        text = cell.strip()
        codes = [canonical(code) for code in (_CODE.findall(text) if text.startswith("{") else [text] if text else [])]
        unknown = [code for code in codes if known is not None and code not in known]
        if unknown and not text.startswith("{"):
            raise DataError(
                f"{where}, line {row + 2}, column '{labels.column}': found {text!r}; expected one of "
                f"{', '.join(sorted(known or ()))}.",
                "Correct the cell, or the card's labels.values.",
            )
        found[row, [class_of[code] for code in codes if code in class_of]] = True
    return found


def _attribute(cells: pd.Series, attribute: RecordAttribute, where: str) -> list[str | None]:
    """Return the words of an attribute, None where the cell is empty."""
    texts = cells.str.strip()
    if attribute.levels:
        word_of = {canonical(str(value)): name for name, value in attribute.levels.items()}
        words = [word_of.get(canonical(text)) if text else None for text in texts]
        for row, (text, word) in enumerate(zip(texts, words, strict=True), start=2):
            if text and word is None:
                raise DataError(
                    f"{where}, line {row}, column '{attribute.column}': found {text!r}; expected one of "
                    f"{', '.join(map(str, attribute.levels.values()))}.",
                    "Correct the cell, or the card's levels.",
                )
        return words
    if not attribute.bands:
        return [text or None for text in texts]
    numbers = pd.to_numeric(texts.mask(texts == ""), errors="coerce").to_numpy(np.float64)
    bad = np.flatnonzero(np.isnan(numbers) & (texts != "").to_numpy())
    if len(bad):
        raise DataError(
            f"{where}, line {bad[0] + 2}, column '{attribute.column}': found {texts.iloc[bad[0]]!r}; expected a "
            "number.",
            "Correct the cell.",
        )
    limits = [f"{limit:g}" for limit in attribute.bands]
    names = [f"under {limits[0]}", *(f"{low} to under {high}" for low, high in pairwise(limits))]
    names.append(f"{limits[-1]} and over")
    bands = np.searchsorted(np.asarray(attribute.bands), numbers, side="right")
    return [None if np.isnan(number) else names[band] for number, band in zip(numbers, bands, strict=True)]


def _path_column(table: RecordTable, wanted_hz: float | None) -> str:
    """Return the column of the smallest rate that is not below the wanted one; without a wish, of the smallest."""
    rates = sorted(table.columns)
    enough = [rate for rate in rates if rate >= (wanted_hz or 0)]
    return table.columns[enough[0] if enough else rates[-1]]


def _wanted_columns(card: Card, signals: Signals, table: RecordTable) -> list[str]:
    wanted = [*table.columns.values(), *(attribute.column for attribute in table.attributes)]
    wanted += [table.site] if table.site else []
    wanted += [item.column for item in (card.case, card.patient) if item is not None and item.column != "record"]
    return wanted + ([signals.labels.column] if signals.labels is not None else [])


def _need(table: pd.DataFrame, columns: list[str], where: str) -> None:
    for name in columns:
        if name not in table.columns:
            raise DataError(f"{where} has no column '{name}'. {did_you_mean(name, map(str, table.columns))}")


def _inside(path: str, where: str, line: int) -> str:
    """Return the path of a record when it stays inside the data set's folder."""
    parts = Path(path).parts
    if not path or path.startswith("/") or ".." in parts or "\\" in path:
        raise DataError(f"{where}, line {line}: '{path}' is no path inside the data set.", "Correct the table.")
    return path


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}.", "Look at signals.table of the card.") from None
