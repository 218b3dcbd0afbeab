"""Watch a process that nobody trusts: read what it says, and end it when it takes too long or too much."""

from __future__ import annotations

import errno
import os
import selectors
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

GIB = 2**30
POLL_S = 0.2
DISK_POLL_S = 2.0
MOST_PROCESSES = 200
MOST_FILES = 100_000
MOST_WRITTEN_GIB = 8
LEAST_FREE_GIB = 1
NO_SPACE = f"this machine has less than {LEAST_FREE_GIB} GiB of free disk space"
"""Why nothing goes on then; whose fault it is, nobody knows."""
ERRORS = "stderr.txt"
"""File, in the folder where the command writes, that has what it said before the notebook began."""


@dataclass(frozen=True)
class Limits:
    """What a notebook may take.

    Attributes:
        seconds: from its start to its last answer.
        memory_gib: resident memory of all its processes together.
        bytes_said: length of all its answers together.
    """

    seconds: float
    memory_gib: float
    bytes_said: int


def watch(
    words: list[str],
    *,
    environment: dict[str, str],
    cwd: Path,
    written: Path,
    hear: Callable[[bytes], bool],
    limits: Limits,
) -> str:
    """Run a command to its end, or end it; return why it was ended, empty when it was not.

    Args:
        words: the command; the number of the file descriptor on which it speaks is appended.
        environment: all of it.
        cwd: the folder in which it starts.
        written: folder in which it writes.
        hear: takes a line without its end; returns whether it was the last.
        limits: what it may take.
    """
    looks = partial(_looks, limits=limits, begin=time.monotonic(), written=written, parent=os.getppid())
    read, write = os.pipe()
    with (written / ERRORS).open("wb") as stderr:
        process = subprocess.Popen(  # noqa: S603 - our own words
            [*words, str(write)],
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            pass_fds=(write,),
            start_new_session=True,
        )
    os.close(write)
    try:
        return _listen(read, process, hear, limits.bytes_said, looks(process.pid))
    finally:
        end(process)
        os.close(read)


def end(process: subprocess.Popen[Any]) -> None:
    """End a process and all that it started, as far as they can be found."""
    process.poll()
    for other in _tree(process.pid):
        with suppress(psutil.Error):
            other.kill()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _listen(
    channel: int,
    process: subprocess.Popen[bytes],
    hear: Callable[[bytes], bool],
    most: int,
    looks: Iterator[str],
) -> str:
    said, rest = 0, b""
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        while True:
            if selector.select(POLL_S / 2):
                block = os.read(channel, 2**16)
                if not block:
                    return ""
                said += len(block)
                if said > most:
                    return f"its answers are longer than {most:,} bytes together"
                *lines, rest = (rest + block).split(b"\n")
                if any(hear(line) for line in lines):
                    return ""
            elif process.poll() is not None:
                return ""
            if reason := next(looks):
                return reason


def _looks(pid: int, limits: Limits, begin: float, written: Path, parent: int) -> Iterator[str]:
    """Yield what is exceeded, if anything, at each call; expensive looks are taken now and then."""
    next_look = next_disk = 0.0
    while True:
        now = time.monotonic()
        reason = f"it took longer than {limits.seconds:g} s" if now - begin > limits.seconds else ""
        if not reason and now >= next_look:
            next_look = now + POLL_S
            reason = _memory(pid, limits) or ("" if os.getppid() == parent else "the check was ended")
        if not reason and now >= next_disk:
            next_disk = now + DISK_POLL_S
            reason = _disk(pid, written)
        yield reason


def _memory(pid: int, limits: Limits) -> str:
    resident, tree = 0, _tree(pid)
    for process in tree:
        with suppress(psutil.Error):
            resident += process.memory_info().rss
    if resident > limits.memory_gib * GIB:
        return f"it took more than {limits.memory_gib:g} GiB of memory"
    return f"it started more than {MOST_PROCESSES} processes" if len(tree) > MOST_PROCESSES else ""


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _disk(pid: int, folder: Path) -> str:
    """Say whether too much was written, or where nobody can look; the walk itself is limited."""
    if shutil.disk_usage(folder).free < LEAST_FREE_GIB * GIB:
        return NO_SPACE
    size, files, waiting = _deleted(pid), 0, [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    files += 1
                    with suppress(FileNotFoundError):
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                    if files > MOST_FILES:
                        return f"it wrote more than {MOST_FILES:,} files"
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.EACCES):
                return f"it made a folder into which nobody can look: {error.strerror}"
    return f"it wrote more than {MOST_WRITTEN_GIB} GiB" if size > MOST_WRITTEN_GIB * GIB else ""


def _deleted(pid: int) -> int:
    """Return the bytes of files that were deleted and are still open."""
    found: dict[tuple[int, int], int] = {}
    for process in _tree(pid):
        with suppress(OSError), os.scandir(f"/proc/{process.pid}/fd") as entries:
            for entry in entries:
                with suppress(OSError):
                    file = entry.stat()
                    if stat.S_ISREG(file.st_mode) and not file.st_nlink:
                        found[file.st_dev, file.st_ino] = file.st_blocks * 512
    return sum(found.values())
