"""A workspace with a real MLflow store; the schema is made once and copied, because making it takes a second."""

from __future__ import annotations

import shutil
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
