"""The loop on a small real problem: logistic regression of a toy patient table."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pandas as pd
import pytest
import torch

from ai4diag.config.train import Train
from ai4diag.data.prepared import Fold, Prepared
from ai4diag.errors import ConfigError, TrainingError
from ai4diag.training.checkpoint import read_checkpoint, write_checkpoint
from ai4diag.training.loop import fit, notify_all
from ai4diag.training.schedule import learning_rate


class ToyLearner:
    """Systolic pressure and age predict an event; dropout and noise make every random source matter."""

    def __init__(self, seed: int = 0, scale: float = 1.0) -> None:
        torch.manual_seed(seed)
        self.network = torch.nn.Sequential(
            torch.nn.Linear(2, 16),
            torch.nn.BatchNorm1d(16),
            torch.nn.ReLU(),
            torch.nn.Dropout(0.2),
            torch.nn.Linear(16, 1),
        )
        rng = np.random.default_rng(1)
        values = rng.normal(size=(120, 2)).astype(np.float32)
        self.x = torch.from_numpy(values) * scale
        self.y = torch.from_numpy((values.sum(1) + rng.normal(size=120) * 0.5 > 0).astype(np.float32))

    def place(self, prepared, train, device):
        self.network.to(device)

    def loss(self, rows, generator):
        noise = torch.randn(self.x[rows].shape, generator=generator) * 0.05
        logits = self.network(self.x[rows] + noise)[:, 0]
        return {"loss": torch.nn.functional.binary_cross_entropy_with_logits(logits, self.y[rows])}

    def score(self, prepared, rows):
        logits = self.network(self.x[rows])[:, 0]
        return {"score": -torch.nn.functional.binary_cross_entropy_with_logits(logits, self.y[rows]).item()}

    def predict(self, prepared, rows):
        return pd.DataFrame({"score": torch.sigmoid(self.network(self.x[rows])[:, 0]).detach().numpy()})


FOLD = Fold(0, np.arange(0, 80), np.arange(80, 100), np.arange(100, 120))
SETTINGS = Train(epochs=12, batch_size=16, learning_rate=0.02, ema=0.9, patience=8)


@pytest.fixture
def prepared(tmp_path):
    return Prepared(tmp_path, {}, pd.DataFrame(), pd.DataFrame())


def quiet(name, fields):
    """An observer that looks away."""


def weights(learner):
    return {name: tensor.clone() for name, tensor in learner.network.state_dict().items()}


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name


def test_loss_falls_and_same_seed_gives_same_bits(prepared):
    one, two = ToyLearner(), ToyLearner()
    first = fit(one, prepared, FOLD, SETTINGS, quiet)
    second = fit(two, prepared, FOLD, SETTINGS, quiet)
    assert first[-1]["loss"] < 0.7 * first[0]["loss"]
    assert first == second
    assert_same(weights(one), weights(two))


def test_other_seed_gives_other_order(prepared):
    one, two = ToyLearner(), ToyLearner()
    fit(one, prepared, FOLD, SETTINGS, quiet)
    fit(two, prepared, FOLD, SETTINGS.model_copy(update={"seed": 8}), quiet)
    assert not torch.equal(one.network[0].weight, two.network[0].weight)


class StopError(Exception):
    """Stands for the moment of a kill."""


@pytest.mark.parametrize("stop_after", [1, 5, 11])
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_resume_ends_with_the_same_bits(prepared, tmp_path, stop_after, ema):
    settings = SETTINGS.model_copy(update={"ema": ema})
    undisturbed = ToyLearner()
    history = fit(undisturbed, prepared, FOLD, settings, quiet)

    def killer(name, fields):
        if name == "checkpoint" and fields["epoch"] == stop_after:
            raise StopError

    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(StopError):
        fit(ToyLearner(), prepared, FOLD, settings, killer, checkpoint=path, fingerprint="f", checkpoint_seconds=0)
    torch.manual_seed(12345)  # whatever happened in between
    resumed = ToyLearner(seed=99)
    again = fit(resumed, prepared, FOLD, settings, quiet, checkpoint=path, fingerprint="f", checkpoint_seconds=0)
    assert again == history
    assert_same(weights(resumed), weights(undisturbed))


@pytest.mark.parametrize(("said", "written"), [("0", [*range(1, 13)]), ("3600", [12]), ("", [12])])
def test_the_environment_says_how_often_checkpoints_are_written(prepared, tmp_path, monkeypatch, said, written):
    monkeypatch.setenv("AI4DIAG_CHECKPOINT_SECONDS", said)
    epochs = []

    def watch(name, fields):
        if name == "checkpoint":
            epochs.append(fields["epoch"])

    settings = SETTINGS.model_copy(update={"epochs": 12})
    fit(ToyLearner(), prepared, FOLD, settings, watch, checkpoint=tmp_path / "c.safetensors")
    assert epochs == written


@pytest.mark.parametrize("said", ["often", "nan", "-1"])
def test_a_time_between_checkpoints_that_is_no_number_of_seconds_is_refused(prepared, tmp_path, monkeypatch, said):
    monkeypatch.setenv("AI4DIAG_CHECKPOINT_SECONDS", said)
    with pytest.raises(ConfigError, match=f"AI4DIAG_CHECKPOINT_SECONDS is '{said}'"):
        fit(ToyLearner(), prepared, FOLD, SETTINGS, quiet, checkpoint=tmp_path / "c.safetensors")


def test_a_finished_checkpoint_trains_no_more(prepared, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    first, second = ToyLearner(), ToyLearner(seed=4)
    fit(first, prepared, FOLD, SETTINGS, quiet, checkpoint=path, fingerprint="f")
    events = []
    fit(second, prepared, FOLD, SETTINGS, lambda name, _: events.append(name), checkpoint=path, fingerprint="f")
    assert events == ["resumed", "started", "finished"]
    assert_same(weights(first), weights(second))


def test_a_checkpoint_of_another_recipe_is_not_used(prepared, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    fit(ToyLearner(), prepared, FOLD, SETTINGS, quiet, checkpoint=path, fingerprint="one")
    events = []
    fit(ToyLearner(), prepared, FOLD, SETTINGS, lambda name, _: events.append(name), checkpoint=path, fingerprint="two")
    assert "resumed" not in events
    assert events.count("epoch") == SETTINGS.epochs


def test_every_flipped_byte_of_a_checkpoint_is_noticed(tmp_path):
    path = tmp_path / "c"
    write_checkpoint(path, {"w": torch.arange(4.0)}, {"epoch": 3})
    tensors, facts = read_checkpoint(path)
    assert torch.equal(tensors["w"], torch.arange(4.0))
    assert facts == {"epoch": 3}
    content = path.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(bytes(damaged))
        with pytest.raises(TrainingError, match="damaged"):
            read_checkpoint(path)


def test_early_stopping_keeps_the_best_epoch(prepared):
    learner = ToyLearner()
    history = fit(learner, prepared, FOLD, Train(epochs=400, batch_size=16, learning_rate=0.05, patience=5), quiet)
    scores = [event["validation"]["score"] for event in history]
    assert len(history) < 400
    assert len(history) - 1 - int(np.argmax(scores)) == 5
    learner.network.eval()
    assert learner.score(prepared, FOLD.validation)["score"] == pytest.approx(max(scores), abs=1e-6)


def test_without_validation_cases_no_epoch_is_left_out(prepared):
    fold = Fold(0, FOLD.train, np.empty(0, np.int64), FOLD.test)
    history = fit(ToyLearner(), prepared, fold, SETTINGS, lambda name, fields: None)
    assert len(history) == SETTINGS.epochs > SETTINGS.patience


def test_learning_from_validation_too_never_looks_at_it(prepared):
    settings = Train(epochs=2, batch_size=16, parts=("train", "validation"))
    events = []
    history = fit(ToyLearner(), prepared, FOLD, settings, lambda name, fields: events.append((name, fields)))
    assert dict(events)["started"]["cases"] == 100
    assert all(event["validation"] == {} for event in history)


def test_infinite_loss_stops_with_a_cure(prepared):
    with pytest.raises(TrainingError, match="learning_rate"):
        fit(ToyLearner(scale=float("inf")), prepared, FOLD, SETTINGS, quiet)


def test_average_is_the_exponential_mean_of_the_weights(prepared):
    """Against a hand-written recursion: decay min(ema, (1 + t) / (10 + t)), started at the first weights."""
    settings = Train(epochs=3, batch_size=40, learning_rate=0.02, ema=0.95)
    learner = ToyLearner()
    mean, steps = learner.network[0].weight.detach().clone(), 0

    def follow(name, fields):
        nonlocal mean, steps
        if name == "step":
            decay = min(0.95, (1 + steps) / (10 + steps))
            mean = decay * mean + (1 - decay) * learner.network[0].weight.detach()
            steps += 1

    fit(learner, prepared, FOLD, settings, follow)
    assert steps == 6
    assert torch.allclose(learner.network[0].weight, mean, atol=1e-6)


def test_schedules_at_their_landmarks():
    constant = Train(learning_rate=0.1, schedule="constant", warmup_epochs=1)
    assert [learning_rate(step, 100, 4, constant) for step in (0, 1, 3, 50)] == pytest.approx([0.025, 0.05, 0.1, 0.1])
    cosine = Train(learning_rate=0.1, schedule="cosine")
    assert [learning_rate(step, 100, 4, cosine) for step in (0, 50, 100)] == pytest.approx([0.1, 0.05, 0])
    cycle = Train(learning_rate=0.1, schedule="one_cycle")
    assert [learning_rate(step, 100, 4, cycle) for step in (0, 15, 30, 65, 100)] == pytest.approx(
        [0.004, 0.05, 0.1, 0.05, 0]
    )


def test_batches_are_nearly_equal_so_that_none_holds_a_single_case(prepared):
    sizes = []

    class Counting(ToyLearner):
        def loss(self, rows, generator):
            sizes.append(len(rows))
            return super().loss(rows, generator)

    fold = Fold(0, np.arange(33), np.empty(0, np.int64), np.empty(0, np.int64))
    fit(Counting(), prepared, fold, Train(epochs=1, batch_size=16), quiet)
    assert sizes == [11, 11, 11]


def test_several_observers_hear_the_same(prepared):
    one, two = [], []
    notify = notify_all(lambda name, _: one.append(name), None, lambda name, _: two.append(name))
    fit(ToyLearner(), prepared, FOLD, Train(epochs=2, batch_size=40), notify)
    assert one == two == ["started", "step", "step", "epoch", "step", "step", "epoch", "finished"]


CHILD = textwrap.dedent("""
    import sys, time, json
    from pathlib import Path
    import pandas as pd
    from tests.training.test_loop import FOLD, SETTINGS, ToyLearner, quiet
    from ai4diag.data.prepared import Prepared
    from ai4diag.training.loop import fit

    def slow(name, fields):
        if name == "step":
            time.sleep(0.002)

    folder = Path(sys.argv[1])
    learner = ToyLearner()
    print("ready", flush=True)
    fit(learner, Prepared(folder, {}, pd.DataFrame(), pd.DataFrame()), FOLD, SETTINGS.model_copy(update={"epochs": 60}),
        slow, checkpoint=folder / "c", fingerprint="f", checkpoint_seconds=0)
    print(json.dumps([float(x) for t in learner.network.state_dict().values() for x in t.flatten()]))
""")


@pytest.mark.slow
def test_kill_nine_at_twenty_random_moments(tmp_path):
    """After each kill the checkpoint is readable; the last process ends with the bits of the undisturbed one."""
    command = [sys.executable, "-c", CHILD]

    def run(folder, kill_after=math.inf):
        folder.mkdir(exist_ok=True)
        process = subprocess.Popen([*command, str(folder)], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        if kill_after < math.inf:
            time.sleep(kill_after)
            os.kill(process.pid, signal.SIGKILL)
        out, _ = process.communicate(timeout=60)
        return process.returncode, out

    code, undisturbed = run(tmp_path / "undisturbed")
    assert code == 0
    rng, kills = np.random.default_rng(7), 0
    for _ in range(20):
        code, _ = run(tmp_path / "killed", kill_after=rng.uniform(0, 0.12))
        kills += code == -signal.SIGKILL
        if (tmp_path / "killed" / "c").exists():
            read_checkpoint(tmp_path / "killed" / "c")
        if code == 0:
            (tmp_path / "killed" / "c").unlink()  # finished before its kill: start over
    code, final = run(tmp_path / "killed")
    assert kills >= 10
    assert code == 0
    assert json.loads(final) == json.loads(undisturbed)
