"""Several classes, and the steps of a scale, against scikit-learn and hand-computed tables."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from ai4diag.config.plan import Evaluate, OperatingPoint
from ai4diag.errors import ConfigError, DataError
from ai4diag.evaluation import multiclass_scores, ordinal_scores
from ai4diag.evaluation.classification import Threshold
from ai4diag.evaluation.evaluate import evaluate
from ai4diag.evaluation.many_areas import ManyAreas, mean_of_defined
from ai4diag.evaluation.multiclass_scores import MulticlassScores, from_confusion
from ai4diag.evaluation.ranking import Ranking

CLASSES = ("cyst", "stone", "tumour", "normal")
NONE = Threshold(0.0, "none is needed")


def cases(count: int = 60, seed: int = 3, classes: tuple[str, ...] = CLASSES) -> pd.DataFrame:
    """Predictions that know something, with ties, of patients with two images each."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, len(classes), count)
    raw = rng.random((count, len(classes))) + 0.8 * (truth[:, None] == np.arange(len(classes)))
    score = np.round(raw / raw.sum(axis=1, keepdims=True), 2)
    score[:, -1] = 1 - score[:, :-1].sum(axis=1)
    table = pd.DataFrame(score, columns=[f"score_{name}" for name in classes])
    table.insert(0, "truth", truth)
    table.insert(0, "patient_id", [f"p{number // 2}" for number in range(count)])
    table.insert(0, "case_id", [f"c{number}" for number in range(count)])
    return table.assign(site="north", fold=0, part="test")


def values(scores: MulticlassScores, weights: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
    found = scores.statistic(scores.entries)(weights)
    return {entry: found[:, column] for column, entry in enumerate(scores.entries)}


@pytest.mark.parametrize("weighted", [False, True])
def test_every_estimate_equals_scikit_learn(weighted: bool) -> None:
    table = cases()
    truth, score = table["truth"].to_numpy(), table[[f"score_{name}" for name in CLASSES]].to_numpy()
    weight = np.random.default_rng(1).integers(0, 4, len(table)) if weighted else np.ones(len(table), int)
    found = {
        key: value[0]
        for key, value in values(ordinal_scores.scores(table, CLASSES, NONE), weight[None].astype(float)).items()
    }
    rows = np.repeat(np.arange(len(table)), weight)
    truth, score = truth[rows], score[rows]
    answer = score.argmax(axis=1)
    expected = {
        "auroc_macro": metrics.roc_auc_score(truth, score, multi_class="ovr", average="macro"),
        "auprc_macro": metrics.average_precision_score(np.eye(4)[truth], score, average="macro"),
        "accuracy": metrics.accuracy_score(truth, answer),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, answer),
        "f1_macro": metrics.f1_score(truth, answer, average="macro"),
        "kappa_quadratic": metrics.cohen_kappa_score(truth, answer, weights="quadratic"),
        "mae": metrics.mean_absolute_error(truth, answer),
        "log_loss": metrics.log_loss(truth, score, labels=range(4)),
        "brier": float(((score - np.eye(4)[truth]) ** 2).sum(axis=1).mean()),
    }
    for name, value in expected.items():
        assert found[name, "all"] == pytest.approx(value, abs=1e-12), name
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(truth, answer, labels=range(4))
    for k, name in enumerate(CLASSES):
        group = f"class={name}"
        assert found["auroc", group] == pytest.approx(metrics.roc_auc_score(truth == k, score[:, k]), abs=1e-12)
        assert found["auprc", group] == pytest.approx(
            metrics.average_precision_score(truth == k, score[:, k]), abs=1e-12
        )
        right = ((truth != k) & (answer != k)).sum() / (answer != k).sum()
        assert found["npv", group] == pytest.approx(right, abs=1e-12)
        assert found["sensitivity", group] == pytest.approx(recall[k], abs=1e-12)
        assert found["ppv", group] == pytest.approx(precision[k], abs=1e-12)
        assert found["f1", group] == pytest.approx(f1[k], abs=1e-12)
        cleared = ((truth != k) & (answer != k)).sum() / (truth != k).sum()
        assert found["specificity", group] == pytest.approx(cleared, abs=1e-12)


