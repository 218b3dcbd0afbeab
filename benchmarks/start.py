"""How long a command takes to say anything: help, imports, the first training step. Every round is a new process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import Row, side_by_side, versions

BIN = Path(sys.executable).parent
EVALUATION = "import ai4diag.cli, ai4diag.pipelines.stages, ai4diag.evaluation.evaluate, ai4diag.evaluation.report"
FIRST_STEP = """
import numpy as np, torch
from ai4diag.config.train import Train
from ai4diag.data.prepared import Fold
from ai4diag.training.loop import fit

class Learner:
    def __init__(self):
        self.network = torch.nn.Sequential(torch.nn.Linear(30, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2))
        self.x, self.y = torch.randn(32, 30), torch.randint(0, 2, (32,))
    def place(self, prepared, train, device):
        self.network.to(device)
    def loss(self, rows, generator):
        return {"loss": torch.nn.functional.cross_entropy(self.network(self.x[rows]), self.y[rows])}

nothing = np.empty(0, np.int64)
fold = Fold(0, np.arange(32), nothing, nothing)
fit(Learner(), None, fold, Train(epochs=1, batch_size=32), lambda event, fields: None)
"""


def run() -> list[Row]:
    """Measure; the first round, which may read from disk, does not count."""
    known = versions("dvc", "click")
    rows = [
        Row("ai4diag --help", "dvc --help", *side_by_side(command("ai4diag"), command("dvc")), goal=1.0, versions=known)
    ]
    forbidden = "import sys; found = {'torch', 'monai', 'mlflow'} & set(sys.modules); assert not found, found"
    evaluation = python(f"{EVALUATION}; {forbidden}")
    for peer, goal in (("torch", 1.0), ("monai", 3.0)):
        seconds = side_by_side(evaluation, python(f"import {peer}"), 3 if peer == "monai" else 7)
        note = "That it imports neither torch, monai nor mlflow is checked in the same process."
        rows.append(Row("import of what evaluation needs", f"import {peer}", *seconds, goal, versions(peer), note))
    seconds = side_by_side(python(FIRST_STEP), python("import torch"), 5)
    note = "All imports of the training loop, and an epoch of one step; at most 1.5 times the import of torch alone."
    rows.append(
        Row("first training step of a small network", "import torch", *seconds, 1 / 1.5, versions("torch"), note)
    )
    return rows


def command(name: str) -> Callable[[], object]:
    """Return what asks an installed command for help."""
    return lambda: subprocess.run([BIN / name, "--help"], check=True, capture_output=True)


def python(program: str) -> Callable[[], object]:
    """Return what runs a program."""
    return lambda: subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
