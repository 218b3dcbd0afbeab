"""From packed volumes to the patches of a training step: where they are cut, and how intensities are scaled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ai4diag.data.prepared import Prepared
from ai4diag.files import read_parquet
from ai4diag.tasks.augment import AS_IT_IS, TYPES, Block, Moves

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
    table = read_parquet(prepared.folder / "foreground.parquet")
    voxels = np.load(prepared.folder / "foreground.npy", mmap_mode="r", allow_pickle=False)
    found: list[npt.NDArray[Any]] = []
    chosen = table[table["case"].isin(rows)]
    for case, start, count in chosen[["case", "start", "count"]].to_numpy(np.int64).tolist():
        i, j, k = np.asarray(voxels[start : start + count]).T
        found.append(prepared.volumes[case][:, i, j, k].astype(np.float32))
    return np.array([levels(channel) for channel in np.concatenate(found, axis=1)], np.float32)


@dataclass(frozen=True)
class Place:
    """Where a patch lies.

    Attributes:
        row: of the prepared index.
        start: first voxel along each axis; negative where the patch begins outside the volume.
        sides: of the volume in voxels.
    """

    row: int
    start: Sides
    sides: tuple[int, ...]

    def is_inside(self, size: Sides) -> bool:
        """Whether a patch of this size lies in the volume as a whole."""
        ends = zip(self.start, size, self.sides, strict=True)
        return all(first >= 0 and first + wanted <= side for first, wanted, side in ends)

    def slices(self, size: Sides) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Return the part of volume `(channels, i, j, k)` that the patch shows, and where it stands in the patch."""
        inside, into = [slice(None)], [slice(None)]
        for first, side, wanted in zip(self.start, self.sides, size, strict=True):
            low, high = max(first, 0), min(first + wanted, side)
            inside.append(slice(low, high))
            into.append(slice(low - first, high - first))
        return tuple(inside), tuple(into)


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
        table = read_parquet(prepared.folder / "foreground.parquet")
        self._places: Mapping[int, list[tuple[int, int]]] = {
            int(str(case)): [(int(s), int(n)) for s, n in zip(lines["start"], lines["count"], strict=True) if n]
            for case, lines in table.groupby("case")
        }

    def cut(self, rows: Sequence[int], generator: torch.Generator, share: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Return what `fill` gives for `places`."""
        return self.fill(self.places(rows, generator, share))

    def places(self, rows: Sequence[int], generator: torch.Generator, share: slice = slice(None)) -> list[Place]:
        """Draw where the patches of a share of a batch lie.

        Seven numbers are drawn for each row, whatever is done with them. Where a volume is smaller than the patch, it
        is placed at random in it.
        """
        drawn = torch.rand(len(rows), 7, generator=generator, dtype=torch.float64).numpy()[share]
        found = []
        for row, dice in zip(rows[share], drawn, strict=True):
            sides = self.prepared.volumes[row].shape[1:]
            found.append(Place(row, self._start(row, sides, dice), sides))
        return found

    def fill(self, places: Sequence[Place]) -> tuple[Tensor, Tensor]:
        """Return images float32 `(batch, channels, *size)` and masks uint8 `(batch, 1, *size)`."""
        channels = self.prepared.volumes[places[0].row].shape[0]
        images = np.zeros((len(places), channels, *self.size), np.float32)
        masks = np.zeros((len(places), 1, *self.size), np.uint8)
        for image, target, place in zip(images, masks, places, strict=True):
            volume, mask = self.prepared.volumes[place.row], self.prepared.masks[place.row]
            four = self.intensities.of(place.row, volume)
            inside, into = place.slices(self.size)
            scale_into(image[into], volume[inside], four)
            target[into] = mask[inside]
        return torch.from_numpy(images), torch.from_numpy(masks)

    def moved(self, places: Sequence[Place], moves: Moves) -> tuple[Tensor, Tensor]:
        """Return what `apply` makes of `fill` and the parameters of the moves, in one pass where it can be done."""
        blocks, masks = [], []
        for place in places:
            volume, mask = (np.asarray(store[place.row]) for store in (self.prepared.volumes, self.prepared.masks))
            start, four = place.start, self.intensities.of(place.row, volume)
            if not place.is_inside(self.size) or volume.dtype.name not in TYPES:
                image, label = self.fill([place])
                volume, mask, start = image[0].numpy(), label[0].numpy(), (0, 0, 0)
                four = np.tile(AS_IT_IS, (len(volume), 1))
            blocks.append(Block(volume, start, four))
            masks.append(mask)
        return moves.images(blocks), moves.masks(masks, [block.start for block in blocks])

    def _start(self, row: int, sides: Sequence[int], dice: npt.NDArray[np.float64]) -> Sides:
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
        return found[0], found[1], found[2]
