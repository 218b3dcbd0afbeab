"""Two processes on the loopback train what one would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from ai4diag.config.train import Train
from ai4diag.data.prepared import Prepared
from ai4diag.errors import TrainingError
from ai4diag.training import ranks as processes
from ai4diag.training.loop import fit
from ai4diag.training.ranks import Ranks
from tests.training.test_loop import FOLD, ToyLearner, quiet

HERE = str(Path.cwd())
SETTINGS = Train(epochs=6, batch_size=16, learning_rate=0.02, ema=0.9, patience=4)
CHILD = textwrap.dedent("""
    import json, sys
    from pathlib import Path
    from safetensors.torch import save_file
    from ai4diag.errors import TrainingError
    from ai4diag.training.loop import fit
    from ai4diag.training.ranks import rank
    from tests.training.test_ranks import FOLD, SETTINGS, BadCase, Dying, Noisy, Noisy32, Own, Pictures, prepared

    folder = Path(sys.argv[1])
    for kind in sys.argv[2].split(","):
        learner, events = globals()[kind](), []
        stem = folder / f"{kind}-{rank()}"
        try:
            history = fit(learner, prepared(), FOLD, SETTINGS, lambda name, _: events.append(name),
                          checkpoint=folder / f"{kind}.checkpoint" if kind == "Dying" else None,
                          checkpoint_seconds=0, failed_batch=stem)
        except TrainingError as error:
            history = str(error)
        Path(f"{stem}-said.json").write_text(json.dumps([history, events]))
        save_file({n: t.contiguous() for n, t in learner.network.state_dict().items()}, f"{stem}-weights.safetensors")
""")


class Noisy(ToyLearner):
    """Noise is drawn for whole batches, so that a share has that of its cases; double precision."""

    kind = torch.float64

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.network = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
        self.network.to(self.kind)
        self.x, self.y = self.x.to(self.kind), self.y.to(self.kind)

    def loss(self, rows, generator, share=slice(None)):
        noise = 0.05 * torch.randn(len(rows), 2, generator=generator)[share]
        rows = rows[share]
        logits = self.network(self.x[rows] + noise)[:, 0]
        return {"loss": torch.nn.functional.binary_cross_entropy_with_logits(logits, self.y[rows])}


class Noisy32(Noisy):
    """The same in single precision."""

    kind = torch.float32


class Pictures(Noisy):
    """A 2D network whose weights are stored channels last."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        layers = (torch.nn.Conv2d(3, 8, 3), torch.nn.Tanh(), torch.nn.Conv2d(8, 1, 3), torch.nn.Flatten())
        self.network = torch.nn.Sequential(*layers, torch.nn.Linear(4, 1))
        self.network.to(torch.float64).to(memory_format=torch.channels_last)
        self.x = torch.randn(120, 3, 6, 6, dtype=torch.float64)

    def loss(self, rows, generator, share=slice(None)):
        rows = rows[share]
        logits = self.network(self.x[rows])[:, 0]
        return {"loss": torch.nn.functional.binary_cross_entropy_with_logits(logits, self.y[rows])}


class BadCase(Noisy):
    """Is met by one process only."""

    def __init__(self):
        super().__init__()
        self.x[37] = float("inf")


class Own(ToyLearner):
    """Knows nothing of shares; batch norm and dropout."""


class Dying(Noisy):
    """The second process is killed in the fourth epoch."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def loss(self, rows, generator, share=slice(None)):
        self.calls += 1
        if self.calls == 18 and os.environ.get("RANK") == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(rows, generator, share)


def prepared():
    index = pd.DataFrame({"case_id": [f"patient {row}" for row in range(120)]})
    return Prepared(None, {}, index, pd.DataFrame())


def torchrun(*words, cwd=None, **environment):
    """Run on two processes; the launcher finds a free port itself."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *words]
    environ = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environ, cwd=cwd, check=False)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    (folder / "child.py").write_text(CHILD)
    done = torchrun(str(folder / "child.py"), str(folder), "Noisy,Noisy32,Pictures,Own,BadCase", PYTHONPATH=HERE)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "tolerance"), [(Noisy, 1e-12), (Pictures, 1e-12), (Noisy32, 1e-5)])
