"""Times to event: against lifelines, scikit-learn, sums over all pairs, a closed form, and the degenerate cases."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter
from lifelines.statistics import multivariate_logrank_test
from lifelines.utils import concordance_index
from sklearn.metrics import roc_auc_score

from ai4diag.config.plan import Evaluate, Interval, OperatingPoint
from ai4diag.errors import ConfigError, DataError
from ai4diag.evaluation.evaluate import evaluate
from ai4diag.evaluation.predictions import check
from ai4diag.evaluation.report import time_to_event as showing
from ai4diag.evaluation.report import words
from ai4diag.evaluation.survival import Outcomes, integrate
from ai4diag.types import Estimate

DAYS = np.array([100.0, 200.0, 400.0])


def cohort(n: int, seed: int = 7, ties: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return times in days, events and risks of patients whose hazard doubles with the risk."""
    rng = np.random.default_rng(seed)
    risk = np.round(rng.normal(size=n), 1)
    death, end = rng.exponential(300 * 2.0**-risk), rng.uniform(50, 900, n)
    time = np.minimum(death, end)
    return (np.ceil(time / 20) * 20 if ties else time), death <= end, risk


def pairs(time: np.ndarray, event: np.ndarray, risk: np.ndarray, weight: np.ndarray, factor: np.ndarray) -> float:
    """Return the concordance by looking at every pair."""
    right = total = 0.0
    for i, j in itertools.permutations(range(len(time)), 2):
        if event[i] and (time[i] < time[j] or (time[i] == time[j] and not event[j])):
            w = weight[i] * weight[j] * factor[i]
            total += w
            right += w * (1.0 if risk[i] > risk[j] else 0.5 if risk[i] == risk[j] else 0.0)
    return right / total if total else np.nan


