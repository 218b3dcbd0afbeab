"""A workspace with a real MLflow store; the schema is made once and copied, because making it takes a second."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ai4diag.tracking import NoTracker, Tracker, track
from ai4diag.tracking.store import connect, locate, quietly

RECIPE: dict[str, Any] = {
    "task": "tabular",
    "data": {"dataset": "wdbc", "split": {"by": "patient_id", "test": 0.2}},
    "train": {"epochs": 3, "learning_rate": 1e-3, "augment": [], "patience": None},
    "evaluate": {"primary": "auroc"},
}

Begin = Callable[..., Tracker | NoTracker]


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = tmp_path_factory.mktemp("fresh")
    store = locate(workspace, environ={})
    with quietly():
        connect(store)
    assert store.database is not None
    return store.database


@pytest.fixture
def workspace(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "ws" / "mlruns").mkdir(parents=True)
    shutil.copy(empty_database, tmp_path / "ws" / "mlruns" / "mlflow.db")
    return tmp_path / "ws"


CHILD = """
import os, signal, sys
from pathlib import Path
from ai4diag.tracking import track
from tests.tracking.conftest import RECIPE, epochs
run = track(Path(sys.argv[1]), "breast-mass", recipe=RECIPE, data_sha256="d" * 64, seed=7, primary="auroc")
epochs(run, range(1, 6), 9)
run._outbox.send()
epochs(run, range(6, 8), 9)
print(run.run_id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="session")
def after_a_kill(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> tuple[Path, str]:
    """A database that a process had open when it was killed with -9, and the id of its run."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "mlruns").mkdir()
    shutil.copy(empty_database, folder / "mlruns" / "mlflow.db")
    environ = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    words = [sys.executable, "-c", CHILD, str(folder)]
    child = subprocess.run(words, capture_output=True, text=True, check=False, env=environ)
    assert child.returncode == -signal.SIGKILL, child.stderr
    return folder / "mlruns" / "mlflow.db", child.stdout.strip()


@pytest.fixture
def killed_run(workspace: Path, after_a_kill: tuple[Path, str]) -> str:
    """The id of a run in the workspace whose process was killed after five epochs were sent and two more seen."""
    database, run_id = after_a_kill
    shutil.copy(database, workspace / "mlruns" / "mlflow.db")
    return run_id


@pytest.fixture
def begin(workspace: Path) -> Begin:
    def begin_run(pipeline: str = "breast-mass", **changes: Any) -> Tracker | NoTracker:
        words = {"recipe": RECIPE, "data_sha256": "d" * 64, "seed": 7, "primary": "auroc", **changes}
        return track(workspace, pipeline, **words)

    return begin_run


def epochs(run: NoTracker, numbers: range, total: int) -> None:
    """Tell a run about epochs as the training loop does."""
    for epoch in numbers:
        fields = {"epoch": epoch, "epochs": total, "loss": 1 / epoch, "learning_rate": 1e-3, "seconds": 0.1}
        run.notify("epoch", {**fields, "validation": {"score": 0.9}})
