"""Counts, thresholds, decision curve against scikit-learn and tables worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from ai4diag.config.plan import OperatingPoint
from ai4diag.evaluation.classification import (
    count_columns,
    describe,
    fix_threshold,
    from_counts,
    net_benefit,
)


def test_counts_and_ratios_equal_scikit_learn():
    rng = np.random.default_rng(0)
    truth, called = rng.integers(0, 2, 80), rng.integers(0, 2, 80)
    weights = rng.integers(0, 3, (5, 80)).astype(float)
    for row, counts in zip(weights, weights @ count_columns(truth, called), strict=True):
        tn, fp, fn, tp = metrics.confusion_matrix(truth, called, sample_weight=row).ravel()
        assert counts.tolist() == [tp, fp, fn, tn]
        found = {name: float(value) for name, value in from_counts(counts).items()}
        expected = {
            "accuracy": metrics.accuracy_score(truth, called, sample_weight=row),
            "balanced_accuracy": metrics.balanced_accuracy_score(truth, called, sample_weight=row),
            "f1": metrics.f1_score(truth, called, sample_weight=row),
            "sensitivity": metrics.recall_score(truth, called, sample_weight=row),
            "specificity": metrics.recall_score(1 - truth, 1 - called, sample_weight=row),
            "ppv": metrics.precision_score(truth, called, sample_weight=row),
            "npv": metrics.precision_score(1 - truth, 1 - called, sample_weight=row),
        }
        assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("counts", "undefined"),
    [
        ([0, 0, 0, 9], {"f1", "sensitivity", "ppv", "balanced_accuracy"}),
        ([9, 0, 0, 0], {"specificity", "npv", "balanced_accuracy"}),
        ([0, 0, 5, 5], {"ppv"}),
        ([0, 0, 0, 0], {"accuracy", "balanced_accuracy", "f1", "sensitivity", "specificity", "ppv", "npv"}),
    ],
)
def test_what_has_no_denominator_is_undefined(counts, undefined):
    assert {name for name, value in from_counts(counts).items() if np.isnan(value)} == undefined


TRUTH = [0, 0, 1, 0, 1, 1]
SCORE = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"youden": True}, 0.5),  # 2/3 + 3/3 at 0.5; 3/3 + 2/3 at 0.3 is equal: the highest is taken
        ({"accuracy": True}, 0.5),
        ({"sensitivity": 0.6}, 0.5),
        ({"sensitivity": 0.9}, 0.3),
        ({"specificity": 0.6}, 0.3),
        ({"specificity": 0.9}, 0.5),
        ({"threshold": 0.35}, 0.35),
    ],
)
def test_thresholds_by_hand(rule, expected):
    assert fix_threshold(TRUTH, SCORE, OperatingPoint(**rule)) == expected


def test_a_rule_holds_on_the_cases_it_was_fixed_on_with_ties():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 60)
    score = np.round(rng.normal(truth, 1), 1)
    for wanted in (0.5, 0.8, 0.95):
        at = fix_threshold(truth, score, OperatingPoint(sensitivity=wanted))
        assert from_counts(count_columns(truth, score >= at).sum(axis=0))["sensitivity"] >= wanted
        above = score[score > at].min()
        assert from_counts(count_columns(truth, score >= above).sum(axis=0))["sensitivity"] < wanted
        at = fix_threshold(truth, score, OperatingPoint(specificity=wanted))
        assert from_counts(count_columns(truth, score >= at).sum(axis=0))["specificity"] >= wanted
        below = score[score < at].max()
        assert from_counts(count_columns(truth, score >= below).sum(axis=0))["specificity"] < wanted


def test_useless_scores_call_nobody_positive_when_accuracy_is_wanted():
    at = fix_threshold([0, 0, 0, 1], [0.9, 0.8, 0.7, 0.1], OperatingPoint(accuracy=True))
    assert at > 0.9


@pytest.mark.parametrize("rule", [{"youden": True}, {"sensitivity": 0.9}])
def test_a_rule_without_its_class_is_undefined(rule):
    assert np.isnan(fix_threshold([0, 0], [0.1, 0.2], OperatingPoint(**rule)))
    assert np.isnan(fix_threshold([], [], OperatingPoint(**rule)))


def test_rules_are_described():
    assert "0.9" in describe(OperatingPoint(sensitivity=0.9))
    assert "validation" in describe(OperatingPoint(youden=True))
    assert "beforehand" in describe(OperatingPoint(threshold=0.5))


def test_net_benefit_by_hand():
    # Of 10 ill 8 and of 90 healthy 20 score above 0.2, odds 1/4: 8/100 - 20/100/4 = 0.03; all: 0.1 - 0.9/4.
    truth = [1] * 10 + [0] * 90
    score = [0.9] * 8 + [0.1] * 2 + [0.5] * 20 + [0.1] * 70
    curve = net_benefit(truth, score, [0.2])
    assert curve["model"] == pytest.approx([0.03])
    assert curve["treat_all"] == pytest.approx([0.1 - 0.9 / 4])
    assert curve["treat_none"] == [0]
    assert np.isnan(net_benefit([], [])["model"]).all()
