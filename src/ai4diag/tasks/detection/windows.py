"""Training windows of volumes: each is cut from its volume and resampled once, so that no volume is read whole.

What happens to a window is drawn by `ai4diag.tasks.detection.augment.draw`, with the size of each volume of its own.
Only the box of voxels that the window looks at is taken from the store; the result is the same as if the whole volume
had been resampled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ai4diag.tasks.detection.augment import Parameters, draw, intensities, move_boxes, resample
from ai4diag.tasks.detection.boxes import Truth, centres_of

INNER = 0.7
"""Share of a window, along each axis, in which the middle of the box lies that it was placed around."""


def volume_batch(
    volumes: Sequence[npt.NDArray[np.uint8]],
    truth: Truth,
    names: Sequence[str],
    window: tuple[int, ...],
    near_boxes: float,
    fill: Tensor,
    generator: torch.Generator,
    share: slice = slice(None),
) -> tuple[Tensor, Truth]:
    """Return one augmented batch of windows, or a share of it.

    Args:
        volumes: uint8, each `(channels, *spatial)` of its own size, usually views of a memory map.
        truth: their boxes in voxels, on the device of the result.
        names: augmentations, of `augment.KINDS`.
        window: size of the result in voxels.
        near_boxes: share of the windows that are placed around a box, where the volume is larger than the window.
        fill: `(channels,)`, what stands outside a volume, on the scale 0 to 255.
        generator: CPU generator; it advances by the same amount whatever `names` holds.
        share: the part of the batch that is wanted; it is what it would be in the whole.

    Returns:
        float32 `(batch, channels, *window)` on the scale 0 to 255, and the boxes in it, cut off at the window.
    """
    sides = torch.tensor([volume.shape[1:] for volume in volumes], dtype=torch.float32)
    parameters = draw(names, len(volumes), len(volumes[0]), sides, window, generator)
    parameters = towards_boxes(parameters, sides, truth, near_boxes, generator)[share]
    volumes, truth, sides = volumes[share], truth[torch.arange(len(sides))[share]], sides[share]
    device = truth.boxes.device
    with torch.autocast(device.type, enabled=False):
        cut = [
            _window(volume, parameters.matrix[number], parameters.offset[number], window, fill.to(device))
            for number, volume in enumerate(volumes)
        ]
        matrix, offset = parameters.matrix.to(device), parameters.offset.to(device)
        return intensities(torch.cat(cut), parameters), move_boxes(truth, sides, matrix, offset, window)


def towards_boxes(
    parameters: Parameters, sides: Tensor, truth: Truth, share: float, generator: torch.Generator
) -> Parameters:
    """Move a share of the windows so that they hold the middle of a box, drawn among the boxes of their volume.

    Only along axes on which the volume is larger than the window; the window stays inside the volume there.

    Args:
        parameters: as drawn.
        sides: of the volumes in voxels, `(batch, D)`, on the CPU.
        truth: their boxes.
        share: of the windows.
        generator: CPU generator.
    """
    batch, dimensions = sides.shape
    chance = torch.rand(batch, generator=generator)
    number = torch.rand(batch, generator=generator)
    place = torch.rand(batch, dimensions, generator=generator) * 2 - 1
    wanted = truth.wanted.cpu()
    count = wanted.sum(1)
    order = torch.argsort(wanted.int(), dim=1, descending=True, stable=True)
    chosen = order.gather(1, (number * count).long()[:, None])[:, 0]
    centres = centres_of(truth.boxes.cpu())[torch.arange(batch), chosen]
    with torch.autocast("cpu", enabled=False):
        turned = (parameters.matrix @ (centres - sides / 2)[..., None])[..., 0]
        reach = (parameters.matrix.abs() @ sides[..., None])[..., 0] / 2
    half = torch.tensor(parameters.window, dtype=torch.float32) / 2
    room = (reach - half).clamp(min=0)
    near = torch.maximum(torch.minimum(place * half * INNER - turned, room), -room)
    use = ((count > 0) & (chance < share))[:, None] & (room > 0)
    return replace(parameters, offset=torch.where(use, near, parameters.offset))


def _window(volume: npt.NDArray[Any], matrix: Tensor, offset: Tensor, window: tuple[int, ...], fill: Tensor) -> Tensor:
    """Return what a window sees of a volume, float32 `(1, channels, *window)`."""
    sides = np.asarray(volume.shape[1:], np.float64)
    inverse = torch.linalg.inv(matrix.double()).numpy()
    middle = inverse @ -offset.double().numpy() + sides / 2
    reach = np.abs(inverse) @ (np.asarray(window) / 2)
    low = np.clip(np.floor(middle - reach) - 1, 0, sides - 1).astype(int)
    high = np.clip(np.ceil(middle + reach) + 1, low + 1, sides).astype(int)
    piece = volume[:, *(slice(first, last) for first, last in zip(low, high, strict=True))]
    held = torch.from_numpy(np.array(piece)).to(fill.device)[None]
    shift = torch.from_numpy((sides - low - high) / 2).float().to(fill.device)
    matrix, offset = matrix[None].to(fill.device), offset[None].to(fill.device)
    return resample(held, matrix, offset, window, fill, shift)


@dataclass(frozen=True)
class Piece:
    """A window of a volume that is predicted.

    Attributes:
        low, high: first voxel of each axis, and the one after the last.
        core: `(2, D)`, lowest and highest middle of boxes that this window answers about; infinite at the border.
    """

    low: tuple[int, ...]
    high: tuple[int, ...]
    core: npt.NDArray[np.float64]

    @property
    def size(self) -> tuple[int, ...]:
        """Sides in voxels."""
        return tuple(last - first for first, last in zip(self.low, self.high, strict=True))

    def of(self, volume: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return what the window shows of a volume `(channels, *spatial)`."""
        return volume[:, *(slice(first, last) for first, last in zip(self.low, self.high, strict=True))]


def pieces_of(sides: Sequence[int], window: Sequence[int]) -> list[Piece]:
    """Return windows that cover a volume.

    Windows overlap by at least a quarter and lie evenly; along an axis on which the volume fits there is one. The
    middle of an overlap divides who answers, so that an object of up to half the overlap is seen whole by its window.

    >>> [(piece.low, piece.high) for piece in pieces_of((10, 6), (8, 8))]
    [((0, 0), (8, 6)), ((2, 0), (10, 6))]
    """
    axes = []
    for side, length in zip(sides, window, strict=True):
        count = 1 if side <= length else math.ceil((side - length) / (length - length // 4)) + 1
        starts = [round(number * (side - length) / (count - 1)) for number in range(count)] if count > 1 else [0]
        ends = [min(start + length, side) for start in starts]
        lines = [(after + end) / 2 for after, end in zip(starts[1:], ends[:-1], strict=True)]
        axes.append(list(zip(starts, ends, [-math.inf, *lines], [*lines, math.inf], strict=True)))
    found = []
    for place in product(*axes):
        low, high, first, last = zip(*place, strict=True)
        found.append(Piece(low, high, np.array([first, last])))
    return found
