"""What is estimated from predicted label maps.

Their columns: `truth_runs` and `runs`, run lengths as `ai4diag.masks` has them (0 is the background, then the classes
in order); `shape`, the sides of the map; `spacing_mm`, the distance of voxels along each axis.

Every figure is made once per case and class; an estimate is its mean over the cases (and classes) where it is defined.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.plan import OperatingPoint
from ai4diag.errors import ConfigError, DataError
from ai4diag.evaluation.bootstrap import Statistic
from ai4diag.evaluation.classification import Threshold
from ai4diag.evaluation.overlap import confusion, dice, iou
from ai4diag.evaluation.predictions import need, refuse
from ai4diag.evaluation.surface import surface_distances
from ai4diag.masks import decode

Floats = npt.NDArray[np.float64]
NAMES = (
    *("dice", "iou", "hd95_mm", "assd_mm", "surface_dice_1_mm", "surface_dice_2_mm"),
    *("volume_difference", "volume_error", "volume_difference_ml", "volume_error_ml"),
)
"""What is estimated of all classes together and of each; areas of flat maps have no millilitres."""
COLUMNS = ("truth_runs", "runs", "shape", "spacing_mm")
WORST, TYPICAL = 6, 2
NO_THRESHOLD = "each voxel takes the class with the largest share; there is no threshold"


class MaskScores:
    """Label maps of some cases, compared and ready to be weighted.

    Args:
        rows: lines of the table of predictions.
        classes: class names; the first has number 1.

    Attributes:
        truth_voxels: `(cases, classes)`, voxels of the truth.
    """

    def __init__(self, rows: pd.DataFrame, classes: Sequence[str]) -> None:
        self._rows, self._classes = rows, tuple(classes)
        self.figures = np.full((len(NAMES), len(rows), len(self._classes)), np.nan)
        self._table = np.zeros((len(rows), len(self._classes) + 1, len(self._classes) + 1), np.int64)
        for number, (truth, predicted, spacing) in enumerate(
            map(_maps, _lines(rows), [len(self._classes)] * len(rows))
        ):
            self._table[number] = confusion(truth, predicted, len(self._classes) + 1)
            for label in range(len(self._classes)):
                self.figures[:, number, label] = _figures(truth, predicted, spacing, label + 1, self._table[number])
        self.truth_voxels: npt.NDArray[np.int64] = self._table.sum(axis=2)[:, 1:]
        self.presence = self.truth_voxels > 0
        flat = bool((rows["shape"].map(len) == 2).any())
        names = [name for name in NAMES if not (flat and name.endswith("_ml"))]
        self.entries: tuple[tuple[str, str], ...] = (
            *((name, "all") for name in names),
            *((name, f"class={label}") for label in self._classes for name in names),
        )

    def statistic(self, entries: Sequence[tuple[str, str]]) -> Statistic:
        """Return the function of weights that a bootstrap of these entries needs: weighted means over cases.

        `all` is the mean of the classes' means, so that a class that few cases show counts like the others; a class
        that is undefined in all cases of a resample is left out.
        """
        known = {name: self.figures[position] for position, name in enumerate(NAMES)}

        def values(weights: Floats) -> Floats:
            means = {name: _weighted(weights, known[name]) for name in dict(entries)}
            return np.stack([self._of_group(means[name], group) for name, group in entries], axis=1)

        return values

    def _of_group(self, means: Floats, group: str) -> Floats:
        if group != "all":
            return means[:, self._classes.index(group.removeprefix("class="))]
        return _mean(means)

    def counted(self, name: str, group: str) -> npt.NDArray[np.bool_] | None:
        """Return nothing: no figure of a case is right or wrong."""
        return None

    def undefined(self, name: str, group: str) -> npt.NDArray[np.bool_]:
        """Return which pairs of case and class a mean leaves out, `(cases, classes)`; of a class `(cases,)`."""
        found: npt.NDArray[np.bool_] = np.isnan(self.figures[NAMES.index(name)])
        return found if group == "all" else found[:, self._classes.index(group.removeprefix("class="))]

    def remark(self, name: str, value: float) -> str:
        """Return why a value is undefined, or how many pairs of case and class it leaves out."""
        missing = int(np.isnan(self.figures[NAMES.index(name)]).sum())
        if np.isnan(value):
            return "no such structure in truth and answer"
        return f"undefined in {missing} of {self.figures[0].size} pairs of case and class" if missing else ""

    def curves(self) -> dict[str, Any]:
        """Return tables for the report as plain lists.

        `per_case`: names and figures of every case, the smallest mean Dice first: `case_id`, and for each class
        `dice`, `hd95_mm`, `truth_ml`, `predicted_ml`; `worst` and `typical`: cases to look at, with their runs;
        `confusion`: voxels of all cases by truth and answer, background first.
        """
        each = _mean(self.figures[0])
        order = np.argsort(np.where(np.isnan(each), np.inf, each), kind="stable")
        middling = np.argsort(np.abs(each - np.nanmedian(each)) if np.isfinite(each).any() else each, kind="stable")
        typical = middling[~np.isin(middling, order[:WORST])][:TYPICAL]
        return {
            "per_case": [self._line(int(row)) for row in order],
            "worst": [self._line(int(row), whole=True) for row in order[:WORST]],
            "typical": [self._line(int(row), whole=True) for row in typical],
            "confusion": self._table.sum(axis=0).tolist(),
        }

    def _line(self, row: int, *, whole: bool = False) -> dict[str, Any]:
        line = self._rows.iloc[row]
        voxel_ml = float(np.prod(np.asarray(line["spacing_mm"], np.float64))) / 1000
        truth, predicted = self._table[row].sum(axis=1)[1:], self._table[row].sum(axis=0)[1:]
        found: dict[str, Any] = {name: line[name] for name in ("case_id", "patient_id", "site", "fold") if name in line}
        found |= {name: self.figures[NAMES.index(name), row].tolist() for name in ("dice", "hd95_mm")}
        found |= {"truth_ml": (truth * voxel_ml).tolist(), "predicted_ml": (predicted * voxel_ml).tolist()}
        if whole:
            found |= {name: np.asarray(line[name]).tolist() for name in COLUMNS}
        return found


def _lines(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [dict(zip(COLUMNS, values, strict=True)) for values in rows[list(COLUMNS)].itertuples(index=False)]


def _maps(line: dict[str, Any], n_classes: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], list[float]]:
    """Return truth, answer and spacing of a line."""
    shape, spacing = [int(side) for side in line["shape"]], [float(value) for value in line["spacing_mm"]]
    truth, predicted = (decode(line[name], shape, n_classes + 1) for name in ("truth_runs", "runs"))
    return truth, predicted, spacing


def _figures(
    truth: npt.NDArray[np.uint8],
    predicted: npt.NDArray[np.uint8],
    spacing: Sequence[float],
    label: int,
    counts: npt.NDArray[np.int64],
) -> list[float]:
    """Return the figures of one case and class, in the order of `NAMES`."""
    flat = truth.ndim == 3 and 1 in truth.shape
    axes = [axis for axis in range(truth.ndim) if not (flat and axis == truth.shape.index(1))]
    one, other = (np.squeeze(part, truth.shape.index(1)) if flat else part for part in (truth, predicted))
    surface = surface_distances(one == label, other == label, [spacing[axis] for axis in axes])
    wanted, found = int(counts[label].sum()), int(counts[:, label].sum())
    relative = (found - wanted) / wanted if wanted else float("nan")
    difference_ml = (found - wanted) * float(np.prod(spacing)) / 1000 if found or wanted else float("nan")
    return [
        float(dice(counts)[label]),
        float(iou(counts)[label]),
        surface.hausdorff(),
        surface.average(),
        surface.dice(1.0),
        surface.dice(2.0),
        relative,
        abs(relative),
        difference_ml,
        abs(difference_ml),
    ]


def _weighted(weights: Floats, figures: Floats) -> Floats:
    """Return means `(B, classes)` of figures `(cases, classes)` under weights `(B, cases)`; NaNs are left out."""
    defined = ~np.isnan(figures)
    total = weights @ np.where(defined, figures, 0.0)
    share = weights @ defined
    result: Floats = np.divide(total, share, out=np.full(total.shape, np.nan), where=share > 0)
    return result


def _mean(values: Floats) -> Floats:
    """Return the mean along the last axis of what is defined; NaN where nothing is."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=-1)
    total = np.where(defined, values, 0.0).sum(axis=-1)
    result: Floats = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return result


