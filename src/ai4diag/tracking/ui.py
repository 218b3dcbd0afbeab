"""How to start MLflow's web page for the workspace: on loopback, one worker, nothing reported home."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from ai4diag.errors import MachineError
from ai4diag.tracking.store import ENVIRONMENT, connect, experiment_id, explained, locate, quietly

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Ui:
    """What `ai4diag ui` runs and opens.

    Attributes:
        command: words of the command; empty when a tracking server is there already and only has to be opened.
        environ: environment of the command; the store's address is here, where no process list shows a password.
        url: page to open: the runs of the pipeline, or all experiments.
    """

    command: tuple[str, ...]
    environ: dict[str, str]
    url: str


def ui(workspace: Path, pipeline: str = "", port: int | None = None) -> Ui:
    """Return how to start the page.

    Args:
        workspace: the folder with `mlruns/`.
        pipeline: open the page of its runs; empty: the page of all experiments.
        port: where to listen; None takes 5000 or the next that is free.

    Raises:
        MachineError: the store cannot be used; the port is taken, or none is free.
    """
    store = locate(workspace)
    with explained(store), quietly():
        client = connect(store)
        page = (
            f"/#/experiments/{experiment_id(client, store, pipeline)}/runs?workflowType=machine_learning"
            if pipeline
            else "/"
        )
    if store.uri.startswith(("http://", "https://")):
        return Ui((), {}, store.uri.rstrip("/") + page)
    port = free_port(port)
    environ = {
        **ENVIRONMENT,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": store.uri,
    }
    # a server that is told of another server through MLFLOW_TRACKING_URI would be told of itself
    environ.pop("MLFLOW_TRACKING_URI", None)
    words = ("server", "--host", HOST, "--port", str(port), "--workers", "1", "--no-serve-artifacts")
    root = ("--default-artifact-root", (store.folder / "artifacts").as_uri())
    return Ui((sys.executable, "-m", "mlflow", *words, *root), environ, f"http://{HOST}:{port}{page}")


def free_port(wanted: int | None = None) -> int:
    """Return `wanted` if it is free on loopback; without a wish 5000 or one of the 99 after it.

    Raises:
        MachineError: it is taken; none of them is free.
    """
    candidates = range(5000, 5100) if wanted is None else (wanted,)
    for port in candidates:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    found = f"Port {wanted}" if wanted is not None else "Every port from 5000 to 5099"
    raise MachineError(f"{found} on {HOST} is taken.", "Name another: ai4diag ui --port 5200")
