"""What a report shows of prepared volumes: grey values on the grid of the file, and voxels per class."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ai4diag.data import grid
from ai4diag.data.prepared import Prepared
from ai4diag.data.volume_store import SIDES, affines_of
from ai4diag.files import read_parquet

DARKEST, BRIGHTEST = 1, 99
"""Percentiles that become black and white."""


def window(prepared: Prepared, row: int) -> tuple[float, float]:
    """Return the grey values of the file that `grey_volume` shows as black and as white."""
    low, high = np.percentile(prepared.volumes[row][0], (DARKEST, BRIGHTEST)).tolist()
    return low, high


def grey_volume(prepared: Prepared, row: int) -> npt.NDArray[np.uint8]:
    """Return the first channel of a case, uint8 `(i, j, k)` on the grid of the file in canonical orientation.

    Each voxel takes the nearest packed one; outside the packed grid it is black.
    """
    grids = read_parquet(prepared.folder / "grids.parquet").iloc[[row]]
    packed = prepared.volumes[row][0]
    where = grid.places(affines_of(grids)[0], grids[list(SIDES)].to_numpy()[0], affines_of(prepared.volume_table)[row])
    nearest = [np.round(at).astype(np.int64) for at in where]
    inside = [(at >= 0) & (at < side) for at, side in zip(nearest, packed.shape, strict=True)]
    clipped = [np.clip(at, 0, side - 1) for at, side in zip(nearest, packed.shape, strict=True)]
    values = packed[np.ix_(*clipped)].astype(np.float64)
    low, high = window(prepared, row)
    shown: npt.NDArray[np.uint8] = np.round(np.clip((values - low) / max(high - low, 1e-12), 0, 1) * 255).astype(
        np.uint8
    )
    i, j, k = inside
    shown[~(i[:, None, None] & j[:, None] & k)] = 0
    return shown


def voxel_counts(prepared: Prepared) -> npt.NDArray[np.int64]:
    """Return the voxels of each class of each case as the truth has them, `(cases, classes)`."""
    runs = read_parquet(prepared.folder / "truth.parquet")["runs"]
    counts = np.zeros((len(runs), len(prepared.classes) + 1), np.int64)
    for row, pairs in enumerate(runs):
        np.add.at(counts[row], np.asarray(pairs)[0::2], np.asarray(pairs)[1::2])
    return counts[:, 1:]
