"""What is estimated from predictions of boxes.

Their columns: size_0, size_1 (size_2); truth_boxes, truth_labels, truth_ignore, boxes, labels, scores, one list per
line, boxes flattened, in pixels of the original image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.plan import OperatingPoint
from ai4diag.errors import ConfigError
from ai4diag.evaluation import detection
from ai4diag.evaluation.bootstrap import Statistic
from ai4diag.evaluation.classification import Threshold, describe, fold_thresholds
from ai4diag.evaluation.detection import FALSE, FOUND, IGNORED, DetectionCases
from ai4diag.evaluation.froc import FALSE_PER_IMAGE, Froc, of_class
from ai4diag.evaluation.pairing import confusion
from ai4diag.evaluation.predictions import need

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
AP_NAMES = ("map_50", "map_50_95", "map_10")
RATE_NAMES = tuple(f"sensitivity_at_{rate:g}_fp" for rate in FALSE_PER_IMAGE)
CURVE_NAMES = ("froc_cpm", "froc_camelyon", *RATE_NAMES)
FROC_NAMES = ("froc_cpm", "sensitivity_at_1_fp")
"""What is estimated of each class; of all together the sensitivity at every rate, and CAMELYON's mean."""
CAMELYON = FALSE_PER_IMAGE >= 1 / 4
COLUMNS = ("truth_boxes", "truth_labels", "truth_ignore", "boxes", "labels", "scores")
COUNT_NAMES = ("sensitivity", "ppv", "f1")
AP_AT = {"map_50": (1,), "map_50_95": tuple(range(1, len(detection.IOUS))), "map_10": (0,)}
"""Positions in `detection.IOUS` on which each of them rests."""
AT_50 = 1
"""Position of IoU 0.5 in `detection.IOUS`."""
WORST = 12
TYPICAL = 2
USUAL_THRESHOLD = 0.5


def cases_of(rows: pd.DataFrame, n_classes: int) -> DetectionCases:
    """Return truth and detections of lines of the table of predictions."""
    return DetectionCases.from_lists(
        list(rows["truth_boxes"]),
        list(rows["truth_labels"]),
        list(rows["truth_ignore"]),
        list(rows["boxes"]),
        list(rows["labels"]),
        list(rows["scores"]),
        n_classes,
        dimensions=3 if "size_2" in rows else 2,
    )


