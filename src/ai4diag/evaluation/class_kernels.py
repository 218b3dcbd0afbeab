"""Areas under the ROC and the precision-recall curves of many scores at once, compiled by numba.

Resamples are walked side by side: weights are turned so that one case's weights in sixteen resamples lie together,
which makes vector instructions of the inner loop, and the turned block serves every class. The numpy twin is
`ai4diag.evaluation.ranking.Ranking`, which gives the same numbers.
"""

from __future__ import annotations

import numpy as np
from numba import njit

LANES = 16
"""Resamples that are walked side by side."""


@njit(cache=True, error_model="numpy")
def areas(weights, orders, truths, ends, with_precision):  # type: ignore[no-untyped-def]
    """Return AUROC and average precision of several scores for many resamples.

    Args:
        weights: float64 `(B, n)`.
        orders: int64 `(classes, n)`, cases by falling score of each class, positives last among equal scores.
        truths: int8 `(classes, n)`, 0 or 1, in that order.
        ends: bool `(classes, n)`, whether the next score differs.
        with_precision: whether average precision is wanted; without it, it is NaN.

    Returns:
        two float64 `(classes, B)`, NaN where a class or its complement has no weight (average precision: the class).
    """
    draws, n = weights.shape
    classes = len(orders)
    auroc, auprc = np.empty((classes, draws)), np.empty((classes, draws))
    turned = np.empty((n, LANES))
    positive, negative = np.empty(LANES), np.empty(LANES)
    new_positive, new_negative = np.empty(LANES), np.empty(LANES)
    area, precision = np.empty(LANES), np.empty(LANES)
    for first in range(0, draws, LANES):
        count = min(LANES, draws - first)
        turned[:, count:] = 0
        for lane in range(count):
            for i in range(n):
                turned[i, lane] = weights[first + lane, i]
        for k in range(classes):
            positive[:] = 0.0
            negative[:] = 0.0
            new_positive[:] = 0.0
            new_negative[:] = 0.0
            area[:] = 0.0
            precision[:] = 0.0
            for i in range(n):
                row = turned[orders[k, i]]
                if ends[k, i] and (i == 0 or ends[k, i - 1]):  # nobody else has this score
                    if not truths[k, i]:
                        for lane in range(LANES):
                            area[lane] += row[lane] * positive[lane]
                            negative[lane] += row[lane]
                    elif with_precision:
                        for lane in range(LANES):
                            positive[lane] += row[lane]
                            seen = positive[lane] + negative[lane]
                            precision[lane] += row[lane] * positive[lane] / (seen if seen > 0 else 1.0)
                    else:
                        for lane in range(LANES):
                            positive[lane] += row[lane]
                    continue
                if truths[k, i]:
                    for lane in range(LANES):
                        new_positive[lane] += row[lane]
                else:
                    for lane in range(LANES):
                        new_negative[lane] += row[lane]
                if ends[k, i]:
                    for lane in range(LANES):
                        area[lane] += new_negative[lane] * (positive[lane] + new_positive[lane] / 2)
                        positive[lane] += new_positive[lane]
                        negative[lane] += new_negative[lane]
                    if with_precision and truths[k, i]:  # of equal scores the last is a positive if any is
                        for lane in range(LANES):
                            seen = positive[lane] + negative[lane]
                            precision[lane] += new_positive[lane] * positive[lane] / (seen if seen > 0 else 1.0)
                    for lane in range(LANES):
                        new_positive[lane] = 0.0
                        new_negative[lane] = 0.0
            for lane in range(count):
                both = positive[lane] * negative[lane]
                auroc[k, first + lane] = area[lane] / both if both > 0 else np.nan
                known = with_precision and positive[lane] > 0
                auprc[k, first + lane] = precision[lane] / positive[lane] if known else np.nan
    return auroc, auprc
