"""What is estimated from predictions of a binary outcome.

Their columns: `truth`, 0 or 1, and `score`, of the positive class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.plan import OperatingPoint
from ai4diag.errors import ConfigError
from ai4diag.evaluation.bootstrap import Statistic
from ai4diag.evaluation.calibration import Calibration
from ai4diag.evaluation.classification import (
    COUNT_NAMES,
    PREVALENCE_NAMES,
    Threshold,
    at_prevalence,
    count_columns,
    describe,
    fix_threshold,
    fold_thresholds,
    from_counts,
    net_benefit,
)
from ai4diag.evaluation.predictions import need, need_number, refuse
from ai4diag.evaluation.ranking import Ranking
from ai4diag.evaluation.recalibration import AFTER
from ai4diag.evaluation.typical import typical

Floats = npt.NDArray[np.float64]
RANKING_NAMES = ("auroc", "auprc")
ERROR_NAMES = ("brier", "log_loss", "ece")
FIT_NAMES = ("calibration_slope", "calibration_intercept")
AFTER_NAMES = tuple(f"{name}{AFTER}" for name in (*ERROR_NAMES, *FIT_NAMES))
FEW_OF_A_CLASS = 10
WORST = 20


class BinaryScores:
    """Truth and scores of some cases, ready to be weighted.

    Args:
        rows: lines of the table of predictions.
        classes: names of the negative and the positive class.
        thresholds: decision thresholds by fold, and of the kept model; prevalence and recalibration where asked for.
    """

    def __init__(self, rows: pd.DataFrame, classes: Sequence[str], thresholds: Threshold) -> None:
        self._rows, self._classes, self._fixed = rows, tuple(classes), thresholds
        self._truth, self._score = rows["truth"].to_numpy(np.int64), rows["score"].to_numpy(np.float64)
        self._at = thresholds.of(rows)
        self._probable = bool(((self._score >= 0) & (self._score <= 1)).all())
        names = (*RANKING_NAMES, *COUNT_NAMES, *(ERROR_NAMES + FIT_NAMES if self._probable else ()))
        names += PREVALENCE_NAMES if thresholds.prevalence is not None else ()
        names += AFTER_NAMES if thresholds.recalibration is not None else ()
        self.entries: tuple[tuple[str, str], ...] = tuple((name, "all") for name in names)
        self.presence = np.stack([self._truth == 0, self._truth == 1], axis=1)

    def statistic(self, entries: Sequence[tuple[str, str]]) -> Statistic:
        """Return the function of weights that a bootstrap of these entries needs."""
        names = [name for name, _ in entries]
        after = self._after(names)
        ranking = Ranking(self._truth, self._score)
        calibration = Calibration(self._truth, self._score) if self._probable else None
        columns = count_columns(self._truth, self._score >= self._at)
        columns[np.isnan(self._at)] = np.nan  # without a threshold there is no answer to count
        if calibration is not None:
            columns = np.hstack([columns, calibration.columns()])

        def values(weights: Floats) -> Floats:
            found = {name: np.full(len(weights), np.nan) for name in ERROR_NAMES + FIT_NAMES}
            if set(names) & set(RANKING_NAMES):
                found["auroc"], found["auprc"] = ranking.areas(weights)
            sums = weights @ columns
            found |= from_counts(sums[:, :4])
            if calibration is not None:
                found |= calibration.errors(sums[:, 4:])
                if set(names) & set(FIT_NAMES):
                    found["calibration_slope"], found["calibration_intercept"] = calibration.recalibration(weights)
            if self._fixed.prevalence is not None:
                found |= at_prevalence(found["sensitivity"], found["specificity"], self._fixed.prevalence)
            found |= after(weights)
            return np.stack([found[name] for name in names], axis=1)

        return values

    def _after(self, names: Sequence[str]) -> Callable[[Floats], dict[str, Floats]]:
        """Return the function from weights to what is asked for after recalibration."""
        asked = set(names) & set(AFTER_NAMES)
        again = self._recalibrated() if asked else None
        if again is None:
            return lambda weights: {name: np.full(len(weights), np.nan) for name in asked}
        columns = again.columns()

        def values(weights: Floats) -> dict[str, Floats]:
            found = again.errors(weights @ columns)
            if asked & {f"{name}{AFTER}" for name in FIT_NAMES}:
                found |= dict(zip(FIT_NAMES, again.recalibration(weights), strict=True))
            return {f"{name}{AFTER}": value for name, value in found.items()}

        return values

    def _recalibrated(self) -> Calibration | None:
        """Return the cases with their recalibrated probabilities; None where a fold has none, or nobody asked."""
        if self._fixed.recalibration is None:
            return None
        probability = self._fixed.recalibration.of(self._rows)[:, 0]
        return None if np.isnan(probability).any() else Calibration(self._truth, probability)

    def counted(self, name: str, group: str) -> npt.NDArray[np.bool_] | None:
        """Return which cases a proportion is of; None for what is no proportion."""
        called = self._score >= self._at
        every = np.full(len(called), True)
        of = {"sensitivity": self._truth == 1, "specificity": self._truth == 0, "ppv": called, "npv": ~called}
        return {"accuracy": every, **of}.get(name)

    def remark(self, name: str, value: float) -> str:
        """Return why a value is undefined, or why it would mislead; empty where neither."""
        positives = int(self._truth.sum())
        negatives = len(self._truth) - positives
        share = max(positives, negatives) / max(len(self._truth), 1)
        after = self._fixed.recalibration if name.endswith(AFTER) else None
        if np.isnan(value) and after is not None and self._recalibrated() is None:
            return after.note
        name = name.removesuffix(AFTER).removesuffix("_at_prevalence")
        if np.isnan(value):
            if name in COUNT_NAMES and np.isnan(self._at).any():
                return "no operating point could be fixed on validation predictions"
            if name in FIT_NAMES and positives and negatives:
                return "no finite fit: the scores separate the classes, or are all equal"
            text = f"{positives} positive and {negatives} negative cases"
            return f"{text}, {(self._score >= self._at).sum()} called positive" if name in COUNT_NAMES else text
        if name == "accuracy" and value <= share:
            return f"not above {share:.3f}, which always answering the commoner class scores"
        if name in (*RANKING_NAMES, *FIT_NAMES) and min(positives, negatives) < FEW_OF_A_CLASS:
            return f"rests on only {positives} positive and {negatives} negative cases"
        return ""

    def curves(self) -> dict[str, Any]:
        """Return curves and tables for the report as plain lists.

        `roc` (fpr, tpr, threshold), `pr` (recall, precision, threshold), `confusion` (tp, fp, fn, tn at each fold's
        operating point), `score_histogram`, `worst` (cases with the largest error), `typical` (such with a middling
        one); where scores are probabilities `reliability` (mean_score, observed, n) and `decision` (threshold, model,
        treat_all, treat_none).
        """
        ranking = Ranking(self._truth, self._score)
        false_rate, true_rate, at = ranking.roc_curve()
        recall, precision, pr_at = ranking.precision_recall_curve()
        counts = count_columns(self._truth, self._score >= self._at).sum(axis=0)
        known = not np.isnan(self._at).any()
        result: dict[str, Any] = {
            "roc": {"fpr": false_rate.tolist(), "tpr": true_rate.tolist(), "threshold": at.tolist()},
            "pr": {"recall": recall.tolist(), "precision": precision.tolist(), "threshold": pr_at.tolist()},
            "prevalence": float(self._truth.mean()) if len(self._truth) else float("nan"),
            **self._shown(),
        }
        if known:
            result["confusion"] = dict(zip(("tp", "fp", "fn", "tn"), counts.astype(int).tolist(), strict=True))
        if self._probable:
            result["reliability"] = Calibration(self._truth, self._score).reliability()
            result["decision"] = net_benefit(self._truth, self._score)
        again = self._recalibrated()
        if again is not None:
            result["reliability_recalibrated"] = again.reliability()
        return result

    def _shown(self) -> dict[str, Any]:
        """Return the cases to look at."""
        error = np.abs(self._truth - self._score)
        order = np.argsort(-error, kind="stable")
        return {"worst": self._lines(order[:WORST]), "typical": self._lines(typical(self.presence, error, order))}

    def _lines(self, order: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
        rows = self._rows.iloc[order]
        kept = [name for name in rows.columns if name not in ("part", "truth")]
        return [
            {**{str(name): value for name, value in line.items()}, "truth": self._classes[int(truth)]}
            for line, truth in zip(rows[kept].to_dict("records"), rows["truth"], strict=True)
        ]


def check(table: pd.DataFrame, classes: Sequence[str], where: str) -> None:
    """Refuse what are no predictions of a binary outcome; see `ai4diag.evaluation.targets.Scoring`."""
    if classes and len(classes) != 2:
        raise ConfigError(
            f"A binary outcome has two classes, found {len(classes)}.", "Name the negative, then the positive."
        )
    need(table, ("truth", "score"), where)
    refuse(~table["truth"].isin([0, 1]), table, "truth", "0 or 1", where)
    need_number(table, "score", where)


def choose_threshold(
    validation: pd.DataFrame, test: pd.DataFrame, classes: Sequence[str], rule: OperatingPoint
) -> Threshold:
    """Fix the score from which a case is called positive; arguments as `fold_thresholds` has them."""
    return fold_thresholds(
        validation, test, lambda lines: fix_threshold(lines["truth"], lines["score"], rule), describe(rule)
    )


def scores(rows: pd.DataFrame, classes: Sequence[str], thresholds: Threshold) -> BinaryScores:
    """Return the cases, ready to be weighted."""
    return BinaryScores(rows, classes, thresholds)
