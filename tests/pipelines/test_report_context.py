"""What the report says beside the estimates, against hand-made prepared cases, cards and READMEs."""

from __future__ import annotations

import dataclasses
import hashlib
import math

import numpy as np
import pandas as pd
import pytest

from ai4diag.data.prepared import FINAL, Prepared, write_prepared
from ai4diag.files import write_json
from ai4diag.markdown import paragraphs, section
from ai4diag.pipelines.report_context import report_context
from ai4diag.pipelines.workspace import Workspace
from ai4diag.types import Finding

README = """\
# breast-mass: is it malignant?

First words.

## Intended use

**Question.** Is *this* mass
[malignant](https://example.org)? Run `ai4diag`, 2 * 3 * 4.

- one point
  that goes on
- another

| a | table |
|---|---|

### A lesson

Not part of it.

## Limits

One place.
"""
FINDINGS = [
    Finding("info", "b", "row 1", "x", "y", "z"),
    Finding("warning", "a", "row 2", "x", "y", "z"),
]


@pytest.fixture
def pipeline(make_workspace):
    """breast-mass with a README of its own."""
    found = Workspace(make_workspace("breast-mass")).pipeline("breast-mass")
    (found.folder / "README.md").write_text(README)
    return found


def cases():
    return pd.DataFrame(
        {
            "case_id": [f"c{i}" for i in range(8)],
            "patient_id": ["p0", "p0", "p1", "p2", "p3", "p4", "p5", "p5"],
            "site": ["north", "north", "north", "south", "north", "south", "north", "north"],
        }
    )


def prepare(folder, parts, *, boxes=None, images=None, index=None, fold=0, contrast=0):
    """Write and open prepared cases with the given part of each case."""
    index = cases() if index is None else index
    split = index[["case_id", "patient_id"]].assign(fold=fold, part=parts, contrast=contrast)
    truth = np.array([0, 1, 0, 1, 1, 0, 1, 1])
    write_prepared(
        folder,
        facts={"task": "tabular", "classes": ["benign", "malignant"]},
        index=index if boxes is not None else index.assign(truth=truth),
        split=split,
        findings=FINDINGS,
        arrays={} if images is None else {"images": images},
        tables={} if boxes is None else {"boxes": boxes},
    )
    return Prepared.open(folder)


SINGLE = ["train", "train", "train", "train", "validation", "test", "test", "test"]


def test_readme_and_card_are_quoted(pipeline):
    context = report_context(pipeline, prepare(pipeline.out / "prepared", SINGLE), ["auroc_low: too low"])
    assert context.title == "Is it malignant?"
    assert context.purpose == (
        "Question. Is this mass malignant? Run ai4diag, 2 * 3 * 4.",
        "one point that goes on",
        "another",
    )
    assert context.limits == ("One place.",)
    card = pipeline.workspace.catalogue.card("wdbc")
    assert (context.dataset.title, context.dataset.licence) == (card.title, card.licence.id)
    assert context.dataset.pitfalls == card.pitfalls
    assert context.gate == {"auroc_low": 0.97}
    assert context.unmet == ("auroc_low: too low",)
    assert context.recipe["data"]["split"]["by"] == "patient_id"
    assert "quick" not in context.recipe
    assert [item.level for item in context.findings] == ["warning", "info"]


def test_data_table_counts_by_hand(pipeline):
    context = report_context(pipeline, prepare(pipeline.out / "prepared", SINGLE), [])
    lines = [dataclasses.astuple(line) for line in context.parts]
    assert lines == [
        ("train", "north", 3, 2, (2, 1)),
        ("train", "south", 1, 1, (0, 1)),
        ("validation", "north", 1, 1, (0, 1)),
        ("test", "north", 2, 1, (0, 2)),
        ("test", "south", 1, 1, (1, 0)),
    ]
    assert context.folds == 0


def test_boxes_are_counted_without_those_to_ignore(pipeline):
    boxes = pd.DataFrame({"case": [0, 0, 5, 7], "label": [0, 1, 1, 1], "ignore": [False, False, True, False]})
    images = np.zeros((8, 1, 4, 4), np.uint8)
    index = cases().assign(size_0=4, size_1=4)
    context = report_context(
        pipeline, prepare(pipeline.out / "prepared", SINGLE, boxes=boxes, images=images, index=index), []
    )
    counts = {(line.part, line.site): line.counts for line in context.parts}
    assert counts["train", "north"] == (1, 1)
    assert counts["test", "north"] == (0, 1)
    assert counts["test", "south"] == (0, 0)


