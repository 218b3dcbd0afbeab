"""What happens to a batch, drawn before anything is done.

A batch takes exactly one number from the generator of the training; all others come from a generator of its own that
starts there. So the order of cases is the same whatever is switched on, and switching one change on leaves what is
drawn for the others as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from ai4diag.tasks.augment.changes import Plan
from ai4diag.tasks.augment.geometry import quarter_turns, rotations, whole_pixels

KNOTS = 5
"""Most intervals between control points of the elastic displacement along the longest side of the window."""
UNFOLDED = 2.5
"""Least distance of control points in units of the amount. Below 2.48 (2D: 2.05), a cubic B-spline field could fold
(Choi and Lee, Injectivity conditions of 2D and 3D uniform cubic B-spline functions, Graphical Models 62, 2000)."""
BIAS_KNOTS = 3
"""Intervals between control points of the bias field along each axis."""


@dataclass(frozen=True)
class Parameters:
    """What was drawn for a batch. Tensors are float32 on the CPU unless said otherwise; D is 2 or 3.

    Pixels are counted from the middle of the image, or of the window. A place `p` of the image comes to the place
    `q` of the window with `q + bend(q) = matrix @ p + offset`.

    Attributes:
        size, window: of the images and of the result, in pixels.
        spacing_mm: length of a pixel along each axis, the same in image and window.
        matrix: `(batch, D, D)`.
        offset: `(batch, D)`, pixels of the window.
        bend: `(batch, D, *knots)`, pixels: control points of a cubic B-spline field over the window; no knots: none.
        gamma, gain: `(batch, channels)`: exponent and factor.
        contrast, brightness, noise: `(batch,)`: factor, shares of full scale added, standard deviation.
        blur: `(batch,)` standard deviation in mm.
        resolution: `(batch,)` length of the coarser pixels in pixels, 1 for none.
        bias: `(batch, *knots)` control points of the logarithm of a field.
        seed: int64 `(batch,)` of the noise.
    """

    size: tuple[int, ...]
    window: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    matrix: Tensor
    offset: Tensor
    bend: Tensor
    gamma: Tensor
    gain: Tensor
    contrast: Tensor
    brightness: Tensor
    noise: Tensor
    blur: Tensor
    resolution: Tensor
    bias: Tensor
    seed: Tensor

    def __getitem__(self, rows: Tensor) -> Parameters:
        """Return the parameters of some cases; `rows` int64 or bool on the CPU."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        chosen: dict[str, Any] = {name: value[rows] for name, value in values.items() if torch.is_tensor(value)}
        return replace(self, **chosen)


def draw(
    changes: Plan,
    batch: int,
    channels: int,
    size: tuple[int, ...],
    window: tuple[int, ...],
    spacing_mm: tuple[float, ...] | None,
    generator: torch.Generator,
) -> Parameters:
    """Draw the parameters of a batch; what `changes` does not hold stays at the identity.

    Args:
        changes: what is on, from `plan`.
        batch, channels: size of the batch.
        size: of the images in pixels.
        window: size in pixels of what the network will see.
        spacing_mm: length of a pixel along each axis; None: 1, and lengths are in pixels.
        generator: CPU generator. It advances by the same amount whatever is on.

    Without rotation, zoom, stretch and elastic displacement, shifts are whole pixels, so that nothing is blurred.
    """
    dimensions, dice = len(size), _Dice(changes, batch, generator)
    spacing = tuple(map(float, spacing_mm or (1.0,) * dimensions))
    seed = torch.randint(2**62, (batch,), generator=dice.source)
    matrix = _matrix(dice, dimensions, spacing)
    side, reach = torch.tensor(window, dtype=torch.float32), matrix.abs() @ torch.tensor(size, dtype=torch.float32)
    offset = dice.within("shift", dimensions) * side + dice.within("crop", dimensions) * (reach - side).abs() / 2
    if not changes.resamples:
        offset = whole_pixels(offset, matrix, size, window)
    return Parameters(
        size=tuple(size),
        window=tuple(window),
        spacing_mm=spacing,
        matrix=matrix,
        offset=offset,
        gamma=torch.exp(dice.within("gamma", 1)).repeat(1, channels),
        gain=torch.exp(dice.within("gain", channels)),
        contrast=torch.exp(dice.within("contrast", 1)[:, 0]),
        brightness=dice.within("brightness", 1)[:, 0],
        blur=dice.within("blur", 1)[:, 0].abs(),
        resolution=1 + dice.share("resolution", 1)[:, 0].abs() * (float(dice.amount("resolution")) - 1),
        noise=dice.within("noise", 1)[:, 0].abs(),
        bias=dice.within("bias", *[BIAS_KNOTS + 3] * dimensions),
        bend=_bend(dice, tuple(window), spacing),
        seed=seed,
    )


