"""Pairs of truth and detections against hand-made images and the counts of the COCO matching; boxes in pictures."""

from __future__ import annotations

import base64
import io
import itertools
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from ai4diag.config.plan import Evaluate
from ai4diag.evaluation.evaluate import evaluate
from ai4diag.evaluation.pairing import confusion, pair
from ai4diag.evaluation.report.box_planes import scan_picture
from ai4diag.evaluation.report.pictures import case_picture
from tests.evaluation.test_report import images

A, B, C, D = [0, 0, 10, 10], [0, 20, 10, 30], [40, 40, 50, 50], [70, 70, 80, 80]
NONE = np.zeros(0, np.int64)
CASE = {
    "case_id": "field-1",
    "truth_boxes": [A, B, C],
    "truth_labels": [0, 1, 0],
    "truth_ignore": [False, False, False],
    "boxes": [A, B, D],
    "labels": [0, 0, 1],
    "scores": [0.9, 0.8, 0.7],
}


def labels(*values):
    return np.array(values, np.int64)


def flags(*values):
    return np.array(values, bool)


def test_found_confused_missed_and_false():
    pairs = pair([A, B, C], labels(0, 1, 0), flags(0, 0, 0), [A, B, D], labels(0, 0, 1))
    assert pairs.found == ((0, 0),)
    assert pairs.confused == ((1, 1),)
    assert pairs.missed == (2,)
    assert pairs.false == (2,)


def test_second_detection_of_the_same_box_is_false():
    pairs = pair([A], labels(0), flags(0), [A, A], labels(0, 0))
    assert (pairs.found, pairs.false) == (((0, 0),), (1,))


def test_same_class_comes_before_another_class():
    pairs = pair([A], labels(0), flags(0), [A, [0, 0, 10, 9]], labels(1, 0))
    assert (pairs.found, pairs.confused, pairs.false) == (((0, 1),), (), (0,))


def test_region_to_ignore_swallows_detections_of_its_class_only():
    region = [0, 0, 30, 30]
    pairs = pair([region], labels(0), flags(1), [A, B], labels(0, 1))
    assert (pairs.found, pairs.missed, pairs.false) == ((), (), (1,))


@pytest.mark.parametrize("truth", [[], [A]])
@pytest.mark.parametrize("boxes", [[], [B]])
def test_nothing_to_pair(truth, boxes):
    pairs = pair(
        truth, NONE[:0] if not truth else labels(0), flags(*[0] * len(truth)), boxes, labels(*[0] * len(boxes))
    )
    assert (pairs.found, pairs.confused) == ((), ())
    assert (len(pairs.missed), len(pairs.false)) == (len(truth), len(boxes))


