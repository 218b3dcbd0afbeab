"""Run records: everything that a run showed, kept in `mlruns/records/<run id>/` on this machine.

    record.json          what ran, what it was bound to, the SHA-256 of every other file
    context.json         what the report says beside the estimates (`ReportContext`)
    predictions.parquet  what the model answered; holds case and patient identifiers, and stays on this machine
    estimates.json       the estimates
    report.html          the report
    environment.txt      every installed package with its version
    README.md, card.yaml the pipeline's page and the dataset card, as they were
    verification.json    verdicts of `ai4diag verify`, newest last; absent before the first

`out/` holds the latest run of a variant, the records hold every run: comparisons, evidence packs, verification and
promotion work on them.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from ai4diag.config.plan import Evaluate
from ai4diag.errors import DataError, UsageError, did_you_mean
from ai4diag.evaluation.report import ReportContext
from ai4diag.files import put_folder, read_json, sha256_file, write_json, write_text
from ai4diag.pipelines import tracked
from ai4diag.pipelines.stages import not_deterministic, read_estimates, stage_file
from ai4diag.pipelines.workspace import Pipeline, Workspace
from ai4diag.tracking import record as environment
from ai4diag.types import Estimate

FORMAT = 1
FOLDER = "mlruns/records"
VERDICTS = "verification.json"
BOUND = ("trained", "evaluated", "look", "model", "files")
NEEDED = ("run_id", "pipeline", "variant", "words", "task", "target", "classes", "primary", "recipe", "created", *BOUND)
SHORTEST = 4
"""Characters of a run's id that name it."""


@dataclass(frozen=True)
class Record:
    """One run, as it was kept; every file is verified against its hash when the record is opened.

    Attributes:
        folder: where it is.
        facts: `record.json`: run_id, pipeline, variant, words, task, target, classes, primary, recipe, created,
            trained and evaluated (what each was bound to), look, files.
    """

    folder: Path
    facts: Mapping[str, Any]

    @classmethod
    def open(cls, folder: Path) -> Record:
        """Open and verify.

        Raises:
            DataError: a file is missing, or is not what was kept.
        """
        facts = read_json(folder / "record.json")
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            found = facts.get("format") if isinstance(facts, dict) else "none"
            raise DataError(
                f"{folder} has format {found}, this version reads {FORMAT}.",
                "Read it with the version that wrote it, or evaluate again.",
            )
        if missing := [name for name in NEEDED if name not in facts]:
            raise DataError(f"{folder / 'record.json'} has no {', '.join(missing)}.", "Evaluate again.")
        for name, expected in facts["files"].items():
            path = folder / name
            found = sha256_file(path) if path.is_file() else "nothing"
            if found != expected:
                raise DataError(
                    f"{path} is damaged: found {found[:12]}, recorded was {expected[:12]}.",
                    f"Evaluate {facts['pipeline']} again.",
                )
        return cls(folder, facts)

    @property
    def run_id(self) -> str:
        """MLflow's id of the run."""
        return str(self.facts["run_id"])

    @property
    def pipeline(self) -> str:
        """Name of the pipeline."""
        return str(self.facts["pipeline"])

    @property
    def plan(self) -> Evaluate:
        """The `evaluate` block of the recipe."""
        return Evaluate.model_validate(self.facts["recipe"]["evaluate"])

    def predictions(self) -> pd.DataFrame:
        """Return the table of predictions (`ai4diag.evaluation.predictions`)."""
        from ai4diag.evaluation.predictions import read_predictions

        return read_predictions(self.folder / "predictions.parquet")[0]

    def estimates(self) -> list[Estimate]:
        """Return the estimates, the headline first."""
        return read_estimates(self.folder / "estimates.json")

    def context(self) -> ReportContext:
        """Return what the report says beside the estimates, without pictures."""
        return ReportContext.from_dict(read_json(self.folder / "context.json"))

    def verdicts(self) -> list[dict[str, Any]]:
        """Return what verifications of this run found, newest last."""
        path = self.folder / VERDICTS
        return list(read_json(path)) if path.is_file() else []

    def add_verdict(self, verdict: Mapping[str, Any]) -> None:
        """Keep what a verification found."""
        write_json(self.folder / VERDICTS, [*self.verdicts(), dict(verdict)])


