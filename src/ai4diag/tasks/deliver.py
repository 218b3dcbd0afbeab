"""Predictions on new cases as a table that every program reads."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ai4diag.files import atomic_path


def write_csv(table: pd.DataFrame, folder: Path, name: str = "predictions.csv") -> Path:
    """Write a table: UTF-8, commas, decimal points, numbers with six significant digits.

    A text that a spreadsheet would take for a formula gets an apostrophe before it; a missing one is an empty cell.
    """
    safe = table.copy()
    for column in safe.columns:
        if safe[column].dtype.kind not in "biuf":
            text = safe[column].astype(str)
            guarded = text.mask(text.str.match(r"[=+@\-\t\r]"), "'" + text)
            safe[column] = guarded.where(safe[column].notna())
    path = folder / name
    with atomic_path(path) as temporary:
        safe.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
    return path
