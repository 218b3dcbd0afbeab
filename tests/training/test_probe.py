"""How to compute, chosen by timing: without any effect but the choice."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
import torch

from ai4diag.config.train import Train
from ai4diag.data.prepared import Prepared
from ai4diag.training import probe
from ai4diag.training.loop import fit
from ai4diag.training.probe import Choice, choose
from tests.training.test_loop import FOLD, SETTINGS, ToyLearner, assert_same, quiet, weights

CPU = torch.device("cpu")


class Timed(ToyLearner):
    """Takes longer in one precision than in the other."""

    def __init__(self, slow, error=0.0):
        super().__init__()
        self.slow, self.error, self.asked = slow, error, 0

    def loss(self, rows, generator):
        self.asked += 1
        now = torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32
        if now == self.slow:
            time.sleep(0.01)
        losses = super().loss(rows, generator)
        return {"loss": losses["loss"] * (1 + self.error)} if now == torch.bfloat16 else losses


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(probe, "BUDGET_S", 0.15)


@pytest.fixture
def prepared(tmp_path):
    return Prepared(tmp_path, {}, pd.DataFrame(), pd.DataFrame())


@pytest.mark.parametrize(
    ("slow", "error", "expected"),
    [
        (torch.float32, 0.0, torch.bfloat16),
        (torch.bfloat16, 0.0, torch.float32),
        (torch.float32, 0.5, torch.float32),  # faster, and wrong
        (torch.float32, float("nan"), torch.float32),
    ],
)
def test_the_faster_precision_is_chosen_if_its_loss_is_right(prepared, slow, error, expected):
    learner = Timed(slow, error)
    choice, seconds = choose(learner, torch.arange(16), Train(precision="probe"), CPU)
    assert choice == Choice(expected)
    assert len(seconds) == 2
    assert max(seconds.values()) > 0.01 > min(seconds.values())


def test_a_probe_leaves_nothing_behind(prepared):
    learner = Timed(torch.bfloat16)
    before, state = weights(learner), torch.get_rng_state()
    choose(learner, torch.arange(16), Train(precision="probe"), CPU)
    assert learner.asked >= 10
    assert_same(before, weights(learner))  # the running statistics of batch norm among them
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.grad is None for p in learner.network.parameters())


def test_a_probe_that_keeps_float32_changes_no_number(prepared):
    one, two = ToyLearner(), Timed(torch.bfloat16)
    plain = fit(one, prepared, FOLD, SETTINGS, quiet)
    events = []
    settings = SETTINGS.model_copy(update={"precision": "probe"})
    probed = fit(two, prepared, FOLD, settings, lambda name, fields: events.append((name, fields)))
    assert_same(weights(one), weights(two))
    started = dict(events)["started"]
    assert started["precision"] == "float32"
    assert set(started["probed"]) == {"float32, contiguous, not compiled", "bfloat16, contiguous, not compiled"}
    assert probed[0].pop("notes") == ["the probe chose float32, contiguous, not compiled"]
    assert probed == plain


def test_the_choice_is_resumed_not_probed_again(prepared, tmp_path):
    settings = SETTINGS.model_copy(update={"precision": "probe", "epochs": 4, "patience": None})

    def stop(name, fields):
        if name == "checkpoint":
            raise InterruptedError

    path = tmp_path / "c"
    with pytest.raises(InterruptedError):
        fit(Timed(torch.float32), prepared, FOLD, settings, stop, checkpoint=path, checkpoint_seconds=0)
    events, learner = [], Timed(torch.bfloat16)  # would now choose otherwise
    fit(learner, prepared, FOLD, settings, lambda name, fields: events.append((name, fields)), checkpoint=path)
    assert dict(events)["started"]["precision"] == "bfloat16"
    assert dict(events)["started"]["probed"] == {}


def test_what_cannot_be_computed_is_not_chosen(prepared):
    class OnlyFloat(ToyLearner):
        def loss(self, rows, generator):
            if torch.is_autocast_enabled("cpu"):
                raise RuntimeError("not implemented for 'BFloat16'")
            return super().loss(rows, generator)

    choice, _ = choose(OnlyFloat(), torch.arange(16), Train(precision="probe"), CPU)
    assert choice == Choice()


def test_bfloat16_is_used_when_asked_for(prepared):
    one, two = ToyLearner(), ToyLearner()
    fit(one, prepared, FOLD, SETTINGS, quiet)
    history = fit(two, prepared, FOLD, SETTINGS.model_copy(update={"precision": "bfloat16"}), quiet)
    assert not torch.equal(one.network[0].weight, two.network[0].weight)
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]


def test_words_describe_a_choice():
    for choice in (Choice(), Choice(torch.bfloat16, channels_last=True, compiled=True)):
        assert Choice.from_words(choice.words()) == choice


def test_throughput_is_told_and_sums_up(prepared):
    class Slow(ToyLearner):
        def loss(self, rows, generator):
            time.sleep(0.004)  # reads cases
            return super().loss(rows, generator)

        def score(self, prepared, rows):
            time.sleep(0.002)
            return super().score(prepared, rows)

    events = []
    fold = FOLD.__class__(0, np.arange(64), np.arange(80, 100), np.empty(0, np.int64))
    settings = Train(epochs=10, batch_size=16)
    fit(Slow(), prepared, fold, settings, lambda name, fields: events.append((name, fields)))
    finished = dict(events)["finished"]
    found = finished["throughput"]
    assert set(found) == {"samples_per_s", "data_s", "step_s", "validation_s", "checkpoint_s", "busy"}
    assert 640 / finished["seconds"] < found["samples_per_s"] < 640 / (40 * 0.004)
    assert found["data_s"] > 0.1 > 0.02 < found["validation_s"]
    assert found["data_s"] + found["step_s"] + found["validation_s"] <= finished["seconds"]
    assert 0 < found["busy"] < 0.8


@pytest.mark.slow
def test_a_compiled_network_learns_the_same(prepared, monkeypatch):
    """Chosen whatever it gains; equal to rounding, and its weights are those of a plain network."""
    monkeypatch.setattr(probe, "LEAST_GAIN", 0.0)
    settings = SETTINGS.model_copy(update={"epochs": 3, "patience": None})
    plain, compiled = ToyLearner(), ToyLearner()
    for learner in (plain, compiled):
        learner.network[3].p = 0.0  # dropout draws other numbers when compiled
    one = fit(plain, prepared, FOLD, settings, quiet)
    events = []
    choice = settings.model_copy(update={"compile": "probe"})
    two = fit(compiled, prepared, FOLD, choice, lambda name, fields: events.append((name, fields)))
    assert dict(events)["started"]["compile"] == "on"
    assert [event["loss"] for event in one] == pytest.approx([event["loss"] for event in two], rel=1e-4)
    assert weights(plain).keys() == weights(compiled).keys()
