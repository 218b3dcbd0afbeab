"""Where runs are kept, and how to reach it: `<workspace>/mlruns/mlflow.db`, or what `MLFLOW_TRACKING_URI` names.

Measured (two cores, MLflow 3.17.2, files in memory): importing MLflow with its SQL store 1.5 s beside pandas and torch,
1.1 s with garbage collection paused meanwhile; creating the schema 0.9 s, once per workspace, nearly all of it
MLflow's own migrations; opening an existing store 0.05 s.
"""

from __future__ import annotations

import gc
import logging
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ai4diag.errors import Ai4diagError, MachineError
from ai4diag.files import sha256_bytes

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""Set before MLflow is imported, unless the user has set it: nothing is reported home, nothing is unpickled, and a
server that does not answer holds training up for seconds, not for the minutes of MLflow's defaults."""


@dataclass(frozen=True)
class Store:
    """Where runs are kept.

    Attributes:
        workspace: the folder that holds `pipelines/` and `mlruns/`.
        uri: MLflow's tracking URI.
        database: the SQLite file when the store is the workspace's own, else None.
    """

    workspace: Path
    uri: str
    database: Path | None

    @property
    def folder(self) -> Path:
        """`<workspace>/mlruns`."""
        return self.workspace / "mlruns"

    @property
    def fingerprint(self) -> str:
        """Tells stores apart without showing the password that a URI may hold."""
        return sha256_bytes(self.uri.encode())[:16]

    def __str__(self) -> str:
        if self.database is not None:
            return "mlruns"
        return self.uri.rpartition("@")[2]


def locate(workspace: Path, environ: Mapping[str, str] | None = None) -> Store:
    """Return the store of a workspace; `MLFLOW_TRACKING_URI` wins when it is set. Touches no file."""
    workspace = Path(workspace).resolve()
    uri = (os.environ if environ is None else environ).get("MLFLOW_TRACKING_URI", "")
    if uri:
        return Store(workspace, uri, None)
    database = workspace / "mlruns" / "mlflow.db"
    return Store(workspace, f"sqlite:///{database.as_posix()}", database)


def connect(store: Store) -> MlflowClient:
    """Return a client; the local database is created when it is not there yet.

    Call it, and use the client, inside `quietly()`.

    Raises:
        MachineError: the local database cannot be created: no space, no permission, or a path that MLflow cannot open.
    """
    if store.database is not None and {"?", "%"} & set(str(store.database)):
        # versions of SQLAlchemy differ in whether they decode them
        raise MachineError(
            f"{store.workspace} has '?' or '%' in its path, which MLflow cannot open.", "Rename the folder."
        )
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with _collector_paused():
        from mlflow.tracking import MlflowClient

    with quietly():  # once more, because importing MLflow sets the levels of its loggers
        if store.database is not None and not store.database.exists():
            _create(store)
        return MlflowClient(tracking_uri=store.uri)


def experiment_id(client: MlflowClient, store: Store, name: str) -> str:
    """Return the id of the experiment; it is created when it is not there yet, also when others do so right now.

    Raises:
        MachineError: the experiment was deleted.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        from mlflow.exceptions import MlflowException

        location = (store.folder / "artifacts" / name).as_uri() if store.database is not None else None
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:  # another process was quicker
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        raise MachineError(
            f"The MLflow experiment '{name}' is deleted.",
            f"Restore it: mlflow experiments restore -x {found.experiment_id}",
        )
    return str(found.experiment_id)


@contextmanager
def quietly() -> Iterator[None]:
    """Silence the loggers of MLflow and Alembic, and warnings, while our own calls run; errors are raised as ever."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic", "urllib3.connectionpool")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def brief(error: Exception) -> str:
    """Return kind and first line of an error, at most 300 characters, without the passwords that addresses may hold."""
    lines = str(error).strip().splitlines() or ["no message"]
    return re.sub(r"://[^/@\s]*@", "://", f"{type(error).__name__}: {lines[0]}")[:300]


@contextmanager
def explained(store: Store) -> Iterator[None]:
    """Turn whatever MLflow, a database driver or the network raise inside into one error that says what to do.

    Raises:
        MachineError: the store cannot be used.
    """
    try:
        yield
    except Ai4diagError:
        raise
    except Exception as error:
        cure = "Is MLFLOW_TRACKING_URI right, and the server running?"
        if store.database is not None:
            cure = f"If {store.database} is damaged, move it away; the next run makes a new one."
        raise MachineError(f"{store} cannot be used ({brief(error)}).", cure) from error


def _create(store: Store) -> None:
    """Make the database beside its place and link it there.

    MLflow's migrations are neither atomic nor safe against a second process. So every process that finds no database
    makes its own, and the link, which fails when the name is taken, decides whose is kept. A process killed meanwhile
    leaves no half-made database.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    assert store.database is not None
    try:
        store.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=store.folder) as folder:
            fresh = Path(folder) / "mlflow.db"
            made = SqlAlchemyStore(f"sqlite:///{fresh.as_posix()}", (store.folder / "artifacts").as_uri())
            made.engine.dispose()
            with suppress(FileExistsError):
                os.link(fresh, store.database)
    except OSError as error:
        raise MachineError(
            f"Cannot create {store.database}: {error.strerror or error}.",
            "Check free disk space and the permissions of the folder, or set MLFLOW_TRACKING_URI.",
        ) from error


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Import without garbage collection: it finds nothing to free and takes a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
