"""Recalibration against scikit-learn and scipy, on folds, and where it cannot be fitted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from ai4diag.config.plan import Evaluate, Interval
from ai4diag.errors import ConfigError
from ai4diag.evaluation.evaluate import evaluate
from ai4diag.evaluation.recalibration import fit
from tests.evaluation.test_evaluate import by_name, tabular

FAST = Interval(resamples=100)
CLASSES = ("cyst", "stone", "tumour")


def overconfident(n=600, seed=0):
    """Validation and test lines whose scores are three times too extreme and too high."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(-0.5, 1, n)
    return pd.DataFrame(
        {
            "case_id": [f"c{i}" for i in range(n)],
            "patient_id": [f"p{i}" for i in range(n)],
            "fold": 0,
            "part": np.where(np.arange(n) % 2, "test", "validation"),
            "truth": (rng.random(n) < special.expit(logit)).astype(int),
            "score": special.expit(3 * logit + 1),
        }
    )


def parts(table):
    return table[table["part"] == "validation"], table[table["part"] == "test"]


def recalibrated(table, method, target="binary", classes=("healthy", "ill")):
    found = fit(*parts(table), target, classes, method)
    return found.of(parts(table)[1]), found


def test_platt_is_logistic_regression_on_outcomes_moved_inwards():
    validation, test = parts(overconfident())
    known, x = validation["truth"].to_numpy(), special.logit(validation["score"].to_numpy())
    up, down = (known.sum() + 1) / (known.sum() + 2), 1 / ((1 - known).sum() + 2)
    share = np.where(known == 1, up, down)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    model.fit(np.tile(x, 2)[:, None], np.repeat([1, 0], len(x)), sample_weight=np.append(share, 1 - share))
    expected = model.predict_proba(special.logit(test["score"].to_numpy())[:, None])[:, 1]
    np.testing.assert_allclose(recalibrated(overconfident(), "platt")[0][:, 0], expected, atol=1e-5)


def test_isotonic_is_scikit_learns_within_its_limits():
    validation, test = parts(overconfident())
    edge = 1 / (len(validation) + 2)
    model = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip")
    expected = model.fit(validation["score"], validation["truth"]).predict(test["score"])
    np.testing.assert_allclose(recalibrated(overconfident(), "isotonic")[0][:, 0], expected, atol=1e-12)


def test_isotonic_with_ties_and_a_worked_case():
    # By hand: scores 1, 2, 2, 3; outcomes 0, 1, 0, 1. Means 0, 1/2, 1 are rising already; edges 1/6 and 5/6.
    table = pd.DataFrame({"truth": [0, 1, 0, 1], "score": [1.0, 2, 2, 3], "fold": 0, "patient_id": list("abcd")})
    test = pd.DataFrame({"score": [0.0, 1, 1.5, 2, 3, 9], "truth": 0, "fold": 0, "patient_id": list("efghij")})
    found = fit(table, test, "binary", ("no", "yes"), "isotonic").of(test)[:, 0]
    np.testing.assert_allclose(found, [1 / 6, 1 / 6, 1 / 3, 1 / 2, 5 / 6, 5 / 6], atol=1e-15)


def test_temperature_has_the_smallest_log_loss():
    validation, test = parts(overconfident())
    x = special.logit(validation["score"].to_numpy())

    def loss(logarithm):
        return log_loss(validation["truth"], special.expit(x / np.exp(logarithm)))

    best = np.exp(optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9}).x)
    expected = special.expit(special.logit(test["score"].to_numpy()) / best)
    assert best > 2
    np.testing.assert_allclose(recalibrated(overconfident(), "temperature")[0][:, 0], expected, atol=1e-6)


@pytest.mark.parametrize("method", ["platt", "isotonic", "temperature"])
def test_estimates_after_recalibration_are_of_the_new_probabilities(method):
    table = overconfident()
    plan = Evaluate(primary="auroc", recalibrate=method, interval=FAST)
    result = evaluate(table, task="tabular", classes=("healthy", "ill"), plan=plan)
    found, new = by_name(result), recalibrated(table, method)[0][:, 0]
    truth = parts(table)[1]["truth"]
    assert found["brier_recalibrated"].value == pytest.approx(brier_score_loss(truth, new))
    assert found["log_loss_recalibrated"].value == pytest.approx(log_loss(truth, new))
    assert found["log_loss_recalibrated"].value < found["log_loss"].value
    assert found["ece_recalibrated"].value < found["ece"].value
    assert found["calibration_slope"].value < 0.4
    assert found["calibration_slope_recalibrated"].value == pytest.approx(1, abs=0.6 if method == "isotonic" else 0.35)
    assert found["brier_recalibrated"].low < found["brier_recalibrated"].value < found["brier_recalibrated"].high
    bins = result.curves["reliability_recalibrated"]
    assert sum(bins["n"]) == len(truth)
    assert np.average(bins["mean_score"], weights=bins["n"]) == pytest.approx(new.mean())


