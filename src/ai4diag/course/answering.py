"""From a learner's names to expectations, in two halves: `ask` runs where the learner's code runs, `read` need not.

Between them lies a text, so that `check` (one process) and `ai4diag course check` (two) say the same of an answer.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ai4diag.course.exercise import Exercise, Expectation, judged, shorten
from ai4diag.course.plain import NotPlainError, decode, encode

NOT_THE_LEARNERS = (str(Path(__file__).parents[1]), sys.prefix, sys.base_prefix)
"""Where code lies that is not the learner's: this package, Python, what is installed."""
Kind = Literal["answer", "missing", "not-plain", "error"]
"""What a text is: the answer as JSON, names that are not defined, why it is not plain, the error that was raised."""


def ask(exercise: Exercise, names: Mapping[str, Any], given: str) -> tuple[Kind, str]:
    """Let the learner's names answer.

    Args:
        exercise: what is asked.
        names: what the learner defined.
        given: the case, as `plain.encode` wrote it.
    """
    missing = [name for name in exercise.names if name not in names]
    if missing:
        return "missing", " ".join(missing)
    try:
        return "answer", encode(exercise.answer(decode(given), names))
    except NotPlainError as error:
        return "not-plain", str(error)
    except (Exception, SystemExit) as error:
        return "error", f"{type(error).__name__}{_where(error)}: {shorten(str(error)) or 'it says no more'}"


def read(exercise: Exercise, given: dict[str, Any], kind: str, text: str, root: Path) -> list[Expectation]:
    """Return what is met, from what `ask` returned or what somebody forged.

    Args:
        exercise: what was asked.
        given: the case as it was drawn.
        kind: of the text.
        text: what arrived.
        root: the workspace's folder.
    """
    missing = [name for name in exercise.names if name in text.split()] if kind == "missing" else []
    if missing:
        return [Expectation(f"`{name}` is defined", name not in missing) for name in exercise.names]
    if kind == "error":
        return [Expectation("the answer runs without an error", False, shorten(text), "no error")]
    try:
        if kind != "answer":
            raise NotPlainError(text)
        answer = decode(text)
    except NotPlainError as error:
        found = shorten(str(error))
        return [Expectation("the answer is made of plain values", False, found, "numbers, texts, lists, arrays")]
    return judged(exercise, given, answer, root)


def _where(error: BaseException) -> str:
    """Return the learner's line that raised, or called what raised; empty where there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.line for frame in frames if frame.line and not frame.filename.startswith(NOT_THE_LEARNERS)]
    return f" in `{shorten(lines[-1])}`" if lines else ""
