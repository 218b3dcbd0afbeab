"""Reports of several classes, findings and scales: everything is said, nothing is cut, the same bytes every time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from ai4diag.config.plan import Evaluate
from ai4diag.evaluation.evaluate import Evaluation, evaluate
from ai4diag.evaluation.report import DatasetFacts, PartLine, ReportContext, multiclass, multilabel, render
from ai4diag.evaluation.report.classes import DRAWN, PICTURES


def table(classes: list[str], target: str, part: str = "test", count: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(len(part))
    found = pd.DataFrame({"case_id": [f"{part}-{n}" for n in range(count)], "site": "north", "fold": 0, "part": part})
    found["patient_id"] = found["case_id"]
    if target == "multilabel":
        shows = rng.random((count, len(classes))) < 0.4
        for k, name in enumerate(classes):
            found[f"truth_{name}"] = shows[:, k].astype(int)
            found[f"score_{name}"] = np.clip(0.4 * shows[:, k] + 0.6 * rng.random(count), 0, 1)
        return found
    found["truth"] = np.arange(count) % len(classes)
    score = rng.random((count, len(classes))) + (found["truth"].to_numpy()[:, None] == np.arange(len(classes)))
    score /= score.sum(axis=1, keepdims=True)
    return found.assign(**{f"score_{name}": score[:, k] for k, name in enumerate(classes)})


def judged(classes: list[str], target: str, primary: str) -> tuple[Evaluation, ReportContext]:
    both = pd.concat([table(classes, target), table(classes, target, "validation")], ignore_index=True)
    plan = Evaluate(primary=primary, interval={"resamples": 100})
    found = evaluate(both, task="classification", target=target, classes=classes, plan=plan)
    context = ReportContext(
        title="Toy",
        pipeline="toy",
        task="classification",
        target=target,
        primary=primary,
        classes=tuple(classes),
        recipe={"evaluate": plan.model_dump(mode="json"), "train": {"parts": ["train"]}, "data": {"split": {}}},
        dataset=DatasetFacts("toy", "Toy"),
        parts=(PartLine("test", "north", 60, 60, tuple(range(len(classes)))),),
    )
    return found, context


@pytest.mark.parametrize(
    ("target", "primary", "answer"),
    [
        ("multiclass", "auroc_macro", "The class with the largest score is the answer."),
        ("ordinal", "kappa_quadratic", "The class with the largest score is the answer."),
        ("multilabel", "auroc_macro", "Each class has its own threshold"),
    ],
)
def test_the_report_names_every_class_and_says_what_an_answer_is(target: str, primary: str, answer: str) -> None:
    classes = ["cyst", "stone & sand", "tumour"]
    found, context = judged(classes, target, primary)
    html = render(found, context)
    assert html == render(found, context)
    assert answer in html
    for name in ("cyst", "stone &amp; sand", "tumour"):
        assert name in html
    assert "stone & sand" not in html
    assert "ROC curve per class" in html
    assert "undefined" not in html


def test_the_confusion_matrix_counts_cases() -> None:
    found, _ = judged(["a", "b", "c"], "multiclass", "accuracy")
    matrix = multiclass.confusion(found)
    assert matrix is not None
    assert matrix.columns == ("Truth", "called a", "called b", "called c", "all")
    assert [row[-1] for row in matrix.rows] == ["20", "20", "20"]
    right = sum(int(row[1 + k]) for k, row in enumerate(matrix.rows))
    assert right / 60 == pytest.approx(next(item.value for item in found.estimates if item.name == "accuracy"))


def test_findings_have_their_threshold_and_counts() -> None:
    found, _ = judged(["a", "b"], "multilabel", "auroc_macro")
    matrix = multilabel.confusion(found)
    assert matrix is not None
    assert [sum(map(int, row[2:])) for row in matrix.rows] == [60, 60]
    thresholds = [row[1] for row in matrix.rows]
    assert thresholds == [f"{item.value:.3f}" for item in found.operating_point.classes]  # type: ignore[attr-defined]


def test_of_many_classes_the_poorest_are_drawn_and_all_are_in_the_table() -> None:
    classes = [f"class {number}" for number in range(9)]
    found, _ = judged(classes, "multiclass", "auroc_macro")
    (chart,) = multiclass.curves(found)
    assert f"Drawn are the {DRAWN} of 9 classes" in chart.reading
    assert [row[0] for row in chart.table.rows] == classes
    assert sum(f">{name}<" in chart.svg for name in classes) == DRAWN


def test_worst_cases_say_what_they_were_called() -> None:
    found, context = judged(["a", "b", "c"], "ordinal", "mae")
    section = multiclass.cases(found, context)
    assert section is not None
    (shown,) = section.tables
    assert shown.columns[:4] == ("Case", "Truth", "Called", "Score of the truth")
    steps = [abs("abc".index(row[1]) - "abc".index(row[2])) for row in shown.rows]
    assert steps == sorted(steps, reverse=True)


def test_worst_cases_are_shown_as_pictures_where_there_are_images() -> None:
    found, context = judged(["a", "b", "c"], "multiclass", "accuracy")
    image = np.zeros((28, 28, 3), np.uint8)
    shown = dataclasses.replace(context, picture=lambda case: (image, (1.0, 1.0)))
    section = multiclass.cases(found, shown)
    assert section is not None
    (title, pictures), (other, typical) = section.pictures
    worst = found.curves["worst"]
    assert (title, other) == ("Largest errors", "Typical")
    assert [item.caption.split(".")[0][-1] for item in typical] == ["a", "a", "b", "b", "c", "c"]
    assert not {item.case_id for item in pictures} & {item.case_id for item in typical}
    assert [item.case_id for item in pictures] == [line["case_id"] for line in worst[:PICTURES]]
    said = f"Truth: {worst[0]['truth']}. Answer: {worst[0]['called']}. Score of the truth: "
    assert pictures[0].caption.startswith(said)
    html = render(found, shown)
    assert html.count("data:image/jpeg") == PICTURES + len(typical)
    assert "Legend of the pictures" not in html
    assert "data:image" not in render(found, context)
