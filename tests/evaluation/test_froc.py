"""FROC against a threshold-by-threshold count written the long way, hand-computed cases, and replication."""

from __future__ import annotations

import numpy as np
import pytest

from ai4diag.evaluation.boxes import iou_matrix
from ai4diag.evaluation.detection import DetectionCases
from ai4diag.evaluation.froc import FALSE_PER_IMAGE, Froc, of_class
from tests.evaluation.test_detection import random_images

BOX = [[0.0, 0.0, 10.0, 10.0]]
FAR = [[50.0, 50.0, 60.0, 60.0]]


def counted(images, n_classes, at=FALSE_PER_IMAGE, iou=0.1):
    """Sensitivity at each rate, by counting found lesions and false detections at every threshold."""
    truth, truth_labels, truth_ignore, boxes, labels, scores = images
    lesions, false = [], []
    for image in range(len(truth)):
        for label in range(n_classes):
            own = np.flatnonzero(np.asarray(labels[image]) == label)
            its = np.flatnonzero(np.asarray(truth_labels[image]) == label)
            best = {g: -np.inf for g in its if not truth_ignore[image][g]}
            for d in own:
                overlap = {
                    g: iou_matrix([boxes[image][d]], [truth[image][g]], [truth_ignore[image][g]])[0, 0] for g in its
                }
                real = {g: value for g, value in overlap.items() if g in best and value >= iou}
                if real:
                    winner = max(real, key=real.get)
                    best[winner] = max(best[winner], scores[image][d])
                elif not any(value >= iou for g, value in overlap.items() if g not in best):
                    false.append(scores[image][d])
            lesions += list(best.values())
    lesions, false = np.array(lesions), np.array(false)
    thresholds = sorted({*lesions[np.isfinite(lesions)], *false}, reverse=True)
    rates = [0.0] + [(false >= t).sum() / len(truth) for t in thresholds]
    found = [0.0] + [(lesions >= t).sum() / len(lesions) for t in thresholds]
    return np.interp(at, rates, found)


@pytest.mark.parametrize("options", [{}, {"ties": True}, {"ignore": 0.3, "ties": True}, {"extra": 40}, {"most": 2}])
def test_sensitivities_equal_counting_at_every_threshold(options):
    for seed in range(3):
        images = random_images(seed, **options)
        froc = Froc(DetectionCases.from_lists(*images, n_classes=3))
        for compiled in (False, True):
            np.testing.assert_allclose(froc.sensitivities(compiled=compiled), counted(images, 3), atol=1e-12)


def test_everything_found_with_one_lesion_at_the_lowest_score():
    # Lesions at 0.9 and 0.1, false detection at 0.5, two images: half found at 0 false per image, all at 0.5.
    cases = DetectionCases.from_lists(
        [BOX, BOX], [[0], [0]], None, [BOX, BOX + FAR], [[0], [0, 0]], [[0.9], [0.1, 0.5]], n_classes=1
    )
    false, sensitivity = Froc(cases).curve()
    assert false.tolist() == [0, 0, 0.5, 0.5]
    assert sensitivity.tolist() == [0, 0.5, 0.5, 1]
    assert Froc(cases).sensitivities().tolist() == [0.5, 0.5, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("boxes", "scores", "expected"),
    [
        ([], [], 0.0),  # nothing detected
        (FAR, [0.9], 0.0),  # nothing found
        (BOX, [0.9], 1.0),  # found, no false detection
        (BOX + BOX + BOX, [0.9, 0.8, 0.7], 1.0),  # further hits of the same lesion are not false
    ],
)
def test_degenerate_cases(boxes, scores, expected, compiled):
    cases = DetectionCases.from_lists([BOX], [[0]], None, [boxes], [[0] * len(scores)], [scores], n_classes=1)
    assert Froc(cases).sensitivities(compiled=compiled).tolist() == [expected] * 7


def test_a_tie_of_a_hit_and_a_false_detection_is_one_step():
    cases = DetectionCases.from_lists([BOX], [[0]], None, [BOX + FAR], [[0, 0]], [[0.5, 0.5]], n_classes=1)
    false, sensitivity = Froc(cases).curve()
    assert false.tolist() == [0, 1]
    assert sensitivity.tolist() == [0, 1]
    assert Froc(cases).sensitivities()[:4].tolist() == [0.125, 0.25, 0.5, 1]


def test_no_lesion_is_undefined_even_with_detections():
    cases = DetectionCases.from_lists([[]], [[]], None, [BOX], [[0]], [[0.5]], n_classes=1)
    assert np.isnan(Froc(cases).sensitivities(compiled=False)).all()
    assert np.isnan(Froc(cases).sensitivities(compiled=True)).all()
    ignored = DetectionCases.from_lists([BOX], [[0]], [[True]], [BOX], [[0]], [[0.5]], n_classes=1)
    assert np.isnan(Froc(ignored).sensitivities()).all()


def test_detections_in_a_region_to_ignore_are_not_false():
    truth = [*BOX, [40.0, 40.0, 80.0, 80.0]]
    boxes = [[50.0, 50.0, 60.0, 60.0], [0.0, 0.0, 10.0, 10.0]]
    cases = DetectionCases.from_lists([truth], [[0, 0]], [[False, True]], [boxes], [[0, 0]], [[0.9, 0.5]], n_classes=1)
    assert Froc(cases).curve()[0].max() == 0
    assert Froc(cases).sensitivities().tolist() == [1] * 7


def test_weights_equal_replication_of_images():
    rng = np.random.default_rng(1)
    images = random_images(4, ignore=0.2, ties=True)
    froc = Froc(DetectionCases.from_lists(*images, n_classes=3))
    weights = rng.multinomial(12, np.full(12, 1 / 12), size=10)
    np.testing.assert_allclose(
        froc.sensitivities(weights, compiled=True), froc.sensitivities(weights, compiled=False), atol=1e-12
    )
    for row, values in zip(weights, froc.sensitivities(weights), strict=True):
        drawn = np.repeat(np.arange(12), row)
        copied = [[column[i] for i in drawn] for column in images]
        np.testing.assert_allclose(values, counted(copied, 3), atol=1e-12)


def test_one_class_alone():
    images = random_images(6)
    only = [[np.asarray(values)[np.asarray(labels) == 2] for values, labels in zip(column, images[k], strict=True)]
            for column, k in zip(images, (1, 1, 1, 4, 4, 4), strict=True)]  # fmt: skip
    cases = of_class(DetectionCases.from_lists(*images, n_classes=3), 2)
    np.testing.assert_allclose(Froc(cases).sensitivities(), counted(only, 3), atol=1e-12)
