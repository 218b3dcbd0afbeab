"""Prediction of an image that is too large for one pass: overlapping windows, weighted towards their middle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor

SIGMA = 0.125
"""Standard deviation of the weight, in sides of the window (as nnU-Net and MONAI have it)."""
LEAST_WEIGHT = 1e-3


def starts(side: int, window: int, overlap: float) -> list[int]:
    """Return the first voxels of the windows along an axis: as few as give at least this overlap, evenly spread.

    >>> starts(100, 40, 0.5), starts(40, 40, 0.5)
    ([0, 20, 40, 60], [0])
    """
    if side <= window:
        return [0]
    step = max(1, int(window * (1 - overlap)))
    count = -(-(side - window) // step)
    return [round(number * (side - window) / count) for number in range(count + 1)]


def weights(window: Sequence[int]) -> Tensor:
    """Return a Gaussian around the middle of a window, at most 1 and at least `LEAST_WEIGHT`, float32 `(*window)`."""
    result = torch.ones(())
    for side in window:
        away = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
        result = result[..., None] * torch.exp(-0.5 * (away / (SIGMA * side)) ** 2)
    return result.clamp(min=LEAST_WEIGHT)


def slide(
    image: Tensor, window: Sequence[int], overlap: float, forward: Callable[[Tensor], Tensor], at_once: int
) -> Tensor:
    """Return the weighted mean of what `forward` says about each window.

    Args:
        image: `(channels, *spatial)`, no side below that of the window.
        window: sides of the windows.
        overlap: share by which neighbouring windows overlap at least.
        forward: from `(batch, channels, *window)` to `(batch, classes, *window)`.
        at_once: windows in one call.

    Returns:
        `(classes, *spatial)`, on the device of the image.
    """
    weight = weights(window).to(image.device)
    corners = list(product(*(starts(side, part, overlap) for side, part in zip(image.shape[1:], window, strict=True))))
    total, sums = torch.zeros(0, device=image.device), torch.zeros(image.shape[1:], device=image.device)
    for first in range(0, len(corners), at_once):
        boxes = [
            tuple(slice(low, low + side) for low, side in zip(corner, window, strict=True))
            for corner in corners[first : first + at_once]
        ]
        answers = forward(torch.stack([image[(slice(None), *box)] for box in boxes]))
        if not total.numel():
            total = torch.zeros((answers.shape[1], *image.shape[1:]), device=image.device)
        for box, found in zip(boxes, answers, strict=True):
            total[(slice(None), *box)] += found * weight
            sums[box] += weight
    return total / sums
