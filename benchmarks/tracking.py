"""Tracking: what it adds to training, beside no tracking and beside one `mlflow.log_metric` per figure.

A network (30-64-64-2) learns Wisconsin breast mass (scikit-learn's copy, ten times over: 4,550 training cases) with the
library's loop for 50 epochs of less than a tenth of a second, each telling of four figures. Beginning a run is a row
of its own, because it costs the same for a training of any length; ours may take a tenth longer than
`mlflow.start_run`, which binds the run to nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer

from ai4diag.config.train import Train
from ai4diag.data.prepared import Fold, Prepared
from ai4diag.tracking import Tracker, track
from ai4diag.tracking.store import connect, locate, quietly
from ai4diag.training.loop import fit
from benchmarks import ROUNDS, Row, side_by_side, versions

EPOCHS = 50
WORDS: dict[str, Any] = {"recipe": {"epochs": EPOCHS}, "data_sha256": "0" * 64, "seed": 7, "primary": "auroc"}


class Mass:
    """The least that the training loop asks of a network."""

    def __init__(self) -> None:
        torch.manual_seed(7)
        values, truth = load_breast_cancer(return_X_y=True)
        self.x = torch.from_numpy((values - values.mean(0)) / values.std(0)).float().repeat(10, 1)
        self.y = torch.from_numpy(truth).repeat(10)
        widths = (torch.nn.Linear(30, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.ReLU())
        self.network = torch.nn.Sequential(*widths, torch.nn.Linear(64, 2))

    def place(self, prepared: Prepared, train: np.ndarray, device: torch.device) -> None:
        """Put the network and the cases on the device."""
        self.network.to(device)
        self.x, self.y = self.x.to(device), self.y.to(device)

    def loss(self, rows: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Return the cross-entropy of a batch."""
        return {"loss": torch.nn.functional.cross_entropy(self.network(self.x[rows]), self.y[rows])}

    def score(self, prepared: Prepared, rows: np.ndarray) -> dict[str, float]:
        """Return the accuracy."""
        return {"score": float((self.network(self.x[rows]).argmax(1) == self.y[rows]).float().mean())}


def train(notify: Callable[[str, dict[str, Any]], None]) -> None:
    """Train once, told of by `notify`."""
    fold = Fold(0, np.arange(0, 4550), np.arange(4550, 5690), np.empty(0, np.int64))
    nothing: Any = None
    fit(Mass(), nothing, fold, Train(epochs=EPOCHS, batch_size=32), notify)  # type: ignore[arg-type]


def run() -> list[Row]:
    """Measure; the store is a new one in a temporary folder."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        return [_training(workspace), _recording(workspace), _beginning(workspace), _listing(workspace)]


def _training(workspace: Path) -> Row:
    def alone() -> None:
        train(lambda event, fields: None)

    def tracked() -> None:
        run = runs.pop()
        train(run.notify)
        run.finish()

    runs = [track(workspace, "benchmark", **WORDS) for _ in range(ROUNDS + 1)]
    if not all(isinstance(run, Tracker) for run in runs):
        raise RuntimeError(runs[0].message)
    seconds = side_by_side(tracked, alone)
    known = versions("mlflow", "torch")
    return Row(f"training, {EPOCHS} epochs", "the same, not tracked", *seconds, goal=0.98, versions=known)


def _recording(workspace: Path) -> Row:
    fields = {"epochs": EPOCHS, "loss": 0.5, "learning_rate": 0.1, "seconds": 1.0}
    events = [{**fields, "epoch": epoch, "validation": {"score": 0.9}} for epoch in range(1, EPOCHS + 1)]

    def tracked() -> None:
        run = runs.pop()
        for event in events:
            run.notify("epoch", event)
        run.finish()

    def one_by_one() -> None:
        run_id = plain.pop().info.run_id
        for event in events:
            for name in ("loss", "learning_rate", "seconds"):
                client.log_metric(run_id, name, event[name], step=event["epoch"])
            client.log_metric(run_id, "score", 0.9, step=event["epoch"])
        client.set_terminated(run_id)

    runs = [track(workspace, "benchmark", **WORDS) for _ in range(ROUNDS + 1)]
    with quietly():
        client = connect(locate(workspace))
        experiment = client.create_experiment("one by one")
        plain = [client.create_run(experiment) for _ in range(ROUNDS + 1)]
        seconds = side_by_side(tracked, one_by_one)
    name = f"recording {4 * EPOCHS} figures, ending the run"
    return Row(name, "mlflow log_metric per figure", *seconds, goal=10.0, versions=versions("mlflow"))


def _beginning(workspace: Path) -> Row:
    ours = f"from ai4diag.tracking import track; track(Path({str(workspace)!r}), 'new', **{WORDS!r}).finish()"
    peer = (
        f"import mlflow; mlflow.set_tracking_uri({locate(workspace).uri!r}); mlflow.set_experiment('new')\n"
        "with mlflow.start_run(): mlflow.log_params({'epochs': 1})"
    )
    return _row("a whole run without work, new process", "mlflow.start_run", ours, peer, goal=0.9)


def _listing(workspace: Path) -> Row:
    ours = f"from ai4diag.tracking.query import list_runs; assert list_runs(Path({str(workspace)!r}))"
    peer = (
        f"import mlflow; mlflow.set_tracking_uri({locate(workspace).uri!r})\n"
        "assert len(mlflow.search_runs(search_all_experiments=True))"
    )
    return _row("list of runs, new process", "mlflow.search_runs", ours, peer, goal=10.0)


def _row(name: str, peer_name: str, ours: str, peer: str, goal: float) -> Row:
    def program(text: str) -> Callable[[], object]:
        command = [sys.executable, "-c", f"from pathlib import Path; {text}"]
        environ = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
        return lambda: subprocess.run(command, check=True, capture_output=True, env=environ)

    return Row(name, peer_name, *side_by_side(program(ours), program(peer)), goal=goal, versions=versions("mlflow"))
