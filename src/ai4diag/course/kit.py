"""Bring a lesson into place, and back to how it was: `catch_up` and `reset`.

Where a notebook can be had anew: in a checkout from `curriculum/`, in an unpacked course pack from `originals/`.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ai4diag.course import lesson as headers
from ai4diag.course.build import Copy
from ai4diag.course.lesson import Lesson
from ai4diag.course.place import finished
from ai4diag.data import catalogue
from ai4diag.errors import MachineError, UsageError
from ai4diag.files import write_text
from ai4diag.pipelines.workspace import Workspace

ORIGINALS = "originals"
"""Folder of a course pack with `learner/` and `solution/` notebooks."""
KEPT = "notebooks/work/kept"
SOLVED = "notebooks/work/solutions"


@dataclass(frozen=True)
class Kept:
    """What `reset` did.

    Attributes:
        notebook: the lesson's notebook, new.
        kept: what was put aside, in its new place.
    """

    notebook: Path
    kept: tuple[Path, ...]


def original(root: Path, lesson: str, copy: Copy) -> tuple[str, str]:
    """Return the name and the text of a lesson's notebook as it was built.

    Raises:
        UsageError: there is no such lesson, or nothing to build it from.
    """
    if (root / "curriculum").is_dir():
        from ai4diag.course.build import notebook
        from ai4diag.course.source import sources

        known = {source.lesson.id: source for source in sources(root / "curriculum")}
        if lesson in known:
            titles = {name: source.lesson.title for name, source in known.items()}
            text = notebook(known[lesson], copy, Workspace(root).catalogue, titles)
            return f"{known[lesson].path.stem}.ipynb", text
    for path in sorted((root / ORIGINALS / copy).glob(f"{lesson}_*.ipynb")):
        return path.name, path.read_text(encoding="utf-8")
    raise UsageError(
        f"{root} has neither a source nor an original of lesson '{lesson}'.", "Use a checkout, or a course pack."
    )


def reset(root: Path, lesson: str, now: datetime | None = None) -> Kept:
    """Put a fresh notebook in place; the learner's, and what the lesson wrote, are kept under `notebooks/work/kept/`.

    Args:
        root: the workspace's folder.
        lesson: `m04`.
        now: the time that the copies are named by.

    Raises:
        UsageError: there is no such lesson.
    """
    name, text = original(root, lesson, "learner")
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    kept = []
    for path in (*sorted((root / "notebooks").glob(f"{lesson}_*.ipynb")), root / "notebooks" / "work" / lesson):
        if path.exists():
            there = _free(root / KEPT / f"{path.stem}.{stamp}{path.suffix}")
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, there)
            kept.append(there)
    write_text(root / "notebooks" / name, text)
    return Kept(root / "notebooks" / name, tuple(kept))


def before(root: Path, lesson: str) -> list[Lesson]:
    """Return the lessons that come before one, by what they need, in order; and itself, last."""
    found: dict[str, Lesson] = {}
    waiting = [lesson]
    while waiting:
        _, header = headers.find(root, waiting.pop())
        if header.id not in found:
            found[header.id] = header
            waiting += header.needs
    return sorted(found.values(), key=lambda header: header.id)


def catch_up(
    workspace: Workspace,
    lessons: Sequence[str],
    mirror: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Put in place what lessons and those before them need: data sets, finished runs, solved notebooks; each once.

    What is there already is left alone; the learner's own notebooks are not touched.

    Args:
        workspace: where.
        lessons: `m04`, ...
        mirror: where data come from, when there is an offline mirror.
        say: hears what is being done.

    Raises:
        UsageError: there is no such lesson.
        DataError: a data set cannot be had.
        MachineError: a run failed.
    """
    chains = [before(workspace.root, lesson) for lesson in lessons]
    chain = {header.id: header for needed in chains for header in needed}
    for name in sorted({name for header in chain.values() for name in header.data}):
        say(f"data set {name}")
        catalogue.get(workspace.catalogue.card(name), workspace.data, mirror)
    for run in dict.fromkeys(run for lesson in sorted(chain) for run in chain[lesson].runs):
        if not finished(workspace, run):
            say(f"ai4diag run {run}")
            _run(workspace.root, run)
    for lesson in sorted({header.id for needed in chains for header in needed[:-1]}):
        name, text = original(workspace.root, lesson, "solution")
        (workspace.root / SOLVED).mkdir(parents=True, exist_ok=True)
        write_text(workspace.root / SOLVED / name, text)
        say(f"solved notebook {SOLVED}/{name}")


def _run(root: Path, run: str) -> None:
    done = subprocess.run([sys.executable, "-m", "ai4diag", "run", *shlex.split(run)], cwd=root, check=False)  # noqa: S603
    if done.returncode:
        raise MachineError(f"`ai4diag run {run}` ended with exit code {done.returncode}.", "See the message above.")


def _free(path: Path) -> Path:
    """Return a name like this that does not exist yet."""
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in range(2, 1000))
    return path if not path.exists() else next(item for item in numbered if not item.exists())
