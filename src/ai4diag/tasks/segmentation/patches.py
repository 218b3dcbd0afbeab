"""From packed volumes to the patches of a training step: where they are cut, and how intensities are scaled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from ai4diag.data.prepared import Prepared

Floats = npt.NDArray[np.float32]
Sides = tuple[int, int, int]
PERCENTILES = (0.5, 99.5)
MOST_LOOKED_AT = 1_000_000
"""Voxels of a channel from which percentiles are taken; more are thinned evenly."""


@dataclass(frozen=True)
class Intensities:
    """How intensities become numbers around 0 with spread 1.

    Attributes:
        fixed: float32 `(channels, 4)`: lower and upper limit, mean and spread within them; None: each volume has its
            own.
    """

    fixed: Floats | None = None
    _own: dict[int, Floats] = field(default_factory=dict, repr=False, compare=False)

    def of(self, row: int, volume: npt.NDArray[Any]) -> Floats:
        """Return the four numbers of each channel of a volume `(channels, i, j, k)`; they are kept for the row."""
        if self.fixed is not None:
            return self.fixed
        if row not in self._own:
            self._own[row] = np.array([levels(channel) for channel in volume], np.float32)
        return self._own[row]

    def forget(self) -> None:
        """Forget the volumes that were looked at; other cases will have their row numbers."""
        self._own.clear()


def levels(values: npt.NDArray[Any]) -> tuple[float, float, float, float]:
    """Return the 0.5th and 99.5th percentile of values, and mean and standard deviation of what is cut off at them.

    Values that are all alike have a spread of 1, so that they become 0.
    """
    flat = values.reshape(-1)
    thin = flat[:: max(1, flat.size // MOST_LOOKED_AT)].astype(np.float64)
    low, high = (float(value) for value in np.percentile(thin, PERCENTILES))
    cut = np.clip(thin, low, high)
    spread = float(cut.std())
    return low, high, float(cut.mean()), spread if spread > 1e-6 * max(1.0, abs(low), abs(high)) else 1.0


def scaled(volume: npt.NDArray[Any], four: Floats) -> Floats:
    """Return a volume `(channels, i, j, k)` cut off at the limits, minus the mean, over the spread."""
    result = np.empty(volume.shape, np.float32)
    scale_into(result, volume, four)
    return result


def scale_into(result: Floats, volume: npt.NDArray[Any], four: Floats) -> None:
    """Write `scaled` to a float32 array of the shape of the volume, plane by plane, so that it stays in the cache."""
    for target, channel, (low, high, mean, spread) in zip(result, volume, four, strict=True):
        for plane, source in zip(target, channel, strict=True):
            np.clip(source, low, high, out=plane)
            plane -= mean
            plane /= spread


def foreground_levels(prepared: Prepared, rows: npt.NDArray[np.int64]) -> Floats:
    """Return the four numbers of each channel over the voxels of all classes in some rows, `(channels, 4)`."""
    table = pd.read_parquet(prepared.folder / "foreground.parquet")
    voxels = np.load(prepared.folder / "foreground.npy", mmap_mode="r", allow_pickle=False)
    found: list[npt.NDArray[Any]] = []
    chosen = table[table["case"].isin(rows)]
    for case, start, count in chosen[["case", "start", "count"]].to_numpy(np.int64).tolist():
        i, j, k = np.asarray(voxels[start : start + count]).T
        found.append(prepared.volumes[case][:, i, j, k].astype(np.float32))
    return np.array([levels(channel) for channel in np.concatenate(found, axis=1)], np.float32)


class Cutter:
    """Cuts patches out of packed volumes.

    Args:
        prepared: the cases.
        size: sides of a patch in voxels.
        intensities: how they are scaled; what lies outside a volume becomes 0, the mean.
        foreground: share of patches around a voxel of a class.
    """

    def __init__(self, prepared: Prepared, size: Sides, intensities: Intensities, foreground: float) -> None:
        self.prepared, self.size, self.intensities, self.foreground = prepared, size, intensities, foreground
        self._voxels = np.load(prepared.folder / "foreground.npy", mmap_mode="r", allow_pickle=False)
        table = pd.read_parquet(prepared.folder / "foreground.parquet")
        self._places: Mapping[int, list[tuple[int, int]]] = {
            int(str(case)): [(int(s), int(n)) for s, n in zip(lines["start"], lines["count"], strict=True) if n]
            for case, lines in table.groupby("case")
        }

    def cut(self, rows: Sequence[int], generator: torch.Generator, share: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Return images float32 `(batch, channels, *size)` and masks uint8 `(batch, 1, *size)` of a share of a batch.

        Seven numbers are drawn for each row, whatever is done with them. Where a volume is smaller than the patch, it
        is placed at random in it.
        """
        drawn = torch.rand(len(rows), 7, generator=generator, dtype=torch.float64).numpy()[share]
        rows = rows[share]
        channels = self.prepared.volumes[rows[0]].shape[0]
        images = np.zeros((len(rows), channels, *self.size), np.float32)
        masks = np.zeros((len(rows), 1, *self.size), np.uint8)
        for number, (row, dice) in enumerate(zip(rows, drawn, strict=True)):
            volume, mask = self.prepared.volumes[row], self.prepared.masks[row]
            start = self._start(row, volume.shape[1:], dice)
            inside: list[slice] = []
            into: list[slice] = []
            for first, side, wanted in zip(start, volume.shape[1:], self.size, strict=True):
                low, high = max(first, 0), min(first + wanted, side)
                inside.append(slice(low, high))
                into.append(slice(low - first, high - first))
            four = self.intensities.of(row, volume)
            part = volume[:, inside[0], inside[1], inside[2]]
            scale_into(images[number][:, into[0], into[1], into[2]], part, four)
            masks[number][:, into[0], into[1], into[2]] = mask[:, inside[0], inside[1], inside[2]]
        return torch.from_numpy(images), torch.from_numpy(masks)

    def _start(self, row: int, sides: Sequence[int], dice: npt.NDArray[np.float64]) -> list[int]:
        """Return the first voxel of the patch along each axis; negative where it begins outside."""
        places = self._places.get(row, [])
        centre: Sequence[float] = [float(share * side) for share, side in zip(dice[:3], sides, strict=True)]
        if places and dice[3] < self.foreground:
            start, count = places[int(dice[4] * len(places))]
            centre = np.asarray(self._voxels[start + int(dice[5] * count)], np.float64).tolist()
        found = []
        for axis, (side, wanted) in enumerate(zip(sides, self.size, strict=True)):
            if side <= wanted:
                found.append(-int((dice[axis] * 97 + dice[6]) % 1 * (wanted - side + 1)))
            else:
                found.append(int(np.clip(round(centre[axis] - wanted / 2), 0, side - wanted)))
        return found
