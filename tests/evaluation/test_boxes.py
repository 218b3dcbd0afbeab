"""Overlap and non-maximum suppression against hand-computed values, pycocotools and each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask

from ai4diag.errors import DataError
from ai4diag.evaluation import kernels
from ai4diag.evaluation.boxes import as_boxes, iou_matrix, nms


def random_boxes(rng, n, dimensions=2, size=100):
    low = rng.uniform(0, size, (n, dimensions))
    return np.hstack([low, low + rng.uniform(1, size / 3, (n, dimensions))])


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 0, 2, 2], [0, 0, 2, 2], 1),
        ([0, 0, 2, 2], [0, 2, 2, 4], 0),  # they touch
        ([0, 0, 2, 2], [5, 5, 6, 6], 0),
        ([0, 0, 4, 4], [1, 1, 3, 3], 4 / 16),
        ([0, 0, 2, 4], [1, 2, 3, 6], 2 / 14),
        ([1, 1, 1, 1], [0, 0, 2, 2], 0),  # no size
        ([0, 0, 0, 2, 2, 2], [1, 1, 1, 3, 3, 3], 1 / 15),
    ],
)
def test_iou_by_hand(a, b, expected):
    assert iou_matrix([a], [b])[0, 0] == pytest.approx(expected)
    assert iou_matrix([b], [a])[0, 0] == pytest.approx(expected)


def test_iou_equals_pycocotools_with_crowds():
    rng = np.random.default_rng(0)
    a, b = random_boxes(rng, 40), random_boxes(rng, 30)
    crowd = rng.random(30) < 0.3
    xywh = [np.column_stack([x[:, 1], x[:, 0], x[:, 3] - x[:, 1], x[:, 2] - x[:, 0]]) for x in (a, b)]
    expected = mask.iou(*xywh, crowd.astype(np.uint8))
    np.testing.assert_allclose(iou_matrix(a, b, crowd), expected, atol=1e-12)
    np.testing.assert_allclose(kernels.iou_matrix(a, b, crowd), expected, atol=1e-12)


def test_iou_without_boxes_keeps_its_shape():
    assert iou_matrix([], [[0, 0, 1, 1]]).shape == (0, 1)
    assert iou_matrix(np.zeros((3, 6)), np.zeros((0, 6))).shape == (3, 0)


@pytest.mark.parametrize("compiled", [False, True])
def test_nms_by_hand(compiled):
    boxes = [[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 5], [30, 30, 40, 40]]
    scores = [0.9, 0.8, 0.7, 0.95]
    assert nms(boxes, scores, 0.5, compiled=compiled).tolist() == [3, 0, 2]  # IoU 0.5 is not above 0.5
    assert nms(boxes, scores, 0.49, compiled=compiled).tolist() == [3, 0]
    assert nms(boxes, scores, 0.5, labels=[0, 1, 1, 0], compiled=compiled).tolist() == [3, 0, 1]
    assert nms(boxes, [0.5] * 4, 0.5, compiled=compiled).tolist() == [0, 2, 3]  # equal scores: lower row first
    assert nms([], [], 0.5, compiled=compiled).tolist() == []


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3]), st.floats(0.05, 0.95))
@settings(max_examples=30, deadline=None)
def test_nms_keeps_a_set_that_neither_overlaps_nor_can_grow(seed, dimensions, threshold):
    rng = np.random.default_rng(seed)
    boxes, scores, labels = random_boxes(rng, 60, dimensions), rng.integers(0, 9, 60) / 9, rng.integers(0, 2, 60)
    kept = nms(boxes, scores, threshold, labels, compiled=False)
    assert kept.tolist() == nms(boxes, scores, threshold, labels, compiled=True).tolist()
    clash = (iou_matrix(boxes, boxes) > threshold) & (labels[:, None] == labels[None, :])
    assert not np.triu(clash[np.ix_(kept, kept)], 1).any()
    better = scores[kept][None, :] >= scores[:, None]
    dropped = np.setdiff1d(np.arange(60), kept)
    assert (clash[:, kept] & better)[dropped].any(axis=1).all()


@pytest.mark.parametrize(
    "wrong", [[1.0, 2.0, 3.0], [[3, 0, 2, 5]], [[0, 0, np.nan, 1]], [[0, 0, 1]], [[0, 0, 1, np.inf]]]
)
def test_what_is_not_a_box_is_refused(wrong):
    with pytest.raises(DataError):
        as_boxes(wrong)


def test_flattened_boxes_get_their_shape():
    assert as_boxes([0, 1, 2, 3, 4, 5, 6, 7]).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert as_boxes([0, 1, 2, 3, 4, 5], 3).shape == (1, 6)
    assert as_boxes([], 3).shape == (0, 6)