class DetectionScores:
    """Matched detections of some images, ready to be weighted.

    Args:
        rows: lines of the table of predictions.
        classes: class names; the position is the class number.
        thresholds: score from which a detection is shown, by fold, and of the kept model.
    """

    def __init__(self, rows: pd.DataFrame, classes: Sequence[str], thresholds: Threshold) -> None:
        self._rows, self._classes, self._at = rows, tuple(classes), thresholds.of(rows)
        self._cases = cases_of(rows, len(self._classes))
        self._matches = detection.match(self._cases)
        truth = np.stack([item.truth_count for item in self._matches], axis=1)
        self.presence = truth > 0
        self._defined = truth.sum(axis=0) > 0
        self.entries: tuple[tuple[str, str], ...] = (
            *((name, "all") for name in (*AP_NAMES, *CURVE_NAMES, *COUNT_NAMES)),
            *((name, f"class={label}") for label in self._classes for name in (*AP_NAMES[:2], *FROC_NAMES)),
        )

    def statistic(self, entries: Sequence[tuple[str, str]]) -> Statistic:
        """Return the function of weights that a bootstrap of these entries needs."""
        asked = set(entries)
        curves = {"all": Froc(self._cases)} if asked & {(name, "all") for name in CURVE_NAMES} else {}
        for label, name in enumerate(self._classes):
            if asked & {(kind, f"class={name}") for kind in FROC_NAMES}:
                curves[f"class={name}"] = Froc(of_class(self._cases, label))
        counts = self.counts()
        at = sorted({iou for name, _ in asked for iou in AP_AT.get(name, ())})

        def values(weights: Floats) -> Floats:
            found: dict[tuple[str, str], Floats] = {}
            if at:
                precision = detection.average_precision(self._matches, weights, at=at)
                groups = {"all": self._defined}
                groups |= {f"class={name}": np.arange(len(self._classes)) == k for k, name in enumerate(self._classes)}
                for group, chosen in groups.items():
                    found |= {(n, group): v for n, v in detection.summarise(precision, chosen).items()}
            for group, froc in curves.items():
                sensitivity = froc.sensitivities(weights)
                found["froc_cpm", group] = sensitivity.mean(axis=1)
                found["froc_camelyon", group] = sensitivity[:, CAMELYON].mean(axis=1)
                found |= {(name, group): values for name, values in zip(RATE_NAMES, sensitivity.T, strict=True)}
            hit, false, missed = (weights @ counts).T
            with np.errstate(invalid="ignore"):
                found["sensitivity", "all"] = hit / (hit + missed)
                found["ppv", "all"] = hit / (hit + false)
                found["f1", "all"] = 2 * hit / (2 * hit + false + missed)
            return np.stack([found[entry] for entry in entries], axis=1)

        return values

    def counted(self, name: str, group: str) -> npt.NDArray[np.bool_] | None:
        """Return in which images a proportion is counted; None for what is no proportion."""
        hit, false, missed = self.counts().T
        if group != "all" or np.isnan(hit).any():
            return None
        return {"sensitivity": hit + missed > 0, "ppv": hit + false > 0}.get(name)

    def counts(self) -> Floats:
        """Return found, false and missed boxes of each image at the threshold and IoU 0.5, `(images, 3)`."""
        if np.isnan(self._at).any():
            return np.full((len(self._rows), 3), np.nan)
        return _counts(self._matches, self._at)

    def remark(self, name: str, value: float) -> str:
        """Return why a value is undefined; empty where it is not."""
        if not np.isnan(value):
            return ""
        if name in COUNT_NAMES and np.isnan(self._at).any():
            return "no score threshold could be fixed on validation predictions"
        return "no such box in the truth"

    def curves(self) -> dict[str, Any]:
        """Return curves and tables for the report as plain lists.

        `pr`: per class recall and precision at IoU 0.5; `froc`: for all classes together and each class the false
        detections per image, the sensitivity, and the sensitivity at 1/8..8 false detections per image; `counts`: truth
        boxes and detections per class; `worst` and `typical`: images with most, and with a
        middling number of, errors at the threshold, with their boxes, detections best score first; `confusion`: boxes
        by truth and answer at the threshold (see `pairing.confusion`).
        """
        pr, froc, counts = {}, {}, {}
        for label, name in enumerate(("all", *self._classes), start=-1):
            cases = self._cases if label < 0 else of_class(self._cases, label)
            curve = Froc(cases)
            false, sensitivity = curve.curve()
            froc[name] = {
                "false_per_image": false.tolist(),
                "sensitivity": sensitivity.tolist(),
                "at": FALSE_PER_IMAGE.tolist(),
                "sensitivity_at": curve.sensitivities().tolist(),
            }
            if label >= 0:
                recall, precision = detection.precision_recall(self._matches[label], AT_50)
                pr[name] = {"recall": recall.tolist(), "precision": precision.tolist()}
                counts[name] = {"truth": int((~cases.truth_ignore).sum()), "detections": len(cases.boxes)}
        return {"pr": pr, "froc": froc, "counts": counts, **self._shown()}

    def _shown(self) -> dict[str, Any]:
        """Return images to look at, and how often each class was taken for which, at the threshold."""
        at = np.where(np.isnan(self._at), USUAL_THRESHOLD, self._at)
        counts = _counts(self._matches, at).astype(int)
        errors = counts[:, 1] + counts[:, 2]
        order = np.argsort(-errors, kind="stable")
        middling = np.argsort(np.abs(errors - np.median(errors)), kind="stable")
        typical = middling[~np.isin(middling, order[:WORST])][:TYPICAL]
        matrix = np.zeros((len(self._classes) + 1,) * 2, np.int64)
        for row in range(len(self._rows)):
            matrix += confusion(*self._image(row, at[row])[:-1], n_classes=len(self._classes))
        return {
            "worst": [self._line(row, at[row], counts[row]) for row in order[:WORST]],
            "typical": [self._line(row, at[row], counts[row]) for row in typical],
            "worst_threshold": float(at.min()),
            "confusion": matrix.tolist(),
        }

    def _image(self, row: int, at: float) -> tuple[Floats, Ints, npt.NDArray[np.bool_], Floats, Ints, Floats]:
        """Return the truth (boxes, labels, ignore) of an image and its detections from the threshold on, best first."""
        cases = self._cases
        first, last = np.searchsorted(cases.truth_image, [row, row + 1])
        start, end = np.searchsorted(cases.image, [row, row + 1])
        shown = start + np.argsort(-cases.score[start:end], kind="stable")
        shown = shown[cases.score[shown] >= at]
        truth = cases.truth_boxes[first:last], cases.truth_label[first:last], cases.truth_ignore[first:last]
        return *truth, cases.boxes[shown], cases.label[shown], cases.score[shown]

    def _line(self, row: int, at: float, counts: Ints) -> dict[str, Any]:
        line = self._rows.iloc[row]
        names = ("truth_boxes", "truth_labels", "truth_ignore", "boxes", "labels", "scores")
        return {
            **{name: line[name] for name in ("case_id", "patient_id", "site", "fold") if name in line},
            **dict(zip(("found", "false", "missed"), counts.tolist(), strict=True)),
            **{name: values.tolist() for name, values in zip(names, self._image(row, at), strict=True)},
        }


