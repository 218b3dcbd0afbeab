"""What a network answers about images and volumes, seen once or in several mirrored views, whole or in windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ai4diag.config.detection import AnchorFree, RetinaNet
from ai4diag.data.volume_store import VolumeStore
from ai4diag.tasks.detection.answers import SCORE_FLOOR, Answer, answer
from ai4diag.tasks.detection.boxes import centres_of
from ai4diag.tasks.detection.windows import Piece, pieces_of

AT_ONCE = 8
"""Images in one forward pass of a prediction."""
WHOLE_VOXELS = 200**3
"""Larger volumes are predicted in windows."""
SLACK = 4.0
"""Voxels by which a window answers beyond the middle of its overlap with the next: an object on that line has one
answer at least, and suppression removes the second."""

View = tuple[tuple[int, ...], bool]
Floats = npt.NDArray[np.float32]


def views_of(dimensions: int, model: AnchorFree | RetinaNet) -> list[View]:
    """Return the views of an image in which it is predicted: mirrored axes, and whether the last two are exchanged.

    >>> views_of(2, AnchorFree())
    [((), False), ((1,), False), ((0,), False), ((0, 1), False)]
    >>> views_of(3, AnchorFree(flips=(0,)))
    [((), False), ((0,), False)]
    """
    axes = model.flips if isinstance(model.flips, tuple) else tuple(range(dimensions)) if model.flips else ()
    choices = product(*((False, True) if axis in axes else (False,) for axis in range(dimensions)))
    mirrored = [tuple(axis for axis, chosen in enumerate(choice) if chosen) for choice in choices]
    return [(axes, exchanged) for exchanged in ((False, True) if model.transpose else (False,)) for axes in mirrored]


def rounded_up(size: Sequence[int], divisor: int | Sequence[int]) -> tuple[int, ...]:
    """Return the sides, rounded up to multiples of the divisor, which is one number or one per axis.

    >>> rounded_up((35, 50), 16)
    (48, 64)
    """
    steps = [divisor] * len(size) if isinstance(divisor, int) else divisor
    return tuple(-(-side // step) * step for side, step in zip(size, steps, strict=True))


class Looker:
    """A network that is asked, with what happens to images before and to boxes after it.

    Args:
        network: a `Detector`.
        normalise: from images on the scale 0 to 255 to what the network sees.
        device: of the network.
        window: least size that volumes are padded to, in voxels: what it was trained on.
        pieces: size of the windows in which volumes are predicted that are larger than it; None: whole, if they are
            not larger than `WHOLE_VOXELS`, else in windows of the size `window`.
        same_object: see `answers.answer`.
    """

    def __init__(
        self,
        network: Any,
        normalise: Callable[[Tensor], Tensor],
        device: torch.device,
        window: Sequence[int],
        pieces: Sequence[int] | None,
        same_object: float,
    ) -> None:
        self._network, self._normalise, self._device = network, normalise, device
        self._window, self._pieces, self._same = tuple(window), pieces, same_object

    def images(
        self, stored: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], looks: Sequence[View]
    ) -> Iterator[Answer]:
        """Yield what is found in each of the images `(cases, channels, *spatial)`, in packed pixels."""
        for start in range(0, len(rows), AT_ONCE):
            images = torch.from_numpy(stored[rows[start : start + AT_ONCE]]).to(self._device)
            views = [self.view(images, look) for look in looks]
            for number in range(len(images)):
                own = [(scores[number], boxes[number]) for scores, boxes in views]
                yield answer(own, tuple(images.shape[2:]), self._same)

    def view(self, images: Tensor, look: View) -> tuple[Floats, Floats]:
        """Return scores `(batch, cells, classes)` and boxes of images of one size, seen in one view."""
        mirrored, exchanged = look
        normal = self._normalise(images.flip([2 + axis for axis in mirrored]).float())
        normal = normal.transpose(-1, -2) if exchanged else normal
        padded = F.pad(normal, _after(normal.shape[2:], rounded_up(normal.shape[2:], self._network.divisor)))
        scores, boxes = self._ask(padded, [tuple(images.shape[2:])] * len(images), mirrored, exchanged)
        return scores.cpu().numpy(), boxes.cpu().numpy()

    def volumes(self, stored: VolumeStore, rows: npt.NDArray[np.int64], looks: Sequence[View]) -> Iterator[Answer]:
        """Yield what is found in each volume of a store, in packed voxels."""
        for start in range(0, len(rows), AT_ONCE):
            volumes = [stored[row] for row in rows[start : start + AT_ONCE]]
            views: list[list[tuple[Floats, Floats]]] = [[] for _ in volumes]
            for look in looks:
                for own, parts in zip(views, self._look(volumes, look), strict=True):
                    own.append(
                        (np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]))
                    )
            for volume, own in zip(volumes, views, strict=True):
                yield answer(own, volume.shape[1:], self._same)

    def _look(self, volumes: Sequence[npt.NDArray[np.uint8]], look: View) -> list[list[tuple[Floats, Floats]]]:
        """Return for each volume what its windows answer in one view, as far as each is in charge."""
        by_size: dict[tuple[int, ...], list[tuple[int, Piece]]] = {}
        for number, volume in enumerate(volumes):
            for piece in self._cut(volume.shape[1:]):
                by_size.setdefault(self._padded(piece.size), []).append((number, piece))
        found: list[list[tuple[Floats, Floats]]] = [[] for _ in volumes]
        for size, group in by_size.items():
            for start in range(0, len(group), AT_ONCE):
                some = group[start : start + AT_ONCE]
                seen = [self._seen(piece.of(volumes[number]), look, size) for number, piece in some]
                scores, boxes = self._ask(torch.cat(seen), [piece.size for _, piece in some], *look)
                for (number, piece), score, own in zip(some, scores, boxes, strict=True):
                    own = own + torch.tensor(piece.low * 2, device=own.device)
                    core = torch.from_numpy(piece.core).to(own.device, torch.float32)
                    middle = centres_of(own)
                    kept = ((middle >= core[0] - SLACK) & (middle <= core[1] + SLACK)).all(-1)
                    kept &= score.amax(-1) >= SCORE_FLOOR
                    found[number].append((score[kept].cpu().numpy(), own[kept].cpu().numpy()))
        return found

    def _cut(self, sides: Sequence[int]) -> list[Piece]:
        if self._pieces is None and math.prod(sides) <= WHOLE_VOXELS:
            return pieces_of(sides, sides)
        return pieces_of(sides, self._pieces or self._window)

    def _seen(self, piece: npt.NDArray[np.uint8], look: View, size: tuple[int, ...]) -> Tensor:
        """Return what the network sees of a piece in one view, `(1, channels, *size)`, axes as in the view."""
        mirrored, exchanged = look
        held = torch.from_numpy(np.array(piece)).to(self._device)[None]
        normal = self._normalise(held.flip([2 + axis for axis in mirrored]).float())
        if exchanged:
            normal, size = normal.transpose(-1, -2), rounded_up((*size[:-2], size[-1], size[-2]), self._network.divisor)
        return F.pad(normal, _after(normal.shape[2:], size))

    def _padded(self, size: Sequence[int]) -> tuple[int, ...]:
        """Return the size to which a piece of a volume is padded."""
        least = [max(sides) for sides in zip(size, self._window, strict=True)]
        return rounded_up(least, self._network.divisor)

    @torch.inference_mode()
    def _ask(
        self, images: Tensor, sizes: Sequence[tuple[int, ...]], mirrored: Sequence[int], exchanged: bool
    ) -> tuple[Tensor, Tensor]:
        """Return scores and boxes of images that are mirrored, then turned; the boxes are brought back.

        Args:
            images: what the network sees, `(batch, channels, *padded)`.
            sizes: of each image before it was padded and turned.
            mirrored, exchanged: the view.
        """
        dimensions = images.ndim - 2
        scores, boxes = self._network.decode(self._network(images))
        boxes = boxes.clone()
        if exchanged:
            last = [dimensions - 2, dimensions - 1, 2 * dimensions - 2, 2 * dimensions - 1]
            boxes[..., last] = boxes[..., [last[1], last[0], last[3], last[2]]]
        for axis in mirrored:
            sides = torch.tensor([size[axis] for size in sizes], device=boxes.device)[:, None, None]
            boxes[..., [axis, axis + dimensions]] = sides - boxes[..., [axis + dimensions, axis]]
        return scores.float(), boxes.float()


def _after(size: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """Return what `torch.nn.functional.pad` needs to lengthen each axis at its end."""
    missing = [padded - side for side, padded in zip(size, wanted, strict=True)]
    return [amount for after in reversed(missing) for amount in (0, after)]
