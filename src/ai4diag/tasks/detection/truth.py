"""The truth columns of a table of predictions; no torch is needed to know them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.data.prepared import Prepared


def has_volumes(prepared: Prepared) -> bool:
    """Whether the cases are volumes of different sizes, and not images of one size."""
    return "volumes.npy" in prepared.facts["files"]


def box_columns(dimensions: int) -> list[str]:
    """Return the columns of a box.

    >>> box_columns(2)
    ['min_0', 'min_1', 'max_0', 'max_1']
    """
    return [f"{edge}_{axis}" for edge in ("min", "max") for axis in range(dimensions)]


def truth_columns(prepared: Prepared, rows: npt.NDArray[np.int64]) -> pd.DataFrame:
    """Return `truth_boxes` (flattened), `truth_labels` and `truth_ignore`, one line per row, in original pixels."""
    columns = box_columns(3 if has_volumes(prepared) else prepared.images.ndim - 2)
    groups = dict(iter(prepared.boxes.groupby("case")))
    none = prepared.boxes.iloc[:0]
    lines = [groups.get(row, none) for row in rows]
    return pd.DataFrame(
        {
            "truth_boxes": [line[columns].to_numpy(np.float32).ravel() for line in lines],
            "truth_labels": [line["label"].to_numpy(np.int64) for line in lines],
            "truth_ignore": [line["ignore"].to_numpy(bool) for line in lines],
        }
    )
