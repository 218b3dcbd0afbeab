"""`start("m04")`: is everything in place that a lesson needs, and what puts it there."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from html import escape
from pathlib import Path

from ai4diag.course import lesson as headers
from ai4diag.course.lesson import Lesson
from ai4diag.data.catalogue import state
from ai4diag.pipelines.workspace import Workspace
from ai4diag.shown import Shown

FAST = "AI4DIAG_COURSE_FAST"
"""Environment variable: `1` makes lessons take their fast mode, as CI and `course check` do."""


@dataclass(frozen=True, repr=False)
class Start(Shown):
    """Where a lesson works, and whether what it needs is there.

    Attributes:
        lesson: its header.
        root: the workspace's folder.
        lacking: what is not there, in words; empty when all is.
        fast: whether long computations should take their short form.
    """

    lesson: Lesson
    root: Path
    lacking: tuple[str, ...]
    fast: bool

    @property
    def folder(self) -> Path:
        """A folder of the lesson's own, for what it writes: `notebooks/work/m04/`; made when asked for."""
        folder = self.root / "notebooks" / "work" / self.lesson.id
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def cure(self) -> str:
        """The command that puts everything in place."""
        return f"ai4diag course catch-up {self.lesson.id}"

    def __str__(self) -> str:
        if self.lacking:
            return "\n".join([f"✗ {item}" for item in self.lacking] + [f"In a terminal, run: {self.cure}"])
        return f"✓ {self.lesson.id}, {self.lesson.title}: all that it needs is in place."

    def html(self) -> str:
        """Return the same, line by line."""
        return "<br>".join(escape(line) for line in str(self).splitlines())


def start(lesson: str) -> Start:
    """Say whether everything is in place that a lesson needs; nothing is fetched or computed.

    Args:
        lesson: `m04`.

    Raises:
        UsageError: there is no such lesson; not inside a workspace.
    """
    workspace = Workspace.find(Path.cwd())
    _, header = headers.find(workspace.root, lesson)
    return Start(header, workspace.root, tuple(lacking(workspace, header)), os.environ.get(FAST) == "1")


def lacking(workspace: Workspace, header: Lesson) -> list[str]:
    """Return what a lesson needs and the workspace has not: data sets, and finished runs."""
    catalogue, data = workspace.catalogue, workspace.data
    sets = [f"data set {name}" for name in header.data if state(catalogue.card(name), data) != "present"]
    runs = [f"a finished `ai4diag run {run}`" for run in header.runs if not finished(workspace, run)]
    return sets + runs


def finished(workspace: Workspace, run: str) -> bool:
    """Whether `ai4diag run <run>` has been finished: `hippocampus --quick`."""
    name, *options = shlex.split(run)
    return (workspace.pipeline(name, quick="--quick" in options).out / "run.json").is_file()
