"""Where a learner's notebook runs: with bubblewrap, it sees little, writes only its own folder, and has no network.

Without bubblewrap it is a plain process with a scrubbed environment: that protects from accidents, from nobody's will.
"""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import ai4diag

NAME = "bubblewrap"
NONE = "none"
PACKAGE = Path(ai4diag.__file__).resolve().parent
KERNELS = PACKAGE / "evaluation" / "__pycache__"
"""Compiled kernels; numba takes them only from a folder that it can write to, so each notebook has a copy."""
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store")
MACHINE = ("/etc/alternatives", "/etc/fonts", "/etc/ld.so.cache", "/etc/localtime")
FILES = {
    "passwd": "learner:x:1000:1000:learner:/home/learner:/bin/sh\n",
    "group": "learner:x:1000:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
"""All that `/etc` says of people and machines there."""
HOME = "/home/learner"
OPTIONS = (
    *("--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
    *("--uid", "1000", "--gid", "1000", "--hostname", "classroom"),
)


@dataclass(frozen=True)
class Places:
    """Folders of one notebook's check, all in one temporary folder.

    Attributes:
        folder: the notebook's own; removed afterwards.
        root: the lesson's workspace as it was made, which nobody changes.
    """

    folder: Path
    root: Path

    @property
    def workspace(self) -> Path:
        """The notebook's copy of the workspace; in the sandbox it stands where `root` is."""
        return self.folder / "workspace"

    @property
    def given(self) -> Path:
        """A folder that the learner's code can read and not write."""
        return self.folder / "given"

    def make(self) -> None:
        """Make the folders."""
        shutil.copytree(self.root, self.workspace, symlinks=True)
        for name in ("home", "tmp", "shm", "given", "etc"):
            (self.folder / name).mkdir()
        for name, text in FILES.items():
            (self.folder / "etc" / name).write_text(text, encoding="utf-8")
        if KERNELS.is_dir():
            shutil.copytree(KERNELS, self.folder / "kernels")
        for found in _fonts():  # else matplotlib looks for all fonts in each check
            (self.folder / "home" / ".cache" / "matplotlib").mkdir(parents=True, exist_ok=True)
            shutil.copy(found, self.folder / "home" / ".cache" / "matplotlib")


@cache
def bubblewrap() -> str:
    """Return the path of a bubblewrap that works here; empty where there is none.

    A Python whose folder holds the home folder, too, cannot be shown without showing everything: empty.
    """
    found = shutil.which("bwrap") if sys.platform == "linux" else None
    if not found or any(Path.home().is_relative_to(prefix) for prefix in _prefixes()):
        return ""
    words = [found, *OPTIONS, *_bound(SYSTEM), "--proc", "/proc", "--dev", "/dev", "--", "/bin/true"]
    done = subprocess.run(words, capture_output=True, env={}, check=False)  # noqa: S603 - fixed words
    return found if done.returncode == 0 else ""


def isolation() -> str:
    """Return in what notebooks are run on this machine: `bubblewrap` or `none`."""
    return NAME if bubblewrap() else NONE


def command(places: Places, words: list[str]) -> list[str]:
    """Return the words that run a command for a notebook: isolated where bubblewrap is, else plainly."""
    if not bubblewrap():
        return words
    folder = places.folder
    binds: list[tuple[str, Path, Path | str]]
    binds = [("--bind", folder / "tmp", "/tmp"), ("--bind", folder / "home", HOME)]  # noqa: S108 - in the sandbox
    binds += [("--ro-bind", folder / "etc" / name, f"/etc/{name}") for name in FILES]
    binds += [("--ro-bind", path, path) for path in _readable(places.root)]
    binds += [("--bind", folder / "kernels", KERNELS)] if (folder / "kernels").is_dir() else []
    binds += [("--ro-bind", places.given, places.given), ("--bind", places.workspace, places.root)]
    return [
        *(bubblewrap(), *OPTIONS, *_bound((*SYSTEM, *MACHINE)), "--proc", "/proc", "--dev", "/dev"),
        *("--bind", str(folder / "shm"), "/dev/shm", "--remount-ro", "/dev"),  # noqa: S108 - in the sandbox
        *(str(word) for bind in binds for word in bind),
        *("--symlink", "/tmp", "/var/tmp", "--remount-ro", "/"),  # noqa: S108 - in the sandbox
        *("--chdir", str(places.root / "notebooks"), "--", *words),
    ]


def environment(places: Places, threads: int) -> dict[str, str]:
    """Return all that the learner's code finds in its environment.

    Args:
        places: where it runs.
        threads: how many threads its libraries start.
    """
    home, temporary = (HOME, "/tmp") if bubblewrap() else (places.folder / "home", places.folder / "tmp")  # noqa: S108
    person = {f"GIT_{who}_{what}": text for who in ("AUTHOR", "COMMITTER") for what, text in PERSON.items()}
    return person | {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        "AI4DIAG_COURSE_FAST": "1",
        "MPLBACKEND": "agg",
        **dict.fromkeys(("PAGER", "GIT_PAGER"), "cat"),  # as a notebook's kernel sets them: nobody turns pages
        "TERM": "xterm-color",
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(map(str, _elsewhere())),
    }


PERSON = {"NAME": "learner", "EMAIL": "learner@example.org"}


def _readable(root: Path) -> Iterator[Path]:
    """Yield what is bound read-only beside the system: Python, this package, the raw data of the lesson."""
    yield from _prefixes()
    yield from (folder / PACKAGE.name if folder == PACKAGE.parent else folder for folder in _elsewhere())
    for link in sorted((root / "data").glob("*")):
        yield link.resolve()


@cache
def _prefixes() -> tuple[Path, ...]:
    """Folders of the interpreter, of its virtual environment and of what its executable links to."""
    found = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parents[1]]
    return tuple(path for path in dict.fromkeys(found) if not path.is_relative_to("/usr"))


def _elsewhere() -> list[Path]:
    """Return the folders outside of the prefixes that are imported from: an editable install, the user's own."""
    found = [PACKAGE.parent]
    if site.ENABLE_USER_SITE and Path(site.getusersitepackages()).is_dir():
        found.append(Path(site.getusersitepackages()))
    prefixes = (*_prefixes(), Path("/usr"))
    return [path for path in found if not any(path.is_relative_to(prefix) for prefix in prefixes)]


def _bound(paths: tuple[str, ...]) -> list[str]:
    """Return words that show these as they are here: folders and files read-only, links as links."""
    words = []
    for path in map(Path, paths):
        if path.is_symlink() and path.parent == Path("/"):
            words += ["--symlink", str(path.readlink()), str(path)]
        elif path.exists():
            words += ["--ro-bind", str(path), str(path)]
    return words


def _fonts() -> list[Path]:
    cache_home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return sorted(Path(os.environ.get("MPLCONFIGDIR") or Path(cache_home) / "matplotlib").glob("fontlist-*.json"))
