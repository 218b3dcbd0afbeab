"""An exercise: what is given, what the learner's names answer, and what is expected of the answer.

The three steps are apart so that an answer can be judged where the learner's code does not run:

    draw      by the checker: a case of the problem, new for each seed; plain values
    answer    in the learner's process: what the learner's names make of it; plain values again
    judge     by the checker: expectation by expectation, from plain values alone
"""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

LONGEST = 160
"""Characters of a found value that are shown."""


@dataclass(frozen=True)
class Expectation:
    """One thing that is expected of an answer.

    Attributes:
        name: what is expected, as a statement: "two empty masks have an undefined Dice".
        met: whether it is so.
        found: what was found, in words.
        expected: what was expected, in words.
    """

    name: str
    met: bool
    found: str = ""
    expected: str = ""


@dataclass
class Expectations:
    """Where `judge` says what it expects, in order. Nothing here trusts the type of what was found."""

    items: list[Expectation] = field(default_factory=list)

    def that(self, name: str, met: bool, found: Any = "", expected: Any = "") -> bool:
        """Note a statement and whether it is met; return that."""
        self.items.append(Expectation(name, bool(met), shorten(found), shorten(expected)))
        return bool(met)

    def equal(self, name: str, found: Any, expected: Any) -> bool:
        """Expect a plain value of the same kind: 1 is not True, and "1" is not 1."""
        same_kind = isinstance(found, bool) == isinstance(expected, bool)
        return self.that(name, same_kind and found == expected, found, expected)

    def close(self, name: str, found: Any, expected: float, tolerance: float = 1e-6) -> bool:
        """Expect a number within `tolerance` (absolute); NaN is met by NaN alone."""
        is_number = isinstance(found, numbers.Real) and not isinstance(found, bool)
        if math.isnan(expected):
            return self.that(name, is_number and math.isnan(found), found, "nan (undefined)")
        met = is_number and abs(found - expected) <= tolerance
        return self.that(name, met, found, f"{expected:.6g}" + (f" ± {tolerance:g}" if tolerance > 1e-6 else ""))


class Exercise(ABC):
    """One exercise of a lesson.

    Attributes:
        id: lesson, dot, name: `m04.dice`.
        title: what it is about, a few words.
        names: names that the learner's notebook defines for it.
        hints: a first hint that points to the idea, and a second that points to the line.
        worked: a smaller case, worked out step by step, as Markdown.
    """

    id: ClassVar[str]
    title: ClassVar[str]
    names: ClassVar[tuple[str, ...]]
    hints: ClassVar[tuple[str, str]]
    worked: ClassVar[str]

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return what is given, as plain values; `root` is the workspace's folder, for its data."""
        return {}

    @abstractmethod
    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return what the learner's names answer to `given`; runs in the learner's process, and may raise."""

    @abstractmethod
    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Say what is expected of a plain `answer`. It may be anything: a raised error counts as not met."""


def judged(exercise: Exercise, given: dict[str, Any], answer: Any, root: Path) -> list[Expectation]:
    """Return what `judge` expects; an answer of a form that it cannot read is a cross, not a crash."""
    expect = Expectations()
    try:
        exercise.judge(given, answer, expect, root)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        expect.that("the answer has the form that was asked for", False, f"{answer!r} ({error})", "see the task")
    return expect.items or [Expectation("the answer can be judged", False)]


def shorten(value: Any) -> str:
    """Return a value as a short text."""
    text = value if isinstance(value, str) else f"{value:.6g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
