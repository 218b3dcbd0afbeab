from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ai4diag.config.card import Card
from ai4diag.data.prepare_images import prepare_images
from ai4diag.data.prepared import Prepared
from ai4diag.errors import ConfigError, DataError
from tests.data.helpers import BOTH, TOY_IMAGES, detection_recipe, toy_image_files, toy_images, voc, write_card


def prepared(tmp_path: Path, raw: Path, card: Card, **recipe: object) -> Prepared:
    prepare_images(raw, card, detection_recipe(**recipe), tmp_path / "out")  # type: ignore[arg-type]
    return Prepared.open(tmp_path / "out")


def changed(tmp_path: Path, name: str, text: str) -> tuple[Path, Card]:
    """Return toy images of which one annotation is `text`."""
    toy_image_files(tmp_path / "raw")
    (tmp_path / "raw" / "annotations" / f"{name}.xml").write_text(text, encoding="utf-8")
    return toy_images(tmp_path)


def test_images_boxes_and_index_are_those_of_the_files(tmp_path: Path) -> None:
    raw, card = toy_images(tmp_path)
    found = prepared(tmp_path, raw, card)
    assert found.images.shape == (12, 3, 32, 48)
    assert found.classes == ("RBC", "WBC")
    for row, case in enumerate(found.index["case_id"]):
        pixels = np.asarray(Image.open(raw / "images" / f"{case}.png")).transpose(2, 0, 1)
        np.testing.assert_array_equal(found.images[row], pixels)
    first = found.boxes[found.boxes["case"] == 0]
    assert first[["label", "min_0", "min_1", "max_0", "max_1"]].values.tolist() == [
        [0, 3, 2, 15, 12],
        [1, 5, 20, 25, 40],
    ]
    assert found.boxes["min_0"].dtype == np.float32
    assert found.index[["size_0", "size_1", "site"]].iloc[0].tolist() == [32, 48, "lab"]
    assert "no-patient-ids" in [finding.code for finding in found.findings]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "boxes.parquet",
        "findings.json",
        "images.npy",
        "index.parquet",
        "prepared.json",
        "split.csv",
    ]


def test_statistics_are_those_of_the_training_part_alone(tmp_path: Path) -> None:
    raw, card = toy_images(tmp_path)
    found = prepared(tmp_path, raw, card, test=0.25, validation=0.25)
    (fold,) = found.folds()
    train = found.images[fold.train].astype(float)
    assert found.facts["statistics"]["mean"] == pytest.approx(train.mean(axis=(0, 2, 3)).tolist())
    assert found.facts["statistics"]["std"] == pytest.approx(train.std(axis=(0, 2, 3)).tolist())
    assert found.facts["statistics"]["boxes"] == {"RBC": len(fold.train), "WBC": len(fold.train)}
    assert found.facts["statistics"]["median_box_px"]["WBC"] == [20, 20]


def test_smaller_packed_images_leave_boxes_in_original_pixels(tmp_path: Path) -> None:
    raw, card = toy_images(tmp_path)
    found = prepared(tmp_path, raw, card, image_size=(16, 24))
    assert found.images.shape == (12, 3, 16, 24)
    assert found.boxes["max_1"].max() == 40
    assert found.index["size_1"].unique().tolist() == [48]


def test_images_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    toy_image_files(tmp_path / "raw")
    Image.new("RGB", (20, 10)).save(tmp_path / "raw" / "images" / "img00.png")
    (tmp_path / "raw" / "annotations" / "img00.xml").write_text(voc([("RBC", 1, 1, 5, 5)], 20, 10), encoding="utf-8")
    raw, card = toy_images(tmp_path)
    with pytest.raises(DataError, match=r"10 x 20 \(img00\).*data.image_size"):
        prepared(tmp_path, raw, card)
    assert prepared(tmp_path, raw, card, image_size=(32, 48)).images.shape == (12, 3, 32, 48)


def test_boxes_without_area_are_dropped_and_those_outside_clipped_with_a_warning(tmp_path: Path) -> None:
    objects = [*BOTH, ("RBC", 7, 9, 7, 9), ("RBC", 40, 20, 60, 30), ("WBC", 100, 100, 120, 120)]
    raw, card = changed(tmp_path, "img04", voc(objects))
    found = prepared(tmp_path, raw, card)
    boxes = found.boxes[found.boxes["case"] == 4]
    assert boxes[["min_0", "min_1", "max_0", "max_1"]].values.tolist()[2:] == [[20, 40, 30, 48]]
    warnings = {finding.code: finding for finding in found.findings if finding.level == "warning"}
    assert set(warnings) == {"zero-area-box", "box-clipped", "box-outside"}
    assert warnings["zero-area-box"].where == "img04, object 3 (RBC)"
    assert warnings["zero-area-box"].found == "rows 9 to 9, columns 7 to 7"


