"""Better probabilities from the same scores: fitted to validation predictions, never to those of the test part.

Where a case has several findings each is recalibrated alone; of classes that exclude each other all share one
temperature. The order of the cases stays as it is (isotonic: apart from new ties), and so does what the model can tell
apart; only what its scores mean changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.errors import ConfigError
from ai4diag.evaluation.calibration import TINY, logistic_line
from ai4diag.evaluation.classification import by_fold

Floats = npt.NDArray[np.float64]
Map: TypeAlias = Callable[[Floats], Floats]
"""From scores `(cases,)` or `(cases, classes)` to probabilities of the same shape."""
AFTER = "_recalibrated"
"""What the names of estimates after recalibration end with."""
FEW_CASES = {"platt": 100, "temperature": 100, "isotonic": 500}
"""Below so many validation cases a fit may do harm; a step function needs more of them."""
LEAST, MOST = 0.01, 100.0
"""Limits of the temperature."""
BY_CLASS = ("binary", "multilabel")


@dataclass(frozen=True)
class Recalibration:
    """What was fitted to validation predictions.

    Attributes:
        method: `platt`, `isotonic` or `temperature`.
        columns: the columns of scores in the table of predictions.
        kept: what belongs to the kept model; None where nothing could be fitted.
        folds: what belongs to each fold's own model.
        note: why it is undefined, or what to mind.
    """

    method: str
    columns: tuple[str, ...]
    kept: Map | None
    folds: dict[int, Map | None]
    note: str = ""

    def of(self, rows: pd.DataFrame) -> Floats:
        """Return probabilities of lines of the table of predictions, `(lines, columns)`; NaN where there is no fit."""
        scores = rows[list(self.columns)].to_numpy(np.float64)
        result = np.full(scores.shape, np.nan)
        fold = rows["fold"].to_numpy(np.int64)
        for number in np.unique(fold):
            convert = self.folds.get(int(number), self.kept)
            if convert is not None:
                own = fold == number
                result[own] = convert(scores[own])
        return result


def fit(
    validation: pd.DataFrame, test: pd.DataFrame, target: str, classes: Sequence[str], method: str
) -> Recalibration:
    """Fit the map of each fold to that fold's own validation predictions, as `classification.by_fold` says.

    Args:
        validation: validation lines of the table of predictions; may be empty.
        test: its test lines.
        target: what was predicted.
        classes: class names.
        method: `platt`, `isotonic` or `temperature`.

    Raises:
        ConfigError: the target has no probabilities, or not by this method.
    """
    if target not in (*BY_CLASS, "multiclass", "ordinal"):
        raise ConfigError("evaluate.recalibrate: only probabilities of classes can be recalibrated.", "Leave it out.")
    if target not in BY_CLASS and method != "temperature":
        raise ConfigError(
            f"evaluate.recalibrate: {method} is for classes that are judged one by one.", "Choose temperature."
        )
    score = ["score"] if target == "binary" else [f"score_{name}" for name in classes]
    truth = {"binary": ["truth"], "multilabel": [f"truth_{name}" for name in classes]}.get(target, ["truth"])
    both = pd.concat([validation[score], test[score]]).to_numpy(np.float64)
    probable = bool(((both >= 0) & (both <= 1)).all())

    def fitted(lines: pd.DataFrame) -> Map | None:
        known, scores = lines[truth].to_numpy(np.int64), lines[score].to_numpy(np.float64)
        if target not in BY_CLASS:
            return _shared_temperature(known[:, 0], scores) if probable else None
        each = [_of_one(method, known[:, k], scores[:, k], probable=probable) for k in range(len(score))]
        return _side_by_side([item for item in each if item is not None]) if None not in each else None

    kept, folds, lacking = by_fold(validation, test, fitted)
    note = _note(method, validation, {kept is None, *(item is None for item in folds.values())}, lacking, probable)
    return Recalibration(method, tuple(score), kept, folds, note)


def _note(method: str, validation: pd.DataFrame, missing: set[bool], lacking: int, probable: bool) -> str:
    if not len(validation):
        return "there are no validation predictions to fit it to"
    if True in missing:
        if not probable and method == "temperature":
            return "scores outside 0..1 have no temperature"
        return "validation predictions are too few, lack a class, or all have the same score"
    fewest = int(validation.groupby("fold").size().min())
    notes = [f"{lacking} fold(s) use validation predictions of the other folds"] if lacking else []
    if fewest < FEW_CASES[method]:
        notes.append(f"fitted to only {fewest} validation cases; it may do harm with fewer than {FEW_CASES[method]}")
    return "; ".join(notes)


def _of_one(method: str, truth: npt.NDArray[np.int64], score: Floats, *, probable: bool) -> Map | None:
    """Return the map for one class; None without positives, without negatives, and where all scores are equal."""
    if not 0 < truth.sum() < len(truth) or np.ptp(score) == 0:
        return None
    if method == "isotonic":
        return isotonic(truth, score)
    line = _logit if probable else _same
    if method == "platt":
        return platt(truth, line(score), line)
    return temperature(truth, score) if probable else None


def platt(truth: npt.NDArray[np.int64], x: Floats, line: Map) -> Map | None:
    """Return P = 1 / (1 + exp(-(a + b x))), where x is `line` of the score.

    The outcomes are moved inwards, to (n1 + 1) / (n1 + 2) and 1 / (n0 + 2) with n1 positives and n0 negatives, so that
    there is an answer when scores separate the classes. Source: Platt, Advances in Large Margin Classifiers, 1999.
    """
    positives = int(truth.sum())
    negatives = len(truth) - positives
    intercept, slope = logistic_line(np.where(truth == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2)), x)
    if np.isnan(slope):
        return None
    return lambda score: _sigmoid(intercept + slope * line(score))


def isotonic(truth: npt.NDArray[np.int64], score: Floats) -> Map:
    """Return the rising function that fits outcomes best, linear between the distinct scores and level beyond them.

    Kept within 1 / (n + 2) and (n + 1) / (n + 2) of n cases: none of n is no proof of never. Source: Zadrozny and
    Elkan, KDD 2002.
    """
    from scipy.optimize import isotonic_regression

    distinct, position, count = np.unique(score, return_inverse=True, return_counts=True)
    share = np.bincount(position.reshape(-1), weights=truth) / count
    edge = 1 / (len(truth) + 2)
    level = np.clip(isotonic_regression(share, weights=count).x, edge, 1 - edge)
    return lambda values: np.interp(values, distinct, level)


def temperature(truth: npt.NDArray[np.int64], score: Floats) -> Map:
    """Return P = 1 / (1 + exp(-logit(score) / T)) with the T of the smallest log loss, kept within 0.01 and 100."""
    x = _logit(score)
    inverse = _inverse_temperature(lambda b: float(x @ (truth - _sigmoid(b * x))))
    return lambda values: _sigmoid(inverse * _logit(values))


def _shared_temperature(truth: npt.NDArray[np.int64], score: Floats) -> Map | None:
    """Return softmax(log(score) / T) with the T of the smallest log loss; None without cases.

    Source: Guo et al., ICML 2017.
    """
    if not len(truth):
        return None
    x = _log(score)
    own = x[np.arange(len(truth)), truth]
    inverse = _inverse_temperature(lambda b: float((own - (_softmax(b * x) * x).sum(axis=1)).sum()))
    return lambda values: _softmax(inverse * _log(values))


def _inverse_temperature(slope: Callable[[float], float]) -> float:
    """Return 1 / T where the derivative of the log likelihood, which falls all the way, passes 0."""
    from scipy.optimize import brentq

    low, high = 1 / MOST, 1 / LEAST
    if slope(low) <= 0:
        return low
    if slope(high) >= 0:
        return high
    return float(np.exp(brentq(lambda logarithm: slope(np.exp(logarithm)), np.log(low), np.log(high), xtol=1e-10)))


def _side_by_side(each: Sequence[Map]) -> Map:
    return lambda scores: np.stack([convert(scores[:, k]) for k, convert in enumerate(each)], axis=1)


def _same(values: Floats) -> Floats:
    return values


def _logit(values: Floats) -> Floats:
    clipped = np.clip(values, TINY, 1 - TINY)
    result: Floats = np.log(clipped) - np.log1p(-clipped)
    return result


def _log(values: Floats) -> Floats:
    result: Floats = np.log(np.clip(values, TINY, 1))
    return result


def _sigmoid(values: Floats) -> Floats:
    from scipy.special import expit

    result: Floats = expit(values)
    return result


def _softmax(values: Floats) -> Floats:
    from scipy.special import softmax

    result: Floats = softmax(values, axis=1)
    return result
