"""Boxes in three formats: equal prepared cases, equal findings, and files that lie."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ai4diag.data.image_cases import read_image_cases
from ai4diag.data.prepare_images import prepare_images
from ai4diag.data.prepared import Prepared
from ai4diag.data.problems import ReadError
from ai4diag.data.readers.coco import read_coco
from ai4diag.data.readers.yolo import read_names, read_yolo
from ai4diag.errors import ConfigError, DataError
from tests.data.helpers import detection_recipe, toy_image_files, voc, write_card

CLASSES = ["RBC", "WBC"]
ROWS, COLUMNS = 32, 48


def boxes(seed=0, count=12, wrong=False):
    """Return for each image its boxes: name, xmin, ymin, xmax, ymax."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        low = rng.integers(0, (COLUMNS - 12, ROWS - 12), (3, 2))
        high = low + rng.integers(4, 12, (3, 2))
        edges = [[CLASSES[i % 2], *map(int, low[i]), *map(int, high[i])] for i in range(3)]
        found.append([] if number == 4 else edges)
    if wrong:
        found[1][0][1:] = [-5, 2, 8, 10]
        found[2][0][1:] = [3, 3, 3, 9]
        found[3][0][1:] = [COLUMNS + 1, 1, COLUMNS + 9, 9]
    return found


def write(raw, kind, truth):
    """Write the same images and boxes in a format; return what a card says about it."""
    toy_image_files(raw, len(truth))
    for path in (raw / "annotations").iterdir():
        path.unlink()
    names = [f"img{number:02d}" for number in range(len(truth))]
    source = {"folder": "images", "annotations": "annotations", "site": "lab", "format": kind}
    if kind == "coco":
        (raw / "annotations").rmdir()
        places = [(number, box) for number, found in enumerate(truth) for box in found]
        content = {
            "images": [
                {"id": 70 - n, "file_name": f"{name}.png", "width": 48, "height": 32} for n, name in enumerate(names)
            ],
            "categories": [{"id": 8, "name": "WBC"}, {"id": 3, "name": "RBC"}],
            "annotations": [
                {
                    "id": n,
                    "image_id": 70 - place,
                    "category_id": {"RBC": 3, "WBC": 8}[name],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                }
                for n, (place, (name, x0, y0, x1, y1)) in enumerate(places)
            ],
        }
        (raw / "boxes.json").write_text(json.dumps(content))
        return source | {"annotations": "boxes.json"}
    for name, found in zip(names, truth, strict=True):
        if kind == "voc":
            (raw / "annotations" / f"{name}.xml").write_text(voc([tuple(box) for box in found]))
            continue
        lines = []
        for label, x0, y0, x1, y1 in found:
            shares = (x0 + x1) / 96, (y0 + y1) / 64, (x1 - x0) / 48, (y1 - y0) / 32
            lines.append(" ".join([str(1 - CLASSES.index(label)), *(f"{share:.6f}" for share in shares)]))
        (raw / "annotations" / f"{name}.txt").write_text("\n".join(lines))
    if kind == "yolo":
        (raw / "data.yaml").write_text("train: images\nnames:\n  0: WBC\n  1: RBC\n")
        return source | {"names": "data.yaml"}
    return source


def prepared(folder, kind, truth):
    source = write(folder / "raw", kind, truth)
    card = write_card(folder / "cards", folder / "raw", task="detection", classes=CLASSES, images=source)
    prepare_images(folder / "raw", card, detection_recipe(test=0.25, validation=0.25), folder / "out")
    return Prepared.open(folder / "out")


@pytest.mark.parametrize("wrong", [False, True])
def test_the_same_boxes_in_three_formats_give_equal_prepared_cases(tmp_path, wrong):
    found = {kind: prepared(tmp_path / kind, kind, boxes(wrong=wrong)) for kind in ("voc", "coco", "yolo")}
    one = found["voc"]
    assert len(one.boxes) == 33 - 2 * wrong
    for other in (found["coco"], found["yolo"]):
        assert np.array_equal(one.images, other.images)
        assert one.boxes.equals(other.boxes)
        assert one.index.equals(other.index)
        assert one.split.equals(other.split)
        assert [str(finding) for finding in one.findings] == [str(finding) for finding in other.findings]
        assert one.facts["statistics"] == other.facts["statistics"]
    codes = {finding.code for finding in one.findings}
    assert {"box-clipped", "zero-area-box", "box-outside"} & codes == (
        {"box-clipped", "zero-area-box", "box-outside"} if wrong else set()
    )


@pytest.mark.parametrize("kind", ["voc", "coco", "yolo"])
def test_what_has_no_partner_and_an_unknown_class_are_found_in_every_format(tmp_path, kind):
    source = write(tmp_path / "raw", kind, boxes())
    (tmp_path / "raw" / "images" / "img03.png").unlink()
    Image.new("RGB", (48, 32)).save(tmp_path / "raw" / "images" / "extra.png")
    card = write_card(
        tmp_path / "cards", tmp_path / "raw", task="detection", classes=["RBC", "Platelet"], images=source
    )
    _, findings = read_image_cases(tmp_path / "raw", card, card.images)
    codes = [finding.code for finding in findings]
    assert codes.count("image-without-annotation") == codes.count("annotation-without-image") == 1
    assert codes.count("unknown-class") == 10


