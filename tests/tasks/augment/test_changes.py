import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from ai4diag.config.train import Change, Train
from ai4diag.errors import ConfigError
from ai4diag.tasks.augment import KINDS, apply, draw, plan

SIZES = {2: (24, 31), 3: (14, 19, 17)}


def drawn(names, size, channels=2, batch=3, seed=0, spacing_mm=None):
    generator = torch.Generator().manual_seed(seed)
    return draw(plan(names, len(size)), batch, channels, size, size, spacing_mm, generator)


def volumes(dimensions, dtype=torch.float32, batch=3):
    images = torch.rand(batch, 2, *SIZES[dimensions], generator=torch.Generator().manual_seed(5))
    return (images * 255).to(dtype)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_batch_gives_what_its_images_give_one_by_one(dimensions, dtype):
    images, masks = volumes(dimensions, dtype, 6), volumes(dimensions, torch.uint8, 6)[:, :1]
    parameters = drawn(tuple(KINDS), SIZES[dimensions], batch=6)
    whole, labels = apply(images, parameters, 20.0, masks)
    for row in range(6):
        alone, label = apply(images[[row]], parameters[torch.tensor([row])], 20.0, masks[[row]])
        torch.testing.assert_close(alone[0], whole[row], atol=2e-3, rtol=0)
        assert torch.equal(label[0], labels[row])


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_batch_that_is_done_in_parts_gives_the_same_bits(dimensions, monkeypatch):
    images, masks = volumes(dimensions, batch=5), volumes(dimensions, torch.uint8, 5)[:, :1]
    names = [name for name in KINDS if name not in ("blur", "resolution", "elastic")]  # sums, which may round otherwise
    parameters = drawn(names, SIZES[dimensions], batch=5)
    whole = apply(images, parameters, 3.0, masks)
    monkeypatch.setattr("ai4diag.tasks.augment.IN_CACHE", 2 * images[0].numel())
    parts = apply(images, parameters, 3.0, masks)
    assert torch.equal(whole[0], parts[0])
    assert torch.equal(whole[1], parts[1])


@given(seed=st.integers(0, 2**40))
@settings(max_examples=10, deadline=None)
def test_the_same_seed_gives_the_same_bits(seed):
    images = volumes(2)
    first, second = (apply(images, drawn(tuple(KINDS), SIZES[2], seed=seed))[0] for _ in range(2))
    assert torch.equal(first, second)


def test_images_that_are_given_stay_as_they_are():
    images = volumes(3)
    before = images.clone()
    apply(images, drawn(("intensity", "noise", "blur", "bias"), SIZES[3]))
    assert torch.equal(images, before)


def test_the_generator_advances_equally_whatever_is_switched_on():
    states = []
    for names in ((), ("flip",), tuple(KINDS)):
        generator = torch.Generator().manual_seed(9)
        draw(plan(names, 2), 7, 3, (64, 96), (64, 64), None, generator)
        states.append(generator.get_state())
    assert all(torch.equal(states[0], state) for state in states)


def test_switching_a_change_on_leaves_the_others_as_they_are():
    alone, both = drawn(("rotate", "noise"), SIZES[2]), drawn(("rotate", "noise", "bias", "blur", "gain"), SIZES[2])
    assert torch.equal(alone.matrix, both.matrix)
    assert torch.equal(alone.noise, both.noise)


def test_brightness_contrast_and_gain_follow_their_formula():
    images = volumes(2, torch.uint8)
    parameters = drawn(("brightness", "contrast", "gain"), SIZES[2])
    found, _ = apply(images, parameters)
    for row in range(3):
        for channel in range(2):
            share = images[row, channel].double().numpy() / 255 * float(parameters.gain[row, channel])
            share = share.mean() + (share - share.mean()) * float(parameters.contrast[row])
            expected = 255 * (share + float(parameters.brightness[row]))
            assert np.allclose(found[row, channel], expected, atol=1e-3)


def test_gamma_follows_its_formula_and_keeps_the_ends_of_the_scale():
    images = volumes(3) - 100
    parameters = drawn(("gamma",), SIZES[3])
    found, _ = apply(images, parameters)
    for row in range(3):
        for channel in range(2):
            values = images[row, channel].double().numpy()
            low, high = values.min(), values.max()
            expected = ((values - low) / (high - low)) ** float(parameters.gamma[row, channel]) * (high - low) + low
            assert np.allclose(found[row, channel], expected, atol=2e-3)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_blur_is_that_of_scipy(dimensions):
    spacing = (2.0, *[1.0] * (dimensions - 1))
    parameters = drawn({"blur": Change(amount=1.5, chance=1)}, SIZES[dimensions], spacing_mm=spacing)
    images = volumes(dimensions)
    found, _ = apply(images, parameters)
    inner = tuple([slice(None)] + [slice(5, -5)] * dimensions)
    for row in range(3):
        sigma = [0, *(float(parameters.blur[row]) / length for length in spacing)]
        expected = gaussian_filter(images[row].double().numpy(), sigma, truncate=6)
        assert np.allclose(found[row][inner], expected[inner], atol=0.1)  # of 255; the tails beyond 4 sigma


