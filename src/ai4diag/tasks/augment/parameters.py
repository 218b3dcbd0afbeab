"""What happens to a batch, drawn before anything is done.

A batch takes exactly one number from the generator of the training; all others come from generators of its own that
start there. So the order of cases is the same whatever is switched on, and switching one change on leaves what is
drawn for the others as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from ai4diag.tasks.augment.changes import KINDS, Plan
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
        bias: `(batch, *knots)` control points of the logarithm of a field; no knots: none.
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

    def __getitem__(self, rows: Tensor | slice) -> Parameters:
        """Return the parameters of some cases; `rows` int64 or bool on the CPU, or a slice."""
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
    dimensions, spacing = len(size), tuple(map(float, spacing_mm or (1.0,) * len(size)))
    dice = _Dice(changes, batch, channels, dimensions, generator)
    matrix = _matrix(dice, dimensions, spacing)
    offset = torch.zeros(batch, dimensions)
    if "shift" in changes or "crop" in changes:
        side, length = torch.tensor(window, dtype=torch.float32), torch.tensor(size, dtype=torch.float32)
        room = (matrix.abs() @ length - side).abs() / 2
        offset = dice.within("shift", dimensions) * side + dice.within("crop", dimensions) * room
    if not changes.resamples:
        offset = whole_pixels(offset, matrix, size, window)
    bias = dice.field("bias", *[BIAS_KNOTS + 3] * dimensions)
    return Parameters(
        size=tuple(size),
        window=tuple(window),
        spacing_mm=spacing,
        matrix=matrix,
        offset=offset,
        gamma=torch.exp(dice.within("gamma")).repeat(1, channels),
        gain=torch.exp(dice.within("gain", channels)),
        contrast=torch.exp(dice.within("contrast")[:, 0]),
        brightness=dice.within("brightness")[:, 0],
        blur=dice.within("blur")[:, 0].abs(),
        resolution=1 + dice.share("resolution")[:, 0].abs() * (changes.amounts.get("resolution", (1.0,))[0] - 1),
        noise=dice.within("noise")[:, 0].abs(),
        bias=bias * changes.amounts["bias"][0] if "bias" in changes else bias,
        bend=_bend(dice, tuple(window), spacing),
        seed=dice.seed,
    )


class _Dice:
    """The numbers of one batch: a row for each image, of which every kind always takes the same columns."""

    def __init__(self, changes: Plan, batch: int, channels: int, dimensions: int, generator: torch.Generator) -> None:
        self.changes, self.batch = changes, batch
        self.source = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=generator)))
        self.seed = torch.randint(2**62, (batch,), generator=self.source)
        self.table = torch.rand(batch, len(KINDS) * (1 + max(dimensions, channels)), generator=self.source)
        self.fields = int(torch.randint(2**62, (), generator=self.source))
        self.width = 1 + max(dimensions, channels)

    def numbers(self, name: str, count: int) -> tuple[Tensor, Tensor]:
        """Return `(batch, count)` between 0 and 1, and bool `(batch, 1)`: which images are changed."""
        start = list(KINDS).index(name) * self.width
        block = self.table[:, start : start + 1 + count]
        return block[:, 1:], block[:, :1] < self.changes.chances[name]

    def amount(self, name: str) -> Tensor:
        """Return the amount `(1,)`, or `(D,)` where it differs between axes."""
        return torch.tensor(self.changes.amounts[name])

    def share(self, name: str, count: int = 1) -> Tensor:
        """Return `(batch, count)` between -1 and 1; 0 for images that are not changed."""
        if name not in self.changes:
            return torch.zeros(self.batch, count)
        numbers, happens = self.numbers(name, count)
        return (numbers * 2 - 1) * happens

    def within(self, name: str, count: int = 1) -> Tensor:
        """Return `(batch, count)` between minus and plus the amount."""
        share = self.share(name, count)
        return share * self.amount(name) if name in self.changes else share

    def field(self, name: str, *shape: int) -> Tensor:
        """Return control points `(batch, *shape)` between -1 and 1; 0 for images that are not changed."""
        if name not in self.changes:
            return torch.zeros(self.batch, *[0] * len(shape))
        source = torch.Generator().manual_seed((self.fields + list(KINDS).index(name)) % 2**62)
        happens = self.numbers(name, 0)[1].reshape(-1, *[1] * len(shape))
        return (torch.rand(self.batch, *shape, generator=source) * 2 - 1) * happens


def _matrix(dice: _Dice, dimensions: int, spacing: tuple[float, ...]) -> Tensor:
    """Return flip, zoom and stretch, then rotation in millimetres, as `(batch, D, D)` in pixels."""
    scale, turn = torch.ones(dice.batch, dimensions), torch.eye(dimensions).repeat(dice.batch, 1, 1)
    if "flip" in dice.changes:
        numbers, happens = dice.numbers("flip", dimensions)
        scale = 1 - 2 * ((numbers < dice.amount("flip")) & happens).float()
    if "zoom" in dice.changes:
        scale = scale * torch.exp(dice.share("zoom") * torch.log(dice.amount("zoom")))
    if "stretch" in dice.changes:
        scale = scale * torch.exp(dice.within("stretch", dimensions))
    if "turn" in dice.changes:
        numbers, happens = dice.numbers("turn", 1)
        turn = quarter_turns(((numbers * (dice.amount("turn") + 1)).long() * happens)[:, 0], dimensions)
    if "rotate" in dice.changes:
        turn = turn @ rotations(dice.within("rotate", 1 if dimensions == 2 else 3) * (math.pi / 180))
    length = torch.tensor(spacing)
    return turn * (length / length[:, None]) * scale[:, None, :]


def _bend(dice: _Dice, window: tuple[int, ...], spacing: tuple[float, ...]) -> Tensor:
    """Return control points in pixels that stand far enough apart for their displacement."""
    if "elastic" not in dice.changes:
        return torch.zeros(dice.batch, len(window), *[0] * len(window))
    sides = [pixels * length for pixels, length in zip(window, spacing, strict=True)]
    amount = min(dice.changes.amounts["elastic"][0], min(sides) / UNFOLDED)
    apart = max(max(sides) / KNOTS, amount * UNFOLDED)
    counts = [max(int(side / apart), 1) for side in sides]
    places = dice.field("elastic", len(window), *[count + 3 for count in counts]) * amount
    return places / torch.tensor(spacing).reshape(-1, *[1] * len(window))
