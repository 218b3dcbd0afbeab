"""A loss that is no number, and memory that runs out."""

from __future__ import annotations

import functools
import json
import math
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from ai4diag.config.train import Train
from ai4diag.data.prepared import Prepared
from ai4diag.errors import MachineError, TrainingError
from ai4diag.tasks.memory import fits, free_bytes, halving, out_of_memory
from ai4diag.training import probe, step
from ai4diag.training.checkpoint import read_checkpoint
from ai4diag.training.failures import Watch
from ai4diag.training.loop import fit
from tests.training.test_loop import FOLD, SETTINGS, ToyLearner, assert_same, quiet, weights

TOO_MUCH = 2**50
"""Bytes that no allocator has."""


class BadCase(ToyLearner):
    """One patient's pressure was stored as infinity."""

    def __init__(self, row=37):
        super().__init__()
        self.x[row] = math.inf


class Hungry(ToyLearner):
    """Takes memory for every case, which is there for eight at a time."""

    def __init__(self, most=8):
        super().__init__()
        self.most, self.sizes = most, []

    def loss(self, rows, generator):
        losses = super().loss(rows, generator)
        if len(rows) > self.most:
            torch.empty(TOO_MUCH)
        self.sizes.append(len(rows))
        return losses


class Plain(ToyLearner):
    """No dropout, no batch norm, no noise: a batch in parts is the batch. Double precision shows it."""

    def __init__(self, most=math.inf):
        super().__init__()
        torch.manual_seed(0)
        self.network = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
        self.x, self.y, self.most = self.x.double(), self.y.double(), most

    def loss(self, rows, generator):
        if len(rows) > self.most:
            torch.empty(TOO_MUCH)
        logits = self.network(self.x[rows])[:, 0]
        return {"loss": torch.nn.functional.binary_cross_entropy_with_logits(logits, self.y[rows])}