def test_calibration_error_of_the_answer_by_hand() -> None:
    """Answers of 0.95 (right), 0.91 (wrong), 0.55 (right), 0.51 (right): (|1 - 1.86| + |2 - 1.06|) / 4."""
    table = pd.DataFrame(
        {"truth": [0, 0, 1, 1], "score_a": [0.95, 0.09, 0.45, 0.49], "score_b": [0.05, 0.91, 0.55, 0.51]}
    )
    table = table.assign(case_id=list("wxyz"), patient_id=list("wxyz"), fold=0, part="test")
    found = values(MulticlassScores(table, ("a", "b")), np.array([[1.0, 1, 1, 1], [2, 0, 1, 1]]))["ece", "all"]
    assert found == pytest.approx([(abs(1 - 1.86) + abs(2 - 1.06)) / 4, (abs(2 - 1.9) + abs(2 - 1.06)) / 4])


def test_precision_does_not_change_the_areas_beside_it() -> None:
    rng = np.random.default_rng(5)
    truth, score = rng.random((200, 3)) < 0.4, np.round(rng.random((200, 3)), 2)
    weights = rng.integers(0, 3, (50, 200)).astype(float)
    for compiled in (False, True):
        without, beside = (
            ManyAreas(truth, score).areas(weights, precision=asked, compiled=compiled)[0] for asked in (False, True)
        )
        np.testing.assert_array_equal(without, beside)


def test_a_hand_computed_table() -> None:
    found = from_confusion([[3, 1, 0], [0, 2, 0], [1, 0, 3]], ("mild", "moderate", "severe"))
    assert found["accuracy", "all"] == 0.8
    assert found["balanced_accuracy", "all"] == pytest.approx((0.75 + 1 + 0.75) / 3)
    assert found["mae", "all"] == pytest.approx(0.3)
    assert found["ppv", "class=moderate"] == pytest.approx(2 / 3)
    assert found["npv", "class=moderate"] == 1
    assert found["npv", "class=mild"] == pytest.approx(5 / 6)
    # sum w O = 1 + 4 = 5; margins (4, 2, 4) and (4, 3, 3): sum w E = (4*3 + 4*3*4 + 2*4 + 2*3 + 4*4*4 + 4*3) / 10 = 15
    assert found["kappa_quadratic", "all"] == pytest.approx(1 - 5 / 15)


def test_degenerate_tables_are_undefined_and_not_zero() -> None:
    nothing = from_confusion(np.zeros((2, 2)), ("a", "b"))
    assert all(np.isnan(value) for value in nothing.values())
    one = from_confusion([[5, 0], [0, 0]], ("a", "b"))
    assert one["accuracy", "all"] == 1
    assert np.isnan(one["kappa_quadratic", "all"])
    assert np.isnan(one["sensitivity", "class=b"])
    assert one["balanced_accuracy", "all"] == 1
    table = cases()
    table["truth"] = 0
    scores = MulticlassScores(table, CLASSES)
    assert np.isnan(values(scores, np.ones((1, len(table))))["auroc_macro", "all"][0])
    assert "no case of stone, tumour, normal" in scores.remark("auroc_macro", float("nan"))


def test_an_absent_class_is_left_out_of_means_and_named() -> None:
    table = cases()
    table = table[table["truth"] != 1].reset_index(drop=True)
    scores = MulticlassScores(table, CLASSES)
    found = values(scores, np.ones((1, len(table))))
    each = [found["auroc", f"class={name}"][0] for name in CLASSES]
    assert np.isnan(each[1])
    assert found["auroc_macro", "all"][0] == pytest.approx(np.nanmean(each))
    assert scores.remark("auroc_macro", 0.7) == "mean without stone, of which there is no case"
    assert scores.remark("sensitivity", float("nan")) == "no case of stone"
    assert scores.remark("ppv", float("nan")) == "the class is never answered"


def test_scores_that_are_no_probabilities_are_ranked_but_have_no_brier_score() -> None:
    table = cases()
    table["score_cyst"] = table["score_cyst"] * 3
    names = {name for name, _ in MulticlassScores(table, CLASSES).entries}
    assert "auroc_macro" in names
    assert not {"brier", "log_loss", "ece"} & names


