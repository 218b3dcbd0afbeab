"""Areas under the curves of several scores, each against its own truth, for many resamples at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ai4diag.evaluation.ranking import Ranking

Floats = npt.NDArray[np.float64]
WORTH_COMPILING = 1_000_000
"""Cases x resamples x classes in one call from which numba is used. Less than `bootstrap.BLOCK`."""


class ManyAreas:
    """Cases sorted once by each of several scores.

    Args:
        truth: bool `(cases, classes)`.
        score: `(cases, classes)`.
    """

    def __init__(self, truth: npt.NDArray[np.bool_], score: Floats) -> None:
        self._truth, self._score = truth, score
        cases, classes = score.shape
        # of equal scores positives come last, so that the last one is a positive if any is
        self._orders = np.stack([np.lexsort((truth[:, k], -score[:, k])) for k in range(classes)]).astype(np.int64)
        each = np.arange(classes)[:, None]
        ordered = score[self._orders, each]
        self._truths = np.ascontiguousarray(truth[self._orders, each], dtype=np.int8)
        self._ends = np.ones((classes, cases), bool)
        self._ends[:, :-1] = ordered[:, 1:] != ordered[:, :-1]

    def areas(self, weights: Floats, *, precision: bool = True, compiled: bool | None = None) -> tuple[Floats, Floats]:
        """Return AUROC and average precision as `ranking.Ranking` defines them, `(B, classes)` each.

        Args:
            weights: `(B, cases)`.
            precision: whether average precision is wanted; without it, it is NaN.
            compiled: True or False to force numba or numpy, which agree to 1e-12; None chooses by size.
        """
        classes = self._score.shape[1]
        if compiled is None:
            compiled = weights.size * classes > WORTH_COMPILING
        if compiled and len(self._score):
            from ai4diag.evaluation import class_kernels

            draws = np.ascontiguousarray(weights, np.float64)
            found = class_kernels.areas(draws, self._orders, self._truths, self._ends, precision)
            return found[0].T, found[1].T
        each = [Ranking(self._truth[:, k], self._score[:, k]).areas(weights, compiled=False) for k in range(classes)]
        auroc, auprc = (np.stack(values, axis=1) for values in zip(*each, strict=True))
        return auroc, auprc if precision else np.full_like(auprc, np.nan)


def mean_of_defined(values: Floats) -> Floats:
    """Return the mean over the last axis of what is defined; NaN where nothing is.

    >>> mean_of_defined(np.array([[0.5, np.nan, 1.0], [np.nan, np.nan, np.nan]])).tolist()
    [0.75, nan]
    """
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    mean: Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return mean