class Sharing(ToyLearner):
    """Draws for the whole batch whatever part of it is computed."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.network = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
        self.x, self.y = self.x.double(), self.y.double()

    def loss(self, rows, generator, share=slice(None)):
        noise = torch.randn(len(rows), 2, generator=generator)[share]
        rows = rows[share]
        logits = self.network(self.x[rows] + noise)[:, 0]
        return {"loss": torch.nn.functional.binary_cross_entropy_with_logits(logits, self.y[rows])}


@pytest.fixture
def prepared(tmp_path):
    index = pd.DataFrame({"case_id": [f"patient {row}" for row in range(120)]})
    return Prepared(tmp_path, {}, index, pd.DataFrame())


@pytest.mark.parametrize("later", [False, True])
def test_the_batch_with_the_bad_case_is_kept_and_can_be_computed_again(prepared, tmp_path, monkeypatch, later):
    monkeypatch.setattr(step, "Watch", functools.partial(Watch, later=later))  # what a GPU does, on this CPU
    undisturbed, taken = ToyLearner(), {}

    def follow(name, fields):
        if name == "step":
            taken[fields["step"]] = weights(undisturbed)

    fit(undisturbed, prepared, FOLD, SETTINGS, follow)
    learner = BadCase()
    with pytest.raises(TrainingError, match=r"failed_batch\.json") as caught:
        fit(learner, prepared, FOLD, SETTINGS, quiet, failed_batch=tmp_path / "failed_batch")
    facts = json.loads((tmp_path / "failed_batch.json").read_text())
    assert "patient 37" in facts["case_ids"]
    assert len(facts["rows"]) == 16
    assert facts["epoch"] == 1
    assert f"step {facts['step']}" in str(caught.value)
    tensors = load_file(tmp_path / "failed_batch.safetensors")
    assert tensors["rows"].tolist() == facts["rows"]
    before = taken[facts["step"] - 1] if facts["step"] > 1 else weights(ToyLearner())
    assert torch.equal(tensors["network.0.weight"], before["0.weight"])  # the step was not taken

    healthy = ToyLearner()  # the same batch with the same draws, computed twice
    losses = []
    for _ in range(2):
        healthy.network.load_state_dict({n[8:]: t for n, t in tensors.items() if n.startswith("network.")})
        generator = torch.Generator()
        generator.set_state(tensors["random.order"])
        torch.set_rng_state(tensors["random.cpu"])
        losses.append(healthy.loss(tensors["rows"], generator)["loss"].item())
    assert losses[0] == losses[1]
    assert math.isfinite(losses[0])


def test_a_bad_loss_noticed_later_leaves_the_weights_of_the_bad_step(prepared, tmp_path, monkeypatch):
    """The flag on the device holds the optimizer back until the host looks: both ways keep the same weights."""
    kept = []
    for later in (False, True):
        monkeypatch.setattr(step, "Watch", functools.partial(Watch, later=later))
        with pytest.raises(TrainingError):
            fit(BadCase(), prepared, FOLD, SETTINGS, quiet, failed_batch=tmp_path / str(later))
        kept.append(load_file(tmp_path / f"{later}.safetensors"))
    names = [name for name in kept[0] if "running" not in name and "tracked" not in name]
    assert len(names) > 5
    assert_same({name: kept[0][name] for name in names}, {name: kept[1][name] for name in names})


@pytest.mark.parametrize("later", [False, True])
def test_a_watch_that_looks_later_changes_no_number(prepared, monkeypatch, later):
    one, two = ToyLearner(), ToyLearner()
    fit(one, prepared, FOLD, SETTINGS, quiet)
    monkeypatch.setattr(step, "Watch", functools.partial(Watch, later=later))
    fit(two, prepared, FOLD, SETTINGS, quiet)
    assert_same(weights(one), weights(two))


def test_out_of_memory_halves_once_and_is_told(prepared):
    events, learner = [], Hungry()
    history = fit(learner, prepared, FOLD, SETTINGS, lambda name, fields: events.append((name, fields)))
    told = [fields for name, fields in events if name == "out_of_memory"]
    assert [(fields["epoch"], fields["cases"], fields["parts"]) for fields in told] == [(1, 16, 2)]
    assert history[0]["notes"] == ["memory ran out: batches of 16 are computed in 2 parts from here on"]
    assert all("notes" not in event for event in history[1:])
    assert set(learner.sizes) == {8}
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]


def test_out_of_memory_twice_ends_with_a_cure(prepared):
    with pytest.raises(TrainingError, match=r"train\.accumulate: 4"):
        fit(Hungry(most=4), prepared, FOLD, SETTINGS, quiet)


@pytest.mark.parametrize("settings", [Train(epochs=5, batch_size=15, accumulate=4), Train(epochs=5, batch_size=15)])
def test_a_batch_in_parts_is_the_batch(prepared, settings):
    """To rounding in double precision: 80 cases are 6 batches of 14 and 13, in parts of unequal size."""
    whole, parts = Plain(), Plain(most=7 if settings.accumulate == 1 else math.inf)
    one = fit(whole, prepared, FOLD, Train(epochs=5, batch_size=15), quiet)
    two = fit(parts, prepared, FOLD, settings, quiet)
    assert [event["loss"] for event in one] == pytest.approx([event["loss"] for event in two], rel=1e-9)
    for name, tensor in weights(whole).items():
        assert torch.allclose(tensor, weights(parts)[name], rtol=1e-7, atol=1e-9), name


def test_a_learner_that_knows_shares_draws_the_same_numbers_in_parts(prepared):
    whole, parts = Sharing(), Sharing()
    fit(whole, prepared, FOLD, Train(epochs=3, batch_size=15), quiet)
    fit(parts, prepared, FOLD, Train(epochs=3, batch_size=15, accumulate=3), quiet)
    for name, tensor in weights(whole).items():
        assert torch.allclose(tensor, weights(parts)[name], rtol=1e-7, atol=1e-9), name


def test_a_training_resumed_after_memory_ran_out_stays_in_parts(prepared, tmp_path, monkeypatch):
    def stop(name, fields):
        if name == "checkpoint" and fields["epoch"] == 3:
            raise InterruptedError

    undisturbed, resumed, path = Hungry(), Hungry(), tmp_path / "c"
    history = fit(undisturbed, prepared, FOLD, SETTINGS, quiet)
    with pytest.raises(InterruptedError):
        fit(Hungry(), prepared, FOLD, SETTINGS, stop, checkpoint=path, checkpoint_seconds=0)
    events, parts, use = [], [], probe.use
    monkeypatch.setattr(probe, "use", lambda *given: (parts.append(given[2]), use(*given)))
    again = fit(resumed, prepared, FOLD, SETTINGS, lambda name, _: events.append(name), checkpoint=path)
    assert parts == [2]  # compiled for parts: CUDA graphs could not add gradients up
    assert "out_of_memory" not in events
    assert again == history
    assert_same(weights(resumed), weights(undisturbed))


def test_halving_a_window_and_a_count():
    asked, told = [], []

    def window(size):
        asked.append(size)
        return torch.empty(TOO_MUCH if size[0] > 48 else 1) is not None

    assert halving(window, (96, 96, 40), divisor=16, changed=told.append)
    assert asked == [(96, 96, 40), (48, 48, 16)]
    assert told == [(48, 48, 16)]

    def count(size):
        asked.append(size)
        return torch.empty(TOO_MUCH)

    asked.clear()
    with pytest.raises(MachineError, match="with 5 and with 2"):
        halving(count, 5)
    assert asked == [5, 2]
    with pytest.raises(MachineError, match="with 1"):
        halving(count, 1)


def test_other_errors_are_passed_on():
    def wrong(size):
        return torch.zeros(2) @ torch.zeros(3)

    with pytest.raises(RuntimeError, match="size"):
        halving(wrong, 4)
    assert not out_of_memory(RuntimeError("shape mismatch"))
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert out_of_memory(MemoryError())


def test_what_fits():
    cpu = torch.device("cpu")
    assert 0 < free_bytes(cpu) < 2**60
    assert fits(int(0.4 * free_bytes(cpu)), cpu)
    assert not fits(int(0.6 * free_bytes(cpu)), cpu)
    assert np.isfinite(free_bytes(cpu))


class Reading(Sharing):
    """Reads crops ahead, from memory maps in real life."""

    def __init__(self, most=math.inf):
        super().__init__()
        self.most, self.threads = most, set()

    def read(self, rows, generator, share=slice(None)):
        self.threads.add(threading.current_thread().name)
        noise = torch.randn(len(rows), 2, generator=generator)[share]
        return self.x[rows[share]] + noise, self.y[rows[share]]

    def loss_of(self, item):
        if len(item[0]) > self.most:
            torch.empty(TOO_MUCH)
        logits = self.network(item[0])[:, 0]
        return {"loss": torch.nn.functional.binary_cross_entropy_with_logits(logits, item[1])}

    def loss(self, rows, generator, share=slice(None)):
        return self.loss_of(self.read(rows, generator, share))


def test_reading_ahead_changes_no_number(prepared, tmp_path):
    plain, ahead = Sharing(), Reading()
    settings = Train(epochs=4, batch_size=15)
    history = fit(plain, prepared, FOLD, settings, quiet, checkpoint=tmp_path / "one")
    assert fit(ahead, prepared, FOLD, settings, quiet, checkpoint=tmp_path / "two") == history
    assert_same(weights(plain), weights(ahead))
    assert ahead.threads == {"ai4diag-prefetch"}
    one, two = (read_checkpoint(tmp_path / name)[0] for name in ("one", "two"))
    assert torch.equal(one["random.order"], two["random.order"])


def test_memory_that_runs_out_while_reading_ahead(prepared):
    """Parts are computed with the random numbers of the whole batch, and the next batches with theirs."""
    plain, ahead = Sharing(), Reading(most=8)
    settings = Train(epochs=4, batch_size=15)
    fit(plain, prepared, FOLD, settings, quiet)
    history = fit(ahead, prepared, FOLD, settings, quiet)
    assert "2 parts" in history[0]["notes"][0]
    for name, tensor in weights(plain).items():
        assert torch.allclose(tensor, weights(ahead)[name], rtol=1e-7, atol=1e-9), name
