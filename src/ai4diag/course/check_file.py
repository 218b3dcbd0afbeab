"""`ai4diag course check`: learners' notebooks, judged where their code cannot reach.

Each notebook is read here as text only, run in a sandbox (`sandbox`, `runner`), and judged by a process of its own
(`examine`). What comes out of a notebook is counted, cut and stripped of control characters before it is shown.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ai4diag.course import classroom, sandbox
from ai4diag.course import lesson as headers
from ai4diag.course.examine import JUDGING_S, remove
from ai4diag.course.exercise import Expectation
from ai4diag.course.place import lacking
from ai4diag.course.untrusted import clean, opened
from ai4diag.course.watch import end
from ai4diag.errors import Ai4diagError, ConfigError, DataError, UsageError
from ai4diag.files import sha256_bytes
from ai4diag.pipelines.workspace import Workspace

LARGEST = headers.LARGEST_NOTEBOOK
MOST_CELLS = 2000
STARTING_S = 60
State = Literal["judged", "refused", "not checked"]


@dataclass(frozen=True)
class Judged:
    """What one answer meets.

    Attributes:
        id: the exercise.
        title: what it is about.
        expectations: tick or cross for each.
    """

    id: str
    title: str
    expectations: tuple[Expectation, ...]

    @property
    def solved(self) -> bool:
        """Whether every expectation is met."""
        return bool(self.expectations) and all(item.met for item in self.expectations)


@dataclass(frozen=True)
class Checked:
    """What became of one notebook.

    Attributes:
        path: the file.
        lesson: of which lesson; empty when it could not be read.
        state: `judged`; `refused` when it cannot be a lesson's notebook; `not checked` when this machine could not.
        reason: why it was refused or not checked, or why it was ended early; empty when there is nothing to say.
        seconds: how long it took.
        cells: number and error of each cell that raised.
        exercises: what was judged.
        sha256: of the text that was run; empty when it could not be read.
    """

    path: Path
    lesson: str
    state: State
    reason: str = ""
    seconds: float = 0.0
    cells: tuple[tuple[str, str], ...] = ()
    exercises: tuple[Judged, ...] = ()
    sha256: str = ""

    @property
    def solved(self) -> bool:
        """Whether every exercise is solved."""
        return bool(self.exercises) and all(item.solved for item in self.exercises)

    def data(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "file": clean(str(self.path), 4096),
            "sha256": self.sha256,
            "lesson": self.lesson,
            "state": self.state,
            "solved": self.solved,
            "reason": self.reason,
            "seconds": self.seconds,
            "cells": [{"cell": number, "error": error} for number, error in self.cells],
            "exercises": [
                {
                    "id": item.id,
                    "title": item.title,
                    "solved": item.solved,
                    "expectations": [vars(expectation) for expectation in item.expectations],
                }
                for item in self.exercises
            ],
        }


@dataclass(frozen=True)
class Allowed:
    """What each notebook may take.

    Attributes:
        seconds: wall time.
        memory_gib: resident memory.
        jobs: notebooks that are checked at the same time.
    """

    seconds: float = 300.0
    memory_gib: float = 4.0
    jobs: int = 1


def notebooks(words: Sequence[Path]) -> list[Path]:
    """Return the notebooks that files and folders name, in order; a folder's own files, not those below it.

    Raises:
        UsageError: there is no such file, or a folder has no notebook.
    """
    found: list[Path] = []
    for word in words:
        if word.is_dir():
            inside = sorted(path for path in word.glob("*.ipynb") if not path.name.startswith("."))
            if not inside:
                raise UsageError(f"{word} has no notebook (*.ipynb).", f"Name the folders below it: {word}/*")
            found += inside
        elif os.path.lexists(word):
            found.append(word)
        else:
            raise UsageError(f"{word} does not exist.", "Name a notebook, or a folder of notebooks.")
    return list(dict.fromkeys(found))


def read(path: Path) -> tuple[str, str]:
    """Return the lesson's id and the text of a notebook of which nothing is believed.

    Raises:
        ConfigError: it is a link, no file, too large, no notebook, or of no lesson.
    """
    text = _text(path)
    try:
        content = json.loads(text)
        lesson, cells = content["metadata"]["ai4diag"]["id"], content["cells"]
        whole = content["nbformat"] == 4 and isinstance(cells, list) and all(map(_is_cell, cells))
    except (ValueError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise ConfigError(f"it is not the notebook of a lesson ({type(error).__name__}).") from None
    if not whole or len(cells) > MOST_CELLS:
        raise ConfigError(f"it is no notebook of format 4 with at most {MOST_CELLS} cells.")
    if not isinstance(lesson, str) or not re.fullmatch(r"m\d\d", lesson):
        raise ConfigError("its metadata names no lesson.")
    return lesson, text


def check(
    paths: Sequence[Path], source: Workspace, allowed: Allowed, heard: Callable[[Checked], None] = lambda _: None
) -> list[Checked]:
    """Check notebooks, several at the same time; return the results in the order of the files.

    Args:
        paths: the notebooks.
        source: the workspace from which lessons, data and finished runs are taken.
        allowed: what each may take.
        heard: called with each result as soon as it is there.

    Nothing of a notebook reaches another one. A fault of one is its own result. On Ctrl-C everything is ended.
    """
    scratch = Path(tempfile.mkdtemp(prefix="ai4diag-check-")).resolve()
    with _Class(scratch, source, allowed, min(allowed.jobs, len(paths))) as room:
        pool = ThreadPoolExecutor(room.jobs)
        try:
            waiting = {pool.submit(room.check, number, path): number for number, path in enumerate(paths)}
            results: dict[int, Checked] = {}
            for done in as_completed(waiting):
                results[waiting[done]] = done.result()
                heard(done.result())
        finally:
            room.close()
            pool.shutdown(cancel_futures=True)
    return [results[number] for number in range(len(paths))]


class _Class:
    """The workspaces and processes of one call of `check`."""

    def __init__(self, scratch: Path, source: Workspace, allowed: Allowed, jobs: int) -> None:
        self.scratch, self.source, self.allowed, self.jobs = scratch, source, allowed, jobs
        self.roots: dict[str, Path | Ai4diagError] = {}
        self.making, self.reading = threading.Lock(), threading.Lock()
        self.running: set[subprocess.Popen[str]] = set()
        self.closed = False

    def __enter__(self) -> _Class:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
        remove(self.scratch)

    def close(self) -> None:
        """End every process; no other begins."""
        with self.making:
            self.closed = True
            for process in self.running:
                end(process)

    def check(self, number: int, path: Path) -> Checked:
        """Check one notebook."""
        lesson = ""
        try:
            with self.reading:  # one at a time: what is read may be made to take much memory
                lesson, text = read(path)
        except ConfigError as error:
            return Checked(path, lesson, "refused", clean(str(error)))
        try:
            root = self._root(lesson)
            found = self._examined(number, root, lesson, text)
        except Ai4diagError as error:
            return Checked(path, lesson, "not checked", clean(str(error)))
        except Exception as error:  # whatever it is, the others go on
            return Checked(path, lesson, "not checked", clean(f"{type(error).__name__}: {error}"))
        return replace(_checked(path, lesson, found), sha256=sha256_bytes(text.encode()))

    def _root(self, lesson: str) -> Path:
        """Return the workspace of a lesson, made once.

        Its needs are read from the notebook of the workspace, never from the learner's.
        """
        with self.making:
            if lesson not in self.roots:
                try:
                    self.roots[lesson] = _workspace(self.scratch / "lessons" / lesson, self.source, lesson)
                except Ai4diagError as error:
                    self.roots[lesson] = error
            found = self.roots[lesson]
        if isinstance(found, Ai4diagError):
            raise found
        return found

    def _examined(self, number: int, root: Path, lesson: str, text: str) -> dict[str, Any]:
        folder = self.scratch / f"n{number:04}"
        folder.mkdir()
        task: dict[str, Any] = {"lesson": lesson, "notebook": text, "name": f"{lesson}_notebook.ipynb"}
        task |= {"folder": str(folder), "root": str(root), "threads": max(1, (os.cpu_count() or 1) // self.jobs)}
        task |= {"seconds": self.allowed.seconds, "memory_gib": self.allowed.memory_gib}
        process = self._start()
        try:
            wait = self.allowed.seconds + STARTING_S + 10 * JUDGING_S
            out, errors = process.communicate(json.dumps(task), timeout=wait)
        except subprocess.TimeoutExpired:
            return {"state": "not checked", "reason": f"judging took longer than {10 * JUDGING_S} s"}
        finally:
            end(process)
            with self.making:
                self.running.discard(process)
            remove(folder)
        if process.returncode:
            return {"state": "not checked", "reason": f"judging failed: {errors.strip().rpartition(chr(10))[2]}"}
        found: dict[str, Any] = json.loads(out)
        return found

    def _start(self) -> subprocess.Popen[str]:
        path = [str(sandbox.PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        with self.making:
            if self.closed:
                raise DataError("interrupted")
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "ai4diag.course.examine"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(path), "OMP_WAIT_POLICY": "PASSIVE"},
            )
            self.running.add(process)
        return process


def _workspace(folder: Path, source: Workspace, lesson: str) -> Path:
    """Make the workspace of a lesson from which each notebook has a copy."""
    _, header = headers.find(source.root, lesson)
    for name in header.pipelines:
        source.pipeline(name, quick=True)
    missing = lacking(source, header)
    if missing:
        raise DataError(
            f"{lesson} needs what is not in {source.root}: {', '.join(missing)}.",
            f"Run `ai4diag course catch-up {lesson}` first.",
        )
    made = classroom.for_lesson(folder, source, header)
    (made.root / "notebooks").mkdir(exist_ok=True)
    return made.root


def _checked(path: Path, lesson: str, found: dict[str, Any]) -> Checked:
    return Checked(
        path,
        lesson,
        found["state"],
        clean(found["reason"]),
        found.get("seconds", 0.0),
        tuple((clean(item["cell"]), clean(item["error"])) for item in found.get("cells", ())),
        tuple(
            Judged(item["id"], item["title"], tuple(_expectation(**line) for line in item["expectations"]))
            for item in found.get("exercises", ())
        ),
    )


def _expectation(name: str, met: bool, found: str, expected: str) -> Expectation:
    return Expectation(clean(name), met, clean(found), clean(expected))


def _text(path: Path) -> str:
    with opened(path) as stream:
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ConfigError(f"it is larger than {LARGEST:,} bytes; clear its outputs and save it.")
    with suppress(UnicodeDecodeError):
        return content.decode("utf-8")
    raise ConfigError("it is not the text of a notebook.")


def _is_cell(cell: Any) -> bool:
    """Whether this is a cell: its kind, and its text as one or as lines."""
    kind, text = cell["cell_type"], cell["source"]
    lines = text if isinstance(text, list) else [text]
    return isinstance(kind, str) and all(isinstance(line, str) for line in lines)
