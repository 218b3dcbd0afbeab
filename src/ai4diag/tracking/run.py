"""One run in MLflow, as the stages use it.

    with track(workspace, "blood-cells", recipe=recipe.model_dump(mode="json"), data_sha256=..., seed=7,
               primary="map_50") as run:
        fit(learner, prepared, fold, recipe.train, run.notify)
        run.estimates(estimates)
        run.artifact(folder / "report.html")
    print(run.message)

MLflow is an observer: when it fails, a warning says so once, the work goes on, and `message` tells at the end what
became of the record (see `ai4diag.tracking.outbox`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from ai4diag.errors import DataError
from ai4diag.tracking import names
from ai4diag.tracking.curves import Curves
from ai4diag.tracking.outbox import Outbox, log, send_unsent
from ai4diag.tracking.reaper import reap
from ai4diag.tracking.record import PREFIX, UNKNOWN_GPU, binding, environment, process
from ai4diag.tracking.store import Store, brief, connect, experiment_id, locate, quietly
from ai4diag.types import Estimate

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

SWITCH = "AI4DIAG_TRACKING"
"""Environment variable; `off` tracks nothing."""
Status = Literal["FINISHED", "FAILED", "KILLED"]
Notify = Callable[[str, dict[str, Any]], None]

LONGEST_TAG = 4000
"""Characters; MLflow takes 5,000 and more, depending on its store."""
STARTED = ("cases", "parameters", "device", "precision", "memory_format", "compile", "processes")
"""What a training tells of itself when it starts, kept as tags: a run that is continued may do so differently."""
ARTIFACTS = frozenset({".html", ".json", ".md", ".png", ".safetensors", ".svg", ".txt", ".yaml"})
"""Kinds of files that may go to MLflow. Tables and arrays of cases may not: a server may be shared."""


class NoTracker:
    """Says nothing to nobody: what the stages use when a run is not tracked. `Tracker` has the same methods."""

    def __init__(self, message: str = "Not tracked.") -> None:
        self.run_id = ""
        self.resumed = False
        self.message = message

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish("FINISHED")
        else:
            self.finish("KILLED" if issubclass(kind, (KeyboardInterrupt, SystemExit)) else "FAILED")

    def notify(self, event: str, fields: dict[str, Any]) -> None:
        """Observe the training of the model that is kept."""

    def observer(self, prefix: str) -> Notify:
        """Return a `notify` for another fold, whose curves get names that begin with `prefix`, such as `fold_1/`."""
        return self.notify

    def estimates(self, estimates: Iterable[Estimate]) -> None:
        """Record estimates with their limits."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """Record a file.

        Raises:
            DataError: files of this kind may hold cases, and do not go to MLflow.
        """
        if path.suffix.lower() not in ARTIFACTS:
            raise DataError(
                f"{path.name} does not go to MLflow: '{path.suffix}' files may hold cases.",
                f"Record only {', '.join(sorted(ARTIFACTS))}.",
            )

    def finish(self, status: Status = "FINISHED") -> str:
        """End the run and return what became of its record, one line. A second call changes nothing."""
        return self.message


class Tracker(NoTracker):
    """A run that is being recorded; made by `track`.

    Attributes:
        run_id: MLflow's id; a later process continues the run by it.
        resumed: whether an earlier run is being continued.
        message: what became of the record; complete after `finish`.
    """

    def __init__(self, client: MlflowClient, store: Store, run: Run, recorded: Mapping[str, int]) -> None:
        super().__init__(f"Run {run.info.run_id} is being recorded in {store}.")
        self.run_id = str(run.info.run_id)
        self.resumed = bool(run.data.params)
        self._client = client
        self._store = store
        self._recorded = recorded
        self._outbox = Outbox(client, store, self.run_id)
        self._lost: list[str] = []
        self._curves: dict[str, Curves] = {}
        self._finished = False

    def notify(self, event: str, fields: dict[str, Any]) -> None:
        """Keep the figures of an event; now and then a batch of them is sent."""
        if event != "step":  # every step comes by here
            self._observe("", event, fields)

    def observer(self, prefix: str) -> Notify:
        """Return a `notify` whose curves have names that begin with `prefix`."""

        def notify(event: str, fields: dict[str, Any]) -> None:
            if event != "step":
                self._observe(prefix, event, fields)

        return notify

    def estimates(self, estimates: Iterable[Estimate]) -> None:
        """Send estimates, their limits and counts."""
        for estimate in estimates:
            for name, value in names.estimate_metrics(estimate).items():
                self._outbox.metric(name, value)
        self._outbox.send()

    def artifact(self, path: Path, folder: str = "") -> None:
        """Store a file with the run; when that fails, `message` names it.

        Raises:
            DataError: files of this kind may hold cases, and do not go to MLflow.
        """
        super().artifact(path, folder)
        try:
            with quietly():
                self._client.log_artifact(self.run_id, str(path), folder or None)
        except Exception as error:  # whatever a store or the network raise
            self._lost.append(path.name)
            log.warning("%s is not recorded in %s: %s", path.name, self._store, brief(error))

    def finish(self, status: Status = "FINISHED") -> str:
        """Send what is left, end the run, and return what became of its record."""
        if self._finished:
            return self.message
        self._finished = True
        if self._outbox.close(status):
            self.message = f"Run {self.run_id} is recorded in {self._store}."
        else:
            self.message = (
                f"Run {self.run_id} is recorded in {self._store} only in part ({self._outbox.trouble}). "
                "The rest is in mlruns/unsent; the next run sends it."
            )
        if self._lost:
            self.message += f" Not recorded: {', '.join(self._lost)}."
        return self.message

    def _observe(self, prefix: str, event: str, fields: Mapping[str, Any]) -> None:
        if event not in ("started", "epoch", "finished"):
            return
        if prefix not in self._curves:
            self._curves[prefix] = Curves(prefix, self._recorded)
        curves = self._curves[prefix]
        if event == "started":
            words = {key: fields[key] for key in STARTED if key in fields}
            self._outbox.tags({f"{PREFIX}{prefix.replace('/', '.')}{key}": str(value) for key, value in words.items()})
        else:
            if fields.get("not_deterministic"):
                said = "; ".join(fields["not_deterministic"])[:LONGEST_TAG]
                self._outbox.tags({f"{PREFIX}{prefix.replace('/', '.')}not_deterministic": said})
            for figure in curves.epoch(fields) if event == "epoch" else curves.finished(fields):
                self._outbox.metric(*figure)
            self._outbox.tick()


def track(
    workspace: Path,
    pipeline: str,
    *,
    recipe: Mapping[str, Any],
    data_sha256: str,
    seed: int,
    primary: str,
    changed: Mapping[str, Any] | None = None,
    variant: str = "full",
    run_id: str = "",
) -> Tracker | NoTracker:
    """Begin a run, or continue one.

    A run is continued when `run_id` names one of this pipeline with the same recipe and data; else a new one begins.
    A continued run is RUNNING again, and epochs that it has recorded already are not recorded twice. Before that, runs
    of dead processes are marked, and what earlier runs could not send is sent.

    Args:
        workspace: the folder with `pipelines/` and `mlruns/`.
        pipeline: name of the pipeline, which becomes the experiment.
        recipe: the recipe as plain values.
        data_sha256: hash of `prepared.json`.
        seed: seed of training.
        primary: name of the headline estimate.
        changed: the part of the recipe that differs from the defaults; None: all of it. A setting that a new version
            adds does not make another recipe of a run that was begun without it.
        variant: `full` or `quick`.
        run_id: the run to continue; empty begins a new one.

    Returns:
        A `Tracker`; a `NoTracker` whose message says why when the store cannot be reached, or tracking is switched off.
    """
    if os.environ.get(SWITCH) == "off":
        return NoTracker(f"Not tracked: {SWITCH} is off.")
    store = locate(workspace)
    tags = binding(store.workspace, data_sha256=data_sha256, seed=seed)
    tags |= {f"{PREFIX}pipeline": pipeline, f"{PREFIX}variant": variant, f"{PREFIX}primary": primary}
    try:
        with quietly():
            client = connect(store)
            reap(store, client)
            send_unsent(client, store)
            flat = names.params(recipe)
            must = flat if changed is None else names.params(changed)
            run = _continued(client, run_id, flat, must, tags) if run_id else None
            if run is not None:
                return Tracker(client, store, run, _recorded_steps(client, run))
            run = _begin(client, experiment_id(client, store, pipeline), flat, tags)
            return Tracker(client, store, run, {})
    except Exception as error:  # whatever MLflow, a database driver or the network raise
        message = f"Not tracked: {store} cannot be used ({brief(error)})."
        log.warning("%s The work goes on.", message)
        return NoTracker(message)


def _begin(client: MlflowClient, experiment: str, params: Mapping[str, str], tags: Mapping[str, str]) -> Run:
    from mlflow.entities import Param

    commit = tags[f"{PREFIX}git_commit"]
    source = {} if commit.startswith("none") else {"mlflow.source.git.commit": commit}
    name = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {tags[f'{PREFIX}variant']}"
    run = client.create_run(experiment, tags={**tags, **source, **process()}, run_name=name)
    items = [Param(*item) for item in params.items()]
    for start in range(0, len(items), 100):
        client.log_batch(run.info.run_id, params=items[start : start + 100])
    client.log_text(run.info.run_id, environment(), "environment.txt")
    return run


def _continued(
    client: MlflowClient, run_id: str, params: Mapping[str, str], changed: Mapping[str, str], tags: Mapping[str, str]
) -> Run | None:
    """Set a run to RUNNING and return it; None when there is no such run of this pipeline, recipe and data.

    What it was bound to first stays. Where code or environment changed since, the new state is recorded beside it.
    """
    from mlflow.entities import RunTag
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    same = all(run.data.tags.get(PREFIX + key) == tags[PREFIX + key] for key in ("pipeline", "variant", "data_sha256"))
    stored = run.data.params
    same = same and stored.items() <= params.items() and not (changed.keys() - stored.keys())
    if run.info.lifecycle_stage == "deleted" or not same:
        return None
    known = {name: value for name, value in tags.items() if value != UNKNOWN_GPU}
    changed = {name: value for name, value in known.items() if run.data.tags.get(name) != value}
    now = process() | {f"{PREFIX}continued.{name.removeprefix(PREFIX)}": value for name, value in changed.items()}
    client.log_batch(run_id, tags=[RunTag(*item) for item in now.items()])
    client.update_run(run_id, status="RUNNING")
    return run


def _recorded_steps(client: MlflowClient, run: Run) -> dict[str, int]:
    """Return the last step of every training curve that the run has recorded."""
    curves = [name for name in run.data.metrics if "train/" in name]
    return {name: max(point.step for point in client.get_metric_history(run.info.run_id, name)) for name in curves}
