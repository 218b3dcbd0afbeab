"""Areas and their covariance against published figures, the definitions written the long way, and the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ai4diag.config.plan import Interval
from ai4diag.errors import DataError
from ai4diag.evaluation.bootstrap import resamples
from ai4diag.evaluation.delong import delong
from ai4diag.evaluation.ranking import Ranking

OVARIAN = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0  1.6 5.6 5 1  3.8 5.7 5 1
3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1  4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0
4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1  3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1
4.3 6.5 4 1  3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1  3.5 6.2 5 1
2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1  3.6 6.6 5 1
"""
"""Albumin, total protein, K-G score and outcome of the patients of DeLong et al. (1988) without missing
values, as the SAS/STAT User's Guide lists them (PROC LOGISTIC, example "Comparing ... Characteristic Curves")."""


def ovarian():
    table = np.array(OVARIAN.split(), float).reshape(-1, 4)
    return table[:, 3], np.stack([table[:, 0], 10 - table[:, 2], table[:, 1]])


def test_published_areas_of_the_ovarian_patients():
    """Figures as SAS prints them: albumin, K-G score, total protein."""
    areas = delong(*ovarian())
    error = np.sqrt(np.diag(areas.covariance))
    low, high = areas.interval()
    assert np.round(areas.value, 4).tolist() == [0.7366, 0.7258, 0.6478]
    assert np.round(error, 4).tolist() == [0.0927, 0.1028, 0.1000]
    assert np.round(low, 4).tolist() == [0.5549, 0.5243, 0.4518]
    assert np.round(high, 4).tolist() == [0.9182, 0.9273, 0.8439]


@pytest.mark.parametrize(
    ("first", "expected"),
    [(0, (0.0108, -0.1761, 0.1976, 0.0127, 0.9102)), (2, (-0.0780, -0.2830, 0.1271, 0.5554, 0.4561))],
)
def test_published_differences_of_the_ovarian_patients(first, expected):
    """Difference to the K-G score, its limits, chi-square and p as SAS prints them."""
    found = delong(*ovarian()).difference(first, 1)
    assert np.round([found.value, found.low, found.high, found.z**2, found.p], 4).tolist() == list(expected)


def made_up(seed, n_patients=25, k=3, cases=4):
    """Cases of patients, scores with ties, truth that goes with them; classes mixed within patients."""
    rng = np.random.default_rng(seed)
    unit = np.repeat(np.arange(n_patients), rng.integers(1, cases + 1, n_patients))
    severity = rng.normal(size=n_patients)[unit]
    truth = (severity + rng.normal(size=len(unit)) > 0).astype(int)
    scores = np.round(severity + truth + rng.normal(0, 1, (k, len(unit))), 1)
    return truth, scores, unit


def by_definition(truth, scores, unit):
    """Obuchowski (1997), equations 2 to 6, all pairs written out."""
    positive, negative = np.flatnonzero(truth == 1), np.flatnonzero(truth == 0)
    m, n = len(positive), len(negative)
    value, v10, v01 = [], [], []
    for score in scores:
        psi = np.array(
            [[1.0 if score[i] > score[j] else 0.5 * (score[i] == score[j]) for j in negative] for i in positive]
        )
        value.append(psi.mean())
        v10.append(psi.mean(axis=1))
        v01.append(psi.mean(axis=0))
    patients = sorted(set(unit))
    i10 = sum(bool(set(positive) & set(np.flatnonzero(unit == p))) for p in patients)
    i01 = sum(bool(set(negative) & set(np.flatnonzero(unit == p))) for p in patients)
    covariance = np.zeros((len(scores),) * 2)
    for r in range(len(scores)):
        for s in range(len(scores)):
            s10 = s01 = s11 = 0.0
            for p in patients:
                ill, well = unit[positive] == p, unit[negative] == p
                up = [v10[q][ill].sum() - ill.sum() * value[q] for q in (r, s)]
                down = [v01[q][well].sum() - well.sum() * value[q] for q in (r, s)]
                s10 += up[0] * up[1] * i10 / ((i10 - 1) * m)
                s01 += down[0] * down[1] * i01 / ((i01 - 1) * n)
                s11 += (up[0] * down[1] + up[1] * down[0]) * len(patients) / (len(patients) - 1)
            covariance[r, s] = s10 / m + s01 / n + s11 / (m * n)
    return np.array(value), covariance


@pytest.mark.parametrize("seed", range(4))
def test_several_cases_of_a_patient_by_definition(seed):
    truth, scores, unit = made_up(seed)
    areas = delong(truth, scores, unit)
    value, covariance = by_definition(truth, scores, unit)
    np.testing.assert_allclose(areas.value, value, atol=1e-14)
    np.testing.assert_allclose(areas.covariance, covariance, atol=1e-15)


@pytest.mark.parametrize("seed", range(3))
def test_one_case_of_each_patient_is_delong_over_all_pairs(seed):
    truth, scores, _ = made_up(seed, n_patients=60, cases=1)
    positive = truth == 1
    pairs = np.sign(scores[:, positive, None] - scores[:, None, ~positive]) / 2 + 0.5
    expected = np.cov(pairs.mean(axis=2)) / positive.sum() + np.cov(pairs.mean(axis=1)) / (~positive).sum()
    for unit in (None, np.arange(len(truth))[::-1], [f"p{i}" for i in range(len(truth))]):
        areas = delong(truth, scores, unit)
        np.testing.assert_allclose(areas.value, pairs.mean(axis=(1, 2)), atol=1e-14)
        np.testing.assert_allclose(areas.covariance, expected, atol=1e-16)
    np.testing.assert_allclose(areas.value, [Ranking(truth, score).areas()[0] for score in scores], atol=1e-14)


