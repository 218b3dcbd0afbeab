import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import affine_transform, map_coordinates

from ai4diag.tasks.augment import apply, draw, move_boxes, move_points, plan
from ai4diag.tasks.augment.geometry import displacement, rotations, spline_basis
from ai4diag.tasks.augment.resample import Lookup, resample

GEOMETRY = ("flip", "turn", "rotate", "zoom", "stretch", "shift", "crop", "elastic")
SIZES = {2: (24, 31), 3: (14, 19, 17)}


def drawn(names, size, window=None, batch=3, seed=0, spacing_mm=None):
    generator = torch.Generator().manual_seed(seed)
    return draw(plan(names, len(size)), batch, 1, size, window or size, spacing_mm, generator)


def smooth(size, batch=3, seed=0):
    """Waves that are as good as linear between pixels."""
    axes = np.meshgrid(*[np.linspace(0, 1, length) for length in size], indexing="ij")
    numbers = np.random.default_rng(seed).uniform(1, 3, (batch, len(size)))
    waves = [np.sin(sum(n * axis for n, axis in zip(row, axes, strict=True))) for row in numbers]
    return torch.tensor(np.stack(waves)[:, None], dtype=torch.float32)


@pytest.mark.parametrize(("dimensions", "engine"), [(2, "torch"), (3, "torch"), (3, "compiled")])
@pytest.mark.parametrize("spacing", [1.0, 2.5])
def test_images_move_as_scipy_moves_them(dimensions, engine, spacing):
    size, window = SIZES[dimensions], tuple(side - 3 for side in SIZES[dimensions])
    parameters = drawn(GEOMETRY[:-1], size, window, spacing_mm=(spacing, *[1.0] * (dimensions - 1)))
    images = torch.rand(3, 1, *size)
    found = resample(images, Lookup.of(parameters, images.device), torch.tensor([0.3]), engine=engine)
    half, frame = np.array(size) / 2, np.array(window) / 2
    for row in range(
        3
    ):  # window index q holds what stands at p with q + 1/2 - frame = matrix (p + 1/2 - half) + offset
        inverse = np.linalg.inv(parameters.matrix[row].double().numpy())
        shift = inverse @ (0.5 - frame - parameters.offset[row].numpy()) + half - 0.5
        expected = affine_transform(
            images[row, 0].numpy(), inverse, shift, window, order=1, mode="grid-constant", cval=0.3
        )
        assert np.allclose(found[row, 0], expected, atol=1e-4)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_images_bend_as_scipy_bends_them(dimensions):
    size = SIZES[dimensions]
    parameters = drawn({"elastic": 3, "rotate": 20}, size, seed=2)
    images = torch.rand(3, 1, *size)
    found, _ = apply(images, parameters, 0.5)
    bend = displacement(parameters, images.device)
    for row in range(3):
        place = np.stack(np.meshgrid(*[np.arange(n) for n in size], indexing="ij")) + bend[row].numpy()
        middle = (np.array(size) - 1).reshape(-1, *[1] * dimensions) / 2
        inverse = np.linalg.inv(parameters.matrix[row].numpy())
        source = np.einsum("ij,j...->i...", inverse, place - middle) + middle
        expected = map_coordinates(images[row, 0].numpy(), source, order=1, mode="grid-constant", cval=0.5)
        assert np.allclose(found[row, 0], expected, atol=1e-4)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_masks_take_the_nearest_label_of_the_same_places(dimensions):
    size = SIZES[dimensions]
    parameters = drawn(GEOMETRY, size, batch=4)
    masks = torch.randint(0, 9, (4, 1, *size), dtype=torch.int16)
    _, moved = apply(torch.zeros(4, 2, *size), parameters, 0.0, masks, outside=9)
    assert moved.dtype == torch.int16
    lookup = Lookup.of(parameters, masks.device)
    maps, bend = lookup.maps.numpy(), displacement(parameters, masks.device).numpy()
    place = np.stack(np.meshgrid(*[np.arange(n) for n in size], indexing="ij"))
    for row in range(4):
        source = np.einsum("ij,j...->i...", maps[row, :, :-1], place + bend[row])
        source += maps[row, :, -1].reshape(-1, *[1] * dimensions)
        clear = (np.abs(source - np.floor(source) - 0.5) > 1e-3).all(0)  # no tie between two pixels
        expected = map_coordinates(masks[row, 0].numpy(), source, order=0, mode="grid-constant", cval=9)
        assert (moved[row, 0].numpy() == expected)[clear].all()


