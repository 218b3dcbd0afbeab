"""From a score and a box at every cell, seen once or in several mirrored views, to the few boxes that are the answer.

Boxes that overlap are taken for one object: the best stays (non-maximum suppression), its edges become the mean of
those that nearly agree with it, weighted by score, and its score the mean over the views of the best score that each
view gave the object (after weighted boxes fusion, Solovyev et al., arXiv:1910.13302, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ai4diag.evaluation.boxes import iou_matrix, nms

SCORE_FLOOR = 0.01
"""Boxes with a lower score are not reported."""
MOST_BOXES = 100
"""Boxes reported for one image at most."""
MOST_CANDIDATES = 1000
"""Boxes of one image and one view that are looked at."""
SAME_OBJECT = 0.6
"""Overlap above which two boxes of one class are usually taken for the same object."""
NEARLY_THE_SAME = 0.75
"""Overlap above which a box has a say in where the edges are."""

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Answer:
    """What was found in one image, best score first.

    Attributes:
        boxes: float32 `(n, 2 * D)`.
        labels: int64 `(n,)`, class numbers.
        scores: float32 `(n,)`.
    """

    boxes: Floats
    labels: Ints
    scores: Floats


def answer(views: list[tuple[Floats, Floats]], size: tuple[float, ...], same_object: float = SAME_OBJECT) -> Answer:
    """Return what was found in one image.

    Args:
        views: scores `(cells, classes)` and boxes `(cells, 2 * D)` of the image in each view, brought back to the
            image that was not mirrored.
        size: of the image; boxes are cut off at its edge.
        same_object: overlap above which two boxes of one class are taken for the same object.
    """
    limit = np.tile(np.asarray(size, np.float32), 2)
    parts = [_candidates(scores, np.clip(boxes, 0, limit)) for scores, boxes in views]
    boxes, labels, scores = (np.concatenate([getattr(part, name) for part in parts]) for name in _NAMES)
    view = np.repeat(np.arange(len(views)), [len(part.scores) for part in parts])
    kept = nms(boxes, scores, same_object, labels)
    if not len(kept):
        return Answer(boxes, labels, scores)
    overlaps = iou_matrix(boxes, boxes[kept]) * (labels[:, None] == labels[kept])
    owner = overlaps.argmax(1)
    overlap = overlaps.max(1)
    votes = scores * (overlap > NEARLY_THE_SAME)
    sums = np.stack([np.bincount(owner, votes * edge, len(kept)) for edge in boxes.T], 1)
    fused = sums / np.bincount(owner, votes, len(kept))[:, None]
    best = np.zeros((len(kept), len(views)))
    same = overlap > same_object
    np.maximum.at(best, (owner[same], view[same]), scores[same])
    score = best.mean(1)
    order = np.argsort(-score, kind="stable")[:MOST_BOXES]
    order = order[score[order] >= SCORE_FLOOR]
    return Answer(
        np.clip(fused[order].astype(np.float32), 0, limit), labels[kept][order], score[order].astype(np.float32)
    )


_NAMES = ("boxes", "labels", "scores")


def _candidates(scores: Floats, boxes: Floats) -> Answer:
    """Return the best boxes of one view, before any is taken for another."""
    half = boxes.shape[1] // 2
    visible: npt.NDArray[np.bool_] = np.all(boxes[:, half:] > boxes[:, :half], axis=1)
    cell, label = np.nonzero((scores >= SCORE_FLOOR) & visible[:, None])
    score = scores[cell, label]
    order = np.argsort(-score, kind="stable")[:MOST_CANDIDATES]
    return Answer(boxes[cell[order]], label[order].astype(np.int64), score[order])
