"""Label maps as run lengths: a table of predictions holds a mask per line, in a few kilobytes.

A mask is an array of class numbers in C order (last axis fastest); its runs are int32 `[class, length, class, length,
...]`, so that the lengths add up to the number of voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ai4diag.errors import DataError

MOST_VOXELS = 2**31 - 1


def encode(mask: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Return the runs of a mask of whole numbers, of any shape.

    >>> encode(np.array([[0, 0, 2], [2, 2, 1]])).tolist()
    [0, 2, 2, 3, 1, 1]
    """
    flat = np.ascontiguousarray(mask).reshape(-1)
    if flat.size > MOST_VOXELS or flat.dtype.kind not in "iub":
        raise DataError(f"A mask of {flat.size} voxels of type {flat.dtype}; expected fewer than 2^31 whole numbers.")
    if not flat.size:
        return np.zeros(0, np.int32)
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(starts, append=flat.size)
    return np.stack([flat[starts], lengths], axis=1).astype(np.int32).reshape(-1)


def vote(answers: Sequence[npt.ArrayLike]) -> npt.NDArray[np.int32]:
    """Return the runs of the label map in which each voxel has the class that most answers give it.

    Of classes with equally many votes the smallest number wins, the background first.

    Args:
        answers: runs of label maps of one size, at least one.

    Raises:
        DataError: the sizes differ.

    >>> vote([[0, 3, 1, 1], [0, 2, 2, 2], [1, 1, 2, 3]]).tolist()
    [0, 2, 2, 2]
    """
    sizes = [int(np.asarray(runs)[1::2].sum()) for runs in answers]
    if len(set(sizes)) > 1:
        raise DataError(f"Label maps of {sizes} voxels; expected one size.")
    maps = [decode(runs, (size,)) for runs, size in zip(answers, sizes, strict=True)]
    best = np.zeros(sizes[0], np.uint8)
    most = np.zeros(sizes[0], np.int32)
    for number in sorted({int(value) for one in maps for value in np.unique(one)}):
        votes = np.sum([one == number for one in maps], axis=0, dtype=np.int32)
        best[votes > most] = number
        most = np.maximum(most, votes)
    return encode(best)


def decode(runs: npt.ArrayLike, shape: Sequence[int], n_classes: int | None = None) -> npt.NDArray[np.uint8]:
    """Return the mask of a shape, uint8.

    Args:
        runs: what `encode` returned.
        shape: sides of the mask.
        n_classes: number of classes, background included; None: 256.

    Raises:
        DataError: the runs are no pairs, have a length below 1, do not fill the shape, or name a class that is none.

    >>> decode([0, 2, 2, 3, 1, 1], (2, 3)).tolist()
    [[0, 0, 2], [2, 2, 1]]
    """
    flat = np.asarray(runs)
    sides = tuple(int(side) for side in shape)
    most = 256 if n_classes is None else n_classes
    if flat.size and flat.dtype.kind not in "iu":
        raise DataError(f"Runs of type {flat.dtype}; expected whole numbers.")
    if flat.ndim != 1 or flat.size % 2:
        raise DataError(f"Runs of shape {flat.shape}; expected pairs of class and length in one row.")
    values, lengths = flat[0::2].astype(np.int64), flat[1::2].astype(np.int64)
    if (lengths < 1).any() or int(lengths.sum()) != int(np.prod(sides, dtype=np.int64)):
        raise DataError(f"Runs of {int(lengths.sum())} voxels do not fill a mask of sides {sides}.")
    if ((values < 0) | (values >= most)).any():
        raise DataError(f"Runs name class {int(values.max())}; expected 0 to {most - 1}.")
    return np.repeat(values.astype(np.uint8), lengths).reshape(sides)
