"""The geometry of augmentation: one affine map and one smooth displacement, for images, masks, places and boxes alike.

Axes are array axes, lengths are pixels unless `_mm` is said, and places are counted from the middle of the image or of
the window, with pixel `i` of `n` at `i + 0.5 - n / 2`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ai4diag.tasks.augment.parameters import Parameters

_ROUNDS = 30
"""Steps of the inversion of a displacement; each at least halves the error for the default control points."""


def quarter_turns(turns: Tensor, dimensions: int) -> Tensor:
    """Return exact rotations `(batch, D, D)` by quarter turns int64 `(batch,)` in the plane of the last two axes."""
    cosine, sine = (torch.tensor(values)[turns] for values in ([1.0, 0, -1, 0], [0.0, 1, 0, -1]))
    matrix = torch.eye(dimensions).repeat(len(turns), 1, 1)
    matrix[:, -2, -2], matrix[:, -2, -1] = cosine, -sine
    matrix[:, -1, -2], matrix[:, -1, -1] = sine, cosine
    return matrix


def rotations(radians: Tensor) -> Tensor:
    """Return rotations: `(batch, 1)` in the plane to `(batch, 2, 2)`; `(batch, 3)` about each axis to `(batch, 3, 3)`.

    In space, the rotation about the last axis comes first.
    """
    count = radians.shape[1]
    dimensions = 2 if count == 1 else 3
    matrix = torch.eye(dimensions).repeat(len(radians), 1, 1)
    for axis in range(count):
        first, second = [other for other in range(dimensions) if dimensions == 2 or other != axis]
        turn = torch.eye(dimensions).repeat(len(radians), 1, 1)
        cosine, sine = torch.cos(radians[:, axis]), torch.sin(radians[:, axis])
        turn[:, first, first], turn[:, first, second] = cosine, -sine
        turn[:, second, first], turn[:, second, second] = sine, cosine
        matrix = matrix @ turn
    return matrix


def whole_pixels(offset: Tensor, matrix: Tensor, size: tuple[int, ...], window: tuple[int, ...]) -> Tensor:
    """Return the nearest offsets `(batch, D)` for which mirrored and turned pixels fall on pixels of the window."""
    middle = _middle(window) - (matrix @ _middle(size)[:, None])[..., 0]
    return torch.round(offset + middle) - middle


def _middle(size: tuple[int, ...]) -> Tensor:
    """Return the index `(D,)` of the middle of an image; it lies between two pixels where a side is even."""
    return (torch.tensor(size, dtype=torch.float32) - 1) / 2


def index_maps(parameters: Parameters) -> Tensor:
    """Return float64 `(batch, D, D + 1)`: from indices of pixels of the window to those of the image, shift last."""
    inverse = torch.linalg.inv(parameters.matrix.double())
    start = _middle(parameters.window).double() + parameters.offset.double()
    shift = _middle(parameters.size).double() - (inverse @ start[..., None])[..., 0]
    return torch.cat([inverse, shift[..., None]], -1)


@lru_cache(maxsize=64)
def spline_basis(length: int, knots: int) -> Tensor:
    """Return float32 `(length, knots)`: weights of the control points of a uniform cubic B-spline at pixel centres.

    The control points stand `length / (knots - 3)` pixels apart, the second on the first edge. Rows sum to 1.
    """
    intervals = knots - 3
    place = (torch.arange(length, dtype=torch.float64) + 0.5) * intervals / length
    left = place.floor().clamp(max=intervals - 1)
    return _spline_rows(place - left, left.long(), knots).float()


def _spline_rows(t: Tensor, left: Tensor, knots: int) -> Tensor:
    """Return rows `(n, knots)` with the four weights of a cubic B-spline at `t` after control interval `left`."""
    weights = torch.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], -1) / 6
    rows = torch.zeros(len(t), knots, dtype=t.dtype)
    return rows.scatter_(1, left[:, None] + torch.arange(4), weights)


def spread(control: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return a cubic B-spline field on the pixels of `shape`; control points are on the last axes."""
    knots = control.shape[-len(shape) :]
    bases = [spline_basis(length, count).to(control.device) for length, count in zip(shape, knots, strict=True)]
    return multiply_axes([basis[None] for basis in bases], control)


