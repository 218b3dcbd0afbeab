"""The truth of cases; no torch is needed to know it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.data.prepared import Prepared


def truth_columns(prepared: Prepared, rows: npt.NDArray[np.int64]) -> pd.DataFrame:
    """Return `truth`, the class number, or for findings `truth_<class>` of 0 and 1, one line per row."""
    names = [f"truth_{name}" for name in prepared.classes] if prepared.target == "multilabel" else ["truth"]
    return prepared.index.loc[:, names].iloc[rows].reset_index(drop=True)


def truth_array(prepared: Prepared) -> npt.NDArray[np.int64]:
    """Return the truth of all cases: class numbers `(cases,)`, or for findings `(cases, classes)` of 0 and 1."""
    table = truth_columns(prepared, np.arange(len(prepared.index), dtype=np.int64)).to_numpy(np.int64)
    return table if prepared.target == "multilabel" else table[:, 0]
