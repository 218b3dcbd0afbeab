"""Calibration against scikit-learn, an unpenalised logistic regression, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

from ai4diag.errors import DataError
from ai4diag.evaluation.calibration import Calibration


def toy(seed=0, n=300):
    rng = np.random.default_rng(seed)
    logit = rng.normal(-0.5, 1.5, n)
    truth = (rng.random(n) < 1 / (1 + np.exp(-0.7 * logit - 0.2))).astype(int)
    return truth, 1 / (1 + np.exp(-logit)), logit, rng.integers(0, 3, (4, n)).astype(float)


def errors_of(truth, probability, weights):
    return Calibration.errors(weights @ Calibration(truth, probability).columns())


def test_brier_and_log_loss_equal_scikit_learn():
    truth, probability, _, weights = toy()
    errors = errors_of(truth, probability, weights)
    for row, brier, loss in zip(weights, errors["brier"], errors["log_loss"], strict=True):
        assert brier == pytest.approx(metrics.brier_score_loss(truth, probability, sample_weight=row))
        assert loss == pytest.approx(metrics.log_loss(truth, probability, sample_weight=row))


def test_log_loss_of_a_certain_error_is_finite():
    assert errors_of([1, 0], [0.0, 0.0], np.ones((1, 2)))["log_loss"][0] == pytest.approx(
        -np.log(np.finfo(float).eps) / 2
    )


def test_slope_equals_unpenalised_logistic_regression():
    truth, probability, logit, weights = toy()
    slope, _ = Calibration(truth, probability).recalibration(weights)
    for row, found in zip(weights, slope, strict=True):
        model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
        model.fit(logit[:, None], truth, sample_weight=row)
        assert found == pytest.approx(model.coef_[0, 0], abs=1e-5)


def test_intercept_makes_mean_probability_equal_prevalence():
    truth, probability, logit, weights = toy()
    _, intercept = Calibration(truth, probability).recalibration(weights)
    for row, found in zip(weights, intercept, strict=True):
        shifted = 1 / (1 + np.exp(-(logit + found)))
        assert np.average(shifted, weights=row) == pytest.approx(np.average(truth, weights=row))


def test_what_has_no_finite_fit_is_undefined():
    def fit(truth, probability):
        slope, intercept = Calibration(truth, probability).recalibration(np.ones((1, len(truth))))
        return slope[0], intercept[0]

    separated = fit([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    assert np.isnan(separated[0])
    assert np.isfinite(separated[1])
    constant = fit([0, 0, 0, 1], [0.5] * 4)
    assert np.isnan(constant[0])
    assert constant[1] == pytest.approx(np.log(1 / 3))
    assert np.isnan(fit([1, 1], [0.4, 0.6])).all()


def test_expected_error_by_hand():
    # Bin 0.1-0.2: two cases of 0.15, one positive: |0.5 - 0.15|; last bin: two of 1.0, both positive: 0.
    truth, probability = [1, 0, 1, 1], [0.15, 0.15, 1.0, 1.0]
    errors = errors_of(truth, probability, np.array([[1.0, 1, 1, 1], [2, 0, 1, 1], [0, 0, 0, 0]]))
    np.testing.assert_allclose(errors["ece"], [0.35 / 2, 0.85 / 2, np.nan])
    assert Calibration(truth, probability).reliability() == {
        "mean_score": [0.15, 1.0],
        "observed": [0.5, 1.0],
        "n": [2, 2],
    }


def test_weights_equal_replication():
    truth, probability, _, weights = toy()
    errors, fits = errors_of(truth, probability, weights), Calibration(truth, probability).recalibration(weights)
    for number, row in enumerate(weights.astype(int)):
        drawn = np.repeat(np.arange(len(truth)), row)
        ones = np.ones((1, len(drawn)))
        copied = errors_of(truth[drawn], probability[drawn], ones)
        assert {name: values[number] for name, values in errors.items()} == pytest.approx(
            {name: values[0] for name, values in copied.items()}
        )
        expected = Calibration(truth[drawn], probability[drawn]).recalibration(ones)
        np.testing.assert_allclose([fit[number] for fit in fits], [fit[0] for fit in expected], atol=1e-9)


def test_compiled_and_numpy_agree():
    truth, probability, _, weights = toy()
    weights = np.vstack([weights, truth, np.zeros(len(truth))])  # only positives, nobody
    calibration = Calibration(truth, probability)
    slow, fast = (calibration.recalibration(weights, compiled=compiled) for compiled in (False, True))
    np.testing.assert_allclose(slow, fast, atol=1e-9)
    assert np.isnan(slow[0]).tolist() == [False] * 4 + [True] * 2
    separated = Calibration([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    assert np.isnan(separated.recalibration(np.ones((1, 4)), compiled=True)[0])


@pytest.mark.parametrize("wrong", [1.2, -0.1, np.nan])
def test_a_score_that_is_no_probability_is_refused(wrong):
    with pytest.raises(DataError, match=r"outside 0\.\.1"):
        Calibration([0, 1], [0.5, wrong])


def test_many_resamples_of_many_cases_equal_those_one_by_one():
    """The start by a Taylor sum and the exponential of its own change no answer, nor which rows have none."""
    rng = np.random.default_rng(5)
    score = rng.uniform(1e-9, 1 - 1e-9, 400)
    truth = (rng.random(400) < score**2).astype(int)
    found = Calibration(truth, score)
    weights = np.stack([np.bincount(rng.integers(0, 400, 400), minlength=400) for _ in range(40)]).astype(float)
    weights[0] = truth  # one class alone
    weights[1] = 0
    weights[2, 5:] = 0  # far from the whole
    for own, other in zip(
        found.recalibration(weights, compiled=True), found.recalibration(weights, compiled=False), strict=True
    ):
        np.testing.assert_allclose(own, other, atol=1e-9)
        assert np.isnan(own[:2]).all()
        assert np.isfinite(own[3:]).all()


@pytest.mark.parametrize("times", [3, 5, 10, 30])
def test_slope_of_far_too_extreme_scores(times):
    """At slope 1 such scores have hardly any curvature left: the fit has to begin elsewhere."""
    truth, _, logit, weights = toy()
    probability = 1 / (1 + np.exp(-(times * logit + 1)))
    clipped = np.clip(probability, np.finfo(float).eps, 1 - np.finfo(float).eps)
    given = np.log(clipped) - np.log1p(-clipped)
    for compiled in (False, True):
        slope, intercept = Calibration(truth, probability).recalibration(weights, compiled=compiled)
        for row, found, level in zip(weights, slope, intercept, strict=True):
            model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000)
            model.fit(given[:, None] / times, truth, sample_weight=row)
            assert found == pytest.approx(model.coef_[0, 0] / times, rel=1e-4)
            shifted = 1 / (1 + np.exp(-(given + level)))
            assert np.average(shifted, weights=row) == pytest.approx(np.average(truth, weights=row))
