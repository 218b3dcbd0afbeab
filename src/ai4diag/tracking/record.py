"""The tags that bind a run to what made it: commit, data, lock file, environment, seed, machine, process.

Nothing here names a person: no user name, no host name, no path. The host is a hash that only serves to see whether
two runs come from the same one.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import psutil

from ai4diag import __version__
from ai4diag.files import sha256_bytes, sha256_file

PREFIX = "ai4diag."
WRITTEN_BY_RUNS = (
    ":(exclude)dvc.lock",
    ":(exclude,glob)pipelines/*/out/**",
    ":(exclude,glob)pipelines/*/looks.csv",
)
"""Files in git that a run itself changes; they do not make a checkout dirty."""
UNKNOWN_GPU = "torch not loaded"


def binding(workspace: Path, *, data_sha256: str, seed: int) -> dict[str, str]:
    """Return what the run rests on, as tags.

    Args:
        workspace: the folder that holds `dvc.lock`; need not be in git.
        data_sha256: hash of `prepared.json`, which holds the hashes of all prepared files.
        seed: the seed of training.
    """
    lock = workspace / "dvc.lock"
    tags = {
        **git_state(workspace),
        "data_sha256": data_sha256,
        "dvc_lock_sha256": sha256_file(lock) if lock.is_file() else "no dvc.lock",
        "environment_sha256": sha256_bytes(environment().encode()),
        "seed": str(seed),
        "version": __version__,
        "python": platform.python_version(),
        **machine(),
    }
    return {PREFIX + name: value for name, value in tags.items()}


def process() -> dict[str, str]:
    """Return the tags by which the reaper finds out whether the process of a run still lives."""
    return {
        f"{PREFIX}host": host(),
        f"{PREFIX}pid": str(os.getpid()),
        f"{PREFIX}process_started": birth(os.getpid()),
    }


def birth(pid: int) -> str:
    """Return when a process of this host was born, as a text that no later process of that pid has; empty: it is dead.

    On Linux in ticks since a boot, because times of day move when the clock is set; elsewhere in seconds since 1970.
    """
    try:
        if sys.platform != "linux":
            return f"{psutil.Process(pid).create_time():.2f}"
        state, *fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):
        return ""
    return "" if state == "Z" else f"{boot}:{fields[18]}"  # 22nd field of proc(5), the 20th after the name


def git_state(workspace: Path) -> dict[str, str]:
    """Return `git_commit` and `git_dirty` (`true` when tracked or new files differ from the commit).

    Without git, or outside a repository, the commit is `none: ` and the reason, and `git_dirty` is `unknown`.
    """
    unknown = {"git_dirty": "unknown"}
    try:
        commit = _git(workspace, "rev-parse", "--verify", "HEAD")
    except FileNotFoundError:
        return {"git_commit": "none: git is not installed", **unknown}
    if commit.returncode != 0:
        return {"git_commit": "none: not a git repository with a commit", **unknown}
    state = _git(workspace, "status", "--porcelain", "--untracked-files=normal", "--", ".", *WRITTEN_BY_RUNS)
    dirty = "unknown" if state.returncode != 0 else str(bool(state.stdout.strip())).lower()
    return {"git_commit": commit.stdout.strip(), "git_dirty": dirty}


@cache
def environment() -> str:
    """Return `name==version` of every installed distribution, sorted, one per line (names as in PEP 503)."""
    found = {
        f"{re.sub(r'[-_.]+', '-', distribution.name).lower()}=={distribution.version}"
        for distribution in importlib.metadata.distributions()
    }
    return "\n".join(sorted(found)) + "\n"


def machine() -> dict[str, str]:
    """Return platform, CPUs this process may use, CPU model, and of torch, where it is loaded: GPU, vectors, threads.

    `vectors` is the widest set of vector instructions that torch uses (`AVX2`, `AVX512`, ...); it and the number of
    threads decide in which order numbers are added up.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "platform": platform.platform(),
        "cpus": str(len(affinity(0)) if affinity else os.cpu_count()),
        "cpu_model": _cpu_model(),
        "gpu": _gpu(),
        "vectors": _vectors(),
        "threads": _threads(),
    }


def host() -> str:
    """Return a hash that is the same for two processes exactly when each can see whether the other lives.

    Containers count as hosts of their own, even when they share the name of the machine.
    """
    parts = [platform.node()]
    identity, space = Path("/etc/machine-id"), Path("/proc/self/ns/pid")
    if identity.is_file():
        parts.append(identity.read_text(encoding="ascii").strip())
    if space.exists():
        parts.append(str(space.stat().st_ino))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def _gpu() -> str:
    torch = sys.modules.get("torch")
    if torch is None:
        return UNKNOWN_GPU
    if not torch.cuda.is_available():
        return "none"
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return ", ".join(names)


def _vectors() -> str:
    torch = sys.modules.get("torch")
    return UNKNOWN_GPU if torch is None else str(torch.backends.cpu.get_cpu_capability())


def _threads() -> str:
    torch = sys.modules.get("torch")
    return UNKNOWN_GPU if torch is None else str(torch.get_num_threads())


def _git(workspace: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # no optional locks: a status in the background must not make the user's own git command fail
    environ = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", "-C", str(workspace), *words]
    return subprocess.run(command, capture_output=True, text=True, env=environ, check=False)  # noqa: S603 fixed words