@pytest.mark.parametrize("dimensions", [2, 3])
def test_nothing_switched_on_gives_the_same_images(dimensions):
    images = torch.randint(0, 256, (3, 2, *SIZES[dimensions]), dtype=torch.uint8)
    masks = torch.randint(0, 3, (3, 1, *SIZES[dimensions]), dtype=torch.uint8)
    generator = torch.Generator().manual_seed(1)
    parameters = draw(plan((), dimensions), 3, 2, SIZES[dimensions], SIZES[dimensions], None, generator)
    found, labels = apply(images, parameters, 77.0, masks)
    assert torch.equal(found, images.float())
    assert torch.equal(labels, masks)


@given(seed=st.integers(0, 10_000), dimensions=st.sampled_from([2, 3]))
@settings(max_examples=25, deadline=None)
def test_flips_turns_and_shifts_only_change_the_places_of_pixels(seed, dimensions):
    size = (12, 12) if dimensions == 2 else (6, 8, 8)
    parameters = drawn(("flip", "turn", "shift"), size, batch=2, seed=seed)
    images = torch.arange(2 * math.prod(size)).reshape(2, 1, *size).float() + 1
    masks = images.to(torch.int64)
    found, labels = apply(images, parameters, 0.0, masks)
    assert torch.allclose(found, labels.float(), atol=1e-2)
    kept = labels[labels > 0]
    assert len(kept.unique()) == len(kept) > 0


@given(seed=st.integers(0, 10_000), dimensions=st.sampled_from([2, 3]))
@settings(max_examples=25, deadline=None)
def test_the_inverse_brings_the_image_back(seed, dimensions):
    size = tuple(2 * side for side in SIZES[dimensions])
    there = drawn({"rotate": 30, "zoom": 1.1, "stretch": 0.05, "shift": 0.05, "flip": 0.5}, size, batch=2, seed=seed)
    inverse = torch.linalg.inv(there.matrix)
    back = type(there)(**{**vars(there), "matrix": inverse, "offset": -(inverse @ there.offset[..., None])[..., 0]})
    images = smooth(size, 2, seed)
    returned = apply(apply(images, there)[0], back)[0]
    known = apply(apply(torch.ones_like(images), there)[0], back)[0] > 0.999
    assert known.float().mean() > 0.3
    assert (returned - images)[known].abs().max() < 0.02


