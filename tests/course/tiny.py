"""A lesson with two exercises, m00, in a copy of the package, and a workspace that has nothing else."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import ai4diag
from ai4diag.course import check_file, sandbox
from ai4diag.course.check_file import Allowed, Checked
from ai4diag.data.catalogue import get
from ai4diag.pipelines.workspace import Workspace
from tests.data.helpers import toy_table

CHECKS = '''
"""Checks of a tiny lesson."""

from ai4diag.course.exercise import Exercise


class Times(Exercise):
    hints = ("a first hint", "a second hint")
    worked = "2 times 3 is 6"

    def __init__(self, name, factor):
        self.id, self.title, self.names, self.factor = f"m00.{name}", name, (name,), factor

    def draw(self, random, root):
        return {"values": random.integers(1, 10**9, 8).tolist()}

    def answer(self, given, names):
        return [names[self.names[0]](value) for value in given["values"]]

    def judge(self, given, answer, expect, root):
        expect.equal("there is one value for each", len(answer), len(given["values"]))
        expect.equal("each is right", answer, [self.factor * value for value in given["values"]])


class Count(Exercise):
    """A judge that does as many steps as it is told."""

    id, title, names = "m00.count", "count", ("count",)
    hints, worked = ("a first hint", "a second hint"), "0"

    def answer(self, given, names):
        return names["count"]

    def judge(self, given, answer, expect, root):
        expect.equal("it is 10", len([0] * answer), 10)


EXERCISES = (Times("double", 2), Times("triple", 3), Count())
'''
LESSON: dict[str, Any] = {
    "id": "m00",
    "title": "Tiny",
    "badge": "Explorer",
    "ambitions": ["skills"],
    "minutes": 5,
    "sections": {"Story": 5},
    "objectives": ["count", "name", "mark"],
    "data": ["toy"],
}
DOUBLE = "def double(value):\n    return 2 * value"
TRIPLE = "def triple(value):\n    return 3 * value"
COUNT = "count = 10"
ISOLATED = sandbox.isolation() != sandbox.NONE


def needs_isolation() -> None:
    """Skip by name where bubblewrap is missing; fail where CI is set."""
    if not ISOLATED:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no bubblewrap that works here")


def notebook(*cells: str) -> dict[str, Any]:
    """Return a notebook of the tiny lesson."""
    empty = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    made = [{**empty, "id": f"c{number}", "source": text} for number, text in enumerate(cells)]
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"ai4diag": LESSON}, "cells": made}


class School:
    """A workspace with the tiny lesson, and a folder for what learners hand in."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.package = folder, folder / "package" / "ai4diag"
        ignored = shutil.ignore_patterns("*.nbi", "*.nbc")
        shutil.copytree(Path(ai4diag.__file__).parent, self.package, ignore=ignored)
        (self.package / "course" / "lessons" / "m00.py").write_text(CHECKS)
        self.workspace = Workspace(folder / "workspace")
        (self.workspace.root / "pipelines").mkdir(parents=True)
        (self.workspace.root / "notebooks").mkdir()
        (self.workspace.root / "params.yaml").write_text("pipelines: {}\n")
        raw, card = toy_table(folder / "toy")
        (folder / "toy" / "cards").rename(self.workspace.root / "datasets")
        (folder / "mirror").mkdir()
        get(card, self.workspace.data, str(raw.rename(folder / "mirror" / "toy").parent))
        (self.workspace.root / "notebooks" / "m00_tiny.ipynb").write_text(json.dumps(notebook("pass")))
        self.handed_in = folder / "handed in"
        self.handed_in.mkdir()

    def hand_in(self, name: str, *cells: str) -> Path:
        """Write a learner's notebook."""
        path = self.handed_in / f"{name}.ipynb"
        path.write_text(json.dumps(notebook(*cells)))
        return path

    def check(self, *paths: Path, seconds: float = 40, memory_gib: float = 2, jobs: int = 2) -> list[Checked]:
        """Check notebooks."""
        return check_file.check(paths, self.workspace, Allowed(seconds, memory_gib, jobs))


def states(found: Checked) -> dict[str, bool]:
    """Return whether each exercise is solved."""
    return {item.id: item.solved for item in found.exercises}


def unmet(found: Checked) -> list[str]:
    """Return what is not met, in words."""
    return [f"{line.name} {line.found}" for item in found.exercises for line in item.expectations if not line.met]
