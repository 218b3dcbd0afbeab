"""BCa intervals against the worked example of Efron and Tibshirani: the variance of the spatial test data.

An Introduction to the Bootstrap, 1993: data in table 14.1, figures in table 14.2 and sections 14.3.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from ai4diag.config.plan import Interval
from ai4diag.evaluation.bootstrap import _bca_tails, intervals

A = np.array([48.0, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41])


def variance(weights):
    mean = weights @ A / weights.sum(axis=1)
    return ((weights * (A - mean[:, None]) ** 2).sum(axis=1) / weights.sum(axis=1))[:, None]


def leave_one_out():
    weights = np.ones((26, 26)) - np.eye(26)
    return variance(weights)[:, 0]


def test_the_published_value_and_both_intervals():
    """Published: 171.5; 90 % percentile 100.8 to 233.9, BCa 115.8 to 259.6, from 2,000 resamples each."""
    found = {
        m: intervals(variance, np.arange(26), Interval(level=0.9, resamples=20_000, method=m))
        for m in ("percentile", "bca")
    }
    assert found["bca"].value[0] == pytest.approx(171.5, abs=0.05)
    assert (found["percentile"].low[0], found["percentile"].high[0]) == pytest.approx((100.8, 233.9), abs=3)
    assert (found["bca"].low[0], found["bca"].high[0]) == pytest.approx((115.8, 259.6), abs=4)


def test_the_published_acceleration():
    """Published: 0.061. With as many resamples below the value as above, the tails say what it is."""
    level = 0.95
    tail = _bca_tails(np.array([level]), 0.0, np.array([-1.0, 1.0]), leave_one_out())[0]
    z = special.ndtri(level)
    assert (1 - z / special.ndtri(tail)) / z == pytest.approx(0.061, abs=0.0005)


def test_the_published_tails():
    """Published: with bias 0.146 and this acceleration the 90 % interval uses the tails 0.110 and 0.985."""
    below = round(100_000 * special.ndtr(0.146))
    drawn = np.append(np.full(below, -1.0), np.full(100_000 - below, 1.0))
    tails = _bca_tails(np.array([0.05, 0.95]), 0.0, drawn, leave_one_out())
    assert np.round(tails, 3).tolist() == pytest.approx([0.110, 0.985], abs=0.001)


def test_whole_patients_carry_the_same_interval():
    """Every case twice within its patient: nothing new, so the same limits."""
    twice = lambda weights: variance(weights[:, ::2])  # noqa: E731
    plan = Interval(level=0.9, resamples=2000, method="bca")
    once, copied = intervals(variance, np.arange(26), plan), intervals(twice, np.repeat(np.arange(26), 2), plan)
    assert copied.low[0] == pytest.approx(once.low[0], rel=1e-12)
    assert copied.high[0] == pytest.approx(once.high[0], rel=1e-12)
