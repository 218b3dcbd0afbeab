"""Who was taken for whom: pairs of truth and detections in one image, across classes too.

Average precision and FROC never look across classes. For a reader it matters whether a white cell was missed or called
a platelet; this is what the confusion matrix and the pictures of the report show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ai4diag.evaluation.boxes import as_boxes, iou_matrix

HIT_IOU = 0.5
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """Truth and detections of one image, by position.

    Attributes:
        found: (truth, detection) of the same class.
        confused: (truth, detection) of different classes.
        missed: truth that no detection hits.
        false: detections that hit nothing; those in a region to ignore of their class are left out.
    """

    found: tuple[tuple[int, int], ...]
    confused: tuple[tuple[int, int], ...]
    missed: tuple[int, ...]
    false: tuple[int, ...]


def pair(
    truth: npt.ArrayLike,
    truth_labels: Ints,
    ignore: npt.NDArray[np.bool_],
    boxes: npt.ArrayLike,
    labels: Ints,
    iou: float = HIT_IOU,
) -> Pairs:
    """Pair the truth and the detections of one image.

    Each detection, best score first, takes the free truth of its class that it overlaps most, as in COCO. What is left
    over is then paired across classes in the same way.

    Args:
        truth: `(m, 2 * D)`, see `ai4diag.types`.
        truth_labels: `(m,)`.
        ignore: `(m,)`, regions in which nothing counts.
        boxes: `(n, 2 * D)`, detections, best score first.
        labels: `(n,)`.
        iou: least overlap of a pair.
    """
    overlap = iou_matrix(as_boxes(boxes), as_boxes(truth), ignore)
    same = labels[:, None] == truth_labels
    found = _take(np.where(same & ~ignore, overlap, 0.0), iou)
    rest = np.where(ignore, 0.0, overlap)
    rest[[detection for _, detection in found], :] = 0.0
    rest[:, [box for box, _ in found]] = 0.0
    in_region = ((overlap >= iou) & same & ignore).any(axis=1)
    rest[in_region] = 0.0
    confused = _take(rest, iou)
    taken = {box for box, _ in found + confused}
    used = {detection for _, detection in found + confused}
    missed = tuple(box for box in range(len(truth_labels)) if box not in taken and not ignore[box])
    false = tuple(row for row in range(len(labels)) if row not in used and not in_region[row])
    return Pairs(tuple(found), tuple(confused), missed, false)


def _take(overlap: Floats, iou: float) -> list[tuple[int, int]]:
    """Give each detection (row), in order, the free truth (column) of highest overlap that reaches `iou`."""
    if not overlap.size:
        return []
    pairs = []
    for row in np.flatnonzero((overlap >= iou).any(axis=1)):
        column = int(overlap[row].argmax())
        if overlap[row, column] >= iou:
            pairs.append((column, int(row)))
            overlap[:, column] = 0.0
    return pairs


def confusion(
    truth: npt.ArrayLike,
    truth_labels: Ints,
    ignore: npt.NDArray[np.bool_],
    boxes: npt.ArrayLike,
    labels: Ints,
    *,
    n_classes: int,
) -> Ints:
    """Return the boxes of one image by truth (rows) and answer (columns), int64 `(n_classes + 1, n_classes + 1)`.

    The last column counts missed truth, the last row false detections; their corner is 0. Arguments as for `pair`.
    """
    pairs = pair(truth, truth_labels, ignore, boxes, labels)
    matrix = np.zeros((n_classes + 1, n_classes + 1), np.int64)
    for box, detection in pairs.found + pairs.confused:
        matrix[truth_labels[box], labels[detection]] += 1
    for box in pairs.missed:
        matrix[truth_labels[box], n_classes] += 1
    for detection in pairs.false:
        matrix[n_classes, labels[detection]] += 1
    return matrix