def keep(pipeline: Pipeline, run_id: str, context: ReportContext, target: str) -> Path:
    """Keep what is in `out/` as the record of a run; it appears whole, and replaces an earlier one of the same run.

    Verdicts stay while the estimates do.

    Args:
        pipeline: the pipeline or variant that was evaluated.
        run_id: MLflow's id of the run.
        context: what its report was made with.
        target: what was predicted.
    """
    folder = pipeline.workspace.root / FOLDER / run_id
    making, before = folder.with_name(f".{run_id}.part"), folder.with_name(f".{run_id}.old")
    if before.exists() and not folder.exists():  # ended between two renames: its verdicts are not lost
        before.replace(folder)
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    for name in ("predictions.parquet", "estimates.json", "report.html"):
        shutil.copyfile(pipeline.out / name, making / name)
    shutil.copyfile(pipeline.workspace.root / "datasets" / f"{pipeline.recipe.data.dataset}.yaml", making / "card.yaml")
    if (pipeline.folder / "README.md").is_file():
        shutil.copyfile(pipeline.folder / "README.md", making / "README.md")
    write_json(making / "context.json", context.as_dict())
    write_text(making / "environment.txt", environment.environment())
    hashes = {path.name: sha256_file(path) for path in sorted(making.iterdir())}
    model = sorted(stage_file(pipeline, "model", "train").iterdir())
    facts = {
        "format": FORMAT,
        "run_id": run_id,
        "pipeline": pipeline.name,
        "variant": pipeline.variant or "full",
        "words": pipeline.words,
        "task": pipeline.recipe.task,
        "target": target,
        "classes": list(context.classes),
        "primary": pipeline.recipe.evaluate.primary,
        "recipe": pipeline.recipe.model_dump(mode="json", exclude={"quick"}),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "trained": tracked.trained(pipeline),
        "evaluated": tracked.binding(pipeline),
        "look": context.look,
        "not_deterministic": not_deterministic(pipeline.out),
        "model": {path.name: sha256_file(path) for path in model},
        "files": hashes,
    }
    write_json(making / "record.json", facts)
    earlier = folder / "estimates.json"
    if (folder / VERDICTS).is_file() and sha256_file(earlier) == hashes["estimates.json"]:
        shutil.copyfile(folder / VERDICTS, making / VERDICTS)
    put_folder(making, folder)
    return folder


def find(workspace: Workspace, word: str) -> Record:
    """Return the record of a run.

    Args:
        workspace: where to look.
        word: the first characters of the run's id; a pipeline's name, or in one word the words that name a variant of
            it (`breast-mass --quick`), for the latest run of that.

    Raises:
        UsageError: no such run or pipeline, several runs begin like that, or there is no record.
        DataError: the record is damaged.
    """
    if len(word.split()) > 1:
        return _of_variant(workspace, word)
    if word in workspace.table | workspace.waiting:
        run = tracked.run_id(workspace.pipeline(word))
        if not run:
            raise UsageError(f"{word} has no tracked run.", f"Run `ai4diag run {word}` first.")
        return _open(workspace, run, word)
    runs = sorted(path.parent.name for path in (workspace.root / FOLDER).glob("[!.]*/record.json"))
    found = [run for run in runs if run.startswith(word)] if len(word) >= SHORTEST else []
    found = [word] if word in found else found
    if len(found) > 1:
        raise UsageError(f"Several runs begin with '{word}'.", "Give more characters.")
    if not found:
        names = sorted(workspace.table | workspace.waiting)
        raise UsageError(
            f"There is no run record '{word}', and no pipeline of that name. {did_you_mean(word, names)}",
            "See: ai4diag runs list. Records are kept by `ai4diag evaluate`.",
        )
    return _open(workspace, found[0], word)


def _of_variant(workspace: Workspace, word: str) -> Record:
    """Return the newest record of a variant, named by the words of its command."""
    try:
        words = shlex.split(word)
    except ValueError as error:
        raise UsageError(f"{word!r} is no name of a run: {error}.") from None
    paths = (workspace.root / FOLDER).glob("[!.]*/record.json")
    runs = [facts for facts in map(read_json, paths) if shlex.split(facts["words"]) == words]
    if not runs:
        raise UsageError(
            f"There is no run record of '{word}'.", f"Run `ai4diag run {word}`, or see: ai4diag runs list."
        )
    return _open(workspace, str(max(runs, key=lambda facts: str(facts["created"]))["run_id"]), word)


def _open(workspace: Workspace, run: str, word: str) -> Record:
    folder = workspace.root / FOLDER / run
    if not (folder / "record.json").is_file():
        raise UsageError(f"{word}: run {run} has no record.", f"Run `ai4diag evaluate {word}` to make it.")
    return Record.open(folder)
