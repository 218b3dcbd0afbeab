"""Packed images on disk while they are made, and what describes their training part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

BLOCK_BYTES = 1 << 24
"""Bytes of images that are summed at once."""


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
    """Return mean and standard deviation of each channel over some images, `(channels,)`, on the scale 0..255.

    The sums are whole numbers, so that their order does not matter.
    """
    channels, at_once = packed.shape[1], max(1, BLOCK_BYTES // max(int(np.prod(packed.shape[1:])), 1))
    total, squares = np.zeros(channels, np.uint64), np.zeros(channels, np.uint64)
    for start in range(0, len(rows), at_once):
        block = packed[rows[start : start + at_once]].reshape(-1, channels, int(np.prod(packed.shape[2:])))
        total += block.sum(axis=(0, 2), dtype=np.uint64)
        squares += np.square(block, dtype=np.uint16).sum(axis=(0, 2), dtype=np.uint64)  # 255 squared just fits
    pixels = len(rows) * float(np.prod(packed.shape[2:]))
    mean = total / pixels
    return mean, np.sqrt(np.maximum(squares / pixels - mean**2, 0))
