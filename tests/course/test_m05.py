"""Lesson 5: right answers pass whatever is drawn, and each misconception fails with the expectation that names it."""

from __future__ import annotations

import csv
import types

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, roc_curve

from ai4diag.course import lessons
from ai4diag.course.checking import examine
from ai4diag.course.lessons.m05 import auroc

SEEDS = range(5)
COLUMNS = ["age", "ejection_fraction", "serum_creatinine", "time"]
RECIPE = """
task: tabular
data: {dataset: heart_failure, split: {by: patient_id, test: 0.3, validation: 0.3}, drop: [time]}
model: {network: logistic_regression}
evaluate:
  primary: auroc
  interval: {method: logit}
  operating_point: {sensitivity: 0.9}
  accept: {auroc_low: 0.7}
"""


@pytest.fixture
def root(tmp_path):
    """A workspace's folder with a small table of the form of heart_failure: twelve patients."""
    folder = tmp_path / "data" / "heart_failure"
    folder.mkdir(parents=True)
    with (folder / "heart_failure_clinical_records_dataset.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow([*COLUMNS, "DEATH_EVENT"])
        lines.writerows([60, 30, 1.1, 100, died] for died in [1, 0] * 6)
    return tmp_path


def unmet(exercise, names, root, seed=0):
    """Return the names of the expectations that are not met."""
    return [item.name for item in examine(lessons.find(exercise), names, root, seed) if not item.met]


def run(run_id, drop, scores):
    """Return what a notebook has of a run: the facts of its record and its predictions."""
    cases = [f"faisalabad-{number:04}" for number in range(1, 9)]
    table = pd.DataFrame({"case_id": cases, "part": "validation", "truth": [1, 0] * 4, "score": scores})
    facts = {"run_id": run_id, "recipe": {"data": {"drop": drop}}}
    return types.SimpleNamespace(record=types.SimpleNamespace(facts=facts), predictions=table)


BASELINE = run("aaaa", ["ejection_fraction", "serum_creatinine", "time"], [0.5, 0.4, 0.3, 0.6, 0.5, 0.2, 0.1, 0.3])
MODEL = run("bbbb", ["time"], [0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.4, 0.5])


def on_validation(predictions):
    """Return the AUROC of the validation part, by scikit-learn."""
    rows = predictions[predictions["part"] == "validation"]
    return roc_auc_score(rows["truth"], rows["score"])


def highest(truth, score, sensitivity):
    """Return the highest threshold with at least this sensitivity, from scikit-learn's ROC curve."""
    _, rate, limits = roc_curve(truth, score, drop_intermediate=False)
    return limits[np.flatnonzero(rate >= sensitivity - 1e-9)[0]]


def youden(truth, score, sensitivity):
    """Return the threshold with most sensitivity + specificity."""
    false, rate, limits = roc_curve(truth, score, drop_intermediate=False)
    return limits[np.argmax(rate - false)]


def slope(truth, score, penalty=1e9):
    """Return the calibration slope, by scikit-learn."""
    log_odds = np.log(score / (1 - score)).reshape(-1, 1)
    return LogisticRegression(C=penalty, tol=1e-8).fit(log_odds, truth).coef_[0, 0]


def reading(low, high):
    """Return what an interval of the slope says."""
    return "too extreme" if high < 1 else "too timid" if low > 1 else "no fault shown"


def test_auroc_is_that_of_scikit_learn_with_ties():
    random = np.random.default_rng(0)
    truth, score = random.integers(0, 2, 200), random.random(200).round(1)
    assert auroc(truth, score) == pytest.approx(roc_auc_score(truth, score), abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_right_answers_pass_whatever_is_drawn(root, seed):
    def must_go(columns, day):
        return [item["name"] for item in columns if item["known_on_day"] > day]

    own = highest(*(MODEL.predictions[name].to_numpy() for name in ("truth", "score")), 0.9)
    names = {
        "must_go": must_go,
        "recipe": RECIPE,
        "validation_auroc": on_validation,
        "baseline": BASELINE,
        "model": MODEL,
        "threshold_for": highest,
        "threshold": own,
        "calibration_slope": slope,
        "reading": reading,
    }
    for exercise in ("known", "recipe", "beats", "threshold", "calibration"):
        assert unmet(f"m05.{exercise}", names, root, seed) == []


def test_a_leak_is_a_matter_of_time_not_of_strength(root):
    strong = {"must_go": lambda columns, day: [item["name"] for item in columns if item["auroc"] > 0.85]}
    assert "a strong column that is known in time stays" in unmet("m05.known", strong, root)
    assert "a weak column from the future goes too" in unmet("m05.known", strong, root)
    early = {"must_go": lambda columns, day: [item["name"] for item in columns if item["known_on_day"] >= day]}
    assert "what exists on the day of the prediction stays" in unmet("m05.known", early, root)
    by_name = {"must_go": lambda columns, day: sorted(item["name"] for item in columns if item["known_on_day"] > day)}
    assert unmet("m05.known", by_name, root) == ["exactly these must go, in the order given"]


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("drop: [time]", "drop: []", "what is known only afterwards is dropped"),
        ("drop: [time]", "drop: [time, age]", "what is known at discharge stays"),
        (
            "drop: [time]",
            "drop: [time], waive: [{finding: post-outcome-column, reason: it helps}]",
            "no leak is waived",
        ),
        ("{sensitivity: 0.9}", "youden", "the operating point asks for the stated sensitivity"),
        ("auroc_low: 0.7", "auroc_low: 0.5", "the gate is on the lower limit of the AUROC"),
        ("auroc_low: 0.7", "auroc: 0.7", "the recipe can be read"),
        ("primary: auroc", "primary: auroc\n  seeed: 1", "the recipe can be read"),
    ],
)
def test_a_recipe_that_breaks_a_sentence_is_told_which(root, right, wrong, said):
    assert unmet("m05.recipe", {"recipe": RECIPE.replace(right, wrong)}, root) == [said]


