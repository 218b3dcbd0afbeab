import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from ai4diag.config.detection import AnchorFree, RetinaNet
from ai4diag.config.train import Train
from ai4diag.data.prepared import Prepared
from ai4diag.errors import ConfigError, DataError
from ai4diag.tasks import task
from ai4diag.tasks.base import Learner
from ai4diag.tasks.detection.learner import DetectionLearner
from ai4diag.training.loop import fit
from tests.tasks.detection.conftest import prepare

SMALL = AnchorFree(width=8, stride=4, flips=False)
SETTINGS = Train(epochs=30, batch_size=3, learning_rate=0.01, weight_decay=0, ema=0.9, validate_every=30, seed=1)


def learner_for(prepared, model=SMALL, augment=(), seed=1):
    return DetectionLearner(
        model, prepared.classes, prepared.facts["channels"], prepared.images.shape[2:], augment, seed
    )


def trained(prepared, model=SMALL, settings=SETTINGS, augment=()):
    learner = learner_for(prepared, model, augment)
    history = fit(learner, prepared, prepared.folds()[0], settings, lambda name, fields: None)
    return learner, history


@pytest.fixture(scope="module")
def taught(prepared):
    return trained(prepared)


def test_it_finds_what_it_was_taught_in_pixels_of_the_originals(prepared, taught):
    learner, history = taught
    assert isinstance(learner, Learner)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    row = prepared.folds()[0].train[0]
    found = learner.predict(prepared, np.array([row])).iloc[0]
    truth = task("detection").truth(prepared, np.array([row])).iloc[0]
    boxes, wanted = found["boxes"].reshape(-1, 4), truth["truth_boxes"].reshape(-1, 4)
    for label in (0, 1):
        best = boxes[np.argmax(np.where(found["labels"] == label, found["scores"], -1))]
        np.testing.assert_allclose(best, wanted[truth["truth_labels"] == label][0], atol=4)


def test_boxes_in_image_order_are_not_learned(prepared, taught, tmp_path):
    """Boxes with x before y train without complaint; only the figures show it."""
    right = taught[0].score(prepared, prepared.folds()[0].train)["map_50"]
    swapped = prepare(tmp_path / "swapped")
    table = swapped.boxes.copy()
    table[["min_0", "min_1", "max_0", "max_1"]] = table[["min_1", "min_0", "max_1", "max_0"]].to_numpy()
    swapped.__dict__["boxes"] = table
    learner, _ = trained(swapped)
    wrong = learner.score(prepared, prepared.folds()[0].train)["map_50"]
    assert right > 0.9
    assert wrong < 0.2


@pytest.mark.parametrize("augment", [(), ("flip", "rotate", "scale", "shift", "intensity", "noise")])
def test_the_same_seed_gives_the_same_bits(prepared, augment):
    short = SETTINGS.model_copy(update={"epochs": 3})
    one, first = trained(prepared, settings=short, augment=augment)
    two, second = trained(prepared, settings=short, augment=augment)
    assert str(first) == str(second)
    for left, right in zip(one.network.state_dict().values(), two.network.state_dict().values(), strict=True):
        assert torch.equal(left, right)


def test_a_stored_learner_gives_the_same_bits(prepared, taught, tmp_path):
    learner = taught[0]
    learner.save(tmp_path / "model")
    again = task("detection").load(tmp_path / "model")
    rows = prepared.folds()[0].test
    left, right = learner.predict(prepared, rows), again.predict(prepared, rows)
    for name in ("boxes", "labels", "scores"):
        for one, two in zip(left[name], right[name], strict=True):
            np.testing.assert_array_equal(one, two)
    stored = json.loads((tmp_path / "model" / "model.json").read_text())
    assert stored["classes"] == ["bright", "dark"]
    assert stored["size"] == [64, 96]


