"""From shares of classes on the packed grid to a label map on the grid of the file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ai4diag.data import grid

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.uint8]


def label_map(
    shares: Floats, packed: npt.NDArray[np.float64], own: npt.NDArray[np.float64], sides: Sequence[int]
) -> Mask:
    """Return the class with the largest share at each voxel of the file, uint8 `(i, j, k)`.

    Shares are interpolated, not labels, so that borders stay smooth. A voxel more than one packed
    voxel outside the packed grid is background.

    Args:
        shares: `(classes, i, j, k)` on the packed grid.
        packed, own: affines of the packed grid and of the file, both in canonical orientation.
        sides: of the file in canonical orientation.
    """
    found = grid.linear(shares, grid.places(own, sides, packed))
    result: Mask = found.argmax(axis=0).astype(np.uint8)
    return result


def keep_largest(mask: Mask, classes: Sequence[int]) -> Mask:
    """Return a label map in which only the largest piece of each named class is left; pieces touch by their faces.

    Of equally large pieces the first in array order stays.
    """
    from scipy.ndimage import label

    result = mask.copy()
    for number in classes:
        pieces, count = label(mask == number)
        if count > 1:
            sizes = np.bincount(pieces.ravel())[1:]
            result[(mask == number) & (pieces != 1 + int(sizes.argmax()))] = 0
    return result
