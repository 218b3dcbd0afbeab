"""How often 95 % intervals hold the true value when patients bring several cases each, and when that is ignored.

Each simulated test part has 100 patients with one to five cases, which resemble each other within a patient; the true
value is known in closed form. Coverage should be 95 %; 93 to 97 % is what is asked of the methods that recipes offer.
The rows that take every case for a patient of its own show what ignoring the patients does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtr, ndtri

from ai4diag.config.plan import Evaluate, Interval
from ai4diag.evaluation import detection
from ai4diag.evaluation.bootstrap import Statistic, intervals
from ai4diag.evaluation.evaluate import evaluate
from ai4diag.evaluation.ranking import Ranking
from ai4diag.masks import encode
from benchmarks import agree, versions

Floats = npt.NDArray[np.float64]
PATIENTS, MOST_CASES = 100, 5
SIMULATIONS, RESAMPLES = 2500, 1000
LOWEST, HIGHEST = 0.93, 0.97
METHODS = (("percentile", "patient"), ("bca", "patient"), ("logit", "patient"), ("percentile", "case"))
"""Method of the interval, and what is drawn whole."""
VOXELS = 100
"""Size of the truth, and of the answer, in each label map; Dice is the share of them that overlap."""
SPACE = 32
"""Distance of boxes in pixels, so that none meets another's."""


def run() -> list[Coverage]:
    """Simulate; before that, check that the intervals are those of `evaluate` on tables of predictions."""
    models = (scores_of_cases(0.85), scores_of_cases(0.97), label_maps(0.85), boxes())
    for model in models:
        same_as_evaluate(model)
    rows = [row for model in models for row in simulate(model)]
    return rows + simulate(models[0], 30, asked=False)


@dataclass(frozen=True)
class Study:
    """One simulated test part.

    Attributes:
        unit: `(cases,)`, patient of each case.
        statistic: function of the weights of cases, one column.
        presence: `(cases, classes)`.
        table: returns the same as a table of predictions.
    """

    unit: npt.NDArray[np.int64]
    statistic: Statistic
    presence: npt.NDArray[np.bool_]
    table: Callable[[], pd.DataFrame]


