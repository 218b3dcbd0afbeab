"""Whether a score of 0.8 means that it happens in 80 of 100: calibration of probabilities.

Everything takes weights `(B, n)` and gives `(B,)`.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ai4diag.errors import DataError

Floats = npt.NDArray[np.float64]
TINY = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 and 1 before a logarithm is taken."""
STEPS = 30
IDENTITY: Floats = np.array([0.0, 1.0])
"""Intercept and slope of scores that need no recalibration."""
WORTH_COMPILING = 2_000_000
"""Cases x resamples in one call from which numba is used for recalibration. Less than `bootstrap.BLOCK`."""


class Calibration:
    """Cases with a probability of the positive class.

    Args:
        truth: `(n,)`, 0 or 1.
        probability: `(n,)`, within 0..1.
        bins: number of equally wide bins for the expected calibration error.

    Raises:
        DataError: a probability lies outside 0..1.
    """

    def __init__(self, truth: npt.ArrayLike, probability: npt.ArrayLike, bins: int = 10) -> None:
        self._truth, self._probability = np.asarray(truth, np.float64), np.asarray(probability, np.float64)
        if not ((self._probability >= 0) & (self._probability <= 1)).all():
            raise DataError("A score lies outside 0..1.", "Calibration needs the probability of the positive class.")
        clipped = np.clip(self._probability, TINY, 1 - TINY)
        self._logit = np.log(clipped) - np.log1p(-clipped)
        self._bin = np.minimum((self._probability * bins).astype(np.int64), bins - 1)
        self._bins = bins

    def columns(self) -> Floats:
        """Return what `errors` needs summed over cases, `(n, 3 + bins)`: sums = weights @ columns."""
        likely = np.where(self._truth == 1, self._probability, 1 - self._probability)
        gap = np.zeros((len(self._truth), self._bins))
        gap[np.arange(len(gap)), self._bin] = self._truth - self._probability
        loss = -np.log(np.clip(likely, TINY, 1))
        return np.column_stack([np.ones(len(gap)), (self._probability - self._truth) ** 2, loss, gap])

    @staticmethod
    def errors(sums: Floats) -> dict[str, Floats]:
        """Return errors of probabilities from the weighted sums of `columns`, `(B, 3 + bins)`; NaN without cases.

        `brier`: mean squared difference of probability and outcome (Brier, Monthly Weather Review 78:1, 1950).
        `log_loss`: mean negative log likelihood, natural logarithm, probabilities kept 2.2e-16 away from 0 and 1.
        `ece`: expected calibration error over equally wide bins of the probability of the positive class ([0, 0.1),
        .., [0.9, 1] for ten): sum of (share of cases in a bin) x |mean outcome - mean probability| (Naeini et al.,
        AAAI 2015). It depends on the number of bins and is biased upwards in small samples.
        """
        with np.errstate(invalid="ignore"):
            means = sums[:, 1:] / sums[:, :1]
        return {"brier": means[:, 0], "log_loss": means[:, 1], "ece": np.abs(means[:, 2:]).sum(axis=1)}

    def recalibration(self, weights: Floats, *, compiled: bool | None = None) -> tuple[Floats, Floats]:
        """Return calibration slope and calibration intercept.

        The slope is b in logit P(outcome) = a + b logit(score): 1 is ideal, below 1 the scores are too extreme. The
        intercept is a in the same model with b fixed to 1 (calibration in the large): 0 is ideal, below 0 the scores
        are too high on average. Source: Cox, Biometrika 45:562, 1958; Van Calster et al., BMC Medicine 17:230, 2019.

        Args:
            weights: `(B, n)`.
            compiled: True or False to force numba or numpy, which agree to 1e-9; None chooses by size.

        NaN where a class has no weight, where all scores are equal (slope only), and where the fit has no finite
        answer, as when the scores separate the classes without error (slope only).
        """
        if compiled is None:
            compiled = weights.size > WORTH_COMPILING
        if compiled:
            from ai4diag.evaluation import calibration_kernels

            draws = np.ascontiguousarray(weights)
            fixed, free = (_near(draws, *self._expansions[slope_free], slope_free=slope_free) for slope_free in (0, 1))
            intercept = calibration_kernels.recalibration(draws, self._truth, self._logit, fixed, False, STEPS)
            both = calibration_kernels.recalibration(draws, self._truth, self._logit, free, True, STEPS)
        else:
            intercept = _newton(weights, self._truth, self._logit, IDENTITY, slope_free=False)
            both = _newton(weights, self._truth, self._logit, self._whole(slope_free=True), slope_free=True)
        return both[:, 1], intercept[:, 0]

    def _whole(self, *, slope_free: bool) -> Floats:
        """Return intercept and slope of all cases, each counted once; the identity where there is no answer."""
        weights = np.ones((1, len(self._truth)))
        found = _newton(weights, self._truth, self._logit, IDENTITY, slope_free=slope_free)[0]
        if slope_free and not np.isfinite(found).all():  # far too extreme scores have no curvature at slope 1
            found = np.array(logistic_line(self._truth, self._logit))
        return found if np.isfinite(found).all() else IDENTITY

    @cached_property
    def _expansions(self) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
        """The answer of all cases and the columns around it, slope fixed and free: the same for all resamples."""
        fixed, free = self._whole(slope_free=False), self._whole(slope_free=True)
        return (
            (fixed, _taylor(self._truth, self._logit, fixed, slope_free=False)),
            (free, _taylor(self._truth, self._logit, free, slope_free=True)),
        )

    def reliability(self) -> dict[str, list[float]]:
        """Return mean probability, share of positives and number of cases of every bin that holds cases."""
        count = np.bincount(self._bin, minlength=self._bins)
        used = count > 0
        mean, observed = (
            np.bincount(self._bin, weights=values, minlength=self._bins)[used] / count[used]
            for values in (self._probability, self._truth)
        )
        return {"mean_score": mean.tolist(), "observed": observed.tolist(), "n": count[used].tolist()}