def test_cross_validation_is_one_part(pipeline):
    index = pd.concat([cases()] * 3, ignore_index=True)
    folder = pipeline.out / "prepared"
    prepare(folder, SINGLE)
    split = index[["case_id", "patient_id"]].assign(
        fold=[0] * 8 + [1] * 8 + [FINAL] * 8,
        part=["test"] * 4 + ["train"] * 4 + ["train"] * 4 + ["test"] * 4 + ["train"] * 7 + ["validation"],
        contrast=0,
    )
    prepared = dataclasses.replace(Prepared.open(folder), split=split)
    context = report_context(pipeline, prepared, [])
    assert context.folds == 2
    assert [dataclasses.astuple(line) for line in context.parts] == [
        ("every fold", "north", 6, 4, (2, 4)),
        ("every fold", "south", 2, 2, (1, 1)),
    ]


def test_a_patient_in_two_parts_is_not_called_checked(pipeline):
    clean = report_context(pipeline, prepare(pipeline.out / "prepared", SINGLE), [])
    assert "No patient is in two parts of a fold." in clean.checked
    leaking = [*SINGLE[:-1], "train"]
    context = report_context(pipeline, prepare(pipeline.out / "prepared", leaking), [])
    assert "No patient is in two parts of a fold." not in context.checked
    assert any("some patients are in two" in line for line in context.not_checked)


def test_data_without_patients_say_so(pipeline):
    context = report_context(pipeline, prepare(pipeline.out / "prepared", SINGLE), [])
    assert any("name no patients" in line for line in context.not_checked)  # wdbc has no identifiers
    assert any("2 sites" in line for line in context.not_checked)


def test_history_of_the_kept_model(pipeline):
    prepared = prepare(pipeline.out / "prepared", SINGLE)
    assert report_context(pipeline, prepared, []).training is None
    events = [
        {"epoch": 1, "loss": 0.7, "learning_rate": 0.1, "validation": {}},
        {"epoch": 2, "loss": 0.5, "learning_rate": 0.1, "validation": {"auroc": 0.9, "score": 0.9}},
    ]
    other = {"fold": 0, "contrast": False, "epochs": events[:1]}
    write_json(pipeline.out / "history.json", [other, {"fold": FINAL, "contrast": False, "epochs": events}])
    training = report_context(pipeline, prepared, []).training
    assert (training.epochs, training.loss, training.others) == ((1, 2), (0.7, 0.5), 1)
    assert math.isnan(training.score[0])
    assert training.score[1] == 0.9


def test_hashes_are_those_of_the_files(pipeline):
    prepared = prepare(pipeline.out / "prepared", SINGLE)
    (pipeline.out / "predictions.parquet").write_bytes(b"predictions")
    hashes = report_context(pipeline, prepared, []).hashes
    assert hashes["predictions (predictions.parquet)"] == hashlib.sha256(b"predictions").hexdigest()
    written = (pipeline.out / "prepared" / "prepared.json").read_bytes()
    assert hashes["prepared cases (prepared.json)"] == hashlib.sha256(written).hexdigest()
    assert all(len(value) == 64 for value in hashes.values())


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_upright_in_colour_and_know_their_scale(pipeline, channels):
    images = np.zeros((8, channels, 6, 9), np.uint8)
    images[3, 0, 1, 7] = 200  # row 1, column 7, first channel
    index = cases().assign(size_0=12, size_1=36)
    boxes = pd.DataFrame({"case": [0], "label": [0], "ignore": [False]})
    prepared = prepare(pipeline.out / "prepared", SINGLE, boxes=boxes, images=images, index=index)
    picture = report_context(pipeline, prepared, []).picture
    image, scale = picture("c3")
    assert image.shape == (6, 9, 3)
    assert image[1, 7].tolist() == ([200, 200, 200] if channels == 1 else [200, 0, 0])
    assert image.sum() == image[1, 7].sum()
    assert scale == (0.5, 0.25)
    assert picture("nobody") is None


def test_tables_have_no_pictures(pipeline):
    assert report_context(pipeline, prepare(pipeline.out / "prepared", SINGLE), []).picture is None


def test_a_folder_without_readme_still_makes_a_context(pipeline):
    (pipeline.folder / "README.md").unlink()
    context = report_context(pipeline, prepare(pipeline.out / "prepared", SINGLE), [])
    assert (context.title, context.purpose, context.limits) == ("Breast-mass", (), ())


def test_sections_and_paragraphs():
    assert section(README, "Limits") == "One place."
    assert section(README, "Trained on") == ""
    assert section("## Limits\n", "Limits") == ""
    assert paragraphs("") == ()
    assert paragraphs("a\nb\n\nc") == ("a b", "c")
    assert paragraphs("keep snake_case and 3 * 4 and **x**") == ("keep snake_case and 3 * 4 and x",)
