"""What runs inside the sandbox: a notebook's cells from top to bottom, then the exercises.

    python -P -m ai4diag.course.runner LESSON NOTEBOOK GIVEN CHANNEL

Each line that it writes to the file descriptor CHANNEL is `<kind> <subject> <text>`: `started - -`; `cell 3 NameError:
...` for a cell that raised; `ready - -` after the last one; one line per exercise; `done - -`. The file GIVEN is not
there before `ready`. The learner's code runs in this process and may write such lines, too: they are judged like any
other.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import resource
import struct
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
KERNELS = {"x86_64": (0xC000003E, 317, 0), "aarch64": (0xC00000B7, 277, 1)}
"""Machine to the kernel's number for it, to that of its call `seccomp`, and to the column of REFUSED."""
REFUSED = {
    **{"memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "msgget": (68, 186)},
    **{"mount": (165, 40), "fsopen": (430, 430), "open_tree": (428, 428), "unshare": (272, 97), "setns": (308, 268)},
    **{"add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219)},
    **{"bpf": (321, 280), "io_uring_setup": (425, 425), "perf_event_open": (298, 241), "userfaultfd": (323, 282)},
}
"""System calls that no lesson needs: for memory that belongs to no process, for the keys of the trainer's session, and
some that holes in kernels were often found in; with their numbers (Linux, arch/x86/entry/syscalls/syscall_64.tbl and
include/uapi/asm-generic/unistd.h)."""


def main(lesson: str, notebook: str, given: str, channel: str) -> None:
    """Run the cells, wait for what is given, let the learner's names answer it."""
    out = os.fdopen(int(channel), "wb", buffering=0)
    exercises = lessons.exercises(lesson)
    cells = list(code(json.loads(Path(notebook).read_bytes())))
    shell = _shell()
    _limit()
    _refuse_calls()
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


def _refuse_calls() -> None:
    """Have the kernel refuse some calls of this process and of all that it starts (seccomp, "not implemented").

    Raises:
        OSError: the kernel does not.
    """
    if sys.platform != "linux" or os.uname().machine not in KERNELS:
        return
    architecture, seccomp, column = KERNELS[os.uname().machine]
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06  # classic BPF
    refused = [(equal, numbers[column]) for numbers in REFUSED.values()] + [(at_least, 0x40000000)]  # the last: x32
    words = [(load, 0, 0, 4), (equal, 1, 0, architecture), (give, 0, 0, 0x50000 | errno.ENOSYS), (load, 0, 0, 0)]
    words += [(code, len(refused) - place, 0, number) for place, (code, number) in enumerate(refused)]
    words += [(give, 0, 0, 0x7FFF0000), (give, 0, 0, 0x50000 | errno.ENOSYS)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *word) for word in words))
    whole = struct.pack("@HP", len(words), ctypes.addressof(program))
    library = ctypes.CDLL(None, use_errno=True)
    no_new_rights, filter_for_all_threads = 38, (1, 1)
    if library.prctl(no_new_rights, 1, 0, 0, 0) or library.syscall(seccomp, *filter_for_all_threads, whole):
        raise OSError(ctypes.get_errno(), "seccomp failed")


def _silence() -> None:
    """Send what cells print to nowhere: however much it is, nobody has to keep it."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


if __name__ == "__main__":
    main(*sys.argv[1:])
