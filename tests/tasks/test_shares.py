"""A share of a batch is what the whole batch holds there: the contract behind `train.accumulate` and `torchrun`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ai4diag.config.detection import AnchorFree
from ai4diag.data.prepare_signals import prepare_signals
from ai4diag.data.prepare_volumes import prepare_volumes
from ai4diag.data.prepared import Prepared
from ai4diag.errors import MachineError
from ai4diag.tasks import task
from ai4diag.tasks.detection.boxes import Truth
from ai4diag.tasks.detection.learner import DetectionLearner
from ai4diag.tasks.detection.windows import volume_batch
from tests.data.signal_helpers import beat_recipe, toy_beats
from tests.data.volume_helpers import segmentation_recipe, toy_volumes
from tests.tasks.detection.conftest import prepare

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes")
    raw, card = toy_volumes(folder)
    prepare_volumes(raw, card, segmentation_recipe(), folder / "out")
    prepared = Prepared.open(folder / "out")
    recipe = segmentation_recipe({"width": 8, "patch": [16, 16, 16]}, {"augment": {"rotate": 10, "noise": 0.1}})
    learner = task("segmentation").learner(prepared, recipe, {})
    learner.place(prepared, prepared.folds()[0].train, CPU)
    return learner, torch.from_numpy(prepared.folds()[0].train[:4])


@pytest.fixture(scope="module")
def beats(tmp_path_factory):
    folder = tmp_path_factory.mktemp("beats")
    raw, card = toy_beats(folder, 90)
    recipe = beat_recipe(train={"augment": ["scale", "noise", "shift", "drop"]})
    prepare_signals(raw, card, recipe, folder / "out")
    prepared = Prepared.open(folder / "out")
    learner = task("timeseries").learner(prepared, recipe, {})
    learner.place(prepared, prepared.folds()[0].train, CPU)
    return learner, torch.from_numpy(prepared.folds()[0].train[:10])


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    prepared = prepare(tmp_path_factory.mktemp("boxes"))
    names = ("flip", "rotate", "scale", "shift", "intensity", "noise")
    given = (prepared.classes, prepared.facts["channels"], prepared.images.shape[2:], names, 1)
    learner = DetectionLearner(AnchorFree(width=8, window=(64, 64)), *given)
    rows = np.concatenate([prepared.folds()[0].train, prepared.folds()[0].validation])[:5]
    learner.place(prepared, prepared.folds()[0].train, CPU)
    return learner, torch.from_numpy(rows)


@pytest.mark.parametrize("kind", ["volumes", "beats", "boxes"])
def test_shares_see_what_the_whole_batch_sees(kind, request):
    """The network is given the batch, one share after the other, and the generator ends where it would."""
    learner, rows = request.getfixturevalue(kind)
    seen = []
    hook = learner.network.register_forward_pre_hook(lambda module, given: seen.append(given[0].clone()))
    states = []
    for shares in ([slice(None)], [slice(0, 1), slice(1, 3), slice(3, len(rows))]):
        start = len(seen)
        for share in shares:
            generator = torch.Generator().manual_seed(5)
            losses = learner.loss(rows, generator, share=share)
            assert torch.isfinite(losses["loss"])
        states.append(generator.get_state())
        seen[start:] = [torch.cat(seen[start:])]
    hook.remove()
    assert torch.allclose(*seen, rtol=1e-5, atol=1e-6)
    assert torch.equal(*states)
    assert len(seen[0]) >= len(rows)


def test_reading_ahead_and_computing_is_the_loss(volumes):
    learner, rows = volumes
    one, two = (torch.Generator().manual_seed(5) for _ in range(2))
    learner.network.eval()
    assert torch.equal(learner.loss(rows, one)["loss"], learner.loss_of(learner.read(rows, two))["loss"])


def test_a_prediction_for_which_memory_runs_out_goes_on_with_half_as_much_at_once(volumes, monkeypatch, caplog):
    learner, rows = volumes
    prepared, rows = learner._cutter.prepared, rows.numpy()
    forward, most, seen = learner.network.forward, [10**9], []

    def limited(images):
        seen.append(images[:, 0].numel())
        if seen[-1] > most[0]:
            torch.empty(2**50)  # more than there is
        return forward(images)

    monkeypatch.setattr(learner.network, "forward", limited)
    voxels = int(np.prod(learner._padded(prepared.volumes[int(rows[0])].shape[1:])))
    learner.at_once = len(rows) * voxels
    learner.network.eval()
    plain = dict(learner._answers(prepared, rows, [()]))
    together = max(seen)
    assert together > 2 * voxels

    seen.clear()
    most[0] = together - 1
    again = dict(learner._answers(prepared, rows, [()]))
    assert sum(asked == together for asked in seen) == 1
    assert learner.at_once == len(rows) * voxels // 2
    assert max(asked for asked in seen if asked != together) <= learner.at_once
    assert caplog.text.count("Memory ran out") == 1
    assert plain.keys() == again.keys() == set(range(len(rows)))
    assert all(np.allclose(plain[number], again[number], atol=1e-5) for number in plain)

    most[0] = 10
    with pytest.raises(MachineError, match="Memory ran out"):
        list(learner._answers(prepared, rows, [()]))


def test_windows_of_a_share_are_those_of_the_batch():
    dice = np.random.default_rng(2)
    volumes = [dice.integers(0, 255, (1, 20 + 2 * case, 24, 30), dtype=np.uint8) for case in range(5)]
    low = torch.from_numpy(dice.integers(2, 10, (5, 2, 3))).float()
    there = torch.tensor([[True, True], [True, False], [False, False], [True, True], [True, False]])
    truth = Truth(torch.cat([low, low + 6], -1), torch.zeros(5, 2, dtype=torch.long), there, torch.zeros(5, 2).bool())
    names = ("flip", "rotate", "scale", "shift", "intensity", "noise")
    found = []
    for share in (slice(None), slice(0, 2), slice(2, 5)):
        generator = torch.Generator().manual_seed(4)
        given = (volumes, truth, names, (16, 16, 16), 0.7, torch.zeros(1), generator)
        found.append((*volume_batch(*given, share=share), generator.get_state()))
    whole, first, second = found
    assert torch.allclose(whole[0], torch.cat([first[0], second[0]]), atol=1e-4)
    for name in ("boxes", "labels", "real", "ignore"):
        assert torch.allclose(
            getattr(whole[1], name).float(),
            torch.cat([getattr(first[1], name), getattr(second[1], name)]).float(),
            atol=1e-4,
        )
    assert torch.equal(whole[2], second[2])
