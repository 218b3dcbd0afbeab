"""Loops that numpy cannot vectorise, compiled by numba on first use and cached on disk.

Import this module inside the function that needs it: importing numba takes about half a second. Every kernel has a
numpy twin beside its caller that gives the same numbers; the caller chooses between them by the amount of work, so that
a small evaluation never pays for the compiler.
"""

from __future__ import annotations

import numpy as np
from numba import njit

FOUND = 1
FALSE = 0
IGNORED = -1
TINY = 1e-300
LANES = 16
"""Rows of weights that `ranking` walks through together; any number gives the same bits."""


@njit(cache=True, error_model="numpy")
def draw(words, units, weights):  # type: ignore[no-untyped-def]
    """Count what `numpy.random.Generator.integers(0, len(units), (B, len(units)))` draws, without keeping the draws.

    numpy takes 32 random bits times the number of units: the upper half of the product is the draw, and a lower half
    below 2^32 modulo that number is drawn again (Lemire, ACM Transactions on Modeling and Computer Simulation 29:3,
    2019).

    Args:
        words: uint32, the random bits in the order of the generator.
        units: int64 `(n,)`, column of each unit in `weights`.
        weights: float64 `(B, columns)`; its columns `units` are overwritten.

    Returns:
        how many words were used; -1 where there were too few, and the weights are of no use.
    """
    size, half, low = np.uint64(len(units)), np.uint64(32), np.uint64(2**32 - 1)
    again = (np.uint64(2**32) - size) % size
    counts = np.empty(len(units), np.int32)
    used = 0
    for b in range(len(weights)):
        counts[:] = 0
        for _ in range(len(units)):
            if used == len(words):
                return -1
            product = np.uint64(words[used]) * size
            used += 1
            while product & low < again:
                if used == len(words):
                    return -1
                product = np.uint64(words[used]) * size
                used += 1
            counts[product >> half] += 1
        for i in range(len(units)):
            weights[b, units[i]] = counts[i]
    return used


@njit(cache=True)
def _iou(a, i, b, j, crowd):  # type: ignore[no-untyped-def]
    dimensions = a.shape[1] // 2
    shared = 1.0
    for axis in range(dimensions):
        width = min(a[i, axis + dimensions], b[j, axis + dimensions]) - max(a[i, axis], b[j, axis])
        if width <= 0:
            return 0.0
        shared *= width
    size_a, size_b = 1.0, 1.0
    for axis in range(dimensions):
        size_a *= a[i, axis + dimensions] - a[i, axis]
        size_b *= b[j, axis + dimensions] - b[j, axis]
    return shared / size_a if crowd else shared / (size_a + size_b - shared)


@njit(cache=True)
def iou_matrix(a, b, crowd):  # type: ignore[no-untyped-def]
    """Compiled `boxes.iou_matrix`: float64 `(n, 2 * D)`, `(m, 2 * D)`, bool `(m,)` to float64 `(n, m)`."""
    result = np.empty((len(a), len(b)))
    for i in range(len(a)):
        for j in range(len(b)):
            result[i, j] = _iou(a, i, b, j, crowd[j])
    return result


@njit(cache=True, error_model="numpy")
def nms(corners, labels, threshold):  # type: ignore[no-untyped-def]
    """Compiled `boxes.nms`; without branches inside the inner loops, so that they become vector instructions.

    Args:
        corners: float64 `(2 * D, n)`, boxes best score first.
        labels: int64 `(n,)`.
        threshold: overlap above which the worse box is dropped.

    Returns:
        bool `(n,)`: dropped.
    """
    dimensions, n = corners.shape[0] // 2, corners.shape[1]
    dropped = np.zeros(n, np.bool_)
    size, shared = np.ones(n), np.empty(n)
    for axis in range(dimensions):
        size *= corners[axis + dimensions] - corners[axis]
    for i in range(n):
        if dropped[i]:
            continue
        shared[i + 1 :] = 1.0
        for axis in range(dimensions):
            low, high = corners[axis], corners[axis + dimensions]
            for j in range(i + 1, n):
                shared[j] *= max(min(high[i], high[j]) - max(low[i], low[j]), 0.0)
        for j in range(i + 1, n):
            dropped[j] |= (shared[j] / (size[i] + size[j] - shared[j]) > threshold) & (labels[i] == labels[j])
    return dropped


