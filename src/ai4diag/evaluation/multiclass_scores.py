"""What is estimated from predictions of one of several classes, and of one of several steps of a scale.

Their columns: `truth`, the number of the class, and for each class `score_<class>`. The answer is the class with the
largest score, the first of equal ones. On a scale (`ordinal`) the classes stand in their order, and the distance of the
answer from the truth counts.
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
from ai4diag.evaluation.classification import Threshold
from ai4diag.evaluation.many_areas import ManyAreas, mean_of_defined
from ai4diag.evaluation.predictions import need, need_number, refuse
from ai4diag.evaluation.ranking import Ranking
from ai4diag.evaluation.recalibration import AFTER
from ai4diag.evaluation.typical import typical

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
ALL_NAMES = ("auroc_macro", "auprc_macro", "accuracy", "balanced_accuracy", "f1_macro")
ERROR_NAMES = ("brier", "log_loss", "ece")
ORDER_NAMES = ("kappa_quadratic", "mae")
CLASS_NAMES = ("auroc", "auprc", "sensitivity", "specificity", "ppv", "npv", "f1")
AFTER_NAMES = tuple(f"{name}{AFTER}" for name in ERROR_NAMES)
AREAS = ("auroc", "auprc")
TINY = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 before a logarithm is taken."""
UNDEFINED = {
    "ppv": "the class is never answered",
    "npv": "the class is always answered",
    "specificity": "no case of any other class",
    "kappa_quadratic": "truth and answers are one class alone",
}
"""Why these are undefined, whichever classes have no cases."""
FEW_OF_A_CLASS = 10
WORST = 20
SUM_TOLERANCE = 1e-3
"""Scores of a case are probabilities when they lie within 0..1 and their sum is this near to 1."""


def score_columns(classes: Sequence[str]) -> list[str]:
    """Return the names of the columns of scores.

    >>> score_columns(["cyst", "stone"])
    ['score_cyst', 'score_stone']
    """
    return [f"score_{name}" for name in classes]