def test_crowds_of_coco_are_ignored_and_sizes_compared(tmp_path):
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 9, "height": 7}, {"id": 2, "file_name": "b.png"}],
        "categories": [{"id": 1, "name": "RBC"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1.5, 2, 3, 4], "iscrowd": 1}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    found = read_coco(tmp_path / "a.json")
    assert found["a.png"].boxes.tolist() == [[2, 1.5, 6, 4.5]]
    assert found["a.png"].difficult == (True,)
    assert (found["a.png"].size, found["b.png"].size) == ((7, 9), (0, 0))
    assert found["b.png"].boxes.shape == (0, 4)


def coco(**changes):
    content = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "RBC"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
    }
    return json.dumps(content | changes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no JSON"),
        ("[]", "no mapping"),
        ("[" * 100_000, "no JSON"),
        ('{"images": 1}', "no list"),
        (coco(annotations=[1]), "no list of mappings"),
        (coco(images=[{"id": 1, "file_name": "../../etc/passwd"}]), "etc/passwd"),
        (coco(images=[{"id": 1, "file_name": "/etc/passwd"}]), "etc/passwd"),
        (coco(images=[{"id": 1, "file_name": "..\\a.png"}]), "a file name"),
        (coco(images=[{"id": 1, "file_name": ".."}]), "a file name"),
        (coco(images=[{"id": 1, "file_name": "a\0.png"}]), "a file name"),
        (coco(images=[{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}]), "twice"),
        (coco(images=[{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "a.png"}]), "a file twice"),
        (coco(images=[{"id": "1", "file_name": "a.png"}]), "whole number"),
        (coco(images=[{"id": 1, "file_name": "a.png", "width": -4}]), "height and width"),
        (coco(categories=[{"id": 1, "name": "RBC"}, {"id": 2, "name": "RBC"}]), "a name twice"),
        (coco(annotations=[{"image_id": 9, "category_id": 1, "bbox": [1, 2, 3, 4]}]), "image_id 9"),
        (coco(annotations=[{"image_id": 1, "category_id": 9, "bbox": [1, 2, 3, 4]}]), "category_id 9"),
        (coco(annotations=[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3]}]), "bbox"),
        (coco(annotations=[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, "4"]}]), "bbox"),
        (coco(annotations=[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, float("nan")]}]), "NaN"),
        (coco(annotations=[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}]).replace("4]", "1e999]"), "bbox"),
        (coco(annotations=[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 10**400]}]), "bbox"),
        (coco(annotations=[{"image_id": [1], "category_id": 1, "bbox": [1, 2, 3, 4]}]), "image_id"),
    ],
)
def test_a_coco_file_that_cannot_be_is_refused(tmp_path, text, said):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ReadError, match=said):
        read_coco(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 0.5 0.5 0.1", "4 numbers"),
        ("0 0.5 0.5 0.1 0.1 0.9", "6 numbers"),
        ("2 0.5 0.5 0.1 0.1", "from 0 to 1"),
        ("-1 0.5 0.5 0.1 0.1", "from 0 to 1"),
        ("99999999999999999999 0.5 0.5 0.1 0.1", "from 0 to 1"),
        ("00000000099 0.5 0.5 0.1 0.1", "from 0 to 1"),
        ("0 nan 0.5 0.1 0.1", "share"),
        ("0 inf 0.5 0.1 0.1", "share"),
        ("0 120 80 30 30", "Divide pixels"),
        ("0 a b c d", "share"),
    ],
)
def test_a_yolo_line_that_cannot_be_is_refused(tmp_path, line, said):
    (tmp_path / "a.txt").write_text(f"1 0.5 0.5 0.2 0.2\n{line}\n")
    with pytest.raises(ReadError, match=said) as caught:
        read_yolo(tmp_path / "a.txt", CLASSES, (10, 10))
    assert "line 2" in str(caught.value)


def test_a_yolo_file_of_bytes_and_a_large_one_are_refused(tmp_path):
    for content, said in ((b"\xff\xfe\x00", "no UTF-8"), (b" " * 5_000_000, "at most")):
        (tmp_path / "a.txt").write_bytes(content)
        with pytest.raises(ReadError, match=said):
            read_yolo(tmp_path / "a.txt", CLASSES, (10, 10))


@pytest.mark.parametrize(
    "text", ["", "names: 3", "names: []", "names: {0: a, 2: b}", "names: [1, 2]", "- a", "a: [", "names: {a: b}"]
)
def test_a_data_yaml_without_names_is_refused(tmp_path, text):
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(ReadError, match=r"names|YAML"):
        read_names(tmp_path / "data.yaml")
    (tmp_path / "data.yaml").write_text("names: [WBC, RBC]")
    assert read_names(tmp_path / "data.yaml") == ("WBC", "RBC")


def test_the_card_says_where_the_names_of_yolo_are(tmp_path):
    toy_image_files(tmp_path / "raw")
    images = {"folder": "images", "annotations": "annotations", "format": "yolo"}
    with pytest.raises(ConfigError, match=r"data\.yaml of format yolo"):
        write_card(tmp_path / "cards", tmp_path / "raw", task="detection", classes=CLASSES, images=images)


def test_a_coco_file_that_is_missing_stops_with_its_name(tmp_path):
    source = write(tmp_path / "raw", "coco", boxes()) | {"annotations": "other.json"}
    card = write_card(tmp_path / "cards", tmp_path / "raw", task="detection", classes=CLASSES, images=source)
    with pytest.raises(DataError, match=r"other\.json"):
        prepare_images(Path(tmp_path / "raw"), card, detection_recipe(), tmp_path / "out")
