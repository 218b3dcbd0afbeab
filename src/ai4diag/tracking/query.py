"""What `ai4diag runs list | show | compare` prints, as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ai4diag.errors import UsageError
from ai4diag.tracking.names import LIMITS
from ai4diag.tracking.reader import Raw, read_runs
from ai4diag.tracking.reaper import reap
from ai4diag.tracking.record import PREFIX
from ai4diag.tracking.store import explained, locate
from ai4diag.types import Estimate


@dataclass(frozen=True)
class RunSummary:
    """One run.

    Attributes:
        run_id: MLflow's id.
        pipeline: name of the pipeline, which is the experiment.
        status: RUNNING, FINISHED, FAILED or KILLED.
        started: when it began, in UTC.
        seconds: how long it took, or has been running.
        variant: `full`, `quick`; empty when ai4diag did not begin the run.
        commit: git commit, or `none: ` and why there is none.
        dirty: whether the checkout differed from the commit; None when unknown.
        headline: the primary estimate; None before there is one.
        estimates: estimates of the whole test part, by name.
        params: the recipe, flattened.
        tags: what the run is bound to, without the `ai4diag.` of the stored names.
    """

    run_id: str
    pipeline: str
    status: str
    started: datetime
    seconds: float
    variant: str
    commit: str
    dirty: bool | None
    headline: Estimate | None
    estimates: Mapping[str, Estimate] = field(repr=False)
    params: Mapping[str, str] = field(repr=False)
    tags: Mapping[str, str] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            **vars(self),
            "started": self.started.isoformat(timespec="seconds"),
            "headline": self.headline and self.headline.as_dict(),
            "estimates": {name: estimate.as_dict() for name, estimate in self.estimates.items()},
            "params": dict(self.params),
            "tags": dict(self.tags),
        }


@dataclass(frozen=True)
class Comparison:
    """Runs side by side; in each tuple the position is that of the run.

    Attributes:
        runs: the runs.
        params: recipe settings in which the runs differ; None where a run has no such setting.
        tags: commit, data, environment, ... in which they differ.
        estimates: all estimates of the whole test part; None where a run has none of that name.
    """

    runs: tuple[RunSummary, ...]
    params: Mapping[str, tuple[str | None, ...]]
    tags: Mapping[str, tuple[str | None, ...]]
    estimates: Mapping[str, tuple[Estimate | None, ...]]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "runs": [run.as_dict() for run in self.runs],
            "params": {name: list(values) for name, values in self.params.items()},
            "tags": {name: list(values) for name, values in self.tags.items()},
            "estimates": {
                name: [value and value.as_dict() for value in values] for name, values in self.estimates.items()
            },
        }


def list_runs(workspace: Path, pipeline: str = "", limit: int = 50) -> list[RunSummary]:
    """Return the newest runs, newest first, after the reaper has been round.

    Args:
        workspace: the folder with `mlruns/`.
        pipeline: only this one; empty: all.
        limit: at most so many.

    Raises:
        MachineError: the store cannot be read.
    """
    store = locate(workspace)
    with explained(store):
        reap(store)
        return [summary(raw) for raw in read_runs(store, experiment=pipeline, limit=limit)]


def show_run(workspace: Path, run_id: str) -> RunSummary:
    """Return one run by its id or the first characters of it (at least 4).

    Raises:
        UsageError: no run, or several, begin like that.
        MachineError: the store cannot be read.
    """
    if len(run_id) < 4:
        raise UsageError(f"'{run_id}' is too short for a run id.", "Give at least 4 characters.")
    store = locate(workspace)
    with explained(store):
        found = read_runs(store, run_id_prefix=run_id, limit=2)
    if not found:
        raise UsageError(f"There is no run '{run_id}'.", "See: ai4diag runs list")
    if len(found) > 1:
        raise UsageError(f"Several runs begin with '{run_id}'.", "Give more characters.")
    return summary(found[0])


def compare_runs(workspace: Path, run_ids: Sequence[str]) -> Comparison:
    """Put runs side by side.

    Raises:
        UsageError: fewer than two ids, or one that fits no run or several.
    """
    if len(run_ids) < 2:
        raise UsageError(f"Expected two runs or more to compare, found {len(run_ids)}.", "See: ai4diag runs list")
    runs = tuple(show_run(workspace, run_id) for run_id in run_ids)
    by_name = [run.estimates for run in runs]
    names = list(dict.fromkeys(name for estimates in by_name for name in estimates))
    of_process = ("pid", "process_started", "host")
    tags = [{name: value for name, value in run.tags.items() if name not in of_process} for run in runs]
    return Comparison(
        runs=runs,
        params=_differing([run.params for run in runs]),
        tags=_differing(tags),
        estimates={name: tuple(estimates.get(name) for estimates in by_name) for name in names},
    )


def summary(raw: Raw) -> RunSummary:
    """Read what is stored as what it means."""
    tags = {name.removeprefix(PREFIX): value for name, value in raw.tags.items() if name.startswith(PREFIX)}
    estimates = _estimates(raw.metrics)
    ended_ms = raw.ended_ms or datetime.now(UTC).timestamp() * 1000
    return RunSummary(
        run_id=raw.run_id,
        pipeline=raw.experiment,
        status=raw.status,
        started=datetime.fromtimestamp(raw.started_ms / 1000, UTC),
        seconds=(ended_ms - raw.started_ms) / 1000,
        variant=tags.get("variant", ""),
        commit=tags.get("git_commit", ""),
        dirty={"true": True, "false": False}.get(tags.get("git_dirty", "")),
        headline=estimates.get(tags.get("primary", "")),
        estimates=estimates,
        params=raw.params,
        tags=tags,
    )


def _estimates(metrics: Mapping[str, float]) -> dict[str, Estimate]:
    """Gather the metrics of `names.estimate_metrics` into estimates of the whole test part."""
    found = {}
    for name in sorted(metrics):
        values = [metrics.get(name + suffix) for suffix in LIMITS]
        if "/" not in name and None not in values:
            value, low, high, n, patients = (math.nan if number is None else number for number in values)
            found[name] = Estimate(name, value, low, high, int(n), int(patients))
    return found


def _differing(values: Sequence[Mapping[str, str]]) -> dict[str, tuple[str | None, ...]]:
    names = sorted({name for mapping in values for name in mapping})
    rows = {name: tuple(mapping.get(name) for mapping in values) for name in names}
    return {name: row for name, row in rows.items() if len(set(row)) > 1}
