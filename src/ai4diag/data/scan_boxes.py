"""Boxes in volumes: from label maps, from spheres in millimetres, from tables of voxels.

All are returned as float64 `(n, 6)`, minima first, in voxels of the volume in *canonical* orientation (first axis to
the right, second to the front, third to the head; see `ai4diag.data.volume`), with continuous edges: voxel i covers
i to i + 1, so that the middle of voxel i, which an affine places, is at i + 0.5.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float64]


def boxes_of_labels(labels: npt.NDArray[np.int64], number: int, *, each: str, least_voxels: int = 1) -> Floats:
    """Return the boxes around the voxels of one class.

    Args:
        labels: `(i, j, k)`.
        number: of the class.
        each: `class` for one box around all of them, `component` for one around each connected part (faces).
        least_voxels: parts of fewer voxels are left out.

    >>> boxes_of_labels(np.array([[[1, 1, 0, 1]]]), 1, each="component").tolist()
    [[0.0, 0.0, 0.0, 1.0, 1.0, 2.0], [0.0, 0.0, 3.0, 1.0, 1.0, 4.0]]
    """
    parts, count = ndimage.label(labels == number)
    voxels = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    found = [
        [piece.start for piece in place] + [piece.stop for piece in place]
        for place, size in zip(ndimage.find_objects(parts), voxels, strict=True)
        if size >= least_voxels
    ]
    boxes = np.array(found, np.float64).reshape(-1, 6)
    if each == "class" and len(boxes):
        return np.concatenate([boxes[:, :3].min(0), boxes[:, 3:].max(0)])[None]
    return boxes


def boxes_of_spheres(centres_mm: npt.ArrayLike, diameters_mm: npt.ArrayLike, affine: Floats) -> Floats:
    """Return the boxes around spheres, exactly, however the axes of the volume are turned.

    Args:
        centres_mm: `(n, 3)`, RAS+.
        diameters_mm: `(n,)`.
        affine: from voxel index to millimetres, RAS+, `(4, 4)`.
    """
    inverse = np.linalg.inv(affine)
    centres = np.asarray(centres_mm, np.float64).reshape(-1, 3) @ inverse[:3, :3].T + inverse[:3, 3] + 0.5
    reach = np.linalg.norm(inverse[:3, :3], axis=1)
    halves = np.asarray(diameters_mm, np.float64).reshape(-1, 1) / 2 * reach
    return np.hstack([centres - halves, centres + halves])


def moved_boxes(boxes: npt.ArrayLike, source: Floats, target: Floats) -> Floats:
    """Return boxes of one grid as boxes of another; exact where the axes of the two are parallel.

    Args:
        boxes: `(n, 6)` in voxels of the first grid.
        source, target: affines of the grids, `(4, 4)`.
    """
    edges = np.asarray(boxes, np.float64).reshape(-1, 2, 3) - 0.5
    matrix = np.linalg.inv(target) @ source
    moved = edges @ matrix[:3, :3].T + matrix[:3, 3] + 0.5
    return np.hstack([moved.min(axis=1), moved.max(axis=1)])


def boxes_in_mm(boxes: npt.ArrayLike, affine: Floats) -> tuple[Floats, Floats]:
    """Return middles `(n, 3)` and sides along the axes of the volume `(n, 3)` of boxes, in millimetres, RAS+."""
    edges = np.asarray(boxes, np.float64).reshape(-1, 2, 3)
    middles = edges.mean(axis=1) - 0.5
    centres = middles @ affine[:3, :3].T + affine[:3, 3]
    sides = (edges[:, 1] - edges[:, 0]) * np.linalg.norm(affine[:3, :3], axis=0)
    return centres, sides
