"""Verify: run again what somebody stated, in a clean checkout of its commit, and say whether the numbers hold.

A run is verified against its record, a pipeline against the estimates that are committed at git's HEAD. Nothing of the
workspace is trusted but its git history: code, recipe and card come from the commit, raw files are compared with the
checksums on that card, prepared cases, model, predictions and estimates are made anew.
"""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from ai4diag import __version__
from ai4diag.config.base import read_yaml
from ai4diag.errors import Ai4diagError, CannotVerifyError, DataError
from ai4diag.evaluation.compare import compare_estimates
from ai4diag.files import checksum_file, exclusive, read_arrow, read_json, sha256_file
from ai4diag.pipelines import stages
from ai4diag.pipelines.checkout import FOLDER, clean_checkout, git, has_commit, head
from ai4diag.pipelines.records import Record
from ai4diag.pipelines.rerun import Say, link_loose_file, rerun
from ai4diag.pipelines.workspace import Pipeline, Workspace
from ai4diag.tracking import record as environment
from ai4diag.tracking.verification import keep_verdict
from ai4diag.types import Estimate

HOLDS, DOES_NOT, CANNOT = "holds", "does not hold", "cannot be verified"
PRIVATE = "told in the run record: it may name cases and folders, and stays on its machine"
NAMED = 5
"""So many packages and machine properties that differ are named."""
MACHINE = ("cpu_model", "cpus", "gpu", "platform", "python", "threads", "vectors")


@dataclass(frozen=True)
class Verdict:
    """What a reproduction showed.

    Attributes:
        subject: what was verified: `breast-mass`, or `run 64c4003c (breast-mass --quick)`.
        verdict: `holds`, `does not hold`, or `cannot be verified`.
        reason: why it cannot be verified, or in what it does not hold; empty when it holds.
        when: UTC, ISO 8601.
        commit: whose code, recipe and card ran; empty when that is not known.
        compared: number of estimates that were stated.
        identical: those that agree to the last bit.
        tolerance: largest absolute difference that was accepted.
        predictions_identical: whether all predictions agree to the last bit; None: there were none to compare with.
        weights_identical: whether the files of the model do; None as above.
        differences: estimates outside the tolerance, in words; empty when the numbers hold.
        not_deterministic: what the training ran that may give other bits every time, and on which device.
        notes: what else differs: packages, machine, prepared cases, predictions; none of it decides.
        machine: what the reproduction was bound to (as `trained` of a record); empty when nothing ran.
        version: of ai4diag, the one that compared.
    """

    subject: str
    verdict: str
    reason: str = ""
    when: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    commit: str = ""
    compared: int = 0
    identical: int = 0
    tolerance: float = 0.0
    predictions_identical: bool | None = None
    weights_identical: bool | None = None
    differences: tuple[str, ...] = ()
    not_deterministic: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    machine: dict[str, str] = field(default_factory=dict)
    version: str = __version__

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def verify_run(workspace: Workspace, record: Record, *, mirror: str | None, say: Say) -> tuple[Verdict, str]:
    """Verify a run against its record, and keep the verdict in the record and in MLflow.

    Args:
        workspace: where the run was made.
        record: what it showed.
        mirror: offline mirror of the data sets.
        say: told each line that the stages print.

    Returns:
        The verdict, and where it is kept, in words.
    """
    try:
        verdict = _verify_run(workspace, record, mirror, say)
    except CannotVerifyError as error:
        commit = str(record.facts["evaluated"].get("git_commit", ""))
        verdict = Verdict(_subject(record), CANNOT, reason=str(error), commit=commit)
    with exclusive(workspace.root / FOLDER / ".verdicts.lock", "a verdict", wait=True):
        record.add_verdict(verdict.as_dict())
    public = [found | ({"reason": PRIVATE} if found["verdict"] == CANNOT else {}) for found in record.verdicts()]
    return verdict, f"in the record, and {keep_verdict(workspace.root, record.run_id, public)}"


def verify_committed(pipeline: Pipeline, *, mirror: str | None, say: Say) -> Verdict:
    """Verify the estimates of a pipeline that are committed at HEAD, with code and recipe of HEAD.

    Its predictions are compared with the checksum in the `dvc.lock` of HEAD, if that has one.

    Raises:
        DataError: no estimates are committed.
    """
    root, name = pipeline.workspace.root, pipeline.name
    stated, commit = committed_estimates(pipeline), head(pipeline.workspace.root)
    with clean_checkout(root, commit) as (tree, lock):
        there = Workspace(tree).pipeline(name)
        dataset = there.recipe.data.dataset
        try:
            rerun(tree, name, dataset, data=pipeline.workspace.data, mirror=mirror, lock=lock, say=say)
        except CannotVerifyError as error:
            return Verdict(name, CANNOT, reason=str(error), commit=commit)
        found, seen = stages.read_estimates(there.out / "estimates.json"), _seen(there.out)
        if digest := _locked(tree, name):
            path = there.out / "predictions.parquet"
            seen["predictions_identical"] = checksum_file(path, digest) == digest
        return _verdict(name, commit, stated, found, there.recipe.evaluate.tolerance, **seen)


