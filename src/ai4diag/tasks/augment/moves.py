"""Changes that only mirror, turn, and change intensities along a line: from a packed volume to the result in one pass.

Where a whole batch of volumes on a CPU is changed by nothing else, no patch needs to be made before it is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ai4diag.tasks.augment.intensity import keeps_levels, straight
from ai4diag.tasks.augment.parameters import Parameters

Floats = npt.NDArray[np.float32]
AS_IT_IS = np.array([-np.inf, np.inf, 0, 1], np.float32)
"""Limits, mean and spread that change no value."""
TYPES = frozenset({"uint8", "int16", "uint16", "int32", "float32"})
"""Types of voxels that are read without being converted first."""


@dataclass(frozen=True)
class Block:
    """A part of a volume, as large as the window.

    Attributes:
        values: `(channels, i, j, k)` of one of `TYPES`, contiguous.
        start: its first voxel.
        four: float32 `(channels, 4)`: lower and upper limit, mean and spread, by which values are scaled.
    """

    values: npt.NDArray[Any]
    start: tuple[int, int, int]
    four: Floats


@dataclass(frozen=True)
class Moves:
    """What happens to each volume of a batch.

    Attributes:
        parameters: of which these are all.
        mirrored: which axes of each volume are mirrored.
        turned: whether the last two axes of each then change places.
    """

    parameters: Parameters
    mirrored: Sequence[tuple[bool, bool, bool]]
    turned: Sequence[bool]

    @classmethod
    def of(cls, parameters: Parameters) -> Moves | None:
        """Return the moves that drawn parameters stand for; None where they stand for more, or for planes."""
        size = parameters.size
        if len(size) != 3 or parameters.window != size or not _is_straight(parameters):
            return None
        matrix, offset = parameters.matrix.numpy(), parameters.offset.numpy()
        turned = np.abs(matrix[:, 1, 2]) == 1
        places = np.where(turned[:, None, None], np.eye(3)[[0, 2, 1]], np.eye(3))
        # such a map is its own inverse but for the signs, and whole patches stay where they are
        if (np.abs(matrix) != places).any() or offset.any() or (turned.any() and size[1] != size[2]):
            return None
        mirrored = matrix.sum(1) < 0  # a column is an axis of the image
        return cls(parameters, [(bool(i), bool(j), bool(k)) for i, j, k in mirrored], turned.tolist())

    def images(self, blocks: Sequence[Block]) -> torch.Tensor:
        """Return what `apply` gives for scaled patches, float32 `(batch, channels, *window)`."""
        from ai4diag.tasks.augment import kernels

        result = torch.empty(len(blocks), len(blocks[0].values), *self.parameters.window)
        lines = self._lines(blocks)
        for number, block in enumerate(blocks):
            levels = np.concatenate([block.four, lines[number]], 1)
            kernels.move_values(
                block.values, block.start, levels, self.mirrored[number], self.turned[number], result[number].numpy()
            )
        return result

    def masks(self, masks: Sequence[npt.NDArray[np.uint8]], starts: Sequence[tuple[int, int, int]]) -> torch.Tensor:
        """Return the moved blocks of masks `(1, i, j, k)` that begin at `starts`: uint8 `(batch, 1, *window)`."""
        from ai4diag.tasks.augment import kernels

        result = torch.empty(len(masks), 1, *self.parameters.window, dtype=torch.uint8)
        for number, (mask, start) in enumerate(zip(masks, starts, strict=True)):
            kernels.move_labels(mask, start, self.mirrored[number], self.turned[number], result[number].numpy())
        return result

    def _lines(self, blocks: Sequence[Block]) -> Floats:
        """Return factor and summand of scaled values, float32 `(batch, channels, 2)`."""
        from ai4diag.tasks.augment import kernels

        lines = np.zeros((len(blocks), len(blocks[0].values), 2), np.float32)
        lines[..., 0] = 1
        if keeps_levels(self.parameters):
            return lines
        ends = np.empty_like(lines)
        for number, block in enumerate(blocks):
            low, high, mean, spread = block.four.T[..., None]  # scaling keeps the order, so ends remain ends
            found = kernels.extent(block.values, block.start, self.parameters.size)
            ends[number] = (np.clip(found, low, high) - mean) / spread
        least, greatest = torch.from_numpy(ends).unbind(-1)
        lines[..., 0], lines[..., 1] = straight(self.parameters, least, greatest)
        return lines


def _is_straight(parameters: Parameters) -> bool:
    """Whether nothing bends or blurs, and no value depends on others than the ends of its channel."""
    ones = (parameters.gamma, parameters.contrast, parameters.resolution)
    nothing = (parameters.noise, parameters.blur, parameters.bias, parameters.bend)
    return all((one.numpy() == 1).all() for one in ones) and not any(each.numpy().any() for each in nothing)