def test_a_cell_that_was_boxed_twice_is_reported(tmp_path: Path) -> None:
    twice = [("RBC", 10, 10, 20, 20), ("RBC", 10, 10, 20, 21), ("WBC", 10, 10, 20, 20), ("RBC", 12, 12, 22, 22)]
    raw, card = changed(tmp_path, "img04", voc(twice))
    (finding,) = [finding for finding in prepared(tmp_path, raw, card).findings if finding.code == "double-box"]
    assert finding.found == "1 pairs of boxes of one class with an overlap (IoU) over 0.7: img04"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (voc([("rbc", 1, 1, 5, 5)]), "img04: found class 'rbc'; expected one of RBC, WBC"),
        (voc(BOTH, columns=32, rows=48), "made for 48 x 32 .*expected 32 x 48"),
        (voc([("RBC", 9, 9, 2, 12)]), r"img04, object 1 \(RBC\).*minimum before maximum"),
        ("<annotation", "img04.xml: found no well-formed XML"),
    ],
)
def test_a_wrong_annotation_stops_and_names_the_case(tmp_path: Path, text: str, message: str) -> None:
    raw, card = changed(tmp_path, "img04", text)
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, raw, card)
    assert not (tmp_path / "out" / "prepared.json").exists()


def test_all_errors_are_named_at_once(tmp_path: Path) -> None:
    raw, card = changed(tmp_path, "img04", voc([("rbc", 1, 1, 5, 5)]))
    (raw / "images" / "img02.png").unlink()
    (raw / "annotations" / "img03.xml").unlink()
    card = write_card(tmp_path / "cards", raw, **TOY_IMAGES)
    with pytest.raises(DataError) as caught:
        prepared(tmp_path, raw, card)
    text = str(caught.value)
    assert "3 errors" in text
    assert "annotations/img02.xml: found no image named img02" in text
    assert "images/img03.png: found no annotation named img03" in text
    assert "class 'rbc'" in text


def test_a_truncated_image_stops_and_leaves_nothing_prepared(tmp_path: Path) -> None:
    toy_image_files(tmp_path / "raw")
    path = tmp_path / "raw" / "images" / "img05.png"
    path.write_bytes(path.read_bytes()[:2000])
    raw, card = toy_images(tmp_path)
    with pytest.raises(DataError, match=r"img05\.png: found a damaged image"):
        prepared(tmp_path, raw, card)
    assert list((tmp_path / "out").iterdir()) == []


def test_copies_are_reported_and_stay_in_one_part(tmp_path: Path) -> None:
    toy_image_files(tmp_path / "raw")
    for name in ("img07", "img09"):
        shutil.copy(tmp_path / "raw" / "images" / "img02.png", tmp_path / "raw" / "images" / f"{name}.png")
    raw, card = toy_images(tmp_path)
    found = prepared(tmp_path, raw, card, test=0.34, validation=0.34)
    parts = found.split.set_index("case_id")["part"]
    assert parts["img02"] == parts["img07"] == parts["img09"]
    (finding,) = [finding for finding in found.findings if finding.code == "duplicate-content"]
    assert "img02 = img07 = img09" in finding.found


def official(tmp_path: Path, lists: dict[str, list[str]], **split: object) -> tuple[Path, Card]:
    toy_image_files(tmp_path / "raw") if not (tmp_path / "raw").exists() else None
    for part, cases in lists.items():
        (tmp_path / "raw" / f"{part}.txt").write_text("\n".join(cases) + "\n", encoding="utf-8")
    files = {part: f"{part}.txt" for part in lists}
    return toy_images(tmp_path, official_split={"source": "test", "lists": files, **split})


def names(*numbers: int) -> list[str]:
    return [f"img{number:02d}" for number in numbers]


def test_the_official_split_is_kept_and_counts_what_it_leaves_out(tmp_path: Path) -> None:
    lists = {"train": names(0, 1, 2, 3), "validation": names(4, 5), "test": names(6, 7, 8)}
    raw, card = official(tmp_path, lists)
    found = prepared(tmp_path, raw, card, test="official")
    assert found.split.groupby("part")["case_id"].agg(list).to_dict() == lists
    assert len(found.images) == 9
    (finding,) = [finding for finding in found.findings if finding.code == "not-in-official-split"]
    assert finding.found.startswith("3 of 12 cases")


