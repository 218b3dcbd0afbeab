"""Data sets and prepared cases as a notebook asks for them."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from ai4diag import lab
from ai4diag.errors import ConfigError, DataError, UsageError
from ai4diag.evaluation.predictions import write_predictions
from ai4diag.lab.answers import Answers
from ai4diag.lab.case_table import Cases
from ai4diag.lab.drawing import MOST_BYTES
from ai4diag.lab.named import pipeline_of
from ai4diag.pipelines import stages
from tests.lab.seen import pixels
from tests.lab.test_shown import shown
from tests.pipelines.test_tracked import quiet


@pytest.fixture
def drawn(make_workspace):
    """Return a function that prepares the cases of a pipeline that are drawn on this machine."""

    def prepared(name):
        root = make_workspace(name)
        stages.prepare(pipeline_of(f"{name} --quick", root), notify=quiet)
        return root

    return prepared


def test_a_data_set_says_what_it_is_and_how_to_get_it(make_workspace):
    root = make_workspace("breast-mass")
    absent = lab.dataset("wdbc", root)
    card = absent.card
    text, page = shown(absent)
    said = " ".join(text.split())
    for words in (card.title, card.licence.id, card.licence.attribution, *card.pitfalls, "ai4diag data get wdbc"):
        assert " ".join(words.split()) in said
        assert any(" ".join(words.split()) in cell for cell in page.texts)
    assert "commercial use allowed" in text
    assert absent.state == "absent"
    assert absent.counts == ()
    stages.prepare(pipeline_of("breast-mass", root), notify=quiet)
    there = lab.dataset("wdbc", root)
    assert there.state == "present"
    assert sum(line.cases for line in there.counts) == 569
    benign, malignant = np.sum([line.counts for line in there.counts], axis=0)
    assert (benign, malignant) == (357, 212)  # as Wolberg and others give them
    assert "As prepared for breast-mass" in str(there)
    with pytest.raises(ConfigError, match="Did you mean 'wdbc'"):
        lab.dataset("wbdc", root)


def test_a_word_between_backticks_is_code_in_the_page(make_workspace):
    text, page = shown(lab.dataset("tcga_brca_survival", make_workspace("breast-mass")))
    assert "`not reported`" in text
    assert {"not reported", "ai4diag data get tcga_brca_survival"} <= set(page.texts)
    assert "`" not in "".join(page.texts)


def test_cases_are_a_table_and_each_has_a_name(done):
    cases = lab.cases("breast-mass", done.folder)
    assert len(cases) == 569 == len(list(cases)) == len(cases.table())
    text, page = shown(cases)
    assert "569 cases of 569 patients, prepared for breast-mass (train 338, validation 60, test 171)" in text
    assert {"wdbc-001", "malignant"} < set(page.texts)
    assert cases["wdbc-007"].case_id == cases[6].case_id == "wdbc-007"
    assert cases[-1].case_id == cases[568].case_id
    assert len(cases.of_part("test")) == 171
    assert cases.table()["answered"].sum() == 171 + 60
    with pytest.raises(UsageError, match="Did you mean 'wdbc-569'"):
        cases["wbdc-569"]
    with pytest.raises(IndexError, match="569"):
        cases[569]
    with pytest.raises(UsageError, match="--quack"):
        lab.cases("breast-mass --quack", done.folder)
    with pytest.raises(DataError, match="prepare breast-mass --quick"):
        lab.cases("breast-mass --quick", done.folder)


def test_a_table_row_has_units_and_the_answer_of_the_model(done):
    case = lab.case("breast-mass", folder=done.folder)
    table = pd.read_parquet(done.out / "predictions.parquet").set_index("case_id")
    assert case.part == "test" == table.loc[case.case_id, "part"]
    text, page = shown(case)
    assert f"score {table.loc[case.case_id, 'score']:.3g} for malignant" in text
    assert re.search(r"mean radius +\S+ +px +median", text)
    assert {"Feature", "Unit", "px"} < set(page.texts)
    assert case.picture is None
    with pytest.raises(UsageError, match="table row"):
        _ = case.png
    cases = lab.cases("breast-mass", done.folder)
    assert "the model learned from it" in str(cases.of_part("train")[0])
    unasked = Cases(cases.words, cases.prepared, Answers({}, None))
    assert "the model was not asked about it" in str(unasked.of_part("test")[0])


def test_answers_about_other_cases_are_not_shown(done):
    facts = done.out / "prepared" / "prepared.json"
    facts.write_text(facts.read_text() + "\n")  # prepared again since
    assert "no model was trained on these cases yet" in str(lab.case("breast-mass", folder=done.folder))


def test_an_image_shows_boxes_of_truth_and_answer_where_they_are(drawn):
    root = drawn("smear-demo")
    pipeline = pipeline_of("smear-demo --quick", root)
    prepared = stages.open_prepared(pipeline)
    cases = lab.cases("smear-demo --quick", root)
    assert "none: no model was trained" in str(cases[0])
    case = cases.of_part("test")[0]
    rows = np.array([case.row])
    truth = stages.task("detection").truth(prepared, rows)
    box = np.array([20.0, 120.0, 60.0, 180.0])  # rows 20 to 60, columns 120 to 180, of 192 x 192
    answer = {"boxes": [box.astype(np.float32)], "labels": [np.array([1])], "scores": [np.array([0.9])]}
    index = prepared.index.iloc[rows].reset_index(drop=True)[["case_id", "patient_id", "site"]]
    lines = pd.concat([index.assign(fold=0, part="test"), truth, pd.DataFrame(answer)], axis=1)
    write_predictions(pipeline.out / "predictions.parquet", lines, stages.prediction_facts(pipeline, prepared))
    case = lab.case("smear-demo --quick", folder=root)
    assert case.row == rows[0]
    assert "1 box with a score of at least 0.5" in str(case)
    assert "truth solid, model's answer dashed" in str(case)
    image = pixels(case.png)
    assert len(case.png) < MOST_BYTES
    cyan = (image[..., 0] < 150) & (image[..., 1] > 225) & (image[..., 2] > 230)
    yellow = (image[..., 0] > 220) & (image[..., 1] > 190) & (image[..., 2] < 120)
    cyan[int(0.9 * len(cyan)) :] = False  # the legend
    assert yellow.any()
    dark = (image < 60).all(axis=-1)
    frame_rows = np.flatnonzero(dark.sum(axis=1) > 0.6 * image.shape[1])
    frame_columns = np.flatnonzero(dark[: frame_rows[-1]].sum(axis=0) > 0.6 * frame_rows[-1])
    top, bottom, left, right = frame_rows[0], frame_rows[-1], frame_columns[0], frame_columns[-1]
    found_rows, found_columns = np.nonzero(cyan)
    scale = (bottom - top) / 192
    assert (right - left) / 192 == pytest.approx(scale, rel=0.02)
    edges = [found_rows.min() - top, found_columns.min() - left, found_rows.max() - top, found_columns.max() - left]
    assert np.array(edges) / scale == pytest.approx(box, abs=1.5)


def test_volumes_with_boxes_say_window_and_spacing(drawn):
    cases = lab.cases("lung-nodules --quick", drawn("lung-nodules"))
    case = cases.usual
    text, page = shown(case)
    assert "Window: black -1024, white 300; level -362, width 1324" in text
    assert "no model was trained on these cases yet" in text
    assert page.images == 1
    assert len(case.png) < MOST_BYTES


def test_a_signal_says_channels_rate_and_unit(drawn):
    case = lab.case("ecg-superclasses --quick", 0, drawn("ecg-superclasses"))
    text, page = shown(case)
    assert "10 s at 100 samples per second" in text
    assert re.search(r"I from -?[\d.]+ to [\d.]+ mV", case.picture.alt)
    assert page.images == 1
    assert len(case.png) < MOST_BYTES


def test_a_plan_is_asked_of_segmentation_only(done):
    with pytest.raises(UsageError, match="no plan"):
        lab.plan("breast-mass", done.folder)