def test_other_estimates_stay_bit_identical():
    table = overconfident()
    plain = evaluate(table, task="tabular", classes=("healthy", "ill"), plan=Evaluate(primary="auroc", interval=FAST))
    plan = Evaluate(primary="auroc", recalibrate="platt", prevalence=0.02, interval=FAST)
    more = evaluate(table, task="tabular", classes=("healthy", "ill"), plan=plan)
    assert more.estimates[: len(plain.estimates) - 1] == plain.estimates[:-1]  # the last one is of validation
    assert len(more.estimates) == len(plain.estimates) + 7


def test_each_fold_has_its_own_fit():
    table = tabular(folds=3)  # the scores of fold f are shifted by f on the logit scale
    validation, test = parts(table)
    found = fit(validation, test, "binary", ("healthy", "ill"), "platt")
    for fold in range(3):
        own = fit(validation[validation["fold"] == fold], test[test["fold"] == fold], "binary", ("h", "i"), "platt")
        np.testing.assert_array_equal(found.of(test[test["fold"] == fold]), own.of(test[test["fold"] == fold]))
    shifted = test.assign(score=0.5).groupby("fold").head(1)
    assert (np.diff(found.of(shifted[["score", "fold"]].sort_values("fold"))[:, 0]) < -0.05).all()


def test_the_test_part_decides_nothing():
    table = overconfident()
    before = recalibrated(table, "isotonic")[0]
    table.loc[table["part"] == "test", "truth"] = 1 - table.loc[table["part"] == "test", "truth"]
    np.testing.assert_array_equal(recalibrated(table, "isotonic")[0], before)


def test_without_a_validation_part_a_note_says_why_not():
    table = overconfident()
    plan = Evaluate(primary="auroc", recalibrate="platt", operating_point={"threshold": 0.5}, interval=FAST)
    result = evaluate(table[table["part"] == "test"], task="tabular", classes=("healthy", "ill"), plan=plan)
    found = by_name(result)["brier_recalibrated"]
    assert np.isnan([found.value, found.low, found.high]).all()
    assert found.note == "there are no validation predictions to fit it to"
    assert any("Recalibration (platt): there are no validation predictions" in note for note in result.notes)
    assert "reliability_recalibrated" not in result.curves


@pytest.mark.parametrize("method", ["platt", "isotonic", "temperature"])
@pytest.mark.parametrize("change", [{"truth": 1}, {"truth": 0}, {"score": 0.4}])
def test_one_class_or_one_score_cannot_be_fitted(method, change):
    validation, test = parts(overconfident())
    found = fit(validation.assign(**change), test, "binary", ("healthy", "ill"), method)
    assert np.isnan(found.of(test)).all()
    assert "lack a class" in found.note


def test_few_validation_cases_are_named():
    table = overconfident(80)
    assert "only 40 validation cases; it may do harm with fewer than 100" in recalibrated(table, "platt")[1].note
    assert "fewer than 500" in recalibrated(overconfident(400), "isotonic")[1].note
    assert recalibrated(overconfident(400), "temperature")[1].note == ""


def test_scores_that_are_no_probabilities():
    table = overconfident()
    points = table.assign(score=7 + 2 * special.logit(table["score"]))
    same = recalibrated(table, "platt")[0]
    np.testing.assert_allclose(recalibrated(points, "platt")[0], same, atol=1e-9)
    np.testing.assert_allclose(recalibrated(points, "isotonic")[0], recalibrated(table, "isotonic")[0], atol=1e-2)
    assert "no temperature" in recalibrated(points, "temperature")[1].note
    plan = Evaluate(primary="auroc", recalibrate="platt", interval=FAST)
    found = by_name(evaluate(points, task="tabular", classes=("healthy", "ill"), plan=plan))
    assert "brier" not in found
    assert found["brier_recalibrated"].value < 0.25


