"""Numbers in words: what an estimate is called, and what it means for 100 cases."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from ai4diag.evaluation.recalibration import AFTER
from ai4diag.types import Estimate

NAMES = {
    "auroc": ("AUROC", "area under the ROC curve; 0.5 is chance, 1 is perfect"),
    "auprc": ("AUPRC", "average precision; chance is the share of positives"),
    "accuracy": ("Accuracy", "share of cases that are called rightly"),
    "balanced_accuracy": ("Balanced accuracy", "mean over classes of the share that is called rightly"),
    "f1": ("F1", "2 TP / (2 TP + FP + FN)"),
    "sensitivity": ("Sensitivity", "share of positives that are found"),
    "specificity": ("Specificity", "share of negatives that are cleared"),
    "ppv": ("PPV", "share of those called positive that are"),
    "npv": ("NPV", "share of those called negative that are"),
    "ppv_at_prevalence": ("PPV at the stated prevalence", "share of those called positive that are"),
    "npv_at_prevalence": ("NPV at the stated prevalence", "share of those called negative that are"),
    "brier": ("Brier score", "mean squared error of the probability; 0 is perfect"),
    "log_loss": ("Log loss", "mean negative log likelihood; 0 is perfect"),
    "calibration_slope": ("Calibration slope", "1 is ideal; below 1 the scores are too extreme"),
    "calibration_intercept": ("Calibration intercept", "0 is ideal; below 0 the scores are too high"),
    "ece": ("ECE", "expected calibration error; 0 is ideal"),
    "auroc_macro": ("AUROC, mean over classes", "area under the ROC curve of each class against all others, averaged"),
    "auprc_macro": ("AUPRC, mean over classes", "average precision of each class, averaged"),
    "f1_macro": ("F1, mean over classes", "2 TP / (2 TP + FP + FN) of each class, averaged"),
    "exact_match": ("Exact match", "share of cases of which every answer is right"),
    "kappa_quadratic": ("Quadratic weighted kappa", "agreement beyond chance; 0 is chance, 1 is perfect"),
    "mae": ("Mean absolute error", "how many steps an answer is off, on average; 0 is perfect"),
    "map_50": ("mAP at IoU 0.5", "mean average precision; a box counts if it overlaps by at least 0.5"),
    "map_50_95": ("mAP at IoU 0.5 to 0.95", "mean average precision over ten overlaps"),
    "map_10": ("mAP at IoU 0.1", "mean average precision; a loose box suffices"),
    "froc_cpm": ("FROC score (CPM)", "mean sensitivity at 1/8 to 8 false alarms per image"),
    "froc_camelyon": ("FROC score (CAMELYON)", "mean sensitivity at 1/4 to 8 false alarms per image"),
    "dice": ("Dice", "twice the common voxels over those of truth and answer together; 1 is perfect"),
    "iou": ("IoU", "common voxels over those of truth or answer; 1 is perfect"),
    "hd95_mm": ("HD95 (mm)", "95th percentile of the distances between the surfaces; 0 is perfect"),
    "assd_mm": ("Mean surface distance (mm)", "mean distance between the surfaces, both ways; 0 is perfect"),
    "surface_dice_1_mm": ("Surface Dice at 1 mm", "share of both surfaces that is at most 1 mm from the other"),
    "surface_dice_2_mm": ("Surface Dice at 2 mm", "share of both surfaces that is at most 2 mm from the other"),
    "volume_difference": ("Volume difference", "answer minus truth, over the truth; 0 is ideal, above 0 too large"),
    "volume_error": ("Volume error", "size of the volume difference, over the truth; 0 is perfect"),
    "volume_difference_ml": ("Volume difference (ml)", "answer minus truth; 0 is ideal, above 0 too large"),
    "volume_error_ml": ("Volume error (ml)", "size of the volume difference; 0 is perfect"),
    "c_index": ("C-index", "Harrell's concordance of risk and time; 0.5 is chance, 1 is perfect"),
    "c_index_uno": ("C-index (Uno)", "concordance up to the last horizon, corrected for how long cases were followed"),
    "brier_integrated": ("Integrated Brier score", "mean of the Brier score up to the last horizon; 0 is perfect"),
    "observed_to_predicted": ("Observed over predicted", "1 is ideal; below 1 the predicted risks are too high"),
}
SENTENCES = {
    "auroc": "Of 100 pairs of one {positive} and one {negative} case, the model ranks the {positive} one higher in {v}",
    "auprc": "Averaged over all sensitivities, of 100 cases that the model calls {positive}, {v} are",
    "accuracy": "Of 100 cases, the model calls {v} rightly",
    "balanced_accuracy": "Of 100 cases, as many of each class, the model calls {v} rightly",
    "sensitivity": "Of 100 {positive} cases, the model finds {v}",
    "specificity": "Of 100 {negative} cases, the model clears {v}",
    "ppv": "Of 100 cases that the model calls {positive}, {v} are, if {positive} cases are as frequent as here",
    "npv": "Of 100 cases that the model calls {negative}, {v} are, if {positive} cases are as frequent as here",
    "ppv_at_prevalence": "Of 100 cases called {positive}, {v} are, if {positive} cases are as frequent as was stated",
    "npv_at_prevalence": "Of 100 cases called {negative}, {v} are, if {positive} cases are as frequent as was stated",
    "auroc_macro": "Averaged over classes, of 100 pairs of a case of the class and another, {v} are ranked rightly",
    "exact_match": "Of 100 cases, the model answers {v} without any error",
    "map_50": "Averaged over classes and all sensitivities, of 100 boxes that the model draws, {v} are right",
    "map_50_95": "Averaged over classes, sensitivities and ten demands on overlap, of 100 boxes, {v} are right",
    "map_10": "Averaged over classes and all sensitivities, of 100 boxes that the model draws, {v} are roughly right",
    "froc_cpm": "Of 100 objects, the model finds {v}, averaged over 1/8 to 8 false alarms per image",
    "froc_camelyon": "Of 100 objects, the model finds {v}, averaged over 1/4 to 8 false alarms per image",
    "dice": "Of 100 voxels marked by the reader or the model, counted together, {v} are marked by the other one too",
    "surface_dice_1_mm": "Of 100 points on the surfaces of reader and model, {v} lie at most 1 mm from the other one",
    "surface_dice_2_mm": "Of 100 points on the surfaces of reader and model, {v} lie at most 2 mm from the other one",
    "c_index": (
        "Of 100 pairs of cases of which one is known to have {positive} first, the model gives that one the higher "
        "risk in {v}"
    ),
    "c_index_uno": (
        "Of 100 pairs of cases, had all been followed up to the last horizon, the model gives the higher risk to the "
        "one that {positive} first in {v}"
    ),
}
AT_SENTENCES = {
    "auroc": (
        "Of 100 pairs of a case that {positive} within {span} and one that had not, the model gives the first the "
        "higher risk in {v}"
    ),
    "observed_to_predicted": "For every 100 cases that the model expects to have {positive} within {span}, {v} had",
}
"""Sentences of estimates at a horizon."""


def name(estimate: str) -> str:
    """Return the name of an estimate for a reader.

    >>> name("auroc"), name("sensitivity_at_0.5_fp"), name("made_up")
    ('AUROC', 'Sensitivity at 0.5 false alarms per image', 'made up')
    >>> name("volume_difference"), name("dice_difference"), name("brier_recalibrated")
    ('Volume difference', 'Dice, difference to all others', 'Brier score, recalibrated')
    """
    if estimate.endswith(AFTER):
        return f"{name(estimate.removesuffix(AFTER))}, recalibrated"
    rate = false_alarms(estimate)
    if rate:
        return f"Sensitivity at {rate}"
    base, day = horizon(estimate)
    if day:
        return f"{name(base)} at {span(day)}"
    if estimate.endswith("_difference") and estimate not in NAMES:
        return f"{name(estimate.removesuffix('_difference'))}, difference to all others"
    return NAMES[estimate][0] if estimate in NAMES else estimate.replace("_", " ")


def meaning(estimate: str) -> str:
    """Return what an estimate is, in half a sentence; empty when it is not known."""
    if false_alarms(estimate):
        return "share of objects that are found"
    return NAMES.get(horizon(estimate.removesuffix(AFTER))[0], ("", ""))[1]


def horizon(estimate: str) -> tuple[str, float]:
    """Return what is estimated and at how many days; 0 days for an estimate without a horizon.

    >>> horizon("auroc_at_1096_days"), horizon("auroc")
    (('auroc', 1096.0), ('auroc', 0.0))
    """
    found = re.fullmatch(r"(\w+)_at_([0-9.]+)_days", estimate)
    return (found[1], float(found[2])) if found else (estimate, 0.0)


def span(days: float) -> str:
    """Return a time for a reader: years where it is whole years.

    >>> span(365), span(1096), span(90)
    ('1 year', '3 years', '90 days')
    """
    years = round(days / 365.25)
    if years and abs(days - 365.25 * years) <= 1:
        return counted(years, "year")
    return f"{days:g} days"


def false_alarms(estimate: str) -> str:
    """Return the `k false alarms per image` of `sensitivity_at_<k>_fp`, else nothing."""
    if not (estimate.startswith("sensitivity_at_") and estimate.endswith("_fp")):
        return ""
    rate = estimate.removeprefix("sensitivity_at_").removesuffix("_fp").replace("_", ".")
    return f"{rate} false alarm{'' if rate == '1' else 's'} per image"


def number(value: float) -> str:
    """Return three decimals, or `undefined`.

    >>> number(0.97549), number(math.nan), number(-0.0001)
    ('0.975', 'undefined', '0.000')
    """
    if math.isnan(value):
        return "undefined"
    text = f"{value:.3f}"
    return "0.000" if text == "-0.000" else text


def limits(estimate: Estimate) -> str:
    """Return the interval as `0.912 to 0.954`, or why there is none."""
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return "none"
    return f"{number(estimate.low)} to {number(estimate.high)}"


def of_hundred(*shares: float) -> tuple[str, ...]:
    """Return how many of 100, with a decimal for all where one lies close to 0 or 100; these only if exactly so.

    >>> of_hundred(0.9), of_hundred(0.9951, 0.988, 1.0), of_hundred(0.99996), of_hundred(0.0003, 0.5)
    (('90',), ('99.5', '98.8', '100'), ('more than 99.9',), ('fewer than 0.1', '50.0'))
    """
    close = any(0 < share < 0.01 or 0.99 < share < 1 for share in shares)
    found = []
    for share in shares:
        text = f"{100 * share:.{1 if close else 0}f}"
        if share in (0, 1):
            text = f"{100 * share:.0f}"
        found.append({"100.0": "more than 99.9", "0.0": "fewer than 0.1"}.get(text, text))
    return tuple(found)


def sentence(estimate: Estimate, classes: Sequence[str], level: float) -> str:
    """Return an estimate with its interval as one sentence without terms.

    Args:
        estimate: what to say.
        classes: class names; of two, the second is positive.
        level: confidence level of the interval, 0.95 for 95 %.
    """
    if math.isnan(estimate.value):
        return f"{name(estimate.name)} is undefined: {estimate.note or 'there is too little data'}."
    rate = false_alarms(estimate.name)
    base, day = horizon(estimate.name)
    template = f"Of 100 objects, the model finds {{v}} at {rate}" if rate else SENTENCES.get(estimate.name)
    template = AT_SENTENCES.get(base) if day else template
    shown = [estimate.value, *(limit for limit in (estimate.low, estimate.high) if not math.isnan(limit))]
    texts = of_hundred(*shown) if template else tuple(map(number, shown))
    template = template or f"{name(estimate.name)} is {{v}}"
    text = template.format(v=texts[0], positive=classes[-1], negative=classes[0], span=span(day))
    if len(texts) < 3:
        return f"{text}; there is no interval."
    return f"{text} ({level:.0%} interval: {texts[1]} to {texts[2]})."


def group(subgroup: str) -> str:
    """Return a subgroup for a reader.

    >>> group("age_band=60 and over")
    'age band: 60 and over'
    """
    attribute, sign, value = subgroup.partition("=")
    return f"{attribute.replace('_', ' ')}: {value}" if sign else subgroup


def short(text: str, most: int) -> str:
    """Return a text that is cut where it is longer than so many letters.

    >>> short("pleural thickening", 18), short("pleural thickening", 9)
    ('pleural thickening', 'pleural …')
    """
    return text if len(text) <= most else f"{text[: most - 1]}…"


def counted(count: int, word: str, plural: str = "") -> str:
    """Return a count with its word.

    >>> counted(1, "case"), counted(1200, "case"), counted(2, "box", "boxes")
    ('1 case', '1,200 cases', '2 boxes')
    """
    return f"{count:,} {word if count == 1 else plural or word + 's'}"
