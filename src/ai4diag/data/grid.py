"""Volumes on another grid: resampling along axes, cutting off empty margins, and the way back.

All grids of one case are axis-aligned: they differ in spacing and in where they begin. Every axis is therefore
resampled by itself, with weights from the positions at which the new voxels lie on the old axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
SAME = 1e-3
"""Positions that differ by less (in voxels) are the same."""


def finer(affine: Floats, sides: Sequence[int], spacing_mm: Sequence[float]) -> tuple[Floats, tuple[int, ...]]:
    """Return affine and sides of the grid of another spacing that covers the same block of space.

    The outer faces of the first voxels stay where they are; an axis of one voxel, or of nearly this spacing, stays.
    """
    own = np.linalg.norm(affine[:3, :3], axis=0)
    wanted = np.where((np.asarray(sides) == 1) | (np.abs(own / spacing_mm - 1) < SAME), own, spacing_mm)
    factor = wanted / own
    new = affine.copy()
    new[:3, :3] = affine[:3, :3] * factor
    new[:3, 3] = affine[:3, 3] + affine[:3, :3] @ ((factor - 1) / 2)
    return new, tuple(max(1, round(float(side))) for side in np.asarray(sides) / factor)


def places(affine: Floats, sides: Sequence[int], onto: Floats) -> list[Floats]:
    """Return for each axis where the voxels of a grid lie on another grid, in voxels of the other.

    Args:
        affine, sides: the grid whose voxels are asked for.
        onto: affine of the other grid, whose axes are parallel to these.
    """
    between = np.linalg.inv(onto) @ affine
    return [between[axis, axis] * np.arange(side) + between[axis, 3] for axis, side in enumerate(sides)]


def linear(array: Array, positions: Sequence[Floats]) -> npt.NDArray[np.float32]:
    """Interpolate linearly; when voxels become larger, they average what they cover.

    Args:
        array: `(channels, i, j, k)`.
        positions: for each axis where the new voxels lie, in voxels of the array. A voxel that lies more than one
            voxel outside becomes 0; one that lies nearer takes the value at the edge.
    """
    found: npt.NDArray[np.float32] = array.astype(np.float32)
    for axis, where in enumerate(positions):
        side = found.shape[1 + axis]
        if len(where) == side and np.abs(where - np.arange(side)).max() < SAME:
            continue
        weights = _weights(where, side)
        moved = np.moveaxis(found, 1 + axis, 0)
        result = (weights @ moved.reshape(side, -1)).reshape(len(where), *moved.shape[1:])
        found = np.ascontiguousarray(np.moveaxis(result, 0, 1 + axis), np.float32)
    return found


def labels(mask: npt.NDArray[np.uint8], positions: Sequence[Floats], n_classes: int) -> npt.NDArray[np.uint8]:
    """Resample class numbers `(1, i, j, k)`: each new voxel gets the class that covers most of it."""
    if all(len(at) == side and np.abs(at - np.arange(side)).max() < SAME for at, side in _pairs(positions, mask)):
        return mask
    best = np.zeros((1, *(len(where) for where in positions)), np.uint8)
    share = np.zeros(best.shape, np.float32)
    for number in range(n_classes):
        if number and not (mask == number).any():
            continue
        covered = linear(mask == number, positions)
        best[covered > share] = number
        share = np.maximum(share, covered)
    return best


def filled(array: Array, least: float = 0.25) -> tuple[slice, ...] | None:
    """Return the box of an array `(channels, i, j, k)` outside which all is 0.

    None when that would save less than the share `least` of the voxels, or nothing would remain.
    """
    shown = (array != 0).any(axis=0)
    if not shown.any():
        return None
    box = []
    for axis in range(3):
        line = np.flatnonzero(shown.any(axis=tuple(other for other in range(3) if other != axis)))
        box.append(slice(int(line[0]), int(line[-1]) + 1))
    size = int(np.prod([part.stop - part.start for part in box]))
    return tuple(box) if size <= (1 - least) * shown.size else None


def moved(affine: Floats, box: Sequence[slice]) -> Floats:
    """Return the affine of the part of a grid that begins at the start of a box."""
    new = affine.copy()
    new[:3, 3] = affine[:3, 3] + affine[:3, :3] @ np.array([part.start for part in box], np.float64)
    return new


def _pairs(positions: Sequence[Floats], array: Array) -> list[tuple[Floats, int]]:
    return list(zip(positions, array.shape[1:], strict=True))


def _weights(where: Floats, side: int) -> Any:
    """Return the sparse matrix `(new, old)` of a triangle around each position, as wide as the larger voxel."""
    from scipy.sparse import csr_matrix

    width = max(1.0, float(np.abs(np.diff(where)).mean())) if len(where) > 1 else 1.0
    at = np.clip(where, 0, side - 1)
    first = np.ceil(at - width).astype(np.int64)
    offsets = np.arange(int(np.ceil(2 * width)) + 1)
    columns = first[:, None] + offsets
    weight = np.maximum(0, 1 - np.abs(columns - at[:, None]) / width)
    weight[(columns < 0) | (columns >= side)] = 0
    total = weight.sum(axis=1, keepdims=True)
    weight = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
    weight[(where < -1) | (where > side)] = 0
    rows = np.repeat(np.arange(len(where)), len(offsets))
    shape = (len(where), side)
    return csr_matrix((weight.ravel().astype(np.float32), (rows, np.clip(columns, 0, side - 1).ravel())), shape=shape)
