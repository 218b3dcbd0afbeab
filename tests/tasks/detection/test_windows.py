"""Volumes of different sizes: training windows, windows of a prediction, answers in voxels of files and millimetres."""

import numpy as np
import pandas as pd
import pytest
import torch

from ai4diag.config.detection import AnchorFree, RetinaNet
from ai4diag.config.train import Train
from ai4diag.data.prepared import Prepared, write_prepared
from ai4diag.data.volume import Volume, write_nifti
from ai4diag.data.volume_store import packing, volume_table
from ai4diag.errors import ConfigError, DataError
from ai4diag.evaluation.boxes import iou_matrix
from ai4diag.tasks import task
from ai4diag.tasks.detection.augment import apply, draw
from ai4diag.tasks.detection.boxes import Truth
from ai4diag.tasks.detection.learner import DetectionLearner
from ai4diag.tasks.detection.looks import Looker
from ai4diag.tasks.detection.windows import pieces_of, towards_boxes, volume_batch
from ai4diag.training.loop import fit

EDGES = [f"{edge}_{axis}" for edge in ("min", "max") for axis in range(3)]
PACKING = {"spacing_mm": None, "grey": {"values": [0, 255], "percentiles": None}, "preprocess": False}
GRID = np.diag([1.0, 2.0, 3.0, 1.0])
SMALL = AnchorFree(width=8, stride=2, stages=2, side=8, flips=False)


def blocks(count, seed, most=(30, 26, 34)):
    """Draw volumes of different sizes with one bright block each, long in the third axis; return them and the boxes."""
    generator = np.random.default_rng(seed)
    volumes, boxes = [], []
    for _ in range(count):
        sides = generator.integers((22, 20, 26), np.add(most, 1))
        size = generator.integers((5, 5, 10), (8, 8, 14))
        low = generator.integers(1, sides - size)
        volume = generator.integers(40, 80, (1, *sides)).astype(np.uint8)
        volume[0, *(slice(a, a + b) for a, b in zip(low, size, strict=True))] += 130
        volumes.append(volume)
        boxes.append([*low, *(low + size)])
    return volumes, np.array(boxes, float)


def prepare(folder, count=10, seed=3):
    """Prepared cases of blocks; every third is test."""
    volumes, boxes = blocks(count, seed)
    names = [f"ct{number}" for number in range(count)]
    index = pd.DataFrame({"case_id": names, "patient_id": names, "site": "lab"})
    index[["size_0", "size_1", "size_2"]] = [volume.shape[1:] for volume in volumes]
    table = pd.DataFrame(boxes.astype(np.float32), columns=EDGES)
    table.insert(0, "label", 0)
    table.insert(0, "case", np.arange(count))
    table["ignore"] = False
    part = np.where(np.arange(count) % 3 == 2, "test", "train")
    split = pd.DataFrame({"case_id": names, "patient_id": names, "fold": 0, "part": part, "contrast": 0})
    facts = {"task": "detection", "dataset": "blocks", "classes": ["block"], "channels": ["CT"], "packing": PACKING}
    with packing(folder, "volumes", np.uint8) as writer:
        for volume in volumes:
            writer.add(volume)
        store = writer.store()
        write_prepared(
            folder,
            facts={**facts, "image_size": store.shape[:, 1:].max(axis=0).tolist()},
            index=index,
            split=split,
            findings=[],
            arrays={"volumes": store.flat},
            tables={"boxes": table, "volumes": volume_table(store, np.tile(GRID, (count, 1, 1)))},
        )
    return Prepared.open(folder)


def learner_of(prepared, model=SMALL, augment=("flip", "shift")):
    facts = prepared.facts
    return DetectionLearner(
        model, prepared.classes, facts["channels"], facts["image_size"], augment, seed=1, packing=facts["packing"]
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("blocks"))


@pytest.fixture(scope="module")
def taught(prepared):
    learner = learner_of(prepared, augment=("shift",))
    settings = Train(epochs=12, batch_size=2, learning_rate=0.005, weight_decay=0, ema=0.8, validate_every=99, seed=1)
    fit(learner, prepared, prepared.folds()[0], settings, lambda name, fields: None)
    return learner


def test_it_finds_blocks_in_volumes_it_has_not_seen(prepared, taught):
    assert taught.score(prepared, prepared.folds()[0].test)["map_50"] > 0.5


