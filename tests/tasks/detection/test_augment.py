import numpy as np
import pytest
import torch

from ai4diag.errors import ConfigError
from ai4diag.tasks.detection.augment import KINDS, apply, check_names, draw
from ai4diag.tasks.detection.boxes import Truth, truth_of

GREY = torch.full((3,), 128.0)
GEOMETRY = ("flip", "rotate", "scale", "shift")


def sample(names, prepared, rows, window=None, seed=0):
    size = prepared.images.shape[2:]
    images = torch.from_numpy(prepared.images[rows])
    parameters = draw(names, len(rows), 3, size, window or size, torch.Generator().manual_seed(seed))
    return apply(images, truth_of(prepared)[torch.as_tensor(rows)], parameters, GREY)


def seen_box(image):
    """The box around what is neither the grey of the field nor of the outside, measured from pixels."""
    rows, columns = np.nonzero((image - 128).abs().sum(0).numpy() > 60)
    return np.array([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1])


def one_disc(middle, half, size=(64, 96)):
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    image = np.full((1, 3, *size), 128, np.uint8)
    image[0, :, ((rows - middle[0]) / half[0]) ** 2 + ((columns - middle[1]) / half[1]) ** 2 < 1] = 250
    box = torch.tensor([[[middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1]]]])
    yes = torch.ones(1, 1, dtype=torch.bool)
    return torch.from_numpy(image), Truth(box.float(), torch.zeros(1, 1, dtype=torch.long), yes, ~yes)


def test_no_augmentation_changes_nothing(prepared):
    rows = np.arange(4)
    images, truth = sample((), prepared, rows)
    np.testing.assert_allclose(images.numpy(), prepared.images[rows], atol=0.02)
    torch.testing.assert_close(truth.boxes, truth_of(prepared).boxes[:4], atol=1e-3, rtol=0)


@pytest.mark.parametrize("seed", range(12))
def test_boxes_stay_around_what_they_are_around(seed):
    image, truth = one_disc(middle=(28, 52), half=(6, 9))
    parameters = draw(GEOMETRY, 1, 3, (64, 96), (96, 96), torch.Generator().manual_seed(seed))
    moved, after = apply(image, truth, parameters, GREY)
    np.testing.assert_allclose(after.boxes[0, 0].numpy(), seen_box(moved[0]), atol=1.5)


def test_every_quarter_turn_and_mirror_happens():
    image, truth = one_disc(middle=(10, 30), half=(4, 4), size=(64, 64))
    parameters = draw(("flip", "rotate"), 64, 3, (64, 64), (64, 64), torch.Generator().manual_seed(0))
    batch = Truth(*(getattr(truth, name).repeat(64, *[1] * (getattr(truth, name).ndim - 1)) for name in vars(truth)))
    after = apply(image.repeat(64, 1, 1, 1), batch, parameters, GREY)[1]
    found = {tuple(box) for box in after.boxes[:, 0].round().int().tolist()}
    assert len(found) == 8


def test_a_batch_gives_what_its_images_give_one_by_one(prepared):
    rows = np.arange(5)
    parameters = draw(tuple(KINDS), 5, 3, (64, 96), (64, 64), torch.Generator().manual_seed(4))
    quiet = {**vars(parameters), "noise": torch.zeros(5)}  # noise is drawn for the batch as a whole
    images, truth = torch.from_numpy(prepared.images[rows]), truth_of(prepared)[torch.arange(5)]
    whole, boxes = apply(images, truth, type(parameters)(**quiet), GREY)
    for row in range(5):
        single = {name: value[[row]] if torch.is_tensor(value) else value for name, value in quiet.items()}
        alone, box = apply(images[[row]], truth[torch.tensor([row])], type(parameters)(**single), GREY)
        torch.testing.assert_close(alone[0], whole[row], atol=1e-3, rtol=0)
        torch.testing.assert_close(box.boxes[0], boxes.boxes[row])


def test_what_the_window_cuts_off_is_ignored_or_gone():
    image, truth = one_disc(middle=(32, 48), half=(8, 8))
    parameters = draw((), 1, 3, (64, 96), (64, 96), torch.Generator())
    for offset, share_left in ((0.0, 1.0), (-30.0, 10 / 16), (-37.0, 3 / 16), (-60.0, 0.0)):
        moved = {**vars(parameters), "offset": torch.tensor([[offset, 0.0]])}
        after = apply(image, truth, type(parameters)(**moved), GREY)[1]
        assert bool(after.real) == (share_left > 0)
        assert bool(after.wanted) == (share_left >= 0.3)


def test_the_generator_advances_equally_whatever_is_switched_on():
    states = []
    for names in ((), ("flip",), tuple(KINDS)):
        generator = torch.Generator().manual_seed(9)
        draw(names, 7, 3, (64, 96), (64, 64), generator)
        states.append(generator.get_state())
    assert all(torch.equal(states[0], state) for state in states)


@pytest.mark.parametrize("name", ["intensity", "noise"])
def test_intensities_change_within_bounds_and_boxes_do_not(prepared, name):
    images, truth = sample((name,), prepared, np.arange(6))
    change = images - torch.tensor(prepared.images[:6]).float()
    assert 1 < change.abs().mean() < 60
    assert torch.equal(truth.boxes, sample((), prepared, np.arange(6))[1].boxes)


def test_places_stay_exact_in_a_training_with_half_precision(prepared):
    plain = sample(GEOMETRY, prepared, np.arange(3))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = sample(GEOMETRY, prepared, np.arange(3))
    assert torch.equal(plain[0], mixed[0])
    assert torch.equal(plain[1].boxes, mixed[1].boxes)


def test_volumes_are_augmented_too():
    volume = torch.full((2, 1, 16, 24, 24), 50, dtype=torch.uint8)
    volume[:, :, 4:10, 6:12, 14:22] = 200
    box = torch.tensor([[[4.0, 6, 14, 10, 12, 22]]]).repeat(2, 1, 1)
    yes = torch.ones(2, 1, dtype=torch.bool)
    truth = Truth(box, torch.zeros(2, 1, dtype=torch.long), yes, ~yes)
    parameters = draw(("flip", "rotate"), 2, 1, (16, 24, 24), (16, 24, 24), torch.Generator().manual_seed(2))
    moved, after = apply(volume, truth, parameters, torch.full((1,), 50.0))
    for image, found in zip(moved, after.boxes[:, 0].round().int().tolist(), strict=True):
        low, high = found[:3], found[3:]
        assert (image[0, low[0] : high[0], low[1] : high[1], low[2] : high[2]] > 190).all()
        assert int((image > 190).sum()) == 6 * 6 * 8


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'rotate'"):
        check_names(["flip", "rotat"])
