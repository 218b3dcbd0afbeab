"""How well scores put positives above negatives: areas under the ROC and the precision-recall curve, and the curves.

Everything takes weights, `(n,)` or `(B, n)`, so that a bootstrap is one call: a case drawn twice weighs 2. The cases
are sorted once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ai4diag.errors import DataError

Floats = npt.NDArray[np.float64]
WORTH_COMPILING = 3_000_000
"""Cases x resamples in one call from which numba is used. Less than `bootstrap.BLOCK`, so that large data reach it."""
TOGETHER = 100_000
"""Cases x resamples that numpy takes at once, so that they stay near the processor. Any number gives the same bits."""


class Ranking:
    """Cases of two classes, sorted once by score.

    Args:
        truth: `(n,)`, 1 for the positive class and 0 for the other.
        score: `(n,)`, higher for the positive class; any monotone transform gives the same areas.

    Raises:
        DataError: truth holds something else than 0 and 1, a score is not finite, or the lengths differ.
    """

    def __init__(self, truth: npt.ArrayLike, score: npt.ArrayLike) -> None:
        values, scores = np.asarray(truth), np.asarray(score, np.float64)
        if values.shape != scores.shape or values.ndim != 1:
            raise DataError(f"Truth has shape {values.shape} and score {scores.shape}; expected one number per case.")
        if not np.isin(values, (0, 1)).all():
            raise DataError("Truth must be 0 or 1.", "Code the positive class as 1.")
        if not np.isfinite(scores).all():
            raise DataError(f"{int((~np.isfinite(scores)).sum())} scores are not finite numbers.")
        self._order = np.argsort(-scores, kind="stable")
        self._truth = values[self._order].astype(np.int8)
        self._score = scores[self._order]
        self._ends = np.append(self._score[1:] != self._score[:-1], True)[: len(scores)]

    def areas(self, weights: npt.ArrayLike | None = None, *, compiled: bool | None = None) -> tuple[Floats, Floats]:
        """Return AUROC and average precision.

        AUROC is the probability that a positive scores above a negative, ties counting half (Hanley and McNeil,
        Radiology 143:29, 1982). Average precision is the sum of precision times the gain in recall over the distinct
        scores, as in scikit-learn; there is no interpolation.

        Args:
            weights: `(n,)` or `(B, n)`; None counts every case once.
            compiled: True or False to force numba or numpy, which agree to 1e-12; None chooses by size.

        Returns:
            two arrays, `()` or `(B,)`. AUROC is NaN without positives or without negatives, average precision
            without positives.

        >>> area, precision = Ranking([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).areas()
        >>> float(area), round(float(precision), 3)
        (0.75, 0.833)
        """
        given = np.ones(len(self._truth)) if weights is None else np.asarray(weights, np.float64)
        draws = np.atleast_2d(np.ascontiguousarray(given))
        if compiled is None:
            compiled = draws.size > WORTH_COMPILING
        if compiled:
            from ai4diag.evaluation import kernels

            auroc, auprc = kernels.ranking(draws, self._order, self._truth, self._ends)
        else:
            pieces = min(-(-draws.size // TOGETHER), len(draws) // 2)  # numpy adds up a row alone in another order
            parts = [self._areas(part[:, self._order]) for part in np.array_split(draws, max(pieces, 1))]
            auroc, auprc = (np.concatenate(part) for part in zip(*parts, strict=True))
        return (auroc[0], auprc[0]) if given.ndim == 1 else (auroc, auprc)

    def _areas(self, ordered: Floats) -> tuple[Floats, Floats]:
        if not len(self._truth):
            return np.full(len(ordered), np.nan), np.full(len(ordered), np.nan)
        positive = np.cumsum(ordered * self._truth, axis=1)[:, self._ends]
        negative = np.cumsum(ordered * (1 - self._truth), axis=1)[:, self._ends]
        new_positive, new_negative = np.diff(positive, prepend=0, axis=1), np.diff(negative, prepend=0, axis=1)
        seen = positive + negative
        precision = np.divide(positive, seen, out=np.zeros_like(seen), where=seen > 0)
        positives, negatives = positive[:, -1], negative[:, -1]
        with np.errstate(invalid="ignore"):
            auroc = (new_negative * (positive - new_positive / 2)).sum(axis=1) / (positives * negatives)
            auprc = (new_positive * precision).sum(axis=1) / positives
        return auroc, auprc

    def roc_curve(self) -> tuple[Floats, Floats, Floats]:
        """Return false positive rate, true positive rate and threshold at each distinct score, from (0, 0) on.

        The first threshold is infinite: nothing is called positive. Rates of a class without cases are NaN.
        """
        positive, negative = self._counts()
        with np.errstate(invalid="ignore"):
            return negative / negative[-1], positive / positive[-1], np.append(np.inf, self._score[self._ends])

    def precision_recall_curve(self) -> tuple[Floats, Floats, Floats]:
        """Return recall (rising), precision and threshold at each distinct score; recall is NaN without positives."""
        positive, negative = (counts[1:] for counts in self._counts())
        with np.errstate(invalid="ignore"):
            recall = positive / (positive[-1] if len(positive) else 1)
        return recall, positive / (positive + negative), self._score[self._ends]

    def _counts(self) -> tuple[Floats, Floats]:
        positive = np.cumsum(self._truth, dtype=np.float64)[self._ends]
        negative = np.cumsum(1 - self._truth, dtype=np.float64)[self._ends]
        return np.append(0.0, positive), np.append(0.0, negative)
