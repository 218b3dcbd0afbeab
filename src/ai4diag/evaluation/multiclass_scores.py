"""What is estimated from predictions of one of several classes, and of one of several steps of a scale.

Their columns: `truth`, the number of the class, and for each class `score_<class>`. The answer is the class with the
largest score, the first of equal ones. On a scale (`ordinal`) the classes stand in their order, and the distance of the
answer from the truth counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.plan import OperatingPoint
from ai4diag.errors import ConfigError
from ai4diag.evaluation.bootstrap import Statistic
from ai4diag.evaluation.classification import Threshold
from ai4diag.evaluation.many_areas import ManyAreas, mean_of_defined
from ai4diag.evaluation.predictions import need, need_number, refuse
from ai4diag.evaluation.ranking import Ranking
from ai4diag.evaluation.typical import typical

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
ALL_NAMES = ("auroc_macro", "accuracy", "balanced_accuracy", "f1_macro")
ERROR_NAMES = ("brier", "log_loss")
ORDER_NAMES = ("kappa_quadratic", "mae")
CLASS_NAMES = ("auroc", "sensitivity", "specificity", "ppv", "f1")
TINY = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 before a logarithm is taken."""
UNDEFINED = {
    "ppv": "the class is never answered",
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
        ordered: whether the classes are steps of a scale.
    """

    def __init__(self, rows: pd.DataFrame, classes: Sequence[str], *, ordered: bool = False) -> None:
        self._rows, self._classes, self._ordered = rows, tuple(classes), ordered
        self._truth = rows["truth"].to_numpy(np.int64)
        self._score = rows[score_columns(classes)].to_numpy(np.float64)
        self._answer = self._score.argmax(axis=1) if len(rows) else np.empty(0, np.int64)
        self.presence = self._truth[:, None] == np.arange(len(self._classes))
        inside = (self._score >= 0) & (self._score <= 1)
        self._probable = bool(inside.all() and (np.abs(self._score.sum(axis=1) - 1) < SUM_TOLERANCE).all())
        names = (*ALL_NAMES, *(ORDER_NAMES if ordered else ()), *(ERROR_NAMES if self._probable else ()))
        self.entries: tuple[tuple[str, str], ...] = (
            *((name, "all") for name in names),
            *((name, f"class={label}") for label in self._classes for name in CLASS_NAMES),
        )

    def statistic(self, entries: Sequence[tuple[str, str]]) -> Statistic:
        """Return the function of weights that a bootstrap of these entries needs."""
        count = len(self._classes)
        ranked = any(name.startswith("auroc") for name, _ in entries)
        areas = ManyAreas(self.presence, self._score) if ranked else None
        cells = np.zeros((len(self._truth), count * count + 2))
        cells[np.arange(len(cells)), self._truth * count + self._answer] = 1
        cells[:, -2:] = self._errors()

        def values(weights: Floats) -> Floats:
            sums = weights @ cells
            found = from_confusion(sums[:, :-2].reshape(-1, count, count), self._classes)
            with np.errstate(invalid="ignore"):
                means = sums[:, -2:] / weights.sum(axis=1, keepdims=True)
            found["brier", "all"], found["log_loss", "all"] = means.T
            if areas is not None:
                area = areas.areas(weights, precision=False)[0]
                found |= {("auroc", f"class={name}"): area[:, k] for k, name in enumerate(self._classes)}
                found["auroc_macro", "all"] = mean_of_defined(area)
            return np.stack([found[entry] for entry in entries], axis=1)

        return values

    def _errors(self) -> Floats:
        """Return squared error summed over classes, and minus the logarithm of the score of the truth, `(cases, 2)`."""
        squared = ((self._score - self.presence) ** 2).sum(axis=1)
        likely = self._score[np.arange(len(self._truth)), self._truth]
        return np.column_stack([squared, -np.log(np.clip(likely, TINY, 1))])

    def remark(self, name: str, value: float) -> str:
        """Return why a value is undefined, or why it would mislead; empty where neither."""
        counts = self.presence.sum(axis=0)
        absent = [label for label, n in zip(self._classes, counts, strict=True) if not n]
        if np.isnan(value):
            return UNDEFINED.get(name) or (f"no case of {', '.join(absent)}" if absent else "one class alone")
        if name == "accuracy" and value <= counts.max() / max(counts.sum(), 1):
            share = counts.max() / counts.sum()
            return f"not above {share:.3f}, which always answering the commonest class scores"
        if name in ("auroc_macro", "balanced_accuracy", "f1_macro") and absent:
            return f"mean without {', '.join(absent)}, of which there is no case"
        few = [label for label, n in zip(self._classes, counts, strict=True) if 0 < n < FEW_OF_A_CLASS]
        if name == "auroc_macro" and few:
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
        found["accuracy", "all"] = right.sum(axis=-1) / total
        chance = (true[..., :, None] * called[..., None, :] * distance**2).sum(axis=(-2, -1)) / total
        found["kappa_quadratic", "all"] = 1 - (cells * distance**2).sum(axis=(-2, -1)) / chance
        found["mae", "all"] = (cells * distance).sum(axis=(-2, -1)) / total
    found["balanced_accuracy", "all"] = mean_of_defined(sensitivity)
    found["f1_macro", "all"] = mean_of_defined(f1)
    each = {"sensitivity": sensitivity, "specificity": specificity, "ppv": ppv, "f1": f1}
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
    return MulticlassScores(rows, classes)
