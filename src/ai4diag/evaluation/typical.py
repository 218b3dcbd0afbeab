"""Which cases are typical: those whose error is nearest to the middle one of their class."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

WORST_SHOWN = 8
"""So many of the worst cases are shown as pictures; none of them is shown again as a typical one."""
TYPICAL_SHOWN = 6


def typical(presence: npt.NDArray[np.bool_], error: npt.ArrayLike, worst: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return the rows of typical cases, class by class: two each of up to three classes, else one of the commonest six.

    Args:
        presence: which classes each case shows, `(cases, classes)`.
        error: how far off each case is, `(cases,)`.
        worst: rows from the worst on; the first eight are left out.

    A class without cases gives none; a case that is typical of two classes is given once.

    >>> typical(np.array([[1, 0], [1, 0], [1, 0], [0, 1]]) > 0, [0.1, 0.5, 0.2, 0.3], []).tolist()
    [2, 0, 3]
    """
    errors = np.asarray(error, np.float64)
    free = ~np.isin(np.arange(len(errors)), np.asarray(worst, np.int64)[:WORST_SHOWN])
    counts = presence.sum(axis=0)
    each = 2 if 2 * presence.shape[1] <= TYPICAL_SHOWN else 1
    common = np.argsort(-counts, kind="stable")[: TYPICAL_SHOWN // each]
    found: list[int] = []
    for label in sorted(common):
        own = np.flatnonzero(presence[:, label])
        if not len(own):
            continue
        away = np.abs(errors[own] - np.median(errors[own]))
        rows = [int(row) for row in own[np.argsort(away, kind="stable")] if free[row] and row not in found]
        found += rows[:each]
    return np.array(found, np.int64)
