"""MLflow's server in one process, which ends with the process that started it.

    python -m ai4diag.tracking.serve WORKSPACE --uds SOCKET
    python -m ai4diag.tracking.serve WORKSPACE --port PORT

`mlflow server` keeps a second Python that only waits: twice the memory, and when it is killed its server goes on. This
starts the same application, without job execution and without serving artifacts for others; a thread looks every second
whether the parent is still there. Settings come from the environment (`ai4diag.tracking.ui`).
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from ai4diag.tracking.store import connect, explained, locate, quietly

HOST = "127.0.0.1"


def main(arguments: list[str] | None = None) -> None:
    """Serve until the process is told to end, or its parent has ended."""
    parser = argparse.ArgumentParser(prog="ai4diag.tracking.serve")
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--host", default=HOST)
    parser.add_argument("--port", type=int)
    parser.add_argument("--uds", type=Path)
    given = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):  # uvicorn hands them on when it has ended; then we tidy up
        signal.signal(number, _leave)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    import uvicorn  # before mlflow.server, which takes it for a sign that it runs as a server

    store = locate(given.workspace)
    with explained(store), quietly():
        connect(store)  # makes the database when there is none yet
        from mlflow.server import constants
        from mlflow.server.fastapi_app import app

    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = store.uri
    os.environ[constants.REGISTRY_STORE_URI_ENV_VAR] = store.uri
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = (store.folder / "artifacts").as_uri()
    # a server that is told of another server through MLFLOW_TRACKING_URI would be told of itself
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    where = {"uds": str(given.uds)} if given.uds else {"host": given.host, "port": given.port}
    try:
        uvicorn.run(app, log_level="warning", timeout_graceful_shutdown=3, **where)
    finally:
        if given.uds:  # the proxy made a folder for the socket, and leaves it
            given.uds.unlink(missing_ok=True)
            with suppress(OSError):  # it holds something else
                given.uds.parent.rmdir()


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def _end_with(parent: int) -> None:
    """Tell this process to end once its parent is another: the one that started it is gone."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
