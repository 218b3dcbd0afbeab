"""The features of a case as a table: value with unit, beside what the training part has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ai4diag.data.prepared import Prepared

COLUMNS = ("Feature", "Value", "Unit", "Training part")


def feature_rows(prepared: Prepared, row: int) -> pd.DataFrame:
    """Return the features of a case as words, one per line; no line where its cases have no features.

    Args:
        prepared: prepared cases.
        row: which of them.
    """
    if "features.npy" not in prepared.facts["files"]:
        return pd.DataFrame(columns=list(COLUMNS))
    statistics = prepared.facts["statistics"].get("features", {})
    lines = []
    for item, value in zip(prepared.facts["features"], prepared.features[row].tolist(), strict=True):
        known = statistics.get(item["name"], {})
        unit = "" if item["unit"] == "1" else item["unit"]
        lines.append((item["name"], _value(value, item["levels"]), unit, _training(known, item["levels"])))
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _value(value: float, levels: list[str]) -> str:
    if math.isnan(value):
        return "missing"
    return levels[int(value)] if levels else f"{value:.5g}"


def _training(known: Mapping[str, Any], levels: list[str]) -> str:
    """Return where the training part lies: the median and the range, or how many have each level."""
    if "counts" in known:
        return ", ".join(f"{level} {count:,}" for level, count in zip(levels, known["counts"], strict=True))
    if "median" in known:
        return f"median {known['median']:.5g}, {known['min']:.5g} to {known['max']:.5g}"
    return ""
