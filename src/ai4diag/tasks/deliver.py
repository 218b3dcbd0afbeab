"""Predictions on new cases as a table that every program reads."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ai4diag.files import atomic_path


def write_csv(table: pd.DataFrame, folder: Path) -> Path:
    """Write `predictions.csv`: UTF-8, commas, decimal points, numbers with six significant digits.

    A text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    safe = table.copy()
    for name in safe.columns:
        if safe[name].dtype.kind not in "biuf":
            text = safe[name].astype(str)
            safe[name] = text.mask(text.str.match(r"[=+@\-\t\r]"), "'" + text)
    path = folder / "predictions.csv"
    with atomic_path(path) as temporary:
        safe.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
    return path
