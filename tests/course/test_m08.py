"""Checks of lesson 8: right answers pass, and each misconception meets the expectation that names it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ai4diag.course.checking import examine
from ai4diag.course.lessons import m08
from ai4diag.course.lessons.m08.counts import PREDICTIONS
from ai4diag.evaluation.boxes import iou_matrix
from ai4diag.evaluation.boxes import nms as library_nms
from ai4diag.evaluation.detection import DetectionCases
from ai4diag.evaluation.froc import Froc
from tests.conftest import ROOT

CONVERT, PIXELS, IOU, NMS, FROC, MISSING, _ = m08.EXERCISES
SEEDS = (0, 1, 7)


def unmet(exercise, names, seed=0, root=ROOT):
    """Return the names of what is not met."""
    return [item.name for item in examine(exercise, names, root, seed) if not item.met]


def from_yolo(box, rows, columns):
    x, y, width, height = np.array(box) * [columns, rows, columns, rows]
    return [y - height / 2, x - width / 2, y + height / 2, x + width / 2]


FORMATS = {
    "from_voc": lambda box: [box[1], box[0], box[3], box[2]],
    "from_yolo": from_yolo,
    "to_coco": lambda box: [box[1], box[0], box[3] - box[1], box[2] - box[0]],
}


@pytest.mark.parametrize("seed", SEEDS)
def test_formats_are_converted(seed):
    assert unmet(CONVERT, FORMATS, seed) == []


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"from_voc": lambda box: box}, "from Pascal VOC: rows come first, nothing is added"),
        (
            {"from_voc": lambda box: [box[1], box[0], box[3] + 1, box[2] + 1]},
            "from Pascal VOC: rows come first, nothing is added",
        ),
        (
            {"from_yolo": lambda box, rows, columns: from_yolo(box, columns, rows)},
            "from YOLO: rows are shares of the height, columns of the width",
        ),
        (
            {"from_yolo": lambda box, rows, columns: [box[1] * rows, *from_yolo(box, rows, columns)[1:]]},
            "from YOLO: the first number is the upper edge, in pixels",
        ),
        (
            {"to_coco": lambda box: [box[1], box[0], box[3] - box[1] + 1, box[2] - box[0] + 1]},
            "to COCO: then width and height, each max - min, without + 1",
        ),
        (
            {"to_coco": lambda box: [box[0], box[1], box[3] - box[1], box[2] - box[0]]},
            "to COCO: the corner is x (column), then y (row)",
        ),
    ],
)
def test_other_conventions_are_named(wrong, expected):
    assert expected in unmet(CONVERT, FORMATS | wrong)


def to_original(boxes, packed, original):
    return boxes * np.tile(np.divide(original, packed), 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_original_pixels(seed):
    assert unmet(PIXELS, {"to_original": to_original}, seed) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_one_scale_and_the_other_way_round_are_named(seed):
    one = unmet(PIXELS, {"to_original": lambda boxes, packed, original: boxes * (original[0] / packed[0])}, seed)
    assert "columns are scaled by the width" in one
    assert "rows are scaled by the height" not in one
    back = unmet(PIXELS, {"to_original": lambda boxes, packed, original: to_original(boxes, original, packed)}, seed)
    assert "the box around the whole packed picture becomes that around the original" in back
    rounded = {"to_original": lambda *given: np.round(to_original(*given))}
    assert "rows are scaled by the height" in unmet(PIXELS, rounded, seed)


def iou(a, b):
    return iou_matrix([a], [b])[0, 0]


@pytest.mark.parametrize("seed", range(12))
def test_overlap_as_the_library_has_it_is_that_of_counted_pixels(seed):
    assert unmet(IOU, {"iou": iou}, seed) == []


def wrong_iou(a, b, extra=0, clamp=True):
    height = min(a[2], b[2]) - max(a[0], b[0]) + extra
    width = min(a[3], b[3]) - max(a[1], b[1]) + extra
    shared = max(0, height) * max(0, width) if clamp else max(0, height * width)
    area = [(box[2] - box[0] + extra) * (box[3] - box[1] + extra) for box in (a, b)]
    union = sum(area) - shared
    return shared / union if union else 0.0


@pytest.mark.parametrize("seed", SEEDS)
def test_misconceptions_of_overlap_are_named(seed):
    plus_one = unmet(IOU, {"iou": lambda a, b: wrong_iou(a, b, extra=1)}, seed)
    assert "boxes that only touch share nothing: edges are continuous, no + 1" in plus_one
    assert unmet(IOU, {"iou": lambda a, b: wrong_iou(a, b, clamp=False)}, seed) == [
        "boxes apart along both axes share nothing (two negatives are no area)"
    ]

    def over_smaller(a, b):
        area = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
        shared = iou(a, b) * sum(area) / (1 + iou(a, b))
        return shared / min(area) if min(area) else 0.0

    assert "a box inside another: its share of the larger one" in unmet(IOU, {"iou": over_smaller}, seed)


@pytest.mark.parametrize("seed", range(12))
def test_suppression_as_the_library_does_it_passes(seed):
    names = {"nms": lambda boxes, scores, limit: library_nms(boxes, scores, limit).tolist()}
    assert unmet(NMS, names, seed) == []


def against_all(boxes, scores, limit):
    order = np.argsort(-scores)
    return [
        int(row)
        for place, row in enumerate(order)
        if all(iou(boxes[row], boxes[other]) <= limit for other in order[:place])
    ]


def test_misconceptions_of_suppression_are_named():
    assert "a dropped box drops no other: of a chain both ends stay" in unmet(NMS, {"nms": against_all})
    unsorted = {"nms": lambda boxes, scores, limit: sorted(library_nms(boxes, scores, limit).tolist())}
    assert unmet(NMS, unsorted) == ["the best box comes first, and so on"]
    worst_first = {"nms": lambda boxes, scores, limit: library_nms(boxes, -scores, limit).tolist()}
    assert "of two boxes of one cell the better one stays" in unmet(NMS, worst_first)
    strict = {"nms": lambda boxes, scores, limit: library_nms(boxes, scores, limit - 1e-9).tolist()}
    assert unmet(NMS, strict) == ["a box that overlaps by exactly the limit stays"]


def by_the_library(scores, found, n_truth, n_images, rate):
    """Lay the detections out as boxes, one cell beside the other, and ask the library."""
    cells = [[0, 10 * number, 5, 10 * number + 5] for number in range(n_truth)]
    hits = np.cumsum(found) - 1
    boxes = [cells[hit] if is_hit else [50, 0, 55, 5] for is_hit, hit in zip(found, hits, strict=True)]
    empty = [[]] * (n_images - 1)
    cases = DetectionCases.from_lists(
        [cells, *empty],
        [[0] * n_truth, *empty],
        None,
        [boxes, *empty],
        [[0] * len(boxes), *empty],
        [scores, *empty],
        1,
    )
    return Froc(cases).sensitivities(at=np.array([rate]))[0]


@pytest.mark.parametrize("seed", range(12))
def test_the_librarys_froc_passes(seed):
    assert unmet(FROC, {"sensitivity_at": by_the_library}, seed) == []


def sensitivity_at(scores, found, n_truth, n_images, rate, order=lambda scores: np.argsort(-scores)):
    chosen = order(scores)
    hits, false = np.cumsum(found[chosen]), np.cumsum(~found[chosen])
    allowed = hits[false <= rate * n_images]
    return allowed.max() / n_truth if len(allowed) else 0.0


@pytest.mark.parametrize("seed", SEEDS)
def test_misconceptions_of_the_curve_are_named(seed):
    assert unmet(FROC, {"sensitivity_at": sensitivity_at}, seed) == []
    as_given = {"sensitivity_at": lambda *given: sensitivity_at(*given, order=lambda scores: np.arange(len(scores)))}
    assert "at 1 false alarm per image, over all images together" in unmet(FROC, as_given, seed)
    in_all = {"sensitivity_at": lambda s, f, n, images, rate: sensitivity_at(s, f, n, 1, rate)}
    assert "at 1 false alarm per image, over all images together" in unmet(FROC, in_all, seed)
    of_found = {"sensitivity_at": lambda s, f, n, images, rate: sensitivity_at(s, f, max(f.sum(), 1), images, rate)}
    assert "a model with fewer false alarms than allowed: all that it found, of all that there is" in unmet(
        FROC, of_found, seed
    )


@pytest.fixture
def place(tmp_path):
    """A workspace with predictions of four pictures, of which one lacks labels and one is empty."""
    path = tmp_path / PREDICTIONS
    path.parent.mkdir(parents=True)
    many, few = ([0] * 12, [0.5] * 12), ([0] * 4, [0.5] * 4)
    lines = [
        ("full", "test", [0] * 11, *many),
        ("unlabelled", "test", [1, 0], *many),
        ("sparse", "test", [0], *few),
        ("unsure", "test", [1], [0] * 12, [0.1] * 12),
        ("learned", "validation", [1], *many),
    ]
    pd.DataFrame(lines, columns=["case_id", "part", "truth_labels", "labels", "scores"]).to_parquet(path)
    return tmp_path


def recount(hits, n_truth, gone):
    seen = {hit for hit in hits if hit is not None} - set(gone)
    return {"found": len(seen), "false": len(hits) - len(seen), "missed": n_truth - len(gone) - len(seen)}


@pytest.mark.parametrize("seed", SEEDS)
def test_missing_labels(place, seed):
    assert unmet(MISSING, {"recount": recount, "suspects": ["unlabelled"]}, seed, place) == []


def test_misconceptions_of_missing_labels_are_named(place):
    right = {"recount": recount, "suspects": ["unlabelled"]}
    still_missed = {
        "recount": lambda hits, n, gone: {**recount(hits, n, gone), "missed": recount(hits, n, [])["missed"]}
    }
    assert "a cell without a label is not missed either" in unmet(MISSING, right | still_missed, 0, place)
    left_out = {"recount": lambda hits, n, gone: {**recount(hits, n, gone), "false": recount(hits, n, [])["false"]}}
    assert "a detection on such a cell counts as false" in unmet(MISSING, right | left_out, 0, place)
    truthy = {"recount": lambda hits, n, gone: recount([hit or None for hit in hits], n, gone)}
    assert all("with all labels nothing changes" in unmet(MISSING, right | truthy, seed, place) for seed in SEEDS)
    assert unmet(MISSING, right | {"suspects": ["unlabelled", "sparse"]}, 0, place) == ["no other picture is"]
    assert unmet(MISSING, right | {"suspects": []}, 0, place) == ["every suspicious picture is named"]