@dataclass(frozen=True)
class Model:
    """Where test parts come from.

    Attributes:
        name: what is estimated, in words.
        truth: its true value.
        draw: makes a test part of so many patients.
        task, primary, classes: what `evaluate` needs.
    """

    name: str
    truth: float
    draw: Callable[[np.random.Generator, int], Study]
    task: str
    primary: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Coverage:
    """How often an interval held the true value.

    Attributes:
        name: what was estimated, and on how many patients.
        method: `percentile`, `bca` or `logit`.
        unit: what was drawn, `patient` or `case`.
        covered, below, above: shares of the simulations; below: the whole interval lies below the true value.
        without: share of the simulations without an interval, which are not covered.
        width: mean width of the intervals.
        asked: whether 93 to 97 % are asked.
    """

    name: str
    method: str
    unit: str
    truth: float
    covered: float
    below: float
    above: float
    without: float
    width: float
    simulations: int
    resamples: int
    asked: bool

    @property
    def error(self) -> float:
        """Standard error of `covered` that comes from the number of simulations."""
        return float(np.sqrt(self.covered * (1 - self.covered) / self.simulations))

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, the error of the simulation, and whether 93 to 97 % are reached, None where not asked."""
        reached = LOWEST <= self.covered <= HIGHEST if self.asked else None
        return {**vars(self), "error": self.error, "reached": reached, "versions": versions("numpy", "numba")}


def patients(generator: np.random.Generator, n: int) -> npt.NDArray[np.int64]:
    """Return the patient of each case: one to five cases for each of n patients."""
    return np.repeat(np.arange(n), generator.integers(1, MOST_CASES + 1, n))


def together(generator: np.random.Generator, unit: npt.NDArray[np.int64], share: float) -> Floats:
    """Return a standard normal number per case, of whose variance patients hold the given share."""
    own, case = generator.normal(size=unit[-1] + 1), generator.normal(size=len(unit))
    both: Floats = np.sqrt(share) * own[unit] + np.sqrt(1 - share) * case
    return both


def scores_of_cases(area: float) -> Model:
    """Return a classifier of which the area under the ROC curve is known.

    Scores are normal, of variance 1 in both classes, shifted by sqrt(2) times the normal quantile of the area. Half of
    the variance belongs to the patient, as does most of what decides on the class; a third of the cases is positive.
    """
    shift = float(np.sqrt(2) * ndtri(area))

    def draw(generator: np.random.Generator, n: int) -> Study:
        unit = patients(generator, n)
        truth = (together(generator, unit, 0.8) > ndtri(2 / 3)).astype(np.int64)
        score = ndtr(shift * (truth - 0.5) + together(generator, unit, 0.5))
        ranking = Ranking(truth, score)
        presence = np.stack([truth == 0, truth == 1], axis=1)
        table = partial(_table, unit, truth=truth, score=score)
        return Study(unit, lambda weights: ranking.areas(weights, compiled=True)[0][:, None], presence, table)

    return Model(f"AUROC {area:g}", area, draw, "tabular", "auroc", ("no", "yes"))


def label_maps(mean: float) -> Model:
    """Return a segmentation of which the mean Dice is known.

    What share of the structure is found has a beta distribution among patients, and one around the patient's among the
    cases; every voxel of the structure is then found with that chance, and as many voxels are found in vain.
    """

    def draw(generator: np.random.Generator, n: int) -> Study:
        unit = patients(generator, n)
        own = generator.beta(10 * mean, 10 * (1 - mean), n)[unit]
        dice = generator.binomial(VOXELS, generator.beta(30 * own, 30 * (1 - own))) / VOXELS

        def statistic(weights: Floats) -> Floats:
            mean: Floats = (weights @ dice) / weights.sum(axis=1)
            return mean[:, None]

        return Study(unit, statistic, np.ones((len(unit), 1), bool), partial(_map_table, unit, dice))

    return Model(f"mean Dice {mean:g}", mean, draw, "segmentation", "dice", ("organ",))


def _map_table(unit: npt.NDArray[np.int64], dice: Floats) -> pd.DataFrame:
    """Return label maps of 20 x 10 pixels of that Dice: the truth fills one half, the answer lies askew on it."""
    truth = np.zeros((20, 10), np.uint8)
    truth[:10] = 1
    runs = []
    for found in np.rint(dice * VOXELS).astype(int):
        answer = np.zeros(2 * VOXELS, np.uint8)
        answer[VOXELS - found : 2 * VOXELS - found] = 1
        runs.append(encode(answer.reshape(truth.shape)).tolist())
    n = len(unit)
    return _table(unit, truth_runs=[encode(truth).tolist()] * n, runs=runs, shape=[[20, 10]] * n,
                  spacing_mm=[[1.0, 1.0]] * n)  # fmt: skip


@dataclass(frozen=True)
class Detector:
    """A detector of one class.

    Attributes:
        boxes: mean number of truth boxes in an image (Poisson).
        found: mean share of them that is found; it varies among patients (beta).
        false: mean number of false detections in an image (Poisson, and gamma among patients).
        shift: how much higher the normal score of a found box is than that of a false one.
    """

    boxes: float
    found: float
    false: float
    shift: float

    def average_precision(self) -> float:
        """Return the limit of the interpolated average precision for ever more images.

        At the score t the recall is found x P(score of a found box > t); precision falls as recall rises.
        """
        reached = detection.RECALL_LEVELS[self.found > detection.RECALL_LEVELS] / self.found
        at = self.shift - ndtri(reached)
        right, wrong = self.boxes * self.found * reached, self.false * ndtr(-at)
        precision = np.divide(right, right + wrong, out=np.ones_like(right), where=right > 0)
        return float(precision.sum() / len(detection.RECALL_LEVELS))


DETECTORS = (Detector(1.5, 0.905, 0.7, 1.5), Detector(0.8, 0.755, 0.4, 1.0))


def boxes() -> Model:
    """Return a detector of two classes of which mAP@0.5 is known; patients differ in what is found and in scores."""
    truth = float(np.mean([detector.average_precision() for detector in DETECTORS]))
    return Model(f"mAP@0.5 {truth:.3g}", truth, images, "detection", "map_50", ("cell", "platelet"))


def images(generator: np.random.Generator, n: int) -> Study:
    """Draw images of n patients."""
    unit = patients(generator, n)
    parts = [_of_class(generator, unit, label) for label in range(len(DETECTORS))]
    truth, found = (
        {key: np.concatenate([part[side][key] for part in parts]) for key in parts[0][side]} for side in range(2)
    )
    cases = detection.DetectionCases(
        len(unit), len(DETECTORS), truth["image"], truth["label"], truth["boxes"],
        np.zeros(len(truth["image"]), bool), found["image"], found["label"], found["boxes"], found["score"],
    )  # fmt: skip
    matches = detection.match(cases, np.array([0.5]), compiled=True)
    presence = np.stack([item.truth_count > 0 for item in matches], axis=1)

    def statistic(weights: Floats) -> Floats:
        mean: Floats = detection.average_precision(matches, weights, compiled=True)[..., 0].mean(axis=1)
        return mean[:, None]

    return Study(unit, statistic, presence, partial(_box_table, unit, cases))


def _of_class(
    generator: np.random.Generator, unit: npt.NDArray[np.int64], label: int
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[Any]]]:
    """Return truth and detections of one class; those that are found are askew by up to two pixels."""
    its, n = DETECTORS[label], unit[-1] + 1
    own_found = generator.beta(6 * its.found, 6 * (1 - its.found), n)
    own_false = generator.gamma(2.0, 0.5, n) * its.false
    own_score = generator.normal(size=n)
    image = np.repeat(np.arange(len(unit)), generator.poisson(its.boxes, len(unit)))
    truth = _places(image, 0)
    right = generator.random(len(image)) < own_found[unit[image]]
    wrong = np.repeat(np.arange(len(unit)), generator.poisson(own_false[unit]))
    found = truth[right] + np.tile(generator.uniform(-2, 2, (int(right.sum()), 2)), 2)
    where = np.concatenate([image[right], wrong])
    normal = np.sqrt(0.5) * (own_score[unit[where]] + generator.normal(size=len(where)))
    score = ndtr(normal + its.shift * (np.arange(len(where)) < len(found)))
    return (
        {"image": image, "label": np.full(len(image), label), "boxes": truth},
        {
            "image": where,
            "label": np.full(len(where), label),
            "boxes": np.concatenate([found, _places(wrong, 1)]),
            "score": score,
        },
    )


def _places(image: npt.NDArray[np.int64], column: int) -> Floats:
    """Return a box of 20 x 20 pixels for each entry, those of an image (neighbours in the list) one below the other."""
    starts = np.searchsorted(image, image)
    low = np.stack([(np.arange(len(image)) - starts) * SPACE, np.full(len(image), column * SPACE)], axis=1) + 2.0
    return np.hstack([low, low + 20])


def _box_table(unit: npt.NDArray[np.int64], cases: detection.DetectionCases) -> pd.DataFrame:
    truth, found = ([owner == image for image in range(len(unit))] for owner in (cases.truth_image, cases.image))
    return _table(
        unit, size_0=2048, size_1=64,
        truth_boxes=[cases.truth_boxes[chosen].ravel() for chosen in truth],
        truth_labels=[cases.truth_label[chosen] for chosen in truth],
        truth_ignore=[cases.truth_ignore[chosen] for chosen in truth],
        boxes=[cases.boxes[chosen].ravel() for chosen in found],
        labels=[cases.label[chosen] for chosen in found],
        scores=[cases.score[chosen] for chosen in found],
    )  # fmt: skip


def _table(unit: npt.NDArray[np.int64], **columns: Any) -> pd.DataFrame:
    names = {"case_id": [f"c{case}" for case in range(len(unit))], "patient_id": [f"p{own:03}" for own in unit]}
    return pd.DataFrame({**names, "fold": 0, "part": "test", **columns})


def simulate(
    model: Model, n: int = PATIENTS, *, simulations: int = SIMULATIONS, resamples: int = RESAMPLES,
    methods: tuple[tuple[str, str], ...] = METHODS, asked: bool = True,
) -> list[Coverage]:  # fmt: skip
    """Draw test parts and their intervals; every simulation has its own seed, for data and for resampling.

    Args:
        model: where test parts come from.
        n: number of patients.
        simulations, resamples: how many of each.
        methods: method of the interval and what is drawn whole, for each row.
        asked: whether coverage of 93 to 97 % is asked of those that draw patients.
    """
    limits = np.full((len(methods), simulations, 2), np.nan)
    for number in range(simulations):
        study = model.draw(np.random.default_rng([number, n]), n)
        units = {"patient": study.unit, "case": np.arange(len(study.unit))}
        statistics = {drawn: once(study.statistic) for drawn in units}
        for row, (method, drawn) in enumerate(methods):
            plan = Interval(resamples=resamples, method=method, seed=number)
            found = intervals(statistics[drawn], units[drawn], plan, study.presence, (True,))
            limits[row, number] = found.low[0], found.high[0]
    result = []
    for (method, drawn), (low, high) in zip(methods, limits.transpose(0, 2, 1), strict=True):
        below, above = float((high < model.truth).mean()), float((low > model.truth).mean())
        covered = float(((low <= model.truth) & (model.truth <= high)).mean())
        result.append(
            Coverage(
                f"{model.name}, {n} patients", method, drawn, model.truth, covered, below, above,
                float(np.isnan(low).mean()), float(np.nanmean(high - low)), simulations, resamples,
                asked and drawn == "patient",
            )
        )  # fmt: skip
    return result


def once(statistic: Statistic) -> Statistic:
    """Return the statistic, which is computed once for the same weights: methods of one seed draw the same.

    Weights are told apart by their number and their first rows.
    """
    known: dict[tuple[int, bytes], Floats] = {}

    def values(weights: Floats) -> Floats:
        key = len(weights), weights[:4].tobytes()
        if key not in known:
            known[key] = statistic(weights)
        return known[key]

    return values


def same_as_evaluate(model: Model, n: int = PATIENTS, resamples: int = 200) -> None:
    """Refuse a simulation whose interval is not that of `evaluate` on the table of predictions."""
    for method in ("percentile", "bca", "logit"):
        study = model.draw(np.random.default_rng(1), n)
        plan = Interval(resamples=resamples, method=method)
        mine = intervals(study.statistic, study.unit, plan, study.presence, (True,))
        whole = Evaluate(primary=model.primary, interval=plan)
        theirs = evaluate(study.table(), task=model.task, classes=model.classes, plan=whole).estimates[0]
        agree([mine.value[0], mine.low[0], mine.high[0]], [theirs.value, theirs.low, theirs.high], 1e-12)
