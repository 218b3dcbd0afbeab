"""What is estimated from predictions of findings of which a case may show any number, or none.

Their columns: for each class `truth_<class>`, 0 or 1, and `score_<class>`. Each class has its own threshold, fixed on
validation by the rule of the recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.plan import OperatingPoint
from ai4diag.errors import ConfigError
from ai4diag.evaluation.bootstrap import Statistic
from ai4diag.evaluation.calibration import Calibration
from ai4diag.evaluation.classification import (
    Threshold,
    count_columns,
    describe,
    fix_threshold,
    fold_thresholds,
    from_counts,
)
from ai4diag.evaluation.many_areas import ManyAreas, mean_of_defined
from ai4diag.evaluation.multiclass_scores import FEW_OF_A_CLASS, TINY, score_columns
from ai4diag.evaluation.predictions import need, need_number, refuse
from ai4diag.evaluation.ranking import Ranking
from ai4diag.evaluation.recalibration import AFTER
from ai4diag.evaluation.typical import typical

Floats = npt.NDArray[np.float64]
ALL_NAMES = ("auroc_macro", "auprc_macro", "accuracy", "exact_match", "balanced_accuracy", "f1_macro")
ERROR_NAMES = ("brier", "log_loss", "ece")
CLASS_NAMES = ("auroc", "auprc", "sensitivity", "specificity", "ppv", "npv", "f1")
AFTER_NAMES = tuple(f"{name}{AFTER}" for name in ERROR_NAMES)
COUNTED = ("accuracy", "exact_match", "balanced_accuracy", "f1_macro", *CLASS_NAMES[2:])
NEVER = {"ppv": "the class is never called", "npv": "the class is called of every case"}
"""Why these are undefined, whatever cases show."""
WORST = 20


@dataclass(frozen=True)
class ThresholdPerClass(Threshold):
    """A threshold for each class; `value` is the mean of them, NaN where one could not be fixed."""

    classes: tuple[Threshold, ...] = ()

    def table(self, rows: pd.DataFrame) -> Floats:
        """Return the threshold of each line and class, `(lines, classes)`."""
        return np.stack([threshold.of(rows) for threshold in self.classes], axis=1)


def truth_columns(classes: Sequence[str]) -> list[str]:
    """Return the names of the columns of the truth.

    >>> truth_columns(["oedema"])
    ['truth_oedema']
    """
    return [f"truth_{name}" for name in classes]


class MultilabelScores:
    """Truth and scores of some cases, ready to be weighted.

    Args:
        rows: lines of the table of predictions.
        classes: class names; the position is the class number.
        thresholds: those of each class.
    """

    def __init__(self, rows: pd.DataFrame, classes: Sequence[str], thresholds: ThresholdPerClass) -> None:
        self._rows, self._classes = rows, tuple(classes)
        self._truth = rows[truth_columns(classes)].to_numpy(np.int64) == 1
        self.presence = np.hstack([self._truth, ~self._truth])  # areas need cases without a finding as well
        self._score = rows[score_columns(classes)].to_numpy(np.float64)
        self._at = thresholds.table(rows)
        self._recalibration = thresholds.recalibration
        self._probable = bool(((self._score >= 0) & (self._score <= 1)).all())
        names = (*ALL_NAMES, *(ERROR_NAMES if self._probable else ()))
        names += AFTER_NAMES if thresholds.recalibration is not None else ()
        self.entries: tuple[tuple[str, str], ...] = (
            *((name, "all") for name in names),
            *((name, f"class={label}") for label in self._classes for name in CLASS_NAMES),
            *(("ece", f"class={label}") for label in self._classes if self._probable),
        )

    def statistic(self, entries: Sequence[tuple[str, str]]) -> Statistic:
        """Return the function of weights that a bootstrap of these entries needs."""
        names = {name for name, _ in entries}
        count = len(self._classes)
        ranked = names & {"auroc_macro", "auroc", "auprc_macro", "auprc"}
        areas = ManyAreas(self._truth, self._score) if ranked else None
        columns = np.hstack([self._counts().reshape(len(self._rows), -1), self._right(), self._errors(self._score)])
        gaps = self._gaps(self._score) if "ece" in names else None
        after = self._after(names)

        def values(weights: Floats) -> Floats:
            sums = weights @ columns
            each = from_counts(sums[:, : 4 * count].reshape(-1, count, 4))
            with np.errstate(invalid="ignore"):
                means = sums[:, 4 * count :] / weights.sum(axis=1, keepdims=True)
            if areas is not None:
                precise = bool(names & {"auprc_macro", "auprc"})
                each["auroc"], each["auprc"] = areas.areas(weights, precision=precise)
            found = {(name, "all"): means[:, n] for n, name in enumerate(("exact_match", "brier", "log_loss"))}
            if gaps is not None:
                each["ece"] = self._ece(weights, gaps)
                found["ece", "all"] = mean_of_defined(each["ece"])
            found |= after(weights)
            found |= {(name, "all"): mean_of_defined(each[name]) for name in ("accuracy", "balanced_accuracy")}
            found |= {
                (f"{name}_macro", "all"): mean_of_defined(each[name])
                for name in ("auroc", "auprc", "f1")
                if name in each
            }
            for k, label in enumerate(self._classes):
                found |= {(name, f"class={label}"): table[:, k] for name, table in each.items()}
            return np.stack([found[entry] for entry in entries], axis=1)

        return values

    def _counts(self) -> Floats:
        """Return the indicators of true and false positives, false and true negatives, `(cases, classes, 4)`."""
        called = self._score >= self._at
        counts = [count_columns(self._truth[:, k], called[:, k]) for k in range(len(self._classes))]
        found = np.stack(counts, axis=1)
        found[:, np.isnan(self._at).any(axis=0)] = np.nan  # without a threshold there is no answer to count
        return found

    def _recalibrated(self) -> Floats:
        """Return the recalibrated probabilities `(cases, classes)`; NaN where there are none."""
        if self._recalibration is None:
            return np.full(self._score.shape, np.nan)
        return self._recalibration.of(self._rows)

    def _after(self, names: set[str]) -> Callable[[Floats], dict[tuple[str, str], Floats]]:
        """Return the function from weights to what is asked for after recalibration."""
        asked = names & set(AFTER_NAMES)
        score = self._recalibrated() if asked else np.empty((0, 0))
        if not asked or np.isnan(score).any():
            return lambda weights: {(name, "all"): np.full(len(weights), np.nan) for name in asked}
        errors, gaps = self._errors(score), self._gaps(score)

        def values(weights: Floats) -> dict[tuple[str, str], Floats]:
            with np.errstate(invalid="ignore"):
                means = weights @ errors / weights.sum(axis=1, keepdims=True)
            each = (*means.T, mean_of_defined(self._ece(weights, gaps)))
            return {(name, "all"): value for name, value in zip(AFTER_NAMES, each, strict=True)}

        return values

    def _gaps(self, score: Floats) -> Floats:
        """Return outcome minus probability in the bin of the probability, `(cases, classes * bins)`."""
        own = [Calibration(self._truth[:, k], score[:, k]).columns()[:, 3:] for k in range(len(self._classes))]
        return np.hstack(own)

    def _ece(self, weights: Floats, gaps: Floats) -> Floats:
        """Return the expected calibration error of each class, `(B, classes)`."""
        with np.errstate(invalid="ignore"):
            means = weights @ gaps / weights.sum(axis=1, keepdims=True)
        errors: Floats = np.abs(means).reshape(len(weights), len(self._classes), -1).sum(axis=2)
        return errors

    def _right(self) -> Floats:
        """Return whether all answers are right, `(cases, 1)`."""
        right = ((self._score >= self._at) == self._truth).all(axis=1).astype(np.float64)
        if np.isnan(self._at).any():
            right[:] = np.nan
        column: Floats = right[:, None]
        return column

    def _errors(self, score: Floats) -> Floats:
        """Return mean squared error and mean log loss over classes, `(cases, 2)`."""
        squared = ((score - self._truth) ** 2).mean(axis=1)
        likely = np.where(self._truth, score, 1 - score)
        return np.column_stack([squared, -np.log(np.clip(likely, TINY, 1)).mean(axis=1)])

    def counted(self, name: str, group: str) -> npt.NDArray[np.bool_] | None:
        """Return which cases a proportion is of; None for what is no proportion."""
        if group == "all":
            return np.full(len(self._rows), True) if name in ("accuracy", "exact_match") else None
        k = self._classes.index(group.removeprefix("class="))
        own, called = self._truth[:, k], self._score[:, k] >= self._at[:, k]
        return {"sensitivity": own, "specificity": ~own, "ppv": called, "npv": ~called}.get(name)

    def remark(self, name: str, value: float) -> str:
        """Return why a value is undefined, or why it would mislead; empty where neither."""
        if name.endswith(AFTER) and np.isnan(value) and self._recalibration is not None:
            return self._recalibration.note or "without cases"
        counts = self._truth.sum(axis=0)
        absent = [label for label, n in zip(self._classes, counts, strict=True) if n in (0, len(self._rows))]
        if np.isnan(value):
            if name in COUNTED and np.isnan(self._at).any():
                return "no operating point could be fixed on validation predictions"
            return NEVER.get(name) or (f"all or no cases show {', '.join(absent)}" if absent else "nothing is there")
        if name in ("accuracy", "balanced_accuracy", "f1_macro") and np.isnan(self._at).any():
            without = [label for label, at in zip(self._classes, self._at.T, strict=True) if np.isnan(at).any()]
            return f"mean without {', '.join(without)}, for which no operating point could be fixed"
        if name.endswith("_macro") and absent:
            return f"mean without {', '.join(absent)}, which all or no cases show"
        few = [label for label, n in zip(self._classes, counts, strict=True) if 0 < n < FEW_OF_A_CLASS]
        return f"fewer than {FEW_OF_A_CLASS} cases of {', '.join(few)}" if name.endswith("_macro") and few else ""

    def curves(self) -> dict[str, Any]:
        """Return curves and tables for the report as plain lists.

        `roc`: per class fpr and tpr; `confusion`: per class tp, fp, fn, tn and the threshold, where they are known;
        `worst`: cases with the most wrong answers; `typical`: cases with a middling number.
        """
        roc, counts = {}, {}
        sums = self._counts().sum(axis=0)
        for k, name in enumerate(self._classes):
            false_rate, true_rate, _ = Ranking(self._truth[:, k], self._score[:, k]).roc_curve()
            roc[name] = {"fpr": false_rate.tolist(), "tpr": true_rate.tolist()}
            if not np.isnan(sums[k]).any():
                counts[name] = dict(zip(("tp", "fp", "fn", "tn"), sums[k].astype(int).tolist(), strict=True))
        return {"roc": roc, "confusion": counts, **self._shown()}

    def _shown(self) -> dict[str, Any]:
        """Return the cases to look at."""
        called = self._score >= self._at
        error = np.abs(self._score - self._truth).max(axis=1)
        wrong = (called != self._truth).sum(axis=1)
        order = np.lexsort((-error, -wrong))
        shows = np.column_stack([self._truth, ~self._truth.any(axis=1)])
        middling = typical(shows, wrong + error / 2, order)  # errors are at most 1: they only break ties
        return {
            "worst": self._lines(order[:WORST], called, error),
            "typical": self._lines(middling, called, error),
        }

    def _lines(
        self, order: npt.NDArray[np.int64], called: npt.NDArray[np.bool_], error: Floats
    ) -> list[dict[str, Any]]:
        dropped = {"part", *truth_columns(self._classes), *score_columns(self._classes)}
        kept = [name for name in self._rows.columns if name not in dropped]
        lines = self._rows.iloc[order][kept].to_dict("records")
        names = np.array(self._classes, object)
        return [
            {
                **{str(name): value for name, value in line.items()},
                "truth": ", ".join(names[self._truth[row]]) or "none",
                "called": ", ".join(names[called[row]]) or "none",
                "score": float(error[row]),
            }
            for line, row in zip(lines, order, strict=True)
        ]


def check(table: pd.DataFrame, classes: Sequence[str], where: str) -> None:
    """Refuse what are no predictions of several findings; see `ai4diag.evaluation.targets.Scoring`."""
    if not classes:
        raise ConfigError(f"{where}: the classes are not known.", "Name them in the plan.")
    need(table, (*truth_columns(classes), *score_columns(classes)), where)
    for truth, score in zip(truth_columns(classes), score_columns(classes), strict=True):
        refuse(~table[truth].isin([0, 1]), table, truth, "0 or 1", where)
        need_number(table, score, where)


def choose_threshold(
    validation: pd.DataFrame, test: pd.DataFrame, classes: Sequence[str], rule: OperatingPoint
) -> ThresholdPerClass:
    """Fix for each class the score from which it is called; arguments as `fold_thresholds` has them."""
    words = f"for each class, {describe(rule)}"
    each = tuple(
        fold_thresholds(
            validation,
            test,
            lambda lines, truth=truth, score=score: fix_threshold(lines[truth], lines[score], rule),  # type: ignore[misc]
            words,
        )
        for truth, score in zip(truth_columns(classes), score_columns(classes), strict=True)
    )
    lacking = [name for name, threshold in zip(classes, each, strict=True) if threshold.note]
    note = f"{', '.join(lacking)}: {each[classes.index(lacking[0])].note}" if lacking else ""
    return ThresholdPerClass(float(np.mean([threshold.value for threshold in each])), words, {}, note, each)


def scores(rows: pd.DataFrame, classes: Sequence[str], thresholds: Threshold) -> MultilabelScores:
    """Return the cases, ready to be weighted."""
    assert isinstance(thresholds, ThresholdPerClass)
    return MultilabelScores(rows, classes, thresholds)
