"""How far two label maps agree: counts per pair of classes, Dice and IoU.

Everything comes from one table, `confusion`, so that the voxels are read once whatever is asked of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ai4diag.errors import DataError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
WORTH_COMPILING = 500_000
"""Voxels from which numba is used; below, numpy is done before numba is imported."""


def confusion(truth: npt.ArrayLike, predicted: npt.ArrayLike, n_classes: int, *, compiled: bool | None = None) -> Ints:
    """Count the voxels of every pair of true and predicted class.

    Args:
        truth, predicted: class numbers 0..n_classes-1, whole numbers or bool, of any one shape.
        n_classes: number of classes, the background among them.
        compiled: True or False to force numba or numpy, which give the same counts; None chooses by size.

    Returns:
        int64 `(n_classes, n_classes)`, truth down, prediction across. All 0 without voxels.

    Raises:
        DataError: the shapes differ, a value is no whole number or no class.

    >>> confusion([0, 0, 1, 2], [0, 1, 1, 1], 3).tolist()
    [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    """
    first, second = _labels(truth, n_classes, "truth"), _labels(predicted, n_classes, "predicted")
    if first.shape != second.shape:
        raise DataError(f"Truth has shape {first.shape} and prediction {second.shape}; expected the same.")
    if compiled or (compiled is None and first.size > WORTH_COMPILING):
        return _compiled(first.ravel(), second.ravel(), n_classes)
    pairs = first.ravel().astype(np.int64) * n_classes + second.ravel()
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def _compiled(first: npt.NDArray[np.integer], second: npt.NDArray[np.integer], n_classes: int) -> Ints:
    from ai4diag.evaluation import mask_kernels

    packed = first.itemsize == second.itemsize == 1 and n_classes <= mask_kernels.FEW_CLASSES
    words = len(first) // 8 * 8 if packed else 0
    result: Ints = mask_kernels.confusion(first[words:], second[words:], n_classes)
    if words:
        result += mask_kernels.confusion_of_words(
            first[:words].view(np.uint64), second[:words].view(np.uint64), n_classes
        )
    return result


def _labels(values: npt.ArrayLike, n_classes: int, what: str) -> npt.NDArray[np.integer]:
    array = np.asarray(values)
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    if not np.issubdtype(array.dtype, np.integer):
        if array.size:
            raise DataError(f"The {what} labels are {array.dtype}; expected whole numbers.", "Take the argmax.")
        array = array.astype(np.uint8)
    signed = np.issubdtype(array.dtype, np.signedinteger)
    if array.size and not (array.max() < n_classes and not (signed and array.min() < 0)):
        raise DataError(
            f"The {what} labels go from {array.min()} to {array.max()}; expected class numbers 0 to {n_classes - 1}."
        )
    return array


def dice(counts: npt.ArrayLike) -> Floats:
    """Return the Dice coefficient of every class: twice the overlap over the sum of the sizes.

    Args:
        counts: `(..., classes, classes)` from `confusion`.

    Returns:
        float64 `(..., classes)`; NaN for a class that neither map holds, 0 where only one of them does.

    Source: Dice, Ecology 26:297, 1945.

    >>> dice([[1, 1, 0], [0, 1, 0], [0, 1, 0]]).round(3).tolist()
    [0.667, 0.5, 0.0]
    """
    overlap, truth, predicted = _sizes(counts)
    return _ratio(2 * overlap, truth + predicted)


def iou(counts: npt.ArrayLike) -> Floats:
    """Return intersection over union (Jaccard) of every class; shapes and the undefined case as `dice`.

    >>> iou([[1, 1, 0], [0, 1, 0], [0, 1, 0]]).round(3).tolist()
    [0.5, 0.333, 0.0]
    """
    overlap, truth, predicted = _sizes(counts)
    return _ratio(overlap, truth + predicted - overlap)


def _sizes(counts: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    table = np.asarray(counts, np.float64)
    return np.diagonal(table, axis1=-2, axis2=-1), table.sum(axis=-1), table.sum(axis=-2)


def _ratio(part: Floats, whole: Floats) -> Floats:
    result = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result