class _Dice:
    """The numbers of one batch, kind by kind."""

    def __init__(self, changes: Plan, batch: int, generator: torch.Generator) -> None:
        self.changes, self.batch = changes, batch
        self.source = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=generator)))

    def amount(self, name: str) -> Tensor:
        """Return the amount `(1,)`, or `(D,)` where it differs between axes; 1 where the kind is off."""
        return torch.tensor(self.changes.amounts.get(name, (1.0,)))

    def happens(self, name: str) -> Tensor:
        """Return bool `(batch,)`: which images are changed."""
        return torch.rand(self.batch, generator=self.source) < self.changes.chances.get(name, 0.0)

    def share(self, name: str, *shape: int) -> Tensor:
        """Return `(batch, *shape)` between -1 and 1; 0 for images that are not changed."""
        happens = self.happens(name).reshape(-1, *[1] * len(shape))
        return (torch.rand(self.batch, *shape, generator=self.source) * 2 - 1) * happens

    def within(self, name: str, *shape: int) -> Tensor:
        """Return `(batch, *shape)` between minus and plus the amount."""
        return self.share(name, *shape) * self.amount(name)


def _matrix(dice: _Dice, dimensions: int, spacing: tuple[float, ...]) -> Tensor:
    """Return flip, zoom and stretch, then rotation in millimetres, as `(batch, D, D)` in pixels."""
    chosen = torch.rand(dice.batch, dimensions, generator=dice.source) < dice.amount("flip")
    signs = 1 - 2 * (chosen & dice.happens("flip")[:, None]).float()
    choice = torch.rand(dice.batch, generator=dice.source) * (dice.amount("turn") + 1)
    turns = choice.long() * dice.happens("turn")
    radians = dice.within("rotate", 1 if dimensions == 2 else 3) * (math.pi / 180)
    zoom = torch.exp(dice.share("zoom", 1) * torch.log(dice.amount("zoom")))
    stretch = torch.exp(dice.within("stretch", dimensions))
    length = torch.tensor(spacing)
    turn = quarter_turns(turns, dimensions) @ rotations(radians)
    return turn * (length / length[:, None]) * (signs * zoom * stretch)[:, None, :]


def _bend(dice: _Dice, window: tuple[int, ...], spacing: tuple[float, ...]) -> Tensor:
    """Return control points in pixels that stand far enough apart for their displacement."""
    if "elastic" not in dice.changes:
        return torch.zeros(dice.batch, len(window), *[0] * len(window))
    sides = [pixels * length for pixels, length in zip(window, spacing, strict=True)]
    amount = min(float(dice.amount("elastic")), min(sides) / UNFOLDED)
    apart = max(max(sides) / KNOTS, amount * UNFOLDED)
    counts = [max(int(side / apart), 1) for side in sides]
    places = dice.share("elastic", len(window), *[count + 3 for count in counts]) * amount
    return places / torch.tensor(spacing).reshape(-1, *[1] * len(window))
