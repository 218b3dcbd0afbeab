"""Resampling against scipy and closed forms; grids against where their voxels lie."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from ai4diag.data import grid
from tests.data.test_volume import affine_of, rotation


def noise(*shape):
    return np.random.default_rng(3).random(shape).astype(np.float32)


def at(*positions):
    return [np.asarray(line, float) for line in positions]


def test_the_same_places_give_the_same_voxels():
    image = noise(2, 4, 5, 6)
    np.testing.assert_array_equal(grid.linear(image, at(range(4), range(5), range(6))), image)


def test_finer_voxels_are_those_of_scipy():
    image = noise(1, 7, 8, 9)
    where = at(np.linspace(0.1, 5.9, 17), np.linspace(0, 7, 15), np.linspace(1, 8, 22))
    oracle = map_coordinates(image[0], np.meshgrid(*where, indexing="ij"), order=1)
    np.testing.assert_allclose(grid.linear(image, where)[0], oracle, atol=1e-6)


def test_larger_voxels_average_what_they_cover():
    image = np.zeros((1, 1, 1, 40), np.float32)
    image[..., 1::2] = 1  # taking every fourth voxel would give all ones or all zeros
    found = grid.linear(image, at([0], [0], np.arange(4, 36, 4)))
    np.testing.assert_allclose(found, 0.5, atol=0.01)


def test_a_plane_stays_a_plane():
    i, j, k = np.meshgrid(*map(np.arange, (6, 7, 8)), indexing="ij")
    image = (2 * i - j + 0.5 * k)[None].astype(np.float32)
    where = at(np.linspace(1, 4, 9), np.linspace(2, 5, 4), np.linspace(1, 6, 6))
    x, y, z = np.meshgrid(*where, indexing="ij")
    np.testing.assert_allclose(grid.linear(image, where)[0], 2 * x - y + 0.5 * z, atol=1e-4)


def test_outside_there_is_nothing_and_at_the_edge_the_edge():
    image = np.full((1, 1, 1, 3), 7, np.float32)
    found = grid.linear(image, at([0], [0], [-1.5, -0.9, 0, 2.9, 3.5]))[0, 0, 0]
    np.testing.assert_allclose(found, [0, 7, 7, 7, 0])


def test_labels_take_the_class_that_covers_most():
    mask = np.zeros((1, 1, 1, 8), np.uint8)
    mask[..., 2:5], mask[..., 5:] = 2, 1
    assert grid.labels(mask, at([0], [0], [1, 3, 5, 7]), 3).tolist() == [[[[0, 2, 1, 1]]]]
    same = grid.labels(mask, at([0], [0], range(8)), 3)
    np.testing.assert_array_equal(same, mask)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 2.0, 3.0), (0.25, 1.25, 6.0)])
def test_a_finer_grid_begins_where_the_first_voxel_begins(spacing):
    affine, sides = affine_of(turn=rotation()), (12, 8, 6)
    new, fewer = grid.finer(affine, sides, spacing)
    np.testing.assert_allclose(np.linalg.norm(new[:3, :3], axis=0), spacing, rtol=1e-9)
    corner, other = (matrix @ (-0.5, -0.5, -0.5, 1) for matrix in (affine, new))
    np.testing.assert_allclose(corner, other, atol=1e-9)
    extent = np.array(sides) * np.linalg.norm(affine[:3, :3], axis=0)
    assert (np.abs(np.array(fewer) * spacing - extent) <= np.array(spacing) / 2 + 1e-9).all()


def test_one_layer_keeps_its_thickness():
    new, sides = grid.finer(affine_of(), (12, 8, 1), (1.0, 1.0, 1.0))
    assert sides == (6, 10, 1)
    assert np.linalg.norm(new[:3, 2]) == pytest.approx(3.0)


def test_there_and_back_is_nearly_the_same():
    affine, sides = affine_of(), (20, 16, 9)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, side) for side in sides), indexing="ij")
    image = np.exp(-(x**2 + y**2 + z**2))[None].astype(np.float32)
    new, fewer = grid.finer(affine, sides, (1.0, 1.0, 1.0))
    packed = grid.linear(image, grid.places(new, fewer, affine))
    again = grid.linear(packed, grid.places(affine, sides, new))
    assert packed.shape[1:] == fewer
    assert np.abs(again - image).max() < 0.05


def test_margins_are_cut_where_that_pays():
    image = np.zeros((2, 10, 10, 10), np.float32)
    image[1, 2:8, 3:9, 1:5] = 5
    box = grid.filled(image)
    assert box == (slice(2, 8), slice(3, 9), slice(1, 5))
    moved = grid.moved(affine_of(), box)
    np.testing.assert_allclose(moved @ (0, 0, 0, 1), affine_of() @ (2, 3, 1, 1))
    image[0, 0, 0, 0] = image[0, 9, 9, 9] = 1
    assert grid.filled(image) is None
    assert grid.filled(np.zeros((1, 4, 4, 4))) is None
