"""What the truth of a case is, whatever the target, so that two tables of predictions can be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
TOLERANCE = 1e-3
"""Numbers that are this near are the same truth: boxes are kept as float32, tables in text are rounded."""
COLUMNS: Mapping[str, Callable[[Sequence[str]], tuple[str, ...]]] = {
    "binary": lambda classes: ("truth",),
    "multiclass": lambda classes: ("truth",),
    "ordinal": lambda classes: ("truth",),
    "multilabel": lambda classes: tuple(f"truth_{name}" for name in classes),
    "time_to_event": lambda classes: ("time_days", "event"),
    "masks": lambda classes: ("shape", "spacing_mm", "truth_runs"),
    "boxes": lambda classes: ("truth_labels", "truth_ignore", "truth_boxes"),
}
"""By target and classes, the columns of the truth in the table of predictions."""


def truth_columns(target: str, classes: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the columns that hold the truth.

    >>> truth_columns("multilabel", ["oedema", "effusion"])
    ('truth_oedema', 'truth_effusion')
    """
    return COLUMNS[target](classes)


def differing(one: pd.DataFrame, other: pd.DataFrame, target: str, classes: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which lines of two tables, line by line of the same case, differ in their truth, `(lines,)`.

    The order in which the boxes of an image are listed does not matter.
    """
    columns = list(truth_columns(target, classes))
    same = _same_boxes if target == "boxes" else _same
    lines = ([[_numbers(value) for value in line] for line in table[columns].values] for table in (one, other))
    return np.array([not same(*pair) for pair in zip(*lines, strict=True)], bool)


def _numbers(value: object) -> Floats:
    return np.asarray(value, np.float64).ravel()


def _same(one: Sequence[Floats], other: Sequence[Floats]) -> bool:
    return all(
        a.shape == b.shape and bool(np.allclose(a, b, rtol=0, atol=TOLERANCE)) for a, b in zip(one, other, strict=True)
    )


def _same_boxes(one: Sequence[Floats], other: Sequence[Floats]) -> bool:
    """Return whether two images have the same boxes, each as often: label, whether it is ignored, and where."""
    if any(a.shape != b.shape for a, b in zip(one, other, strict=True)):
        return False
    if not len(one[0]):
        return True
    rows = [np.column_stack([label, ignore, boxes.reshape(len(label), -1)]) for label, ignore, boxes in (one, other)]
    equal = (np.abs(rows[0][:, None] - rows[1]) <= TOLERANCE).all(axis=2)
    here, there = np.broadcast_arrays(equal.sum(axis=1)[:, None], equal.sum(axis=0))
    return bool(equal.any(axis=1).all() and (here == there)[equal].all())
