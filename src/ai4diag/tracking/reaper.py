"""A run whose process was killed stays RUNNING in MLflow for ever; the reaper marks it KILLED."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ai4diag.tracking.outbox import unsent_path
from ai4diag.tracking.reader import Raw, read_runs
from ai4diag.tracking.record import PREFIX, birth, host
from ai4diag.tracking.store import Store, connect, quietly

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


def reap(store: Store, client: MlflowClient | None = None) -> list[str]:
    """Mark the RUNNING runs of dead processes of this host as KILLED, and return their ids.

    Runs of other hosts, and runs that ai4diag did not begin, are left alone. A run whose end waits in `mlruns/unsent`
    is left to the next run, which sends it.

    Args:
        store: where to look.
        client: a client that is there already; else one is made when there is something to mark.
    """
    dead = [run.run_id for run in read_runs(store, status="RUNNING") if is_dead(run) and not _waits(store, run)]
    if dead:
        with quietly():
            client = client or connect(store)
            for run_id in dead:
                client.set_terminated(run_id, "KILLED")
    return dead


def is_dead(run: Raw) -> bool:
    """Say whether the process of a run is known to be gone: it was on this host, and no process has its birth."""
    pid = run.tags.get(f"{PREFIX}pid", "")
    if run.tags.get(f"{PREFIX}host") != host() or not pid.isdigit():
        return False
    return birth(int(pid)) != run.tags.get(f"{PREFIX}process_started")


def _waits(store: Store, run: Raw) -> bool:
    return unsent_path(store, run.run_id).exists()
