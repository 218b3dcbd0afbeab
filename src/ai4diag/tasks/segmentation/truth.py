"""The truth columns of a table of predictions; no torch is needed to know them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.data.prepared import Prepared
from ai4diag.data.volume_store import SIDES, affines_of
from ai4diag.files import read_parquet


def truth_columns(prepared: Prepared, rows: npt.NDArray[np.int64]) -> pd.DataFrame:
    """Return `truth_runs` (`ai4diag.masks`), `shape` and `spacing_mm`, one line per row, canonical axes."""
    grids = read_parquet(prepared.folder / "grids.parquet")
    runs = read_parquet(prepared.folder / "truth.parquet")["runs"]
    spacing = np.linalg.norm(affines_of(grids)[:, :3, :3], axis=1)
    sides = grids[list(SIDES)].to_numpy(np.int64)
    return pd.DataFrame(
        {
            "truth_runs": [np.asarray(runs.iloc[row], np.int32) for row in rows],
            "shape": [sides[row] for row in rows],
            "spacing_mm": [spacing[row] for row in rows],
        }
    )
