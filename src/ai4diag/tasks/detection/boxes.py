"""Boxes as tensors: overlap, padded truth, and the one place where a detector's raw output becomes a few boxes.

Boxes are float32 `(..., 2 * D)` in array-axis order, all minima first, with continuous edges (see `ai4diag.types`).
Nothing here knows whether D is 2 or 3.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ai4diag.data.prepared import Prepared
from ai4diag.tasks.detection.truth import box_columns, has_volumes

_TINY = 1e-6


@dataclass(frozen=True)
class Truth:
    """What stands in a batch of images, padded to the same number of boxes.

    Attributes:
        boxes: float32 `(batch, most, 2 * D)`, zero where padded.
        labels: int64 `(batch, most)`, class numbers.
        real: bool `(batch, most)`, False where padded.
        ignore: bool `(batch, most)`: a region in which a detector can neither win nor lose.
    """

    boxes: Tensor
    labels: Tensor
    real: Tensor
    ignore: Tensor

    def __getitem__(self, rows: Tensor) -> Truth:
        return Truth(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def to(self, device: torch.device) -> Truth:
        """Return the same truth on a device."""
        return Truth(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    @property
    def wanted(self) -> Tensor:
        """Bool `(batch, most)`: boxes that are to be found."""
        return self.real & ~self.ignore


def truth_of(prepared: Prepared) -> Truth:
    """Return the truth of all cases, in pixels of the *packed* images."""
    rows = np.arange(len(prepared.index))
    dimensions = packed_sides(prepared, rows).shape[1]
    columns = box_columns(dimensions)
    table = prepared.boxes
    case = table["case"].to_numpy(np.int64)
    counts = np.bincount(case, minlength=len(prepared.index))
    order = np.argsort(case, kind="stable")
    place = np.arange(len(case)) - np.repeat(np.cumsum(counts) - counts, counts)
    most = max(int(counts.max(initial=0)), 1)
    boxes = np.zeros((len(counts), most, 2 * dimensions), np.float32)
    labels = np.zeros((len(counts), most), np.int64)
    real = np.zeros((len(counts), most), bool)
    ignore = np.zeros((len(counts), most), bool)
    at = case[order], place
    scale = np.tile(packed_scale(prepared, rows), 2)
    boxes[at] = table[columns].to_numpy(np.float32)[order] * scale[case[order]]
    labels[at] = table["label"].to_numpy(np.int64)[order]
    ignore[at] = table["ignore"].to_numpy(bool)[order]
    real[at] = True
    return Truth(*(torch.from_numpy(array) for array in (boxes, labels, real, ignore)))


def packed_sides(prepared: Prepared, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the size of the packed images or volumes in pixels, `(rows, D)`."""
    if has_volumes(prepared):
        return prepared.volumes.shape[rows, 1:]
    return np.tile(np.asarray(prepared.images.shape[2:], np.int64), (len(rows), 1))


def packed_scale(prepared: Prepared, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return packed pixels per original pixel of each axis, float32 `(cases, D)`."""
    sides = packed_sides(prepared, rows).astype(np.float32)
    sizes = prepared.index[[f"size_{axis}" for axis in range(sides.shape[1])]].to_numpy(np.float32)[rows]
    scale: npt.NDArray[np.float32] = sides / sizes
    return scale


def sizes_of(boxes: Tensor) -> Tensor:
    """Return the lengths of the sides `(..., D)`."""
    half = boxes.shape[-1] // 2
    return boxes[..., half:] - boxes[..., :half]


def centres_of(boxes: Tensor) -> Tensor:
    """Return the centres `(..., D)`."""
    half = boxes.shape[-1] // 2
    return (boxes[..., half:] + boxes[..., :half]) / 2


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """Return intersection over union of boxes that broadcast against each other; 0 for boxes of no size.

    >>> float(overlap(torch.tensor([0.0, 0, 2, 2]), torch.tensor([0.0, 1, 2, 3])))
    0.3333333134651184
    """
    half = first.shape[-1] // 2
    low = torch.maximum(first[..., :half], second[..., :half])
    high = torch.minimum(first[..., half:], second[..., half:])
    shared = (high - low).clamp(min=0).prod(-1)
    union = sizes_of(first).prod(-1) + sizes_of(second).prod(-1) - shared
    return shared / union.clamp(min=_TINY)


def distance_overlap(first: Tensor, second: Tensor) -> Tensor:
    """Return overlap less the squared distance of the centres over the squared diagonal of the box around both.

    It has a slope even where boxes do not touch: Zheng et al., Distance-IoU Loss, arXiv:1911.08287, section 3.2.
    """
    half = first.shape[-1] // 2
    low = torch.minimum(first[..., :half], second[..., :half])
    high = torch.maximum(first[..., half:], second[..., half:])
    diagonal = (high - low).square().sum(-1)
    distance = (centres_of(first) - centres_of(second)).square().sum(-1)
    return overlap(first, second) - distance / diagonal.clamp(min=_TINY)


def inside(points: Tensor, boxes: Tensor) -> Tensor:
    """Return bool `(..., boxes, points)`: which points `(points, D)` lie within which boxes `(..., boxes, 2 * D)`."""
    half = boxes.shape[-1] // 2
    after = points > boxes[..., None, :half]
    before = points < boxes[..., None, half:]
    return (after & before).all(-1)


def grid_points(shape: tuple[int, ...], stride: int, device: torch.device) -> Tensor:
    """Return the centres of the cells of a grid in pixels, float32 `(cells, D)`, last axis fastest."""
    axes = [(torch.arange(length, device=device, dtype=torch.float32) + 0.5) * stride for length in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(shape))
