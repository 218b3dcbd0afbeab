"""Who may be called `staging` or `production`: only a run whose evidence was verified and whose gate holds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from ai4diag.errors import GateError, UsageError, VerifyError, did_you_mean
from ai4diag.evaluation.gate import check_gate
from ai4diag.files import exclusive
from ai4diag.packaging.evidence.verify import PackVerdict, verify_pack
from ai4diag.pipelines import evidence, records
from ai4diag.pipelines.verify import DOES_NOT
from ai4diag.pipelines.workspace import Workspace
from ai4diag.tracking import registry
from ai4diag.tracking.registry import Event, Model

Alias = Literal["staging", "production"]
LONGEST = 2000
"""Characters of a name and a reason; MLflow's stores keep 5,000 per tag, and JSON may double them."""


def promote(
    workspace: Workspace,
    word: str,
    alias: Alias,
    *,
    by: str,
    pack: Path | None = None,
    public_key: Path | None = None,
    reason: str = "",
) -> Event:
    """Give a run an alias in MLflow's registry; whoever had it loses it, and the history says so.

    Args:
        workspace: where the run is.
        word: first characters of its id, or the name of a pipeline.
        alias: `staging` or `production`.
        by: who answers for it.
        pack: its evidence pack, folder or zip; None: where `ai4diag evidence build` puts it.
        public_key: the pack must be signed with its private key.
        reason: in words.

    Raises:
        UsageError: nobody answers for it, there is no such run or pack, the run is of several seeds, or the store does
            not know it (a copied record).
        GateError: the recipe has no release gate, or the gate does not hold.
        VerifyError: the pack is not what it says, or of another run; or the newest verification did not hold.
        MachineError: the store cannot be used.
    """
    person = _person(by, reason)
    record = records.find(workspace, word)
    _releasable(record)
    checked = _checked(record, pack or evidence.usual_folder(workspace, record), public_key)
    root, name, now = workspace.root, record.pipeline, _now()
    with exclusive(registry.lock_of(root), "the registry", wait=True):
        version = registry.version_of(root, name, record.run_id)
        proof = (reason.strip(), checked.manifest_sha256, checked.signed_by)
        event = Event("promoted", alias, version, record.run_id, person, now, *proof)
        known, lost = registry.model(root, name), []
        earlier = known.aliases.get(alias) if known else None
        if known and earlier is not None and earlier != version:
            why = f"replaced by version {version}"
            lost = [Event("demoted", alias, earlier, known.versions.get(earlier, ""), person, now, why)]
        registry.decide(root, name, *lost, event)
    return event


def demote(workspace: Workspace, name: str, alias: Alias, *, by: str, reason: str) -> Event:
    """Take an alias away; version and history stay.

    Raises:
        UsageError: no such model, nobody has the alias, or nobody or no reason is named.
        MachineError: the store cannot be used.
    """
    person = _person(by, reason)
    if not reason.strip():
        raise UsageError("A demotion needs a reason.", "Say it: --reason TEXT")
    with exclusive(registry.lock_of(workspace.root), "the registry", wait=True):
        known = _known(workspace, name)
        version = known.aliases.get(alias)
        if version is None:
            raise UsageError(f"No version of {name} is {alias}.", f"See: ai4diag models {name}")
        event = Event("demoted", alias, version, known.versions.get(version, ""), person, _now(), reason.strip())
        registry.decide(workspace.root, name, event)
    return event


def models(workspace: Workspace, name: str = "") -> list[Model]:
    """Return the registered models, or one of them.

    Raises:
        UsageError: there is none of this name.
        MachineError: the store cannot be used.
    """
    return [_known(workspace, name)] if name else registry.models(workspace.root)


def _releasable(record: records.Record) -> None:
    if "--seeds" in record.facts["words"].split():
        raise UsageError(
            f"Run {record.run_id[:8]} is of several seeds, whose answers were joined; a version is one model.",
            "Promote a run without --seeds.",
        )
    gate = record.plan.accept
    if not gate:
        raise GateError(
            f"The recipe of {record.pipeline} asks for no lower limit, so nothing can be promoted.",
            "Write what must hold into evaluate.accept, and evaluate again.",
        )
    verdicts = record.verdicts()
    if verdicts and verdicts[-1]["verdict"] == DOES_NOT:
        raise VerifyError(
            f"Run {record.run_id[:8]} of {record.pipeline} was run again, and its numbers did not hold: "
            f"{verdicts[-1]['reason']}.",
            f"Nothing was promoted. Find out why, and verify again: ai4diag verify {record.run_id[:8]}",
        )
    unmet = check_gate(record.estimates(), gate)
    if unmet:
        raise GateError(
            f"Run {record.run_id[:8]} of {record.pipeline} does not meet its release gate: {'; '.join(unmet)}.",
            "Nothing was promoted.",
        )


def _checked(record: records.Record, pack: Path, public_key: Path | None) -> PackVerdict:
    """Return what was found in the pack of a run, when it holds."""
    if not pack.exists():
        raise UsageError(f"There is no evidence pack {pack}.", f"Build it: ai4diag evidence build {record.run_id[:8]}")
    verdict = verify_pack(pack, public_key)
    if not verdict.ok:
        raise VerifyError(f"{pack} does not verify: {'; '.join(verdict.problems)}", "Nothing was promoted.")
    if verdict.run_id != record.run_id:
        raise VerifyError(f"{pack} is of run {verdict.run_id}, not of {record.run_id}.", "Nothing was promoted.")
    if not verdict.gate_met:
        raise GateError(f"The numbers in {pack} do not meet the release gate.", "Nothing was promoted.")
    return verdict


def _known(workspace: Workspace, name: str) -> Model:
    found = registry.models(workspace.root)
    model = next((item for item in found if item.name == name), None)
    if model is None:
        nearest = did_you_mean(name, [item.name for item in found])
        raise UsageError(f"No version of '{name}' was ever promoted. {nearest}", "See: ai4diag promote --help")
    return model


def _person(by: str, reason: str = "") -> str:
    if not by.strip():
        raise UsageError("Nobody is named who answers for this.", "Say who: --by NAME")
    if len(by) + len(reason) > LONGEST:
        raise UsageError(f"Name and reason have {len(by) + len(reason)} characters, {LONGEST} can be kept.", "Shorten.")
    return by.strip()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
