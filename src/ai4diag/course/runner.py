"""What runs inside the sandbox: a notebook's cells from top to bottom, then the exercises.

    python -P -m ai4diag.course.runner LESSON NOTEBOOK GIVEN CHANNEL

Each line that it writes to the file descriptor CHANNEL is `<kind> <subject> <text>`: `started - -`; `cell 3 NameError:
...` for a cell that raised; `ready - -` after the last one; one line per exercise; `done - -`. The file GIVEN is not
there before `ready`. The learner's code runs in this process and may write such lines, too: they are judged like any
other.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ai4diag.course import lessons
from ai4diag.course.answering import ask

MOST_ERRORS = 50
"""Cells of which the error is told."""
LONGEST_ERROR = 300
LARGEST_FILE = 2**30
"""Bytes that one file may have."""
MOST_TASKS = 2048
"""Processes and threads, where the kernel counts them for each sandbox."""


def main(lesson: str, notebook: str, given: str, channel: str) -> None:
    """Run the cells, wait for what is given, let the learner's names answer it."""
    out = os.fdopen(int(channel), "wb", buffering=0)
    exercises = lessons.exercises(lesson)
    cells = list(code(json.loads(Path(notebook).read_bytes())))
    shell = _shell()
    _limit()
    _silence()
    _send(out, "started", "-", "-")
    sys.path.insert(0, "")  # as in a notebook: what lies beside it can be imported
    for number, message in enumerate(_errors(shell, cells)):
        if number < MOST_ERRORS:
            _send(out, "cell", *message)
    _send(out, "ready", "-", "-")
    cases = json.loads(_wait(Path(given)))
    for exercise in exercises:
        try:
            kind, text = ask(exercise, shell.user_ns, cases[exercise.id])
            _send(out, kind, exercise.id, text)
        except BaseException as error:
            _send(out, "error", exercise.id, type(error).__name__)
    _send(out, "done", "-", "-")


def code(notebook: Any) -> Iterator[tuple[int, str]]:
    """Yield the code cells of a notebook: number, counted from 1 over all cells, and text."""
    for number, cell in enumerate(notebook["cells"], 1):
        if cell["cell_type"] == "code":
            yield number, "".join(cell["source"])


def _errors(shell: Any, cells: list[tuple[int, str]]) -> Iterator[tuple[str, str]]:
    """Run the cells; yield the number and the error of each that raised, and go on."""
    for number, text in cells:
        try:
            done = shell.run_cell(text, store_history=True)
            error = done.error_before_exec or done.error_in_exec
        except BaseException as raised:
            error = raised
        if "matplotlib.pyplot" in sys.modules:  # as a notebook does
            with contextlib.suppress(Exception):
                sys.modules["matplotlib.pyplot"].close("all")
        if error is not None:
            yield str(number), f"{type(error).__name__}: {error}"


def _send(out: Any, kind: str, subject: str, text: str) -> None:
    text = text if kind == "answer" else " ".join(text[:LONGEST_ERROR].split())
    line = memoryview(f"{kind} {subject} {text}\n".encode("utf-8", "replace"))
    while line:
        line = line[out.write(line) :]


def _wait(given: Path) -> str:
    while not given.exists():
        time.sleep(0.02)
    return given.read_text(encoding="utf-8")


def _shell() -> Any:
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Shell(InteractiveShell):
        def enable_gui(self, gui: Any = None) -> None:
            """Take `%matplotlib inline` as a notebook does: there is no window to open."""

    config = Config()
    config.HistoryManager.enabled = False
    return Shell.instance(config=config)


def _limit() -> None:
    """Limit what polling would notice too late."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux" and tuple(map(int, os.uname().release.split(".")[:2])) >= (5, 14):
        resource.setrlimit(resource.RLIMIT_NPROC, (MOST_TASKS, MOST_TASKS))


def _silence() -> None:
    """Send what cells print to nowhere: however much it is, nobody has to keep it."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


if __name__ == "__main__":
    main(*sys.argv[1:])
