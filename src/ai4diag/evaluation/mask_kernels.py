"""Loops over voxels that numpy cannot vectorise, compiled by numba on first use and cached on disk.

As in `kernels`: import this module inside the function that needs it; every kernel has a twin beside its caller that
gives the same numbers.
"""

from __future__ import annotations

import numpy as np
from numba import njit

FEW_CLASSES = 16
"""Up to so many classes a pair of them fits into one byte."""
REPEAT = np.uint64(0x0101010101010101)


@njit(cache=True)
def confusion(truth, predicted, n_classes):  # type: ignore[no-untyped-def]
    """Compiled `overlap.confusion`: class numbers `(n,)` twice, below n_classes, to int64 `(n_classes, n_classes)`.

    Neighbouring voxels are mostly of the same class, and an addition to the counter that was just added to has to wait
    for it; so four tables take turns.
    """
    table = np.zeros((4, n_classes * n_classes), np.int64)
    n = len(truth) - len(truth) % 4
    for v in range(0, n, 4):
        for lane in range(4):
            table[lane, np.int64(truth[v + lane]) * n_classes + np.int64(predicted[v + lane])] += 1
    for v in range(n, len(truth)):
        table[0, np.int64(truth[v]) * n_classes + np.int64(predicted[v])] += 1
    return table.sum(axis=0).reshape(n_classes, n_classes)


@njit(cache=True)
def confusion_of_words(truth, predicted, n_classes):  # type: ignore[no-untyped-def]
    """As `confusion`, of eight class numbers of one byte each to a uint64, for up to FEW_CLASSES classes.

    One multiplication codes eight pairs, none of which reaches into the next byte. Neighbours are mostly of one kind:
    eight equal pairs are counted at once; the others go to four tables in turn.
    """
    table = np.zeros(4 * 256, np.int64)
    byte, classes = np.uint64(255), np.uint64(n_classes)
    run, equal = np.uint64(0), 0
    for w in range(len(truth)):
        pairs = truth[w] * classes + predicted[w]
        if pairs == run:
            equal += 8
            continue
        first = pairs & byte
        if pairs == first * REPEAT:
            table[run & byte] += equal
            run, equal = pairs, 8
            continue
        table[first] += 1
        table[np.uint64(256) + ((pairs >> np.uint64(8)) & byte)] += 1
        table[np.uint64(512) + ((pairs >> np.uint64(16)) & byte)] += 1
        table[np.uint64(768) + ((pairs >> np.uint64(24)) & byte)] += 1
        table[(pairs >> np.uint64(32)) & byte] += 1
        table[np.uint64(256) + ((pairs >> np.uint64(40)) & byte)] += 1
        table[np.uint64(512) + ((pairs >> np.uint64(48)) & byte)] += 1
        table[np.uint64(768) + (pairs >> np.uint64(56))] += 1
    table[run & byte] += equal
    summed = table.reshape(4, 256).sum(axis=0)
    return summed[: n_classes * n_classes].copy().reshape(n_classes, n_classes)


@njit(cache=True)
def surface(mask, flat):  # type: ignore[no-untyped-def]
    """Compiled `surface._surface`: bool `(i, j, k)` to int64 `(n, 3)`, the voxels of the surface in array order.

    `flat` says that the first axis, of length 1, is none.
    """
    size_i, size_j, size_k = mask.shape
    n = 0
    for turn in range(2):
        points = np.empty((n, 3), np.int64)
        n = 0
        for i in range(size_i):
            for j in range(size_j):
                edge_line = j == 0 or j == size_j - 1 or (not flat and (i == 0 or i == size_i - 1))
                for k in range(size_k):
                    if not mask[i, j, k]:
                        continue
                    if not edge_line and 0 < k < size_k - 1:
                        inside = mask[i, j, k - 1] and mask[i, j, k + 1] and mask[i, j - 1, k] and mask[i, j + 1, k]
                        if inside and (flat or (mask[i - 1, j, k] and mask[i + 1, j, k])):
                            continue
                    if turn:
                        points[n] = i, j, k
                    n += 1
    return points


@njit(cache=True)
def nearest(points, targets, shape, spacing):  # type: ignore[no-untyped-def]
    """Compiled `surface._nearest`: distance in mm of every point to the nearest target.

    Exact, in three steps: along each line of the last axis the nearest target by two sweeps; in each plane the lower
    envelope of the parabolas over those (Felzenszwalb and Huttenlocher, Theory of Computing 8:415, 2012); along the
    first axis a search outwards from each point that ends as soon as nothing nearer can follow.

    Args:
        points: int64 `(n, 3)`.
        targets: int64 `(m, 3)`, m > 0.
        shape: the box `(i, j, k)` that holds all of them.
        spacing: float64 `(3,)`, mm.

    Returns:
        float64 `(n,)`.
    """
    size_i, size_j, size_k = shape
    squared = np.full((size_i, size_j, size_k), np.inf)
    used = np.zeros((size_i, size_j), np.bool_)
    for t in range(len(targets)):
        squared[targets[t, 0], targets[t, 1], targets[t, 2]] = 0.0
        used[targets[t, 0], targets[t, 1]] = True
    wanted = np.zeros((size_j, size_k), np.bool_)
    for p in range(len(points)):
        wanted[points[p, 1], points[p, 2]] = True
    for i in range(size_i):
        if used[i].any():
            _along_lines(squared[i], used[i], spacing[2])
            _across_lines(squared[i], np.flatnonzero(used[i]), wanted, spacing[1])
    result = np.empty(len(points))
    for p in range(len(points)):
        i, j, k = points[p]
        best = squared[i, j, k]
        step = 1
        while step < size_i and (spacing[0] * step) ** 2 < best:
            away = (spacing[0] * step) ** 2
            if i - step >= 0:
                best = min(best, squared[i - step, j, k] + away)
            if i + step < size_i:
                best = min(best, squared[i + step, j, k] + away)
            step += 1
        result[p] = np.sqrt(best)
    return result


@njit(cache=True)
def _along_lines(plane, used, spacing):  # type: ignore[no-untyped-def]
    """Replace 0 (target) and infinity by the squared distance to the nearest target of the same line, in place."""
    size = plane.shape[1]
    for j in range(len(plane)):
        if not used[j]:
            continue
        line = plane[j]
        last = -1
        for k in range(size):
            if line[k] == 0:
                last = k
            elif last >= 0:
                line[k] = (spacing * (k - last)) ** 2
        last = size
        for k in range(size - 1, -1, -1):
            if line[k] == 0:
                last = k
            elif last < size:
                line[k] = min(line[k], (spacing * (last - k)) ** 2)


@njit(cache=True)
def _across_lines(plane, lines, wanted, spacing):  # type: ignore[no-untyped-def]
    """Replace the squared distance within each line by that within the plane, in place, in the columns wanted."""
    size = len(plane)
    position, begins, heights = np.empty(size, np.int64), np.empty(size + 1), np.empty(size)
    scale = spacing * spacing
    for k in range(plane.shape[1]):
        if not wanted[:, k].any():
            continue
        top = -1
        for j in lines:
            height = plane[j, k]
            begin = -np.inf
            while top >= 0:
                other = position[top]
                begin = (height - heights[top]) / (2 * scale * (j - other)) + 0.5 * (j + other)
                if begin > begins[top]:
                    break
                top -= 1
                begin = -np.inf
            top += 1
            position[top], heights[top], begins[top] = j, height, begin
        begins[top + 1] = np.inf
        at = 0
        for j in range(size):
            while begins[at + 1] < j:
                at += 1
            plane[j, k] = heights[at] + scale * (j - position[at]) ** 2