class MulticlassScores:
    """Truth and scores of some cases, ready to be weighted.

    Args:
        rows: lines of the table of predictions.
        classes: class names; the position is the class number.
        thresholds: recalibration, where it is asked for.
        ordered: whether the classes are steps of a scale.
    """

    def __init__(
        self, rows: pd.DataFrame, classes: Sequence[str], thresholds: Threshold | None = None, *, ordered: bool = False
    ) -> None:
        self._rows, self._classes, self._ordered = rows, tuple(classes), ordered
        self._recalibration = None if thresholds is None else thresholds.recalibration
        self._truth = rows["truth"].to_numpy(np.int64)
        self._score = rows[score_columns(classes)].to_numpy(np.float64)
        self._answer = self._score.argmax(axis=1) if len(rows) else np.empty(0, np.int64)
        self.presence = self._truth[:, None] == np.arange(len(self._classes))
        inside = (self._score >= 0) & (self._score <= 1)
        self._probable = bool(inside.all() and (np.abs(self._score.sum(axis=1) - 1) < SUM_TOLERANCE).all())
        names = (*ALL_NAMES, *(ORDER_NAMES if ordered else ()), *(ERROR_NAMES if self._probable else ()))
        names += AFTER_NAMES if self._recalibration is not None else ()
        self.entries: tuple[tuple[str, str], ...] = (
            *((name, "all") for name in names),
            *((name, f"class={label}") for label in self._classes for name in CLASS_NAMES),
        )

    def statistic(self, entries: Sequence[tuple[str, str]]) -> Statistic:
        """Return the function of weights that a bootstrap of these entries needs."""
        count = len(self._classes)
        names = {name for name, _ in entries}
        precise = any(name.startswith("auprc") for name in names)
        ranked = precise or any(name.startswith("auroc") for name in names)
        areas = ManyAreas(self.presence, self._score) if ranked else None
        after = self._after(names)
        gaps = self._gaps(self._score) if "ece" in names else None
        cells = np.zeros((len(self._truth), count * count + 2))
        cells[np.arange(len(cells)), self._truth * count + self._answer] = 1
        cells[:, -2:] = self._errors(self._score)

        def values(weights: Floats) -> Floats:
            sums = weights @ cells
            found = from_confusion(sums[:, :-2].reshape(-1, count, count), self._classes)
            with np.errstate(invalid="ignore"):
                means = sums[:, -2:] / weights.sum(axis=1, keepdims=True)
            found["brier", "all"], found["log_loss", "all"] = means.T
            if gaps is not None:
                found["ece", "all"] = Calibration.errors(weights @ gaps)["ece"]
            for kind, area in zip(AREAS, areas.areas(weights, precision=precise) if areas else (), strict=False):
                found |= {(kind, f"class={name}"): area[:, k] for k, name in enumerate(self._classes)}
                found[f"{kind}_macro", "all"] = mean_of_defined(area)
            found |= after(weights)
            return np.stack([found[entry] for entry in entries], axis=1)

        return values

    def _after(self, names: set[str]) -> Callable[[Floats], dict[tuple[str, str], Floats]]:
        """Return the function from weights to what is asked for after recalibration."""
        asked = names & set(AFTER_NAMES)
        score = self._recalibration.of(self._rows) if asked and self._recalibration is not None else None
        if score is None or np.isnan(score).any():
            return lambda weights: {(name, "all"): np.full(len(weights), np.nan) for name in asked}
        gaps, errors = self._gaps(score), self._errors(score)

        def values(weights: Floats) -> dict[tuple[str, str], Floats]:
            with np.errstate(invalid="ignore"):
                means = weights @ errors / weights.sum(axis=1, keepdims=True)
            each = (*means.T, Calibration.errors(weights @ gaps)["ece"])
            return {(name, "all"): value for name, value in zip(AFTER_NAMES, each, strict=True)}

        return values

    def _gaps(self, score: Floats) -> Floats:
        """Return what `Calibration.errors` needs: is the answer right, and how likely was it said to be?"""
        answer = score.argmax(axis=1) if len(score) else np.empty(0, np.int64)
        said = score[np.arange(len(score)), answer]
        return Calibration(answer == self._truth, np.clip(said, 0, 1)).columns()

    def _errors(self, score: Floats) -> Floats:
        """Return squared error summed over classes, and minus the logarithm of the score of the truth, `(cases, 2)`."""
        squared = ((score - self.presence) ** 2).sum(axis=1)
        likely = score[np.arange(len(self._truth)), self._truth]
        return np.column_stack([squared, -np.log(np.clip(likely, TINY, 1))])

    def counted(self, name: str, group: str) -> npt.NDArray[np.bool_] | None:
        """Return which cases a proportion is of; None for what is no proportion."""
        if name == "accuracy":
            return np.full(len(self._truth), True)
        if group == "all":
            return None
        k = self._classes.index(group.removeprefix("class="))
        own, called = self._truth == k, self._answer == k
        return {"sensitivity": own, "specificity": ~own, "ppv": called, "npv": ~called}.get(name)

    def remark(self, name: str, value: float) -> str:
        """Return why a value is undefined, or why it would mislead; empty where neither."""
        if name.endswith(AFTER) and np.isnan(value) and self._recalibration is not None:
            return self._recalibration.note or "without cases"
        counts = self.presence.sum(axis=0)
        absent = [label for label, n in zip(self._classes, counts, strict=True) if not n]
        if np.isnan(value):
            return UNDEFINED.get(name) or (f"no case of {', '.join(absent)}" if absent else "one class alone")
        if name == "accuracy" and value <= counts.max() / max(counts.sum(), 1):
            share = counts.max() / counts.sum()
            return f"not above {share:.3f}, which always answering the commonest class scores"
        if name in ("auroc_macro", "auprc_macro", "balanced_accuracy", "f1_macro") and absent:
            return f"mean without {', '.join(absent)}, of which there is no case"
        few = [label for label, n in zip(self._classes, counts, strict=True) if 0 < n < FEW_OF_A_CLASS]
        if name in ("auroc_macro", "auprc_macro") and few:
            return f"fewer than {FEW_OF_A_CLASS} cases of {', '.join(few)}"
        return ""

    def curves(self) -> dict[str, Any]:
        """Return curves and tables for the report as plain lists.

        `roc`: per class fpr and tpr, one against all others; `confusion`: cases by truth and answer; `worst`: cases
        whose true class has the lowest score; `typical`: cases with a middling one.
        """
        roc = {}
        for k, name in enumerate(self._classes):
            false_rate, true_rate, _ = Ranking(self.presence[:, k], self._score[:, k]).roc_curve()
            roc[name] = {"fpr": false_rate.tolist(), "tpr": true_rate.tolist()}
        matrix = np.zeros((len(self._classes),) * 2, np.int64)
        np.add.at(matrix, (self._truth, self._answer), 1)
        return {"roc": roc, "confusion": matrix.tolist(), **self._shown()}

    def _shown(self) -> dict[str, Any]:
        """Return the cases to look at."""
        likely = self._score[np.arange(len(self._truth)), self._truth]
        away = np.abs(self._answer - self._truth) if self._ordered else np.zeros(len(self._truth), np.int64)
        order = np.lexsort((likely, -away))
        middling = typical(self.presence, 1 - likely, order)
        return {"worst": self._lines(order[:WORST], likely), "typical": self._lines(middling, likely)}

    def _lines(self, order: Ints, likely: Floats) -> list[dict[str, Any]]:
        dropped = {"part", "truth", *score_columns(self._classes)}
        kept = [name for name in self._rows.columns if name not in dropped]
        lines = self._rows.iloc[order][kept].to_dict("records")
        return [
            {
                **{str(name): value for name, value in line.items()},
                "truth": self._classes[self._truth[row]],
                "called": self._classes[self._answer[row]],
                "score": float(likely[row]),
            }
            for line, row in zip(lines, order, strict=True)
        ]