def multiply_axes(matrices: Sequence[Tensor], values: Tensor) -> Tensor:
    """Multiply the last axes of `values` `(batch, ..., *spatial)` by a matrix each, `(batch or 1, out, in)`.

    Each product takes the first of these axes and leaves it as the last one, so that nothing is copied, and after the
    last product all axes are where they were.
    """
    leading = values.shape[: -len(matrices)]
    spatial = list(values.shape[-len(matrices) :])
    for matrix in matrices:
        count = math.prod(leading)
        flat = values.reshape(count, spatial[0], -1)
        each = matrix.expand(leading[0], -1, -1).repeat_interleave(count // leading[0], 0)
        values = torch.bmm(flat.transpose(1, 2), each.transpose(1, 2))
        spatial = [*spatial[1:], matrix.shape[1]]
    return values.reshape(*leading, *spatial)


def displacement(parameters: Parameters, device: torch.device) -> Tensor | None:
    """Return the displacement of every pixel of the window, `(batch, D, *window)` in pixels, or None."""
    if not parameters.bend.numel() or not parameters.bend.any():
        return None
    return spread(parameters.bend.to(device), parameters.window)


def move_points(points: Tensor, parameters: Parameters) -> Tensor:
    """Return where places of the images come to lie.

    Args:
        points: float32 `(batch, n, D)`, in pixels from the first edge of the image.
        parameters: of the batch.

    Returns:
        The same shape, in pixels from the first edge of the window; a place may lie outside.
    """
    device = points.device
    half, frame = (torch.tensor(size, device=device) / 2 for size in (parameters.size, parameters.window))
    matrix, offset = parameters.matrix.to(device), parameters.offset.to(device)
    with torch.autocast(device.type, enabled=False):  # bfloat16 cannot tell pixel 257 from 258
        moved = (points.float() - half) @ matrix.transpose(1, 2) + offset[:, None] + frame
        if not parameters.bend.numel() or not parameters.bend.any():
            return moved
        bent = moved
        for _ in range(_ROUNDS):  # q + bend(q) = moved has one solution, because the field does not fold
            bent = moved - _displacement_at(bent, parameters)
    return bent


def _displacement_at(points: Tensor, parameters: Parameters) -> Tensor:
    """Return the displacement `(batch, n, D)` at places of the window; beyond its edges, that of the edge."""
    batch, count, dimensions = points.shape
    weights = torch.ones(batch * count, 1, dtype=torch.float64)
    for axis, length in enumerate(parameters.window):
        knots = parameters.bend.shape[2 + axis]
        place = (points[..., axis].reshape(-1).cpu().double() * (knots - 3) / length).clamp(0, knots - 3)
        left = place.floor().clamp(max=knots - 4)
        rows = _spline_rows(place - left, left.long(), knots)
        weights = (weights[:, :, None] * rows[:, None, :]).reshape(batch * count, -1)
    control = parameters.bend.reshape(batch, dimensions, -1).double()
    found = weights.reshape(batch, count, -1) @ control.transpose(1, 2)
    return found.to(points)


def move_boxes(boxes: Tensor, parameters: Parameters) -> Tensor:
    """Return the smallest boxes around the moved boxes, not cut at the window.

    Args:
        boxes: float32 `(batch, n, 2 * D)`, minima first, pixels of the image with continuous edges.
        parameters: of the batch.

    Without elastic displacement they are exact for boxes, and larger than what stands in them needs after a rotation
    that is no quarter turn. With it, they hold the moved corners and middles of the faces.
    """
    if not parameters.bend.numel() or not parameters.bend.any():
        matrix, offset = parameters.matrix.to(boxes.device), parameters.offset.to(boxes.device)
        with torch.autocast(boxes.device.type, enabled=False):
            return map_boxes(boxes, matrix, offset, parameters.size, parameters.window)
    dimensions = boxes.shape[-1] // 2
    batch, count = boxes.shape[:2]
    low, high = boxes[..., :dimensions], boxes[..., dimensions:]
    steps = product((0.0, 0.5, 1.0), repeat=dimensions)
    shares = torch.tensor([step for step in steps if step.count(0.5) in (0, dimensions - 1)], device=boxes.device)
    places = low[:, :, None] + (high - low)[:, :, None] * shares
    moved = move_points(places.reshape(batch, -1, dimensions), parameters).reshape(batch, count, -1, dimensions)
    return torch.cat([moved.amin(2), moved.amax(2)], -1)


def map_boxes(
    boxes: Tensor, matrix: Tensor, offset: Tensor, size: Sequence[int] | Tensor, window: Sequence[int]
) -> Tensor:
    """Return the smallest boxes around boxes that an affine map moves; see `Parameters` for the map.

    `size` is that of all images, or of each, `(batch, D)`.
    """
    dimensions, device = boxes.shape[-1] // 2, boxes.device
    sides = size[:, None] if isinstance(size, Tensor) else torch.tensor(list(size))
    middle = sides.to(device, torch.float32) / 2
    frame = torch.tensor(window, dtype=torch.float32, device=device) / 2
    low, high = boxes[..., :dimensions], boxes[..., dimensions:]
    centres = ((high + low) / 2 - middle) @ matrix.transpose(1, 2) + offset[:, None] + frame
    halves = (high - low) / 2 @ matrix.abs().transpose(1, 2)
    return torch.cat([centres - halves, centres + halves], -1)
