"""Against a real MLflow server on loopback, started as `ai4diag ui` starts it."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from ai4diag.errors import MachineError
from ai4diag.tracking.query import list_runs, show_run
from ai4diag.tracking.ui import Ui, free_port, ui
from ai4diag.types import Estimate
from tests.tracking.conftest import Begin, epochs

AUROC = Estimate("auroc", 0.99, 0.98, 0.999, 114, 110)


@contextmanager
def serving(page: Ui) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(
        page.command, env=page.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        wait_until_it_answers(page.url, child)
        yield child
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait(timeout=30)


def wait_until_it_answers(url: str, child: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        assert child.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(url.partition("#")[0] + "health", timeout=2) as answer:
                assert answer.read() == b"OK"
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("no answer within 90 seconds")


def test_the_page_is_local_quiet_and_shows_no_address_in_its_command(begin: Begin, workspace: Path) -> None:
    begin().finish()
    page = ui(workspace, "breast-mass")
    assert page.url.startswith("http://127.0.0.1:")
    assert page.url.endswith("/#/experiments/1/runs?workflowType=machine_learning")
    assert page.command[page.command.index("--host") + 1] == "127.0.0.1"
    assert page.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert page.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert not any("mlflow.db" in word for word in page.command)


def test_a_server_that_is_there_already_is_only_opened(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://tracking.example.org/")
    assert ui(workspace) == Ui((), {}, "https://tracking.example.org/")


def test_a_taken_port_is_an_error_or_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MachineError, match=f"Port {port}"):
            free_port(port)
    assert 5000 <= free_port() < 5100


@pytest.mark.slow
def test_the_page_answers_on_loopback_only_and_stops(begin: Begin, workspace: Path) -> None:
    with begin() as run:
        run.estimates([AUROC])
    page = ui(workspace, "breast-mass", port=free_port())
    with serving(page) as child:
        processes = [psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)]
        listening = {
            connection.laddr
            for process in processes
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert {address.ip for address in listening} == {"127.0.0.1"}
        assert len(processes) == 1
        root = page.url.partition("#")[0]
        with urllib.request.urlopen(root) as answer:
            assert b"MLflow" in answer.read()
        with urllib.request.urlopen(f"{root}api/2.0/mlflow/runs/get?run_id={run.run_id}") as answer:
            assert json.load(answer)["run"]["info"]["status"] == "FINISHED"
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


@pytest.mark.slow
def test_runs_go_to_a_server_and_a_lost_server_costs_nothing(
    begin: Begin, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = ui(workspace, port=free_port())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", page.url.rstrip("/"))
    report = tmp_path / "report.html"
    report.write_text("<h1>Report</h1>")
    with serving(page):
        run = begin()
        epochs(run, range(1, 3), 9)
        run._outbox.send()
        run.artifact(report)
        assert show_run(workspace, run.run_id[:8]).status == "RUNNING"
    epochs(run, range(3, 10), 9)  # the server is gone
    run.estimates([AUROC])
    assert "mlruns/unsent" in run.finish()
    with serving(page):
        begin("heart-disease").finish()
        assert [(found.pipeline, found.status) for found in list_runs(workspace)] == [
            ("heart-disease", "FINISHED"),
            ("breast-mass", "FINISHED"),
        ]
        assert show_run(workspace, run.run_id).headline == AUROC
        with begin(run_id=run.run_id) as again:
            assert again.resumed
            assert again._recorded["train/loss"] == 9
