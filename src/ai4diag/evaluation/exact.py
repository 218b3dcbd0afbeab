"""Intervals of proportions where every resample agrees: all patients answered rightly, or none.

The bootstrap draws from what was seen, so it cannot tell how sure 20 of 20 is. The binomial distribution can.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ai4diag.errors import DataError


def clopper_pearson(right: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a proportion: values under which `right` or a more extreme count is not too rare.

    Args:
        right: how many of n.
        n: number of independent units: patients, not cases.
        level: confidence level; each tail has half of what is left.

    Source: Clopper and Pearson, Biometrika 26:404, 1934. It covers the truth at least as often as it says.

    Raises:
        DataError: `right` is not within 0..n, or n is 0.

    >>> [round(limit, 4) for limit in clopper_pearson(20, 20)]
    [0.8316, 1.0]
    """
    from scipy.special import betaincinv

    if not 0 <= right <= n or not n:
        raise DataError(f"{right} of {n} is no proportion.", "Give a count, and the number that it is of.")
    tail = (1 - level) / 2
    low = 0.0 if right == 0 else float(betaincinv(right, n - right + 1, tail))
    high = 1.0 if right == n else float(betaincinv(right + 1, n - right, 1 - tail))
    return low, high


def at_the_border(
    value: float, counted: npt.NDArray[np.bool_] | None, unit: npt.NDArray[np.generic], level: float
) -> tuple[float, float, str] | None:
    """Return the exact interval of a proportion of 0 or 1, and a note; None where there is none.

    Args:
        value: the estimate.
        counted: `(cases,)`, which cases it is a proportion of; None for what is no proportion.
        unit: `(cases,)`, the patient of each case. A patient counts once, as right when all of its cases are:
            with several cases of a patient this asks for more than the estimate says, so the interval is rather wide.
        level: confidence level.
    """
    if counted is None or value not in (0.0, 1.0) or not counted.any():
        return None
    n = len(np.unique(unit[counted]))
    note = f"all resamples agree; exact interval (Clopper-Pearson) of {n} patient{'' if n == 1 else 's'}"
    return *clopper_pearson(n if value == 1 else 0, n, level), note
