"""Check one notebook, in a process of its own that is trusted: draw, let the sandbox answer, judge.

    python -P -m ai4diag.course.examine < task.json > result.json

Drawing and judging happen here, outside of the sandbox and within limits of their own, because a judge reads values
that somebody may have chosen in order to make it compute for ever.
"""

from __future__ import annotations

import json
import os
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ai4diag.course import lessons, sandbox
from ai4diag.course.answering import read
from ai4diag.course.exercise import Exercise, Expectation
from ai4diag.course.plain import LARGEST, encode
from ai4diag.course.runner import LONGEST_ERROR, MOST_ERRORS
from ai4diag.course.watch import ERRORS, GIB, NO_SPACE, Limits, watch
from ai4diag.errors import Ai4diagError
from ai4diag.files import write_text

JUDGING_S = 60
"""Seconds in which one answer must be judged."""


@dataclass
class Heard:
    """What came out of the sandbox, line by line, until it is judged.

    Attributes:
        given: file that is written when the notebook has run.
        cases: its content.
        known: ids of the exercises.
        answers: exercise to the kind and the text of its answer; the first of each counts.
        cells: number and error of each cell that raised.
        started: whether the notebook was begun.
        ready: whether it was run to its end.
    """

    given: Path
    cases: str
    known: frozenset[str]
    answers: dict[str, tuple[str, str]] = field(default_factory=dict)
    cells: list[tuple[str, str]] = field(default_factory=list)
    started: bool = False
    ready: bool = False

    def __call__(self, line: bytes) -> bool:
        """Take a line; return whether it was the last."""
        kind, _, rest = line.decode("utf-8", "replace").partition(" ")
        subject, _, text = rest.partition(" ")
        if kind == "started":
            self.started = True
        elif kind == "cell":
            self.cells += [(subject[:6], text[:LONGEST_ERROR])] if len(self.cells) < MOST_ERRORS else []
        elif kind == "ready" and not self.ready:
            self.ready = True
            write_text(self.given, self.cases)
        elif subject in self.known:
            self.answers.setdefault(subject, (kind, text))
        return kind == "done"


def main() -> None:
    """Read the task from stdin, write the result to stdout, as JSON."""
    task, parent = json.load(sys.stdin), os.getppid()
    out = os.dup(1)
    os.dup2(2, 1)  # what lessons print is no result
    places = sandbox.Places(Path(task["folder"]), Path(task["root"]))
    try:
        result = examine(places, task)
    except Ai4diagError as error:
        result = {"state": "not checked", "reason": str(error)}
    finally:
        remove(places.folder)
        if os.getppid() != parent:  # it was killed, and cannot clear up
            remove(places.folder.parent)
    with os.fdopen(out, "w", encoding="utf-8") as stream:
        json.dump(result, stream)


def examine(places: sandbox.Places, task: dict[str, Any]) -> dict[str, Any]:
    """Return what a notebook meets.

    Args:
        places: where; made and removed by others.
        task: `lesson`, `notebook` (its text), `name` (of its file), `seconds`, `memory_gib`, `threads`.
    """
    begin = time.monotonic()
    exercises = lessons.exercises(task["lesson"])
    random = [np.random.default_rng(secrets.randbits(128)) for _ in exercises]
    given = {item.id: item.draw(own, places.root) for item, own in zip(exercises, random, strict=True)}
    cases = json.dumps({key: encode(case) for key, case in given.items()})
    heard = Heard(places.given / "given.json", cases, frozenset(given))
    places.make()
    (places.workspace / "notebooks").mkdir(exist_ok=True)
    (places.workspace / "notebooks" / task["name"]).write_text(task["notebook"], encoding="utf-8")
    reason = _run(places, task, heard, len(exercises))
    if not heard.started:
        said = (places.folder / ERRORS).read_bytes()[-2000:].decode("utf-8", "replace").strip()
        return {"state": "not checked", "reason": f"the sandbox did not start: {said}"}
    if reason == NO_SPACE:
        return {"state": "not checked", "reason": reason}
    if not reason and not heard.ready:
        reason = "it ended its own kernel before its last cell had run"
    unheard = ("none", f"no answer: {reason or 'it ended its own kernel'}")
    _guard(task["memory_gib"])
    return {
        "state": "judged",
        "reason": reason,
        "seconds": round(time.monotonic() - begin, 1),
        "cells": [{"cell": number, "error": error} for number, error in heard.cells],
        "exercises": [
            {
                "id": item.id,
                "title": item.title,
                "expectations": [
                    asdict(expectation)
                    for expectation in _judge(item, given[item.id], *heard.answers.get(item.id, unheard), places.root)
                ],
            }
            for item in exercises
        ],
    }


def remove(folder: Path) -> None:
    """Remove a folder, however deep and locked somebody made it."""
    with suppress(OSError, RecursionError):
        shutil.rmtree(folder)
    if folder.exists():
        for words in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
            subprocess.run([*words, "--", str(folder)], stderr=subprocess.DEVNULL, check=False)  # noqa: S603


def _run(places: sandbox.Places, task: dict[str, Any], heard: Heard, exercises: int) -> str:
    isolated = sandbox.isolation() != sandbox.NONE
    workspace = places.root if isolated else places.workspace
    words = [sys.executable, "-P", "-m", "ai4diag.course.runner", task["lesson"]]
    words += [str(workspace / "notebooks" / task["name"]), str(heard.given)]
    return watch(
        sandbox.command(places, words),
        environment=sandbox.environment(places, task["threads"]),
        cwd=places.workspace / "notebooks",
        written=places.folder,
        hear=heard,
        limits=Limits(task["seconds"], task["memory_gib"], exercises * (LARGEST + 1000) + 100_000),
    )


def _judge(exercise: Exercise, given: dict[str, Any], kind: str, text: str, root: Path) -> list[Expectation]:
    """Judge within limits: whatever a judge stumbles over is a cross for this exercise alone."""
    if kind == "none":
        return [Expectation("there is an answer", False, text)]
    try:
        signal.alarm(JUDGING_S)
        return read(exercise, given, kind, text, root)
    except TimeoutError:
        return [Expectation(f"the answer can be judged within {JUDGING_S} s", False)]
    except Exception as error:
        return [Expectation("the answer can be judged", False, f"{type(error).__name__}")]
    finally:
        signal.alarm(0)


def _guard(memory_gib: float) -> None:
    """Limit what judging may take; the sandbox has ended."""

    def late(number: int, frame: Any) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (int((memory_gib + 4) * GIB), resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
