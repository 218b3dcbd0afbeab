"""From prepared volumes to answers in the files' own geometry, through the learner, its bundle and new files."""

import dataclasses
import warnings

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from ai4diag.config.train import Train
from ai4diag.data.prepare_volumes import prepare_volumes
from ai4diag.data.prepared import Prepared
from ai4diag.data.volume import Volume, read_volume
from ai4diag.errors import ConfigError, DataError
from ai4diag.evaluation.overlap import confusion, dice
from ai4diag.masks import decode, encode
from ai4diag.tasks.augment import apply, draw
from ai4diag.tasks.segmentation import Segmentation
from ai4diag.tasks.segmentation.answers import keep_largest
from ai4diag.tasks.segmentation.patches import Cutter, Intensities, levels, scaled
from ai4diag.training.loop import fit
from tests.data.helpers import write_card
from tests.data.test_volume import rotation
from tests.data.volume_helpers import TOY_VOLUMES, TURNS, segmentation_recipe, toy_volume, toy_volumes, write_case

TASK = Segmentation()


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes")
    raw, card = toy_volumes(folder)
    prepare_volumes(raw, card, segmentation_recipe(), folder / "out")
    return Prepared.open(folder / "out")


class ByBrightness(nn.Module):
    """A network whose answer is known in closed form: bright is the ball (class 1), dark the box (class 2)."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images):
        value = images[:, :1] * self.weight
        return [torch.cat([0 * value + 4.5, value * 3, -value * 3], 1)]


def learner_of(prepared, model=None, train=None, **data):
    return TASK.learner(prepared, segmentation_recipe(model, train, **data), {})


def by_brightness(prepared, model=None):
    learner = learner_of(prepared, model)
    learner.network = ByBrightness()
    return learner


def score(found, truth):
    return dice(confusion(truth, found, 3))[1:].min()


def test_training_finds_the_structures(toy):
    learner = learner_of(toy, {"width": 8, "patch": [16, 16, 16]})
    settings = Train(
        epochs=20, batch_size=2, learning_rate=0.01, augment={"rotate": 10, "gamma": 0.1}, validate_every=20
    )
    history = fit(learner, toy, toy.folds()[0], settings, lambda name, fields: None)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert history[-1]["validation"]["score"] > 0.7


@pytest.mark.parametrize(
    "model",
    [
        {"dimensions": 2, "patch": [16, 16, 1]},
        {"dimensions": 2, "patch": [1, 16, 16], "flips": [1]},
        {"patch": [8, 16, 8], "residual": True, "outputs": 1},
        {"patch": [8, 8, 8], "intensities": "absolute", "largest_component": ["ball"]},
    ],
)
def test_every_kind_of_plan_is_trained_and_asked(toy, model):
    learner = learner_of(toy, {"stages": 3, **model})
    changes = {"rotate": 10, "elastic": 1, "noise": 0.01}
    settings = Train(epochs=4, batch_size=3, learning_rate=0.01, augment=changes, validate_every=4)
    fold = toy.folds()[0]
    history = fit(learner, toy, fold, settings, lambda name, fields: None)
    assert history[-1]["loss"] < history[0]["loss"]
    truth = TASK.truth(toy, fold.test)
    for runs, shape in zip(learner.predict(toy, fold.test)["runs"], truth["shape"], strict=True):
        assert decode(runs, shape, 3).shape == tuple(shape)


def test_what_was_saved_answers_to_the_bit(toy, tmp_path):
    learner = learner_of(toy, {"flips": [0], "intensities": "absolute"})
    learner.place(toy, toy.folds()[0].train, torch.device("cpu"))
    learner.save(tmp_path)
    rows = toy.folds()[0].test
    again = TASK.load(tmp_path)
    assert again.plan == learner.plan
    for one, two in zip(learner.predict(toy, rows)["runs"], again.predict(toy, rows)["runs"], strict=True):
        np.testing.assert_array_equal(one, two)


def test_weights_of_another_network_are_refused(toy, tmp_path):
    learner_of(toy).save(tmp_path)
    text = (tmp_path / "model.json").read_text()
    (tmp_path / "model.json").write_text(text.replace('"widths": [\n      4,', '"widths": [\n      6,'))
    with pytest.raises(DataError, match=r"Weight .* has shape"):
        TASK.load(tmp_path)


@pytest.mark.parametrize(
    "model",
    [{}, {"window": "whole"}, {"window": [8, 8, 8]}, {"flips": [0, 1, 2]}, {"dimensions": 2}, {"memory_gb": 0.001}],
)
def test_whole_windowed_mirrored_and_layered_answers_agree_where_they_must(toy, model):
    rows = toy.folds()[0].test
    truth = TASK.truth(toy, rows)
    found = by_brightness(
        toy, {**model, "patch": [8, 8, 1] if model.get("dimensions") == 2 else [8, 8, 8]} if model else model
    )
    for line, runs in zip(truth.itertuples(), found.predict(toy, rows)["runs"], strict=True):
        drawn, answer = decode(line.truth_runs, line.shape, 3), decode(runs, line.shape, 3)
        assert score(answer, drawn) > 0.99


@pytest.mark.parametrize(("axes", "signs"), TURNS)
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 1.5, 1.0)])
@pytest.mark.parametrize("turn", [None, rotation((5.0, 8.0, -6.0))])
def test_a_new_file_is_answered_in_its_own_geometry(toy, tmp_path, axes, signs, spacing, turn):
    sides = tuple(int(20 / step) for step in spacing)
    image, label = toy_volume(3, axes, signs, turn, spacing, sides)
    write_case(tmp_path, "new.case", image, label)
    path = tmp_path / "images" / "new.case.nii.gz"
    learner = by_brightness(toy)
    prepared = TASK.gather([path], learner, tmp_path / "scratch")
    files = TASK.deliver(learner.predict(prepared, np.array([0])), prepared, tmp_path)
    assert [file.name for file in files] == ["predictions.csv", "new.case.nii.gz"]
    given, found = nib.load(path), nib.load(files[1])
    np.testing.assert_allclose(found.affine, given.affine, atol=1e-6)
    assert found.shape == given.shape
    assert nib.aff2axcodes(found.affine) == nib.aff2axcodes(given.affine)
    assert (int(found.header["sform_code"]), int(found.header["qform_code"])) == (1, 1)
    assert set(np.unique(np.asarray(found.dataobj))) == {0, 2, 5}
    answer = np.searchsorted([0, 2, 5], np.asarray(found.dataobj))
    least = 0.99 if spacing == (1.0, 1.0, 1.0) else 0.75  # the box is two voxels thick where spacing is 1.5 mm
    assert score(answer, np.searchsorted([0, 2, 5], label.array[0])) > least
    table = pd.read_csv(files[0])
    ball = (np.asarray(found.dataobj) == 5).sum() * np.prod(spacing) / 1000
    assert table.loc[0, "ball_ml"] == pytest.approx(ball, rel=1e-4)
    assert table.loc[0, "case_id"] == "new.case"


def test_files_with_other_channels_or_equal_names_are_refused(toy, tmp_path):
    image, _ = toy_volume(0)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    two = Volume(np.concatenate([image.array] * 2), image.affine)
    write_case(tmp_path / "a", "x", image, image)
    write_case(tmp_path / "b", "x", two, image)
    learner = learner_of(toy)
    paths = [tmp_path / folder / "images" / "x.nii.gz" for folder in ("a", "b")]
    with pytest.raises(DataError, match="Two files are called 'x'"):
        TASK.gather(paths, learner, tmp_path / "scratch")
    with pytest.raises(DataError, match="2 channels"):
        TASK.gather(paths[1:], learner, tmp_path / "scratch")


def test_a_file_that_shows_nothing_is_refused(toy, tmp_path):
    image, _ = toy_volume(1)
    write_case(tmp_path, "black", Volume(image.array * 0, image.affine), image)
    with pytest.raises(DataError, match=r"black\.nii\.gz holds the value 0 in every voxel"):
        TASK.gather([tmp_path / "images" / "black.nii.gz"], learner_of(toy), tmp_path / "scratch")


def test_a_class_that_no_case_holds_is_left_out_of_the_score(toy):
    class NeverTheBox(ByBrightness):
        def forward(self, images):
            (found,) = super().forward(images)
            return [torch.cat([found[:, :2], found[:, 2:] - 1e4], 1)]

    masks = toy.masks.flat.copy()
    masks[masks == 2] = 0
    without = Prepared(toy.folder, toy.facts, toy.index, toy.split)
    object.__setattr__(without, "masks", dataclasses.replace(toy.masks, flat=masks))
    learner = learner_of(toy)
    learner.network = NeverTheBox()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = learner.score(without, np.arange(3))
    assert np.isnan(figures["dice_box"])
    assert figures["score"] == figures["dice_ball"] > 0.99


def test_cases_of_another_data_set_are_refused(toy, tmp_path):
    raw, card = toy_volumes(tmp_path, 6)
    prepare_volumes(raw, card, segmentation_recipe(spacing_mm=(2.0, 2.0, 2.0)), tmp_path / "out")
    other = Prepared.open(tmp_path / "out")
    with pytest.raises(DataError, match="spacing_mm"):
        learner_of(toy).predict(other, np.array([0]))


def test_only_the_largest_piece_stays():
    mask = np.zeros((6, 6, 1), np.uint8)
    mask[0, 0], mask[2:4, 2:4], mask[5, 0], mask[5, 5] = 1, 1, 2, 2
    kept = keep_largest(mask, [1])
    assert kept.sum() == 4 + 2 + 2
    assert kept[0, 0, 0] == 0
    assert keep_largest(mask, [2]).sum() == 5 + 2
    np.testing.assert_array_equal(keep_largest(mask, []), mask)
    np.testing.assert_array_equal(keep_largest(np.zeros_like(mask), [1, 2]), 0)


def test_unknown_classes_of_the_largest_piece_are_named(toy):
    with pytest.raises(ConfigError, match="Did you mean 'ball'"):
        learner_of(toy, {"largest_component": ["bal"]})


def test_intensities_do_not_depend_on_the_scale_of_a_volume():
    values = np.random.default_rng(0).normal(100, 20, (1, 12, 12, 12)).astype(np.float32)
    values[0, 0, 0, 0] = 1e6  # one voxel that is broken changes nothing
    four = np.array([levels(values[0])], np.float32)
    normal = scaled(values, four)
    assert abs(normal.mean()) < 0.02
    assert normal.std() == pytest.approx(1, abs=0.02)
    larger = values * 1000
    np.testing.assert_allclose(scaled(larger, np.array([levels(larger[0])], np.float32)), normal, atol=1e-3)
    flat = np.full((1, 3, 3, 3), 7.0, np.float32)
    np.testing.assert_array_equal(scaled(flat, np.array([levels(flat[0])], np.float32)), 0)


def test_patches_show_image_and_mask_of_one_place(toy):
    cutter = Cutter(toy, (8, 8, 8), Intensities(), 0.5)
    images, masks = cutter.cut([0, 3, 5] * 6, torch.Generator().manual_seed(1))
    assert images.shape == (18, 1, 8, 8, 8)
    bright = images[:, 0].numpy()
    assert bright[masks[:, 0].numpy() == 1].min() > bright[masks[:, 0].numpy() == 2].max() + 2


def test_foreground_patches_hold_a_class_and_classes_take_turns(toy):
    rows = [0, 1, 2, 3] * 25
    held = {}
    for share in (0.0, 1.0):
        _, masks = Cutter(toy, (4, 4, 4), Intensities(), share).cut(rows, torch.Generator().manual_seed(2))
        held[share] = [(masks == label).flatten(1).any(1).float().mean().item() for label in (1, 2)]
    assert (torch.as_tensor(held[1.0]) > torch.as_tensor(held[0.0])).all()
    _, masks = Cutter(toy, (4, 4, 4), Intensities(), 1.0).cut(rows, torch.Generator().manual_seed(2))
    assert (masks > 0).flatten(1).any(1).all()


def test_a_volume_smaller_than_the_patch_is_placed_whole(toy):
    cutter = Cutter(toy, (32, 32, 32), Intensities(), 0.5)
    _, masks = cutter.cut([2] * 8, torch.Generator().manual_seed(3))
    assert (masks.flatten(1).bool().sum(1) == int((toy.masks[2] > 0).sum())).all()
    assert len({tuple(torch.nonzero(mask)[0].tolist()) for mask in masks}) > 3  # at several places


def test_equal_generators_cut_equal_patches(toy):
    cutter = Cutter(toy, (8, 8, 8), Intensities(), 0.5)
    one, two = (cutter.cut([0, 1], torch.Generator().manual_seed(9)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_runs_of_an_answer_fit_the_file(toy):
    runs = by_brightness(toy).predict(toy, np.array([1]))["runs"][0]
    mask = decode(runs, TASK.truth(toy, np.array([1]))["shape"][0], 3)
    np.testing.assert_array_equal(encode(mask), runs)
    assert mask.shape == read_volume(toy.folder.parent / "raw" / "images" / "v01.nii.gz").canonical().array.shape[1:]


def flat_case(number):
    """A single layer with a bright disc (5) and a dark square (2)."""
    rng = np.random.default_rng(number)
    i, j = np.meshgrid(np.arange(30), np.arange(26), indexing="ij")
    label = np.zeros((1, 30, 26, 1), np.uint8)
    at = rng.integers(8, 12, 2)
    label[0, :, :, 0][(i - at[0]) ** 2 + (j - at[1]) ** 2 < 25] = 5
    label[0, 18:25, 15:22, 0] = 2
    grey = 100 + 60.0 * (label == 5) - 60.0 * (label == 2) + rng.normal(0, 3, label.shape)
    affine = np.diag([-0.5, 0.5, 4.0, 1.0])
    return Volume(grey.astype(np.float32), affine), Volume(label, affine)


def test_single_layers_are_segmented_in_two_dimensions(tmp_path):
    for number in range(8):
        write_case(tmp_path / "raw", f"slice{number}", *flat_case(number))
    card = write_card(tmp_path / "cards", tmp_path / "raw", **TOY_VOLUMES)
    prepare_volumes(tmp_path / "raw", card, segmentation_recipe(), tmp_path / "out")
    prepared = Prepared.open(tmp_path / "out")
    learner = learner_of(prepared, {"width": 8})
    assert (learner.plan.dimensions, learner.plan.patch) == (2, (30, 26, 1))
    settings = Train(epochs=10, batch_size=2, learning_rate=0.01, augment={"flip": 0.5}, validate_every=10)
    history = fit(learner, prepared, prepared.folds()[0], settings, lambda name, fields: None)
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    learner.network = ByBrightness()
    path = tmp_path / "raw" / "images" / "slice3.nii.gz"
    new = TASK.gather([path], learner, tmp_path / "scratch")
    files = TASK.deliver(learner.predict(new, np.array([0])), new, tmp_path)
    answer = read_volume(files[1])
    label = read_volume(tmp_path / "raw" / "labels" / "slice3.nii.gz")
    assert answer.orientation == "LAS"
    assert score(np.searchsorted([0, 2, 5], answer.array), np.searchsorted([0, 2, 5], label.array)) > 0.99


@pytest.mark.parametrize("patch", [[16, 16, 16], [24, 32, 32]])
def test_light_changes_are_done_while_patches_are_read(toy, patch):
    learner = learner_of(toy, {"width": 8, "patch": patch}, {"augment": {"flip": 0.5, "turn": 3, "brightness": 0.2}})
    learner.place(toy, np.arange(8), torch.device("cpu"))
    rows, generator = torch.tensor([0, 3, 5]), torch.Generator().manual_seed(4)
    images, masks, left = learner.read(rows, generator)
    assert left is None
    again = torch.Generator().manual_seed(4)
    patches = learner._cutter.cut(rows.tolist(), again)
    size = tuple(patches[0].shape[2:])
    parameters = draw(learner.changes, 3, 1, size, size, learner.plan.spacing_mm, again)
    expected, expected_masks = apply(patches[0], parameters, 0.0, patches[1])
    assert torch.equal(images, expected)
    assert torch.equal(masks, expected_masks)
    assert torch.equal(generator.get_state(), again.get_state())
    part, _, _ = learner.read(rows, torch.Generator().manual_seed(4), slice(1, 3))
    assert torch.equal(part, expected[1:])
