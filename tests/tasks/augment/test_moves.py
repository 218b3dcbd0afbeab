"""What is moved in one pass out of packed volumes is what is cut, scaled, and then changed by the general path."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ai4diag.config.train import Change
from ai4diag.tasks.augment import AS_IT_IS, Block, Moves, apply, draw, plan
from ai4diag.tasks.segmentation.patches import scaled

FOUR = np.array([[20, 200, 110, 37], [5, 90, 60, 11]], np.float32)


def drawn(names, size=(12, 19, 19), window=None, batch=4, seed=0):
    return draw(plan(names, 3), batch, 2, size, window or size, None, torch.Generator().manual_seed(seed))


def moved(parameters, volumes, masks, starts, four=FOUR):
    moves = Moves.of(parameters)
    blocks = [Block(volume, start, four) for volume, start in zip(volumes, starts, strict=True)]
    return moves.images(blocks), moves.masks(masks, starts)


@given(seed=st.integers(0, 10**6), dtype=st.sampled_from(["uint8", "int16", "uint16", "int32", "float32"]))
@settings(max_examples=15, deadline=None)
@pytest.mark.parametrize("brightness", [0.0, 0.3])
def test_one_pass_gives_the_bits_of_the_general_path(brightness, seed, dtype):
    rng = np.random.default_rng(seed)
    size = (12, 19, 19)
    volumes = [rng.integers(0, 255, (2, 15, 22, 25)).astype(dtype) for _ in range(4)]
    masks = [rng.integers(0, 9, (1, 15, 22, 25)).astype(np.uint8) for _ in range(4)]
    starts = [tuple(int(n) for n in rng.integers(0, 4, 3)) for _ in range(4)]
    parameters = drawn({"flip": 0.5, "turn": 3, "brightness": Change(amount=brightness, chance=0.8)}, seed=seed)
    inside = [(slice(None), *[slice(a, a + side) for a, side in zip(start, size, strict=True)]) for start in starts]
    patches = torch.from_numpy(np.stack([scaled(v[part], FOUR) for v, part in zip(volumes, inside, strict=True)]))
    labels = torch.from_numpy(np.stack([m[part] for m, part in zip(masks, inside, strict=True)]))
    expected, expected_labels = apply(patches, parameters, 0.0, labels)
    images, found = moved(parameters, volumes, masks, starts)
    assert torch.equal(images, expected)
    assert torch.equal(found, expected_labels)


def test_gain_is_equal_to_rounding():
    volumes = torch.rand(4, 2, 12, 19, 19)
    parameters = drawn({"flip": 0.5, "gain": 0.4, "brightness": 0.2})
    expected, _ = apply(volumes, parameters, 0.0)
    four = np.tile(AS_IT_IS, (2, 1))
    images, _ = moved(parameters, volumes.numpy(), np.zeros((4, 1, 12, 19, 19), np.uint8), [(0, 0, 0)] * 4, four)
    torch.testing.assert_close(images, expected, atol=1e-6, rtol=1e-6)


def test_a_turn_is_that_of_numpy():
    volume = np.arange(12 * 19 * 19, dtype=np.float32).reshape(1, 12, 19, 19)
    parameters = draw(plan({"turn": 3}, 3), 1, 1, (12, 19, 19), (12, 19, 19), None, torch.Generator().manual_seed(0))
    seen = set()
    for turns in range(4):
        quarter = torch.tensor([[1.0, 0], [0, 1]]) if turns % 2 == 0 else torch.tensor([[0.0, -1], [1, 0]])
        parameters.matrix[0, 1:, 1:] = quarter * (1 if turns < 2 else -1)
        found = Moves.of(parameters).images([Block(volume, (0, 0, 0), AS_IT_IS[None])])[0].numpy()
        assert np.array_equal(found, np.rot90(volume, turns, (2, 3)))
        seen.add(found.tobytes())
    assert len(seen) == 4


def test_an_image_of_one_value_only_gets_what_is_added():
    volume = np.full((2, 12, 19, 19), 50, np.uint8)
    parameters = drawn({"brightness": 0.5}, batch=1)
    images, _ = moved(parameters, [volume], [volume[:1]], [(0, 0, 0)])
    expected, _ = apply(torch.from_numpy(scaled(volume, FOUR))[None], parameters, 0.0)
    assert torch.equal(images, expected)


@pytest.mark.parametrize(
    "names",
    [{"rotate": 5}, {"zoom": 1.2}, {"shift": 0.3}, {"elastic": Change(amount=2, chance=1)}, {"gamma": 0.2},
     {"contrast": 0.2}, {"noise": 0.1}, {"blur": Change(amount=1, chance=1)}, {"bias": Change(amount=0.3, chance=1)},
     {"resolution": Change(amount=2, chance=1)}],
)  # fmt: skip
def test_everything_else_is_left_to_the_general_path(names):
    assert Moves.of(drawn(names)) is None


def test_what_does_not_stay_whole_is_left_to_the_general_path():
    turns = [Moves.of(drawn({"turn": 3}, (12, 19, 18), seed=seed)) for seed in range(5)]
    assert turns == [None] * 5
    assert Moves.of(drawn({"flip": 0.5}, (12, 19, 19), (12, 17, 17))) is None
    planes = draw(plan({"flip": 0.5}, 2), 1, 1, (8, 8), (8, 8), None, torch.Generator().manual_seed(0))
    assert Moves.of(planes) is None
