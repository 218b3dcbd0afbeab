"""Yes or no at an operating point: the counts, what follows from them, and how the threshold is fixed.

A case is called positive when its score is at least the threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.plan import OperatingPoint
from ai4diag.evaluation.ranking import Ranking

if TYPE_CHECKING:
    from ai4diag.evaluation.recalibration import Recalibration

Floats = npt.NDArray[np.float64]
Fitted = TypeVar("Fitted")
COUNT_NAMES = ("accuracy", "balanced_accuracy", "f1", "sensitivity", "specificity", "ppv", "npv")
PREVALENCE_NAMES = ("ppv_at_prevalence", "npv_at_prevalence")


@dataclass(frozen=True)
class Threshold:
    """A decision threshold and where it comes from, and what else is fixed before the test part is looked at.

    Attributes:
        value: the threshold of the kept model; NaN when it could not be fixed.
        rule: the rule in words.
        folds: threshold of each fold's own model, fixed on that fold's own validation cases.
        note: why it is undefined, or what to mind.
        prevalence: share of positives at which PPV and NPV are asked for; None where they are not.
        recalibration: what turns scores into better probabilities; None where it is not asked for.
    """

    value: float
    rule: str
    folds: dict[int, float] = field(default_factory=dict)
    note: str = ""
    prevalence: float | None = field(default=None, kw_only=True)
    recalibration: Recalibration | None = field(default=None, kw_only=True)

    def of(self, rows: pd.DataFrame) -> Floats:
        """Return the threshold of each line of the table of predictions, that of its fold: `(lines,)`."""
        return np.array([self.folds.get(int(fold), self.value) for fold in rows["fold"]], np.float64)


def count_columns(truth: npt.ArrayLike, called: npt.ArrayLike) -> Floats:
    """Return the indicators of true and false positives, false and true negatives, `(n, 4)`.

    Counts are their sums; counts of resamples are weights @ columns.
    """
    positive, yes = np.asarray(truth) == 1, np.asarray(called, bool)
    return np.stack([positive & yes, ~positive & yes, positive & ~yes, ~positive & ~yes], axis=1).astype(np.float64)


def from_counts(counts: npt.ArrayLike) -> dict[str, Floats]:
    """Return what follows from the four counts.

    Args:
        counts: `(..., 4)`: true positives, false positives, false negatives, true negatives.

    Returns:
        `accuracy`; `balanced_accuracy`, mean of sensitivity and specificity; `f1` = 2 TP / (2 TP + FP + FN);
        `sensitivity` = TP / (TP + FN); `specificity` = TN / (TN + FP); `ppv` = TP / (TP + FP); `npv` = TN / (TN + FN).
        Each is NaN where its denominator is 0.

    >>> {name: round(float(value), 3) for name, value in from_counts([40, 10, 20, 130]).items()}["f1"]
    0.727
    """
    tp, fp, fn, tn = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
        return {
            "accuracy": (tp + tn) / (tp + fp + fn + tn),
            "balanced_accuracy": (sensitivity + specificity) / 2,
            "f1": 2 * tp / (2 * tp + fp + fn),
            "sensitivity": sensitivity,
            "specificity": specificity,
            "ppv": tp / (tp + fp),
            "npv": tn / (tn + fn),
        }


def at_prevalence(sensitivity: npt.ArrayLike, specificity: npt.ArrayLike, prevalence: float) -> dict[str, Floats]:
    """Return `ppv_at_prevalence` and `npv_at_prevalence` by Bayes' theorem; NaN where nothing is called so.

    The prevalence is taken as known: intervals say how sure sensitivity and specificity are, not the prevalence.

    >>> {name: round(float(value), 3) for name, value in at_prevalence(0.9, 0.8, 0.01).items()}
    {'ppv_at_prevalence': 0.043, 'npv_at_prevalence': 0.999}
    """
    found, cleared = np.asarray(sensitivity, np.float64), np.asarray(specificity, np.float64)
    ill, well = prevalence, 1 - prevalence
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "ppv_at_prevalence": found * ill / (found * ill + (1 - cleared) * well),
            "npv_at_prevalence": cleared * well / (cleared * well + (1 - found) * ill),
        }


def describe(rule: OperatingPoint) -> str:
    """Return the rule in words."""
    if rule.threshold is not None:
        return f"fixed beforehand at {rule.threshold:g}"
    if rule.sensitivity is not None:
        return f"highest threshold with a sensitivity of at least {rule.sensitivity:g} on validation"
    if rule.specificity is not None:
        return f"lowest threshold with a specificity of at least {rule.specificity:g} on validation"
    what = "accuracy" if rule.accuracy else "sensitivity + specificity"
    return f"largest {what} on validation"


def fold_thresholds(
    validation: pd.DataFrame, test: pd.DataFrame, fix: Callable[[pd.DataFrame], float], rule: str
) -> Threshold:
    """Fix the threshold of every fold on that fold's own validation predictions.

    The kept model's threshold is fixed on the validation predictions of all folds together. A fold whose own lines do
    not suffice takes those of the other folds, without the patients that it is tested on, and the note says so.

    Args:
        validation: validation lines of the table of predictions; may be empty.
        test: its test lines.
        fix: from lines to a threshold, NaN where they do not suffice.
        rule: what `fix` does, in words.
    """

    def fixed(lines: pd.DataFrame) -> float | None:
        value = fix(lines)
        return None if np.isnan(value) else value

    kept, own, lacking = by_fold(validation, test, fixed)
    folds = {fold: np.nan if value is None else value for fold, value in own.items()}
    note = ""
    if kept is None or None in own.values():
        note = "undefined: validation predictions are missing or too few for the rule"
    elif lacking:
        note = f"{lacking} fold(s) had too few validation cases and use those of the other folds"
    return Threshold(np.nan if kept is None else kept, rule, folds, note)


def by_fold(
    validation: pd.DataFrame, test: pd.DataFrame, fix: Callable[[pd.DataFrame], Fitted | None]
) -> tuple[Fitted | None, dict[int, Fitted | None], int]:
    """Fit something to the validation predictions of every fold; arguments as `fold_thresholds` has them.

    Returns:
        what is fixed on all validation lines, for the kept model; for each fold what is fixed on its own, or on those
        of the other folds without the patients that it is tested on; how many folds had to do the latter. None where
        the lines do not suffice.
    """
    own: dict[int, Fitted | None] = {}
    lacking = 0
    for fold in sorted(test["fold"].unique()):
        value = fix(validation[validation["fold"] == fold])
        if value is None:
            lacking += 1
            tested = test.loc[test["fold"] == fold, "patient_id"]
            value = fix(validation[~validation["patient_id"].isin(tested)])
        own[int(fold)] = value
    return fix(validation), own, lacking


def fix_threshold(truth: npt.ArrayLike, score: npt.ArrayLike, rule: OperatingPoint) -> float:
    """Return the threshold that the rule chooses on these (validation) cases.

    Candidates are the distinct scores, and one just above the highest (nobody is called positive). Of equally good
    thresholds the highest is taken. NaN without cases, or when the rule needs a class that is not there.
    """
    if rule.threshold is not None:
        return rule.threshold
    ranking = Ranking(truth, score)
    if not np.size(score):
        return float("nan")
    false_rate, true_rate, threshold = ranking.roc_curve()
    threshold[0] = np.nextafter(threshold[1], np.inf)
    positives = float(np.sum(truth))
    negatives = np.size(truth) - positives
    if rule.accuracy:
        correct = np.nan_to_num(true_rate) * positives + (1 - np.nan_to_num(false_rate)) * negatives
        return float(threshold[np.argmax(np.round(correct))])
    if (not positives and rule.specificity is None) or (not negatives and rule.sensitivity is None):
        return float("nan")
    if rule.sensitivity is not None:
        return float(threshold[np.argmax(true_rate >= rule.sensitivity - 1e-12)])
    if rule.specificity is not None:
        return float(threshold[np.flatnonzero(1 - false_rate >= rule.specificity - 1e-12)[-1]])
    return float(threshold[np.argmax(np.round(true_rate - false_rate, 12))])


def net_benefit(
    truth: npt.ArrayLike, score: npt.ArrayLike, thresholds: npt.ArrayLike | None = None
) -> dict[str, list[float]]:
    """Return the decision curve: net benefit of treating by the score, of treating all, of treating none.

    Net benefit = TP/n - FP/n x t / (1 - t), per case, at threshold probability t (0.01 to 0.99 by default), where
    t / (1 - t) is the harm of treating in vain over the benefit of treating rightly. Source: Vickers and Elkin, Medical
    Decision Making 26:565, 2006. NaN without cases.
    """
    ill, scores = np.asarray(truth) == 1, np.asarray(score, np.float64)
    at = np.linspace(0.01, 0.99, 99) if thresholds is None else np.asarray(thresholds, np.float64)
    odds = at / (1 - at)
    n = len(scores) or np.nan
    called = np.sort(scores[ill]), np.sort(scores[~ill])
    tp, fp = (len(group) - np.searchsorted(group, at, side="left") for group in called)
    return {
        "threshold": at.tolist(),
        "model": (tp / n - fp / n * odds).tolist(),
        "treat_all": (ill.sum() / n - (~ill).sum() / n * odds).tolist(),
        "treat_none": np.zeros(len(at)).tolist() if len(scores) else np.full(len(at), np.nan).tolist(),
    }
