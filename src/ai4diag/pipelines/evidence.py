"""Evidence packs of runs: what was kept of a run, as `ai4diag.packaging.evidence` wants it."""

from __future__ import annotations

import contextlib
import getpass
import platform
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ai4diag.config.base import read_yaml
from ai4diag.errors import UsageError
from ai4diag.files import sha256_file
from ai4diag.packaging.evidence.contents import read_answers
from ai4diag.packaging.evidence.pack import Built, Source, build
from ai4diag.packaging.evidence.pseudonyms import identifiers
from ai4diag.pipelines import records
from ai4diag.pipelines.workspace import Workspace

if TYPE_CHECKING:
    from ai4diag.data.prepared import Prepared
    from ai4diag.evaluation.report import ReportContext
    from ai4diag.packaging.evidence.signing import Ask

FOLDER = "mlruns/packs"
SHOWN = 8
"""Characters of a run's id in the name of its pack."""
COMMON = frozenset({"root", "user", "admin", "ubuntu", "debian", "runner", "jovyan", "localhost", "python", "ai4diag"})
"""Names of users and machines that name nobody."""


def usual_folder(workspace: Workspace, record: records.Record) -> Path:
    """Return where the pack of a run is put unless something else is said."""
    return workspace.root / FOLDER / f"{record.pipeline}-{record.run_id[:SHOWN]}"


def build_pack(
    workspace: Workspace,
    word: str,
    *,
    out: Path | None = None,
    supplied: Path | None = None,
    pictures: bool = False,
    private_key: Path | None = None,
    ask: Ask = lambda: "",
) -> Built:
    """Build the evidence pack of a run.

    Args:
        workspace: where the run was kept.
        word: beginning of the run's id, or name of a pipeline (its latest run).
        out: folder of the pack; None: `mlruns/packs/<pipeline>-<beginning of the id>`.
        supplied: YAML file with what only people can say.
        pictures: show the pictures of the worst and the typical cases; they leave the machine with the pack.
        private_key: signs the pack.
        ask: gives the key's password.

    Raises:
        UsageError: no such run, or it has no record.
        DataError: the record is damaged, its numbers do not come out again, or an identifier would be in the pack.
        ConfigError: an answer to what nobody asked.
    """
    record = records.find(workspace, word)
    answers = {}
    if supplied is not None:
        if not supplied.is_file():
            raise UsageError(f"{supplied} does not exist.", "Begin with to-supply.yaml of a pack.")
        answers = read_answers(supplied.read_text(encoding="utf-8-sig"), str(supplied))
    folder = out if out is not None else usual_folder(workspace, record)
    folder.parent.mkdir(parents=True, exist_ok=True)
    context, prepared = record.context(), _prepared(workspace, record)
    source = Source(
        record=record.facts,
        context=_pictured(prepared, record, context) if pictures else context,
        plan=record.plan,
        predictions=record.predictions(),
        estimates=record.estimates(),
        verdicts=tuple(record.verdicts()),
        readme=_text(record.folder / "README.md"),
        card=read_yaml(record.folder / "card.yaml"),
        environment=_text(record.folder / "environment.txt"),
        answers=answers,
        paths=_paths(workspace),
        machine=_machine(),
        cases=_cases(prepared),
    )
    return build(folder.resolve(), source, private_key=private_key, ask=ask)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _paths(workspace: Workspace) -> dict[str, str]:
    """Return folders of this machine and what stands for them."""
    home = str(Path.home())
    found = {str(workspace.root): ".", str(workspace.root.resolve()): "."}
    return found | ({home: "~"} if len(home) > 1 else {})


def _machine() -> tuple[str, ...]:
    """Return the names of user and machine, where they name anybody."""
    names = {platform.node(), platform.node().partition(".")[0]}
    with contextlib.suppress(KeyError, OSError):  # a user that the system does not know
        names.add(getpass.getuser())
    return tuple(sorted(identifiers(names - COMMON)))


def _prepared(workspace: Workspace, record: records.Record) -> Prepared | None:
    """Return the prepared cases that the run was evaluated on; None when they are not there any more."""
    from ai4diag.data.prepared import Prepared

    wanted = record.facts["evaluated"].get("data_sha256")
    kept = sorted((workspace.root / "pipelines" / record.pipeline / "out").glob("**/prepared/prepared.json"))
    folder = next((path.parent for path in kept if sha256_file(path) == wanted), None)
    return None if folder is None else Prepared.open(folder)


def _cases(prepared: Prepared | None) -> frozenset[str]:
    """Return the identifiers of all cases and patients, those of the training part among them."""
    if prepared is None:
        return frozenset()
    return frozenset(str(value) for name in ("case_id", "patient_id") for value in prepared.index[name].unique())


def _pictured(prepared: Prepared | None, record: records.Record, context: ReportContext) -> ReportContext:
    """Return the context with the pictures of the prepared cases.

    Raises:
        UsageError: they are not there any more.
    """
    from ai4diag.pipelines.report_context import pictures

    if prepared is None:
        raise UsageError(
            f"The prepared cases of run {record.run_id} are not there any more; its pictures cannot be shown.",
            f"Leave out --with-pictures, or run `ai4diag prepare {record.facts['words']}`.",
        )
    return replace(context, **pictures(prepared))
