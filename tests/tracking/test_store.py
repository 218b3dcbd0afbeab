import logging
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from ai4diag.errors import MachineError
from ai4diag.tracking.store import connect, experiment_id, locate, quietly

MAKE = """
import sys
from pathlib import Path
from ai4diag.tracking.store import connect, experiment_id, locate, quietly
store = locate(Path(sys.argv[1]))
with quietly():
    client = connect(store)
    number = experiment_id(client, store, "demo")
    run = client.create_run(number)
from mlflow.environment_variables import MLFLOW_ALLOW_PICKLE_DESERIALIZATION as pickles
from mlflow.telemetry.client import get_telemetry_client
print(number, run.info.run_id, pickles.get(), get_telemetry_client())
"""


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}


def test_the_store_is_in_the_workspace_unless_the_environment_names_another(tmp_path: Path) -> None:
    local = locate(tmp_path, environ={})
    assert local.database == tmp_path / "mlruns" / "mlflow.db"
    assert str(local) == "mlruns"
    server = locate(tmp_path, environ={"MLFLOW_TRACKING_URI": "https://me:secret@tracking.example.org"})
    assert server.database is None
    assert str(server) == "tracking.example.org"
    assert list(tmp_path.iterdir()) == []


def test_two_processes_that_start_together_share_one_store_quietly_and_report_nothing(tmp_path: Path) -> None:
    workspace = tmp_path / "a b#é"
    command = [sys.executable, "-c", MAKE, str(workspace)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    children = [subprocess.Popen(command, env=environment(), cwd=tmp_path, **pipes) for _ in range(2)]
    outputs = [child.communicate() for child in children]
    assert [child.returncode for child in children] == [0, 0], outputs
    assert [error for _, error in outputs] == ["", ""]
    numbers, runs, unpickles, telemetry = zip(*(out.split() for out, _ in outputs), strict=True)
    assert numbers[0] == numbers[1]
    assert unpickles == ("False", "False")
    assert telemetry == ("None", "None")
    with sqlite3.connect(workspace / "mlruns" / "mlflow.db") as base:
        assert {row[0] for row in base.execute("SELECT run_uuid FROM runs")} == set(runs)
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert [path.name for path in (workspace / "mlruns").iterdir()] == ["mlflow.db"]
    assert [path.name for path in tmp_path.iterdir()] == [workspace.name]


def test_a_read_only_folder_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "mlruns").write_text("a file where the folder should be")
    with quietly(), pytest.raises(MachineError, match="Cannot create"):
        connect(locate(tmp_path, environ={}))


def test_a_path_that_no_database_uri_can_hold_is_refused(tmp_path: Path) -> None:
    for name in ("what?", "100%20"):
        with pytest.raises(MachineError, match="Rename"):
            connect(locate(tmp_path / name, environ={}))
    assert list(tmp_path.iterdir()) == []


def test_a_deleted_experiment_is_an_error_that_says_how_to_restore_it(workspace: Path) -> None:
    store = locate(workspace)
    with quietly():
        client = connect(store)
        client.delete_experiment(experiment_id(client, store, "demo"))
        with pytest.raises(MachineError, match="mlflow experiments restore"):
            experiment_id(client, store, "demo")


def test_loggers_are_as_before_afterwards() -> None:
    logger = logging.getLogger("mlflow")
    before = logger.level
    with quietly():
        assert not logger.isEnabledFor(logging.ERROR)
    assert logger.level == before
