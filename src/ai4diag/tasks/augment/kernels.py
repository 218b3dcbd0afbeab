"""Looking up voxels, compiled by numba on first use and cached on disk: twice as fast as torch on a CPU.

Only for volumes, because torch already uses vector instructions for planes.

Import this module inside the function that needs it: importing numba takes about half a second. Each kernel fills one
case from `start` to `stop` along the first axis and releases the interpreter, so that threads can share a batch, and
the result is the same to the bit for any number of them.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uintp


@njit(cache=True, nogil=True)
def _at_edge(volume, z, y, x, level):  # type: ignore[no-untyped-def]
    """Return the linear interpolation at a place that may lie outside, where `level` stands."""
    lengths = volume.shape
    zi, yi, xi = int(np.floor(z)), int(np.floor(y)), int(np.floor(x))
    total = np.float32(0)
    for i in range(zi, zi + 2):
        for j in range(yi, yi + 2):
            for k in range(xi, xi + 2):
                weight = (1 - abs(z - i)) * (1 - abs(y - j)) * (1 - abs(x - k))
                inside = 0 <= i < lengths[0] and 0 <= j < lengths[1] and 0 <= k < lengths[2]
                total += np.float32(weight) * (np.float32(volume[i, j, k]) if inside else level)
    return total


@njit(cache=True, nogil=True)
def linear(volumes, affine, bend, level, result, start, stop):  # type: ignore[no-untyped-def]
    """Interpolate linearly.

    Args:
        volumes: uint8 or float32 `(channels, i, j, k)`, contiguous.
        affine: float32 `(3, 4)`, from indices of the result to indices of the source, the shift in the last column.
        bend: float32 `(3, *window)`, added to the indices of the result; no voxels: nothing is added.
        level: float32 `(channels,)`, what stands outside.
        result: float32 `(channels, *window)`, contiguous.
        start, stop: part to fill.
    """
    channels, n0, n1, n2 = volumes.shape
    _, _, m1, m2 = result.shape
    source, target, bent = volumes.reshape(-1), result.reshape(-1), bend.size > 0
    line, plane, one = uintp(n2), uintp(n1 * n2), uintp(1)
    for i in range(start, stop):
        for j in range(m1):
            p0 = affine[0, 0] * i + affine[0, 1] * j + affine[0, 3]
            p1 = affine[1, 0] * i + affine[1, 1] * j + affine[1, 3]
            p2 = affine[2, 0] * i + affine[2, 1] * j + affine[2, 3]
            q0, q1, q2 = np.float32(p0), np.float32(p1), np.float32(p2)
            for k in range(m2):
                s = np.float32(k)
                z, y, x = q0 + affine[0, 2] * s, q1 + affine[1, 2] * s, q2 + affine[2, 2] * s
                if bent:
                    u, v, w = bend[0, i, j, k], bend[1, i, j, k], bend[2, i, j, k]
                    z += affine[0, 0] * u + affine[0, 1] * v + affine[0, 2] * w
                    y += affine[1, 0] * u + affine[1, 1] * v + affine[1, 2] * w
                    x += affine[2, 0] * u + affine[2, 1] * v + affine[2, 2] * w
                zi, yi, xi = np.int32(np.floor(z)), np.int32(np.floor(y)), np.int32(np.floor(x))
                within = zi >= 0 and yi >= 0 and xi >= 0 and zi < n0 - 1 and yi < n1 - 1 and xi < n2 - 1
                f, g, h = z - np.float32(zi), y - np.float32(yi), x - np.float32(xi)
                for c in range(channels):
                    to = ((c * result.shape[1] + i) * m1 + j) * m2 + k
                    if not within:
                        target[to] = _at_edge(volumes[c], z, y, x, level[c])
                        continue
                    a = uintp(((c * n0 + zi) * n1 + yi) * n2 + xi)
                    b = a + plane
                    c00 = source[a] + (np.float32(source[a + one]) - source[a]) * h
                    c01 = source[a + line] + (np.float32(source[a + line + one]) - source[a + line]) * h
                    c10 = source[b] + (np.float32(source[b + one]) - source[b]) * h
                    c11 = source[b + line] + (np.float32(source[b + line + one]) - source[b + line]) * h
                    near, far = c00 + (c01 - c00) * g, c10 + (c11 - c10) * g
                    target[to] = near + (far - near) * f


@njit(cache=True, nogil=True)
def nearest(volumes, affine, bend, level, result, start, stop):  # type: ignore[no-untyped-def]
    """Take the nearest voxel; arguments as of `linear`, any type of number."""
    channels, n0, n1, n2 = volumes.shape
    _, _, m1, m2 = result.shape
    bent, half = bend.size > 0, np.float32(0.5)
    for i in range(start, stop):
        for j in range(m1):
            p0 = affine[0, 0] * i + affine[0, 1] * j + affine[0, 3]
            p1 = affine[1, 0] * i + affine[1, 1] * j + affine[1, 3]
            p2 = affine[2, 0] * i + affine[2, 1] * j + affine[2, 3]
            q0, q1, q2 = np.float32(p0), np.float32(p1), np.float32(p2)
            for k in range(m2):
                s = np.float32(k)
                z, y, x = q0 + affine[0, 2] * s, q1 + affine[1, 2] * s, q2 + affine[2, 2] * s
                if bent:
                    u, v, w = bend[0, i, j, k], bend[1, i, j, k], bend[2, i, j, k]
                    z += affine[0, 0] * u + affine[0, 1] * v + affine[0, 2] * w
                    y += affine[1, 0] * u + affine[1, 1] * v + affine[1, 2] * w
                    x += affine[2, 0] * u + affine[2, 1] * v + affine[2, 2] * w
                zi, yi, xi = int(np.floor(z + half)), int(np.floor(y + half)), int(np.floor(x + half))
                within = 0 <= zi < n0 and 0 <= yi < n1 and 0 <= xi < n2
                for c in range(channels):
                    result[c, i, j, k] = volumes[c, zi, yi, xi] if within else level[c]


@njit(cache=True, nogil=True)
def extent(volume, start, sides):  # type: ignore[no-untyped-def]
    """Return the least and the greatest value of each channel in a block, float32 `(channels, 2)`.

    Args:
        volume: numbers `(channels, i, j, k)`, contiguous.
        start, sides: first voxel of the block and its size.
    """
    ends = np.empty((volume.shape[0], 2), np.float32)
    first = uintp(start[2])
    for channel in range(volume.shape[0]):
        low = np.full(sides[2], np.inf, np.float32)
        high = np.full(sides[2], -np.inf, np.float32)
        for i in range(start[0], start[0] + sides[0]):
            plane = volume[channel, i]
            for j in range(uintp(start[1]), uintp(start[1] + sides[1])):
                for k in range(uintp(sides[2])):  # a line of least values, because one would not be vectorised
                    value = np.float32(plane[j, first + k])
                    low[k] = min(low[k], value)
                    high[k] = max(high[k], value)
        ends[channel] = low.min(), high.max()
    return ends


@njit(cache=True, nogil=True)
def move_values(volume, start, levels, mirrored, turned, result):  # type: ignore[no-untyped-def]
    """Cut out a block, cut its values off and scale them, mirror it and turn it, in one pass.

    Args:
        volume: numbers `(channels, i, j, k)`, contiguous.
        start: first voxel of the block.
        levels: float32 `(channels, 6)`: least and greatest value, mean, spread, factor and summand. A value `v` within
            them becomes `(v - mean) / spread * factor + summand`.
        mirrored: which axes of the block are mirrored.
        turned: whether its last two axes then change places.
        result: float32 `(channels, *window)`, contiguous.
    """
    sides = _sides(result, turned)
    plane = np.empty(sides[1:], np.float32)
    for channel in range(volume.shape[0]):
        for i in range(sides[0]):
            source = volume[channel, start[0] + (sides[0] - 1 - i if mirrored[0] else i)]
            _scale_plane(source, start, levels[channel], mirrored, plane if turned else result[channel, i])
            if turned:
                _turn_plane(plane, result[channel, i])


@njit(cache=True, nogil=True)
def move_labels(volume, start, mirrored, turned, result):  # type: ignore[no-untyped-def]
    """Do what `move_values` does, leaving the values as they are; `volume` and `result` are of one type."""
    sides = _sides(result, turned)
    plane = np.empty(sides[1:], result.dtype)
    for channel in range(volume.shape[0]):
        for i in range(sides[0]):
            source = volume[channel, start[0] + (sides[0] - 1 - i if mirrored[0] else i)]
            _copy_plane(source, start, mirrored, plane if turned else result[channel, i])
            if turned:
                _turn_plane(plane, result[channel, i])


@njit(cache=True, nogil=True)
def _sides(result, turned):  # type: ignore[no-untyped-def]
    _, i, j, k = result.shape
    return (i, k, j) if turned else (i, j, k)


@njit(cache=True, nogil=True)
def _scale_plane(source, start, levels, mirrored, target):  # type: ignore[no-untyped-def]
    low, high, mean, spread, factor, summand = levels
    rows, columns = uintp(target.shape[0]), uintp(target.shape[1])
    first, last = uintp(start[2]), uintp(start[2] + target.shape[1] - 1)
    for row in range(rows):
        j = uintp(start[1]) + (rows - uintp(1) - row if mirrored[1] else row)
        if mirrored[2]:
            for column in range(columns):
                value = np.float32(source[j, last - column])
                value = low if value < low else value
                value = high if value > high else value
                target[row, column] = (value - mean) / spread * factor + summand
        else:
            for column in range(columns):
                value = np.float32(source[j, first + column])
                value = low if value < low else value
                value = high if value > high else value
                target[row, column] = (value - mean) / spread * factor + summand


@njit(cache=True, nogil=True)
def _copy_plane(source, start, mirrored, target):  # type: ignore[no-untyped-def]
    rows, columns = uintp(target.shape[0]), uintp(target.shape[1])
    first, last = uintp(start[2]), uintp(start[2] + target.shape[1] - 1)
    for row in range(rows):
        j = uintp(start[1]) + (rows - uintp(1) - row if mirrored[1] else row)
        if mirrored[2]:
            for column in range(columns):
                target[row, column] = source[j, last - column]
        else:
            for column in range(columns):
                target[row, column] = source[j, first + column]


@njit(cache=True, nogil=True)
def _turn_plane(plane, target):  # type: ignore[no-untyped-def]
    """Write the transposed plane, block by block, so that lines of both stay in the cache."""
    rows, columns, side = uintp(target.shape[0]), uintp(target.shape[1]), uintp(8)
    for top in range(uintp(0), rows, side):
        for left in range(uintp(0), columns, side):
            if top + side <= rows and left + side <= columns:
                for row in range(side):  # a known number of steps, which the compiler unrolls
                    for column in range(side):
                        target[top + row, left + column] = plane[left + column, top + row]
            else:
                for row in range(top, min(top + side, rows)):
                    for column in range(left, min(left + side, columns)):
                        target[row, column] = plane[column, row]
