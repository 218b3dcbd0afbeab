"""What of a table the model sees, and how it is described."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.card import Card
from ai4diag.config.sources.table import Column, Table
from ai4diag.data.table_cases import TableCases
from ai4diag.errors import ConfigError, DataError, did_you_mean

Floats = npt.NDArray[np.float64]
Preprocess = Callable[[pd.DataFrame], pd.DataFrame]


def feature_columns(card: Card, table: Table, drop: tuple[str, ...]) -> list[Column]:
    """Return the columns that the model sees."""
    names = [column.name for column in table.columns]
    roles = table.roles | {item.column for item in (card.case, card.patient) if item is not None}
    for name in drop:
        if name not in names:
            raise ConfigError(f"data.drop: {card.name} has no column '{name}'. {did_you_mean(name, names)}")
        if name in (table.label.column, table.time):
            raise ConfigError(f"data.drop: '{name}' is the label.", "The model never sees it.")
    kept = [c for c in table.columns if c.name not in roles and c.name not in drop and c.kind != "text"]
    if not kept:
        raise ConfigError(f"data.drop leaves no column of {card.name}.", "Drop fewer.")
    return kept


def feature_matrix(
    cases: TableCases, columns: list[Column], preprocess: Preprocess | None
) -> tuple[list[dict[str, Any]], Floats]:
    """Return what each feature is, and the features `(cases, features)`.

    Raises:
        DataError: what `preprocess` returned is no table of numbers of these cases, or it looks across rows.
    """
    described = [_describe(column) for column in columns]
    matrix = np.column_stack([cases.values[column.name] for column in columns])
    if preprocess is None:
        return described, matrix
    table = _readable(cases, described, matrix)
    known = {item["name"]: item for item in described}
    described, matrix = _checked(preprocess(table.copy()), table, known)
    half = table.iloc[::2].reset_index(drop=True)
    again, values = _checked(preprocess(half.copy()), half, known)
    if again != described or not np.allclose(values, matrix[::2], rtol=1e-6, atol=1e-12, equal_nan=True):
        raise DataError(
            "preprocess gives other values when it sees fewer cases: the test part would reach into training.",
            "Use nothing but the row itself; scaling and filling are learned from the training part later.",
        )
    return described, matrix


def _readable(cases: TableCases, described: list[dict[str, Any]], matrix: Floats) -> pd.DataFrame:
    """Return the table that `preprocess` gets: identifiers, numbers as float, categories as level names."""
    table = cases.index[["case_id", "patient_id", "site"]].copy()
    for item, values in zip(described, matrix.T, strict=True):
        words = np.array([*item["levels"], None], dtype=object)
        codes = np.where(np.isnan(values), len(words) - 1, values).astype(np.int64) if item["levels"] else None
        table[item["name"]] = values if codes is None else words[codes]
    return table


def _checked(result: Any, table: pd.DataFrame, known: dict[str, dict[str, Any]]) -> tuple[list[dict[str, Any]], Floats]:
    """Return what each feature is that `preprocess` made of `table`, and the features."""
    if not (isinstance(result, pd.DataFrame) and "case_id" in result and result["case_id"].equals(table["case_id"])):
        raise DataError("preprocess must return a table of the same cases in the same order.", "Keep every row.")
    if not result.columns.is_unique:
        raise DataError("preprocess returned a column twice.", "Give each column its own name.")
    described, pieces = [], []
    for name in result.columns.drop(["case_id", "patient_id", "site"], errors="ignore"):
        item = known.get(name, {"name": str(name), "kind": "number", "unit": "1", "levels": []})
        described.append(item)
        pieces.append(_encode(result[name], item))
    if not pieces or np.isinf(pieces).any():
        found = "infinite values" if pieces else "no feature"
        raise DataError(f"preprocess returned {found}.", "Return finite numbers, NaN where missing.")
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


def feature_statistics(
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