def test_confusion_of_one_image():
    matrix = confusion([A, B, C], labels(0, 1, 0), flags(0, 0, 0), [A, B, D], labels(0, 0, 1), n_classes=2)
    assert matrix.tolist() == [[1, 0, 1], [1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("seed", range(5))
def test_confusion_agrees_with_the_coco_matching(seed):
    plan = Evaluate.model_validate({"primary": "map_50", "interval": {"resamples": 100}})
    found = evaluate(images(30, seed), task="detection", classes=("RBC", "Platelets"), plan=plan)
    matrix = np.array(found.curves["confusion"])
    values = {item.name: item.value for item in found.estimates if item.subgroup == "all" and item.part == "test"}
    hits = np.trace(matrix)
    assert hits / matrix[:-1].sum() == pytest.approx(values["sensitivity"])
    assert hits / matrix[:, :-1].sum() == pytest.approx(values["ppv"])
    for case in (*found.curves["worst"], *found.curves["typical"]):
        own = confusion(
            case["truth_boxes"], *map(np.asarray, (case["truth_labels"], case["truth_ignore"])), case["boxes"],
            np.asarray(case["labels"]), n_classes=2,
        )  # fmt: skip
        assert np.trace(own) == case["found"]
        assert own[:-1].sum() - np.trace(own) == case["missed"]
        assert own[:, :-1].sum() - np.trace(own) == case["false"]


def test_typical_images_have_a_middling_number_of_errors():
    plan = Evaluate.model_validate({"primary": "map_50", "interval": {"resamples": 100}})
    curves = evaluate(images(60), task="detection", classes=("RBC", "Platelets"), plan=plan).curves
    worst, typical = ([case["false"] + case["missed"] for case in curves[name]] for name in ("worst", "typical"))
    assert len(typical) == 2
    assert max(typical) <= min(worst)
    assert not {case["case_id"] for case in curves["worst"]} & {case["case_id"] for case in curves["typical"]}


def test_boxes_stand_where_they_belong_in_a_resampled_picture():
    image = np.zeros((40, 90, 3), np.uint8)
    shown = case_picture(CASE, ("RBC", "WBC"), (image, (0.5, 0.75)), "k")
    page = ElementTree.fromstring(str(shown.svg))
    assert page.attrib["viewBox"] == "0 0 90 40"
    rects = [item.attrib for item in page.iter("rect") if not item.attrib["class"].startswith("case")]
    where = {(r["class"], *(float(r[name]) for name in ("x", "y", "width", "height"))) for r in rects}
    assert ("truth", 0, 0, 7.5, 5) in where
    assert ("predicted", 0, 0, 7.5, 5) in where
    assert ("truth wrong", 15, 0, 7.5, 5) in where  # B, called RBC: column 20 x 0.75
    assert ("truth wrong", 30, 20, 7.5, 5) in where  # C, missed
    assert ("predicted wrong", 52.5, 35, 7.5, 5) in where  # D, false
    assert {item.text for item in page.iter("text")} == {"missed RBC", "WBC called RBC", "false WBC 0.70"}
    assert shown.caption == "3 true boxes: 1 found, 1 missed, 1 of another class; 1 false alarm."


def test_picture_is_the_image():
    rows, columns = np.mgrid[0:64, 0:96]
    image = np.stack([rows * 3, columns * 2, np.full_like(rows, 128)], axis=-1).astype(np.uint8)
    svg = str(case_picture(CASE, ("RBC", "WBC"), (image, (1.0, 1.0)), "k").svg)
    data = base64.b64decode(re.search(r"base64,([^\"]+)", svg)[1])
    with Image.open(io.BytesIO(data)) as again:
        assert again.format == "JPEG"
        assert np.abs(np.asarray(again, int) - image).mean() < 3


def test_words_stay_inside_the_picture_and_apart():
    boxes = [[0, 80, 6, 90], [0, 82, 6, 92], [1, 84, 7, 94]]
    case = {**CASE, "truth_boxes": [], "truth_labels": [], "truth_ignore": [], "boxes": boxes, "labels": [0, 0, 0]}
    svg = ElementTree.fromstring(
        str(case_picture(case, ("RBC", "WBC"), (np.zeros((60, 96, 3), np.uint8), (1, 1)), "k").svg)
    )
    texts = [
        (float(t.attrib["x"]), float(t.attrib["y"]), float(t.attrib["font-size"]), t.text) for t in svg.iter("text")
    ]
    assert len(texts) == 3
    for x, y, size, text in texts:
        assert size <= y <= 60
        assert 0 <= x <= 96 - 0.5 * size * len(text)
    heights = sorted(y for _, y, _, _ in texts)
    assert all(b - a >= 0.9 * texts[0][2] for a, b in itertools.pairwise(heights))


def test_a_miss_and_a_false_detection_of_one_cell_are_one_box_that_is_off():
    image = np.zeros((90, 90, 3), np.uint8)
    case = {**CASE, "boxes": [[0, 0, 10, 4], B, D], "labels": [0, 1, 1]}  # the first overlaps A by 0.4
    shown = case_picture(case, ("RBC", "WBC"), (image, (1.0, 1.0)), "k")
    texts = {item.text for item in ElementTree.fromstring(str(shown.svg)).iter("text")}
    assert texts == {"RBC box off 0.90", "missed RBC", "false WBC 0.70"}
    assert shown.caption == "3 true boxes: 1 found, 2 missed, 0 of another class; 2 false alarms."


def test_words_at_the_lower_edge_stay_inside():
    boxes = [[54, 10, 60, 12], [54, 11, 60, 13], [54, 12, 60, 14]]
    case = {**CASE, "truth_boxes": [], "truth_labels": [], "truth_ignore": [], "boxes": boxes, "labels": [0, 0, 0]}
    shown = case_picture(case, ("RBC", "WBC"), (np.zeros((60, 96, 3), np.uint8), (1, 1)), "k")
    heights = sorted(float(t.attrib["y"]) for t in ElementTree.fromstring(str(shown.svg)).iter("text"))
    assert heights[-1] <= 60
    assert all(b - a >= 2.9 for a, b in itertools.pairwise(heights))  # letters are 3 high


def test_without_an_image_the_words_remain():
    shown = case_picture(CASE, ("RBC", "WBC"), None, "k")
    assert shown.svg is None
    assert shown.caption.startswith("3 true boxes")


def test_a_volume_is_cut_through_what_was_missed_and_boxes_stand_where_they_are():
    """By hand: 10 x 20 x 40 voxels, packed at half the resolution along the third axis, voxels of 1 x 2 x 3 mm.

    The missed box spans 2 to 4, 6 to 10 and 20 to 30 (packed 10 to 15). Seen from below, across the third axis, columns
    are the first axis backwards and rows the second: x = (10 - 4) x 1 = 6, y = (20 - 10) x 2 = 20, 2 wide, 8 high.
    """
    volume = np.zeros((10, 20, 20), np.uint8)
    volume[3, 8, 12] = 255
    case = {
        "case_id": "ct1",
        "truth_boxes": [[2, 6, 20, 4, 10, 30], [6, 1, 1, 9, 4, 5]],
        "truth_labels": [0, 0],
        "truth_ignore": [False, False],
        "boxes": [[6, 1, 1, 9, 4, 5]],
        "labels": [0],
        "scores": [0.9],
    }
    found = scan_picture(case, ["nodule"], (volume, (1.0, 1.0, 0.5), (1.0, 2.0, 3.0)), "k")
    assert found.caption == "2 true boxes: 1 found, 1 missed, 0 of another class; 0 false alarms."
    assert '<rect class="truth wrong" x="6.00" y="20.00" width="2.00" height="8.00"/>' in found.svg
    assert found.svg.count('class="truth wrong"') == 3  # all three planes cut it
    assert 'class="predicted"' not in found.svg  # none of them cuts the box that was found
    assert found.svg.count("<image") == 3
    assert scan_picture(case, ["nodule"], None, "k").svg is None
    empty = {**case, "truth_boxes": [], "truth_labels": [], "truth_ignore": [], "boxes": [], "labels": [], "scores": []}
    assert "<rect" not in scan_picture(empty, ["nodule"], (volume, (1.0, 1.0, 0.5), (1.0, 2.0, 3.0)), "k").svg
