"""A workspace made for a lesson: the pipelines that it uses, their cards, its data, and nothing of the owner's own.

Checks run notebooks in one, a pack carries one, and lessons on collaboration make a partner's.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ai4diag.config.base import read_yaml
from ai4diag.course.lesson import Lesson
from ai4diag.course.place import finished
from ai4diag.errors import DataError, MachineError
from ai4diag.files import read_json, write_text
from ai4diag.pipelines import records
from ai4diag.pipelines.workspace import Workspace

FILES = ("dvc.yaml", ".gitignore", ".dvc/config", ".dvc/.gitignore", "src/ai4diag/numerics.yaml")
"""What a workspace has beside its pipelines and cards."""
NOT_COPIED = shutil.ignore_patterns("out", "__pycache__", "looks.csv")
AUTHOR = ("-c", "user.name=classroom", "-c", "user.email=classroom@example.org")


def build_workspace(
    folder: Path,
    source: Workspace,
    *,
    pipelines: Sequence[str] = (),
    data: Sequence[str] = (),
    runs: Sequence[str] = (),
) -> Workspace:
    """Make a workspace, as a git repository with one commit.

    Args:
        folder: where; must not exist.
        source: the workspace from which everything is taken.
        pipelines: names of its pipelines.
        data: names of data sets whose raw files are linked there; they are only read.
        runs: finished runs to copy, as words of `ai4diag run`: `hippocampus --quick`.

    Raises:
        DataError: a data set or a run is not there.
        MachineError: git is missing.
    """
    for name in pipelines:
        shutil.copytree(source.root / "pipelines" / name, folder / "pipelines" / name, ignore=NOT_COPIED)
    (folder / "pipelines").mkdir(parents=True, exist_ok=True)
    shutil.copytree(source.root / "datasets", folder / "datasets")
    for name in FILES:
        if (source.root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source.root / name, folder / name)
    write_text(folder / "params.yaml", _params(source, pipelines))
    _git(folder, "init", "--quiet", "--initial-branch", "main")
    _git(folder, "add", ".")
    _git(folder, *AUTHOR, "commit", "--quiet", "--message", "A workspace for a lesson")
    made = Workspace(folder)
    for name in data:
        link_data(source, made, name)
    for run in runs:
        copy_run(source, made, run)
    return made


def for_lesson(folder: Path, source: Workspace, lesson: Lesson) -> Workspace:
    """Make the workspace of a lesson, without its notebook."""
    return build_workspace(folder, source, pipelines=lesson.pipelines, data=lesson.data, runs=lesson.runs)


def link_data(source: Workspace, target: Workspace, name: str) -> None:
    """Make the raw files of a data set visible in another workspace.

    Raises:
        DataError: they are not there.
    """
    if not (source.data / name).is_dir():
        raise DataError(f"{source.data / name} does not exist.", f"Run `ai4diag data get {name}` first.")
    target.data.mkdir(exist_ok=True)
    (target.data / name).symlink_to((source.data / name).resolve())


def copy_run(source: Workspace, target: Workspace, run: str) -> None:
    """Copy a finished run, its output and its record, into another workspace that has the pipeline.

    Raises:
        DataError: the run is not there.
    """
    name, *options = shlex.split(run)
    if not finished(source, run):
        raise DataError(f"There is no finished `ai4diag run {run}` in {source.root}.", "Run it first.")
    out = source.pipeline(name, quick="--quick" in options).out
    there = target.pipeline(name, quick="--quick" in options).out
    shutil.copytree(out, there, ignore=shutil.ignore_patterns("quick", "set-*", "folds*", "seeds*", ".*.lock"))
    record = Path(records.FOLDER) / str(read_json(out / "run.json")["run_id"])
    if (source.root / record).is_dir():
        shutil.copytree(source.root / record, target.root / record)


def _params(source: Workspace, pipelines: Sequence[str]) -> str:
    """Return the lines of `params.yaml` for these pipelines."""
    lines = []
    for key, table in read_yaml(source.root / "params.yaml").items():
        own = {name: line for name, line in table.items() if name in pipelines}
        if own or key == "pipelines":
            lines.append(f"{key}:" + ("" if own else " {}"))
        lines += [f"  {name}: {{task: {line['task']}, dataset: {line['dataset']}}}" for name, line in own.items()]
    return "\n".join(lines) + "\n"


def _git(folder: Path, *words: str) -> None:
    command = ["git", "-c", "core.hooksPath=/dev/null", *words]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)  # noqa: S603 - fixed words
    except FileNotFoundError:
        raise MachineError("git is not installed.", "Install git.") from None
    if done.returncode:
        raise MachineError(f"git {words[0]} failed in {folder}: {done.stderr.strip()}", "Check free disk space.")