def logistic_line(truth: npt.ArrayLike, x: npt.ArrayLike) -> tuple[float, float]:
    """Return intercept and slope of logit P = a + b x by maximum likelihood; NaN where there is no finite answer.

    Args:
        truth: `(n,)`, outcomes or their probabilities, within 0..1.
        x: `(n,)`.
    """
    outcome, values = np.asarray(truth, np.float64), np.asarray(x, np.float64)
    if not len(values) or np.ptp(values) == 0:
        return float("nan"), float("nan")
    middle, scale = values.mean(), values.std()
    weights, start = np.ones((1, len(values))), np.zeros(2)
    intercept, slope = _newton(weights, outcome, (values - middle) / scale, start, slope_free=True)[0]
    return float(intercept - slope * middle / scale), float(slope / scale)


def _terms(slope_free: int) -> list[tuple[int, int]]:
    """Return which derivative times which power of the logit each column of `_taylor` holds."""
    return [(k, m) for k in range(4) for m in range((k + 1 if k else 1) * slope_free + 1)]


def _taylor(truth: Floats, logit: Floats, start: Floats, *, slope_free: bool) -> Floats:
    """Return what `_near` needs summed over cases, `(n, terms)`."""
    p = 1 / (1 + np.exp(-(start[0] + start[1] * logit)))
    first = p * (1 - p)
    derivatives = (truth - p, first, first * (1 - 2 * p), first * (1 - 6 * first))
    return np.stack([derivatives[k] * logit**m for k, m in _terms(slope_free)], axis=1)


def _near(weights: Floats, start: Floats, columns: Floats, *, slope_free: int) -> Floats:
    """Return where Newton's method had best begin for each row of weights, `(B, 2)`: the answer to about 1e-7.

    All resamples lie near the answer of the whole data, `start`. There the logistic function is replaced by its Taylor
    sum of third order in (intercept, slope), whose coefficients are sums over cases, one matrix product for all rows.
    Each row is then solved without looking at a case. Rows that run away begin at `start`.
    """
    terms, axes = _terms(slope_free), (0, 1) if slope_free else (0,)
    sums = dict(zip(terms, (weights @ columns).T, strict=True))
    orders = [(k, j) for k in (1, 2, 3) for j in range(k * slope_free + 1)]
    step = np.zeros((2, len(weights)))
    with np.errstate(all="ignore"):
        for _ in range(8):
            gradient = [sums[0, axis].copy() for axis in axes]
            for k, j in orders:
                part = step[0] ** (k - j) * step[1] ** j * math.comb(k, j) / math.factorial(k)
                for axis in axes:
                    gradient[axis] -= part * sums[k, j + axis]
            if slope_free:
                a, b, c = (sums[1, m] for m in range(3))
                step += np.stack([c * gradient[0] - b * gradient[1], a * gradient[1] - b * gradient[0]]) / (
                    a * c - b * b
                )
            else:
                step[0] += gradient[0] / sums[1, 0]
    tame = np.isfinite(step).all(axis=0) & (np.abs(step).max(axis=0) < 0.5)
    return start + np.where(tame, step, 0.0).T


def _newton(weights: Floats, truth: Floats, logit: Floats, start: Floats, *, slope_free: bool) -> Floats:
    """Fit logistic recalibration for each row of weights by Newton's method; `(B, 2)` intercept and slope."""
    answer = np.tile(start, (len(weights), 1))
    positives, total = weights @ truth, weights.sum(axis=1)
    done = np.full(len(weights), False)
    active = np.flatnonzero((positives > 0) & (positives < total))
    for _ in range(STEPS):
        if not len(active):
            break
        own = weights[active]
        with np.errstate(over="ignore"):  # where exp overflows, the probability is 0
            probability = 1 / (1 + np.exp(-(answer[active, :1] + answer[active, 1:] * logit)))
        residual, curvature = own * (truth - probability), own * probability * (1 - probability)
        gradient = np.stack([residual.sum(axis=1), residual @ logit], axis=1)
        sums = np.stack([curvature.sum(axis=1), curvature @ logit, curvature @ logit**2])
        with np.errstate(divide="ignore", invalid="ignore"):
            if slope_free:
                determinant = sums[0] * sums[2] - sums[1] ** 2
                determinant[determinant <= 1e-12 * sums[0] * sums[2]] = np.nan
                step = np.stack(
                    [
                        (sums[2] * gradient[:, 0] - sums[1] * gradient[:, 1]) / determinant,
                        (sums[0] * gradient[:, 1] - sums[1] * gradient[:, 0]) / determinant,
                    ],
                    axis=1,
                )
            else:
                step = np.stack([gradient[:, 0] / sums[0], np.zeros(len(active))], axis=1)
        step = np.clip(step, -2, 2)
        answer[active] += step
        size = np.abs(step).max(axis=1)
        done[active[size < 1e-6]] = True  # Newton squares the error: what is left is about 1e-12
        active = active[size >= 1e-6]  # NaN compares false: a row without an answer stops here
    answer[~done] = np.nan
    return answer