def test_boxes_with_exchanged_axes_are_not_learned(prepared, taught):
    """Boxes in image order (last axis first) pass every check of shape; only the figures show it."""
    swapped = Prepared(prepared.folder, prepared.facts, prepared.index, prepared.split)
    table = prepared.boxes.copy()
    table[EDGES] = table[[EDGES[at] for at in (2, 1, 0, 5, 4, 3)]].to_numpy()
    swapped.__dict__["boxes"] = table
    assert taught.score(swapped, prepared.folds()[0].test)["map_50"] < 0.2


def test_a_case_is_answered_alike_alone_and_among_others(prepared, taught):
    together = taught.predict(prepared, np.arange(10))
    for row in (0, 7):
        alone = taught.predict(prepared, np.array([row])).iloc[0]
        np.testing.assert_allclose(alone["boxes"], together.iloc[row]["boxes"], atol=1e-2)
        np.testing.assert_allclose(alone["scores"], together.iloc[row]["scores"], atol=1e-4)


def test_windows_answer_as_the_whole_volume_does(prepared, taught):
    """A window sees less around a block than the whole volume, but boxes it alike."""
    row = np.array([int(np.argmax(prepared.volumes.shape[:, 1:].prod(1)))])
    pieces = Looker(taught.network, taught._normalise, taught._device, (24, 24, 32), (24, 24, 32), 0.6)
    (whole,) = taught.looker().volumes(prepared.volumes, row, [((), False)])
    (joined,) = pieces.volumes(prepared.volumes, row, [((), False)])
    np.testing.assert_allclose(joined.boxes[0], whole.boxes[0], atol=1.5)
    overlaps = iou_matrix(joined.boxes, joined.boxes) - np.eye(len(joined.boxes))
    assert overlaps[0].max() < 0.8  # what two windows found stands once; edges are means, so that 0.6 may be passed
    np.testing.assert_allclose(joined.scores[0], whole.scores[0], atol=0.2)


def test_a_mirrored_view_answers_for_the_volume_as_it_stands(prepared, taught):
    rows = np.arange(3)
    looker = taught.looker()
    plain = list(looker.volumes(prepared.volumes, rows, [((), False)]))
    mirrored = list(looker.volumes(prepared.volumes, rows, [((0, 2), False)]))
    for one, two in zip(plain, mirrored, strict=True):
        np.testing.assert_allclose(one.boxes[0], two.boxes[0], atol=2)


@pytest.mark.parametrize("pieces", [None, (24, 16, 32)])
def test_a_view_with_exchanged_axes_is_that_of_the_exchanged_volume(prepared, taught, tmp_path, pieces):
    """Of volumes that are long in the last axis, so that the window of the view is another one."""
    turned = None if pieces is None else (pieces[0], pieces[2], pieces[1])
    with packing(tmp_path, "volumes", np.uint8) as writer:
        for row in range(3):
            writer.add(np.array(prepared.volumes[row]).swapaxes(2, 3))
        other = Looker(taught.network, taught._normalise, taught._device, (8, 8, 8), turned, 0.6)
        expected = list(other.volumes(writer.store(), np.arange(3), [((0,), False)]))
    looker = Looker(taught.network, taught._normalise, taught._device, (8, 8, 8), pieces, 0.6)
    found = list(looker.volumes(prepared.volumes, np.arange(3), [((0,), True)]))
    for one, two in zip(found, expected, strict=True):
        assert len(one.scores)
        np.testing.assert_allclose(one.scores, two.scores, atol=1e-4)
        np.testing.assert_allclose(one.boxes[:, [0, 2, 1, 3, 5, 4]], two.boxes, atol=1e-2)


def test_axes_that_there_are_not_are_refused(prepared):
    with pytest.raises(ConfigError, match=r"model.flips is \[-1\]; expected axes from 0 to 2"):
        learner_of(prepared, SMALL.model_copy(update={"flips": (-1,)}))
    with pytest.raises(ConfigError, match="third axis"):
        DetectionLearner(AnchorFree(), ["cell"], ["grey"], (64, 64), ("flip_2",), seed=1)


