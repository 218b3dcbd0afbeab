"""Packed images on disk while they are made, and what describes their training part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt


@contextmanager
def memory_map(folder: Path, shape: tuple[int, ...]) -> Iterator[npt.NDArray[np.uint8]]:
    """Give a uint8 array on disk that is removed at the end, however it ends."""
    path = folder / ".images.packing.npy"
    try:
        yield np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    finally:
        path.unlink(missing_ok=True)


def channel_moments(
    packed: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return mean and standard deviation of each channel over some images, `(channels,)`, on the scale 0..255."""
    total, squares = np.zeros(packed.shape[1]), np.zeros(packed.shape[1])
    for row in rows:
        image = packed[row].reshape(packed.shape[1], -1).astype(np.float64)
        total += image.sum(axis=1)
        squares += (image**2).sum(axis=1)
    pixels = len(rows) * float(np.prod(packed.shape[2:]))
    mean = total / pixels
    return mean, np.sqrt(np.maximum(squares / pixels - mean**2, 0))
