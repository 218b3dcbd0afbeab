"""Progress that learners choose to show: one line for each `check`, in a folder that they name; off until then.

A line has a pseudonym, the exercise, how many expectations were met, the hint that was asked for, and the time. It has
nothing of a cell, of the machine or of its user.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ai4diag.course.exercise import Expectation
from ai4diag.errors import MachineError, UsageError
from ai4diag.files import write_json

SETTINGS = Path("notebooks/work/progress.json")
FOLDER = Path("notebooks/work/progress")
"""Where lines go when no folder is named; both are ignored by git."""
PSEUDONYM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


@dataclass(frozen=True)
class Sharing:
    """Under which name progress is shown, and where.

    Attributes:
        pseudonym: of the learner.
        folder: has one file for each learner.
    """

    pseudonym: str
    folder: Path

    @property
    def file(self) -> Path:
        """The learner's own file."""
        return self.folder / f"{self.pseudonym}.jsonl"


def sharing(root: Path) -> Sharing | None:
    """Return what a workspace shares; None when its learner did not turn it on."""
    try:
        found = json.loads((root / SETTINGS).read_text(encoding="utf-8"))
        pseudonym, folder = found["pseudonym"], Path(found["folder"])
        return Sharing(pseudonym, folder) if PSEUDONYM.fullmatch(pseudonym) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def share(root: Path, pseudonym: str = "", folder: Path | None = None) -> Sharing:
    """Turn it on.

    Args:
        root: the workspace's folder.
        pseudonym: letters, digits, `-` and `_`; drawn when empty.
        folder: where the file goes; a folder of the workspace when None.

    Raises:
        UsageError: the pseudonym has another form, or is somebody else's.
        MachineError: the folder cannot be written to, or the file of an earlier name cannot be deleted.
    """
    before = sharing(root)
    pseudonym = pseudonym or (before.pseudonym if before else f"learner-{secrets.token_hex(3)}")
    if not PSEUDONYM.fullmatch(pseudonym):
        raise UsageError(
            f"'{pseudonym}' cannot be a pseudonym.", "Take at most 32 letters, digits, '-' and '_', and not your name."
        )
    chosen = Sharing(pseudonym, (folder or root / FOLDER).resolve())
    if chosen == before and chosen.file.exists():
        return chosen
    try:
        chosen.folder.mkdir(parents=True, exist_ok=True)
        os.close(os.open(chosen.file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    except FileExistsError:
        raise UsageError(f"{chosen.file} is there already.", "Take another pseudonym with --as.") from None
    except OSError as error:
        raise MachineError(f"{chosen.folder} cannot be written to: {error.strerror}.", "Name another folder.") from None
    if before is not None and before != chosen:
        _delete(before.file)
    write_json(root / SETTINGS, {"pseudonym": chosen.pseudonym, "folder": str(chosen.folder)})
    return chosen


def forget(root: Path) -> Sharing | None:
    """Turn it off, and delete the learner's file; return what was shared, None when nothing was.

    Raises:
        MachineError: the file cannot be deleted; it is still shared.
    """
    found = sharing(root)
    if found is not None:
        _delete(found.file)
    _delete(root / SETTINGS)
    return found


def note(root: Path, exercise: str, expectations: Sequence[Expectation], hint: int) -> str:
    """Append a line when the learner shares; return what went wrong, if anything: a check goes on without it.

    Several processes may do so at once: each line is appended in one piece. No lock is taken, which somebody else could
    hold; and the file is not made anew, or one that was forgotten a moment ago would come back.
    """
    found = sharing(root)
    if found is None:
        return ""
    line = {
        "who": found.pseudonym,
        "exercise": exercise,
        "met": sum(item.met for item in expectations),
        "total": len(expectations),
        "hint": hint,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    try:
        handle = os.open(found.file, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            os.write(handle, (json.dumps(line) + "\n").encode())
        finally:
            os.close(handle)
    except OSError as error:
        again = "To go on showing it: ai4diag course share. To stop: ai4diag course forget."
        return f"Progress was not written to {found.file}: {error.strerror}. {again}"
    return ""


def _delete(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise MachineError(f"{file} cannot be deleted: {error.strerror}.", "Delete it by hand.") from None
