"""Two models on the same cases: held against a bootstrap written out in numpy, DeLong, and what must be so."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from ai4diag.config.plan import Evaluate, Interval, OperatingPoint
from ai4diag.errors import ConfigError, DataError, UsageError
from ai4diag.evaluation.binary_scores import BinaryScores
from ai4diag.evaluation.bootstrap import resamples
from ai4diag.evaluation.classification import Threshold
from ai4diag.evaluation.evaluate import evaluate
from ai4diag.evaluation.paired import Side, compare, holm
from ai4diag.evaluation.paired_words import direction, judge
from ai4diag.evaluation.remembered import Remembered
from ai4diag.evaluation.truth import differing
from ai4diag.masks import encode
from ai4diag.types import Estimate
from tests.evaluation.test_evaluate import smear, tabular

ROOT = Path(__file__).parents[2]
FAST = Interval(resamples=200)
PLAN = Evaluate(primary="auroc", interval=FAST)
BINARY = {"target": "binary", "classes": ["healthy", "ill"]}


def noisy(table, amount=1.0, seed=1):
    """The same cases, answered by a model that sees less."""
    draw = np.random.default_rng(seed).normal(0, amount, len(table))
    score = np.log(table["score"] / (1 - table["score"])) + draw
    return table.assign(score=1 / (1 + np.exp(-score)))


def two(one, other, plan=PLAN, what=BINARY, **more):
    return compare([Side("A", one, plan), Side("B", other, plan)], plan=plan, **what, **more)


def by_name(comparison, subgroup="all"):
    return {pair.reference.name: pair for pair in comparison.pairs if pair.reference.subgroup == subgroup}


def test_intervals_are_those_of_a_bootstrap_written_out_with_the_same_draws():
    table = tabular(n=120, per_patient=2)
    other = noisy(table)
    found = by_name(two(table, other).comparisons[0])
    test, tested = (t[t["part"] == "test"].reset_index(drop=True) for t in (table, other))
    patients = test["patient_id"].unique()
    rows = {patient: np.flatnonzero(test["patient_id"] == patient) for patient in patients}
    at = {}
    for label, t in (("A", table), ("B", other)):
        ahead = t[t["part"] == "validation"]
        false, true, threshold = metrics.roc_curve(ahead["truth"], ahead["score"], drop_intermediate=False)
        at[label] = threshold[np.argmax(np.round(true - false, 12))]
    drawn = {"auroc": [], "accuracy": [], "brier": []}
    for weights in resamples(np.zeros(len(patients), int), FAST, len(test)):
        for counts in weights.astype(int):
            chosen = np.concatenate([np.tile(rows[p], n) for p, n in zip(patients, counts, strict=True)]).astype(int)
            truth, a, b = test["truth"][chosen], test["score"][chosen], tested["score"][chosen]
            drawn["auroc"].append(metrics.roc_auc_score(truth, b) - metrics.roc_auc_score(truth, a))
            drawn["accuracy"].append(((b >= at["B"]) == truth).mean() - ((a >= at["A"]) == truth).mean())
            drawn["brier"].append(((b - truth) ** 2).mean() - ((a - truth) ** 2).mean())
    for name, values in drawn.items():
        difference = found[name].difference
        assert difference.value == pytest.approx(found[name].other.value - found[name].reference.value, abs=1e-12)
        assert (difference.low, difference.high) == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=1e-10)
        assert difference.low < difference.value < difference.high


def test_each_value_and_its_own_interval_are_those_of_the_report():
    table = tabular()
    plan = Evaluate(primary="auroc", interval=FAST, subgroups=("sex",))
    report = evaluate(noisy(table), task="tabular", classes=["healthy", "ill"], plan=plan)
    pairs = two(table, noisy(table), plan).comparisons[0].pairs
    known = {(item.name, item.subgroup): item for item in report.estimates if item.part == "test"}
    assert {pair.other.subgroup for pair in pairs} == {"all", "sex=female", "sex=male"}
    for pair in pairs:
        one, other = pair.other, known[pair.other.name, pair.other.subgroup]
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high), abs=1e-12)
        assert (one.n, one.n_patients) == (other.n, other.n_patients)


def test_swapping_changes_the_sign_and_nothing_else():
    table, other = tabular(), noisy(tabular(), 3)
    there, back = two(table, other).comparisons[0], two(other, table).comparisons[0]
    for one, two_ in zip(there.pairs, back.pairs, strict=True):
        assert one.difference.value == pytest.approx(-two_.difference.value, abs=1e-12, nan_ok=True)
        assert (one.difference.low, one.difference.high) == pytest.approx(
            (-two_.difference.high, -two_.difference.low), abs=1e-12, nan_ok=True
        )
    assert (there.verdict.kind, back.verdict.kind) == ("worse", "better")  # of 120 patients, a clear difference
    assert there.delong.p == pytest.approx(back.delong.p)


def test_the_same_answers_differ_by_exactly_nothing_and_the_verdict_says_so():
    found = two(tabular(), tabular().sample(frac=1, random_state=1)).comparisons[0]
    assert all(pair.difference.value == 0 for pair in found.pairs)
    assert found.verdict.kind == "identical"
    assert found.verdict.text == "A and B gave the same answer to every one of 240 cases."


def test_delong_stands_beside_the_bootstrap_and_agrees_with_it():
    table = tabular(n=400, per_patient=2)
    found = two(table, noisy(table), Evaluate(primary="auroc", interval=Interval(resamples=2000))).comparisons[0]
    headline = found.pairs[0].difference
    assert found.delong.clustered
    assert found.delong.value == pytest.approx(headline.value, abs=1e-12)
    assert (found.delong.low, found.delong.high) == pytest.approx((headline.low, headline.high), abs=0.01)
    alone = two(tabular(per_patient=1), noisy(tabular(per_patient=1))).comparisons[0]
    assert not alone.delong.clustered
    accuracy = Evaluate(primary="accuracy", interval=FAST)
    assert two(table, noisy(table), accuracy).comparisons[0].delong is None


def test_cases_that_another_lacks_are_left_out_and_counted():
    table = tabular()
    fewer = noisy(table).drop(index=[0, 1, 5])
    found = two(table.drop(index=[9]), fewer)
    assert (found.cases, found.left_out) == (236, {"A": 3, "B": 1})
    assert "left out because another one has no answer for them: A 3, B 1" in " ".join(found.notes)
    with pytest.raises(DataError, match=r"No test case was answered by all: A has 'visit-0', B has 'x-visit-0'"):
        two(table, table.assign(case_id="x-" + table["case_id"]))


def test_another_truth_of_a_case_stops_and_names_it():
    table, other = tabular(), noisy(tabular())
    other.loc[7, "truth"] = 1 - other.loc[7, "truth"]
    with pytest.raises(DataError, match=r"A and B do not agree on the truth of 1 of 240 cases, the first is 'visit-7'"):
        two(table, other)


def test_a_case_of_several_folds_is_known_by_its_fold_too():
    table = tabular(folds=2)
    again = pd.concat([table, table.assign(fold=1 - table["fold"])], ignore_index=True)
    found = two(again, noisy(again))
    assert found.cases == 480
    assert found.left_out == {"A": 0, "B": 0}


def test_words_that_name_patients_otherwise_are_said():
    table = tabular()
    other = noisy(table).assign(patient_id="k" + table["patient_id"])
    text = " ".join(two(table, other).notes)
    assert "240 cases have another patient_id in B; those of A are used." in text


def test_decisions_use_each_ones_own_operating_point():
    table = tabular()
    stretched = table.assign(score=table["score"] ** 2)  # ranks alike, another scale
    found = by_name(two(table, stretched).comparisons[0])
    assert found["auroc"].difference.value == 0
    assert found["accuracy"].difference.value == 0
    assert found["brier"].difference.value != 0
    fixed = Evaluate(primary="auroc", interval=FAST, operating_point=OperatingPoint(threshold=0.5))
    both = compare([Side("A", table, PLAN), Side("B", table, fixed)], plan=PLAN, **BINARY).comparisons[0]
    called = table[table["part"] == "test"]["score"] >= 0.5
    truth = table[table["part"] == "test"]["truth"]
    assert by_name(both)["accuracy"].other.value == pytest.approx(metrics.accuracy_score(truth, called))
    assert by_name(both)["accuracy"].reference.value != by_name(both)["accuracy"].other.value


def test_several_models_are_judged_at_a_level_that_holds_for_all():
    table = tabular()
    sides = [Side(label, noisy(table, amount, seed=3), PLAN) for label, amount in (("A", 0.01), ("B", 1), ("C", 2))]
    found = compare(sides, plan=PLAN, **BINARY)
    for item in found.comparisons:
        wide, narrow = item.headline, item.pairs[0].difference
        assert item.level == pytest.approx(0.975)
        assert wide.low < narrow.low < narrow.value == wide.value < narrow.high < wide.high
    assert "Bonferroni" in " ".join(found.notes)
    assert holm([0.01, np.nan, 0.04, 0.03])[::2] == pytest.approx([0.03, 0.06])


def test_small_subgroups_are_masked_and_a_missing_attribute_is_named():
    table = tabular(n=60)
    plan = Evaluate(primary="auroc", interval=FAST, subgroups=("site",), minimum_n=15)
    pairs = two(table, noisy(table), plan).comparisons[0].pairs
    masked = {pair.reference.subgroup for pair in pairs if "masked" in pair.difference.note}
    assert masked == {"site=basel"}
    with pytest.raises(ConfigError, match="subgroups"):
        two(table, table, Evaluate(primary="auroc", subgroups=("sx",)))


def test_one_alone_no_margin_of_nothing_and_other_tables_are_refused():
    with pytest.raises(UsageError, match="cannot be compared"):
        compare([Side("A", tabular(), PLAN)], plan=PLAN, **BINARY)
    with pytest.raises(UsageError, match="A margin is a number above 0"):
        two(tabular(), tabular(), margin=0.0)
    with pytest.raises(DataError, match=r"of B has no column 'score'"):
        two(tabular(), tabular().drop(columns="score"))
    with pytest.raises(ConfigError, match="Did you mean 'auroc'"):
        two(tabular(), tabular(), Evaluate(primary="aurok"))


def several(n=150, seed=0):
    """Predictions of one of three classes, of three findings, and of a time, of the same patients."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    raw = rng.normal(0, 1, (n, 3)) + 1.5 * (truth[:, None] == np.arange(3))
    share = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    who = {"case_id": [f"c{i}" for i in range(n)], "patient_id": [f"p{i}" for i in range(n)], "fold": 0}
    base = pd.DataFrame(who).assign(part=np.where(np.arange(n) % 3, "test", "validation"), site="")
    names = list("xyz")
    classes = base.assign(truth=truth, **{f"score_{name}": share[:, k] for k, name in enumerate(names)})
    labels = base.assign(**{f"score_{name}": share[:, k] for k, name in enumerate(names)})
    labels = labels.assign(**{f"truth_{name}": (truth == k).astype(int) for k, name in enumerate(names)})
    time = base.assign(time_days=rng.exponential(300 / (1 + truth)), event=rng.integers(0, 2, n), score=raw[:, 2])
    return {"multiclass": classes, "ordinal": classes, "multilabel": labels, "time_to_event": time}