def test_a_lower_resolution_keeps_means_and_straight_lines():
    size = (24, 36)
    parameters = drawn({"resolution": Change(amount=4, chance=1)}, size)
    ramp = torch.arange(36.0).expand(3, 2, *size)
    found, _ = apply(ramp, parameters)
    assert torch.allclose(found[..., 8:-8], ramp[..., 8:-8], atol=0.1)  # pixels that lie in two coarse ones
    noise = torch.rand(3, 2, *size)
    coarse, _ = apply(noise, parameters)
    assert (coarse.std((1, 2, 3)) < noise.std((1, 2, 3))).all()
    assert torch.allclose(coarse.mean((1, 2, 3)), noise.mean((1, 2, 3)), atol=0.02)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_bias_field_is_smooth_and_within_its_bound(dimensions):
    parameters = drawn({"bias": Change(amount=0.4, chance=1)}, SIZES[dimensions])
    field = torch.log(apply(torch.ones(3, 2, *SIZES[dimensions]), parameters)[0])
    assert torch.equal(field[:, 0], field[:, 1])
    assert 0.1 < float(field.abs().max()) <= 0.4 + 1e-5
    steps = torch.stack([torch.diff(field, dim=axis).abs().max() for axis in range(2, 2 + dimensions)])
    assert float(steps.max()) < 0.2


def test_noise_is_normal_with_the_drawn_deviation():
    from scipy.stats import kstest

    images = torch.full((2, 1, 64, 64), 100, dtype=torch.uint8)
    generator = torch.Generator().manual_seed(3)
    parameters = draw(plan({"noise": 0.1}, 2), 2, 1, (64, 64), (64, 64), None, generator)
    found, _ = apply(images, parameters)
    for row in range(2):
        deviation = 255 * float(parameters.noise[row])
        assert kstest((found[row].flatten() - 100).numpy() / deviation, "norm").pvalue > 1e-4
    assert not torch.equal(found[0], found[1])


def test_chance_is_the_share_of_images_that_change():
    generator = torch.Generator().manual_seed(0)
    changes = plan({"noise": Change(chance=0.3), "rotate": Change(chance=0.5)}, 2)
    parameters = draw(changes, 2000, 1, (8, 8), (8, 8), None, generator)
    assert abs(float((parameters.noise > 0).float().mean()) - 0.3) < 0.04
    assert abs(float((parameters.matrix[:, 0, 1] != 0).float().mean()) - 0.5) < 0.04


def test_amounts_bound_what_is_drawn():
    generator = torch.Generator().manual_seed(0)
    changes = plan({"rotate": 10, "zoom": 1.5, "flip": (0, 1)}, 2)
    parameters = draw(changes, 500, 1, (8, 8), (8, 8), None, generator)
    factor = torch.linalg.det(parameters.matrix)
    assert (factor < 0).all()  # columns are always mirrored, rows never
    zoom = factor.abs().sqrt()
    assert 0.66 < float(zoom.min()) < 0.7
    assert 1.45 < float(zoom.max()) < 1.51
    angle = torch.rad2deg(torch.asin(parameters.matrix[:, 1, 0] / zoom))
    assert 9 < float(angle.abs().max()) < 10.001


def test_a_recipe_gives_names_or_amounts():
    names = Train(augment=["flip", "intensity"]).augment
    assert plan(names, 2).amounts.keys() == {"flip", "gamma", "gain", "contrast", "brightness"}
    given_amounts = Train(augment={"rotate": 15, "flip": [0, 0.5], "blur": {"amount": 2, "chance": 0.1}}).augment
    changes = plan(given_amounts, 2)
    assert changes.amounts == {"rotate": (15.0,), "flip": (0.0, 0.5), "blur": (2.0,)}
    assert changes.chances["blur"] == 0.1


@pytest.mark.parametrize(
    ("augment", "said"),
    [
        (["rotat"], "Did you mean 'rotate'"),
        ({"rotate": -1}, "between 0 and 180"),
        ({"rotate": [1, 2]}, "one number"),
        ({"zoom": 0.5}, "between 1 and 4"),
        ({"intensity": 0.5}, "gamma"),
        (["bias"], "is not a change of images"),
    ],
)
def test_what_cannot_be_is_refused(augment, said):
    with pytest.raises(ConfigError, match=said):
        plan(augment, 2, known=[name for name in KINDS if name != "bias"])


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match="drawn for"):
        apply(torch.zeros(3, 2, 9, 9), drawn((), SIZES[2]))