@given(seed=st.integers(0, 10_000), dimensions=st.sampled_from([2, 3]), bent=st.booleans())
@settings(max_examples=25, deadline=None)
def test_places_and_boxes_move_with_the_image(seed, dimensions, bent):
    size, spacing = tuple(2 * side for side in SIZES[dimensions]), (1.5, *[1.0] * (dimensions - 1))
    names = {"rotate": 40, "zoom": 1.2, "flip": 0.5, "shift": 0.05} | ({"elastic": 2} if bent else {})
    parameters = drawn(names, size, batch=2, seed=seed, spacing_mm=spacing)
    low = torch.tensor([[side // 2 - 4 for side in size]]).float()
    box = torch.cat([low, low + 6], -1)[None].repeat(2, 1, 1)
    masks = torch.zeros(2, 1, *size, dtype=torch.uint8)
    masks[(slice(None), slice(None), *[slice(int(edge), int(edge) + 6) for edge in low[0]])] = 1
    _, moved = apply(masks, parameters, 0.0, masks)
    found, centre = move_boxes(box, parameters), move_points(low[None].repeat(2, 1, 1) + 3, parameters)
    for row in range(2):
        places = torch.nonzero(moved[row, 0]).float()
        mean = places.mean(0) + 0.5
        assert torch.allclose(mean, centre[row, 0], atol=0.7)
        edges = found[row, 0].reshape(2, -1)
        assert (places >= edges[0] - 1.01).all()
        assert (places + 1 <= edges[1] + 1.01).all()


def test_a_quarter_turn_of_a_box_is_exact():
    parameters = drawn(("flip", "turn"), (64, 64), batch=64)
    boxes = torch.tensor([[[6.0, 26, 14, 34]]]).repeat(64, 1, 1)
    found = {tuple(box) for box in move_boxes(boxes, parameters)[:, 0].int().tolist()}
    expected = {(6, 26, 14, 34), (50, 26, 58, 34), (6, 30, 14, 38), (50, 30, 58, 38)}
    assert found == expected | {(26, 6, 34, 14), (26, 50, 34, 58), (30, 6, 38, 14), (30, 50, 38, 58)}


def test_rotation_is_in_millimetres():
    parameters = drawn({"rotate": 90}, (10, 40), spacing_mm=(4.0, 1.0), batch=200)
    for angle in (-60.0, 30.0, 90.0):
        turned = rotations(torch.tensor([[math.radians(angle)]]))[0]
        length = torch.diag(torch.tensor([4.0, 1.0]))
        expected = torch.linalg.inv(length) @ turned @ length
        point_mm = length @ expected @ torch.tensor([1.0, 4.0])
        assert math.isclose(float(point_mm.norm()), math.sqrt(32), rel_tol=1e-5)
        assert math.isclose(float(torch.linalg.det(expected)), 1, rel_tol=1e-5)
    lengths = (torch.diag(torch.tensor([4.0, 1.0])) @ parameters.matrix @ torch.tensor([1.0, 0.0])).norm(dim=1)
    assert torch.allclose(lengths, torch.tensor(4.0), rtol=1e-5)  # 4 mm stay 4 mm, in whatever direction


def test_rotations_in_space_turn_about_their_axes():
    for axis in range(3):
        radians = torch.zeros(1, 3)
        radians[0, axis] = 0.3
        turn = rotations(radians)[0]
        assert torch.allclose(turn @ torch.eye(3)[axis], torch.eye(3)[axis])
        assert math.isclose(float(torch.trace(turn)), 1 + 2 * math.cos(0.3), rel_tol=1e-6)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_displacement_never_folds_and_keeps_its_bound(dimensions):
    spacing, size = (3.0, *[1.0] * (dimensions - 1)), (16, *[48] * (dimensions - 1))
    parameters = drawn({"elastic": 20}, size, batch=12, spacing_mm=spacing)
    bend = displacement(parameters, torch.device("cpu"))
    millimetres = bend * torch.tensor(spacing).reshape(-1, *[1] * dimensions)
    assert 1 < float(millimetres.abs().max()) <= 20
    slopes = torch.stack(
        [
            torch.stack(torch.gradient(bend[:, axis], dim=tuple(range(1, dimensions + 1))), -1)
            for axis in range(dimensions)
        ],
        -2,
    )
    folded = torch.linalg.det(slopes + torch.eye(dimensions)) <= 0
    assert not folded.any()


def test_the_spline_is_that_of_scipy():
    from scipy.interpolate import BSpline

    control = np.random.default_rng(0).normal(size=8)
    spline = BSpline(np.arange(-3, 9), control, 3)
    places = (np.arange(30) + 0.5) * 5 / 30
    assert np.allclose(spline_basis(30, 8).numpy() @ control, spline(places), atol=1e-6)


def test_a_crop_lies_in_the_image_and_reaches_its_edges():
    parameters = drawn(("crop",), (40, 50), (20, 30), batch=300)
    images = torch.arange(2000.0).reshape(1, 1, 40, 50).repeat(300, 1, 1, 1)
    found, _ = apply(images, parameters, -1.0)
    assert float(found.min()) > -0.01
    first = found[:, 0, 0, 0].round()
    assert {int(rows) for rows in first // 50} == set(range(21))
    assert {int(columns) for columns in first % 50} == set(range(21))


def test_any_number_of_threads_gives_the_same_bits():
    parameters = drawn(GEOMETRY, (14, 19, 17))
    images = torch.rand(3, 1, 14, 19, 17)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(resample(images, Lookup.of(parameters, images.device), torch.zeros(1)))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
