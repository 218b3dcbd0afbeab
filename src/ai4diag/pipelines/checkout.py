"""A commit in a clean folder of its own: a temporary git worktree, removed whatever happens.

It stands in `mlruns/verify/`, on the disk that holds the raw files, so that those can be linked there, not copied.
Ctrl-C and a signal to end remove it too. What a process left behind that was killed with -9 is removed by the next
verification: each folder holds a file that its process, and the commands which that process started, keep locked for
as long as they live.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ai4diag.errors import MachineError
from ai4diag.files import exclusive

FOLDER = "mlruns/verify"
LOCK = "lock"
OF_A_HOOK = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")
"""What git sets for its hooks: with these, a worktree that is added would write the index of the commit at hand."""
ENDING = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def clean_checkout(root: Path, commit: str) -> Iterator[tuple[Path, int]]:
    """Check out a commit beside everything that is going on; several processes may do so at once.

    Args:
        root: the workspace, which may be a folder inside its repository.
        commit: must be in the repository, see `has_commit`.

    Yields:
        The workspace as it is in the commit, and the handle of a lock to pass on to commands that work there.

    Raises:
        MachineError: git cannot write the folder.
    """
    inside = git(root, "rev-parse", "--show-prefix").stdout.strip()
    with _ending_is_an_exception(), _new_folder(root) as (base, lock):
        tree = _tree(base)
        try:
            added = git(root, "-c", "core.hooksPath=/dev/null", "worktree", "add", "--quiet", "--detach", tree, commit)
            if added.returncode:
                said = added.stderr.strip()
                raise MachineError(f"git cannot check out {commit[:12]} in {base}: {said}.", "Check free disk space.")
            yield tree / inside, lock
        finally:
            with _undisturbed():
                _remove(root, base)


def has_commit(root: Path, commit: str) -> bool:
    """Whether the repository of a workspace holds a commit with all that it needs."""
    return git(root, "rev-parse", "--quiet", "--verify", f"{commit}^{{commit}}").returncode == 0


def head(root: Path) -> str:
    """Return the commit that is checked out in a workspace; empty when there is none."""
    found = git(root, "rev-parse", "--quiet", "--verify", "HEAD^{commit}")
    return found.stdout.strip() if found.returncode == 0 else ""


def remove_leftovers(root: Path) -> None:
    """Remove worktrees of verifications whose processes are dead."""
    for base in sorted((root / FOLDER).glob("*/")):
        if not _is_held(base / LOCK):
            _remove(root, base)


@contextmanager
def _new_folder(root: Path) -> Iterator[tuple[Path, int]]:
    """Give a new folder with a name of its own, and the handle of its lock; leftovers are removed first."""
    parent = root / FOLDER
    with exclusive(parent / ".lock", "a verification", wait=True):
        remove_leftovers(root)
        base = Path(tempfile.mkdtemp(prefix="checkout-", dir=parent)).resolve()
        lock = (base / LOCK).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    with lock:
        yield base, lock.fileno()


def _tree(base: Path) -> Path:
    """Return where the worktree stands; git keeps its notes on it under its name, which must be its own."""
    return base / base.name


def _is_held(lock: Path) -> bool:
    """Whether a process holds a lock; a lock that is not there is held by none."""
    try:
        with lock.open("r+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:  # held, or of another user
        return True
    return False


def _remove(root: Path, base: Path) -> None:
    shutil.rmtree(base, ignore_errors=True)
    # Ours alone, never `worktree prune`, which forgets those of the user on a disk that is away just now. Twice forced:
    # git locks a worktree while it adds it, and may have been killed meanwhile.
    if git(root, "worktree", "remove", "--force", "--force", _tree(base)).returncode:  # its notes may be half written
        common = git(root, "rev-parse", "--git-common-dir").stdout.strip()
        shutil.rmtree(root / common / "worktrees" / base.name, ignore_errors=True)


@contextmanager
def _ending_is_an_exception() -> Iterator[None]:
    """A signal to end raises `SystemExit`, so that what was begun is cleared away."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    with _handled(ENDING, end):
        yield


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Signals to end wait until this is done."""
    waiting: list[int] = []
    with _handled((signal.SIGINT, *ENDING), lambda number, frame: waiting.append(number)):
        yield
    for number in waiting:
        signal.raise_signal(number)


@contextmanager
def _handled(numbers: tuple[signal.Signals, ...], handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Handle signals so; only the main thread of a process can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, found in before.items():
            signal.signal(number, found)


def git(root: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run git in a folder, wherever it was called from.

    Raises:
        MachineError: git is not installed.
    """
    command = ["git", "-C", str(root), *map(str, words)]
    environ = {name: value for name, value in os.environ.items() if name not in OF_A_HOOK} | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        return subprocess.run(  # noqa: S603 - fixed words, no shell
            command, capture_output=True, text=True, env=environ, check=False, start_new_session=True
        )
    except FileNotFoundError:
        raise MachineError("git is not installed, or not on PATH.", "Install git.") from None