@njit(cache=True)
def match(boxes, starts, truth, truth_starts, ignore, thresholds):  # type: ignore[no-untyped-def]
    """Compiled `detection._match_group` for all groups (one image and one class each) at once.

    Args:
        boxes: float64 `(n, 2 * D)`, detections by group, best score first.
        starts: int64 `(groups + 1,)`, where each group starts in `boxes`.
        truth: float64 `(m, 2 * D)`, truth by group, ignored boxes last.
        truth_starts: int64 `(groups + 1,)`.
        ignore: bool `(m,)`.
        thresholds: float64 `(T,)`.

    Returns:
        int8 `(T, n)` of FOUND, FALSE, IGNORED.
    """
    result = np.zeros((len(thresholds), len(boxes)), np.int8)
    taken = np.zeros((len(thresholds), len(truth)), np.bool_)
    near, overlap = np.empty(len(truth), np.int64), np.empty(len(truth))
    lowest = min(thresholds.min(), 1 - 1e-10)
    for group in range(len(starts) - 1):
        first, last = truth_starts[group], truth_starts[group + 1]
        for d in range(starts[group], starts[group + 1]):
            n = 0
            for g in range(first, last):
                value = _iou(boxes, d, truth, g, ignore[g])
                if value >= lowest:
                    near[n], overlap[n] = g, value
                    n += 1
            if n == 0:
                continue
            for t in range(len(thresholds)):
                best, where = min(thresholds[t], 1 - 1e-10), -1
                for c in range(n):
                    g = near[c]
                    if taken[t, g] and not ignore[g]:
                        continue
                    if where >= 0 and ignore[g] and not ignore[where]:
                        break
                    if overlap[c] >= best:
                        best, where = overlap[c], g
                if where >= 0:
                    taken[t, where] = True
                    result[t, d] = IGNORED if ignore[where] else FOUND
    return result


@njit(cache=True, fastmath={"nnan", "nsz"})
def _largest(values, first, last):  # type: ignore[no-untyped-def]
    """Return the largest of positive numbers `values[first:last]`, 0 of none."""
    best = 0.0
    for i in range(first, last):
        best = max(best, values[i])
    return best


@njit(cache=True, error_model="numpy")
def _envelope(found, precision, points, total, levels):  # type: ignore[no-untyped-def]
    """Return the sum over recall levels of the largest precision from the first point on that reaches the level."""
    area, best, last = 0.0, 0.0, points
    for level in range(len(levels) - 1, -1, -1):
        low, high = 0, last
        while low < high:
            middle = (low + high) // 2
            if found[middle] / total >= levels[level]:
                high = middle
            else:
                low = middle + 1
        if low < points:
            best = max(best, _largest(precision, low, last))
            area += best
            last = low
    return area


@njit(cache=True, error_model="numpy")
def average_precision(outcome, image, truth_count, weights, levels):  # type: ignore[no-untyped-def]
    """Compiled `detection._average_precision` of one class.

    Args:
        outcome: int8 `(T, n)`, detections best score first.
        image: int64 `(n,)`.
        truth_count: int64 `(images,)`, truth boxes of this class that are not ignored.
        weights: float64 `(B, images)`.
        levels: float64 `(R,)`, recall levels, rising.

    Returns:
        float64 `(B, T)`, NaN where the weighted number of truth boxes is 0.
    """
    draws, ious, n = len(weights), len(outcome), len(image)
    result = np.empty((draws, ious))
    found, precision = np.empty(n), np.empty(n)
    drawn, seen = np.empty(n), np.empty(n)
    where, count, ignores = np.empty((ious, n), np.int64), np.zeros(ious, np.int64), np.zeros(ious, np.bool_)
    for t in range(ious):
        for d in range(n):
            if outcome[t, d] == FOUND:
                where[t, count[t]] = d
                count[t] += 1
            elif outcome[t, d] == IGNORED:
                ignores[t] = True
    for b in range(draws):
        total = 0.0
        for i in range(len(truth_count)):
            total += weights[b, i] * truth_count[i]
        if total == 0:
            result[b] = np.nan
            continue
        for d in range(n):
            drawn[d] = weights[b, image[d]]
        for t in range(ious):
            if t == 0 or ignores[t] or ignores[t - 1]:
                so_far = 0.0
                for d in range(n):
                    so_far += drawn[d] if outcome[t, d] != IGNORED else 0.0
                    seen[d] = so_far
            hits, points = 0.0, count[t]
            for p in range(points):
                hits += drawn[where[t, p]]
                found[p], precision[p] = hits, seen[where[t, p]]
            for p in range(points):
                precision[p] = found[p] / max(precision[p], TINY)
            area = _envelope(found, precision, points, total, levels) if hits > 0 else 0.0
            result[b, t] = area / len(levels)
    return result


