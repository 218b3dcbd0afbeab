"""Surface distances against hand-computed masks, scipy, MONAI, and DeepMind's own tool where both define the same."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ai4diag.errors import DataError
from ai4diag.evaluation.surface import surface_distances

SPACINGS = [(1.0, 1.0, 1.0), (3.0, 0.7, 0.8), (0.5, 2.5, 1.0)]


def blobs(rng, shape, shift=1.5):
    """Two smooth masks of several parts that mostly agree."""
    field = ndimage.gaussian_filter(rng.normal(size=shape), 2.5)
    other = (
        ndimage.shift(field, shift, order=1, mode="nearest") + ndimage.gaussian_filter(rng.normal(size=shape), 2) / 4
    )
    return field > np.quantile(field, 0.8), other > np.quantile(other, 0.8)


def by_scipy(truth, predicted, spacing):
    """The definition, by scipy's erosion and distance transform, on the whole image."""
    a, b = (mask & ~ndimage.binary_erosion(mask) for mask in (truth, predicted))
    to_a, to_b = (ndimage.distance_transform_edt(~edge, sampling=spacing) for edge in (a, b))
    return to_b[a], to_a[b]


@pytest.mark.parametrize("compiled", [False, True])
def test_two_squares_by_hand(compiled):
    truth, predicted = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    truth[2:5, 2:5], predicted[2:5, 4:7] = True, True  # two columns of 2 mm to the right
    found = surface_distances(truth, predicted, (1.0, 2.0), compiled=compiled)
    assert found.from_truth.tolist() == [4, 2, 0, 4, 0, 4, 2, 0]  # its centre is no surface; 0 is the shared column
    assert found.from_predicted.tolist() == [0, 2, 4, 0, 4, 0, 2, 4]
    assert found.hausdorff(100) == 4
    assert found.average() == pytest.approx(2)
    assert [found.dice(mm) for mm in (0, 1.9, 2, 4)] == pytest.approx([6 / 16, 6 / 16, 10 / 16, 1])


@pytest.mark.parametrize("compiled", [False, True])
def test_two_voxels_in_a_volume_are_as_far_apart_as_pythagoras_says(compiled):
    truth, predicted = np.zeros((8, 9, 10), bool), np.zeros((8, 9, 10), bool)
    truth[0, 0, 0], predicted[7, 8, 9] = True, True
    found = surface_distances(truth, predicted, (5.0, 0.5, 1.0), compiled=compiled)
    expected = math.sqrt(35**2 + 4**2 + 9**2)
    assert found.hausdorff() == found.average() == pytest.approx(expected)
    assert (found.dice(expected - 1e-6), found.dice(expected + 1e-6)) == (0, 1)


@pytest.mark.parametrize("compiled", [False, True])
def test_percentile_is_the_larger_of_the_two_directions(compiled):
    truth, predicted = np.zeros((3, 40), bool), np.zeros((3, 40), bool)
    truth[1, :20], predicted[1, :21] = True, True
    found = surface_distances(truth, predicted, (1.0, 1.0), compiled=compiled)
    assert found.hausdorff(100) == 1
    assert found.hausdorff(95) == 0  # 20 of 21 are 0; the 95th percentile is the 20th of them
    assert found.hausdorff(97.5) == pytest.approx(0.5)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_volumes_equal_scipy(spacing, compiled):
    truth, predicted = blobs(np.random.default_rng(1), (24, 30, 36))
    found = surface_distances(truth, predicted, spacing, compiled=compiled)
    expected = by_scipy(truth, predicted, spacing)
    np.testing.assert_allclose(found.from_truth, expected[0], atol=1e-9)
    np.testing.assert_allclose(found.from_predicted, expected[1], atol=1e-9)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(7, 9), (1, 12), (5, 6, 7), (1, 8, 9), (9, 1, 1), (6, 5, 1)]),
    st.floats(0.02, 0.9),
)
@settings(max_examples=60, deadline=None)
def test_any_masks_equal_scipy(seed, shape, share):
    rng = np.random.default_rng(seed)
    truth, predicted = rng.random(shape) < share, rng.random(shape) < share
    truth.flat[0] = predicted.flat[-1] = True
    spacing = tuple(rng.uniform(0.3, 4, len(shape)))
    expected = by_scipy(truth, predicted, spacing)
    for compiled in (False, True):
        found = surface_distances(truth, predicted, spacing, compiled=compiled)
        np.testing.assert_allclose(found.from_truth, expected[0], atol=1e-9)
        np.testing.assert_allclose(found.from_predicted, expected[1], atol=1e-9)