def maps(n=8, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.random((n, 12, 12, 4)) < 0.4
    answer = truth ^ (rng.random(truth.shape) < 0.1)
    line = {
        "case_id": [f"c{i}" for i in range(n)],
        "patient_id": [f"p{i}" for i in range(n)],
        "fold": 0,
        "part": "test",
    }
    runs = {
        "truth_runs": [encode(m.astype(np.uint8)) for m in truth],
        "runs": [encode(m.astype(np.uint8)) for m in answer],
    }
    return pd.DataFrame({**line, **runs, "shape": [[12, 12, 4]] * n, "spacing_mm": [[1.0, 1.0, 2.0]] * n, "site": ""})


TARGETS = {
    **{name: (several()[name], several(seed=0)[name], list("xyz"), primary) for name, primary in (
        ("multiclass", "auroc_macro"), ("ordinal", "mae"), ("multilabel", "f1_macro"))},
    "time_to_event": (several()["time_to_event"], several()["time_to_event"], ["alive", "died"], "c_index"),
    "boxes": (smear(), smear(), ["a", "b", "c"], "map_50"),
    "masks": (maps(), maps(), ["liver"], "dice"),
}  # fmt: skip


def spoil(table, seed=5):
    """Make the answers of any target worse in part of the cases."""
    rng, table = np.random.default_rng(seed), table.copy()
    for name in table:
        if name.startswith("score") and name != "scores":
            table[name] = np.clip(table[name] + rng.normal(0, 0.05, len(table)), 0.01, 0.97)
    if "score_x" in table:
        names = [name for name in table if name.startswith("score_")]
        table[names] = table[names].div(table[names].sum(axis=1), axis=0)
    if "scores" in table:
        table["scores"] = [np.asarray(values) * rng.uniform(0.3, 1, len(values)) for values in table["scores"]]
    if "runs" in table:
        table["runs"] = table["truth_runs"].where(rng.random(len(table)) < 0.5, table["runs"])
    return table


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_is_compared_through_the_same_interface(target):
    table, same, classes, primary = TARGETS[target]
    plan = Evaluate(primary=primary, interval=FAST)
    found = two(table, spoil(table), plan, {"target": target, "classes": classes}, margin=0.3)
    report = evaluate(spoil(table), task="tabular", target=target, classes=classes, plan=plan)
    known = {(item.name, item.subgroup): item.value for item in report.estimates if item.part == "test"}
    assert len(found.comparisons[0].pairs) == len(known)
    for pair in found.comparisons[0].pairs:
        assert pair.other.value == pytest.approx(known[pair.other.name, pair.other.subgroup], abs=1e-12, nan_ok=True)
    assert any(pair.difference.low < pair.difference.high for pair in found.comparisons[0].pairs)
    identical = two(table, same, plan, {"target": target, "classes": classes}).comparisons[0]
    assert identical.verdict.kind == "identical"
    assert len(found.as_dict()["comparisons"][0]["pairs"]) == len(known)


def test_the_order_of_boxes_is_no_other_truth_but_a_moved_or_doubled_box_is():
    table = smear(6)
    turned = table.copy()
    for name, width in (("truth_boxes", 4), ("truth_labels", 1), ("truth_ignore", 1)):
        turned[name] = [np.asarray(v).reshape(-1, width)[::-1].ravel() for v in table[name]]
    assert not differing(table, turned, "boxes", list("abc")).any()
    moved = table.copy()
    moved["truth_boxes"] = [np.asarray(v) + (0.01 if k == 2 else 0.0001) for k, v in enumerate(table["truth_boxes"])]
    has_boxes = np.array([len(v) > 0 for v in table["truth_labels"]])
    assert differing(table, moved, "boxes", list("abc")).tolist() == ((np.arange(6) == 2) & has_boxes).tolist()
    x, y = [0, 0, 1, 1], [5, 5, 9, 9]
    line = {"truth_ignore": [[0, 0, 0]], "truth_labels": [[1, 1, 1]]}
    one, other = (pd.DataFrame({**line, "truth_boxes": [boxes]}) for boxes in (x + x + y, x + y + y))
    assert differing(one, other, "boxes", list("abc")).tolist() == [True]
    assert differing(one, one.assign(truth_boxes=[x + y + x]), "boxes", list("abc")).tolist() == [False]


def test_every_documented_estimate_has_its_direction():
    names = re.findall(r"^\| `([a-z0-9_<>]+)` \|", (ROOT / "docs/reference/estimates.md").read_text(), re.MULTILINE)
    neither = {name for name in names[8:] if not direction(name)}
    assert len(names) > 60
    assert {"volume_difference", "calibration_slope", "calibration_intercept"} <= neither
    assert all(re.match("volume_difference|calibration_|observed_to_predicted", name) for name in neither), neither


def difference(value, low, high, note=""):
    return Estimate("auroc", value, low, high, 100, 80, note=note)


@pytest.mark.parametrize(
    ("limits", "margin", "kind", "said"),
    [
        ((0.012, 0.003, 0.02), None, "better", "B is better than A by 0.012 [0.003, 0.020] (auroc)."),
        ((-0.012, -0.02, -0.003), None, "worse", "B is worse than A by 0.012 [0.003, 0.020] (auroc)."),
        ((0.0, -0.03, 0.03), None, "no difference shown", "up to 0.030 in either direction is not excluded"),
        ((0.01, -0.01, 0.03), None, "no difference shown", "B may be better by up to 0.030 or worse by up to 0.010."),
        ((0.01, 0.0, 0.03), None, "no difference shown", "B may be better by up to 0.030."),
        ((0.01, -0.01, 0.03), 0.02, "not worse", "B is not worse than A by more than the margin 0.02."),
        ((0.001, -0.01, 0.01), 0.02, "equivalent", "A and B differ by less than the margin 0.02 in either direction."),
        ((-0.001, -0.02, 0.01), 0.02, "no difference shown", "by more than the margin 0.02 is not excluded."),
        ((0.03, 0.021, 0.04), 0.02, "better", "B is better than A by more than the margin 0.02."),
        ((-0.03, -0.04, -0.021), 0.02, "worse", "B is worse than A by more than the margin 0.02."),
    ],
)
def test_a_verdict_claims_no_more_than_its_interval(limits, margin, kind, said):
    found = judge("auroc", difference(*limits), ("A", "B"), np.nan if margin is None else margin)
    assert found.kind == kind
    assert said in found.text
    assert ("does not show that they are equal" in found.text) == (kind in ("no difference shown", "not worse"))


def test_a_verdict_on_few_patients_says_so():
    for patients, said in ((60, None), (49, "Only 49 patients: the interval tends"), (4, "a hint at most")):
        estimate = Estimate("auroc", 0.1, 0.05, 0.15, 900, patients)
        text = judge("auroc", estimate, ("A", "B")).text
        assert said is None or said in text
        assert ("Only" in text) == (said is not None)


def test_less_is_better_of_errors_and_a_slope_is_not_judged():
    assert judge("brier", difference(-0.01, -0.02, -0.001), ("A", "B")).text == (
        "B is better than A by 0.010 [0.001, 0.020] (brier; less is better)."
    )
    assert judge("brier", difference(0.0, -0.01, 0.015), ("A", "B"), 0.012).kind == "no difference shown"
    assert judge("brier", difference(0.0, -0.015, 0.01), ("A", "B"), 0.012).kind == "not worse"
    assert judge("calibration_slope", difference(0.5, 0.1, 0.9), ("A", "B")).kind == "differs"


def test_what_cannot_be_known_is_said():
    agree = difference(0.0, np.nan, np.nan, "no interval: all resamples agree")
    assert "does not show that they are equal" in judge("auroc", agree, ("A", "B")).text
    assert judge("auroc", agree, ("A", "B"), 0.1).kind == "undefined"
    assert judge("auroc", difference(np.nan, np.nan, np.nan), ("A", "B")).kind == "undefined"
    few = difference(0.1, np.nan, np.nan, "no interval: fewer than two patients")
    assert "fewer than two patients" in judge("auroc", few, ("A", "B")).text
    assert judge("auroc", difference(0.01, 0.001, 0.02), ("A", "B"), test=(-0.001, 0.021)).kind == "borderline"
    assert judge("auroc", difference(0.01, 0.001, 0.02), ("A", "B"), test=(np.nan, np.nan)).kind == "better"


def test_a_margin_must_hold_by_both_methods():
    near = difference(0.0, -0.01, 0.01)
    assert judge("auroc", near, ("A", "B"), 0.02, test=(-0.012, 0.012)).kind == "equivalent"
    assert judge("auroc", near, ("A", "B"), 0.02, test=(-0.012, 0.025)).kind == "not worse"
    assert judge("auroc", near, ("A", "B"), 0.02, test=(-0.025, 0.012)).kind == "no difference shown"
    assert judge("auroc", near, ("A", "B"), 0.02, test=(np.nan, np.nan)).kind == "equivalent"


def test_an_interval_that_leaves_out_its_own_value_settles_nothing():
    shifted = judge("ece", difference(0.025, -0.122, -0.01), ("A", "B"))
    assert shifted.kind == "borderline"
    assert "+0.025, its interval [-0.122, -0.010] leaves that out" in shifted.text


def test_a_mean_over_other_cases_is_said():
    """A model that answers nothing where it is hard has no distance there, and a better mean of the others."""
    table = maps()
    silent = table.assign(runs=[encode(np.zeros((12, 12, 4), np.uint8)), *table["runs"][1:]])
    plan = Evaluate(primary="hd95_mm", interval=FAST)
    found = two(table, silent, plan, {"target": "masks", "classes": ["liver"]}).comparisons[0]
    assert "not the same pairs of case and class: 0 and 1 are left out" in found.pairs[0].difference.note
    assert "But these are not the same pairs" in found.verdict.text
    exact = table.assign(runs=table["truth_runs"])
    gone = exact.assign(runs=silent["runs"].where(silent.index == 0, exact["runs"]))
    alike = two(exact, gone, plan, {"target": "masks", "classes": ["liver"]}).comparisons[0].verdict
    assert alike.kind == "undefined"
    assert "cannot tell them apart" in alike.text
    assert "But these are not the same pairs" in alike.text
    assert "not the same pairs" not in by_name(found)["dice"].difference.note


def test_a_headline_that_would_mislead_is_not_judged():
    table = tabular()
    table["truth"] = (np.arange(len(table)) == np.flatnonzero(table["part"] == "test")[0]).astype(int)
    with pytest.raises(ConfigError, match="one patient alone has cases of ill"):
        two(table, noisy(table))


def test_how_many_intervals_leave_out_nothing_by_chance_is_a_number():
    table = tabular()
    same = two(table, table).notes
    assert not any("not adjusted for being many" in note for note in same)
    many = PLAN.model_copy(update={"interval": Interval(resamples=100, level=0.2)})
    (said,) = [note for note in two(table, noisy(table), many).notes if "not adjusted" in note]
    assert re.search(r"The other 13 intervals .* about 10 of them", said)


def test_perfect_models_cannot_be_told_apart():
    table = tabular()
    table["score"] = np.where(table["truth"] == 1, 0.9, 0.1)
    other = table.assign(score=np.where(table["truth"] == 1, 0.8, 0.2))
    assert two(table, other).comparisons[0].verdict.kind == "undefined"


@pytest.mark.slow
def test_an_interval_of_the_difference_covers_it():
    """Two readings of 60 patients with 1-3 cases: 95 % intervals hold the true difference about 95 % of the time."""
    rng = np.random.default_rng(11)

    def draw(patients):
        patient = np.repeat(np.arange(patients), rng.integers(1, 4, patients))
        truth = rng.integers(0, 2, patients)[patient]
        own = rng.normal(0, 0.6, patients)[patient]  # cases of a patient are alike
        scores = [m * truth + own + rng.normal(0, 1, len(patient)) for m in (1.0, 1.5)]
        base = pd.DataFrame({"case_id": np.arange(len(patient)).astype(str), "patient_id": patient, "fold": 0})
        return [base.assign(part="test", site="", truth=truth, score=score) for score in scores]

    big = draw(60_000)
    true = np.subtract(*(metrics.roc_auc_score(t["truth"], t["score"]) for t in reversed(big)))
    plan = Evaluate(primary="auroc", interval=Interval(resamples=300))
    held, tested = 0, 0
    for _ in range(200):
        found = two(*draw(60), plan).comparisons[0]
        limits = found.pairs[0].difference
        held += limits.low <= true <= limits.high
        tested += found.delong.low <= true <= found.delong.high
    assert 0.91 <= held / 200 <= 0.985
    assert 0.91 <= tested / 200 <= 0.985


def test_what_was_asked_with_the_same_weights_is_answered_from_memory():
    table = tabular(n=40)
    scores = BinaryScores(table, ["healthy", "ill"], Threshold(0.5, "fixed", {0: 0.5}))
    asked, remembered = [], Remembered(scores)
    inner = scores.statistic(scores.entries)
    scores.statistic = lambda entries: lambda weights: asked.append(len(weights)) or inner(weights)
    weights = np.random.default_rng(1).integers(0, 3, (5, 80)).astype(float)
    for _ in range(2):
        for given in (weights, weights[:, ::-1]):
            found = remembered.statistic(scores.entries)(given)
            np.testing.assert_array_equal(found, inner(np.ascontiguousarray(given)))
    assert asked == [5, 5]
    assert (remembered.entries, remembered.presence.shape) == (scores.entries, (80, 2))
