"""The metric guard: what is refused as a headline, what is said beside it, and where it keeps quiet."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ai4diag.config.plan import Evaluate, Interval, OperatingPoint
from ai4diag.errors import ConfigError
from ai4diag.evaluation import guard
from ai4diag.evaluation.evaluate import evaluate
from ai4diag.masks import encode

FAST = Interval(resamples=100)
HALF = OperatingPoint(threshold=0.5)


def cases(n, **columns):
    return pd.DataFrame(
        {"case_id": [f"c{i}" for i in range(n)], "patient_id": [f"p{i}" for i in range(n)], "fold": 0, "part": "test"}
    ).assign(**columns)


def yes_no(positives, negatives, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.repeat([1, 0], [positives, negatives])
    return cases(len(truth), truth=truth, score=1 / (1 + np.exp(-rng.normal(3 * truth - 1.5, 1.5))))


def notes(table, primary, classes=("healthy", "ill"), task="tabular", target=None, **plan):
    point = (
        {}
        if task in ("segmentation", "detection") or target in ("multiclass", "time_to_event")
        else {"operating_point": HALF}
    )
    asked = Evaluate(primary=primary, interval=FAST, **point, **plan)
    return evaluate(table, task=task, target=target, classes=classes, plan=asked).notes


def said(table, name, primary=None, **more):
    """What the notes say of an estimate, as one text; empty where nothing but its own note."""
    return " ".join(
        note for note in notes(table, primary or name, **more) if note.startswith(f"{name}: ") and "Look at" in note
    )


def test_accuracy_is_refused_where_one_answer_is_nearly_always_right():
    with pytest.raises(ConfigError, match=r"always answering healthy scores 0\.960.*") as error:
        notes(yes_no(8, 192), "accuracy")
    assert "balanced_accuracy" in error.value.cure
    assert notes(yes_no(11, 189), "accuracy")  # 0.945: said, not refused
    assert notes(yes_no(8, 192), "auroc")  # another headline is free to be


def test_accuracy_that_hardly_beats_one_answer_is_pointed_out():
    table = yes_no(30, 170)
    assert "always answering healthy would score 0.850" in said(table.assign(score=table["truth"] * 0.2), "accuracy")
    assert said(table.assign(score=table["truth"] * 0.8), "accuracy") == ""
    assert "always answering" not in " ".join(notes(table.assign(score=table["truth"] * 0.2), "auroc"))


def test_an_area_over_one_patient_is_refused():
    table = yes_no(1, 80)
    for name in ("auroc", "auprc", "balanced_accuracy"):
        with pytest.raises(ConfigError, match="one patient alone has cases of ill") as error:
            notes(table, name)
        assert "specificity" in error.value.cure
    several = yes_no(6, 80)
    several["patient_id"] = np.where(several["truth"] == 1, "p0", several["patient_id"])  # six cases of one patient
    with pytest.raises(ConfigError, match="one patient alone"):
        notes(several, "auroc")
    assert notes(table, "brier")
    flipped = table.assign(truth=1 - table["truth"])
    with pytest.raises(ConfigError, match="cases of healthy") as error:
        notes(flipped, "auroc")
    assert "sensitivity" in error.value.cure  # the specificity hangs on that patient as well


def test_an_area_over_few_patients_is_pointed_out():
    assert "ill (7)" in said(yes_no(7, 80), "auroc")
    assert "healthy (4), ill (7)" in said(yes_no(7, 4), "auroc")
    assert said(yes_no(10, 80), "auroc") == ""
    copies = pd.concat([yes_no(7, 80)] * 3, ignore_index=True)
    copies["case_id"] = range(len(copies))
    assert "ill (7)" in said(copies, "auroc")  # 21 cases, still 7 patients


def test_without_a_class_the_headline_is_undefined_not_misleading():
    table = yes_no(0, 30)
    assert not any("Look at" in note for note in notes(table, "auroc"))


@pytest.mark.parametrize("name", ["ppv", "npv", "f1"])
def test_what_depends_on_prevalence_asks_for_it(name):
    table = yes_no(60, 140)
    assert "evaluate.prevalence" in said(table, name)
    assert "0.300" in said(table, name)
    assert "ppv_at_prevalence" in said(table, name, prevalence=0.02)
    assert said(table, "ppv_at_prevalence", prevalence=0.02) == ""
    assert said(table, "sensitivity") == ""


def test_calibration_of_few_cases():
    few, many = " ".join(notes(yes_no(60, 140), "auroc")), " ".join(notes(yes_no(200, 200), "auroc"))
    assert "calibration_slope and calibration_intercept: 60 positive and 140 negative" in few
    assert "calibration_slope" not in many
    outside = yes_no(60, 140)
    outside["score"] = outside["score"] * 3
    assert "calibration_slope" not in " ".join(notes(outside, "auroc"))


def test_chance_of_the_calibration_error_is_what_ideal_probabilities_show():
    rng = np.random.default_rng(4)
    probability = rng.beta(2, 3, 150)
    number = np.minimum((probability * 10).astype(int), 9)
    errors = []
    for _ in range(4000):
        gap = np.bincount(number, weights=(rng.random(150) < probability) - probability, minlength=10)
        errors.append(np.abs(gap).sum() / 150)
    assert guard._ece_by_chance(probability) == pytest.approx(np.mean(errors), rel=0.03)


def test_a_calibration_error_that_is_chance_is_pointed_out():
    rng = np.random.default_rng(5)
    probability = rng.random(150)
    ideal = cases(150, truth=(rng.random(150) < probability).astype(int), score=probability)
    assert "by chance" in said(ideal, "ece", primary="auroc")
    bad = ideal.assign(score=np.where(ideal["score"] > 0.5, 0.99, 0.6))
    assert said(bad, "ece", primary="auroc") == ""


def one_of(counts, names):
    truth = np.repeat(np.arange(len(counts)), counts)
    rng = np.random.default_rng(1)
    score = rng.dirichlet(np.ones(len(counts)), len(truth)) * 0.6 + 0.4 * np.eye(len(counts))[truth]
    return cases(len(truth), truth=truth, **{f"score_{name}": score[:, k] for k, name in enumerate(names)})


def test_several_classes():
    names = ("cyst", "stone", "tumour")
    of = {"classes": names, "task": "classification", "target": "multiclass"}
    with pytest.raises(ConfigError, match=r"always answering stone scores 0\.9"):
        notes(one_of((2, 97, 1), names), "accuracy", **of)
    table = one_of((30, 80, 5), names)
    assert "tumour (5)" in said(table, "auroc_macro", **of)
    assert "mix of classes" in said(table, "f1_macro", **of)
    assert said(table, "balanced_accuracy", **of) == ""


def test_findings():
    names = ("oedema", "effusion")
    rng = np.random.default_rng(2)
    truth = np.stack([np.arange(100) < 3, np.arange(100) % 25 == 0], axis=1)
    score = np.clip(0.7 * truth + 0.3 * rng.random((100, 2)), 0, 1)
    columns = {f"truth_{name}": truth[:, k].astype(int) for k, name in enumerate(names)}
    columns |= {f"score_{name}": score[:, k] for k, name in enumerate(names)}
    of = {"classes": names, "task": "classification", "target": "multilabel"}
    with pytest.raises(ConfigError, match=r"always answering the commoner of yes and no scores 0\.965"):
        notes(cases(100, **columns), "accuracy", **of)
    silent = cases(100, **columns | {"score_oedema": 0.1, "score_effusion": 0.1})
    assert "always answering nothing would score 0.940" in said(silent, "exact_match", **of)
    assert "oedema (3), effusion (4)" in said(cases(100, **columns), "auroc_macro", **of)


def followed(events, n=120):
    rng = np.random.default_rng(3)
    return cases(
        n, time_days=rng.exponential(900, n) + 1, event=(np.arange(n) < events).astype(int), score=rng.normal(size=n)
    )


def test_a_concordance_of_few_events():
    of = {"classes": ("alive", "died"), "target": "time_to_event"}
    with pytest.raises(ConfigError, match="one patient alone has cases of event"):
        notes(followed(1), "c_index", **of)
    assert "rests on 20 patients with the event" in said(followed(20), "c_index", **of)
    assert said(followed(60), "c_index", **of) == ""


def test_tiny_structures():
    def line(side):
        truth = np.zeros((12, 12, 12), np.uint8)
        truth[2 : 2 + side, 2 : 2 + side, 2 : 2 + side] = 1
        return {
            "truth_runs": encode(truth),
            "runs": encode(np.roll(truth, 1, 0)),
            "shape": [12] * 3,
            "spacing_mm": [1.0] * 3,
        }

    def table(sides):
        lines = pd.DataFrame([line(side) for side in sides])
        return cases(len(sides), **{name: list(lines[name]) for name in lines})

    of = {"classes": ("cyst",), "task": "segmentation"}
    assert "in 2 of 4 cases cyst has fewer than 50 voxels" in said(table([2, 3, 5, 6]), "dice", **of)
    assert said(table([4, 5, 6, 7]), "dice", **of) == ""
    assert said(table([2, 3, 5, 6]), "surface_dice_1_mm", **of) == ""


def boxes(counts):
    """Images with one box of a class each; the first class is in every second image."""
    labels = [[k] for k, n in enumerate(counts) for _ in range(n)]
    here = [np.array([0.0, 0, 10, 10])] * len(labels)
    return cases(
        len(labels),
        truth_boxes=here,
        truth_labels=[np.array(own) for own in labels],
        truth_ignore=[np.zeros(1, bool)] * len(labels),
        boxes=here,
        labels=[np.array(own) for own in labels],
        scores=list(np.random.default_rng(0).random((len(labels), 1))),
    )


def test_a_class_of_few_boxes():
    of = {"classes": ("platelet", "white cell"), "task": "detection"}
    found = said(boxes((40, 3)), "map_50", **of)
    assert "white cell weighs as much as any other class, with 3 boxes of 3 patients" in found
    assert "platelet" not in found
    assert said(boxes((40, 12)), "map_50", **of) == ""
    assert said(boxes((40, 3)), "froc_cpm", **of) == ""
    assert "it rests on 6 boxes" in said(boxes((6,)), "map_50", classes=("lesion",), task="detection")


def test_units_are_those_of_the_plan():
    table = yes_no(30, 80).assign(family=np.repeat(["f1", "f2"], [31, 79]))
    asked = Evaluate(primary="auroc", interval=Interval(resamples=100, unit="family"), operating_point=HALF)
    with pytest.raises(ConfigError, match="one patient alone has cases of ill"):
        evaluate(table, task="tabular", classes=("healthy", "ill"), plan=asked)