def test_two_processes_give_what_one_gives(together, kind, tolerance):
    alone = kind()
    history = fit(alone, prepared(), FOLD, SETTINGS, quiet)
    for rank in (0, 1):
        found = load_file(together / f"{kind.__name__}-{rank}-weights.safetensors")
        for name, tensor in alone.network.state_dict().items():
            assert torch.allclose(found[name], tensor, rtol=tolerance, atol=tolerance / 10), name
        assert not torch.allclose(found["0.weight"], kind().network[0].weight, rtol=0.01)
        theirs, events = json.loads((together / f"{kind.__name__}-{rank}-said.json").read_text())
        assert len(theirs) == len(history)
        assert [event["loss"] for event in theirs] == pytest.approx([event["loss"] for event in history], rel=tolerance)
        assert [event["validation"]["score"] for event in theirs] == pytest.approx(
            [event["validation"]["score"] for event in history], rel=tolerance
        )
        assert bool(events) == (rank == 0)  # only the first tells


@pytest.mark.slow
def test_a_learner_without_shares_learns_too_and_all_processes_agree(together):
    (one, _), (two, _) = (json.loads((together / f"Own-{rank}-said.json").read_text()) for rank in (0, 1))
    assert one == two
    assert one[-1]["loss"] < 0.8 * one[0]["loss"]
    left, right = (load_file(together / f"Own-{rank}-weights.safetensors") for rank in (0, 1))
    for name in left:
        if "running" not in name:  # the average of these is the first one's own
            assert torch.equal(left[name], right[name]), name


@pytest.mark.slow
def test_a_bad_loss_of_one_process_ends_both_and_is_kept_once(together):
    (one, _), (two, _) = (json.loads((together / f"BadCase-{rank}-said.json").read_text()) for rank in (0, 1))
    assert one.startswith("The loss is nan in epoch 1")
    assert two.split(";")[0] == one.split(";")[0]
    assert (together / "BadCase-0.json").is_file()
    assert not (together / "BadCase-1.json").exists()
    assert "patient 37" in json.loads((together / "BadCase-0.json").read_text())["case_ids"]


@pytest.mark.slow
def test_a_killed_process_ends_the_other_and_the_same_command_goes_on(tmp_path):
    (tmp_path / "child.py").write_text(CHILD)
    command = (str(tmp_path / "child.py"), str(tmp_path), "Dying")
    done = torchrun(*command, PYTHONPATH=HERE)
    assert done.returncode != 0
    assert not (tmp_path / "Dying-1-said.json").exists()
    assert (tmp_path / "Dying.checkpoint").is_file()
    again = torchrun(*command, PYTHONPATH=HERE)  # three epochs are left: no process comes to its 18th step
    assert again.returncode == 0, again.stderr[-3000:]
    _, events = json.loads((tmp_path / "Dying-0-said.json").read_text())
    assert events[0] == "resumed"
    alone = Noisy()
    fit(alone, prepared(), FOLD, SETTINGS, quiet)
    found = load_file(tmp_path / "Dying-0-weights.safetensors")
    for name, tensor in alone.network.state_dict().items():
        assert torch.allclose(found[name], tensor, rtol=1e-12, atol=1e-13), name


@pytest.mark.slow
def test_the_command_under_torchrun(make_workspace):
    root = make_workspace("breast-mass")
    environment = {"PYTHONPATH": HERE, "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-m", "ai4diag"]
    for variant in (["--set", "train.epochs=3"], ["--set", "train.epochs=3", "--set", "train.seed=7"]):
        subprocess.run([*command, "prepare", "breast-mass", *variant], cwd=root, check=True, capture_output=True)
    alone = ["train", "breast-mass", "--set", "train.epochs=3"]
    subprocess.run([*command, *alone], cwd=root, check=True, capture_output=True)
    done = torchrun("-m", "ai4diag", *alone, "--set", "train.seed=7", cwd=root, **environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("breast-mass: epoch 3/3") == 1
    tables = [
        pd.read_parquet(path) for path in sorted((root / "pipelines/breast-mass/out").glob("*/predictions.parquet"))
    ]
    assert len(tables) == 2
    assert np.allclose(tables[0]["score"], tables[1]["score"], rtol=1e-5)


def test_one_process_is_left_alone(monkeypatch):
    monkeypatch.setenv("RANK", "3")  # of another launcher: alone, this process must still write what it trained
    ranks = Ranks.join()
    assert ranks == Ranks(0, 1)
    assert processes.rank() == 0
    losses = {"loss": torch.ones(())}
    assert ranks.add_up([], losses) is losses
    assert ranks.tell({"a": 1}) == {"a": 1}
    with pytest.raises(TrainingError, match="2 cases, too few for 3"):
        Ranks(0, 3).need(2)
