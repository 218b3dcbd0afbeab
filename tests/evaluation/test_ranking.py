"""Areas and curves against scikit-learn, hand-computed values and replication."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from ai4diag.errors import DataError
from ai4diag.evaluation import ranking as module
from ai4diag.evaluation.ranking import Ranking


def toy(seed, n=200, decimals=None):
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.3).astype(int)
    score = rng.normal(truth, 1.2)
    return truth, score if decimals is None else np.round(score, decimals)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_areas_equal_scikit_learn_with_weights_and_ties(decimals, compiled):
    for seed in range(5):
        truth, score = toy(seed, decimals=decimals)
        ranking = Ranking(truth, score)
        weights = np.random.default_rng(seed).integers(0, 4, (6, len(truth)))
        auroc, auprc = ranking.areas(weights, compiled=compiled)
        for row, area, precision in zip(weights, auroc, auprc, strict=True):
            assert area == pytest.approx(metrics.roc_auc_score(truth, score, sample_weight=row), abs=1e-12)
            assert precision == pytest.approx(
                metrics.average_precision_score(truth, score, sample_weight=row), abs=1e-12
            )
        area, precision = ranking.areas(compiled=compiled)
        assert area == pytest.approx(metrics.roc_auc_score(truth, score), abs=1e-12)
        assert precision == pytest.approx(metrics.average_precision_score(truth, score), abs=1e-12)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("truth", "score", "auroc", "auprc"),
    [
        ([0, 0, 1, 1], [1, 2, 3, 4], 1, 1),
        ([1, 1, 0, 0], [1, 2, 3, 4], 0, (1 / 3 + 2 / 4) / 2),
        ([0, 1, 0, 1], [5, 5, 5, 5], 0.5, 0.5),  # one tie: no information
        ([1, 1], [1, 2], np.nan, 1),
        ([0, 0], [1, 2], np.nan, np.nan),
        ([], [], np.nan, np.nan),
    ],
)
def test_areas_by_hand(truth, score, auroc, auprc, compiled):
    area, precision = Ranking(truth, score).areas(compiled=compiled)
    np.testing.assert_allclose([area, precision], [auroc, auprc])


@pytest.mark.parametrize("rows", [0, 1, 15, 16, 37])
def test_rows_that_numba_walks_together_have_the_bits_of_one_alone(rows):
    ranking, weights = many(rows)
    areas = ranking.areas(weights, compiled=True)
    assert areas[0].shape == areas[1].shape == (rows,)
    for row, *both in zip(weights, *areas, strict=True):
        np.testing.assert_array_equal(both, ranking.areas(row, compiled=True))


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 101, 400])
def test_rows_that_numpy_takes_in_pieces_have_the_bits_of_all_together(rows, monkeypatch):
    ranking, weights = many(rows)
    whole = ranking.areas(weights, compiled=False)
    assert whole[0].shape == whole[1].shape == (rows,)
    for together in (1, 500, 10_000):
        monkeypatch.setattr(module, "TOGETHER", together)
        np.testing.assert_array_equal(ranking.areas(weights, compiled=False), whole)


def many(rows):
    truth, score = toy(4, decimals=1)
    return Ranking(truth, score), np.random.default_rng(rows).gamma(1.0, 1.0, (rows, len(truth)))


@pytest.mark.parametrize("compiled", [False, True])
def test_a_class_without_weight_is_undefined(compiled):
    auroc, auprc = Ranking([0, 1, 1], [1, 2, 3]).areas([[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 1]], compiled=compiled)
    np.testing.assert_array_equal(auroc, [np.nan, np.nan, np.nan, 1])
    np.testing.assert_array_equal(auprc, [np.nan, 1, np.nan, 1])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_order_of_rows_and_monotone_transforms_change_nothing(seed):
    rng = np.random.default_rng(seed)
    truth, score = toy(seed, n=40, decimals=1)
    expected = Ranking(truth, score).areas(compiled=False)
    shuffled = rng.permutation(40)
    np.testing.assert_allclose(Ranking(truth[shuffled], score[shuffled]).areas(compiled=False), expected)
    np.testing.assert_allclose(Ranking(truth, np.exp(score) * 3 - 7).areas(compiled=False), expected)
    auroc = Ranking(truth, -score).areas(compiled=False)[0]
    np.testing.assert_allclose(auroc, 1 - expected[0], atol=1e-12)


def test_curves_equal_scikit_learn():
    truth, score = toy(3, decimals=1)
    ranking = Ranking(truth, score)
    false_rate, true_rate, threshold = ranking.roc_curve()
    expected = metrics.roc_curve(truth, score, drop_intermediate=False)
    for found, value in zip((false_rate, true_rate, threshold), expected, strict=True):
        np.testing.assert_allclose(found, value)
    recall, precision, threshold = ranking.precision_recall_curve()
    expected = metrics.precision_recall_curve(truth, score)
    np.testing.assert_allclose(precision, expected[0][-2::-1])
    np.testing.assert_allclose(recall, expected[1][-2::-1])
    np.testing.assert_allclose(threshold, expected[2][::-1])


@pytest.mark.parametrize(
    ("truth", "score", "message"),
    [([0, 2], [1, 2], "0 or 1"), ([0, 1], [1, np.nan], "not finite"), ([0, 1], [1], "shape")],
)
def test_wrong_input_is_refused(truth, score, message):
    with pytest.raises(DataError, match=message):
        Ranking(truth, score)
