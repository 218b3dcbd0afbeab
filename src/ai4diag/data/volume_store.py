"""Volumes of different sizes in one flat file, memory-mapped, so that a crop reads only what it shows.

volumes.npy      one dimension, all volumes one after the other, each `(channels, *spatial)` in C order
masks.npy        uint8, class numbers, laid out the same way with one channel; absent where there are none
volumes.parquet  start (first element in volumes.npy), mask_start, channels, side_0, side_1, side_2, affine_00 to
                 affine_23, the first three rows of the matrix from voxel index to millimetres (RAS+) of the packed
                 grid: one line per case, in the order of the index
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pandas as pd

AFFINE = [f"affine_{row}{column}" for row in range(3) for column in range(4)]
SIDES = ("side_0", "side_1", "side_2")


@dataclass(frozen=True)
class VolumeStore:
    """Views of volumes in a flat array.

    Attributes:
        flat: one-dimensional array, usually a read-only memory map.
        start: int64 `(cases,)`, position of the first element of each volume.
        shape: int64 `(cases, 1 + D)`: channels, then sides.
    """

    flat: npt.NDArray[Any]
    start: npt.NDArray[np.int64]
    shape: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, row: int) -> npt.NDArray[Any]:
        """Return the volume of a row, `(channels, *spatial)`, as a view."""
        start, shape = int(self.start[row]), tuple(int(side) for side in self.shape[row])
        return self.flat[start : start + int(np.prod(shape))].reshape(shape)


def volumes_of(flat: npt.NDArray[Any], table: pd.DataFrame) -> VolumeStore:
    """Return the images that `volumes.parquet` describes."""
    return VolumeStore(flat, table["start"].to_numpy(np.int64), table[["channels", *SIDES]].to_numpy(np.int64))


def masks_of(flat: npt.NDArray[np.uint8], table: pd.DataFrame) -> VolumeStore:
    """Return the masks that `volumes.parquet` describes, each `(1, *spatial)`."""
    shape = table[["channels", *SIDES]].to_numpy(np.int64).copy()
    shape[:, 0] = 1
    return VolumeStore(flat, table["mask_start"].to_numpy(np.int64), shape)


def affines_of(table: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return the matrices from voxel index to millimetres, `(cases, 4, 4)`."""
    affines = np.tile(np.eye(4), (len(table), 1, 1))
    affines[:, :3] = table[AFFINE].to_numpy(np.float64).reshape(-1, 3, 4)
    return affines


class VolumeWriter:
    """Arrays of different sizes, written one after the other; see `packing`."""

    def __init__(self, stream: BinaryIO, path: Path, dtype: npt.DTypeLike) -> None:
        self._stream, self._path, self._dtype = stream, path, np.dtype(dtype)
        self._starts: list[int] = []
        self._shapes: list[tuple[int, ...]] = []
        self._length = 0

    def add(self, array: npt.NDArray[Any]) -> None:
        """Append the array of one case, `(channels, *spatial)`; its values must fit the type of the file."""
        self._starts.append(self._length)
        self._shapes.append(array.shape)
        self._length += array.size
        self._stream.write(np.ascontiguousarray(array, self._dtype).tobytes())

    def flat(self) -> npt.NDArray[Any]:
        """Return all that was added as one read-only memory map, valid inside `packing`."""
        self._stream.flush()
        if not self._length:
            return np.empty(0, self._dtype)
        return np.memmap(self._path, self._dtype, mode="r", shape=(self._length,))

    def store(self) -> VolumeStore:
        """Return what was added, case by case."""
        return VolumeStore(self.flat(), np.array(self._starts, np.int64), np.array(self._shapes, np.int64))


@contextmanager
def packing(folder: Path, name: str, dtype: npt.DTypeLike) -> Iterator[VolumeWriter]:
    """Give a writer whose file in `folder` is removed at the end, however it ends.

    Args:
        folder: where the prepared cases go.
        name: `volumes` or `masks`.
        dtype: of the file.
    """
    path = folder / f".{name}.packing"
    try:
        with path.open("wb") as stream:
            yield VolumeWriter(stream, path, dtype)
    finally:
        path.unlink(missing_ok=True)


def volume_table(
    volumes: VolumeStore, affines: npt.NDArray[np.float64], masks: VolumeStore | None = None
) -> pd.DataFrame:
    """Return `volumes.parquet`.

    Args:
        volumes: images as they were packed.
        affines: from voxel index of the packed grid to millimetres (RAS+), `(cases, 4, 4)`.
        masks: their masks; None where there are none.
    """
    table = pd.DataFrame({"start": volumes.start})
    table["mask_start"] = -1 if masks is None else masks.start
    table[["channels", *SIDES]] = volumes.shape
    table[AFFINE] = affines[:, :3].reshape(len(affines), 12)
    return table
