"""Checks of lesson 4, against scikit-learn, scipy and the library's own estimates; and the usual mistakes by name."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score, recall_score

from ai4diag.course.checking import examine
from ai4diag.course.exercise import judged
from ai4diag.course.lessons.m04 import Dice, PatientInterval, Rates, Sceptic, Worth
from ai4diag.evaluation.overlap import confusion
from ai4diag.evaluation.overlap import dice as library_dice

SEEDS = range(4)
ROOT = Path()


def crosses(exercise, seed, **names):
    """Return the names of what is not met."""
    return [item.name for item in examine(exercise, names, ROOT, seed) if not item.met]


# --- sensitivity and specificity


def rates(truth, score, threshold):
    yes = score >= threshold
    return tuple(recall_score(truth, yes, pos_label=label) if (truth == label).any() else math.nan for label in (1, 0))


@pytest.mark.parametrize("seed", SEEDS)
def test_scikit_learns_recall_passes(seed):
    assert crosses(Rates(), seed, rates=rates) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_wrong_rates_fail_by_name(seed):
    def strictly_above(truth, score, threshold):
        return rates(truth, score, threshold + 0.01)

    def zero_where_undefined(truth, score, threshold):
        return tuple(0.0 if math.isnan(value) else value for value in rates(truth, score, threshold))

    def right_alarms(truth, score, threshold):  # the PPV, taken for the sensitivity
        yes = score >= threshold
        return (truth & yes).sum() / yes.sum(), rates(truth, score, threshold)[1]

    above = crosses(Rates(), seed, rates=strictly_above)
    assert "the sensitivity is the share of the ill that is found" in above
    assert crosses(Rates(), seed, rates=zero_where_undefined) == [
        "where nobody is ill, the sensitivity is NaN (undefined)",
        "where nobody is well, the specificity is NaN (undefined)",
    ]
    assert "the sensitivity is the share of the ill that is found" in crosses(Rates(), seed, rates=right_alarms)


# --- the worth of an alarm


def ppv(sensitivity, specificity, prevalence):
    """Count in exact fractions."""
    se, sp, share = Fraction(sensitivity), Fraction(specificity), Fraction(prevalence)
    alarms = se * share + (1 - sp) * (1 - share)
    return float(se * share / alarms) if alarms else math.nan


@pytest.mark.parametrize("seed", SEEDS)
def test_counting_in_fractions_passes(seed):
    assert crosses(Worth(), seed, ppv=ppv) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_wrong_worths_fail_by_name(seed):
    rarer = "the rarer the disease, the fewer alarms are right"
    assert rarer in crosses(Worth(), seed, ppv=lambda se, sp, share: 0.83)
    assert rarer in crosses(Worth(), seed, ppv=lambda se, sp, share: se / (se + 1 - sp))
    npv = crosses(Worth(), seed, ppv=lambda se, sp, share: ppv(sp, se, 1 - share))
    assert rarer in npv
    silent = crosses(Worth(), seed, ppv=lambda se, sp, share: ppv(se, sp, share) if se else 0.0)
    assert silent == ["without any alarm it is NaN (undefined)"]


# --- the interval of patients


def patient_interval(patient, correct):
    """Draw lists of patients with scipy's bootstrap."""
    labels, owner = np.unique(patient, return_inverse=True)
    right, cases = np.bincount(owner, weights=correct), np.bincount(owner)

    def share(drawn, axis):
        return right[drawn].sum(axis=axis) / cases[drawn].sum(axis=axis)

    found = stats.bootstrap(
        (np.arange(len(labels)),), share, n_resamples=2000, method="percentile", vectorized=True, rng=3
    )
    return found.confidence_interval.low, found.confidence_interval.high


@pytest.mark.parametrize("seed", SEEDS)
def test_scipys_bootstrap_of_patients_passes(seed):
    assert crosses(PatientInterval(), seed, patient_interval=patient_interval) == []


WIDE = "it is wide enough for whole patients: drawing single cases gives a narrower one"


@pytest.mark.parametrize("seed", SEEDS)
def test_single_cases_fail_by_name(seed):
    def case_interval(patient, correct):
        return patient_interval(np.arange(len(correct)), correct)

    assert WIDE in crosses(PatientInterval(), seed, patient_interval=case_interval)