def _counts(matches: Sequence[detection.ClassMatches], at: Floats) -> Floats:
    n_images = len(matches[0].truth_count)
    result = np.zeros((n_images, 3))
    for item in matches:
        shown, outcome = item.score >= at[item.image], item.outcome[AT_50]
        for column, kind in enumerate((FOUND, FALSE)):
            result[:, column] += np.bincount(item.image[shown & (outcome == kind)], minlength=n_images)
        result[:, 2] += item.truth_count
    result[:, 2] -= result[:, 0]
    return result


def check(table: pd.DataFrame, classes: Sequence[str], where: str) -> None:
    """Refuse what are no predictions of boxes; see `ai4diag.evaluation.targets.Scoring`."""
    need(table, COLUMNS, where)


def scores(rows: pd.DataFrame, classes: Sequence[str], thresholds: Threshold) -> DetectionScores:
    """Return the images, ready to be weighted."""
    return DetectionScores(rows, classes, thresholds)


def choose_threshold(
    validation: pd.DataFrame, test: pd.DataFrame, classes: Sequence[str], rule: OperatingPoint
) -> Threshold:
    """Fix the score from which a detection is shown: that of the recipe, or the one of the largest F1.

    `youden`, the default, stands for the largest F1, because boxes have no true negatives; the other rules are refused.

    Args:
        validation, test: lines of the table of predictions, see `fold_thresholds`.
        classes: class names.
        rule: the recipe's `operating_point`.

    Raises:
        ConfigError: the rule is neither a threshold nor the default.
    """
    if rule.threshold is not None:
        at = rule.threshold
        return fold_thresholds(validation, test, lambda _: at, describe(rule))
    if rule.youden is None:
        raise ConfigError(
            "evaluate.operating_point: detection takes the largest F1 on validation, or a threshold.",
            "Leave it out, or give for example {threshold: 0.5}.",
        )
    words = "largest F1 over all classes at IoU 0.5 on validation"
    return fold_thresholds(validation, test, lambda lines: _best_f1(lines, len(classes)), words)


def _best_f1(rows: pd.DataFrame, n_classes: int) -> float:
    """Return the score at which F1 over all classes at IoU 0.5 is largest, the highest of equally good ones.

    NaN without lines, without truth in them, and without detections.
    """
    if not len(rows):
        return float("nan")
    matches = detection.match(cases_of(rows, n_classes))
    truth = sum(int(item.truth_count.sum()) for item in matches)
    score = np.concatenate([item.score for item in matches])
    outcome = np.concatenate([item.outcome[AT_50] for item in matches])
    order = np.argsort(-score, kind="stable")
    ends = np.append(score[order][1:] != score[order][:-1], True)[: len(score)]
    found = np.cumsum(outcome[order] == FOUND)[ends]
    seen = np.cumsum(outcome[order] != IGNORED)[ends]
    if not truth or not len(found):
        return float("nan")
    return float(score[order][ends][np.argmax(2 * found / (seen + truth))])
