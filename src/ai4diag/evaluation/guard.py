"""The metric guard: where a headline would mislead, whatever the model, and what to look at instead.

Refused as a headline (`evaluate.primary`) is what says nothing on these data: accuracy where one and the same answer
for everybody is nearly always right, and areas or concordance that hang on a single patient. Everything else is said
beside the estimates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.plan import Evaluate
from ai4diag.errors import ConfigError
from ai4diag.types import Estimate

if TYPE_CHECKING:
    from ai4diag.evaluation.evaluate import Scores

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
ONE_ANSWER = 0.95
"""Accuracy is refused as headline where one answer for everybody scores this."""
NEARLY = 0.05
"""An accuracy that is less than this above that of one answer for everybody is pointed out."""
FEW_PATIENTS = 10
"""Below so many patients with a class, an area over that class is pointed out."""
FEW_EVENTS = 50
"""Below so many patients with the event, a concordance is pointed out."""
FEW_TO_CALIBRATE = 100
"""Slope and intercept need so many positives and negatives (Vergouwe et al., J Clin Epidemiol 58:475, 2005)."""
TINY_VOXELS = 50
"""Below, one voxel more or less changes Dice by 0.01 or more."""
FEW_BOXES = 10
"""Below so many boxes, a class is pointed out: in mAP it weighs as much as any other."""
AREAS = ("auroc", "auprc")
CONCORDANCE = ("c_index", "c_index_uno")
AT_PREVALENCE = ("ppv", "npv", "f1", "f1_macro")
"""Decisions whose estimates change with the share of positives."""
CLASSES = ("binary", "multiclass", "ordinal", "multilabel")


@dataclass(frozen=True)
class Caution:
    """One way in which an estimate would mislead.

    Attributes:
        name: the estimate.
        found: what about these data makes it so.
        instead: what to look at.
    """

    name: str
    found: str
    instead: str

    def __str__(self) -> str:
        return f"{self.name}: {self.found}. Look at {self.instead}."


def refuse(test: pd.DataFrame, target: str, classes: Sequence[str], plan: Evaluate) -> None:
    """Refuse a headline that says nothing on these test cases, before anything is estimated.

    Args:
        test: test lines of the table of predictions.
        target: what was predicted.
        classes: class names.
        plan: the recipe's `evaluate` block.

    Raises:
        ConfigError: what was found, and which headline to choose.
    """
    found = None
    if plan.primary in ("accuracy", "exact_match") and target in CLASSES:
        answer, share = _one_answer(test, target, classes, plan.primary)
        if share >= ONE_ANSWER:
            found = Caution(
                plan.primary, f"always answering {answer} scores {share:.3f} on the test part", _better(target)
            )
    alone = {"binary": (*AREAS, "balanced_accuracy"), "time_to_event": CONCORDANCE}.get(target, ())
    if plan.primary in alone:
        unit = test[plan.interval.unit].to_numpy()
        shown_by = _shown(test, target, classes)
        for label, shown in shown_by.items():
            if len(np.unique(unit[shown])) == 1:
                said = f"one patient alone has cases of {label}, and the whole value hangs on that patient"
                rate = "sensitivity" if label == next(iter(shown_by)) else "specificity"
                other = f"{rate}, or brier" if target == "binary" else "brier_integrated"
                found = Caution(plan.primary, said, f"{other}, and gather more patients")
    if found is not None:
        raise ConfigError(f"evaluate.primary: {found.name} would mislead: {found.found}.", f"Look at {found.instead}.")


def cautions(
    scores: Scores,
    test: pd.DataFrame,
    target: str,
    classes: Sequence[str],
    plan: Evaluate,
    estimates: Sequence[Estimate],
) -> list[Caution]:
    """Return what would mislead a reader of these estimates.

    Args:
        scores: the test cases.
        test: their lines of the table of predictions.
        target: what was predicted.
        classes: class names.
        plan: the recipe's `evaluate` block.
        estimates: those of the test part.
    """
    value = {item.name: item.value for item in estimates if item.part == "test" and item.subgroup == "all"}
    if np.isnan(value.get(plan.primary, np.nan)):
        return []
    unit = test[plan.interval.unit].to_numpy()
    patients = {label: len(np.unique(unit[shown])) for label, shown in _shown(test, target, classes).items()}
    found = [*_of_prevalence(plan, test, target)] if target in CLASSES else []
    if target in CLASSES:
        found += _of_accuracy(plan, test, target, classes, value)
        found += _of_areas(plan.primary, patients)
        found += _of_calibration(test, target, classes, value)
    elif target == "time_to_event":
        found += _of_events(plan.primary, patients)
    elif target == "masks":
        found += _of_structures(plan.primary, scores, classes)
    elif target == "boxes":
        found += _of_boxes(plan.primary, test, unit, classes)
    return found


def _of_prevalence(plan: Evaluate, test: pd.DataFrame, target: str) -> Iterator[Caution]:
    if plan.primary not in AT_PREVALENCE:
        return
    if target != "binary":
        yield Caution(
            plan.primary, "it holds for the mix of classes of the test part alone", "the values of each class"
        )
    elif plan.prevalence is None:
        here = float(test["truth"].mean())
        instead = "sensitivity and specificity, or state the prevalence (evaluate.prevalence)"
        yield Caution(plan.primary, f"it holds at the share of positives of the test part, {here:.3f}, alone", instead)
    else:
        stated = "ppv_at_prevalence and npv_at_prevalence"
        yield Caution(plan.primary, "it holds at the share of positives of the test part alone", stated)


def _of_accuracy(
    plan: Evaluate, test: pd.DataFrame, target: str, classes: Sequence[str], value: Mapping[str, float]
) -> Iterator[Caution]:
    if plan.primary in ("accuracy", "exact_match"):
        answer, share = _one_answer(test, target, classes, plan.primary)
        if value[plan.primary] < share + NEARLY:
            yield Caution(plan.primary, f"always answering {answer} would score {share:.3f}", _better(target))


def _of_areas(primary: str, patients: Mapping[str, int]) -> Iterator[Caution]:
    few = [f"{label} ({n})" for label, n in patients.items() if 0 < n < FEW_PATIENTS]
    if few and primary.removesuffix("_macro") in AREAS:
        said = f"few patients have cases of {', '.join(few)}; one more or less changes it visibly"
        yield Caution(primary, said, "the interval, and the single cases of these classes")


def _of_calibration(
    test: pd.DataFrame, target: str, classes: Sequence[str], value: Mapping[str, float]
) -> Iterator[Caution]:
    if target == "binary" and "calibration_slope" in value:
        positives = int(test["truth"].sum())
        negatives = len(test) - positives
        if min(positives, negatives) < FEW_TO_CALIBRATE:
            said = f"{positives} positive and {negatives} negative cases; they need about {FEW_TO_CALIBRATE} of each"
            yield Caution("calibration_slope and calibration_intercept", said, "the Brier score and the intervals")
    if target in ("binary", "multiclass", "ordinal") and np.isfinite(value.get("ece", np.nan)):
        chance = _ece_by_chance(_confidence(test, target, classes))
        if 2 * chance >= value["ece"]:
            said = (
                f"{value['ece']:.3f} of so few cases says little: ideal probabilities would show {chance:.3f} by chance"
            )
            yield Caution("ece", said, "the Brier score, or more cases")


def _of_events(primary: str, patients: Mapping[str, int]) -> Iterator[Caution]:
    events = patients["event"]
    if primary in CONCORDANCE and 0 < events < FEW_EVENTS:
        said = f"it rests on {events} patient{'' if events == 1 else 's'} with the event"
        yield Caution(primary, said, "the interval, and the curves of the risk groups")


def _of_structures(primary: str, scores: Scores, classes: Sequence[str]) -> Iterator[Caution]:
    voxels = getattr(scores, "truth_voxels", None)
    if voxels is None or primary not in ("dice", "iou"):
        return
    for k, label in enumerate(classes):
        there = voxels[:, k] > 0
        tiny = int((there & (voxels[:, k] < TINY_VOXELS)).sum())
        if tiny:
            said = f"in {tiny} of {int(there.sum())} cases {label} has fewer than {TINY_VOXELS} voxels; one voxel shows"
            yield Caution(primary, said, "surface_dice_1_mm and volume_error_ml")


def _of_boxes(
    primary: str, test: pd.DataFrame, unit: npt.NDArray[np.generic], classes: Sequence[str]
) -> Iterator[Caution]:
    if not primary.startswith("map_"):
        return
    labels = [
        np.asarray(own)[~np.asarray(skip, bool)]
        for own, skip in zip(test["truth_labels"], test["truth_ignore"], strict=True)
    ]
    for k, label in enumerate(classes):
        count = np.array([int((own == k).sum()) for own in labels])
        if 0 < count.sum() < FEW_BOXES and len(classes) > 1:
            whose = len(np.unique(unit[count > 0]))
            said = f"{label} weighs as much as any other class, with {count.sum()} boxes of {whose} patients"
            yield Caution(primary, said, f"{primary} of each class, and froc_cpm")
        elif 0 < count.sum() < FEW_BOXES:
            yield Caution(primary, f"it rests on {count.sum()} boxes", "froc_cpm, and the single images")


def _shown(test: pd.DataFrame, target: str, classes: Sequence[str]) -> dict[str, Bools]:
    """Return which cases show each class; of a time to event who has the event."""
    if target == "multilabel":
        return {name: test[f"truth_{name}"].to_numpy() == 1 for name in classes}
    if target == "time_to_event":
        return {"event": test["event"].to_numpy() == 1}
    if target in CLASSES:
        names = list(classes) or ["the negative class", "the positive class"]
        return {name: test["truth"].to_numpy() == k for k, name in enumerate(names)}
    return {}


def _one_answer(test: pd.DataFrame, target: str, classes: Sequence[str], name: str) -> tuple[str, float]:
    """Return the best answer for everybody, and the share of right answers that it gives."""
    shown = _shown(test, target, classes)
    if target == "multilabel" and name == "exact_match":
        rows, count = np.unique(np.stack(list(shown.values()), axis=1), axis=0, return_counts=True)
        best = [label for label, there in zip(shown, rows[count.argmax()], strict=True) if there]
        return " and ".join(best) or "nothing", float(count.max() / count.sum())
    share = {label: float(there.mean()) for label, there in shown.items()}
    if target == "multilabel":
        return "the commoner of yes and no", float(np.mean([max(p, 1 - p) for p in share.values()]))
    label = max(share, key=lambda each: share[each])
    return label, share[label]


def _better(target: str) -> str:
    return {
        "binary": "balanced_accuracy, or sensitivity and specificity",
        "multilabel": "auroc_macro, or sensitivity and specificity of each finding",
    }.get(target, "balanced_accuracy, or sensitivity of each class")


def _confidence(test: pd.DataFrame, target: str, classes: Sequence[str]) -> Floats:
    """Return the probability whose calibration the ECE is about."""
    if target == "binary":
        return test["score"].to_numpy(np.float64)
    highest: Floats = test[[f"score_{name}" for name in classes]].to_numpy(np.float64).max(axis=1)
    return highest


def _ece_by_chance(probability: Floats, bins: int = 10) -> float:
    """Return the expected calibration error that ideal probabilities show by chance.

    In each bin the mean outcome scatters around the mean probability with variance sum p (1 - p) / n^2; the mean
    absolute value of a normal variable is sqrt(2 / pi) standard deviations.
    """
    number = np.minimum((probability * bins).astype(np.int64), bins - 1)
    variance = np.bincount(number, weights=probability * (1 - probability), minlength=bins)
    return float(np.sqrt(2 / np.pi * variance).sum() / max(len(probability), 1))
