"""Areas under the ROC curves of several scores of the same cases, with their covariance and without resampling.

The area is a mean over pairs of a positive and a negative case. Each case's own mean over its pairs (its structural
component, `V10` of a positive and `V01` of a negative case) says how much the area hangs on it; from these follows the
covariance of the areas. The components are differences of mid-ranks, so that sorting suffices instead of all pairs.

Sources: DeLong, DeLong and Clarke-Pearson, Biometrics 44:837, 1988; the fast algorithm, Sun and Xu, IEEE Signal
Processing Letters 21:1389, 2014; several cases of a patient, Obuchowski, Biometrics 53:567, 1997.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ai4diag.errors import DataError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """How far one area lies above another on the same cases.

    Attributes:
        value: first minus second.
        low, high: limits of the confidence interval; NaN when undefined.
        z: value over its standard error.
        p: two-sided, of the hypothesis that the areas are equal.

    Interval, z and p are NaN where the variance is undefined, or zero: scores that rank all cases alike.
    """

    value: float
    low: float
    high: float
    z: float
    p: float


@dataclass(frozen=True)
class Areas:
    """Areas under the ROC curves of k scores of the same cases.

    Attributes:
        value: `(k,)`; NaN without positives or without negatives.
        covariance: `(k, k)` of the estimates; NaN with fewer than two units with a positive, or with a negative case.
    """

    value: Floats
    covariance: Floats

    def interval(self, level: float = 0.95) -> tuple[Floats, Floats]:
        """Return the limits `(k,)` of each area, value -+ z standard errors as DeLong et al. give it, within 0..1.

        NaN where the variance is undefined, or zero, as with an area of 1: the method cannot tell how sure that is.
        """
        error = self._error(np.diagonal(self.covariance))
        half = _normal_quantile(level) * error
        return np.maximum(self.value - half, 0.0), np.minimum(self.value + half, 1.0)

    def difference(self, first: int, second: int, level: float = 0.95) -> Difference:
        """Return area `first` minus area `second` with interval and test, from their covariance."""
        from scipy.special import ndtr

        value = float(self.value[first] - self.value[second])
        variances = self.covariance[first, first] + self.covariance[second, second]
        error = float(self._error(np.asarray(variances - 2 * self.covariance[first, second])))
        half = _normal_quantile(level) * error
        return Difference(value, value - half, value + half, value / error, float(2 * ndtr(-abs(value / error))))

    @staticmethod
    def _error(variance: Floats) -> Floats:
        """Return the standard error; NaN where the variance is not above rounding errors."""
        return np.sqrt(np.where(variance > 1e-18, variance, np.nan))


def delong(truth: npt.ArrayLike, scores: npt.ArrayLike, unit: npt.ArrayLike | None = None) -> Areas:
    """Return areas under the ROC curves and their covariance.

    Args:
        truth: `(n,)`, 0 or 1.
        scores: `(k, n)`, k scores of the same cases, higher for the positive class.
        unit: `(n,)`, which patient each case is of, any labels; None when each is of another one. With one case of each
            the covariance is that of DeLong et al.

    Raises:
        DataError: shapes do not agree, truth holds something else than 0 and 1, or a score is not finite.

    >>> areas = delong([0, 0, 1, 1], [[0.1, 0.4, 0.35, 0.8], [0.1, 0.3, 0.2, 0.4]])
    >>> areas.value.tolist(), areas.covariance[0].tolist()
    ([0.75, 0.75], [0.125, 0.125])
    """
    positive, values, codes = _checked(truth, scores, unit)
    m, n = int(positive.sum()), int((~positive).sum())
    k = len(values)
    if not m or not n:
        return Areas(np.full(k, np.nan), np.full((k, k), np.nan))
    components = _components(positive, values)
    area = components[:, positive].mean(axis=1)
    share = np.where(positive, 1 / m, 1 / n)
    # what each unit adds to k areas above the mean, by its positive and by its negative cases
    pull = (components - area[:, None]) * share
    n_units = int(codes.max()) + 1
    up, down = (_sums(pull * kind, codes, n_units) for kind in (positive, ~positive))
    with_positive = len(np.unique(codes[positive]))
    with_negative = len(np.unique(codes[~positive]))
    if min(with_positive, with_negative) < 2:
        return Areas(area, np.full((k, k), np.nan))
    both = up @ down.T
    covariance = up @ up.T * with_positive / (with_positive - 1) + down @ down.T * with_negative / (with_negative - 1)
    return Areas(area, covariance + (both + both.T) * n_units / (n_units - 1))


def _checked(
    truth: npt.ArrayLike, scores: npt.ArrayLike, unit: npt.ArrayLike | None
) -> tuple[npt.NDArray[np.bool_], Floats, npt.NDArray[np.int64]]:
    known, values = np.asarray(truth), np.asarray(scores, np.float64)
    if known.ndim != 1 or values.ndim != 2 or values.shape[1:] != known.shape:
        raise DataError(f"Truth has shape {known.shape} and scores {values.shape}; expected (cases,), (scores, cases).")
    if not np.isin(known, (0, 1)).all():
        raise DataError("Truth must be 0 or 1.", "Code the positive class as 1.")
    if not np.isfinite(values).all():
        raise DataError(f"{int((~np.isfinite(values)).sum())} scores are not finite numbers.")
    units = np.arange(len(known)) if unit is None else np.asarray(unit)
    if units.shape != known.shape:
        raise DataError(f"Units have shape {units.shape}, truth {known.shape}; expected one unit per case.")
    return known == 1, values, np.unique(units, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _components(positive: npt.NDArray[np.bool_], values: Floats) -> Floats:
    """Return `(k, n)`: share of the cases of the other class that each case is ranked rightly against, ties half."""
    from scipy.stats import rankdata

    result = np.empty(values.shape)
    m, n = int(positive.sum()), int((~positive).sum())
    for row, score in zip(result, values, strict=True):
        among_all = rankdata(score)
        row[positive] = (among_all[positive] - rankdata(score[positive])) / n
        row[~positive] = 1 - (among_all[~positive] - rankdata(score[~positive])) / m
    return result


def _sums(values: Floats, codes: npt.NDArray[np.int64], n_units: int) -> Floats:
    """Return sums `(k, units)` of values `(k, n)` over the cases of each unit."""
    return np.stack([np.bincount(codes, weights=row, minlength=n_units) for row in values])


def _normal_quantile(level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri((1 + level) / 2))
