"""What must not change an interval: the order of cases, the names of patients, the scale of weights, copies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ai4diag.config.plan import Interval, OperatingPoint
from ai4diag.evaluation.bootstrap import intervals
from ai4diag.evaluation.ranking import Ranking
from ai4diag.evaluation.targets import scored_by
from tests.evaluation import test_mask_scores, test_multiclass, test_multilabel
from tests.evaluation.test_evaluate import smear, tabular

METHODS = st.sampled_from(["percentile", "bca", "logit"])
few = settings(max_examples=12, deadline=None)


def study(seed, n_patients=25):
    """Return truth, score and patient of one to four cases of each patient, both classes being there."""
    rng = np.random.default_rng(seed)
    unit = np.repeat(np.arange(n_patients), rng.integers(1, 5, n_patients))
    truth = rng.integers(0, 2, len(unit))
    truth[:2], truth[-2:] = 1, 0
    return truth, rng.normal(truth, 1.5).round(1), unit


def limits(truth, score, unit, method="percentile", seed=7, resamples=150):
    """Return value and limits of AUROC and average precision, `(3, 2)`."""
    ranking = Ranking(truth, score)
    presence = np.stack([truth == 0, truth == 1], axis=1)
    plan = Interval(resamples=resamples, method=method, seed=seed)
    found = intervals(lambda weights: np.stack(ranking.areas(weights), axis=1), unit, plan, presence, (True, True))
    return np.stack([found.value, found.low, found.high])


@few
@given(st.integers(0, 999), METHODS)
def test_the_order_of_cases_does_not_matter(seed, method):
    truth, score, unit = study(seed)
    order = np.random.default_rng(seed).permutation(len(unit))
    np.testing.assert_allclose(
        limits(truth[order], score[order], unit[order], method), limits(truth, score, unit, method), rtol=0, atol=1e-9
    )


@few
@given(st.integers(0, 999), METHODS, st.sampled_from([lambda u: u * 7 - 50, lambda u: [f"p{n:04}" for n in u]]))
def test_names_of_patients_do_not_matter_in_the_same_order(seed, method, rename):
    truth, score, unit = study(seed)
    np.testing.assert_array_equal(limits(truth, score, rename(unit), method), limits(truth, score, unit, method))


@settings(few, derandomize=True)
@given(st.integers(0, 999))
def test_names_of_patients_in_another_order_are_another_seed(seed):
    truth, score, unit = study(seed, 40)
    named = np.random.default_rng(seed).permutation(40)[unit]
    one, other = (limits(truth, score, of, resamples=2000) for of in (unit, named))
    np.testing.assert_array_equal(one[0], other[0])
    seeds = [limits(truth, score, unit, seed=s, resamples=2000)[1:] for s in range(4)]
    assert np.abs(one - other)[1:].max() < 6 * np.std(seeds, axis=0).max() + 0.01


@few
@given(st.integers(0, 999), METHODS, st.integers(2, 4))
def test_copies_of_all_cases_of_the_same_patients_change_nothing(seed, method, copies):
    truth, score, unit = study(seed)
    again = (np.repeat(part, copies) for part in (truth, score, unit))
    np.testing.assert_allclose(limits(*again, method), limits(truth, score, unit, method), rtol=0, atol=1e-9)


@pytest.mark.parametrize("method", ["percentile", "bca", "logit"])
def test_copies_as_patients_of_their_own_pretend_to_know_more(method):
    truth, score, unit = study(0, 120)
    one = limits(truth, score, unit, method, resamples=2000)
    again = (np.tile(truth, 4), np.tile(score, 4), np.concatenate([unit + 1000 * copy for copy in range(4)]))
    four = limits(*again, method, resamples=2000)
    np.testing.assert_allclose(four[0], one[0], atol=1e-12)
    np.testing.assert_allclose((four[2] - four[1]) / (one[2] - one[1]), 0.5, atol=0.06)


@few
@given(st.integers(0, 999), st.floats(0.01, 100))
def test_the_scale_of_weights_does_not_matter(seed, scale):
    truth, score, _ = study(seed)
    weights = np.random.default_rng(seed).integers(0, 4, (5, len(truth)))
    for compiled in (False, True):
        areas = Ranking(truth, score).areas(weights, compiled=compiled)
        np.testing.assert_allclose(Ranking(truth, score).areas(weights * scale, compiled=compiled), areas, atol=1e-9)


@few
@example(351, 1.0, True)  # resamples that equal the value but for rounding
@given(st.integers(0, 999), st.floats(-3, 3).filter(lambda slope: abs(slope) > 0.1), st.sampled_from([False, True]))
def test_limits_follow_a_change_of_the_scale(seed, slope, bca):
    _, score, unit = study(seed)
    plan = Interval(resamples=150, method="bca" if bca else "percentile")

    def mean(weights):
        return ((weights @ score) / weights.sum(axis=1))[:, None]

    plain = intervals(mean, unit, plan)
    moved = intervals(lambda weights: slope * mean(weights) + 2, unit, plan)
    expected = sorted([slope * plain.low[0] + 2, slope * plain.high[0] + 2])
    assert [moved.low[0], moved.high[0]] == pytest.approx(expected, abs=1e-9)


TABLES = {
    "binary": (tabular(60), ("no", "yes")),
    "multiclass": (test_multiclass.cases(40), test_multiclass.CLASSES),
    "multilabel": (test_multilabel.cases(40), test_multilabel.CLASSES),
    "masks": (test_mask_scores.table(8), test_mask_scores.CLASSES),
    "boxes": (smear(24), ("a", "b", "c")),
}


@pytest.mark.parametrize("target", TABLES)
def test_the_weight_of_a_case_is_its_number_of_copies(target):
    table, classes = TABLES[target]
    rows = table.reset_index(drop=True).assign(fold=0)
    scoring = scored_by(target)
    rule = OperatingPoint(threshold=0.5) if target in ("binary", "multilabel", "boxes") else OperatingPoint(youden=True)
    at = scoring.choose_threshold(rows, rows, classes, rule)
    entries = scoring.scores(rows, classes, at).entries
    weights = np.random.default_rng(8).integers(0, 4, (6, len(rows))).astype(float)
    weighted = scoring.scores(rows, classes, at).statistic(entries)(weights)
    assert np.isfinite(weighted).mean() > 0.8
    for row, values in zip(weights, weighted, strict=True):
        copies = scoring.scores(rows.loc[np.repeat(rows.index, row.astype(int))].reset_index(drop=True), classes, at)
        assert copies.entries == entries
        (expected,) = copies.statistic(entries)(np.ones((1, int(row.sum()))))
        defined = np.isfinite(values)  # classes that no copy shows are left out of means there, and undefined here
        np.testing.assert_allclose(values[defined], expected[defined], rtol=0, atol=1e-7)