def check(table: pd.DataFrame, classes: Sequence[str], where: str) -> None:
    """Refuse what are no predicted label maps; see `ai4diag.evaluation.targets.Scoring`."""
    need(table, COLUMNS, where)
    for name in COLUMNS:
        refuse(table[name].map(np.ndim) != 1, table, name, "a list of numbers", where)
    sides = table["shape"].map(len).to_numpy()
    refuse(~np.isin(sides, (2, 3)), table, "shape", "two or three sides", where)
    refuse(table["spacing_mm"].map(len).to_numpy() != sides, table, "spacing_mm", "one number per side", where)
    right = table["spacing_mm"].map(lambda spacing: bool((np.asarray(spacing, np.float64) > 0).all())).to_numpy(bool)
    refuse(~right, table, "spacing_mm", "numbers above 0", where)
    for position, line in enumerate(_lines(table)):
        try:
            _maps(line, len(classes) if classes else 255)
        except DataError as error:
            raise DataError(f"{where}: line {position + 1}: {error.message}") from None


def scores(rows: pd.DataFrame, classes: Sequence[str], thresholds: Threshold) -> MaskScores:
    """Return the cases, ready to be weighted; `thresholds` is not used."""
    return MaskScores(rows, classes)


def choose_threshold(
    validation: pd.DataFrame, test: pd.DataFrame, classes: Sequence[str], rule: OperatingPoint
) -> Threshold:
    """Return no threshold, because label maps have none.

    Raises:
        ConfigError: the recipe asks for one.
    """
    if rule.youden is None:
        raise ConfigError("evaluate.operating_point: label maps have no threshold.", "Leave it out.")
    return Threshold(float("nan"), NO_THRESHOLD, note="label maps have none")
