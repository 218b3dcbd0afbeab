"""From a table to prepared cases."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.card import Card, Column, Table
from ai4diag.config.recipe import TabularRecipe
from ai4diag.data.catalogue import verify
from ai4diag.data.check_table import class_findings, column_findings, duplicate_findings, leak_findings
from ai4diag.data.identify import finish_index, identifiers
from ai4diag.data.official import left_out, official_parts
from ai4diag.data.prepared import write_prepared
from ai4diag.data.problems import ReadError, stop_on_errors
from ai4diag.data.split import leaks, make_split
from ai4diag.data.tables import RawTable, levels, numbers, read_table
from ai4diag.errors import ConfigError, DataError, did_you_mean
from ai4diag.types import Finding

Floats = npt.NDArray[np.float64]
Preprocess = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class _Cases:
    """All rows of all files, typed.

    Attributes:
        index: case_id, patient_id, site, truth and attributes.
        values: number of a column, or level number of a category, by column name; `(cases,)`, NaN where missing.
        places: file and line of each case.
    """

    index: pd.DataFrame
    values: dict[str, Floats]
    places: list[str]

    def keep(self, rows: npt.NDArray[np.bool_]) -> _Cases:
        places = [place for place, kept in zip(self.places, rows, strict=True) if kept]
        values = {name: column[rows] for name, column in self.values.items()}
        return _Cases(self.index[rows].reset_index(drop=True), values, places)


def prepare_table(
    raw: Path, card: Card, recipe: TabularRecipe, folder: Path, preprocess: Preprocess | None = None
) -> None:
    """Read, validate and split a table; write prepared cases to `folder`.

    Args:
        raw: folder of the data set; its files are verified against their checksums first.
        card: what the data set shall be.
        recipe: which columns to drop, and how cases are divided.
        folder: where the prepared cases go.
        preprocess: gets the features as a table (numbers as float, categories as level names; no truth) and returns
            the features to use, row by row the same cases. New columns must be numbers. It must look at one row at a
            time: statistics over rows would carry the test part into training.

    Raises:
        DataError: a file is missing, damaged or not what the card says, or the split leaks; all errors are named.
        ConfigError: `data.drop` names a column that is none.
    """
    if card.table is None:
        raise DataError(f"{card.name} has no table.", "Choose a tabular data set.")
    verify(card, raw)
    columns = _features(card, card.table, recipe.data.drop)
    cases, findings = _read_cases(raw, card, card.table)
    stop_on_errors(findings, card.name)
    official = official_parts(card, raw, recipe.data.split)
    if official is not None:
        kept, reason = left_out(cases.index["case_id"], official, card)
        findings += reason
    content = _content(cases, card.table)
    if official is not None:
        cases, content = cases.keep(kept), [digest for digest, keep in zip(content, kept, strict=True) if keep]
    findings += duplicate_findings(cases.index["case_id"].tolist(), content, "rows")
    findings += [_post_outcome(column) for column in columns if column.post_outcome]
    parts = None if official is None else cases.index["case_id"].map(official)
    split = make_split(cases.index, _strata(cases.index), content, recipe.data.split, parts)
    known = card.official_split.known_duplicates if card.official_split and official is not None else 0
    ids = cases.index["case_id"].tolist()
    findings += leaks(split, dict(zip(ids, content, strict=True)), known)
    findings += class_findings(split, dict(zip(ids, cases.index["truth"].tolist(), strict=True)), card.classes)
    described, features = _matrix(cases, columns, preprocess)
    train = _training_rows(split)
    truth = cases.index["truth"].to_numpy(np.int64)
    categories = {item["name"] for item in described if item["kind"] == "category"}
    findings += leak_findings(features[train], [item["name"] for item in described], categories, truth[train])
    stop_on_errors(findings, card.name)
    folder.mkdir(parents=True, exist_ok=True)
    write_prepared(
        folder,
        facts={
            "task": "tabular",
            "dataset": card.name,
            "card_sha256": card.sha256,
            "classes": list(card.classes),
            "features": described,
            "statistics": _statistics(features[train], described, truth[train], card.classes),
        },
        index=cases.index,
        split=split,
        findings=findings,
        arrays={"features": features},
        tables={},
    )


def _features(card: Card, table: Table, drop: tuple[str, ...]) -> list[Column]:
    """Return the columns that the model sees."""
    names = [column.name for column in table.columns]
    roles = {table.label.column, table.site} | {item.column for item in (card.case, card.patient) if item is not None}
    for name in drop:
        if name not in names:
            raise ConfigError(f"data.drop: {card.name} has no column '{name}'. {did_you_mean(name, names)}")
        if name == table.label.column:
            raise ConfigError(f"data.drop: '{name}' is the label.", "The model never sees it.")
    kept = [c for c in table.columns if c.name not in roles and c.name not in drop and c.kind != "text"]
    if not kept:
        raise ConfigError(f"data.drop leaves no column of {card.name}.", "Drop fewer.")
    return kept


def _read_cases(raw: Path, card: Card, table: Table) -> tuple[_Cases, list[Finding]]:
    """Read all files, and look at every column."""
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
    values: dict[str, Floats] = {}
    sites = [site for found, default in tables for site in _sites(found, table, default)]
    places = [f"{found.name}, line {line}" for found, _ in tables for line in found.lines]
    for column in table.columns:
        if column.kind == "text" or column.name == table.label.column:
            continue
        values[column.name], noticed = _column([found for found, _ in tables], column, table, sites, places)
        findings += noticed
    truth, noticed = _truth([found for found, _ in tables], table)
    findings += noticed
    stop_on_errors(findings, card.name)
    index = _index(tables, card, table, sites)
    findings += finish_index(index, card, ", ".join(found.name for found, _ in tables))
    index["truth"] = truth.astype(np.int64)
    for column in table.columns:
        if column.attribute:
            name, words = _attribute(column, values[column.name])
            index[name] = words
    return _Cases(index, values, places), findings


def _column(
    tables: list[RawTable], column: Column, table: Table, sites: list[str], places: list[str]
) -> tuple[Floats, list[Finding]]:
    findings: list[Finding] = []
    pieces = []
    for found in tables:
        if column.kind == "category":
            written = {name: (value,) for name, value in column.levels.items()}
            piece, noticed = levels(found, column.name, written, table.missing)
        else:
            piece, noticed = numbers(found, column, table.missing)
        pieces.append(piece)
        findings += noticed
    values = np.concatenate(pieces)
    zeros = (values == 0) & column.zero_is_missing
    values[zeros] = np.nan
    return values, findings + column_findings(column, values, sites, places, zeros)


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


def _index(tables: list[tuple[RawTable, str]], card: Card, table: Table, sites: list[str]) -> pd.DataFrame:
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


def _sites(found: RawTable, table: Table, default: str) -> list[str]:
    return [default] * len(found.cells) if table.site is None else found.cells[table.site].tolist()


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


def _post_outcome(column: Column) -> Finding:
    return Finding(
        "error",
        "post-outcome-column",
        f"column '{column.name}'",
        "a column that is known only after the outcome",
        "columns that are known when the prediction is made",
        f"Add it to data.drop: [{column.name}]. {column.note}".strip(),
    )


def _content(cases: _Cases, table: Table) -> list[str]:
    """Hash each row: all columns that are read, and the label."""
    stacked = np.column_stack([*cases.values.values(), cases.index["truth"].to_numpy(np.float64)]) + 0.0
    stacked[np.isnan(stacked)] = np.nan  # one NaN, whatever its bits were
    return [hashlib.sha256(row.tobytes()).hexdigest() for row in np.ascontiguousarray(stacked)]


def _strata(index: pd.DataFrame) -> Floats:
    """One-hot of class, and of class within site."""
    joint = index["site"].astype(str) + "/" + index["truth"].astype(str)
    blocks = [pd.get_dummies(column).to_numpy(np.float64) for column in (index["truth"], joint)]
    return np.column_stack(blocks)


def _matrix(cases: _Cases, columns: list[Column], preprocess: Preprocess | None) -> tuple[list[dict[str, Any]], Floats]:
    """Return what each feature is, and the features `(cases, features)`."""
    described = [_describe(column) for column in columns]
    matrix = np.column_stack([cases.values[column.name] for column in columns])
    if preprocess is None:
        return described, matrix
    table = cases.index[["case_id", "patient_id", "site"]].copy()
    for item, values in zip(described, matrix.T, strict=True):
        words = np.array([*item["levels"], None], dtype=object)
        codes = np.where(np.isnan(values), len(words) - 1, values).astype(np.int64) if item["levels"] else None
        table[item["name"]] = values if codes is None else words[codes]
    result = preprocess(table.copy())
    if not isinstance(result, pd.DataFrame) or not result["case_id"].equals(table["case_id"]):
        raise DataError("preprocess must return a table of the same cases in the same order.", "Keep every row.")
    known = {item["name"]: item for item in described}
    described, pieces = [], []
    for name in result.columns.drop(["case_id", "patient_id", "site"], errors="ignore"):
        item = known.get(name, {"name": str(name), "kind": "number", "unit": "1", "levels": []})
        described.append(item)
        pieces.append(_encode(result[name], item))
    return described, np.column_stack(pieces)


def _encode(column: pd.Series, item: dict[str, Any]) -> Floats:
    if item["levels"]:
        number_of = {name: float(number) for number, name in enumerate(item["levels"])}
        codes = column.map(number_of).to_numpy(np.float64)
        if (np.isnan(codes) & column.notna().to_numpy()).any():
            raise DataError(f"preprocess returned unknown levels of '{item['name']}'.", "Keep to the card's levels.")
        return codes
    try:
        return column.to_numpy(np.float64)
    except (TypeError, ValueError):
        raise DataError(f"preprocess returned '{item['name']}' that is not numbers.", "Return numbers.") from None


def _describe(column: Column) -> dict[str, Any]:
    return {"name": column.name, "kind": column.kind, "unit": column.unit, "levels": list(column.levels)}


def _training_rows(split: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return the training rows of the fold whose model is kept."""
    kept = split[(split["contrast"] == 0) & (split["fold"] == split["fold"].min())]
    return np.flatnonzero(kept["part"].to_numpy() == "train")


def _statistics(
    features: Floats, described: list[dict[str, Any]], truth: npt.NDArray[np.int64], classes: tuple[str, ...]
) -> dict[str, Any]:
    """Describe the training part: classes, and of each feature its missing values and distribution."""
    columns: dict[str, dict[str, Any]] = {}
    for item, values in zip(described, features.T, strict=True):
        present = values[~np.isnan(values)]
        facts: dict[str, Any] = {"missing": int(np.isnan(values).sum())}
        if item["levels"]:
            facts["counts"] = [int((present == number).sum()) for number in range(len(item["levels"]))]
        elif len(present):
            facts |= {"mean": float(present.mean()), "std": float(present.std()), "median": float(np.median(present))}
            facts |= {"min": float(present.min()), "max": float(present.max())}
        columns[item["name"]] = facts
    counts = {name: int((truth == number).sum()) for number, name in enumerate(classes)}
    return {"part": "train", "cases": len(truth), "classes": counts, "features": columns}
