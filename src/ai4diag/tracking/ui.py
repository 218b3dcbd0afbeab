"""How to start MLflow's web page for the workspace: on this machine only, one process, nothing reported home."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from ai4diag.errors import MachineError
from ai4diag.tracking.reader import newest_experiment
from ai4diag.tracking.serve import HOST
from ai4diag.tracking.store import ENVIRONMENT, Store, connect, experiment_id, explained, locate, quietly

SETTINGS = {**ENVIRONMENT, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""What the server is told, unless the user's environment says otherwise."""


@dataclass(frozen=True)
class Ui:
    """What `ai4diag ui` runs and opens.

    Attributes:
        command: words of the command; empty when a tracking server is there already and only has to be opened.
        environ: environment of the command; the store's address is found there or from the workspace, so that no
            process list shows a password.
        url: page to open: the runs of the pipeline, or of the one that ran last.
    """

    command: tuple[str, ...]
    environ: dict[str, str]
    url: str


def ui(workspace: Path, pipeline: str = "", port: int | None = None) -> Ui:
    """Return how to start the page.

    Args:
        workspace: the folder with `mlruns/`.
        pipeline: open the page of its runs; empty: the page of the pipeline that ran last.
        port: where to listen; None takes 5000 or the next that is free.

    Raises:
        MachineError: the store cannot be used; the port is taken, or none is free.
    """
    store = locate(workspace)
    with explained(store), quietly():
        client = connect(store)
        page = runs_page(experiment_id(client, store, pipeline)) if pipeline else training_page(store)
    if away := elsewhere(store):
        return Ui((), {}, away + page)
    port = free_port(port)
    return Ui(command(workspace, "--host", HOST, "--port", str(port)), environ(), f"http://{HOST}:{port}/{page}")


def command(workspace: Path, *where: str) -> tuple[str, ...]:
    """Return the words that start the server; `where` is `--uds SOCKET`, or `--port PORT`."""
    return (sys.executable, "-m", "ai4diag.tracking.serve", str(workspace), *where)


def environ() -> dict[str, str]:
    """Return the environment of the server."""
    return {**SETTINGS, **os.environ}


def elsewhere(store: Store) -> str:
    """Return the address of a tracking server that is there already, with a slash at its end; else nothing."""
    return store.uri.rstrip("/") + "/" if store.uri.startswith(("http://", "https://")) else ""


def training_page(store: Store) -> str:
    """Return the part of the address that shows the training runs of the pipeline that ran last; no runs: nothing."""
    newest = newest_experiment(store)
    return runs_page(newest) if newest else ""


def runs_page(experiment: str) -> str:
    """Return the part of the address that shows the training runs of an experiment.

    Without the type of work MLflow asks whether this is about language models, or guesses so.
    """
    return f"#/experiments/{experiment}/runs?workflowType=machine_learning"


def free_port(wanted: int | None = None, first: int = 5000, verb: str = "ui") -> int:
    """Return `wanted` if it is free on loopback; without a wish `first` or one of the 99 after it.

    Raises:
        MachineError: it is taken; none of them is free. The cure names the option of `ai4diag <verb>`.
    """
    candidates = range(first, first + 100) if wanted is None else (wanted,)
    for port in candidates:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    found = f"Port {wanted}" if wanted is not None else f"Every port from {first} to {first + 99}"
    raise MachineError(f"{found} on {HOST} is taken.", f"Name another: ai4diag {verb} --port {first + 200}")
