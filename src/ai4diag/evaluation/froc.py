"""Free-response ROC: how many lesions are found at how many false alarms per image.

As the LUNA16 and CAMELYON16 scorers do it: every lesion takes the highest score of the detections that hit it, further
hits of the same lesion are neither found nor false, detections in regions to ignore do not count, and all others are
false. Lowering one threshold over all images and classes traces the curve, equal scores in one step; it starts at
(0, 0), is linear in between, and stays level after its end. A detection hits the box of its own class that it overlaps
most, if the IoU reaches 0.1, the value that nnDetection uses.

Sources: Setio et al., Medical Image Analysis 42:1, 2017; Ehteshami Bejnordi et al., JAMA 318:2199, 2017.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ai4diag.evaluation.boxes import iou_matrix
from ai4diag.evaluation.detection import DetectionCases

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
FALSE_PER_IMAGE: Floats = np.array([1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8])
HIT_IOU = 0.1
WORTH_COMPILING = 5_000_000
"""Detections x resamples from which numba is used."""


class Froc:
    """Lesions and false detections, matched once.

    Args:
        cases: truth and detections of all classes; use `of_class` for one of them.
        iou: overlap from which a detection hits a lesion.
    """

    def __init__(self, cases: DetectionCases, iou: float = HIT_IOU) -> None:
        scores, image, found = [], [], []
        groups = cases.n_images * cases.n_classes
        key = cases.label * cases.n_images + cases.image
        truth_key = cases.truth_label * cases.n_images + cases.truth_image
        rows, truth_rows = np.argsort(key, kind="stable"), np.argsort(truth_key, kind="stable")
        starts = np.searchsorted(key[rows], np.arange(groups + 1))
        truth_starts = np.searchsorted(truth_key[truth_rows], np.arange(groups + 1))
        for group in np.flatnonzero(np.diff(starts)):
            own = rows[starts[group] : starts[group + 1]]
            its = truth_rows[truth_starts[group] : truth_starts[group + 1]]
            lesion, false = _hits(cases, own, its, iou)
            scores += [lesion, false]
            found += [np.ones(len(lesion)), np.zeros(len(false))]
            image.append(np.full(len(lesion) + len(false), group % cases.n_images))
        self._lesions: Ints = np.bincount(cases.truth_image[~cases.truth_ignore], minlength=cases.n_images)
        score = np.concatenate([np.zeros(0), *scores])
        order = np.argsort(-score, kind="stable")
        self._score = score[order]
        self._found = np.concatenate([np.zeros(0), *found])[order]
        self._image: Ints = np.concatenate([np.zeros(0, np.int64), *image])[order]
        self._ends = np.append(self._score[1:] != self._score[:-1], True)[: len(score)]

    def curve(self, weights: npt.ArrayLike | None = None) -> tuple[Floats, Floats]:
        """Return false detections per image and sensitivity, both rising, from (0, 0) on, one point per distinct score.

        Args:
            weights: how often each image counts, `(n_images,)` or `(B, n_images)`; None counts each once.

        Returns:
            `(points,)` or `(B, points)` each; sensitivity is NaN without lesions, the other without images.
        """
        draws = np.ones(len(self._lesions)) if weights is None else np.asarray(weights, np.float64)
        drawn = np.atleast_2d(draws)[:, self._image]
        start = np.zeros((len(drawn), 1))
        hits = np.cumsum(drawn * self._found, axis=1)[:, self._ends]
        alarms = np.cumsum(drawn * (1 - self._found), axis=1)[:, self._ends]
        with np.errstate(invalid="ignore"):
            sensitivity = np.hstack([start, hits]) / np.atleast_2d(draws @ self._lesions).reshape(-1, 1)
            false = np.hstack([start, alarms]) / draws.sum(axis=-1).reshape(-1, 1)
        return (false[0], sensitivity[0]) if draws.ndim == 1 else (false, sensitivity)

    def sensitivities(
        self, weights: npt.ArrayLike | None = None, at: Floats = FALSE_PER_IMAGE, *, compiled: bool | None = None
    ) -> Floats:
        """Return the sensitivity at each number of false detections per image: `(len(at),)` or `(B, len(at))`.

        The mean over the seven of `FALSE_PER_IMAGE` is the CPM of LUNA16. NaN without lesions.

        Args:
            weights: how often each image counts, `(n_images,)` or `(B, n_images)`; None counts each once.
            at: rising.
            compiled: True or False to force numba or numpy, which agree to 1e-12; None chooses by size.
        """
        draws = np.ones(len(self._lesions)) if weights is None else np.ascontiguousarray(weights, np.float64)
        if compiled is None:
            compiled = draws.size // max(len(self._lesions), 1) * len(self._image) > WORTH_COMPILING
        if compiled:
            from ai4diag.evaluation import kernels

            rows = np.atleast_2d(draws)
            result: Floats = kernels.froc(rows, self._image, self._found, self._ends, self._lesions, at)
        else:
            result = self._sensitivities(np.atleast_2d(draws), at)
        return result[0] if draws.ndim == 1 else result

    def _sensitivities(self, draws: Floats, at: Floats) -> Floats:
        false, sensitivity = self.curve(draws)
        rows = np.arange(len(false))
        result = np.empty((len(false), len(at)))
        for column, limit in enumerate(at):
            last = np.maximum((false <= limit).sum(axis=1) - 1, 0)
            after = np.minimum(last + 1, false.shape[1] - 1)
            width = false[rows, after] - false[rows, last]
            share = np.divide(limit - false[rows, last], width, out=np.zeros(len(rows)), where=width > 0)
            rise = sensitivity[rows, after] - sensitivity[rows, last]
            result[:, column] = sensitivity[rows, last] + share * rise
        return result


def _hits(cases: DetectionCases, own: Ints, its: Ints, iou: float) -> tuple[Floats, Floats]:
    """Return the best score of each lesion found, and the scores of false detections, in one image and class."""
    score, ignore = cases.score[own], cases.truth_ignore[its]
    overlap = iou_matrix(cases.boxes[own], cases.truth_boxes[its], ignore)
    real = overlap[:, ~ignore]
    best = real.max(axis=1, initial=0.0)
    hit = best >= iou
    lesion = np.full(real.shape[1], -np.inf)
    if hit.any():
        np.maximum.at(lesion, real[hit].argmax(axis=1), score[hit])
    in_region = overlap[:, ignore].max(axis=1, initial=0.0) >= iou
    return lesion[lesion > -np.inf], score[~hit & ~in_region]


def of_class(cases: DetectionCases, label: int) -> DetectionCases:
    """Return the truth and detections of one class; all images stay."""
    truth, found = cases.truth_label == label, cases.label == label
    return DetectionCases(
        n_images=cases.n_images,
        n_classes=cases.n_classes,
        truth_image=cases.truth_image[truth],
        truth_label=cases.truth_label[truth],
        truth_boxes=cases.truth_boxes[truth],
        truth_ignore=cases.truth_ignore[truth],
        image=cases.image[found],
        label=cases.label[found],
        boxes=cases.boxes[found],
        score=cases.score[found],
    )
