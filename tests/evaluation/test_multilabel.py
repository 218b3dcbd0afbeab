"""Findings of which a case may show any number, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from ai4diag.config.plan import Evaluate, OperatingPoint
from ai4diag.errors import DataError
from ai4diag.evaluation import multilabel_scores
from ai4diag.evaluation.evaluate import evaluate
from ai4diag.evaluation.multilabel_scores import MultilabelScores

CLASSES = ("oedema", "effusion", "nodule")


def cases(count: int = 80, seed: int = 4, part: str = "test") -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    truth = rng.random((count, 3)) < [0.5, 0.3, 0.2]
    score = np.round(np.clip(0.3 * truth + 0.7 * rng.random((count, 3)), 0, 1), 2)
    table = pd.DataFrame({"case_id": [f"{part}{n}" for n in range(count)], "site": "north", "fold": 0, "part": part})
    table["patient_id"] = table["case_id"]
    for k, name in enumerate(CLASSES):
        table[f"truth_{name}"], table[f"score_{name}"] = truth[:, k].astype(int), score[:, k]
    return table


def scores_of(table: pd.DataFrame, rule: OperatingPoint, validation: pd.DataFrame | None = None) -> MultilabelScores:
    known = cases(part="validation", seed=9) if validation is None else validation
    at = multilabel_scores.choose_threshold(known, table, CLASSES, rule)
    return multilabel_scores.scores(table, CLASSES, at)


@pytest.mark.parametrize("weighted", [False, True])
def test_every_estimate_equals_scikit_learn(weighted: bool) -> None:
    table = cases()
    scores = scores_of(table, OperatingPoint(threshold=0.5))
    weight = np.random.default_rng(1).integers(0, 4, len(table)) if weighted else np.ones(len(table), int)
    found = dict(zip(scores.entries, scores.statistic(scores.entries)(weight[None].astype(float))[0], strict=True))
    rows = np.repeat(np.arange(len(table)), weight)
    truth = table[[f"truth_{name}" for name in CLASSES]].to_numpy()[rows]
    score = table[[f"score_{name}" for name in CLASSES]].to_numpy()[rows]
    answer = (score >= 0.5).astype(int)
    expected = {
        "auroc_macro": metrics.roc_auc_score(truth, score, average="macro"),
        "auprc_macro": metrics.average_precision_score(truth, score, average="macro"),
        "accuracy": 1 - metrics.hamming_loss(truth, answer),
        "exact_match": metrics.accuracy_score(truth, answer),
        "balanced_accuracy": np.mean([metrics.balanced_accuracy_score(truth[:, k], answer[:, k]) for k in range(3)]),
        "f1_macro": metrics.f1_score(truth, answer, average="macro"),
        "brier": np.mean([metrics.brier_score_loss(truth[:, k], score[:, k]) for k in range(3)]),
        "log_loss": np.mean([metrics.log_loss(truth[:, k], score[:, k]) for k in range(3)]),
    }
    for name, value in expected.items():
        assert found[name, "all"] == pytest.approx(value, abs=1e-12), name
    for k, name in enumerate(CLASSES):
        group = f"class={name}"
        assert found["auroc", group] == pytest.approx(metrics.roc_auc_score(truth[:, k], score[:, k]), abs=1e-12)
        assert found["sensitivity", group] == pytest.approx(metrics.recall_score(truth[:, k], answer[:, k]), abs=1e-12)
        assert found["ppv", group] == pytest.approx(metrics.precision_score(truth[:, k], answer[:, k]), abs=1e-12)


def test_each_finding_has_its_own_threshold_from_validation() -> None:
    validation = cases(part="validation", seed=9)
    scores = scores_of(cases(), OperatingPoint(sensitivity=0.9), validation)
    at = scores._at[0]
    assert len(set(at.tolist())) == 3
    for k, name in enumerate(CLASSES):
        ill = validation.loc[validation[f"truth_{name}"] == 1, f"score_{name}"]
        assert (ill >= at[k]).mean() >= 0.9
        higher = ill[ill > at[k]]
        assert (ill >= higher.min()).mean() < 0.9


def test_a_finding_that_validation_lacks_has_no_threshold_and_says_so() -> None:
    validation = cases(part="validation", seed=9).assign(truth_nodule=0)
    both = pd.concat([validation, cases()], ignore_index=True)
    plan = Evaluate(primary="auroc_macro", interval={"resamples": 100})
    found = evaluate(both, task="classification", target="multilabel", classes=CLASSES, plan=plan)
    assert any("nodule: undefined" in note for note in found.notes)
    table = {(item.name, item.subgroup): item for item in found.estimates if item.part == "test"}
    assert np.isnan(table["sensitivity", "class=nodule"].value)
    assert not np.isnan(table["sensitivity", "class=oedema"].value)
    assert not np.isnan(table["auroc", "class=nodule"].value)
    assert np.isnan(table["exact_match", "all"].value)
    assert table["exact_match", "all"].note == "no operating point could be fixed on validation predictions"
    assert "mean without nodule, for which no operating point" in table["accuracy", "all"].note


def test_a_finding_that_all_or_no_cases_show_is_left_out_of_means() -> None:
    table = cases().assign(truth_nodule=0)
    scores = scores_of(table, OperatingPoint(threshold=0.5))
    found = dict(zip(scores.entries, scores.statistic(scores.entries)(np.ones((1, len(table))))[0], strict=True))
    assert np.isnan(found["auroc", "class=nodule"])
    assert found["auroc_macro", "all"] == pytest.approx(
        (found["auroc", "class=oedema"] + found["auroc", "class=effusion"]) / 2
    )
    assert scores.remark("auroc_macro", 0.7) == "mean without nodule, which all or no cases show"


@pytest.mark.parametrize(("column", "value"), [("truth_nodule", 2), ("score_oedema", np.inf)])
def test_wrong_predictions_are_refused(column: str, value: float) -> None:
    table = cases()
    table[column] = table[column].astype(float)
    table.loc[1, column] = value
    with pytest.raises(DataError, match=f"column '{column}', line 2"):
        multilabel_scores.check(table, CLASSES, "the table")


def test_a_finding_that_nearly_all_cases_show_is_defined_in_every_resample() -> None:
    table = cases()
    table["truth_oedema"] = (np.arange(len(table)) > 1).astype(int)  # two cases without
    plan = Evaluate(primary="auroc_macro", operating_point=OperatingPoint(threshold=0.5))
    found = evaluate(table, task="classification", target="multilabel", classes=CLASSES, plan=plan)
    note = next(e.note for e in found.estimates if (e.name, e.subgroup) == ("auroc", "class=oedema"))
    assert "undefined in" not in note
    assert "stratified" in found.notes[0]


def test_worst_cases_have_the_most_wrong_answers() -> None:
    table = cases()
    worst = scores_of(table, OperatingPoint(threshold=0.5)).curves()["worst"]
    truth = table[[f"truth_{name}" for name in CLASSES]].to_numpy()
    wrong = ((table[[f"score_{name}" for name in CLASSES]].to_numpy() >= 0.5) != truth).sum(axis=1)
    assert wrong[table["case_id"].tolist().index(worst[0]["case_id"])] == wrong.max()
    assert "truth_nodule" not in worst[0]
