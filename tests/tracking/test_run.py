import inspect
import json
import logging
import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ai4diag.errors import DataError
from ai4diag.tracking import NoTracker, Tracker, outbox, track
from ai4diag.tracking.reaper import reap
from ai4diag.tracking.store import connect, locate, quietly
from ai4diag.types import Estimate
from tests.tracking.conftest import RECIPE, Begin, epochs

AUROC = Estimate("auroc", 0.99, 0.98, 0.999, 114, 114)


def stored(workspace: Path, run_id: str):
    with quietly():
        return connect(locate(workspace)).get_run(run_id)


def steps(workspace: Path, run_id: str, name: str) -> list[int]:
    with quietly():
        return [point.step for point in connect(locate(workspace)).get_metric_history(run_id, name)]


def test_a_run_is_stored_whole(begin: Begin, workspace: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("<h1>Report</h1>")
    with begin() as run:
        run.notify("started", {"epochs": 3, "cases": 455, "parameters": 6000, "device": "cpu", "precision": "float32"})
        epochs(run, range(1, 4), 3)
        run.notify("finished", {"epochs": 3, "best_epoch": 2, "seconds": 0.3})
        run.estimates([AUROC, Estimate("auroc", math.nan, math.nan, math.nan, 3, 3, subgroup="site=va")])
        run.artifact(report)
    found = stored(workspace, run.run_id)
    assert found.info.status == "FINISHED"
    assert found.info.end_time >= found.info.start_time
    assert found.data.params == {
        "task": "tabular",
        "data.dataset": "wdbc",
        "data.split.by": "patient_id",
        "data.split.test": "0.2",
        "train.epochs": "3",
        "train.learning_rate": "0.001",
        "train.augment": "[]",
        "train.patience": "null",
        "evaluate.primary": "auroc",
    }
    assert found.data.tags["ai4diag.device"] == "cpu"
    assert found.data.metrics["train/loss"] == 1 / 3
    assert found.data.metrics["train/best_epoch"] == 2
    assert found.data.metrics["auroc_low"] == 0.98
    assert math.isnan(found.data.metrics["auroc/site.va"])
    assert steps(workspace, run.run_id, "train/validation.score") == [1, 2, 3]
    folder = workspace / "mlruns" / "artifacts" / "breast-mass" / run.run_id / "artifacts"
    assert sorted(path.name for path in folder.iterdir()) == ["environment.txt", "report.html"]
    assert run.message == f"Run {run.run_id} is recorded in mlruns."


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_an_error_ends_the_run_and_is_not_swallowed(
    begin: Begin, workspace: Path, error: type[BaseException], status: str
) -> None:
    run = begin()
    with pytest.raises(error), run:
        raise error
    assert stored(workspace, run.run_id).info.status == status


def test_batches_wait_for_their_time(begin: Begin, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin()
    epochs(run, range(1, 3), 9)
    assert "train/loss" not in stored(workspace, run.run_id).data.metrics
    later = time.monotonic() + outbox.SHORTEST_PAUSE_S
    monkeypatch.setattr(outbox.time, "monotonic", lambda: later)
    epochs(run, range(3, 4), 9)
    assert steps(workspace, run.run_id, "train/loss") == [1, 2, 3]
    run.finish()


def test_long_curves_are_thinned_and_keep_their_end(begin: Begin, workspace: Path) -> None:
    run = begin()
    run.notify("started", {"epochs": 1000})
    epochs(run, range(1, 1001), 1000)
    run.finish()
    found = steps(workspace, run.run_id, "train/loss")
    assert found == [*range(4, 1000, 4), 1000]


def test_folds_have_their_own_curves(begin: Begin, workspace: Path) -> None:
    run = begin()
    run.observer("fold_1/")("epoch", {"epoch": 1, "epochs": 1, "loss": 3.0})
    run.notify("epoch", {"epoch": 1, "epochs": 1, "loss": 5.0})
    run.finish()
    metrics = stored(workspace, run.run_id).data.metrics
    assert (metrics["fold_1/train/loss"], metrics["train/loss"]) == (3.0, 5.0)


@pytest.mark.parametrize(
    "name", ["predictions.parquet", "cases.csv", "features.npy", "model.pt", "scan.DCM", "noending"]
)
def test_files_that_may_hold_cases_are_refused(begin: Begin, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("case")
    with begin() as run, pytest.raises(DataError, match="may hold cases"):
        run.artifact(tmp_path / name)
    with pytest.raises(DataError, match="may hold cases"):
        NoTracker().artifact(tmp_path / name)


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


def killed_run(workspace: Path) -> str:
    child = subprocess.run([sys.executable, "-c", CHILD, workspace], capture_output=True, text=True, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr
    return child.stdout.strip()


def test_a_killed_run_is_reaped_and_resumes_without_repeating_itself(begin: Begin, workspace: Path) -> None:
    alive = begin()
    run_id = killed_run(workspace)
    assert stored(workspace, run_id).info.status == "RUNNING"
    assert reap(locate(workspace)) == [run_id]
    assert stored(workspace, run_id).info.status == "KILLED"
    assert stored(workspace, alive.run_id).info.status == "RUNNING"

    run = begin(run_id=run_id)
    assert run.resumed
    assert run.run_id == run_id
    assert stored(workspace, run_id).info.status == "RUNNING"
    assert stored(workspace, run_id).data.tags["ai4diag.pid"] == str(os.getpid())
    epochs(run, range(4, 10), 9)  # the checkpoint was of epoch 3
    run.finish()
    assert steps(workspace, run_id, "train/loss") == list(range(1, 10))
    assert stored(workspace, run_id).info.status == "FINISHED"
    assert reap(locate(workspace)) == []
    alive.finish()


def test_a_run_of_another_host_is_not_reaped(begin: Begin, workspace: Path) -> None:
    run_id = killed_run(workspace)
    with quietly():
        connect(locate(workspace)).set_tag(run_id, "ai4diag.host", "elsewhere")
    assert reap(locate(workspace)) == []
    assert stored(workspace, run_id).info.status == "RUNNING"


@pytest.mark.parametrize(
    "change",
    [
        {"data_sha256": "e" * 64},
        {"variant": "quick"},
        {"pipeline": "other"},
        {"recipe": {**RECIPE, "task": "detection"}},
    ],
)
def test_another_recipe_or_other_data_is_another_run(begin: Begin, change: dict[str, str]) -> None:
    first = begin()
    first.finish()
    second = begin(run_id=first.run_id, **change)
    assert not second.resumed
    assert second.run_id not in ("", first.run_id)
    second.finish()


@pytest.mark.parametrize("run_id", ["f" * 32, "../../etc"])
def test_an_unknown_run_id_begins_a_new_run(begin: Begin, run_id: str) -> None:
    with begin(run_id=run_id) as run:
        assert isinstance(run, Tracker)
        assert not run.resumed


def test_a_second_stage_adds_to_the_run_and_what_changed_is_said(begin: Begin, workspace: Path) -> None:
    with begin() as run:
        epochs(run, range(1, 4), 3)
    with begin(run_id=run.run_id, seed=8) as again:
        again.estimates([AUROC])
    found = stored(workspace, run.run_id)
    assert found.data.tags["ai4diag.seed"] == "7"
    assert found.data.tags["ai4diag.continued.seed"] == "8"
    assert found.data.metrics["auroc"] == 0.99
    assert found.info.status == "FINISHED"


def test_a_store_in_trouble_warns_once_keeps_everything_and_the_next_run_sends_it(
    begin: Begin, workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = begin()
    database = workspace / "mlruns" / "mlflow.db"
    with sqlite3.connect(database) as base:
        base.execute("ALTER TABLE metrics RENAME TO taken_away")
    with caplog.at_level(logging.WARNING):
        for epoch in range(1, 4):
            epochs(run, range(epoch, epoch + 1), 3)
            run._outbox.send()
        run.estimates([AUROC])
        message = run.finish()
    assert len(caplog.records) == 1
    assert "mlruns/unsent" in message
    assert stored(workspace, run.run_id).info.status == "RUNNING"

    with sqlite3.connect(database) as base:
        base.execute("ALTER TABLE taken_away RENAME TO metrics")
    begin().finish()
    found = stored(workspace, run.run_id)
    assert found.info.status == "FINISHED"
    assert steps(workspace, run.run_id, "train/loss") == [1, 2, 3]
    assert found.data.metrics["auroc_high"] == 0.999
    assert list((workspace / "mlruns" / "unsent").iterdir()) == []


def test_a_store_that_cannot_be_opened_does_not_stop_the_work(workspace: Path, begin: Begin) -> None:
    (workspace / "mlruns" / "mlflow.db").write_bytes(b"not a database" * 100)
    with begin() as run:
        epochs(run, range(1, 4), 3)
        run.estimates([AUROC])
    assert not isinstance(run, Tracker)
    assert "Not tracked: mlruns cannot be used" in run.message


def test_a_server_that_is_not_there_does_not_stop_the_work(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:secret@127.0.0.1:9")
    with begin() as run:
        epochs(run, range(1, 4), 3)
    assert "Not tracked" in run.message
    assert "secret" not in run.message


def test_the_null_object_has_every_method_of_the_tracker() -> None:
    def methods(kind: type) -> dict[str, list[str]]:
        found = inspect.getmembers(kind, inspect.isfunction)
        return {name: list(inspect.signature(item).parameters) for name, item in found if not name.startswith("_")}

    assert methods(NoTracker) == methods(Tracker)
    with NoTracker("Switched off.") as run:
        run.notify("epoch", {})
        run.observer("fold_1/")("epoch", {})
        run.estimates([AUROC])
    assert run.finish() == "Switched off."


def test_what_the_run_says_is_strict_json_when_kept(begin: Begin, workspace: Path) -> None:
    run = begin()
    (workspace / "mlruns" / "mlflow.db").rename(workspace / "mlruns" / "away.db")
    run.estimates([Estimate("auroc", math.nan, math.nan, math.nan, 3, 3)])
    run.finish()
    content = json.loads((workspace / "mlruns" / "unsent" / f"{run.run_id}.json").read_text())
    assert [point[0] for point in content["points"]][:2] == ["auroc", "auroc_low"]
    assert content["points"][0][1] is None
    assert str(workspace) not in json.dumps(content)


def test_track_is_what_the_package_offers() -> None:
    assert set(inspect.signature(track).parameters) == {
        "workspace", "pipeline", "recipe", "data_sha256", "seed", "primary", "variant", "run_id",
    }  # fmt: skip