def test_scores_of_0_and_1_that_separate_the_classes():
    table = overconfident(200)
    table["score"] = table["truth"].astype(float)
    for method in ("platt", "isotonic", "temperature"):
        new = recalibrated(table, method)[0][:, 0]
        assert ((new >= 0) & (new <= 1)).all()
        assert (new[parts(table)[1]["truth"] == 1] > 0.9).all()


def several(n=400, seed=1, sharp=2.5):
    """One of three classes, probabilities sharpened."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 3))
    truth = [rng.choice(3, p=p) for p in special.softmax(logits, axis=1)]
    table = pd.DataFrame(special.softmax(sharp * logits, axis=1), columns=[f"score_{name}" for name in CLASSES])
    return table.assign(
        case_id=[f"c{i}" for i in range(n)],
        patient_id=[f"p{i}" for i in range(n)],
        fold=0,
        part=np.where(np.arange(n) % 2, "test", "validation"),
        truth=truth,
    )


def test_one_temperature_for_classes_that_exclude_each_other():
    table = several()
    validation, test = parts(table)
    columns = [f"score_{name}" for name in CLASSES]
    x, known = np.log(validation[columns].to_numpy()), validation["truth"].to_numpy()

    def loss(logarithm):
        return log_loss(known, special.softmax(x / np.exp(logarithm), axis=1), labels=[0, 1, 2])

    best = np.exp(optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9}).x)
    assert best == pytest.approx(2.5, abs=0.6)
    expected = special.softmax(np.log(test[columns].to_numpy()) / best, axis=1)
    np.testing.assert_allclose(recalibrated(table, "temperature", "multiclass", CLASSES)[0], expected, atol=1e-6)
    plan = Evaluate(primary="auroc_macro", recalibrate="temperature", interval=FAST)
    found = by_name(evaluate(table, task="classification", target="multiclass", classes=CLASSES, plan=plan))
    truth = test["truth"].to_numpy()
    squared = ((expected - np.eye(3)[truth]) ** 2).sum(axis=1).mean()
    assert found["brier_recalibrated"].value == pytest.approx(squared, abs=1e-6)
    assert found["log_loss_recalibrated"].value == pytest.approx(log_loss(truth, expected), abs=1e-6)
    assert found["ece_recalibrated"].value < found["ece"].value


def test_findings_are_recalibrated_one_by_one():
    one, other = overconfident(seed=2), overconfident(seed=3)
    table = one.rename(columns={"truth": "truth_oedema", "score": "score_oedema"})
    table = table.assign(truth_effusion=other["truth"], score_effusion=other["score"])
    for method in ("platt", "isotonic", "temperature"):
        both = recalibrated(table, method, "multilabel", ("oedema", "effusion"))[0]
        np.testing.assert_array_equal(both[:, 0], recalibrated(one, method)[0][:, 0])
        np.testing.assert_array_equal(both[:, 1], recalibrated(other, method)[0][:, 0])
    plan = Evaluate(primary="auroc_macro", recalibrate="temperature", interval=FAST)
    classes = ("oedema", "effusion")
    found = by_name(evaluate(table, task="classification", target="multilabel", classes=classes, plan=plan))
    each = [brier_score_loss(parts(own)[1]["truth"], recalibrated(own, "temperature")[0][:, 0]) for own in (one, other)]
    assert found["brier_recalibrated"].value == pytest.approx(np.mean(each))
    assert found["log_loss_recalibrated"].value < found["log_loss"].value
    alone = {}
    for name, own in zip(classes, (one, other), strict=True):
        asked = Evaluate(primary="auroc", recalibrate="temperature", interval=FAST)
        alone[name] = by_name(evaluate(own, task="tabular", classes=("no", "yes"), plan=asked))
    for name in ("ece", "ece_recalibrated"):
        assert found[name].value == pytest.approx(np.mean([each[name].value for each in alone.values()]))


@pytest.mark.parametrize(("target", "method"), [("multiclass", "platt"), ("ordinal", "isotonic"), ("boxes", "platt")])
def test_what_cannot_be_recalibrated_is_refused(target, method):
    with pytest.raises(ConfigError, match=r"evaluate.recalibrate"):
        fit(*parts(several()), target, CLASSES, method)
