"""Confusion, Dice and IoU of label maps against scikit-learn, MONAI and counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from ai4diag.errors import DataError
from ai4diag.evaluation.overlap import confusion, dice, iou


def blocks(rng, n_classes, shape=(12, 16, 20)):
    """Label maps with runs of equal labels, as masks have them, and single voxels that differ."""
    runs = np.repeat(rng.integers(0, n_classes, np.prod(shape) // 16), 16).reshape(shape)
    noise = rng.random(shape) < 0.1
    return np.where(noise, rng.integers(0, n_classes, shape), runs)


@pytest.mark.parametrize("compiled", [False, True])
def test_confusion_and_ratios_by_hand(compiled):
    truth, predicted = np.array([[0, 0, 1], [1, 1, 2]]), np.array([[0, 1, 1], [1, 0, 0]])
    counts = confusion(truth, predicted, 4, compiled=compiled)
    assert counts.tolist() == [[1, 1, 0, 0], [1, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(dice(counts), [2 / 5, 4 / 6, 0, np.nan])
    np.testing.assert_allclose(iou(counts), [1 / 4, 2 / 4, 0, np.nan])


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 5, 16, 17, 40]), st.sampled_from(["u1", "i1", "i4", "i8"]))
@settings(max_examples=40, deadline=None)
def test_compiled_and_numpy_count_what_scikit_learn_counts(seed, n_classes, kind):
    rng = np.random.default_rng(seed)
    truth, predicted = (blocks(rng, n_classes).astype(kind).ravel()[: 3840 - seed % 9] for _ in range(2))
    expected = confusion_matrix(truth, predicted, labels=np.arange(n_classes))
    np.testing.assert_array_equal(confusion(truth, predicted, n_classes, compiled=True), expected)
    np.testing.assert_array_equal(confusion(truth, predicted, n_classes, compiled=False), expected)
    np.testing.assert_array_equal(confusion(truth, predicted.astype(np.int16), n_classes, compiled=True), expected)


def test_dice_and_iou_equal_monai():
    import torch
    from monai.metrics import compute_dice, compute_iou
    from monai.networks.utils import one_hot

    rng = np.random.default_rng(0)
    truth, predicted = blocks(rng, 4), blocks(rng, 4)
    predicted[predicted == 3] = 0
    hot = [one_hot(torch.from_numpy(labels)[None, None], 5) for labels in (predicted, truth)]
    counts = confusion(truth, predicted, 5)
    np.testing.assert_allclose(dice(counts), compute_dice(*hot)[0].numpy(), rtol=1e-6)
    np.testing.assert_allclose(iou(counts), compute_iou(*hot)[0].numpy(), rtol=1e-6)
    assert np.isnan(dice(counts)[4])
    assert dice(counts)[3] == 0


def test_many_cases_at_once():
    counts = np.stack([confusion([0, 1, 1], [0, 1, 0], 2), confusion([0, 0], [0, 0], 2)])
    np.testing.assert_allclose(dice(counts), [[2 / 3, 2 / 3], [1, np.nan]])


def test_views_that_are_not_contiguous():
    rng = np.random.default_rng(3)
    truth, predicted = blocks(rng, 3).astype(np.uint8), blocks(rng, 3).astype(np.uint8)
    straight = confusion(truth[::-1].copy(), predicted[::-1].copy(), 3, compiled=True)
    np.testing.assert_array_equal(confusion(truth[::-1], predicted[::-1], 3, compiled=True), straight)
    np.testing.assert_array_equal(confusion(truth.T, predicted.T, 3, compiled=True), straight)


@pytest.mark.parametrize("compiled", [False, True])
def test_nothing_to_count(compiled):
    counts = confusion([], [], 3, compiled=compiled)
    assert counts.tolist() == [[0] * 3] * 3
    assert np.isnan(dice(counts)).all()
    assert np.isnan(iou(counts)).all()


def test_bool_masks_are_two_classes():
    assert confusion([True, False, True], [True, True, True], 2).tolist() == [[0, 1], [0, 2]]


@pytest.mark.parametrize(
    ("truth", "predicted", "words"),
    [
        ([0, 3], [0, 1], "truth labels go from 0 to 3"),
        ([0, 1], [-1, 1], "predicted labels go from -1 to 1"),
        ([0, 1], [0.5, 1], "float64"),
        ([0, 1], [0, 1, 1], "shape"),
    ],
)
def test_what_are_no_labels_is_refused(truth, predicted, words):
    with pytest.raises(DataError, match=words):
        confusion(truth, predicted, 3)
