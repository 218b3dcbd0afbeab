"""Average precision of detections, as COCO defines it, on plain arrays.

Detections are matched to truth once (`match`); average precision then only adds up matched detections
(`average_precision`), each counted as often as its image was drawn. A bootstrap over patients so never matches again.

Matching follows pycocotools (cocoeval.py, `evaluateImg` and `accumulate`): per image and class, best score first, at
most 100 detections; each takes the free truth box of highest overlap, if that reaches the IoU threshold. A detection
whose best choice is a box to ignore (a crowd: overlap over the size of the detection, any number of detections) counts
neither as found nor as false. Equal scores keep the order of images, and within an image the order given. Precision is
made non-increasing from the right and averaged at 101 recall levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ai4diag.errors import DataError
from ai4diag.evaluation.boxes import Floats, as_boxes, iou_matrix

Ints = npt.NDArray[np.int64]
Scalar = TypeVar("Scalar", bound=np.generic)
COCO_IOUS: Floats = np.linspace(0.5, 0.95, 10)
IOUS: Floats = np.concatenate([[0.1], COCO_IOUS])
RECALL_LEVELS: Floats = np.linspace(0, 1, 101)
FOUND, FALSE, IGNORED = 1, 0, -1
WORTH_COMPILING = 400_000
"""Detections x thresholds x resamples from which numba is used; below, numpy is done before numba is imported."""


@dataclass(frozen=True)
class DetectionCases:
    """Truth and detections of many images as flat arrays.

    Attributes:
        n_images, n_classes: images are 0..n_images-1 in order; classes are 0..n_classes-1.
        truth_image, truth_label: int64 `(m,)`.
        truth_boxes: float64 `(m, 2 * D)`, pixels of the original image, array-axis order, minima first.
        truth_ignore: bool `(m,)`, regions in which nothing counts.
        image, label: int64 `(n,)`.
        boxes: float64 `(n, 2 * D)`, as `truth_boxes`.
        score: float64 `(n,)`, higher is more certain.
    """

    n_images: int
    n_classes: int
    truth_image: Ints
    truth_label: Ints
    truth_boxes: Floats
    truth_ignore: npt.NDArray[np.bool_]
    image: Ints
    label: Ints
    boxes: Floats
    score: Floats

    def __post_init__(self) -> None:
        for what, labels in {"truth": self.truth_label, "detection": self.label}.items():
            if len(labels) and not (labels.min() >= 0 and labels.max() < self.n_classes):
                raise DataError(f"A {what} box has a class number outside 0..{self.n_classes - 1}.")
        if not np.isfinite(self.score).all():
            raise DataError("A detection has a score that is not a finite number.")

    @classmethod
    def from_lists(
        cls,
        truth_boxes: Sequence[npt.ArrayLike],
        truth_labels: Sequence[npt.ArrayLike],
        truth_ignore: Sequence[npt.ArrayLike] | None,
        boxes: Sequence[npt.ArrayLike],
        labels: Sequence[npt.ArrayLike],
        scores: Sequence[npt.ArrayLike],
        n_classes: int,
        dimensions: int = 2,
    ) -> DetectionCases:
        """Join one entry per image; boxes `(k, 2 * D)` or flattened, labels, ignore flags and scores `(k,)`.

        Raises:
            DataError: the entries of an image are malformed or differ in length; the image is named, counted from 1.
        """
        truth = _boxes(truth_boxes, dimensions, "truth")
        found = _boxes(boxes, dimensions, "detections")
        if truth_ignore is None:
            truth_ignore = [np.zeros(len(item), bool) for item in truth]
        columns = [(truth, truth_labels), (truth, truth_ignore), (found, labels), (found, scores)]
        for per_image, other in columns:
            for number, (item, values) in enumerate(zip(per_image, other, strict=True)):
                if len(item) != np.size(values):
                    raise DataError(f"Image {number + 1} has {len(item)} boxes but {np.size(values)} labels or scores.")
        return cls(
            n_images=len(truth),
            n_classes=n_classes,
            truth_image=np.repeat(np.arange(len(truth)), [len(item) for item in truth]),
            truth_label=_join(truth_labels, np.int64),
            truth_boxes=np.concatenate([np.zeros((0, 2 * dimensions)), *truth]),
            truth_ignore=_join(truth_ignore, np.bool_),
            image=np.repeat(np.arange(len(found)), [len(item) for item in found]),
            label=_join(labels, np.int64),
            boxes=np.concatenate([np.zeros((0, 2 * dimensions)), *found]),
            score=_join(scores, np.float64),
        )


def _boxes(items: Sequence[npt.ArrayLike], dimensions: int, what: str) -> list[Floats]:
    found = []
    for number, item in enumerate(items, start=1):
        try:
            found.append(as_boxes(item, dimensions))
        except DataError as error:
            raise DataError(f"Image {number}, {what}: {error.message}", error.cure) from None
    return found


def _join(items: Sequence[npt.ArrayLike], kind: type[Scalar]) -> npt.NDArray[Scalar]:
    try:
        return np.concatenate([np.zeros(0, kind), *(np.asarray(item).astype(kind).ravel() for item in items)])
    except (TypeError, ValueError):
        raise DataError("Labels, ignore flags and scores are lists of numbers.", "Labels count from 0.") from None


@dataclass(frozen=True)
class ClassMatches:
    """What became of the detections of one class, best score first.

    Attributes:
        outcome: int8 `(T, n)`: 1 found a truth box, 0 false, -1 ignored, at each IoU threshold.
        image: int64 `(n,)`.
        score: float64 `(n,)`.
        truth_count: int64 `(n_images,)`, truth boxes of this class that are not ignored.
    """

    outcome: npt.NDArray[np.int8]
    image: Ints
    score: Floats
    truth_count: Ints


def match(
    cases: DetectionCases, ious: Floats = IOUS, max_detections: int = 100, *, compiled: bool | None = None
) -> list[ClassMatches]:
    """Match detections to truth, per class, at every IoU threshold.

    Args:
        cases: truth and detections.
        ious: `(T,)` thresholds.
        max_detections: how many of the best detections of one image and one class count.
        compiled: True or False to force numba or numpy, which give the same outcome; None chooses by size.
    """
    groups = cases.n_classes * cases.n_images
    key = cases.label * cases.n_images + cases.image
    order = np.lexsort((-cases.score, key))
    starts = np.searchsorted(key[order], np.arange(groups + 1))
    order = order[np.arange(len(order)) - starts[key[order]] < max_detections]
    starts = np.searchsorted(key[order], np.arange(groups + 1))
    truth_key = cases.truth_label * cases.n_images + cases.truth_image
    truth_order = np.lexsort((cases.truth_ignore, truth_key))
    truth_starts = np.searchsorted(truth_key[truth_order], np.arange(groups + 1))
    boxes, truth, ignore = cases.boxes[order], cases.truth_boxes[truth_order], cases.truth_ignore[truth_order]
    ious = np.ascontiguousarray(ious, np.float64)
    if compiled or (compiled is None and len(order) > 2000):
        from ai4diag.evaluation import kernels

        outcome = kernels.match(boxes, starts, truth, truth_starts, ignore, ious)
    else:
        outcome = np.zeros((len(ious), len(order)), np.int8)
        for group in np.flatnonzero((np.diff(starts) > 0) & (np.diff(truth_starts) > 0)):
            own, its = slice(*starts[group : group + 2]), slice(*truth_starts[group : group + 2])
            outcome[:, own] = _match_group(iou_matrix(boxes[own], truth[its], ignore[its]), ignore[its], ious)
    counts = np.bincount(truth_key[~cases.truth_ignore], minlength=groups).reshape(cases.n_classes, cases.n_images)
    result = []
    for label in range(cases.n_classes):
        first, last = starts[label * cases.n_images], starts[(label + 1) * cases.n_images]
        rows = first + np.argsort(-cases.score[order[first:last]], kind="stable")
        result.append(
            ClassMatches(
                np.ascontiguousarray(outcome[:, rows]),
                cases.image[order[rows]],
                cases.score[order[rows]],
                counts[label],
            )
        )
    return result


def _match_group(overlap: Floats, ignore: npt.NDArray[np.bool_], ious: Floats) -> npt.NDArray[np.int8]:
    """Match one image and one class: overlap `(n, m)`, detections best first, ignored truth last; to int8 `(T, n)`."""
    outcome = np.zeros((len(ious), len(overlap)), np.int8)
    taken = np.zeros((len(ious), len(ignore)), bool)
    enough = np.minimum(ious, 1 - 1e-10)[:, None]
    rows = np.arange(len(ious))
    for number, row in enumerate(overlap):
        fits = (~taken | ignore) & (row >= enough)
        real = fits & ~ignore
        choice = np.where(real.any(axis=1)[:, None], real, fits)
        best = len(row) - 1 - np.argmax(np.where(choice, row, -1)[:, ::-1], axis=1)  # the last of equals, as COCO does
        hit = choice.any(axis=1)
        taken[rows[hit], best[hit]] = True
        outcome[:, number] = np.where(hit, np.where(ignore[best], IGNORED, FOUND), FALSE)
    return outcome


def average_precision(
    matches: Sequence[ClassMatches],
    weights: npt.ArrayLike | None = None,
    *,
    at: Sequence[int] | None = None,
    compiled: bool | None = None,
) -> Floats:
    """Return average precision per class and IoU threshold.

    Args:
        matches: what `match` returned.
        weights: how often each image counts, `(n_images,)` or `(B, n_images)`; None counts each once.
        at: positions of the IoU thresholds that are wanted, the others become NaN; None: all.
        compiled: True or False to force numba or numpy, which give the same numbers; None chooses by size.

    Returns:
        float64 `(classes, T)`, or `(B, classes, T)` for two-dimensional weights. NaN for a class with no truth box
        (that is not ignored) among the images that count; 0 for a class with truth but nothing detected.
    """
    n_images = len(matches[0].truth_count)
    draws = np.ones((1, n_images)) if weights is None else np.atleast_2d(np.ascontiguousarray(weights, np.float64))
    if compiled is None:
        compiled = len(draws) * sum(item.outcome.size for item in matches) > WORTH_COMPILING
    wanted = list(range(len(matches[0].outcome)) if at is None else at)
    per_class = []
    for item in matches:
        precision = np.full((len(draws), len(item.outcome)), np.nan)
        outcome = np.ascontiguousarray(item.outcome[wanted])
        if compiled:
            from ai4diag.evaluation import kernels

            precision[:, wanted] = kernels.average_precision(
                outcome, item.image, item.truth_count, draws, RECALL_LEVELS
            )
        else:
            precision[:, wanted] = _average_precision(replace(item, outcome=outcome), draws)
        per_class.append(precision)
    result = np.stack(per_class, axis=1)
    return result[0] if weights is None or np.ndim(weights) == 1 else result


def _average_precision(item: ClassMatches, weights: Floats) -> Floats:
    total = weights @ item.truth_count
    drawn = weights[:, item.image]
    result = np.full((len(weights), len(item.outcome)), np.nan)
    for t, outcome in enumerate(item.outcome):
        found = np.cumsum(drawn * (outcome == FOUND), axis=1)
        seen = np.cumsum(drawn * (outcome != IGNORED), axis=1)
        precision = np.divide(found, seen, out=np.zeros_like(found), where=seen > 0)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        for b in np.flatnonzero(total > 0):
            at = np.searchsorted(found[b] / total[b], RECALL_LEVELS, side="left")
            reached = at < len(outcome)
            result[b, t] = envelope[b, at[reached]].sum() / len(RECALL_LEVELS)
    return result


def summarise(precisions: Floats, defined: npt.NDArray[np.bool_] | None = None) -> dict[str, Floats]:
    """Return `map_50`, `map_50_95`, `map_10`: means over the classes that have truth.

    Args:
        precisions: `(..., classes, 11)` from `average_precision` at `IOUS`.
        defined: bool `(classes,)`, the classes to average; None takes those that are not NaN. Give the classes of the
            whole data when summarising resamples: one that lacks a class is then NaN instead of a mean of other things.
    """
    if defined is None:
        defined = np.asarray(~np.isnan(precisions).any(axis=-1).reshape(-1, precisions.shape[-2]).any(axis=0))
    if not defined.any():
        empty = np.full(precisions.shape[:-2], np.nan)
        return {"map_50": empty, "map_50_95": empty, "map_10": empty}
    mean = precisions[..., defined, :].mean(axis=-2)
    return {"map_50": mean[..., 1], "map_50_95": mean[..., 1:].mean(axis=-1), "map_10": mean[..., 0]}


def mean_average_precision(cases: DetectionCases, max_detections: int = 100) -> dict[str, float]:
    """Return `map_50`, `map_50_95` (as pycocotools scores them) and `map_10` (IoU 0.1, as nnDetection reports it).

    NaN when no class has a truth box.
    """
    scores = summarise(average_precision(match(cases, IOUS, max_detections)))
    return {name: float(value) for name, value in scores.items()}


def precision_recall(item: ClassMatches, iou_index: int = 1) -> tuple[Floats, Floats]:
    """Return recall levels `(101,)` and the interpolated precision `(101,)` of one class; NaN without truth."""
    total = item.truth_count.sum()
    if total == 0:
        return RECALL_LEVELS, np.full(len(RECALL_LEVELS), np.nan)
    outcome = item.outcome[iou_index]
    found, seen = np.cumsum(outcome == FOUND), np.cumsum(outcome != IGNORED)
    precision = np.divide(found, seen, out=np.zeros(len(found)), where=seen > 0)
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
    return RECALL_LEVELS, envelope[np.searchsorted(found / total, RECALL_LEVELS, side="left")]