def test_areas_of_many_scores_agree_with_one_at_a_time_and_compiled_with_numpy() -> None:
    rng = np.random.default_rng(2)
    truth = rng.random((90, 5)) < 0.3
    truth[:, 4] = False
    score = np.round(rng.random((90, 5)), 1)  # many ties
    weights = rng.integers(0, 3, (37, 90)).astype(float)
    weights[5] = 0
    areas = ManyAreas(truth, score)
    plain, fast = areas.areas(weights, compiled=False), areas.areas(weights, compiled=True)
    for one, other in zip(plain, fast, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
    for k in range(5):
        single = Ranking(truth[:, k], score[:, k]).areas(weights)
        np.testing.assert_allclose(fast[0][:, k], single[0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(fast[1][:, k], single[1], rtol=0, atol=1e-12)
    assert np.isnan(fast[0][:, 4]).all()
    area, precision = areas.areas(weights, precision=False, compiled=True)
    np.testing.assert_array_equal(area, fast[0])
    assert np.isnan(precision).all()


def test_mean_of_defined_of_nothing_is_undefined() -> None:
    np.testing.assert_array_equal(mean_of_defined(np.array([[np.nan, np.nan], [1.0, np.nan]])), [np.nan, 1.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": 4}, "found 4; expected 0 to 3"),
        ({"score_stone": np.nan}, "column 'score_stone'"),
        ({"score_tumour": None}, "column 'score_tumour'"),
    ],
)
def test_wrong_predictions_are_refused(change: dict[str, float], message: str) -> None:
    table = cases()
    for name, value in change.items():
        table.loc[2, name] = value
    with pytest.raises(DataError, match=message):
        multiclass_scores.check(table, CLASSES, "the table")
    with pytest.raises(DataError, match="no column 'score_stone'"):
        multiclass_scores.check(table.drop(columns="score_stone"), CLASSES, "the table")


def test_a_threshold_makes_no_sense_for_several_classes() -> None:
    with pytest.raises(ConfigError, match="largest score"):
        multiclass_scores.choose_threshold(cases(), cases(), CLASSES, OperatingPoint(threshold=0.3))


def test_evaluation_of_a_scale_with_subgroups_and_intervals() -> None:
    table = cases(200).assign(site=np.tile(["north", "north", "south", "south"], 50))
    plan = Evaluate(primary="kappa_quadratic", interval={"resamples": 200}, subgroups=["site"])
    found = evaluate(table, task="classification", target="ordinal", classes=CLASSES, plan=plan)
    headline = found.estimates[0]
    assert (headline.name, headline.n, headline.n_patients) == ("kappa_quadratic", 200, 100)
    assert headline.low < headline.value < headline.high
    names = {(item.name, item.subgroup) for item in found.estimates}
    assert {("kappa_quadratic_difference", "site=south"), ("auroc", "class=stone"), ("mae", "site=north")} <= names
    matrix = np.array(found.curves["confusion"])
    answer = table[[f"score_{name}" for name in CLASSES]].to_numpy().argmax(axis=1)
    np.testing.assert_array_equal(matrix, metrics.confusion_matrix(table["truth"], answer))
    steps = [abs(CLASSES.index(line["truth"]) - CLASSES.index(line["called"])) for line in found.curves["worst"]]
    assert steps == sorted(steps, reverse=True)
    assert steps[0] == 3


def test_ten_thousand_resamples_of_ten_thousand_cases_take_seconds() -> None:
    """The goal is 3 s in all; here a tenth of the resamples, with generous room for a loaded machine."""
    table = cases(10_000, classes=("healthy", "ill", "unclear"))
    scores = MulticlassScores(table, ("healthy", "ill", "unclear"))
    statistic = scores.statistic(scores.entries)
    statistic(np.ones((200, len(table))))  # compile
    start = time.process_time()
    found = statistic(np.random.default_rng(0).integers(0, 3, (1000, len(table))).astype(float))
    assert time.process_time() - start < 3
    assert found.shape == (1000, len(scores.entries))