def verify_here(pipeline: Pipeline) -> Verdict:
    """Compare the estimates in `out/` with those committed at HEAD; nothing runs.

    Raises:
        DataError: no estimates are committed, or none are in `out/`.
    """
    stated, found = committed_estimates(pipeline), stages.read_estimates(pipeline.out / "estimates.json")
    commit = head(pipeline.workspace.root)
    return _verdict(pipeline.name, commit, stated, found, pipeline.recipe.evaluate.tolerance)


def committed_estimates(pipeline: Pipeline) -> list[Estimate]:
    """Return the estimates of the pipeline at git's HEAD.

    Raises:
        DataError: there are none.
    """
    name = f"HEAD:./pipelines/{pipeline.name}/out/estimates.json"
    shown = git(pipeline.workspace.root, "show", name)
    if shown.returncode:
        raise DataError(
            f"git has no {name}.", f"Run `ai4diag run {pipeline.name}` and commit its estimates.json first."
        )
    return stages.parse_estimates(shown.stdout, f"git's {name}")


def _locked(tree: Path, name: str) -> str:
    """Return the checksum that `dvc.lock` has of a pipeline's predictions; empty when it has none."""
    path = tree / "dvc.lock"
    train = read_yaml(path)["stages"].get(f"train@{name}", {}) if path.is_file() else {}
    sums = {out["path"]: out.get("md5", "") for out in train.get("outs", ())}
    digest = sums.get(f"pipelines/{name}/out/predictions.parquet", "")
    return f"md5:{digest}" if digest else ""


def _verify_run(workspace: Workspace, record: Record, mirror: str | None, say: Say) -> Verdict:
    facts = record.facts
    commit = _commit(workspace, record)
    dataset, variant = facts["recipe"]["data"]["dataset"], facts["variant"]
    with clean_checkout(workspace.root, commit) as (tree, lock):
        weights = facts["recipe"]["model"].get("weights")
        loose = link_loose_file(tree, workspace.root, weights) if weights else ""
        threads = str(facts["trained"].get("threads", ""))
        rerun(tree, facts["words"], dataset, data=workspace.data, mirror=mirror, lock=lock, say=say, threads=threads)
        out = tree / "pipelines" / record.pipeline / "out" / ("" if variant == "full" else variant)
        _same_data(record, out, tree / "datasets" / f"{dataset}.yaml")
        found, tolerance = stages.read_estimates(out / "estimates.json"), _tolerance(facts, tree)
        seen, predictions = _seen(out), _predictions(record.folder, out)
        model = {path.name: sha256_file(path) for path in sorted((out / "model").iterdir())}
    seen["notes"] = (
        *_origin(facts, commit),
        *([f"{weights} (sha256 {loose[:12]}) is that of the workspace; no commit holds it"] if loose else []),
        *predictions,
        *_packages((record.folder / "environment.txt").read_text(encoding="utf-8"), environment.environment()),
        *_machines(facts, seen["machine"]),
    )
    same = {"predictions_identical": not predictions, "weights_identical": model == facts["model"]}
    return _verdict(_subject(record), commit, record.estimates(), found, tolerance, **seen, **same)


def _tolerance(facts: Any, tree: Path) -> float:
    """Return the tolerance of a run: never a larger one than its recipe has in the commit, whatever the record says."""
    stated = float(facts["recipe"]["evaluate"]["tolerance"])
    name, *words = shlex.split(facts["words"])
    changes = [change for option, change in pairwise(words) if option == "--set"]
    try:
        recipe = Workspace(tree).pipeline(name, quick="--quick" in words, overrides=changes).recipe
    except Ai4diagError:  # a recipe in the form of another time, which only the code of the commit reads
        return stated
    return min(stated, recipe.evaluate.tolerance)


def _commit(workspace: Workspace, record: Record) -> str:
    """Return the commit of a run.

    Raises:
        CannotVerifyError: it has none, its checkout was dirty, or the repository does not hold it.
    """
    bound = record.facts["evaluated"]
    commit, again = str(bound.get("git_commit", "")), f"run it again (`ai4diag run {record.facts['words']}`)"
    if not commit or commit.startswith("none"):
        raise CannotVerifyError(
            f"The run was made without a git commit ({commit or 'not recorded'}), so its code is not known.",
            f"Commit the workspace, {again} and verify the new run.",
        )
    trained = record.facts["trained"] or bound
    dirty = [what for what, state in (("training", trained), ("evaluation", bound)) if state["git_dirty"] != "false"]
    if dirty:
        raise CannotVerifyError(
            f"At its {' and its '.join(dirty)} the checkout differed from commit {commit[:8]}: the code or the recipe "
            "that ran is in no commit.",
            f"Commit what belongs to it, {again} and verify the new run.",
        )
    if not has_commit(workspace.root, commit):
        raise CannotVerifyError(
            f"Commit {commit[:12]} is not in this repository.",
            "Fetch it (`git fetch`; a shallow clone: `git fetch --unshallow`).",
        )
    return commit