def test_models_are_chosen_on_validation_and_without_the_leak(root):
    def beats(auroc=on_validation, baseline=BASELINE, model=MODEL):
        return unmet("m05.beats", {"validation_auroc": auroc, "baseline": baseline, "model": model}, root)

    on_test = beats(auroc=lambda table: roc_auc_score(*table[table["part"] == "test"][["truth", "score"]].T.to_numpy()))
    assert "the test part plays no part in the choice" in on_test
    on_all = beats(auroc=lambda table: roc_auc_score(table["truth"], table["score"]))
    assert on_all == ["validation_auroc is the AUROC of the validation part, ties half"]
    assert "the model is another run than the baseline" in beats(model=BASELINE)
    assert beats(model=run("cccc", [], MODEL.predictions["score"])) == [
        "the model does not see the length of follow-up"
    ]
    assert beats(baseline=MODEL, model=BASELINE) == ["the baseline sees age alone", "the model is better on validation"]


def test_outcomes_that_are_not_those_of_the_data_are_noticed(root):
    forged = run("dddd", ["time"], [0.9] * 8)
    forged.predictions["truth"] = 1 - forged.predictions["truth"]
    names = {"validation_auroc": on_validation, "baseline": BASELINE, "model": forged}
    assert "their outcomes are those of the data set" in unmet("m05.beats", names, root)


@pytest.mark.parametrize("rule", [youden, lambda truth, score, wish: 0.5, lambda truth, score, wish: 0.0])
def test_a_threshold_that_finds_too_few_or_calls_too_many_is_refused(root, rule):
    found = unmet("m05.threshold", {"threshold_for": rule, "threshold": None, "model": MODEL}, root)
    assert any("no higher threshold would do" in name for name in found)
    assert "`threshold` is a number" in found


def test_a_share_of_all_patients_is_no_sensitivity(root):
    names = {"threshold_for": lambda t, score, wish: np.quantile(score, 1 - wish), "threshold": 0.4, "model": MODEL}
    assert "20 deaths, 0.9 wanted: no higher threshold would do" in unmet("m05.threshold", names, root)


def test_a_slope_on_scores_or_with_a_penalty_is_told_apart(root):
    def scores(truth, score):
        return LogisticRegression(C=1e9, tol=1e-8).fit(score.reshape(-1, 1), truth).coef_[0, 0]

    on_scores = unmet("m05.calibration", {"calibration_slope": scores, "reading": reading}, root)
    assert "it is the slope on log odds, not on the scores themselves" in on_scores
    names = {"calibration_slope": lambda truth, score: slope(truth, score, penalty=1), "reading": reading}
    assert all("without a penalty" in name for name in unmet("m05.calibration", names, root))
    assert unmet("m05.calibration", names, root)


def test_a_reading_that_ignores_the_interval_is_refused(root):
    def middle(low, high):
        return "too extreme" if (low + high) / 2 < 1 else "too timid"

    found = unmet("m05.calibration", {"calibration_slope": slope, "reading": middle}, root)
    assert found == ["an interval that contains 1 shows no fault"]
