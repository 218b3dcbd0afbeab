"""`ai4diag lab` as a person starts it, in a home of its own, and what is known of the processes that it begins."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import psutil

ADDRESS = re.compile(r"(http://127\.0\.0\.1:(\d+))(/lab\S*)\?token=([0-9a-f]{20,})")
LEFT_OUT = ("JUPYTER", "MLFLOW", "JPY_")


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *given: Any) -> None:
        return None


class Lab:
    """A running lab.

    Attributes:
        process: the one that was started.
        root: its address, without a slash at the end.
        token: what lets in.
        home: the home of the user who started it.
        seconds: how long it took to print its address.
    """

    def __init__(self, workspace: Path, home: Path, *options: str, command: tuple[str, ...] = ("-m", "ai4diag", "lab")):
        home.mkdir(exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(LEFT_OUT)}
        began, self.home = time.monotonic(), home
        self.log = home / "lab.txt"
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, *command, "--no-browser", *options],
                cwd=workspace,
                env={**kept, "HOME": str(home), "AI4DIAG_COURSE_FAST": "1"},
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
            )
        found = None
        while found is None:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() - began < 90, self.log.read_text()
            time.sleep(0.1)
            found = ADDRESS.search(self.log.read_text())
        self.seconds = time.monotonic() - began
        self.root, self.port, self.page, self.token = (
            found.group(1),
            int(found.group(2)),
            found.group(3),
            found.group(4),
        )

    @property
    def url(self) -> str:
        """The address that is printed."""
        return f"{self.root}{self.page}?token={self.token}"

    def ask(
        self, path: str, token: str | None = None, data: Any = None, method: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Ask for a path, with the lab's own token unless another is given; return status, headers, content."""
        token = self.token if token is None else token
        given = {**({"Authorization": f"token {token}"} if token else {}), **headers}
        request = urllib.request.Request(
            f"{self.root}/{path}",
            headers={name.replace("_", "-"): value for name, value in given.items()},
            data=None if data is None else json.dumps(data).encode(),
            method=method,
        )
        try:
            answer = urllib.request.build_opener(_Stay()).open(request, timeout=120)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()

    def processes(self) -> list[psutil.Process]:
        """Return the server's process and everything that it began."""
        first = psutil.Process(self.process.pid)
        return [first, *(one for one in first.children(recursive=True) if lives(one))]

    def mlflow(self) -> list[psutil.Process]:
        """Return the process tree of MLflow."""
        found = [one for one in self.processes() if "ai4diag.tracking.serve" in words(one)]
        return [*found, *(child for one in found for child in one.children(recursive=True))]

    def end(self, number: int = signal.SIGINT) -> None:
        """Press Ctrl-C, as a terminal does: the server's process gets it."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(timeout=30)

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *given: object) -> None:
        begun = self.processes() if self.process.poll() is None else []
        self.end(signal.SIGTERM)
        for one in psutil.wait_procs(begun, timeout=15)[1]:
            one.kill()


def lives(one: psutil.Process) -> bool:
    """Whether a process still runs; one that ended, and that its parent did not look after yet, does not."""
    try:
        return one.is_running() and one.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def words(one: psutil.Process) -> list[str]:
    """Return the words of a process's command; none when it ended meanwhile."""
    try:
        return one.cmdline()
    except psutil.NoSuchProcess:
        return []


def alive(processes: list[psutil.Process], within: float = 20) -> list[str]:
    """Return the command lines of those that still run after so many seconds at most."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        left = [one for one in processes if lives(one)]
        if not left:
            return []
        time.sleep(0.2)
    return [" ".join(words(one)) or str(one) for one in left]