def test_damaged_weights_and_weights_of_another_network_are_refused(prepared, taught, tmp_path):
    taught[0].save(tmp_path)
    facts = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**facts, "model": {**facts["model"], "width": 12}}))
    with pytest.raises(DataError, match="shape"):
        task("detection").load(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps(facts))
    content = bytearray((tmp_path / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        task("detection").load(tmp_path)


def test_cases_of_another_size_are_refused(taught, tmp_path):
    other = prepare(tmp_path, count=4, size=(64, 64))
    with pytest.raises(DataError, match="size"):
        taught[0].predict(other, np.arange(2))


def test_predictions_do_not_depend_on_the_rows_beside(prepared, taught):
    together = taught[0].predict(prepared, np.arange(4))
    alone = taught[0].predict(prepared, np.array([2]))
    np.testing.assert_allclose(together["scores"][2][:3], alone["scores"][0][:3], atol=1e-4)


@pytest.mark.parametrize("views", [{"flips": True}, {"transpose": True}, {"flips": True, "transpose": True}])
def test_turned_views_answer_for_the_image_as_it_stands(prepared, taught, views):
    learner = taught[0]
    rows = prepared.folds()[0].train
    plain = learner.predict(prepared, rows)
    joined = DetectionLearner.predict(_with_views(learner, prepared, views), prepared, rows)
    for one, two in zip(plain["boxes"], joined["boxes"], strict=True):
        assert len(two) > 0
        assert np.abs(one[:4] - two.reshape(-1, 4)).max(1).min() < 12


def _with_views(learner, prepared, views):
    flipping = learner_for(prepared, learner.model.model_copy(update=views))
    flipping.network.load_state_dict(learner.network.state_dict())
    flipping.mean, flipping.spread = learner.mean, learner.spread
    return flipping


def test_a_view_with_exchanged_axes_is_the_plain_view_of_the_exchanged_image():
    generator = torch.Generator().manual_seed(8)
    images = torch.randint(0, 255, (2, 1, 64, 112), generator=generator, dtype=torch.uint8)
    lying, standing = (
        DetectionLearner(SMALL, ["cell"], ["grey"], size, augment=(), seed=1) for size in ((64, 112), (112, 64))
    )
    for learner in (lying, standing):
        learner.network.eval()
    scores, boxes = lying.looker().view(images, ((), True))
    expected_scores, expected_boxes = standing.looker().view(images.transpose(-1, -2).contiguous(), ((), False))
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-4)
    np.testing.assert_allclose(boxes, expected_boxes[..., [1, 0, 3, 2]], atol=1e-3)


def test_answers_respect_limits(prepared, taught):
    for line in taught[0].predict(prepared, np.arange(12)).itertuples():
        boxes = line.boxes.reshape(-1, 4)
        assert len(boxes) <= 100
        assert (boxes >= 0).all()
        assert (boxes[:, 2:] <= (128.01, 192.01)).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert line.boxes.dtype == line.scores.dtype == np.float32


def test_no_boxes_to_learn_from_is_an_error(prepared):
    bare = Prepared(prepared.folder, prepared.facts, prepared.index, prepared.split)
    bare.__dict__["boxes"] = prepared.boxes.iloc[:0]
    with pytest.raises(DataError, match="has a box"):
        learner_for(bare).place(bare, np.arange(4), torch.device("cpu"))


@pytest.mark.parametrize("window", [(64,), (60, 60)])
def test_a_window_that_does_not_fit_is_refused(prepared, window):
    with pytest.raises(ConfigError, match="multiple of 32"):
        learner_for(prepared, AnchorFree(width=8, window=window))


def test_retinanet_learns_under_the_same_interface(prepared):
    settings = Train(epochs=20, batch_size=3, learning_rate=0.001, weight_decay=0, validate_every=20, seed=1)
    learner, history = trained(prepared, RetinaNet(backbone="resnet10", flips=False), settings)
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]
    found = learner.predict(prepared, prepared.folds()[0].train)
    assert list(found) == ["boxes", "labels", "scores"]
    assert [len(line.boxes) for line in found.itertuples()] == [4 * len(line.scores) for line in found.itertuples()]
    assert found["scores"].map(len).min() > 0
    assert learner.score(prepared, prepared.folds()[0].train)["map_50"] > 0.5


def test_unknown_hooks_are_refused(prepared):
    with pytest.raises(ConfigError, match="Did you mean 'preprocess'"):
        task("detection").learner(prepared, None, {"preproces": print})


def test_importing_the_task_imports_no_torch():
    code = (
        "import sys; from ai4diag.tasks import task; task('detection'); print(sys.modules.keys() & {'torch', 'monai'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
