"""One lookup of every pixel of the window: torch on any device, compiled loops for volumes on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ai4diag.tasks.augment.geometry import displacement, index_maps
from ai4diag.tasks.augment.parameters import Parameters

Engine = Literal["torch", "compiled"]
_NEAR = 1e-6
"""How near to a whole number of pixels a map counts as one that only changes the places of pixels."""


@dataclass(frozen=True)
class Lookup:
    """Where the pixels of the window come from.

    Attributes:
        maps: float64 `(batch, D, D + 1)` on the CPU, see `geometry.index_maps`.
        bend: `(batch, D, *window)` displacement on the device, or None.
        size, window: of source and result.
    """

    maps: Tensor
    bend: Tensor | None
    size: tuple[int, ...]
    window: tuple[int, ...]

    @classmethod
    def of(cls, parameters: Parameters, device: torch.device) -> Lookup:
        """Return the lookup that drawn parameters stand for."""
        bend = displacement(parameters, device)
        return cls(index_maps(parameters), bend, parameters.size, parameters.window)

    @property
    def is_identity(self) -> bool:
        """Whether every pixel of the window is the same pixel of the image."""
        same = torch.eye(len(self.size), len(self.size) + 1, dtype=torch.float64)
        return self.bend is None and self.size == self.window and bool((self.maps == same).all())

    def grid(self, device: torch.device) -> Tensor:
        """Return the places for `grid_sample`, float32 `(batch, *window, D)`, last axis first."""
        dimensions = len(self.window)
        sides = torch.tensor(self.size, dtype=torch.float64)
        scale = 2 / sides  # index i of n is at (2 i + 1) / n - 1
        maps = self.maps * scale[:, None]
        maps[..., -1] += 1 / sides - 1
        maps = maps.flip(1).float().to(device)
        axes = [torch.arange(length, dtype=torch.float32, device=device) for length in self.window]
        if self.bend is None:
            planes = maps[:, :, -1].reshape(-1, dimensions, *[1] * dimensions)
            for axis, places in enumerate(axes):
                shape = [1] * dimensions
                shape[axis] = len(places)
                planes = planes + (maps[:, :, axis, None] * places).reshape(-1, dimensions, *shape)
        else:
            moved = torch.stack(torch.meshgrid(*axes, indexing="ij")) + self.bend
            planes = (maps[:, :, :-1] @ moved.flatten(2) + maps[:, :, -1:]).reshape(moved.shape)
        return planes.movedim(1, -1)  # torch reads whole planes of places faster than pairs


def resample(
    images: Tensor,
    lookup: Lookup,
    fill: Tensor,
    mode: Literal["linear", "nearest"] = "linear",
    engine: Engine | None = None,
) -> Tensor:
    """Look up every pixel of the window.

    Args:
        images: `(batch, channels, *size)`; uint8 or float32 for `linear`, any number for `nearest`.
        lookup: where pixels come from.
        fill: `(channels,)` or `(batch, channels)`, what stands outside; edges are blended with it.
        mode: `linear` between the 2 ** D neighbours, or the `nearest` of them.
        engine: None: compiled for volumes on a CPU, else torch. They agree to 1e-3 pixels' worth of difference.

    Returns:
        `(batch, channels, *window)`, float32 for `linear`, else of the type of the images.
    """
    level = fill.to(images.device).expand(images.shape[:2])
    if (engine or ("compiled" if images.ndim == 5 and images.device.type == "cpu" else "torch")) == "torch":
        return _with_torch(images, lookup, level, mode)
    result = torch.empty((*images.shape[:2], *lookup.window), dtype=torch.float32 if mode == "linear" else images.dtype)
    work: list[tuple[int, int, int]] = []
    threads = torch.get_num_threads()
    for case in range(len(images)):
        if lookup.bend is None and (order := _reordering(lookup.maps[case])) is not None:
            _reorder(images[case], *order, level[case], result[case])
        else:
            edges = [lookup.window[0] * part // threads for part in range(threads + 1)]
            work += [(case, start, stop) for start, stop in pairwise(edges) if stop > start]
    if work:
        _run_compiled(images, lookup, level, mode, result, work, threads)
    return result


def _with_torch(images: Tensor, lookup: Lookup, level: Tensor, mode: str) -> Tensor:
    source, above = images.float(), bool(level.any())
    level = level.float().reshape(*images.shape[:2], *[1] * len(lookup.window))
    if above:
        source = source.sub_(level) if images.dtype == torch.uint8 else source - level
    method = "nearest" if mode == "nearest" else "bilinear"  # of volumes, torch calls the linear one so as well
    found = F.grid_sample(source, lookup.grid(images.device), mode=method, align_corners=False)
    if above:
        found += level
    return found if mode == "linear" or images.is_floating_point() else found.round_().to(images.dtype)


def _run_compiled(
    images: Tensor,
    lookup: Lookup,
    level: Tensor,
    mode: str,
    result: Tensor,
    work: list[tuple[int, int, int]],
    threads: int,
) -> None:
    """Fill the parts of the result that `work` names: case, first and last row along the first axis."""
    from ai4diag.tasks.augment import kernels

    kernel: Callable[..., None] = kernels.linear if mode == "linear" else kernels.nearest
    source = images.contiguous().numpy()
    target, maps = result.numpy(), lookup.maps.float().numpy()
    bend = (torch.zeros(len(images), 3, 0, 0, 0) if lookup.bend is None else lookup.bend.contiguous()).numpy()
    levels = level.to(result.dtype).contiguous().numpy()

    def fill(part: tuple[int, int, int]) -> None:
        case, start, stop = part
        kernel(source[case], maps[case], bend[case], levels[case], target[case], start, stop)

    if threads == 1:
        for part in work:
            fill(part)
    else:
        list(_pool(threads).map(fill, work))


@lru_cache(maxsize=4)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Return the threads that share a batch; they live as long as the program."""
    return ThreadPoolExecutor(threads, thread_name_prefix="augment")


