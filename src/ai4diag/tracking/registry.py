"""Versions of models in MLflow's registry, the aliases `staging` and `production`, and what became of them.

A registered model is a pipeline; a version of it is a run. Events are tags of the registered model, numbered, never
changed: who gave which version which alias, or took it away, when, why, and on what evidence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai4diag.errors import UsageError
from ai4diag.tracking.record import PREFIX
from ai4diag.tracking.store import Store, connect, explained, locate, quietly

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EVENT = f"{PREFIX}event."
DIGITS = 6


@dataclass(frozen=True)
class Event:
    """Something that was decided about a model.

    Attributes:
        what: `promoted` or `demoted`.
        alias: `staging` or `production`.
        version: number of the version.
        run: MLflow's id of its run.
        by: who decided.
        at: when, UTC, ISO 8601.
        reason: in words; may be empty for a promotion.
        evidence: SHA-256 of the manifest of the evidence pack; empty for a demotion.
        signed_by: fingerprint of the key that signed the pack; empty when it is not known.
    """

    what: str
    alias: str
    version: str
    run: str
    by: str
    at: str
    reason: str = ""
    evidence: str = ""
    signed_by: str = ""


@dataclass(frozen=True)
class Model:
    """A pipeline in the registry.

    Attributes:
        name: the pipeline.
        versions: number of each version to the id of its run.
        aliases: alias to number of the version.
        events: everything that was decided, oldest first.
    """

    name: str
    versions: Mapping[str, str]
    aliases: Mapping[str, str]
    events: tuple[Event, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**vars(self), "events": [asdict(event) for event in self.events]}


def models(workspace: Path) -> list[Model]:
    """Return all registered models, by name.

    Raises:
        MachineError: the store cannot be used.
    """
    store = locate(workspace)
    if store.database is not None and not store.database.exists():
        return []
    with explained(store), quietly():
        client = connect(store)
        return [_model(client, item) for item in _pages(client.search_registered_models)]


def model(workspace: Path, name: str) -> Model | None:
    """Return a registered model; None when there is none of this name."""
    return next((item for item in models(workspace) if item.name == name), None)


def version_of(workspace: Path, name: str, run: str) -> str:
    """Return the number of the version that is this run; it is registered when it is not yet.

    Raises:
        UsageError: the store does not know the run.
        MachineError: the store cannot be used.
    """
    store = locate(workspace)
    with explained(store), quietly():
        client = connect(store)
        source = f"{_run(client, store, run).info.artifact_uri}/model"  # first: an unknown run registers nothing
        if not any(item.name == name for item in _pages(client.search_registered_models)):
            client.create_registered_model(name)
        for known in client.search_model_versions(f"name = '{name}'"):
            if known.run_id == run:
                return str(known.version)
        return str(client.create_model_version(name, source, run_id=run).version)


def decide(workspace: Path, name: str, *events: Event) -> None:
    """Write events down, then set or delete the alias of the last one: who reads the alias finds the reason.

    An alias passes from one version to the next in one step. When it cannot be set, the events are taken back.

    Raises:
        MachineError: the store cannot be used.
    """
    store = locate(workspace)
    with explained(store), quietly():
        client = connect(store)
        known = [
            int(key.removeprefix(EVENT)) for key in client.get_registered_model(name).tags if key.startswith(EVENT)
        ]
        first, last = max(known, default=0) + 1, events[-1]
        keys = [f"{EVENT}{number:0{DIGITS}}" for number in range(first, first + len(events))]
        try:
            for key, event in zip(keys, events, strict=True):
                client.set_registered_model_tag(name, key, json.dumps(asdict(event)))
            if last.what == "promoted":
                client.set_registered_model_alias(name, last.alias, last.version)
            else:
                client.delete_registered_model_alias(name, last.alias)
        except BaseException:
            for key in keys:
                with suppress(Exception):  # the store is away; the first error says so
                    client.delete_registered_model_tag(name, key)
            raise


def lock_of(workspace: Path) -> Path:
    """Return the lock file under which decisions of this workspace are made one after another."""
    store: Store = locate(workspace)
    return store.folder / ".registry.lock"


def _run(client: MlflowClient, store: Store, run: str) -> Any:
    """Return MLflow's run; a copied record, or a run that was not tracked, has none."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise UsageError(
            f"The MLflow store {store} does not know run {run[:8]}: its record was copied here, it was not tracked "
            "(AI4DIAG_TRACKING=off), or it is in another store (MLFLOW_TRACKING_URI).",
            "Nothing was promoted. Promote it where it was run, or run the pipeline here and promote that run.",
        ) from error


def _model(client: MlflowClient, item: Any) -> Model:
    versions = client.search_model_versions(f"name = '{item.name}'")
    numbers = {str(version.version): str(version.run_id) for version in versions}
    events = tuple(Event(**json.loads(value)) for key, value in sorted(item.tags.items()) if key.startswith(EVENT))
    aliases = {name: str(version) for name, version in sorted(item.aliases.items())}
    return Model(item.name, dict(sorted(numbers.items(), key=lambda pair: int(pair[0]))), aliases, events)


def _pages(search: Any) -> list[Any]:
    found: list[Any] = []
    token: str | None = None
    while True:
        page = search(page_token=token)
        found += page
        token = page.token
        if not token:
            return sorted(found, key=lambda item: str(item.name))