def test_a_stored_learner_gives_the_same_bits(prepared, taught, tmp_path):
    taught.save(tmp_path)
    again = task("detection").load(tmp_path)
    for one, two in zip(
        taught.predict(prepared, np.arange(3))["boxes"], again.predict(prepared, np.arange(3))["boxes"], strict=True
    ):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "names", [(), ("flip", "scale", "shift", "rotate", "intensity", "noise"), ("flip_0", "stretch")]
)
def test_windows_cut_from_the_store_equal_those_of_the_whole_volume(names):
    """What a window looks up is cut from the volume first; the answer is that of resampling the whole."""
    generator = np.random.default_rng(2)
    volumes = [generator.integers(0, 255, (2, 30, 27, 25)).astype(np.uint8) for _ in range(3)]
    boxes = torch.tensor([[[4.0, 6, 3, 12, 20, 15]]] * 3)
    flags = torch.ones(3, 1, dtype=torch.bool)
    truth = Truth(boxes, torch.zeros(3, 1, dtype=torch.int64), flags, ~flags)
    fill, window = torch.tensor([90.0, 110.0]), (16, 32, 8)
    found, moved = volume_batch(volumes, truth, names, window, 0.0, fill, torch.Generator().manual_seed(5))
    parameters = draw(names, 3, 2, (30, 27, 25), window, torch.Generator().manual_seed(5))
    expected, boxes_expected = apply(torch.from_numpy(np.stack(volumes)), truth, parameters, fill)
    np.testing.assert_allclose(found, expected, atol=0.05)
    torch.testing.assert_close(moved.boxes, boxes_expected.boxes)


def test_windows_near_boxes_hold_their_middle_and_stay_inside():
    sides = torch.tensor([[100.0, 90, 80]] * 64)
    generator = np.random.default_rng(1)
    low = generator.uniform(0, 70, (64, 2, 3))
    boxes = torch.from_numpy(np.concatenate([low, low + 8], -1)).float()
    real = torch.ones(64, 2, dtype=torch.bool)
    real[::2, 1] = False
    truth = Truth(boxes, torch.zeros(64, 2, dtype=torch.int64), real, torch.zeros_like(real))
    window = (40, 32, 96)
    parameters = draw(("flip", "scale"), 64, 1, sides, window, torch.Generator().manual_seed(1))
    moved = towards_boxes(parameters, sides, truth, 1.0, torch.Generator().manual_seed(2))
    middles = (boxes[..., :3] + boxes[..., 3:]) / 2 - sides[:, None] / 2
    there = (middles @ moved.matrix.transpose(1, 2) + moved.offset[:, None]).abs() <= torch.tensor(window) / 2
    assert (there.all(-1) & real).any(1).all()
    reach = (moved.matrix.abs() @ sides[..., None])[..., 0] / 2
    free = reach > torch.tensor(window) / 2
    assert (moved.offset.abs() <= reach - torch.tensor(window) / 2 + 1e-3)[free].all()
    assert torch.equal(moved.offset[~free], parameters.offset[~free])
    unmoved = towards_boxes(parameters, sides, truth, 0.0, torch.Generator().manual_seed(2))
    assert torch.equal(unmoved.offset, parameters.offset)


@pytest.mark.parametrize("sides", [(10, 7), (64, 200), (65, 33), (300, 31)])
def test_pieces_cover_a_volume_and_one_is_in_charge_of_every_place(sides):
    pieces = pieces_of(sides, (64, 32))
    covered, charge = np.zeros(sides, int), np.zeros(sides, int)
    for piece in pieces:
        assert all(size <= length for size, length in zip(piece.size, (64, 32), strict=True))
        covered[tuple(slice(a, b) for a, b in zip(piece.low, piece.high, strict=True))] += 1
        rows, columns = (np.arange(side) + 0.25 for side in sides)
        charge += ((rows >= piece.core[0, 0]) & (rows < piece.core[1, 0]))[:, None] * (
            (columns >= piece.core[0, 1]) & (columns < piece.core[1, 1])
        )
    assert covered.min() == 1
    assert (charge == 1).all()


def test_cases_of_another_kind_are_refused(prepared, taught):
    other = Prepared(prepared.folder, {**prepared.facts, "packing": {**PACKING, "spacing_mm": [1, 1, 1]}}, *[None] * 2)
    with pytest.raises(DataError, match="packing"):
        taught.predict(other, np.arange(1))
    images = DetectionLearner(SMALL, ["block"], ["CT"], (32, 32, 40), (), seed=1)
    with pytest.raises(DataError, match="The cases are volumes; the model takes images"):
        images.predict(prepared, np.arange(1))
    with pytest.raises(ConfigError, match="predict_window"):
        learner_of(prepared, SMALL.model_copy(update={"predict_window": (30, 32, 32)}))