Order = tuple[list[int], list[int], list[int]]


def _reordering(index_map: Tensor) -> Order | None:
    """Return source axis, sign and shift of each axis of the window if pixels only change their places, else None."""
    matrix, shift = index_map[:, :-1], index_map[:, -1]
    signs = matrix.round()
    whole = bool((matrix - signs).abs().max() < _NEAR) and bool((shift - shift.round()).abs().max() < _NEAR)
    if not whole or not bool((signs.abs().sum(0) == 1).all() and (signs.abs().sum(1) == 1).all()):
        return None
    axes = signs.abs().argmax(0)
    return (
        axes.tolist(),
        [int(signs[axis, place]) for place, axis in enumerate(axes)],
        [int(shift[axis].round()) for axis in axes],
    )


def _reorder(
    image: Tensor, axes: list[int], signs: list[int], shifts: list[int], level: Tensor, result: Tensor
) -> None:
    """Copy pixels to their new places; index `i` of the window along an axis comes from `sign * i + shift`."""
    flipped, source, target = [], [slice(None)] * image.ndim, [slice(None)]
    for place, (axis, sign, shift) in enumerate(zip(axes, signs, shifts, strict=True)):
        length, wanted = image.shape[1 + axis], result.shape[1 + place]
        low, high = (max(0, -shift), min(wanted, length - shift))
        if sign < 0:
            low, high = max(0, shift - length + 1), min(wanted, shift + 1)
            flipped.append(1 + place)
        high = max(low, high)
        ends = sorted((sign * low + shift, sign * (high - 1) + shift))
        source[1 + axis] = slice(ends[0], ends[1] + 1) if high > low else slice(0, 0)
        target.append(slice(low, high))
    piece = image[tuple(source)].permute(0, *[1 + axis for axis in axes])
    inner = result[tuple(target)]
    if inner.numel() < result.numel():
        result.copy_(level.reshape(-1, *[1] * len(axes)).expand_as(result))
    np.copyto(inner.numpy(), np.flip(piece.numpy(), tuple(flipped)))  # numpy mirrors without a copy; torch cannot
