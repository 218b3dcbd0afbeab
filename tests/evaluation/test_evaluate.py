"""Whole tables of predictions: what is estimated, on whom, with which threshold, and what is said beside it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from ai4diag.config.plan import Evaluate, Interval, OperatingPoint
from ai4diag.errors import ConfigError, DataError
from ai4diag.evaluation.detection import match, mean_average_precision
from ai4diag.evaluation.detection_scores import cases_of
from ai4diag.evaluation.evaluate import evaluate
from tests.evaluation.test_detection import random_images

FAST = Interval(resamples=200)


def tabular(n=240, folds=1, seed=0, per_patient=2):
    """Two visits per patient; the score of fold f is shifted by f, so that each fold needs its own threshold."""
    rng = np.random.default_rng(seed)
    patient = np.arange(n) // per_patient
    truth = rng.integers(0, 2, n)
    fold = patient % folds
    score = 1 / (1 + np.exp(-(rng.normal(1.5 * truth - 0.75, 1) + fold)))
    test = pd.DataFrame(
        {
            "case_id": [f"visit-{i}" for i in range(n)],
            "patient_id": [f"p{i:03}" for i in patient],
            "site": np.where(patient % 3 == 0, "basel", "va"),
            "sex": np.where(patient % 2 == 0, "female", "male"),
            "age_years": 20.0 + patient,
            "fold": fold,
            "part": "test",
            "truth": truth,
            "score": score,
        }
    )
    ahead = test.assign(fold=(fold + 1) % folds, part="validation")
    ahead["score"] = 1 / (1 + np.exp(-(np.log(score / (1 - score)) - fold + ahead["fold"])))
    ahead["patient_id"] = ahead["patient_id"] + ("" if folds > 1 else "-other")
    return pd.concat([test, ahead], ignore_index=True)


def smear(n=60):
    names = ("truth_boxes", "truth_labels", "truth_ignore", "boxes", "labels", "scores")
    columns = random_images(0, n_images=n, integer=False)
    table = pd.DataFrame(
        {name: [np.ravel(item) for item in column] for name, column in zip(names, columns, strict=True)}
    )
    return table.assign(
        case_id=[f"i{i}" for i in range(n)],
        patient_id=[f"p{i // 2}" for i in range(n)],
        site="",
        stain=np.where(np.arange(n) < 40, "giemsa", "wright"),
        fold=0,
        part=np.where(np.arange(n) % 3 == 0, "validation", "test"),
        size_0=110,
        size_1=110,
    )


def by_name(evaluation, part="test", subgroup="all"):
    return {item.name: item for item in evaluation.estimates if (item.part, item.subgroup) == (part, subgroup)}


def test_values_equal_scikit_learn_and_the_primary_comes_first():
    table = tabular()
    result = evaluate(table, task="tabular", classes=["healthy", "ill"], plan=Evaluate(primary="auprc", interval=FAST))
    test = table[table["part"] == "test"]
    called = test["score"] >= result.operating_point.value
    expected = {
        "auroc": metrics.roc_auc_score(test["truth"], test["score"]),
        "auprc": metrics.average_precision_score(test["truth"], test["score"]),
        "accuracy": metrics.accuracy_score(test["truth"], called),
        "balanced_accuracy": metrics.balanced_accuracy_score(test["truth"], called),
        "f1": metrics.f1_score(test["truth"], called),
        "ppv": metrics.precision_score(test["truth"], called),
        "brier": metrics.brier_score_loss(test["truth"], test["score"]),
        "log_loss": metrics.log_loss(test["truth"], test["score"]),
    }
    found = by_name(result)
    assert {name: found[name].value for name in expected} == pytest.approx(expected)
    assert result.estimates[0].name == "auprc"
    assert (found["auroc"].n, found["auroc"].n_patients) == (240, 120)
    assert all(item.low <= item.value <= item.high for item in found.values() if item.name != "ece")
    assert list(by_name(result, "validation")) == ["auprc"]


def test_the_threshold_comes_from_validation_alone():
    table = tabular()
    plan = Evaluate(primary="auroc", interval=FAST)
    before = evaluate(table, task="tabular", classes=["healthy", "ill"], plan=plan).operating_point
    table.loc[table["part"] == "test", "truth"] = 1 - table.loc[table["part"] == "test", "truth"]
    assert evaluate(table, task="tabular", classes=["healthy", "ill"], plan=plan).operating_point == before


def test_every_fold_is_judged_at_its_own_threshold():
    table = tabular(folds=3)
    plan = Evaluate(primary="auroc", interval=FAST, operating_point=OperatingPoint(sensitivity=0.8))
    result = evaluate(table, task="tabular", classes=["healthy", "ill"], plan=plan)
    own = result.operating_point.folds
    assert own[0] < own[1] < own[2]
    test = table[table["part"] == "test"]
    called = test["score"] >= test["fold"].map(own)
    assert by_name(result)["sensitivity"].value == pytest.approx(metrics.recall_score(test["truth"], called))
    confusion = result.curves["confusion"]
    assert confusion["tp"] == (called & (test["truth"] == 1)).sum()
    assert sum(confusion.values()) == len(test)
    each = [metrics.roc_auc_score(rows["truth"], rows["score"]) for _, rows in test.groupby("fold")]
    assert any(f"mean {np.mean(each):.3f}" in note for note in result.notes)


def test_a_fold_without_own_threshold_borrows_from_the_others_but_never_from_its_test_patients():
    table = tabular(folds=3)
    own = (table["part"] == "validation") & (table["fold"] == 0)
    table = table[~own | (table["truth"] == 1)]  # fold 0 has one class left in validation
    plan = Evaluate(primary="auroc", interval=FAST)
    before = evaluate(table, task="tabular", classes=["a", "b"], plan=plan).operating_point
    assert "1 fold(s) had too few validation cases" in before.note
    tested = table["patient_id"].isin(table.loc[(table["part"] == "test") & (table["fold"] == 0), "patient_id"])
    changed = table.assign(truth=np.where(tested & (table["part"] == "validation"), 1, table["truth"]))
    after = evaluate(changed, task="tabular", classes=["a", "b"], plan=plan).operating_point
    assert after.folds[0] == before.folds[0]
    assert after.value != before.value


def test_without_validation_only_a_threshold_fixed_beforehand_counts():
    table = tabular()
    table = table[table["part"] == "test"]
    open_rule = evaluate(table, task="tabular", classes=["a", "b"], plan=Evaluate(primary="auroc", interval=FAST))
    accuracy = by_name(open_rule)["accuracy"]
    assert np.isnan([accuracy.value, accuracy.low, accuracy.high]).all()
    assert "no operating point" in accuracy.note
    assert "confusion" not in open_rule.curves
    plan = Evaluate(primary="accuracy", interval=FAST, operating_point=OperatingPoint(threshold=0.5))
    fixed = evaluate(table, task="tabular", classes=["a", "b"], plan=plan)
    assert fixed.estimates[0].value == pytest.approx(((table["score"] >= 0.5) == table["truth"]).mean())


def test_subgroups_are_estimated_masked_and_compared_with_the_rest():
    table = tabular()
    table.loc[table["patient_id"] == "p000", "site"] = "tiny"
    table.loc[table["patient_id"] == "p001", "site"] = None
    plan = Evaluate(primary="auroc", interval=FAST, subgroups=("site", "age_years"))
    result = evaluate(table, task="tabular", classes=["healthy", "ill"], plan=plan)
    test = table[table["part"] == "test"]
    inside = test["site"] == "basel"
    area = metrics.roc_auc_score(test["truth"][inside], test["score"][inside])
    rest = metrics.roc_auc_score(test["truth"][~inside], test["score"][~inside])
    found = by_name(result, subgroup="site=basel")
    assert found["auroc"].value == pytest.approx(area)
    assert found["auroc"].n == inside.sum()
    assert found["auroc_difference"].value == pytest.approx(area - rest)
    assert found["auroc_difference"].low < area - rest < found["auroc_difference"].high
    for group in ("site=tiny", "site=missing"):
        masked = by_name(result, subgroup=group)["auroc"]
        assert np.isnan(masked.value)
        assert (masked.n, masked.n_patients) == (2, 1)
        assert "masked: fewer than 10" in masked.note
    ages = [item for item in result.estimates if item.subgroup.startswith("age_years=") and item.name == "auroc"]
    bands = {item.subgroup: item.n for item in ages}
    assert len(bands) == 4
    assert sum(bands.values()) == 240


def test_the_contrast_is_estimated_apart():
    table = tabular(folds=2)
    wrong = table[table["part"] == "test"].assign(part="contrast")
    wrong["score"] = 0.9 * wrong["truth"] + 0.05
    plan = Evaluate(primary="auroc", interval=FAST)
    result = evaluate(pd.concat([table, wrong]), task="tabular", classes=["healthy", "ill"], plan=plan)
    assert list(by_name(result, "contrast")) == ["auroc"]
    assert by_name(result, "contrast")["auroc"].value == 1
    assert by_name(result)["auroc"].value < 1


def test_headlines_that_would_mislead_are_named():
    table = tabular(n=80)
    table.loc[(table["part"] == "test") & (table.index >= 3), "truth"] = 1
    table.loc[[0, 1, 2], "truth"] = 0
    plan = Evaluate(primary="auroc", interval=FAST, operating_point=OperatingPoint(threshold=0.9))
    result = evaluate(table, task="tabular", classes=["healthy", "ill"], plan=plan)
    found = by_name(result)
    assert "only 77 positive and 3 negative" in found["auroc"].note
    assert "commoner class" in found["accuracy"].note
    assert "fewer than 50 patients" in found["auroc"].note
    assert any("Only 40 patients" in note for note in result.notes)
    assert any("stratified" in note for note in result.notes)


def test_one_class_alone_is_undefined_and_said_so():
    table = tabular()
    table.loc[table["part"] == "test", "truth"] = 1
    result = evaluate(table, task="tabular", classes=["healthy", "ill"], plan=Evaluate(primary="auroc", interval=FAST))
    assert np.isnan(result.estimates[0].value)
    assert "240 positive and 0 negative" in result.estimates[0].note
    assert by_name(result)["sensitivity"].value > 0


def test_scores_that_are_no_probabilities_are_ranked_but_not_calibrated():
    table = tabular()
    plain = by_name(evaluate(table, task="tabular", classes=["a", "b"], plan=Evaluate(primary="auroc", interval=FAST)))
    table["score"] = 100 * table["score"]
    result = evaluate(table, task="tabular", classes=["a", "b"], plan=Evaluate(primary="auroc", interval=FAST))
    assert by_name(result)["auroc"] == plain["auroc"]
    assert by_name(result)["f1"] == plain["f1"]
    assert "brier" not in by_name(result)
    assert any("no probabilities" in note for note in result.notes)
    assert "decision" not in result.curves


def test_patients_in_validation_and_test_of_one_fold_are_a_leak():
    table = tabular()
    table["patient_id"] = table["patient_id"].str.removesuffix("-other")
    result = evaluate(table, task="tabular", classes=["a", "b"], plan=Evaluate(primary="auroc", interval=FAST))
    assert any("120 units of patient_id are in validation and test" in note for note in result.notes)


def test_random_truth_scores_one_half():
    table = tabular(n=2000)
    table["truth"] = np.random.default_rng(1).integers(0, 2, len(table))
    result = evaluate(table, task="tabular", classes=["a", "b"], plan=Evaluate(primary="auroc", interval=FAST))
    assert result.estimates[0].low < 0.5 < result.estimates[0].high


def test_order_of_lines_changes_nothing():
    table = tabular()
    plan = Evaluate(primary="auroc", interval=FAST)
    one = evaluate(table, task="tabular", classes=["a", "b"], plan=plan).estimates
    other = evaluate(table.sample(frac=1, random_state=0), task="tabular", classes=["a", "b"], plan=plan).estimates
    for a, b in zip(one, other, strict=True):
        assert (a.name, a.n) == (b.name, b.n)
        assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high), nan_ok=True)


def test_detections_are_estimated_overall_and_per_class():
    table = smear()
    plan = Evaluate(primary="map_50", interval=FAST, subgroups=("stain",))
    result = evaluate(table, task="detection", classes=["RBC", "WBC", "platelet"], plan=plan)
    test = table[table["part"] == "test"]
    expected = mean_average_precision(cases_of(test, 3))
    found = by_name(result)
    assert {name: found[name].value for name in expected} == pytest.approx(expected)
    classes = [by_name(result, subgroup=f"class={name}")["map_50"].value for name in ("RBC", "WBC", "platelet")]
    assert np.mean(classes) == pytest.approx(found["map_50"].value)
    giemsa = mean_average_precision(cases_of(test[test["stain"] == "giemsa"], 3))["map_50"]
    assert by_name(result, subgroup="stain=giemsa")["map_50"].value == pytest.approx(giemsa)
    assert all(item.low <= item.value <= item.high for item in found.values())
    validation = mean_average_precision(cases_of(table[table["part"] == "validation"], 3))["map_50"]
    assert by_name(result, "validation")["map_50"].value == pytest.approx(validation)


def test_detections_are_counted_at_the_threshold_of_the_best_f1_on_validation():
    table = smear()
    result = evaluate(table, task="detection", classes=["a", "b", "c"], plan=Evaluate(primary="map_50", interval=FAST))
    at = result.operating_point.value

    def counts(rows, threshold):
        found, shown = 0, 0
        for item in match(cases_of(rows, 3)):
            found += int((item.outcome[1][item.score >= threshold] == 1).sum())
            shown += int((item.outcome[1][item.score >= threshold] != -1).sum())
        return found, shown, sum(len(labels) for labels in rows["truth_labels"])

    validation, test = (table[table["part"] == part] for part in ("validation", "test"))
    scores = np.unique(np.concatenate(list(validation["scores"])))
    f1 = [2 * found / (shown + truth) for found, shown, truth in (counts(validation, score) for score in scores)]
    assert at == pytest.approx(scores[np.argmax(f1)])
    found, shown, truth = counts(test, at)
    named = by_name(result)
    assert named["sensitivity"].value == pytest.approx(found / truth)
    assert named["ppv"].value == pytest.approx(found / shown)
    assert named["f1"].value == pytest.approx(2 * found / (shown + truth))
    worst = result.curves["worst"][0]
    assert (
        worst["false"] + worst["missed"] >= result.curves["worst"][-1]["false"] + result.curves["worst"][-1]["missed"]
    )
    assert worst["scores"] == sorted(worst["scores"], reverse=True)
    assert min(worst["scores"]) >= at


def test_every_fold_of_detections_is_counted_at_its_own_threshold():
    table = smear().assign(fold=np.arange(60) % 2)
    low = table["fold"] == 0
    table["scores"] = [scores / 2 if half else scores for scores, half in zip(table["scores"], low, strict=True)]
    plan = Evaluate(primary="map_50", interval=FAST)
    whole = evaluate(table, task="detection", classes=["a", "b", "c"], plan=plan)
    hits = []
    for fold, at in whole.operating_point.folds.items():
        alone = evaluate(table[table["fold"] == fold], task="detection", classes=["a", "b", "c"], plan=plan)
        assert alone.operating_point.value == at
        rows = table[(table["part"] == "test") & (table["fold"] == fold)]
        hits.append(by_name(alone)["sensitivity"].value * sum(len(labels) for labels in rows["truth_labels"]))
    total = sum(len(labels) for labels in table.loc[table["part"] == "test", "truth_labels"])
    assert by_name(whole)["sensitivity"].value == pytest.approx(sum(hits) / total)


def test_nothing_detected_scores_zero():
    table = smear()
    for name in ("boxes", "labels", "scores"):
        table[name] = [np.zeros(0)] * len(table)
    result = evaluate(table, task="detection", classes=["a", "b", "c"], plan=Evaluate(primary="map_50", interval=FAST))
    found = by_name(result)
    assert (found["map_50"].value, found["froc_cpm"].value) == (0, 0)
    assert np.isnan(found["map_50"].low)
    assert "all resamples agree" in found["map_50"].note
    assert np.isnan(result.operating_point.value)
    assert np.isnan(found["ppv"].value)


def test_bca_is_another_interval_of_the_same_value():
    table = tabular()
    plans = [Evaluate(primary="auroc", interval=Interval(resamples=500, method=name)) for name in ("percentile", "bca")]
    one, other = (evaluate(table, task="tabular", classes=["a", "b"], plan=plan).estimates[0] for plan in plans)
    assert one.value == other.value
    assert (one.low, one.high) != (other.low, other.high)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.03)


@pytest.mark.parametrize(
    ("plan", "error", "message"),
    [
        (Evaluate(primary="aurok"), ConfigError, "Did you mean 'auroc'"),
        (Evaluate(primary="auroc", subgroups=("sexe",)), ConfigError, "Did you mean 'sex'"),
        (Evaluate(primary="auroc", interval=Interval(unit="patient")), ConfigError, "Did you mean 'patient_id'"),
    ],
)
def test_a_plan_that_does_not_fit_names_the_nearest_word(plan, error, message):
    with pytest.raises(error, match=message):
        evaluate(tabular(n=60), task="tabular", classes=["a", "b"], plan=plan)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Evaluate(primary="map_50", operating_point=OperatingPoint(sensitivity=0.9)), "largest F1"),
        (Evaluate(primary="map_50", subgroups=("labels",)), "no column 'labels'"),
    ],
)
def test_plans_that_detections_cannot_follow_are_refused(plan, message):
    with pytest.raises(ConfigError, match=message):
        evaluate(smear(), task="detection", classes=["a", "b", "c"], plan=plan)


def test_a_table_has_two_classes():
    with pytest.raises(ConfigError, match="found 3"):
        evaluate(tabular(n=60), task="tabular", classes=["a", "b", "c"], plan=Evaluate(primary="auroc"))


def test_why_a_value_is_undefined_is_said():
    table = tabular().astype({"truth": float})
    table["score"] = 0.1 + 0.8 * table["truth"]
    rule = OperatingPoint(threshold=0.95)
    plan = Evaluate(primary="calibration_slope", interval=FAST, operating_point=rule)
    found = by_name(evaluate(table, task="tabular", classes=["a", "b"], plan=plan))
    assert found["calibration_slope"].note.startswith("no finite fit: the scores separate the classes")
    assert found["ppv"].note.endswith("negative cases, 0 called positive")


def test_no_test_lines_is_an_error():
    table = tabular(n=60)
    with pytest.raises(DataError, match="no lines of the test part"):
        evaluate(
            table[table["part"] == "validation"], task="tabular", classes=["a", "b"], plan=Evaluate(primary="auroc")
        )


def test_importing_needs_neither_torch_nor_the_compiler():
    heavy = ("torch", "monai", "mlflow", "numba", "sklearn")
    code = f"import sys, ai4diag.evaluation.evaluate; print([m for m in {heavy} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_log_odds_are_for_shares_alone():
    table = tabular()
    limits = {}
    for method in ("percentile", "logit"):
        plan = Evaluate(primary="auroc", interval=Interval(resamples=200, method=method), subgroups=("sex",))
        found = evaluate(table, task="tabular", classes=["healthy", "ill"], plan=plan)
        limits[method] = {(item.name, item.part, item.subgroup): (item.low, item.high) for item in found.estimates}
    same = {
        name for (name, *rest) in limits["logit"] if limits["logit"][name, *rest] == limits["percentile"][name, *rest]
    }
    assert same == {"brier", "log_loss", "ece", "calibration_slope", "calibration_intercept", "auroc_difference"}
    assert {"auroc", "auprc", "f1", "ppv"} <= {name for name, *_ in limits["logit"]} - same


@pytest.mark.parametrize(("method", "told"), [("percentile", True), ("bca", False), ("logit", False)])
def test_percentiles_near_one_are_told_to_be_too_narrow(method, told):
    rng = np.random.default_rng(1)
    truth = np.repeat([0, 1], 60)
    score = 1 / (1 + np.exp(-(truth * 4 - 2 + rng.normal(size=120))))
    cases = [f"c{number}" for number in range(120)]
    lines = {"case_id": cases, "patient_id": cases, "fold": 0, "part": "test", "truth": truth, "score": score}
    plan = Evaluate(primary="auroc", interval={"method": method, "resamples": 100}, operating_point={"threshold": 0.5})
    found = evaluate(pd.DataFrame(lines), task="tabular", classes=("well", "ill"), plan=plan)
    assert 0.95 < found.estimates[0].value < 1
    assert any("90 to 93 of 100" in note for note in found.notes) == told