def test_an_official_split_with_a_copy_across_parts_stops(tmp_path: Path) -> None:
    toy_image_files(tmp_path / "raw")
    shutil.copy(tmp_path / "raw" / "images" / "img00.png", tmp_path / "raw" / "images" / "img06.png")
    lists = {"train": names(0, 1, 2), "validation": names(4), "test": names(6, 7)}
    raw, card = official(tmp_path, lists)
    with pytest.raises(DataError, match="img06 in test and img00 in train"):
        prepared(tmp_path, raw, card, test="official")
    raw, card = official(tmp_path, lists, known_duplicates=1)
    codes = [(f.level, f.code) for f in prepared(tmp_path, raw, card, test="official").findings]
    assert ("warning", "content-leak") in codes


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"train": names(0, 1), "test": names(1, 2)}, "lists 'img01' twice"),
        ({"train": names(0, 1), "test": ["img99"]}, "lists 'img99', which does not exist"),
    ],
)
def test_a_wrong_official_split_stops(tmp_path: Path, lists: dict[str, list[str]], message: str) -> None:
    raw, card = official(tmp_path, lists)
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, raw, card, test="official")


def test_official_without_an_official_split_says_so(tmp_path: Path) -> None:
    raw, card = toy_images(tmp_path)
    with pytest.raises(ConfigError, match="no official_split"):
        prepared(tmp_path, raw, card, test="official")


def test_a_class_that_is_absent_from_training_stops(tmp_path: Path) -> None:
    raw, card = toy_images(tmp_path, classes=["RBC", "WBC", "Platelets"])
    with pytest.raises(DataError, match="part train: found no box of class Platelets"):
        prepared(tmp_path, raw, card)


CASES = "case_id,patient_id,site,stain\n" + "".join(
    f"img{n:02d},p{n // 3},{'north' if n < 6 else 'south'},wright\n" for n in range(12)
)


def with_cases(tmp_path: Path, text: str) -> tuple[Path, Card]:
    toy_image_files(tmp_path / "raw")
    (tmp_path / "raw" / "cases.csv").write_text(text, encoding="utf-8")
    images = {**TOY_IMAGES["images"], "cases": "cases.csv", "attributes": ["stain"]}
    return toy_images(tmp_path, images=images, patient={"column": "patient_id"})


def test_patients_sites_and_attributes_come_from_the_table_of_cases(tmp_path: Path) -> None:
    raw, card = with_cases(tmp_path, CASES)
    found = prepared(tmp_path, raw, card, test=0.25, validation=0.34)
    assert found.index.iloc[7][["patient_id", "site", "stain"]].tolist() == ["p2", "south", "wright"]
    assert found.split.groupby("patient_id")["part"].nunique().max() == 1
    assert found.findings == ()


def test_a_patient_may_be_called_na_and_an_empty_attribute_is_missing(tmp_path: Path) -> None:
    raw, card = with_cases(tmp_path, CASES.replace(",p1,", ",NA,").replace("wright", "", 1))
    found = prepared(tmp_path, raw, card, test=0.25, validation=0.34)
    assert found.split["patient_id"].tolist()[3:6] == ["NA"] * 3
    assert found.index["stain"].isna().tolist() == [True] + [False] * 11


def test_patient_identifiers_that_the_card_does_not_use_stop(tmp_path: Path) -> None:
    raw, _ = with_cases(tmp_path, CASES)
    images = {**TOY_IMAGES["images"], "cases": "cases.csv"}
    raw, card = toy_images(tmp_path, images=images)
    with pytest.raises(DataError, match=r"column 'patient_id'.*Add `patient"):
        prepared(tmp_path, raw, card)


def test_a_patient_leak_by_a_wrong_grouping_stops(tmp_path: Path) -> None:
    raw, card = with_cases(tmp_path, CASES)
    with pytest.raises(DataError, match="such: patient p0 in two parts: img0"):
        prepared(tmp_path, raw, card, by="case_id", test=0.34, validation=0.34)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CASES.replace("stain", "colour"), "no column 'stain'"),
        (CASES.replace("img03,", "img33,"), "no line for the image 'img03'"),
        (CASES + "img03,p1,north,wright\n", "a case twice"),
        (CASES.replace(",p1,", ",,", 1), "row 4, column 'patient_id'.*expected an identifier"),
        (CASES.replace(",p1,", ",=p1,", 1), "neither empty nor a formula"),
        ("", "cannot be read as CSV"),
    ],
)
def test_a_wrong_table_of_cases_stops(tmp_path: Path, text: str, message: str) -> None:
    raw, card = with_cases(tmp_path, text)
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, raw, card)


def test_preprocess_sees_each_image_and_must_keep_its_form(tmp_path: Path) -> None:
    raw, card = toy_images(tmp_path)
    recipe = detection_recipe()
    prepare_images(raw, card, recipe, tmp_path / "out", lambda image: 255 - image)
    plain = np.asarray(Image.open(raw / "images" / "img00.png")).transpose(2, 0, 1)
    np.testing.assert_array_equal(Prepared.open(tmp_path / "out").images[0], 255 - plain)
    with pytest.raises(DataError, match="expected uint8"):
        prepare_images(raw, card, recipe, tmp_path / "out", lambda image: image / 255)  # type: ignore[arg-type,return-value]
