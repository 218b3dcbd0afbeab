import inspect
import json
import logging
import math
import os
import sqlite3
import time
from pathlib import Path

import pytest

from ai4diag.errors import DataError
from ai4diag.tracking import NoTracker, Tracker, outbox, track
from ai4diag.tracking.reaper import reap
from ai4diag.tracking.record import host
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


def test_short_epochs_are_thinned_and_keep_their_ends(begin: Begin, workspace: Path) -> None:
    run = begin()
    for notify in (run.notify, run.observer("fold_1/")):
        notify("started", {"epochs": 500})
        for epoch in range(1, 99):  # stopped early; three figures of 20 ms each, so every sixth epoch of 10 ms
            notify("epoch", {"epoch": epoch, "epochs": 500, "loss": 1.0, "learning_rate": 0.1, "seconds": 0.01})
        notify("finished", {"epochs": 98, "best_epoch": 90, "seconds": 1.0})
    run.finish()
    assert steps(workspace, run.run_id, "fold_1/train/loss") == [*range(1, 98, 6), 98]
    kept = steps(workspace, run.run_id, "train/loss")
    assert kept[0] == 1
    assert kept[-1] == 98
    assert set(range(10, 98, 10)) <= set(kept)  # fifty points in the 500 epochs that were asked for
    assert len(kept) < 30


def test_a_setting_that_a_new_version_adds_is_no_other_recipe(begin: Begin, workspace: Path) -> None:
    first = begin()
    first.notify("finished", {"epochs": 3, "best_epoch": 2, "seconds": 0.3, "not_deterministic": ["put_, on cpu"]})
    first.finish()
    newer = RECIPE | {"train": RECIPE["train"] | {"deterministic": "auto"}}
    assert begin(run_id=first.run_id, recipe=newer, changed={"task": "tabular"}).resumed
    assert not begin(run_id=first.run_id, recipe=newer, changed={"train": {"deterministic": "auto"}}).resumed
    assert not begin(run_id=first.run_id, recipe=newer).resumed
    fewer = {name: block for name, block in RECIPE.items() if name != "evaluate"}
    assert not begin(run_id=first.run_id, recipe=fewer, changed={}).resumed
    assert stored(workspace, first.run_id).data.tags["ai4diag.not_deterministic"] == "put_, on cpu"


def test_folds_have_their_own_curves(begin: Begin, workspace: Path) -> None:
    run = begin()
    run.observer("fold_1/")("epoch", {"epoch": 1, "epochs": 1, "loss": 3.0, "seconds": 1.0})
    run.notify("epoch", {"epoch": 1, "epochs": 1, "loss": 5.0, "seconds": 1.0})
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


def test_a_killed_run_is_reaped_and_resumes_without_repeating_itself(
    begin: Begin, workspace: Path, killed_run: str
) -> None:
    run_id = killed_run
    assert stored(workspace, run_id).info.status == "RUNNING"
    alive = begin()
    assert stored(workspace, run_id).info.status == "KILLED"
    assert reap(locate(workspace)) == []
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


def test_a_run_of_another_host_is_not_reaped(workspace: Path, killed_run: str) -> None:
    with quietly():
        connect(locate(workspace)).set_tag(killed_run, "ai4diag.host", "elsewhere")
    assert reap(locate(workspace)) == []
    assert stored(workspace, killed_run).info.status == "RUNNING"
    with quietly():
        connect(locate(workspace)).set_tag(killed_run, "ai4diag.host", host())
    assert reap(locate(workspace)) == [killed_run]


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
        "workspace", "pipeline", "recipe", "data_sha256", "seed", "primary", "changed", "variant", "run_id",
    }  # fmt: skip
