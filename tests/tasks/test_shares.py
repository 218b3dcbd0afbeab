"""A share of a batch is what the whole batch holds there: the contract behind `train.accumulate` and `torchrun`."""

from __future__ import annotations

import pytest
import torch

from ai4diag.data.prepare_signals import prepare_signals
from ai4diag.data.prepare_volumes import prepare_volumes
from ai4diag.data.prepared import Prepared
from ai4diag.tasks import task
from tests.data.signal_helpers import beat_recipe, toy_beats
from tests.data.volume_helpers import segmentation_recipe, toy_volumes

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


@pytest.mark.parametrize("kind", ["volumes", "beats"])
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
