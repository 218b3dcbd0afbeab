"""Calibration slope and intercept of many resamples, compiled by numba on first use and cached on disk.

As `ai4diag.evaluation.kernels`: import it inside the function that needs it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
"""The first has 21 zero bits at its end, so that up to 2^20 times it is exact."""
ROUND = 6755399441055744.0
"""1.5 * 2^52: added to a double, it leaves the nearest whole number in the low bits."""


@njit(cache=True)
def _logistic(intercept, slope, logit, rounded, probability):  # type: ignore[no-untyped-def]
    """Write 1 / (1 + exp(-(intercept + slope * logit))) to `probability`; `rounded` is room of the same length.

    exp(x) = 2^n exp(r), |r| <= ln 2 / 2, the latter as a Taylor sum of thirteen terms: relative error below 4e-16.
    Nothing branches and nothing is called, so that four doubles are computed at a time.
    """
    bits = rounded.view(np.int64)
    for i in range(len(logit)):
        x = min(max(-(intercept + slope * logit[i]), -700.0), 700.0)
        rounded[i] = x * LOG2_E + ROUND
        n = rounded[i] - ROUND
        r = (x - n * LN2_HIGH) - n * LN2_LOW
        value = 1 / 479001600.0
        value = value * r + 1 / 39916800.0
        value = value * r + 1 / 3628800.0
        value = value * r + 1 / 362880.0
        value = value * r + 1 / 40320.0
        value = value * r + 1 / 5040.0
        value = value * r + 1 / 720.0
        value = value * r + 1 / 120.0
        value = value * r + 1 / 24.0
        value = value * r + 1 / 6.0
        value = value * r + 0.5
        value = value * r + 1.0
        probability[i] = value * r + 1.0
    for i in range(len(logit)):
        bits[i] = (bits[i] + 1023) << 52
    for i in range(len(logit)):
        probability[i] = 1 / (1 + probability[i] * rounded[i])


@njit(cache=True, fastmath={"reassoc", "contract"})
def _balance(weight, truth):  # type: ignore[no-untyped-def]
    """Return the weight of the positive class, and that of all cases."""
    positive, total = 0.0, 0.0
    for i in range(len(truth)):
        positive += weight[i] * truth[i]
        total += weight[i]
    return positive, total


@njit(cache=True, fastmath={"reassoc", "contract"})
def _slopes(weight, truth, logit, probability):  # type: ignore[no-untyped-def]
    """Return gradient (two) and curvature (three) of the weighted log-likelihood of intercept and slope."""
    g0, g1, h0, h1, h2 = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(len(truth)):
        x, p = logit[i], probability[i]
        residual, curvature = weight[i] * (truth[i] - p), weight[i] * p * (1 - p)
        g0 += residual
        g1 += residual * x
        h0 += curvature
        h1 += curvature * x
        h2 += curvature * x * x
    return g0, g1, h0, h1, h2


@njit(cache=True, error_model="numpy")
def recalibration(weights, truth, logit, starts, slope_free, steps):  # type: ignore[no-untyped-def]
    """Compiled `calibration._newton`: weights `(B, n)`, truth and logit `(n,)`, starts `(B, 2)` to float64 `(B, 2)`."""
    result = np.full((len(weights), 2), np.nan)
    rounded, probability = np.empty(len(truth)), np.empty(len(truth))
    for b in range(len(weights)):
        positive, total = _balance(weights[b], truth)
        if positive <= 0 or positive >= total:
            continue
        intercept, slope = starts[b]
        for _ in range(steps):
            _logistic(intercept, slope, logit, rounded, probability)
            g0, g1, h0, h1, h2 = _slopes(weights[b], truth, logit, probability)
            if slope_free:
                determinant = h0 * h2 - h1 * h1
                if not determinant > 1e-12 * h0 * h2:
                    break
                step0, step1 = (h2 * g0 - h1 * g1) / determinant, (h0 * g1 - h1 * g0) / determinant
            else:
                step0, step1 = g0 / h0, 0.0
            step0, step1 = min(max(step0, -2.0), 2.0), min(max(step1, -2.0), 2.0)
            intercept += step0
            slope += step1
            if max(abs(step0), abs(step1)) < 1e-6:
                result[b, 0], result[b, 1] = intercept, slope
                break
    return result