def staying_before(time: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Return the probability not to be censored before each time, by lifelines; events come before censoring."""
    fitted = KaplanMeierFitter().fit(np.where(event, time, time + 1e-6), ~event)
    return fitted.survival_function_at_times(time - 1e-6).to_numpy()


@pytest.mark.parametrize("seed", range(4))
def test_harrell_is_that_of_lifelines(seed: int) -> None:
    time, event, risk = cohort(150, seed)
    assert Outcomes(time, event).concordance(risk)[0] == pytest.approx(concordance_index(time, -risk, event), abs=1e-12)


@pytest.mark.parametrize("compiled", [False, True])
def test_concordance_of_resamples_is_that_of_copied_cases(compiled: bool) -> None:
    time, event, risk = cohort(60)
    rng = np.random.default_rng(3)
    chosen = rng.integers(0, 60, (5, 60))
    weights = np.stack([np.bincount(rows, minlength=60) for rows in chosen]).astype(float)
    found = Outcomes(time, event).concordance(risk, weights, compiled=compiled)
    assert found == pytest.approx([concordance_index(time[r], -risk[r], event[r]) for r in chosen], abs=1e-12)


@pytest.mark.parametrize("compiled", [False, True])
def test_uno_is_the_weighted_sum_over_all_pairs(compiled: bool) -> None:
    time, event, risk = cohort(70)
    outcomes = Outcomes(time, event)
    factor = 1 / staying_before(time, event) ** 2
    one = np.ones(70)
    found = outcomes.concordance(risk, uno=True, compiled=compiled)[0]
    assert found == pytest.approx(pairs(time, event, risk, one, factor), abs=1e-9)
    early = outcomes.concordance(risk, uno=True, until_days=200, compiled=compiled)[0]
    assert early == pytest.approx(pairs(time, event & (time < 200), risk, one, factor), abs=1e-9)
    assert found != pytest.approx(outcomes.concordance(risk)[0], abs=1e-6)


def test_uno_is_harrell_where_nobody_is_censored() -> None:
    time, _, risk = cohort(80)
    outcomes = Outcomes(time, np.ones(80))
    assert outcomes.concordance(risk, uno=True) == pytest.approx(outcomes.concordance(risk), abs=1e-12)


def test_numba_and_numpy_agree_on_many_resamples() -> None:
    time, event, risk = cohort(200)
    weights = np.random.default_rng(1).multinomial(200, np.full(200, 1 / 200), 300).astype(float)
    outcomes = Outcomes(time, event)
    for uno in (False, True):
        both = [outcomes.concordance(risk, weights, uno=uno, until_days=500, compiled=c) for c in (False, True)]
        np.testing.assert_allclose(both[0], both[1], rtol=0, atol=1e-12)


def test_kaplan_meier_and_its_band_are_those_of_lifelines() -> None:
    time, event, _ = cohort(120)
    outcomes = Outcomes(time, event)
    fitted = KaplanMeierFitter().fit(time, event)
    survival, low, high = outcomes.greenwood()
    np.testing.assert_allclose(survival[1:], fitted.survival_function_at_times(outcomes.distinct), atol=1e-12)
    band = fitted.confidence_interval_.loc[outcomes.distinct].to_numpy()
    inside = (survival[1:] < 1) & (survival[1:] > 0)
    np.testing.assert_allclose(np.stack([low, high], 1)[1:][inside], band[inside], atol=1e-6)
    np.testing.assert_array_equal(outcomes.at_risk([0, 200, 9000]), [120, (time >= 200).sum(), 0])


def test_kaplan_meier_by_hand() -> None:
    outcomes = Outcomes([2, 2, 3, 5, 5], [1, 0, 1, 1, 0])
    assert outcomes.kaplan_meier()[0] == pytest.approx([1, 4 / 5, 4 / 5 * 2 / 3, 4 / 5 * 2 / 3 * 1 / 2])
    # at day 2 four are left after the event, one of them is censored; at day 5 one of the one that is left
    assert outcomes.kaplan_meier(censoring=True)[0] == pytest.approx([1, 3 / 4, 3 / 4, 0])


def test_log_rank_is_that_of_lifelines() -> None:
    time, event, risk = cohort(150)
    group = np.digitize(risk, [-0.5, 0.5])
    expected = multivariate_logrank_test(time, group, event)
    found = Outcomes(time, event).log_rank(group)
    assert found == pytest.approx((expected.test_statistic, expected.p_value), rel=1e-9)


def test_auroc_is_that_of_scikit_learn_where_nobody_is_censored_before() -> None:
    time, event, risk = cohort(150)
    event = event | (time <= 200)
    found = Outcomes(time, event).auroc(risk, 200)[0]
    assert found == pytest.approx(roc_auc_score((time <= 200) & event, risk), abs=1e-12)


def test_auroc_weighs_events_by_the_inverse_probability_of_censoring() -> None:
    time, event, risk = cohort(90)
    early, late = np.flatnonzero(event & (time <= 300)), np.flatnonzero(time > 300)
    weight = 1 / staying_before(time, event)[early]
    wins = (np.sign(risk[early, None] - risk[late]) + 1) / 2
    expected = (weight[:, None] * wins).sum() / (weight.sum() * len(late))
    assert Outcomes(time, event).auroc(risk, 300)[0] == pytest.approx(expected, abs=1e-9)


def test_brier_by_hand() -> None:
    """Four patients, one censored on day 2: after it each of the two that are left stands for one and a half."""
    outcomes = Outcomes([1, 2, 3, 4], [1, 0, 1, 1])
    survival = np.array([[0.9, 0.2], [0.8, 0.4], [0.7, 0.3], [0.95, 0.9]])
    found = outcomes.brier(survival, np.array([1.0, 3.0]))[0]
    first = (0.9**2 + 0.2**2 + 0.3**2 + 0.05**2) / 4
    staying = 2 / 3
    assert found == pytest.approx([first, (0.2**2 + 0.3**2 / staying + 0.1**2 / staying) / 4])


def test_brier_weighs_an_event_by_who_was_censored_before_it_and_not_at_the_same_time() -> None:
    time, event, _ = cohort(90)
    survival = np.random.default_rng(3).uniform(size=(90, 3))
    before = staying_before(time, event)
    staying = KaplanMeierFitter().fit(np.where(event, time, time + 1e-6), ~event)
    assert any(((time == day) & ~event).any() for day in time[event])  # ties of both kinds are there
    for k, day in enumerate(DAYS):
        after = staying.survival_function_at_times(day + 1e-3).iloc[0]
        died, alive = event & (time <= day), time > day
        expected = (survival[died, k] ** 2 / before[died]).sum() + ((1 - survival[alive, k]) ** 2).sum() / after
        assert Outcomes(time, event).brier(survival, DAYS)[0, k] == pytest.approx(expected / 90, abs=1e-9)


def test_integrated_brier_of_the_true_exponential_model() -> None:
    """Its error at t is S (1 - S); the mean over time has a closed form, with censoring and without."""
    rng = np.random.default_rng(7)
    n, rate, until = 40_000, 1 / 300, 500.0
    death, end = rng.exponential(1 / rate, n), rng.exponential(800, n)
    days = np.linspace(0, until, 101)[1:]
    expected = ((1 - np.exp(-rate * until)) / rate - (1 - np.exp(-2 * rate * until)) / (2 * rate)) / until
    survival = np.tile(np.exp(-rate * days), (n, 1))
    for time, event in ((death, np.ones(n)), (np.minimum(death, end), death <= end)):
        found = integrate(Outcomes(time, event).brier(survival, days), days)[0]
        assert found == pytest.approx(expected, abs=0.002)


def test_weights_are_copies() -> None:
    time, event, risk = cohort(50)
    rows = np.random.default_rng(2).integers(0, 50, 50)
    weights = np.bincount(rows, minlength=50).astype(float)
    survival = np.random.default_rng(3).uniform(size=(50, 3))
    whole, copied = Outcomes(time, event), Outcomes(time[rows], event[rows])
    assert whole.auroc(risk, 200, weights) == pytest.approx(copied.auroc(risk[rows], 200))
    assert whole.brier(survival, DAYS, weights) == pytest.approx(copied.brier(survival[rows], DAYS))
    assert whole.observed_to_predicted(survival[:, 1], 200, weights) == pytest.approx(
        copied.observed_to_predicted(survival[rows, 1], 200)
    )


def test_observed_over_predicted_is_one_for_kaplan_meier_itself() -> None:
    time, event, _ = cohort(80)
    outcomes = Outcomes(time, event)
    alone = outcomes.at(outcomes.kaplan_meier(), [200])[0, 0]
    assert outcomes.observed_to_predicted(np.full(80, alone), 200)[0] == pytest.approx(1)
    assert outcomes.observed_to_predicted(np.full(80, 1 - (1 - alone) * 2), 200)[0] == pytest.approx(0.5)


def test_what_is_undefined_is_nan() -> None:
    risk = np.arange(4.0)
    nobody = Outcomes([1, 2, 3, 4], [0, 0, 0, 0])
    assert np.isnan(nobody.concordance(risk)).all()
    assert np.isnan(nobody.concordance(risk, compiled=True)).all()
    assert np.isnan(nobody.auroc(risk, 2)).all()
    assert np.isnan(nobody.log_rank([0, 0, 1, 1])).all()
    assert nobody.brier(np.full((4, 1), 0.9), np.array([2.0]))[0, 0] == pytest.approx(0.01)  # 2 of 4, each for two
    short = Outcomes([1, 2, 3, 4], [1, 1, 0, 0])
    assert np.isnan(short.brier(np.full((4, 1), 0.5), np.array([5.0]))).all()  # nobody was seen so long
    assert np.isnan(short.observed_to_predicted(np.full(4, 0.5), 5)).all()
    assert np.isnan(short.auroc(risk, 5)).all()
    dead = Outcomes([1, 2, 3, 4], [1, 1, 1, 1])
    assert dead.brier(np.full((4, 1), 0.5), np.array([5.0]))[0, 0] == pytest.approx(0.25)  # all are known to be dead
    assert dead.observed_to_predicted(np.full(4, 0.5), 5)[0] == pytest.approx(2)
    same = Outcomes([3, 3, 3], [1, 1, 1])
    assert np.isnan(same.concordance([1, 2, 3])).all()  # events at one time are not compared
    assert Outcomes([1, 2, 3], [1, 1, 0]).concordance([5, 5, 5])[0] == 0.5
    none = Outcomes([], [])
    assert np.isnan(none.concordance([])).all()


@pytest.mark.parametrize(
    ("time", "event", "message"),
    [([1, 2], [1], "one each per case"), ([-1.0], [1], "negative"), ([np.nan], [1], "negative"), ([1], [2], "0 or 1")],
)
def test_outcomes_refuse_what_they_cannot_be(time: list[float], event: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Outcomes(time, event)


def predictions(n: int = 120, seed: int = 7) -> pd.DataFrame:
    """Return a table of predictions whose survival curves are the true ones."""
    time, event, risk = cohort(n, seed)
    curve = np.exp(-np.outer(2.0**risk, DAYS) / 300)
    return pd.DataFrame(
        {
            "case_id": [f"p{i:03d}" for i in range(n)],
            "patient_id": [f"p{i:03d}" for i in range(n)],
            "site": np.where(np.arange(n) % 3 == 0, "lyon", "ulm"),
            "fold": 0,
            "part": "test",
            "time_days": time,
            "event": event.astype(int),
            "score": risk,
            "survival": list(curve),
            "survival_days": [DAYS] * n,
            "horizons_days": [DAYS[[0, 2]]] * n,
        }
    )


PLAN = Evaluate(primary="c_index", interval=Interval(resamples=200), subgroups=("site",))


def estimates(table: pd.DataFrame, plan: Evaluate = PLAN) -> dict[tuple[str, str], object]:
    found = evaluate(table, task="tabular", target="time_to_event", classes=["alive", "died"], plan=plan)
    return {(item.name, item.subgroup): item for item in found.estimates}


def test_estimates_of_a_table() -> None:
    table = predictions()
    found = estimates(table)
    outcomes = Outcomes(table["time_days"], table["event"])
    values = {name: item.value for (name, group), item in found.items() if group == "all"}  # type: ignore[attr-defined]
    survival = np.stack(table["survival"].tolist())
    brier = outcomes.brier(survival, DAYS)
    assert list(values) == [
        "c_index",
        "c_index_uno",
        *(f"{kind}_at_{day}_days" for kind in ("auroc", "brier", "observed_to_predicted") for day in (100, 400)),
        "brier_integrated",
    ]
    assert values["c_index"] == pytest.approx(concordance_index(table["time_days"], -table["score"], table["event"]))
    assert values["c_index_uno"] == outcomes.concordance(table["score"], uno=True, until_days=400)[0]
    assert values["c_index_uno"] != outcomes.concordance(table["score"], uno=True)[0]
    assert values["auroc_at_400_days"] == outcomes.auroc(table["score"], 400)[0]
    assert values["brier_at_400_days"] == brier[0, 2]
    assert values["brier_integrated"] == pytest.approx(
        (100 * brier[0, 0] / 2 + 100 * (brier[0, 0] + brier[0, 1]) / 2 + 200 * (brier[0, 1] + brier[0, 2]) / 2) / 400
    )
    lyon = found["c_index", "site=lyon"]
    part = table[table["site"] == "lyon"]
    assert lyon.value == pytest.approx(  # type: ignore[attr-defined]
        concordance_index(part["time_days"], -part["score"], part["event"])
    )
    assert all(item.low <= item.value <= item.high for item in found.values() if item.n == 120)  # type: ignore[attr-defined]


def test_foreign_predictions_without_curves_are_ranked() -> None:
    found = estimates(predictions().drop(columns=["survival", "survival_days", "horizons_days"]))
    assert {name for name, group in found if group == "all"} == {"c_index", "c_index_uno"}


def test_no_event_is_undefined_and_says_so() -> None:
    item = estimates(predictions().assign(event=0))["c_index", "all"]
    assert np.isnan(item.value)  # type: ignore[attr-defined]
    assert item.note == "no comparable pair: 0 events among 120 cases"  # type: ignore[attr-defined]


def test_curves_count_groups_and_name_the_least_expected() -> None:
    table = predictions().assign(risk_group=lambda rows: 1 + (rows["score"] > 0).astype(int))
    found = evaluate(table, task="tabular", target="time_to_event", classes=["alive", "died"], plan=PLAN).curves
    for group, number in zip(found["groups"], (1, 2), strict=True):
        own = table[table["risk_group"] == number]
        assert (group["cases"], group["events"]) == (len(own), int(own["event"].sum()))
        fitted = KaplanMeierFitter().fit(own["time_days"], own["event"])
        assert group["observed"] == pytest.approx(fitted.survival_function_at_times([100, 400]).tolist())
        assert group["at_risk"][0] == len(own)
    died = table[(table["event"] == 1) & (table["time_days"] <= 400)]
    likely = [
        1.0 if t < 100 else s[0] if t < 200 else s[1] if t < 400 else s[2]
        for t, s in zip(died["time_days"], died["survival"], strict=True)
    ]
    assert [line["survival"] for line in found["worst"]] == pytest.approx(sorted(likely, reverse=True)[:20])
    late = predictions(20)  # an event after the last predicted day: nothing was said of that time
    late.loc[0, ["time_days", "event"]] = 800.0, 1
    late.at[0, "survival"] = np.ones(3)
    found = evaluate(late, task="tabular", target="time_to_event", classes=["alive", "died"], plan=PLAN).curves
    assert found["worst"]
    assert "p000" not in [line["case_id"] for line in found["worst"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"event": 2}, "'event', line 1: found 2; expected 0 or 1"),
        ({"time_days": -1.0}, "a time of at least 0"),
        ({"score": "high"}, "'score'"),
        ({"survival": [[0.5, 0.4]] * 120}, "expected 3 numbers"),
        ({"survival": [[0.5, 0.4, 1.2]] * 120}, "within 0 and 1"),
        ({"survival_days": [[100, 200, 300 + i] for i in range(120)]}, "the same times in every line"),
        ({"horizons_days": [[100, 150]] * 120}, "not predicted at the horizon 150"),
    ],
)
def test_a_table_that_is_none_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check(predictions().assign(**change), "time_to_event", ["alive", "died"])


def test_an_operating_point_is_refused() -> None:
    plan = PLAN.model_copy(update={"operating_point": OperatingPoint(threshold=0.5)})
    with pytest.raises(ConfigError, match="a time to event has none"):
        estimates(predictions(), plan)


def test_the_report_shows_curves_groups_and_the_least_expected() -> None:
    table = predictions().assign(risk_group=lambda rows: 1 + (rows["score"] > 0).astype(int))
    found = evaluate(table, task="tabular", target="time_to_event", classes=["alive", "died"], plan=PLAN)
    charts = {chart.key: chart for chart in showing.curves(found)}
    assert list(charts) == ["km", "calibration", "brier"]
    low = table[table["risk_group"] == 1]
    assert charts["km"].table.rows[0][:2] == ("low risk", str(len(low)))
    assert "p below 0.001" in charts["km"].reading
    fitted = KaplanMeierFitter().fit(low["time_days"], low["event"])
    died = 100 * (1 - fitted.survival_function_at_times([100.0]).iloc[0])
    predicted = 100 * (1 - np.stack(low["survival"].tolist())[:, 0].mean())
    assert charts["calibration"].table.rows[0][:4] == (
        "100 days",
        "low risk",
        words.number(predicted / 100),
        words.number(died / 100),
    )
    groups = showing.confusion(found)
    assert groups is not None
    assert groups.rows[0][3] == f"{died:.0f} %, {predicted:.0f} %"
    section = showing.cases(found, None)  # type: ignore[arg-type]
    assert section is not None
    assert len(section.tables[0].rows) == showing.ERRORS


def test_the_report_says_when_a_model_is_worse_than_none() -> None:
    days = [365.0, 1096.0, 1826.0]
    worse = showing._brier({"days": days, "model": [0.1, 0.2, 0.3], "nobody": [0.05, 0.1, 0.15]})[0]
    assert "the model's error is 100 % higher" in worse.reading
    assert (
        "the model's error is 50 % lower"
        in showing._brier({"days": days, "model": [0.05, 0.1, 0.15], "nobody": [0.1, 0.2, 0.3]})[0].reading
    )
    assert "error is" not in showing._brier({"days": days, "model": [0.0] * 3, "nobody": [0.0] * 3})[0].reading
    assert ">5<" in worse.svg  # 1,826 days are a few hours less than the last of five years


def test_the_report_of_foreign_predictions_has_the_groups_alone() -> None:
    table = predictions().drop(columns=["survival", "survival_days", "horizons_days"])
    found = evaluate(table, task="tabular", target="time_to_event", classes=["alive", "died"], plan=PLAN)
    assert [chart.key for chart in showing.curves(found)] == ["km"]
    nobody = evaluate(
        table.assign(event=0), task="tabular", target="time_to_event", classes=["alive", "died"], plan=PLAN
    )
    assert "could not be compared" in showing.curves(nobody)[0].reading
    assert showing.cases(nobody, None) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "words_of_it"),
    [
        ("c_index", 0.81, "one is known to have died first, the model gives that one the higher risk in 81 "),
        ("auroc_at_1096_days", 0.838, "a case that died within 3 years and one that had not"),
        ("observed_to_predicted_at_90_days", 1.21, "expects to have died within 90 days, 121 had"),
        ("brier_at_365_days", 0.05, "Brier score at 1 year is 0.050"),
    ],
)
def test_estimates_in_words(name: str, value: float, words_of_it: str) -> None:
    assert words_of_it in words.sentence(Estimate(name, value, value - 0.1, value + 0.1, 9, 9), ["alive", "died"], 0.95)


def test_few_events_are_said() -> None:
    found = estimates(predictions(60))
    events = int(predictions(60)["event"].sum())
    assert events < 50
    assert found["c_index", "all"].note == f"rests on only {events} events"  # type: ignore[attr-defined]
    soon = int((predictions(60)["event"] * (predictions(60)["time_days"] <= 100)).sum())
    longer = int((predictions(60)["time_days"] > 100).sum())
    expected = f"{soon} events by then, {longer} cases under observation longer" if soon < 10 else ""
    assert found["brier_at_100_days", "all"].note == expected  # type: ignore[attr-defined]