def from_confusion(matrix: npt.ArrayLike, classes: Sequence[str]) -> dict[tuple[str, str], Floats]:
    """Return what follows from how often each class was called which.

    Args:
        matrix: `(..., classes, classes)`, truth along the first of these axes, answer along the second.
        classes: class names.

    Returns:
        by name and subgroup, each `(...)`. `accuracy`; `balanced_accuracy`, mean sensitivity of the classes with cases;
        `f1_macro`, mean F1 of the classes with cases or answers; per class `sensitivity`, `specificity`, `ppv`, `f1`,
        one against all others; `kappa_quadratic` = 1 - sum w O / sum w E with w the squared distance of class numbers,
        O the matrix and E what chance gives with the same margins (Cohen, Psychological Bulletin 70:213, 1968); `mae`,
        mean distance of class numbers. NaN where a denominator is 0.

    >>> found = from_confusion([[2, 1], [0, 3]], ["a", "b"])
    >>> round(float(found["accuracy", "all"]), 3), round(float(found["kappa_quadratic", "all"]), 3)
    (0.833, 0.667)
    """
    cells = np.asarray(matrix, np.float64)
    number = np.arange(len(classes))
    right = np.diagonal(cells, axis1=-2, axis2=-1)
    true, called, total = cells.sum(axis=-1), cells.sum(axis=-2), cells.sum(axis=(-2, -1))
    distance = np.abs(number[:, None] - number).astype(np.float64)
    found: dict[tuple[str, str], Floats] = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity, ppv = right / true, right / called
        f1 = 2 * right / (true + called)
        others = total[..., None] - true
        specificity = (others - (called - right)) / others
        not_called = total[..., None] - called
        npv = (not_called - (true - right)) / not_called
        found["accuracy", "all"] = right.sum(axis=-1) / total
        chance = (true[..., :, None] * called[..., None, :] * distance**2).sum(axis=(-2, -1)) / total
        found["kappa_quadratic", "all"] = 1 - (cells * distance**2).sum(axis=(-2, -1)) / chance
        found["mae", "all"] = (cells * distance).sum(axis=(-2, -1)) / total
    found["balanced_accuracy", "all"] = mean_of_defined(sensitivity)
    found["f1_macro", "all"] = mean_of_defined(f1)
    each = {"sensitivity": sensitivity, "specificity": specificity, "ppv": ppv, "npv": npv, "f1": f1}
    for name, values in each.items():
        found |= {(name, f"class={label}"): values[..., k] for k, label in enumerate(classes)}
    return found


def check(table: pd.DataFrame, classes: Sequence[str], where: str) -> None:
    """Refuse what are no predictions of one of several classes; see `ai4diag.evaluation.targets.Scoring`."""
    if len(classes) < 2:
        raise ConfigError(f"{where}: the classes are not known.", "Name them in the plan.")
    need(table, ("truth", *score_columns(classes)), where)
    refuse(~table["truth"].isin(range(len(classes))), table, "truth", f"0 to {len(classes) - 1}", where)
    for name in score_columns(classes):
        need_number(table, name, where)


def choose_threshold(
    validation: pd.DataFrame, test: pd.DataFrame, classes: Sequence[str], rule: OperatingPoint
) -> Threshold:
    """Return the rule that needs no threshold: the class with the largest score is the answer.

    Raises:
        ConfigError: the recipe asks for another rule.
    """
    if rule.youden is None:
        raise ConfigError(
            "evaluate.operating_point: of several classes the one with the largest score is the answer.",
            "Leave it out.",
        )
    return Threshold(0.0, "none is needed")


def scores(rows: pd.DataFrame, classes: Sequence[str], thresholds: Threshold) -> MulticlassScores:
    """Return the cases, ready to be weighted."""
    return MulticlassScores(rows, classes, thresholds)
