"""Average precision, FROC and suppression of boxes in volumes, against slow computations of their definitions."""

import numpy as np
import pytest

from ai4diag.evaluation.boxes import iou_matrix, nms
from ai4diag.evaluation.detection import IOUS, DetectionCases, average_precision, match, mean_average_precision
from ai4diag.evaluation.froc import FALSE_PER_IMAGE, Froc


def volumes(seed, images=8, classes=2):
    """Truth and detections of some volumes with slabs: boxes that are long in one axis and short in another."""
    generator = np.random.default_rng(seed)
    parts = {name: [] for name in ("truth_boxes", "truth_labels", "boxes", "labels", "scores")}
    for _ in range(images):
        count = int(generator.integers(0, 5))
        low = generator.uniform(0, 40, (count, 3))
        truth = np.hstack([low, low + generator.uniform(2, 20, (count, 3))])
        labels = generator.integers(0, classes, count)
        near = truth.repeat(2, axis=0) + generator.normal(scale=1.2, size=(2 * count, 6))
        low = generator.uniform(0, 40, (3, 3))
        boxes = np.vstack([near, np.hstack([low, low + 6])])
        boxes[:, 3:] = np.maximum(boxes[:, 3:], boxes[:, :3] + 0.5)
        parts["truth_boxes"].append(truth)
        parts["truth_labels"].append(labels)
        parts["boxes"].append(boxes)
        parts["labels"].append(np.concatenate([labels.repeat(2), generator.integers(0, classes, 3)]))
        parts["scores"].append(generator.permutation(len(boxes)) / 100 + generator.random() / 1000)
    return parts


def cases(parts, classes=2):
    return DetectionCases.from_lists(
        parts["truth_boxes"],
        parts["truth_labels"],
        None,
        parts["boxes"],
        parts["labels"],
        parts["scores"],
        classes,
        dimensions=3,
    )


def overlap_of(a, b):
    """Intersection over union by counting points of a fine grid would be slow; three intervals are as plain."""
    shared = 1.0
    for axis in range(3):
        shared *= max(0.0, min(a[axis + 3], b[axis + 3]) - max(a[axis], b[axis]))
    size_a = (a[3] - a[0]) * (a[4] - a[1]) * (a[5] - a[2])
    size_b = (b[3] - b[0]) * (b[4] - b[1]) * (b[5] - b[2])
    return shared / (size_a + size_b - shared)


def slow_precision(parts, label, iou):
    """COCO's average precision, one detection after the other, straight from its definition."""
    lines, total = [], 0
    for number, truth in enumerate(parts["truth_boxes"]):
        own = [box for box, name in zip(truth, parts["truth_labels"][number], strict=True) if name == label]
        total += len(own)
        taken = set()
        found = zip(parts["boxes"][number], parts["labels"][number], parts["scores"][number], strict=True)
        for box, name, score in sorted(found, key=lambda item: -item[2]):
            if name != label:
                continue
            free = [(overlap_of(box, other), place) for place, other in enumerate(own) if place not in taken]
            best, place = max(free, default=(0.0, -1))
            hit = best >= iou
            taken |= {place} if hit else set()
            lines.append((score, hit))
    lines.sort(key=lambda item: -item[0])
    points, hits = [], 0
    for seen, (_, hit) in enumerate(lines, start=1):
        hits += hit
        points.append((hits / total, hits / seen))
    levels = [max((p for r, p in points if r >= level), default=0.0) for level in np.linspace(0, 1, 101)]
    return float(np.mean(levels))


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("compiled", [False, True])
def test_average_precision_of_volumes_equals_its_definition(seed, compiled):
    parts = volumes(seed)
    found = average_precision(match(cases(parts), compiled=compiled), compiled=compiled)
    for label in range(2):
        for column in (0, 1, 6):
            assert found[label, column] == pytest.approx(slow_precision(parts, label, IOUS[column]), abs=1e-12)


def test_a_shift_along_the_third_axis_alone_is_seen():
    parts = volumes(4)
    parts["boxes"], parts["labels"] = parts["truth_boxes"], parts["truth_labels"]
    parts["scores"] = [np.full(len(boxes), 0.5) for boxes in parts["boxes"]]
    assert mean_average_precision(cases(parts))["map_50_95"] == pytest.approx(1)
    moved = {**parts, "boxes": [np.add(boxes, (0, 0, 30, 0, 0, 30)) for boxes in parts["truth_boxes"]]}
    assert mean_average_precision(cases(moved))["map_10"] < 0.1


def test_boxes_in_image_order_fail_in_volumes():
    parts = volumes(5)
    swapped = [boxes[:, [2, 1, 0, 5, 4, 3]] for boxes in parts["truth_boxes"]]
    scores = [np.full(len(boxes), 0.5) for boxes in swapped]
    found = cases({**parts, "boxes": swapped, "labels": parts["truth_labels"], "scores": scores})
    assert mean_average_precision(found)["map_50"] < 0.1


@pytest.mark.parametrize("compiled", [False, True])
def test_froc_counts_false_marks_per_scan(compiled):
    """Three scans, two with one nodule each: scores and hits by hand.

    Best first: 0.9 hits scan 0; 0.8 is false in scan 2; 0.7 hits scan 1; 0.6 is false in scan 0; 0.5 hits scan 0 again,
    which counts neither way. Sensitivity is 1/2 from the start, 1 from one false mark in three scans on.
    """
    nodule, far = [10, 10, 10, 16, 16, 14], [40, 40, 40, 45, 45, 44]
    found = DetectionCases.from_lists(
        [[nodule], [nodule], []],
        [[0], [0], []],
        None,
        [[nodule, far, nodule], [nodule], [far]],
        [[0, 0, 0], [0], [0]],
        [[0.9, 0.6, 0.5], [0.7], [0.8]],
        1,
        dimensions=3,
    )
    froc = Froc(found)
    false, sensitivity = froc.curve()
    np.testing.assert_allclose(false, [0, 0, 1 / 3, 1 / 3, 2 / 3])
    np.testing.assert_allclose(sensitivity, [0, 0.5, 0.5, 1, 1])
    expected = [0.5 if limit < 1 / 3 else 1 for limit in FALSE_PER_IMAGE]
    np.testing.assert_allclose(froc.sensitivities(compiled=compiled), expected)


def test_a_mark_hits_from_an_overlap_of_a_tenth_on():
    nodule = np.array([0.0, 0, 0, 10, 10, 10])
    for shift, hit in ((8.1, 1.0), (8.3, 0.0)):  # (10 - s) / (10 + s) is 0.105 and 0.093
        mark = np.add(nodule, (0, 0, shift, 0, 0, shift))
        one = DetectionCases.from_lists([[nodule]], [[0]], None, [[mark]], [[0]], [[0.5]], 1, dimensions=3)
        assert Froc(one).sensitivities()[-1] == hit


@pytest.mark.parametrize("seed", [1, 2])
def test_suppression_in_volumes_equals_monai(seed):
    torch = pytest.importorskip("torch")
    from monai.data.box_utils import non_max_suppression

    generator = np.random.default_rng(seed)
    low = generator.uniform(0, 30, (300, 3))
    boxes = np.hstack([low, low + generator.uniform(3, 12, (300, 3))])
    scores = generator.random(300)
    expected = non_max_suppression(torch.from_numpy(boxes), torch.from_numpy(scores), 0.22).tolist()
    for compiled in (False, True):
        assert nms(boxes, scores, 0.22, compiled=compiled).tolist() == expected
    kept = boxes[expected]
    assert (iou_matrix(kept, kept) - np.eye(len(kept))).max() <= 0.22