def test_new_files_are_answered_in_their_own_axes_and_in_millimetres(prepared, taught, tmp_path):
    """One block in three files: as it stands, with two axes reversed, and with axes exchanged."""
    array, truth = np.array(prepared.volumes[2][0]), prepared.boxes[EDGES].to_numpy(np.float64)[2]
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = (-40, 25, 7)
    flip = affine @ np.diag([-1.0, 1, -1, 1])
    flip[:3, 3] = (affine @ (array.shape[0] - 1, 0, array.shape[2] - 1, 1))[:3]
    files = {
        "plain": (array, affine),
        "flipped": (array[::-1, :, ::-1], flip),
        "exchanged": (array.transpose(2, 0, 1), affine[:, [2, 0, 1, 3]]),
    }
    for name, (voxels, place) in files.items():
        voxels = np.ascontiguousarray(voxels)
        write_nifti(tmp_path / f"{name}.nii.gz", voxels, Volume(voxels[None], place))
    known = task("detection")
    new = known.gather([tmp_path / f"{name}.nii.gz" for name in files], taught, tmp_path / "new")
    table = taught.predict(new, np.arange(3))
    written = known.deliver(table, new, tmp_path)
    assert [path.name for path in written] == ["predictions.csv", "cases.csv"]
    found = pd.read_csv(written[0]).groupby("case_id").first()
    voxels = [f"{axis}_{edge}_voxel" for edge in ("min", "max") for axis in "ijk"]
    world = ["x_right_mm", "y_front_mm", "z_head_mm"]
    np.testing.assert_allclose(found.loc["plain", voxels].astype(float), truth, atol=1.5)
    middle = affine @ (*((truth[:3] + truth[3:]) / 2 - 0.5), 1)
    for name in files:
        np.testing.assert_allclose(found.loc[name, world].astype(float), middle[:3], atol=3)
        np.testing.assert_allclose(
            found.loc[name, ["size_right_mm", "size_front_mm", "size_head_mm"]].astype(float),
            (truth[3:] - truth[:3]) * (1, 2, 3),
            atol=6,
        )
    plain = found.loc["plain", voxels].to_numpy(float)
    sides = np.array(array.shape)
    np.testing.assert_allclose(
        found.loc["flipped", voxels].to_numpy(float),
        [sides[0] - plain[3], plain[1], sides[2] - plain[5], sides[0] - plain[0], plain[4], sides[2] - plain[2]],
        atol=0.01,
    )
    np.testing.assert_allclose(found.loc["exchanged", voxels].to_numpy(float), plain[[2, 0, 1, 5, 3, 4]], atol=0.01)
    assert pd.read_csv(written[1])["boxes"].min() >= 1


def test_what_a_hook_changed_cannot_be_gathered(prepared, tmp_path):
    learner = learner_of(prepared)
    learner.preprocessed = True
    with pytest.raises(DataError, match="preprocess"):
        task("detection").gather([tmp_path / "new.nii.gz"], learner, tmp_path)


def test_the_published_recipe_of_retinanet_can_be_said():
    """Strides of 4, 4 and 2 voxels, three anchors on three levels: what MONAI's tutorial for LUNA16 has, narrower."""
    from ai4diag.tasks.detection.learner import build

    model = RetinaNet(
        width=4,
        pyramid=8,
        levels=3,
        first_stride=(2, 2, 1),
        anchor_shapes=((6, 8, 4), (8, 6, 5), (10, 10, 6)),
        candidates=4,
    )
    network = build(model, classes=1, channels=1, dimensions=3)
    outputs = network(torch.zeros(1, 1, 64, 64, 32))
    shapes = [tuple(level.shape[1:]) for level in outputs[:3]]
    assert shapes == [(3, 16, 16, 16), (3, 8, 8, 8), (3, 4, 4, 4)]
    assert network.divisor == (16, 16, 8)
    first = network.anchors(outputs)[0].reshape(16, 16, 16, 3, 6)
    sizes = (first[..., 3:] - first[..., :3])[0, 0, 0]
    np.testing.assert_allclose(sizes, [[6, 8, 4], [8, 6, 4], [10, 10, 6]])  # MONAI rounds halves to whole voxels
    np.testing.assert_allclose((first[1, 2, 3, 0, :3] + first[1, 2, 3, 0, 3:]) / 2, [6, 10, 7])
    truth = Truth(
        torch.tensor([[[20.0, 20, 10, 28, 28, 16]]]),
        torch.zeros(1, 1, dtype=torch.int64),
        torch.ones(1, 1, dtype=torch.bool),
        torch.zeros(1, 1, dtype=torch.bool),
    )
    losses = network.loss(outputs, truth)
    losses["loss"].backward()
    assert torch.isfinite(losses["loss"])
    with pytest.raises(ConfigError, match="first stride"):
        build(model.model_copy(update={"first_stride": (2, 1)}), classes=1, channels=1, dimensions=3)
