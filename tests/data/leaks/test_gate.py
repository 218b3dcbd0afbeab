"""The gate: what stops, what a waiver lets pass, and what is said; from raw files to prepared cases."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ai4diag.config.recipe import load_recipe
from ai4diag.config.waive import WAIVABLE, Waiver
from ai4diag.data.catalogue import Catalogue
from ai4diag.data.leaks.gate import gate
from ai4diag.data.prepare_images import prepare_images
from ai4diag.data.prepare_table import prepare_table
from ai4diag.data.prepared import Prepared
from ai4diag.errors import ConfigError, DataError
from ai4diag.types import Finding
from tests.conftest import ROOT
from tests.data.helpers import detection_recipe, toy_image_files, toy_images

RECIPE = """
task: tabular
data:
  dataset: heart_failure
  split: {test: 0.3, seed: 7}
%s
model: {network: logistic_regression}
evaluate: {primary: auroc, accept: {}}
"""


def pair(one: str, two: str, level: str = "error") -> Finding:
    return Finding(level, "look-alike", "train and test", f"{one} and {two}", "each once", "Look.", (one, two))


def test_errors_of_one_kind_are_told_together_and_all_cases_are_kept() -> None:
    findings = [pair(f"a{n}", f"b{n}", "warning") for n in range(12)]
    (found,) = gate(findings, [], "toy")
    assert found.found.startswith("12 such: a0 and b0; a1 and b1; ")
    assert found.found.endswith("; and 2 more")
    assert len(found.cases) == 24
    with pytest.raises(DataError, match=r"toy: 1 error, nothing was prepared:\n  - train and test: found a and b;"):
        gate([pair("a", "b")], [], "toy")


def test_a_waiver_lets_one_pair_pass_and_the_other_still_stops() -> None:
    findings = [pair("a", "b"), pair("c", "d")]
    one = Waiver(finding="look-alike", where="b", reason="It is  one field.\n")
    with pytest.raises(DataError) as caught:
        gate(findings, [one], "toy")
    assert "c and d" in str(caught.value)
    assert "a and b" not in str(caught.value)
    passed = gate(findings, [one, Waiver(finding="look-alike", reason="All known.")], "toy")
    assert [(item.level, item.waived) for item in passed] == [
        ("warning", "It is one field."),
        ("warning", "All known."),
    ]
    assert passed[0].found == "a and b; waived: It is one field."


def test_a_waiver_of_a_column_and_one_that_waives_nothing() -> None:
    column = Finding("error", "label-in-column", "column 'x'", "AUROC 1", "less", "Drop it.")
    (found,) = gate([column], [Waiver(finding="label-in-column", where="x", reason="a score of the ward")], "toy")
    assert found.waived == "a score of the ward"
    info, unused = gate(
        [Finding("info", "no-patient-ids", "x", "none", "some", "")],
        [Waiver(finding="look-alike", where="z", reason="r")],
        "",
    )
    assert info.level == "info"
    assert (unused.level, unused.code, unused.where) == ("warning", "waiver-unused", "data.waive, look-alike at z")
    with pytest.raises(DataError):
        gate([column], [Waiver(finding="label-in-column", where="y", reason="another column")], "toy")


def test_what_is_no_leak_cannot_be_waived() -> None:
    unreadable = Finding("error", "unreadable", "a.png", "nothing", "a picture", "Fetch it again.")
    with pytest.raises(DataError, match=r"a\.png"):
        gate([unreadable], [Waiver(finding=code, reason="please") for code in WAIVABLE], "toy")


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("[{finding: lookalike, reason: x}]", r"data\.waive\.0\.finding: .*Did you mean 'look-alike'\?"),
        ("[{finding: look-alike}]", r"data\.waive\.0\.reason: Field required"),
        ("[{finding: look-alike, reason: ' '}]", r"data\.waive\.0\.reason: say why"),
        ("[{finding: look-alike, reason: x, were: y}]", r"Did you mean 'where'\?"),
    ],
)
def test_a_wrong_waiver_is_refused(tmp_path: Path, block: str, message: str) -> None:
    (tmp_path / "pipeline.yaml").write_text(RECIPE % f"  waive: {block}")
    with pytest.raises(ConfigError, match=message):
        load_recipe(tmp_path / "pipeline.yaml")


def test_findings_of_before_still_read_and_new_ones_survive_the_file() -> None:
    old = {"level": "info", "code": "c", "where": "w", "found": "f", "expected": "e", "cure": "k"}
    assert Finding(**old).as_dict() == old
    assert Finding(**pair("a", "b").as_dict()) == pair("a", "b")


@pytest.fixture(scope="module")
def heart_failure(mirror: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    shutil.copy(Path(mirror) / "heart_failure" / "heart_failure_clinical_records_dataset.csv", folder)
    return folder


@pytest.mark.parametrize("declared", [True, False])
def test_the_follow_up_time_of_heart_failure_stops_is_dropped_or_waived(
    heart_failure: Path, tmp_path: Path, declared: bool
) -> None:
    card = Catalogue(ROOT / "datasets").card("heart_failure")
    assert card.table is not None
    if not declared:  # nobody wrote post_outcome on the card
        columns = [column.model_copy(update={"post_outcome": False}) for column in card.table.columns]
        table = card.table.model_copy(update={"columns": tuple(columns)})
        changed = card.model_copy(update={"table": table})
        changed._path, changed._sha256 = card._path, card._sha256
        card = changed

    def prepared(block: str) -> Prepared:
        (tmp_path / "pipeline.yaml").write_text(RECIPE % block)
        prepare_table(heart_failure, card, load_recipe(tmp_path / "pipeline.yaml"), tmp_path / "out")
        return Prepared.open(tmp_path / "out")

    with pytest.raises(DataError, match=r"(?s)1 error.*column 'time': .*data\.drop: \[time\]") as caught:
        prepared("")
    assert caught.value.exit_code == 4
    assert ("AUROC 0.8" in str(caught.value)) == (not declared)
    assert not (tmp_path / "out").exists()
    kept = prepared("  waive: [{finding: post-outcome-column, where: time, reason: To show what it is worth.}]")
    (waived,) = [item for item in kept.findings if item.waived]
    assert (waived.level, waived.code, waived.where) == ("warning", "post-outcome-column", "column 'time'")
    assert waived.found.endswith("; waived: To show what it is worth.")
    dropped = prepared("  drop: [time]")
    assert {item.code for item in dropped.findings if item.level != "info"} == set()
    assert np.isfinite(dropped.features).all()


def test_a_resized_copy_across_parts_stops_a_detection_pipeline(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    toy_image_files(raw, 30)
    with Image.open(raw / "images" / "img03.png") as own:
        own.resize((96, 64), Image.Resampling.BICUBIC).save(raw / "images" / "img30.png")
    text = (raw / "annotations" / "img03.xml").read_text()
    text = text.replace("<width>48</width><height>32</height>", "<width>96</width><height>64</height>")
    (raw / "annotations" / "img30.xml").write_text(text)
    _, card = toy_images(tmp_path)
    seeds = range(40)
    stopped = []
    for seed in seeds:
        try:
            prepare_images(raw, card, detection_recipe((32, 48), test=0.3, seed=seed), tmp_path / "out")
        except DataError as error:
            stopped.append(str(error))
        if stopped:
            break
    assert "img03" in stopped[0]
    assert "img30" in stopped[0]
    assert "similarity 0.9" in stopped[0] or "similarity 1.0" in stopped[0]
    assert "data.waive: [{finding: look-alike, where: img" in stopped[0]
