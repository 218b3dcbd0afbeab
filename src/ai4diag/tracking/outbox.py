"""Metrics on their way to MLflow: gathered, sent in batches, kept when the store does not answer.

How often a batch is sent follows from what the last one cost: at most 1 % of the time goes into sending, with a fast
local file as with a slow server, also while a broken one is tried again. What could not be sent by the end is written
to `mlruns/unsent/<run id>.json`, and the next run of the workspace with the same store sends it.
"""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai4diag.errors import Ai4diagError
from ai4diag.files import read_json, write_json
from ai4diag.tracking.store import Store, brief, quietly

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

SHORTEST_PAUSE_S = 5.0
SHARE_OF_TIME = 0.01
METRICS_PER_BATCH = 900
TAGS_PER_BATCH = 100
"""MLflow takes at most 1000 things in one call, of which at most 100 tags."""

Point = tuple[str, float, int, int]
"""Metric name, value, time in ms since 1970, step."""

log = logging.getLogger("ai4diag.tracking")


class Outbox:
    """What one run has to say and has not said yet."""

    def __init__(self, client: MlflowClient, store: Store, run_id: str) -> None:
        self._client = client
        self._store = store
        self._run_id = run_id
        self._points: list[Point] = []
        self._tags: dict[str, str] = {}
        self._end: tuple[str, int] | None = None
        self._next_s = time.monotonic() + SHORTEST_PAUSE_S
        self.trouble = ""
        """Why the store does not take what it is given; empty when it does."""

    def metric(self, name: str, value: float, step: int = 0) -> None:
        """Keep a metric; it is sent when its batch is."""
        self._points.append((name, value, time.time_ns() // 1_000_000, step))

    def tags(self, tags: dict[str, str]) -> None:
        """Keep tags; they are sent with the next batch."""
        self._tags |= tags

    def tick(self) -> None:
        """Send a batch if it is time to. Cheap enough for every epoch."""
        if time.monotonic() >= self._next_s:
            self.send()

    def send(self) -> bool:
        """Send everything now; say whether nothing is left. Never raises: training goes on without its record."""
        if not self._points and not self._tags and self._end is None:
            return True
        begun = time.monotonic()
        try:
            with quietly():
                self._deliver()
            self.trouble = ""
        except Exception as error:  # whatever MLflow, a database driver or the network raise
            if not self.trouble:
                log.warning("Tracking in %s failed; training goes on, nothing is lost: %s", self._store, brief(error))
            self.trouble = brief(error)
        now = time.monotonic()
        self._next_s = now + max(SHORTEST_PAUSE_S, (now - begun) / SHARE_OF_TIME)
        return not self.trouble

    def close(self, status: str) -> bool:
        """Send everything and end the run; what cannot be sent is written down. Say whether all of it was sent."""
        self._end = (status, time.time_ns() // 1_000_000)
        if self.send():
            return True
        self._write_down()
        return False

    def _deliver(self) -> None:
        from mlflow.entities import Metric, RunTag

        while self._points or self._tags:
            points = self._points[:METRICS_PER_BATCH]
            tags = dict(list(self._tags.items())[:TAGS_PER_BATCH])
            metrics = [Metric(*point) for point in points]
            self._client.log_batch(self._run_id, metrics=metrics, tags=[RunTag(*item) for item in tags.items()])
            del self._points[: len(points)]
            for name in tags:
                del self._tags[name]
        if self._end is not None:
            self._client.set_terminated(self._run_id, *self._end)
            self._end = None

    def _write_down(self) -> None:
        content = {
            "store": self._store.fingerprint,
            "points": self._points,
            "tags": self._tags,
            "end": self._end,
        }
        try:
            write_json(unsent_path(self._store, self._run_id), content)
        except Ai4diagError as error:
            self.trouble += f" {error}"
            log.warning("What could not be sent could not be kept either: %s", error)

    def take_back(self, content: dict[str, Any]) -> None:
        """Take what an earlier process of this run wrote down."""
        points = content["points"]
        self._points = [(name, math.nan if value is None else value, at, step) for name, value, at, step in points]
        self._tags = content["tags"]
        self._end = None if content["end"] is None else (content["end"][0], content["end"][1])


def unsent_path(store: Store, run_id: str) -> Path:
    """Return where the unsent part of a run is kept."""
    return store.folder / "unsent" / f"{run_id}.json"


def send_unsent(client: MlflowClient, store: Store) -> int:
    """Send what earlier runs could not; return of how many runs. What fails again stays for the next time."""
    sent = 0
    for path in sorted((store.folder / "unsent").glob("*.json")):
        try:
            content = read_json(path)
        except Ai4diagError as error:
            log.warning("%s", error)
            continue
        if content.get("store") == store.fingerprint:
            outbox = Outbox(client, store, path.stem)
            outbox.take_back(content)
            if not outbox.send():
                break
            path.unlink(missing_ok=True)
            sent += 1
    return sent
