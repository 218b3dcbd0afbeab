"""The checks of the lessons, one module or package each: `EXERCISES` in the order of the notebook, the quiz last.

What has another name than `m04` is no lesson: helpers can stand beside the lessons that use them.
"""

from __future__ import annotations

import importlib
import pkgutil
import re

from ai4diag.course.exercise import Exercise
from ai4diag.errors import UsageError, did_you_mean


def known() -> list[str]:
    """Return the ids of all lessons: `m01`, `m02`, ..."""
    return sorted(item.name for item in pkgutil.iter_modules(__path__) if re.fullmatch(r"m\d\d", item.name))


def exercises(lesson: str) -> tuple[Exercise, ...]:
    """Return the exercises of a lesson, the quiz last.

    Raises:
        UsageError: there is no such lesson.
    """
    if lesson not in known():
        raise UsageError(f"There is no lesson '{lesson}'. {did_you_mean(lesson, known())}")
    found: tuple[Exercise, ...] = importlib.import_module(f"{__name__}.{lesson}").EXERCISES
    return found


def find(exercise: str) -> Exercise:
    """Return the exercise of an id such as `m04.dice`.

    Raises:
        UsageError: there is none.
    """
    lesson = exercise.partition(".")[0]
    by_id = {item.id: item for item in exercises(lesson)}
    if exercise not in by_id:
        raise UsageError(f"There is no exercise '{exercise}'. {did_you_mean(exercise, by_id)}")
    return by_id[exercise]