@njit(cache=True, error_model="numpy")
def ranking(weights, order, truth, ends):  # type: ignore[no-untyped-def]
    """Compiled `ranking._areas`; `LANES` rows at a time, so that they become vector instructions.

    Args:
        weights: float64 `(B, n)`, one column per case as given.
        order: int64 `(n,)`, columns by falling score.
        truth: int8 `(n,)`, 0 or 1, in that order.
        ends: bool `(n,)`, whether the next score differs.

    Returns:
        two float64 `(B,)`: area under the ROC curve and average precision, NaN where a class has no weight.
    """
    auroc, auprc = np.empty(len(weights)), np.empty(len(weights))
    sums = np.empty((6, LANES))
    positive, negative, area, precision, new_positive, new_negative = (
        sums[0],
        sums[1],
        sums[2],
        sums[3],
        sums[4],
        sums[5],
    )
    for first in range(0, len(weights), LANES):
        used = min(LANES, len(weights) - first)
        sums[:] = 0.0
        for i in range(len(truth)):
            column = order[i]
            if truth[i]:
                for lane in range(used):
                    new_positive[lane] += weights[first + lane, column]
            else:
                for lane in range(used):
                    new_negative[lane] += weights[first + lane, column]
            if ends[i]:
                for lane in range(LANES):
                    area[lane] += new_negative[lane] * (positive[lane] + new_positive[lane] / 2)
                    positive[lane] += new_positive[lane]
                    negative[lane] += new_negative[lane]
                    seen = max(positive[lane] + negative[lane], TINY)
                    precision[lane] += new_positive[lane] * positive[lane] / seen
                    new_positive[lane] = 0.0
                    new_negative[lane] = 0.0
        for lane in range(used):
            both = positive[lane] > 0 and negative[lane] > 0
            auroc[first + lane] = area[lane] / (positive[lane] * negative[lane]) if both else np.nan
            auprc[first + lane] = precision[lane] / positive[lane] if positive[lane] > 0 else np.nan
    return auroc, auprc


@njit(cache=True)
def froc(weights, image, found, ends, lesions, limits):  # type: ignore[no-untyped-def]
    """Compiled `froc.Froc._sensitivities`: one walk down the scores per row of weights.

    Args:
        weights: float64 `(B, images)`.
        image, found, ends: `(n,)` by falling score; found is 1 for a lesion and 0 for a false detection.
        lesions: int64 `(images,)`.
        limits: float64 `(L,)`, false detections per image, rising.

    Returns:
        float64 `(B, L)`, NaN where no lesion has weight.
    """
    result = np.full((len(weights), len(limits)), np.nan)
    for b in range(len(weights)):
        images, total = 0.0, 0.0
        for i in range(len(lesions)):
            images += weights[b, i]
            total += weights[b, i] * lesions[i]
        if total == 0:
            continue
        hits, alarms, last_false, last_found, at = 0.0, 0.0, 0.0, 0.0, 0
        for i in range(len(image)):
            weight = weights[b, image[i]]
            hits += weight * found[i]
            alarms += weight * (1 - found[i])
            if not ends[i]:
                continue
            false, sensitivity = alarms / images, hits / total
            while at < len(limits) and limits[at] < false:
                share = (limits[at] - last_false) / (false - last_false)
                result[b, at] = last_found + share * (sensitivity - last_found)
                at += 1
            if at == len(limits):
                break
            last_false, last_found = false, sensitivity
        result[b, at:] = last_found
    return result