def _same_data(record: Record, out: Path, card: Path) -> None:
    """Refuse data without checksums of their own that are not those of the run.

    Raises:
        CannotVerifyError: they are not.
    """
    found, stated = sha256_file(out / "prepared" / "prepared.json"), record.facts["evaluated"]["data_sha256"]
    if found != stated and _brought_by_hand(card):
        raise CannotVerifyError(
            f"The prepared cases are not those of the run (sha256 {found[:12]}, recorded was {stated[:12]}), and "
            f"{card.stem} was brought by hand: its card has no checksums of the raw files.",
            "Bring back the files with which the run was made.",
        )


def _brought_by_hand(card: Path) -> bool:
    return bool(read_yaml(card).get("by_hand"))


def _verdict(
    subject: str, commit: str, stated: list[Estimate], found: list[Estimate], tolerance: float, **seen: Any
) -> Verdict:
    """Compare what was stated with what was found."""
    again = {(item.name, item.part, item.subgroup): item.as_dict() for item in found}
    same = sum(str(again.get((item.name, item.part, item.subgroup))) == str(item.as_dict()) for item in stated)
    differences = tuple(str(item) for item in compare_estimates(stated, found, tolerance))
    more = f" and {len(differences) - 1} more" if len(differences) > 1 else ""
    return Verdict(
        subject,
        DOES_NOT if differences else HOLDS,
        reason=f"{differences[0]}{more}" if differences else "",
        commit=commit,
        compared=len(stated),
        identical=same,
        tolerance=tolerance,
        differences=differences,
        **seen,
    )


def _subject(record: Record) -> str:
    return f"run {record.run_id[:8]} ({record.facts['words']})"


def _seen(out: Path) -> dict[str, Any]:
    """Return machine and what is not deterministic, as the reproduction wrote them down."""
    bound = read_json(out / "run.json").get("trained") or environment.machine()
    return {"not_deterministic": tuple(stages.not_deterministic(out)), "machine": dict(bound)}


def _predictions(before: Path, after: Path) -> list[str]:
    """Say in what two tables of predictions differ; empty when every bit of every value is the same."""
    name = "predictions.parquet"
    if sha256_file(before / name) == sha256_file(after / name):
        return []
    old, new = read_arrow(before / name), read_arrow(after / name)
    if old.column_names != new.column_names or len(old) != len(new):
        shapes = [f"{len(table)} lines of {len(table.column_names)} columns" for table in (new, old)]
        return [f"the predictions have {' and had '.join(shapes)}"]
    found = []
    for column in old.column_names:
        was, now = old.column(column).to_pylist(), new.column(column).to_pylist()
        # repr of a float names it to the bit, and is the same for two NaN
        changed = [pair for pair in zip(was, now, strict=True) if repr(pair[0]) != repr(pair[1])]
        if changed:
            numbers = all(isinstance(value, float) for pair in changed for value in pair)
            gap = f", by {max(abs(a - b) for a, b in changed):.2g} at most" if numbers else ""
            found.append(f"predictions: {column} differs in {len(changed)} of {len(old)} lines{gap}")
    return found


def _origin(facts: Any, commit: str) -> list[str]:
    """Say so when training and evaluation were of different commits, or several processes trained together."""
    trained = facts["trained"]
    there = trained.get("git_commit", commit)[:8] if trained else "a commit that was not recorded"
    together = trained.get("processes", "1")
    return [
        *([f"trained at {there} and evaluated at {commit[:8]}, where both were run again"] * (there != commit[:8])),
        *([f"trained by {together} processes together, and again by one"] * (together != "1")),
    ]


def _packages(before: str, now: str) -> list[str]:
    """Say which packages have other versions than at the run; empty when none."""
    old, new = (dict(line.partition("==")[::2] for line in text.split()) for text in (before, now))
    changed = sorted(name for name in old | new if old.get(name) != new.get(name))
    named = [f"{name} {old.get(name, 'none')} -> {new.get(name, 'none')}" for name in changed[:NAMED]]
    more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    return [f"{len(changed)} packages differ from those of the run: {', '.join(named)}{more}"] if changed else []


def _machines(facts: Any, now: dict[str, str]) -> list[str]:
    before = facts["trained"] or facts["evaluated"]
    changed = [name for name in MACHINE if name in before and name in now and before[name] != now[name]]
    return [f"{name} was {before[name]}, is {now[name]}" for name in changed if before[name] != environment.UNKNOWN_GPU]
