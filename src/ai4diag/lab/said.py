"""Truth and answer of one case in words, whatever the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ai4diag.evaluation.boxes import as_boxes
from ai4diag.evaluation.overlap import confusion, dice
from ai4diag.evaluation.report.pictures import case_picture
from ai4diag.evaluation.report.words import counted, number
from ai4diag.lab.answers import Answers, shown_boxes
from ai4diag.masks import decode

Line = Mapping[str, Any]
ML = 1000.0
"""Cubic millimetres of a millilitre."""


def truth_words(truth: Line, target: str, classes: Sequence[str]) -> str:
    """Return what is true of a case.

    Args:
        truth: the truth columns of predictions.
        target: what is predicted (`ai4diag.evaluation.targets`).
        classes: class names.
    """
    if target == "multilabel":
        return ", ".join(name for name in classes if truth[f"truth_{name}"]) or "none of the classes"
    if target == "time_to_event":
        days = f"{float(truth['time_days']):,.0f} days"
        return f"{classes[1]} after {days}" if truth["event"] else f"{classes[0]} when last seen, after {days}"
    if target == "masks":
        mask = decode(truth["truth_runs"], truth["shape"])
        voxel = float(np.prod(np.asarray(truth["spacing_mm"], np.float64)))
        counts = np.bincount(mask.ravel(), minlength=len(classes) + 1)[1:]
        pairs = zip(classes, counts, strict=True)
        return ", ".join(f"{name} {n * voxel / ML:.3g} ml ({n:,} voxels)" for name, n in pairs)
    if target == "boxes":
        ignored = np.asarray(truth["truth_ignore"], bool)
        labels = np.asarray(truth["truth_labels"], np.int64)[~ignored]
        each = [f"{int((labels == k).sum())} {name}" for k, name in enumerate(classes)]
        return ", ".join(each) + (
            f", and {counted(int(ignored.sum()), 'box', 'boxes')} to ignore" if ignored.any() else ""
        )
    return classes[int(truth["truth"])]


def answer_words(line: Line | None, answers: Answers | None, target: str, classes: Sequence[str]) -> str:
    """Return what the model answered; that there is no answer where there is none.

    Args:
        line: the case's line in the table of predictions; None: it has none.
        answers: all answers; None: nothing was trained on these cases.
        target, classes: as for `truth_words`.
    """
    if line is None or answers is None:
        return "none: no model was trained on these cases yet" if answers is None else "none: the model learned from it"
    if target == "time_to_event":
        after = zip(line["horizons_days"], _survival(line), strict=True) if "horizons_days" in line else ()
        shares = ", ".join(f"{100 * share:.0f} % {classes[0]} after {days:,.0f} days" for days, share in after)
        return ", ".join([f"risk score {float(line['score']):.3g}", *([shares] if shares else [])])
    if target in ("multilabel", "multiclass", "ordinal"):
        scores = {name: float(line[f"score_{name}"]) for name in classes}
        best = max(scores, key=lambda name: scores[name])
        each = ", ".join(f"{name} {number(score)}" for name, score in scores.items())
        return f"scores: {each}" if target == "multilabel" else f"{best} (scores: {each})"
    if target == "masks":
        values = zip(classes, dice_of(line, len(classes)), strict=True)
        return "drawn in the picture; Dice " + ", ".join(f"{name} {number(value)}" for name, value in values)
    at = answers.at(line)
    if target == "boxes":
        shown = _with_shape(shown_boxes(line, at))
        least = "0.5" if np.isnan(at) else f"{at:.3g}, the operating point"
        return f"{counted(len(shown['scores']), 'box', 'boxes')} with a score of at least {least}. Of " + (
            case_picture(shown, classes, None, "").caption.rstrip(".")
        )
    score = float(line["score"])
    if np.isnan(at):
        return f"score {number(score)} for {classes[1]}"
    return f"{classes[int(score >= at)]}: score {score:.3g} for {classes[1]}, yes from {at:.3g} on"


def dice_of(line: Line, n_classes: int) -> list[float]:
    """Return the Dice of each class without the background."""
    truth, answer = (decode(line[name], line["shape"]) for name in ("truth_runs", "runs"))
    found: list[float] = dice(confusion(truth, answer, n_classes + 1, compiled=False))[1:].tolist()
    return found


def _survival(line: Line) -> list[float]:
    """Return the survival at each horizon, that of the last day before it."""
    days, survival = (np.asarray(line[name], np.float64) for name in ("survival_days", "survival"))
    at = np.searchsorted(days, np.asarray(line["horizons_days"], np.float64), side="right")
    found: list[float] = np.concatenate([[1.0], survival])[at].tolist()
    return found


def _with_shape(shown: dict[str, Any]) -> dict[str, Any]:
    """Return the same with boxes of four coordinates where there is none, as `case_picture` expects."""
    columns = len(shown["boxes"][0]) if shown["boxes"] else 0
    truth = as_boxes(shown["truth_boxes"], (columns or _columns(shown)) // 2)
    return {**shown, "truth_boxes": truth.tolist()}


def _columns(shown: Mapping[str, Any]) -> int:
    labels = len(shown["truth_labels"])
    return len(shown["truth_boxes"]) // labels if labels else 4
