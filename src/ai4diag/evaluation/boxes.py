"""Overlap of boxes and removal of double detections.

Boxes are `(n, 2 * D)`, D = 2 or 3, in array-axis order, all minima first (see `ai4diag.types`). All sums are done in
float64, whatever the boxes are stored in.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ai4diag.errors import DataError

Floats = npt.NDArray[np.float64]
SMALL = 20_000
"""Pairs of boxes below which numpy is used: importing the compiler would cost more than it saves."""


def as_boxes(boxes: npt.ArrayLike, dimensions: int | None = None) -> Floats:
    """Return boxes as float64 `(n, 2 * D)`; a flattened list is given its shape.

    Args:
        boxes: `(n, 2 * D)`, or flattened `(n * 2 * D,)`, which needs `dimensions`; empty is allowed.
        dimensions: D; None takes it from the shape (2 when there is no box).

    Raises:
        DataError: these are no numbers, the shape is not one of boxes, a coordinate is not finite, or a minimum lies
            above its maximum.
    """
    try:
        array = np.asarray(boxes, np.float64)
    except (TypeError, ValueError):
        raise DataError("Boxes are lists of numbers.", "Flatten the boxes of an image into one list.") from None
    if array.ndim != 2 or dimensions is not None:
        columns = 2 * (dimensions or 2)
        if array.size % columns:
            raise DataError(f"{array.size} numbers are not boxes of {columns} coordinates each.")
        array = array.reshape(-1, columns)
    if array.shape[1] not in (4, 6):
        raise DataError(f"Boxes have 4 or 6 coordinates; found shape {array.shape}.")
    half = array.shape[1] // 2
    if not np.isfinite(array).all():
        raise DataError("A box has a coordinate that is not a finite number.")
    if (array[:, :half] > array[:, half:]).any():
        raise DataError("A box has a minimum above its maximum.", "The order is min_0, min_1, .., max_0, max_1, ...")
    return array


def iou_matrix(a: npt.ArrayLike, b: npt.ArrayLike, crowd: npt.ArrayLike | None = None) -> Floats:
    """Return the intersection over union of every box of `a` with every box of `b`.

    Args:
        a: `(n, 2 * D)`.
        b: `(m, 2 * D)`.
        crowd: bool `(m,)`; where it is true the overlap is intersection over the size of the box of `a`, as COCO does
            for crowds: a detection inside a large region to ignore overlaps it fully.

    Returns:
        float64 `(n, m)`; 0 where boxes only touch, and for boxes of no size.

    >>> float(iou_matrix([[0, 0, 2, 2]], [[0, 1, 2, 3]])[0, 0])
    0.3333333333333333
    """
    first, second = as_boxes(a), as_boxes(b)
    if not len(first) or not len(second):
        return np.zeros((len(first), len(second)))
    half = first.shape[1] // 2
    shared = np.ones((len(first), len(second)))
    for axis in range(half):
        upper = np.minimum(first[:, None, axis + half], second[None, :, axis + half])
        shared *= np.maximum(upper - np.maximum(first[:, None, axis], second[None, :, axis]), 0)
    size_first, size_second = (np.prod(boxes[:, half:] - boxes[:, :half], axis=1) for boxes in (first, second))
    union = size_first[:, None] + size_second[None, :] - shared
    if crowd is not None:
        union = np.where(np.asarray(crowd, bool)[None, :], size_first[:, None], union)
    result: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
    return result


def nms(
    boxes: npt.ArrayLike,
    scores: npt.ArrayLike,
    iou: float,
    labels: npt.ArrayLike | None = None,
    *,
    compiled: bool | None = None,
) -> npt.NDArray[np.int64]:
    """Return the rows to keep by greedy non-maximum suppression, best score first.

    A box is dropped when a kept one of the same label and a better score (or the same score and a lower row) overlaps
    it by more than `iou`.

    Args:
        boxes: `(n, 2 * D)`.
        scores: `(n,)`.
        iou: overlap above which the worse box is dropped.
        labels: int `(n,)`; None treats all as one class.
        compiled: True or False to force numba or numpy, which give the same rows; None chooses by size.

    >>> nms([[0, 0, 9, 9], [0, 0, 9, 8], [20, 20, 29, 29]], [0.5, 0.9, 0.1], 0.5).tolist()
    [1, 2]
    """
    array = as_boxes(boxes)
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    classes = np.zeros(len(array), np.int64) if labels is None else np.asarray(labels, np.int64)
    if compiled or (compiled is None and len(array) ** 2 > SMALL):
        from ai4diag.evaluation import kernels

        dropped = kernels.nms(np.ascontiguousarray(array[order].T), classes[order], float(iou))
        return np.asarray(order[~dropped], np.int64)
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        double = (iou_matrix(array[best : best + 1], array[rest])[0] > iou) & (classes[rest] == classes[best])
        order = rest[~double]
    return np.asarray(kept, np.int64)