@pytest.mark.parametrize("seed", [0, 1])
def test_other_intervals_fail(seed):
    def of_patients_means(patient, correct):
        owner = np.unique(patient, return_inverse=True)[1]
        means = np.bincount(owner, weights=correct) / np.bincount(owner)
        return patient_interval(np.arange(len(means)), means)

    def too_narrow(patient, correct):
        low, high = patient_interval(patient, correct)
        middle = (low + high) / 2
        return middle - 1.645 / 1.96 * (middle - low), middle + 1.645 / 1.96 * (high - middle)

    def the_value_alone(patient, correct):
        return correct.mean(), correct.mean()

    for interval in (of_patients_means, too_narrow):
        found = crosses(PatientInterval(), seed, patient_interval=interval)
        assert any("percentile of the share over all cases" in name for name in found)
    two = "it gives two limits from 0 to 1, the lower one first"
    assert crosses(PatientInterval(), seed, patient_interval=the_value_alone) == [two]


# --- Dice


def dice(truth, predicted):
    """Take F1 of the pixels, which is the same number."""
    return f1_score(truth.ravel(), predicted.ravel(), zero_division=np.nan)


def mean_dice(pairs):
    values = np.array([dice(*pair) for pair in pairs])
    undefined = int(np.isnan(values).sum())
    return (math.nan if undefined == len(values) else float(np.nanmean(values))), undefined


@pytest.mark.parametrize("seed", SEEDS)
def test_f1_of_the_pixels_passes_and_is_what_the_library_computes(seed):
    assert crosses(Dice(), seed, dice=dice, mean_dice=mean_dice) == []
    for truth, predicted in Dice().draw(np.random.default_rng(seed), ROOT).values():
        expected = library_dice(confusion(truth, predicted, 2))[1]
        assert dice(np.array(truth), np.array(predicted)) == pytest.approx(expected, nan_ok=True)


EMPTY = "two empty masks: NaN (undefined), neither 1 nor 0"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_number_for_two_empty_masks_fails_by_name(value, seed):
    def filled(truth, predicted):
        found = dice(truth, predicted)
        return value if math.isnan(found) else found

    assert crosses(Dice(), seed, dice=filled, mean_dice=mean_dice) == [EMPTY]


@pytest.mark.parametrize("seed", SEEDS)
def test_wrong_dices_fail_by_name(seed):
    def smoothed(truth, predicted):
        return float((2 * (truth * predicted).sum() + 1e-6) / (truth.sum() + predicted.sum() + 1e-6))

    def iou(truth, predicted):
        found = dice(truth, predicted)
        return found / (2 - found)

    def all_count(pairs):
        return float(np.mean([np.nan_to_num(dice(*pair)) for pair in pairs])), 0

    assert EMPTY in crosses(Dice(), seed, dice=smoothed, mean_dice=mean_dice)
    assert "it is twice the overlap over the sum of both areas" in crosses(Dice(), seed, dice=iou, mean_dice=mean_dice)
    assert "the mean leaves out what is undefined" in crosses(Dice(), seed, dice=dice, mean_dice=all_count)


# --- the report


def read(seed=0, not_shown=lambda rows: sorted(row["subgroup"] for row in rows if not row["low"] > 0.5), **changed):
    """Judge a reading of an invented run."""
    given = Sceptic().draw(np.random.default_rng(seed), ROOT)
    reading = {"weakest": "va", "weakest_low": 0.578, "healthy_in_switzerland": 1, "missed_women": 33}
    answer = {
        "reading": reading | changed,
        "found": not_shown(given["rows"]),
        "none": not_shown([]),
        "sites": [["site=cleveland", 0.868, 0.787], ["site=va", 0.806, 0.57753]],
        "women": 2 / 3,
        "patients": [["switzerland", 0]] + [["switzerland", 1]] * 15 + [["va", 0]] * 10,
    }
    return [item.name for item in judged(Sceptic(), given, answer, ROOT) if not item.met]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_the_report_says_passes(seed):
    assert read(seed) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_report_does_not_say_fails_by_name(seed):
    by_value = read(seed, lambda rows: sorted(row["subgroup"] for row in rows if not row["value"] > 0.5))
    assert "a high value with a lower limit below 0.5 is not shown" in by_value
    below = read(seed, lambda rows: sorted(row["subgroup"] for row in rows if row["low"] <= 0.5))
    assert "a value without an interval is not shown" in below
    assert read(seed, lambda rows: [row["subgroup"] for row in rows if not row["low"] > 0.5][::-1])
    assert read(seed, weakest="switzerland") == ["'weakest' has the lowest AUROC"]
    assert read(seed, weakest_low=0.806) == ["'weakest_low' is its lower limit"]
    assert read(seed, healthy_in_switzerland=16) == ["'healthy_in_switzerland' counts patients"]
    assert read(seed, missed_women=67) == ["'missed_women' is of 100 ill women, the missed ones"]
