"""Average precision against pycocotools, hand-computed tables and brute-force replication."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ai4diag.errors import DataError
from ai4diag.evaluation import detection
from ai4diag.evaluation.detection import DetectionCases, average_precision, match, mean_average_precision

TOLERANCE = 1e-9


def random_images(seed, n_images=12, n_classes=3, *, ties=False, ignore=0.0, most=15, extra=8, integer=True):
    """Truth and detections as lists per image: most truth boxes are found with a shift, some doubled, some missed."""
    rng = np.random.default_rng(seed)
    truth, truth_labels, truth_ignore, boxes, labels, scores = [], [], [], [], [], []
    for _ in range(n_images):
        n = int(rng.integers(0, most))
        low = rng.integers(0, 80, (n, 2))
        box = np.hstack([low, low + rng.integers(4, 30, (n, 2))]).astype(float)
        label = rng.integers(0, n_classes, n)
        near = np.repeat(np.arange(n), rng.integers(0, 3, n))
        found = box[near] + rng.integers(-3, 4, (len(near), 4))
        count = int(rng.integers(0, extra))
        low = rng.integers(0, 80, (count, 2))
        found = np.vstack([found, np.hstack([low, low + rng.integers(4, 30, (count, 2))])])
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        if not integer:
            found += rng.uniform(0, 0.5, found.shape)
        score = rng.uniform(0.01, 1, len(found))
        truth.append(box)
        truth_labels.append(label)
        truth_ignore.append(rng.random(n) < ignore)
        boxes.append(found)
        labels.append(np.concatenate([label[near], rng.integers(0, n_classes, count)]).astype(int))
        scores.append(np.round(score, 1) if ties else score)
    return truth, truth_labels, truth_ignore, boxes, labels, scores


def coco_precision(images, n_classes, ious, max_detections=100):
    """AP per class and threshold by pycocotools; -1 where a class has no truth."""
    truth, truth_labels, truth_ignore, boxes, labels, scores = images
    annotations, results = [], []
    for image in range(len(truth)):
        for box, label, ignore in zip(truth[image], truth_labels[image], truth_ignore[image], strict=True):
            height, width = box[2] - box[0], box[3] - box[1]
            annotations.append({"id": len(annotations) + 1, "image_id": image, "category_id": int(label),
                                "bbox": [box[1], box[0], width, height], "area": height * width,
                                "iscrowd": int(ignore)})  # fmt: skip
        for box, label, score in zip(boxes[image], labels[image], scores[image], strict=True):
            size = [box[1], box[0], box[3] - box[1], box[2] - box[0]]
            results.append({"image_id": image, "category_id": int(label), "bbox": size, "score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": [{"id": image} for image in range(len(truth))], "annotations": annotations,
                        "categories": [{"id": label} for label in range(n_classes)]}  # fmt: skip
        coco.createIndex()
        scorer = COCOeval(coco, coco.loadRes(results) if results else COCO(), "bbox")
        scorer.params.iouThrs = np.asarray(ious)
        scorer.params.maxDets = [max_detections]
        scorer.params.areaRng, scorer.params.areaRngLbl = [[0, 1e10]], ["all"]
        scorer.evaluate()
        scorer.accumulate()
    return scorer.eval["precision"][:, :, :, 0, 0].mean(axis=1).T


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ties": True},
        {"ignore": 0.3},
        {"ignore": 0.5, "ties": True},
        {"most": 3, "n_images": 30},
        {"extra": 60, "ties": True},
        {"integer": False},
    ],
)
def test_average_precision_equals_pycocotools(options, compiled):
    for seed in range(3):
        images = random_images(seed, **options)
        cases = DetectionCases.from_lists(*images, n_classes=3)
        found = average_precision(match(cases, compiled=compiled), compiled=compiled)
        expected = coco_precision(images, 3, detection.IOUS)
        np.testing.assert_allclose(np.nan_to_num(found, nan=-1), expected, atol=TOLERANCE)


@pytest.mark.parametrize("compiled", [False, True])
def test_limit_of_detections_is_per_image_and_class_as_in_pycocotools(compiled):
    images = random_images(5, extra=40)
    cases = DetectionCases.from_lists(*images, n_classes=3)
    found = average_precision(match(cases, max_detections=4, compiled=compiled))
    np.testing.assert_allclose(found, coco_precision(images, 3, detection.IOUS, max_detections=4), atol=TOLERANCE)
    assert not np.allclose(found, average_precision(match(cases)))


def test_class_without_truth_is_undefined_and_class_without_detections_scores_zero():
    truth, truth_labels, ignore, boxes, labels, scores = random_images(1)
    truth_labels = [np.where(item == 1, 0, item) for item in truth_labels]  # class 1: detections, no truth
    labels = [np.where(item == 2, 0, item) for item in labels]  # class 2: truth, no detections
    images = truth, truth_labels, ignore, boxes, labels, scores
    cases = DetectionCases.from_lists(*images, n_classes=3)
    found = average_precision(match(cases))
    assert np.isnan(found[1]).all()
    assert (found[2] == 0).all()
    expected = coco_precision(images, 3, detection.IOUS)
    np.testing.assert_allclose(np.nan_to_num(found, nan=-1), expected, atol=TOLERANCE)
    scores_of = mean_average_precision(cases)
    assert scores_of["map_50"] == pytest.approx(np.mean([expected[0, 1], expected[2, 1]]))
    assert scores_of["map_10"] == pytest.approx(np.mean([expected[0, 0], expected[2, 0]]))
    assert scores_of["map_50_95"] == pytest.approx(np.mean(expected[[0, 2], 1:]))


def test_a_class_with_only_ignored_truth_is_undefined():
    box = [[0, 0, 10, 10]]
    cases = DetectionCases.from_lists([box], [[0]], [[True]], [box], [[0]], [[0.9]], n_classes=1)
    assert np.isnan(average_precision(match(cases))).all()


@pytest.mark.parametrize("compiled", [False, True])
def test_no_images_with_anything(compiled):
    empty = [np.zeros((0, 4))] * 3
    nothing = [[]] * 3
    cases = DetectionCases.from_lists(empty, nothing, None, empty, nothing, nothing, n_classes=2)
    found = average_precision(match(cases, compiled=compiled), compiled=compiled)
    assert found.shape == (2, 11)
    assert np.isnan(found).all()
    assert np.isnan(mean_average_precision(cases)["map_50"])


def test_perfect_detections_score_one():
    truth, truth_labels, ignore, *_ = random_images(2)
    scores = [np.linspace(0.5, 0.9, len(item)) for item in truth]
    cases = DetectionCases.from_lists(truth, truth_labels, ignore, truth, truth_labels, scores, n_classes=3)
    assert mean_average_precision(cases) == {"map_50": 1.0, "map_50_95": 1.0, "map_10": 1.0}


def test_hand_computed_table():
    # Two truth boxes; by score: hit, miss, hit. Precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1.
    # Levels 0..0.50 (51 of them) take precision 1, levels 0.51..1 (50) take 2/3.
    truth = [[0, 0, 10, 10], [50, 50, 60, 60]]
    boxes = [[0, 0, 10, 10], [80, 80, 90, 90], [50, 50, 60, 60]]
    cases = DetectionCases.from_lists([truth], [[0, 0]], None, [boxes], [[0, 0, 0]], [[0.9, 0.8, 0.7]], n_classes=1)
    assert average_precision(match(cases))[0, 1] == pytest.approx((51 + 50 * 2 / 3) / 101)
    recall, precision = detection.precision_recall(match(cases)[0])
    assert precision[recall <= 0.5].tolist() == [1.0] * 51
    np.testing.assert_allclose(precision[recall > 0.5], 2 / 3)


def test_boxes_in_image_order_are_caught_by_a_non_square_case():
    truth, swapped = [[0, 0, 10, 40]], [[0, 0, 40, 10]]
    cases = DetectionCases.from_lists([truth], [[0]], None, [swapped], [[0]], [[0.9]], n_classes=1)
    assert mean_average_precision(cases)["map_50"] == 0


def test_three_dimensional_boxes():
    truth = [[0, 0, 0, 10, 10, 10]]
    boxes = [[0, 0, 0, 10, 10, 6]]  # IoU 0.6: counts at 0.5, 0.55 and 0.6
    cases = DetectionCases.from_lists([truth], [[0]], None, [boxes], [[0]], [[0.9]], n_classes=1, dimensions=3)
    for compiled in (False, True):
        found = average_precision(match(cases, compiled=compiled))[0]
        assert found.tolist() == [1.0] * 4 + [0.0] * 7


@pytest.mark.parametrize("compiled", [False, True])
def test_weights_equal_replication_of_images(compiled):
    rng = np.random.default_rng(3)
    images = random_images(4, ignore=0.2, integer=False)
    matches = match(DetectionCases.from_lists(*images, n_classes=3))
    weights = rng.multinomial(12, np.full(12, 1 / 12), size=20)
    found = average_precision(matches, weights, compiled=compiled)
    for row, values in zip(weights, found, strict=True):
        drawn = np.repeat(np.arange(12), row)
        copied = DetectionCases.from_lists(*([column[i] for i in drawn] for column in images), n_classes=3)
        np.testing.assert_allclose(values, average_precision(match(copied)), atol=1e-12)


def test_compiled_and_numpy_agree_with_ties_and_missing_classes():
    images = random_images(7, n_images=20, n_classes=5, most=4, ties=True, ignore=0.2)
    cases = DetectionCases.from_lists(*images, n_classes=5)
    slow, fast = match(cases, compiled=False), match(cases, compiled=True)
    for one, other in zip(slow, fast, strict=True):
        np.testing.assert_array_equal(one.outcome, other.outcome)
    weights = np.random.default_rng(0).multinomial(20, np.full(20, 0.05), size=50)
    np.testing.assert_allclose(
        average_precision(slow, weights, compiled=False), average_precision(slow, weights, compiled=True), atol=1e-12
    )


def test_resamples_that_lack_a_class_are_undefined_not_a_mean_of_the_others():
    box = [[0.0, 0.0, 10.0, 10.0]]
    cases = DetectionCases.from_lists([box, box], [[0], [1]], None, [box, box], [[0], [1]], [[0.9], [0.9]], n_classes=2)
    matches = match(cases)
    precisions = average_precision(matches, [[1, 1], [2, 0]])
    summary = detection.summarise(precisions, np.array([True, True]))
    assert summary["map_50"][0] == 1
    assert np.isnan(summary["map_50"][1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [[0, 1]]}, "1 boxes but 2"),
        ({"scores": [[np.nan]]}, "not a finite"),
        ({"labels": [[7]]}, "outside 0..1"),
        ({"boxes": [[[5.0, 5.0, 1.0, 1.0]]]}, "minimum above"),
    ],
)
def test_wrong_detections_are_refused(change, message):
    box = [[0.0, 0.0, 1.0, 1.0]]
    columns = {"truth_boxes": [box], "truth_labels": [[0]], "truth_ignore": None, "boxes": [box], "labels": [[0]],
               "scores": [[0.5]]}  # fmt: skip
    with pytest.raises(DataError, match=message):
        DetectionCases.from_lists(**{**columns, **change}, n_classes=2)


@pytest.mark.parametrize("compiled", [False, True])
def test_precision_at_some_thresholds_is_that_among_all(compiled):
    for seed in range(4):
        matches = match(DetectionCases.from_lists(*random_images(seed, ignore=0.3), n_classes=3))
        weights = np.random.default_rng(seed).integers(0, 3, (7, 12))
        whole = average_precision(matches, weights, compiled=compiled)
        for at in ([1], [0, 4], range(1, 11)):
            found = average_precision(matches, weights, at=at, compiled=compiled)
            np.testing.assert_array_equal(found[..., at], whole[..., at])
            assert np.isnan(np.delete(found, at, axis=-1)).all()


@pytest.mark.parametrize("weighing", ["drawn", "any"])
def test_numba_and_numpy_agree_on_precision_also_where_images_have_no_weight(weighing):
    for seed in range(20):
        matches = match(DetectionCases.from_lists(*random_images(seed, ties=seed % 2 > 0, ignore=0.2), n_classes=3))
        rng = np.random.default_rng(seed)
        weights = rng.integers(0, 3, (9, 12)) if weighing == "drawn" else rng.gamma(1, 1, (9, 12))
        weights = weights * (rng.random((9, 12)) < [0.2, 1][seed % 2])
        one, other = (average_precision(matches, weights, compiled=compiled) for compiled in (False, True))
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