@pytest.mark.parametrize("spacing", [*SPACINGS, (1.0, 2.0)])
def test_figures_equal_monai(spacing):
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
    from monai.metrics.surface_dice import compute_surface_dice

    truth, predicted = blobs(np.random.default_rng(2), (20, 26, 22)[: len(spacing)])
    pair = [torch.from_numpy(mask)[None, None].float() for mask in (predicted, truth)]
    kwargs = {"include_background": True, "spacing": spacing}
    found = surface_distances(truth, predicted, spacing)
    assert found.hausdorff() == pytest.approx(
        compute_hausdorff_distance(*pair, percentile=95, **kwargs).item(), rel=1e-5
    )
    assert found.hausdorff(100) == pytest.approx(compute_hausdorff_distance(*pair, **kwargs).item(), rel=1e-5)
    average = compute_average_surface_distance(*pair, symmetric=True, **kwargs).item()
    assert found.average() == pytest.approx(average, rel=1e-5)
    for tolerance in (0.6, 1.1, 2.6):
        expected = compute_surface_dice(*pair, [tolerance], **kwargs).item()
        assert found.dice(tolerance) == pytest.approx(expected, rel=1e-5)


def test_deepmind_measures_between_voxels_and_so_agrees_only_about(monkeypatch):
    """Two spheres, the second 2 mm larger all round: both definitions find 2 mm, within half a voxel."""
    metrics = pytest.importorskip("surface_distance.metrics")
    monkeypatch.setattr(metrics.ndimage, "filters", ndimage, raising=False)  # names that scipy has since dropped
    monkeypatch.setattr(metrics.ndimage, "morphology", ndimage, raising=False)
    radius = np.sqrt(sum((axis - 15.5) ** 2 for axis in np.indices((32, 32, 32))))
    truth, predicted = radius < 9, radius < 11
    theirs = metrics.compute_surface_distances(truth, predicted, (1.0, 1.0, 1.0))
    ours = surface_distances(truth, predicted, (1.0, 1.0, 1.0))
    assert metrics.compute_robust_hausdorff(theirs, 95) == pytest.approx(ours.hausdorff(), abs=0.5)
    both = metrics.compute_average_surface_distance(theirs)
    assert np.mean(both) == pytest.approx(2, abs=0.5)
    assert ours.average() == pytest.approx(2, abs=0.3)
    assert (metrics.compute_surface_dice_at_tolerance(theirs, 3.5), ours.dice(3.5)) == (1, 1)


def test_swapping_the_masks_changes_no_figure():
    truth, predicted = blobs(np.random.default_rng(4), (18, 20, 22))
    there, back = (surface_distances(*pair, (2.0, 1.0, 1.0)) for pair in itertools.permutations((truth, predicted)))
    assert there.hausdorff() == back.hausdorff()
    assert there.average() == pytest.approx(back.average())
    assert there.dice(1) == back.dice(1)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 8)])
def test_empty_masks(shape, compiled):
    nothing, something = np.zeros(shape, bool), np.ones(shape, bool)
    spacing = (1.0,) * len(shape)
    for truth, predicted in ((nothing, something), (something, nothing), (nothing, nothing)):
        found = surface_distances(truth, predicted, spacing, compiled=compiled)
        assert math.isnan(found.hausdorff())
        assert math.isnan(found.average())
    assert math.isnan(found.dice(1))
    assert surface_distances(nothing, something, spacing, compiled=compiled).dice(1e9) == 0
    assert surface_distances(something, something, spacing, compiled=compiled).hausdorff() == 0


@pytest.mark.parametrize(
    ("truth", "predicted", "spacing", "words"),
    [
        (np.zeros((3, 3)), np.zeros((3, 4)), (1, 1), "shape"),
        (np.zeros(3), np.zeros(3), (1,), "2D or 3D"),
        (np.zeros((3, 3)), np.zeros((3, 3)), (1, 1, 1), "2 positive numbers"),
        (np.zeros((3, 3)), np.zeros((3, 3)), (1, 0), "positive"),
        (np.full((3, 3), 2), np.zeros((3, 3)), (1, 1), "truth mask holds more than 0 and 1"),
    ],
)
def test_what_are_no_masks_is_refused(truth, predicted, spacing, words):
    with pytest.raises(DataError, match=words):
        surface_distances(truth, predicted, spacing)


def test_a_negative_tolerance_is_refused():
    with pytest.raises(DataError, match="tolerance"):
        surface_distances(np.eye(3), np.eye(3), (1, 1)).dice(-1)