def test_a_case_that_is_copied_tells_nothing_new():
    truth, scores, unit = made_up(5)
    once = delong(truth, scores, unit)
    five = delong(np.tile(truth, 5), np.tile(scores, 5), np.tile(unit, 5))
    np.testing.assert_allclose(five.value, once.value, atol=1e-14)
    np.testing.assert_allclose(five.covariance, once.covariance, atol=1e-15)
    naive = delong(np.tile(truth, 5), np.tile(scores, 5))
    assert (np.diag(naive.covariance) < 0.4 * np.diag(once.covariance)).all()


def test_standard_errors_are_those_of_the_cluster_bootstrap():
    truth, scores, unit = made_up(6, n_patients=200, k=2)
    drawn = np.concatenate(list(resamples(np.zeros(200, np.int64), Interval(resamples=4000), 200)))[:, unit]
    values = np.stack([Ranking(truth, score).areas(drawn)[0] for score in scores])
    np.testing.assert_allclose(delong(truth, scores, unit).covariance, np.cov(values), rtol=0.1)


def test_interval_covers_the_true_area():
    rng = np.random.default_rng(8)
    truth = np.repeat([0, 1], [60, 40])
    area, covered = stats.norm.cdf(1 / np.sqrt(2)), 0
    for _ in range(400):
        low, high = delong(truth, [rng.normal(size=100) + truth]).interval()
        covered += low[0] <= area <= high[0]
    assert 0.92 <= covered / 400 <= 0.97


def test_difference_is_antisymmetric_and_widens_with_the_level():
    areas = delong(*made_up(7))
    one, other = areas.difference(0, 1), areas.difference(1, 0)
    assert (one.value, one.low, one.high, one.z, one.p) == (-other.value, -other.high, -other.low, -other.z, other.p)
    assert areas.difference(0, 1, 0.99).low < one.low < areas.difference(0, 1, 0.5).low


def test_scores_that_rank_alike_have_no_test():
    truth, scores, unit = made_up(9, k=1)
    areas = delong(truth, [scores[0], np.exp(scores[0])], unit)
    found = areas.difference(0, 1)
    assert found.value == 0
    assert np.isnan([found.low, found.high, found.z, found.p]).all()


def test_a_perfect_area_has_no_interval():
    areas = delong([0, 0, 0, 1, 1], [[1, 2, 3, 4, 5]])
    assert areas.value.tolist() == [1.0]
    assert areas.covariance.tolist() == [[0.0]]
    assert np.isnan(areas.interval()).all()


@pytest.mark.parametrize("truth", [[], [1, 1, 1], [0, 0]])
def test_without_one_of_the_classes_nothing_is_defined(truth):
    areas = delong(truth, np.zeros((2, len(truth))))
    assert areas.value.shape == (2,)
    assert areas.covariance.shape == (2, 2)
    assert np.isnan(areas.value).all()
    assert np.isnan(areas.covariance).all()


def test_one_patient_with_a_class_gives_an_area_but_no_variance():
    areas = delong([1, 1, 0, 0], [[0.9, 0.2, 0.3, 0.1]], ["a", "a", "b", "c"])
    assert areas.value.tolist() == [0.75]
    assert np.isnan(areas.covariance).all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([0, 1], [0.1, 0.2]), "expected"),
        (([0, 1, 1], [[0.1, 0.2]]), "expected"),
        (([0, 2], [[0.1, 0.2]]), "0 or 1"),
        (([0, 1], [[0.1, np.nan]]), "finite"),
        (([0, 1], [[0.1, 0.2]], ["a"]), "one unit per case"),
    ],
)
def test_bad_input_is_refused(arguments, said):
    with pytest.raises(DataError, match=said):
        delong(*arguments)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n_patients=st.integers(6, 40), cases=st.integers(1, 5))
def test_what_holds_for_any_cases(seed, n_patients, cases):
    """A rising function of the scores changes nothing; turned scores turn the area; patients' names do not matter."""
    truth, scores, unit = made_up(seed, n_patients, 3, cases)
    areas = delong(truth, scores, unit)
    if np.isnan(areas.covariance).any():
        return
    assert ((areas.value >= 0) & (areas.value <= 1)).all()
    assert np.linalg.eigvalsh(areas.covariance).min() > -1e-12
    raised = delong(truth, np.exp(scores) + 3, unit + 100)
    np.testing.assert_array_equal(raised.value, areas.value)
    np.testing.assert_allclose(raised.covariance, areas.covariance, atol=1e-15)
    turned = delong(truth, -scores, unit)
    np.testing.assert_allclose(turned.value, 1 - areas.value, atol=1e-12)
    np.testing.assert_allclose(turned.covariance, areas.covariance, atol=1e-12)
    order = np.random.default_rng(seed).permutation(len(truth))
    mixed = delong(truth[order], scores[:, order], unit[order])
    np.testing.assert_allclose(mixed.covariance, areas.covariance, atol=1e-12)
