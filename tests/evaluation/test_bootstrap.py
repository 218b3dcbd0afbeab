"""Intervals against closed forms, scipy's BCa, and resampling written the long way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ai4diag.config.plan import Interval
from ai4diag.evaluation import bootstrap, calibration, ranking
from ai4diag.evaluation.bootstrap import intervals, resamples, stratify


def mean_of(values):
    def statistic(weights):
        with np.errstate(invalid="ignore"):
            return (weights @ values / weights.sum(axis=1))[:, None]

    return statistic


def test_interval_of_a_mean_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(5, 2, 400)
    found = intervals(mean_of(values), np.arange(400), Interval(resamples=20_000))
    half = 1.96 * values.std() / np.sqrt(400)
    assert found.value[0] == pytest.approx(values.mean())
    assert found.low[0] == pytest.approx(values.mean() - half, abs=0.02)
    assert found.high[0] == pytest.approx(values.mean() + half, abs=0.02)
    assert found.notes == ("",)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_limits_agree_with_scipy(method):
    values = np.random.default_rng(1).exponential(1, 60)
    found = intervals(mean_of(values), np.arange(60), Interval(resamples=20_000, method=method))
    expected = stats.bootstrap((values,), np.mean, n_resamples=20_000, method=method, rng=0).confidence_interval
    assert (found.low[0], found.high[0]) == pytest.approx(tuple(expected), abs=0.02)


def test_whole_patients_are_drawn():
    # Ten cases of each patient are copies: the interval must be as wide as with one case of each.
    values = np.random.default_rng(2).normal(size=80)
    alone = intervals(mean_of(values), np.arange(80), Interval(resamples=4000))
    copied = intervals(mean_of(np.repeat(values, 10)), np.repeat(np.arange(80), 10), Interval(resamples=4000))
    assert copied.n_units == 80
    assert copied.high[0] - copied.low[0] == pytest.approx(alone.high[0] - alone.low[0], rel=0.05)
    naive = intervals(mean_of(np.repeat(values, 10)), np.arange(800), Interval(resamples=1000))
    assert naive.high[0] - naive.low[0] < 0.5 * (alone.high[0] - alone.low[0])


def test_weights_are_drawn_within_strata_and_repeat_with_the_seed():
    strata = np.array([0, 1, 0, 1, 1, 0, 0])
    plan = Interval(resamples=500)
    drawn = np.concatenate(list(resamples(strata, plan, 7)))
    assert drawn.shape == (500, 7)
    assert (drawn[:, strata == 0].sum(axis=1) == 4).all()
    assert (drawn[:, strata == 1].sum(axis=1) == 3).all()
    np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.15)
    np.testing.assert_array_equal(drawn, np.concatenate(list(resamples(strata, plan, 7))))
    other = np.concatenate(list(resamples(strata, Interval(resamples=500, seed=8), 7)))
    assert (drawn != other).any()


def test_blocks_cover_all_resamples(monkeypatch):
    monkeypatch.setattr(bootstrap, "BLOCK", 70)
    assert [len(block) for block in resamples(np.zeros(10, int), Interval(resamples=100), 10)] == [7] * 14 + [2]


def test_blocks_of_large_data_are_worth_compiling():
    (block, *_) = resamples(np.zeros(10_000, int), Interval(resamples=2000), 10_000)
    assert block.size > max(ranking.WORTH_COMPILING, calibration.WORTH_COMPILING)


def test_units_are_stratified_only_where_a_class_would_vanish():
    presence = np.zeros((100, 2), bool)
    presence[:, 0] = True
    presence[:30, 1] = True
    assert stratify(np.arange(100), 100, presence, 2000)[1] == ""
    presence[3:30, 1] = False  # three of 100: missing from one resample in 21
    strata, how = stratify(np.arange(100), 100, presence, 2000)
    assert np.bincount(strata).tolist() == [97, 3]
    assert "stratified" in how


def test_stratified_resamples_keep_the_scarce_class():
    truth = np.zeros(40, bool)
    truth[:2] = True

    def sensitivity(weights):
        with np.errstate(invalid="ignore"):
            return (weights[:, :1].sum(axis=1) / weights[:, :2].sum(axis=1))[:, None]

    loose = intervals(sensitivity, np.arange(40), Interval(resamples=1000))
    held = intervals(sensitivity, np.arange(40), Interval(resamples=1000), np.stack([truth, ~truth], axis=1))
    assert loose.undefined[0] > 50
    assert np.isnan(loose.low[0])
    assert "resamples" in loose.notes[0]
    assert held.undefined[0] == 0
    assert (held.low[0], held.high[0]) == (0, 1)
    assert "stratified" in held.stratified


def test_undefined_value_has_no_interval():
    found = intervals(lambda weights: np.full((len(weights), 1), np.nan), np.arange(60), Interval(resamples=100))
    assert np.isnan([found.value[0], found.low[0], found.high[0]]).all()
    assert found.notes == ("undefined",)


def test_few_patients_are_named():
    values = np.arange(5.0)
    assert "fewer than 50 patients" in intervals(mean_of(values), np.arange(5), Interval(resamples=100)).notes[0]
    one = intervals(mean_of(values), np.zeros(5), Interval(resamples=100))
    assert one.value[0] == 2
    assert np.isnan(one.low[0])
    assert "fewer than two" in one.notes[0]


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_resamples_that_all_agree_give_no_interval(method):
    found = intervals(mean_of(np.ones(60)), np.arange(60), Interval(resamples=100, method=method))
    assert found.value[0] == 1
    assert np.isnan([found.low[0], found.high[0]]).all()
    assert found.notes == ("no interval: all resamples agree",)


def test_a_biased_statistic_has_no_bca_interval():
    def smallest(weights):
        return np.where(weights > 0, np.arange(60.0), np.inf).min(axis=1)[:, None]

    found = intervals(lambda weights: smallest(weights) + 1 - (weights == 1).all(axis=1)[:, None], np.arange(60),
                      Interval(resamples=100, method="bca"))  # fmt: skip
    assert found.value[0] == 0
    assert np.isnan(found.low[0])
    assert "one side" in found.notes[0]


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(300):
        values = rng.normal(0, 1, 100)
        found = intervals(mean_of(values), np.arange(100), Interval(level=0.9, resamples=300))
        covered += found.low[0] <= 0 <= found.high[0]
    assert 0.85 < covered / 300 < 0.95


def test_counts_by_numba_are_the_draws_of_numpy():
    plan = Interval(resamples=20_000)
    assert plan.resamples * 1200 > bootstrap.WORTH_COMPILING
    check_counts(plan, 700, 1200)


class Stingy:
    """A source that gives a quarter of the words that it is asked for."""

    def __init__(self, seed):
        self._source = np.random.default_rng(seed).bit_generator

    def random_raw(self, count):
        return self._source.random_raw(max(count // 4, 1))


@pytest.mark.parametrize("n_units", [1, 2, 3, 1000, 100_003])
def test_draws_by_numba_are_those_of_numpy_also_those_that_are_drawn_again(n_units):
    # Of 100,003 units about 6 draws in these 400,000 are drawn again.
    expected, counted = np.random.default_rng(5), {}
    for kind, source in (("plain", np.random.default_rng(5).bit_generator), ("stingy", Stingy(5))):
        words, counted[kind] = np.zeros(0, np.uint32), np.full((4, n_units + 1), -1.0)
        for part in (counted[kind][:3], counted[kind][3:]):
            words = bootstrap._draw(source, words, np.arange(1, n_units + 1), part)
    np.testing.assert_array_equal(counted["plain"], counted["stingy"])
    drawn = np.concatenate([expected.integers(0, n_units, (rows, n_units)) for rows in (3, 1)])
    np.testing.assert_array_equal(counted["plain"][:, 1:], [np.bincount(row, minlength=n_units) for row in drawn])
    assert (counted["plain"][:, 0] == -1).all()


def test_a_statistic_may_return_the_weights_of_large_data():
    plan = Interval(resamples=10_000)
    found = intervals(lambda weights: weights[:, :2], np.arange(2500), plan)
    assert plan.resamples * 2500 > bootstrap.WORTH_COMPILING
    blocks = np.concatenate([block[:, :2].copy() for block in resamples(np.zeros(2500, int), plan, 2500)])
    np.testing.assert_array_equal(found.high, np.quantile(blocks, 0.975, axis=0))
    assert blocks.mean() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("first", "all_units"), [(7, 12), (600, 601), (1, 2)])
def test_counts_by_numpy_are_its_draws(first, all_units):
    plan = Interval(resamples=700)
    assert plan.resamples * all_units < bootstrap.WORTH_COMPILING
    check_counts(plan, first, all_units)


def check_counts(plan, first, all_units):
    strata = (np.arange(all_units) >= first).astype(int)
    counted = next(iter(resamples(strata, plan, len(strata))))
    generator = np.random.default_rng(plan.seed)
    for units in (np.arange(first), np.arange(first, all_units)):
        drawn = generator.integers(0, len(units), (len(counted), len(units)))
        expected = [np.bincount(row, minlength=len(units)) for row in drawn]
        np.testing.assert_array_equal(counted[:, units], expected)


def test_logit_limits_of_a_share_are_those_of_its_log_odds():
    # 30 of 200 patients: the standard error of the log odds is 1 / sqrt(n p (1 - p)).
    values = np.repeat([1.0, 0.0], [30, 170])
    plan = Interval(resamples=20_000, method="logit")
    found = intervals(mean_of(values), np.arange(200), plan, shares=[True])
    half = stats.t.ppf(0.975, 199) / np.sqrt(200 * 0.15 * 0.85)
    expected = 1 / (1 + np.exp(-(np.log(0.15 / 0.85) + np.array([-half, half]))))
    assert (found.low[0], found.high[0]) == pytest.approx(tuple(expected), abs=0.003)
    assert found.low[0] < 0.15 < found.high[0]
    plain = intervals(mean_of(values), np.arange(200), Interval(resamples=20_000))
    assert found.high[0] - 0.15 > plain.high[0] - 0.15  # more room away from the end of the scale


def test_logit_limits_are_percentiles_for_what_is_no_share():
    values = np.random.default_rng(0).random((60, 2))

    def statistic(weights):
        return weights @ values / 60

    plain = intervals(statistic, np.arange(60), Interval(resamples=300))
    for shares in (None, [False, False], [False, True]):
        found = intervals(statistic, np.arange(60), Interval(resamples=300, method="logit"), shares=shares)
        assert (found.low[0], found.high[0]) == (plain.low[0], plain.high[0])
        assert (found.low[1] == plain.low[1]) == (not shares or not shares[1])


def test_logit_limits_stay_within_the_scale_also_where_resamples_reach_its_end():
    values = np.repeat([1.0, 0.0], [58, 2])  # no failure in 13 % of the resamples
    found = intervals(mean_of(values), np.arange(60), Interval(resamples=2000, method="logit"), shares=[True])
    assert 0 < found.low[0] < 58 / 60 < found.high[0] < 1
    exact = stats.binomtest(58, 60).proportion_ci()
    assert (found.low[0], found.high[0]) == pytest.approx((exact.low, exact.high), abs=0.05)


def test_log_odds_of_the_ends_of_the_scale_have_no_interval():
    def capped(weights):
        return np.minimum(weights[:, :1], 1.0)  # 1 with all patients, 0 without the first

    found = intervals(capped, np.arange(60), Interval(resamples=500, method="logit"), shares=[True])
    assert found.value[0] == 1
    assert np.isnan(found.low[0])
    assert found.notes == ("no interval: log odds of 0 and 1 are infinite",)


def test_groups_of_units_left_out_give_the_acceleration_of_single_ones(monkeypatch):
    values = np.random.default_rng(9).exponential(1, 3000)
    plan = Interval(resamples=2000, method="bca")
    alone = intervals(mean_of(values), np.arange(3000), plan)
    monkeypatch.setattr(bootstrap, "ONE_BY_ONE", 2999)
    monkeypatch.setattr(bootstrap, "GROUPS", 300)
    together = intervals(mean_of(values), np.arange(3000), plan)
    plain = intervals(mean_of(values), np.arange(3000), Interval(resamples=2000))
    width = plain.high[0] - plain.low[0]
    assert together.low[0] == pytest.approx(alone.low[0], abs=0.01 * width)
    assert together.high[0] == pytest.approx(alone.high[0], abs=0.01 * width)
    assert not np.array_equal(alone.low, plain.low)
    single = bootstrap._leave_one_out(mean_of(values[:60]), np.arange(60), 60)
    np.testing.assert_allclose(single[:, 0], (values[:60].sum() - values[:60]) / 59)
