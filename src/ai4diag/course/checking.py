"""`check("m04.dice")`: what an answer meets, shown in the notebook at once.

It judges in the learner's own kernel, hence quickly and kindly; `ai4diag course check FILE` judges outside of it.
"""

from __future__ import annotations

import builtins
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ai4diag.course import lessons
from ai4diag.course.answering import ask, read
from ai4diag.course.exercise import Exercise, Expectation
from ai4diag.course.plain import encode
from ai4diag.course.progress import note
from ai4diag.errors import DataError, UsageError
from ai4diag.pipelines.workspace import Workspace
from ai4diag.shown import Shown

ADVICE = {
    0: 'more: check("{id}", hint=2)',
    1: 'more: check("{id}", hint=2)',
    2: 'a smaller case, worked out: check("{id}", hint=3)',
    3: "",
}


@dataclass(frozen=True, repr=False)
class Verdict(Shown):
    """What an answer meets.

    Attributes:
        exercise: which exercise.
        title: what it is about.
        expectations: tick or cross for each.
        hint: what helps on; empty when nothing is needed.
        more: how to ask for more help.
    """

    exercise: str
    title: str
    expectations: tuple[Expectation, ...]
    hint: str = ""
    more: str = ""

    @property
    def met(self) -> bool:
        """Whether every expectation is met."""
        return all(item.met for item in self.expectations)

    def __str__(self) -> str:
        lines = [self._head, *(f"  {_sign(item)} {item.name}{_detail(item)}" for item in self.expectations)]
        lines += [f"  Hint: {self.hint}"] if self.hint else []
        return "\n".join([*lines, *([f"  ({self.more})"] if self.more else [])])

    def html(self) -> str:
        """Return the expectations as a list; sign and word say it, colour only supports them."""
        lines = "".join(f'<li style="list-style:none">{_line(item)}</li>' for item in self.expectations)
        style = "white-space:pre-wrap"
        hint = f'<p><strong>Hint:</strong></p><pre style="{style}">{escape(self.hint)}</pre>' if self.hint else ""
        more = f"<p><small>{escape(self.more)}</small></p>" if self.more else ""
        return f"<div><p><strong>{escape(self._head)}</strong></p><ul>{lines}</ul>{hint}{more}</div>"

    @property
    def _head(self) -> str:
        n_met = sum(item.met for item in self.expectations)
        state = "solved" if self.met else "not solved yet"
        return f"{self.exercise} ({self.title}): {state}, {n_met} of {len(self.expectations)}"


def check(exercise: str, *, hint: int = 0, names: Mapping[str, Any] | None = None, seed: int = 0) -> Verdict:
    """Say what the answer to an exercise meets.

    Args:
        exercise: its id, such as `m04.dice`.
        hint: 0 gives the first hint only when something is not met; 1, 2, 3 ask for a hint: the idea, the line, a
            smaller case worked out.
        names: where the learner's names are; without it, the notebook.
        seed: from which the case is drawn.

    Raises:
        UsageError: there is no such exercise, or no such hint; not inside a workspace.
        DataError: data or a run that the exercise is judged by are not there.
    """
    if hint not in ADVICE:
        raise UsageError(f"hint={hint!r}: hints are 1, 2 and 3.")
    found = lessons.find(exercise)
    root = Workspace.find(Path.cwd()).root
    mine = _notebook() if names is None else names
    try:
        expectations = tuple(examine(found, mine, root, seed))
    except (OSError, DataError) as error:  # not of the learner's code
        lesson = found.id.partition(".")[0]
        raise DataError(
            f"{found.id} cannot be judged: {error}", f"In a terminal, run: ai4diag course catch-up {lesson}"
        ) from None
    if trouble := note(root, found.id, expectations, hint):
        warnings.warn(trouble, stacklevel=2)
    solved = all(item.met for item in expectations)
    level = hint or (0 if solved else 1)
    text = (*found.hints, found.worked)[level - 1] if level else ""
    more = "" if solved and not hint else ADVICE[level].format(id=exercise)
    return Verdict(exercise, found.title, expectations, text, more)


def examine(exercise: Exercise, names: Mapping[str, Any], root: Path, seed: int) -> list[Expectation]:
    """Draw a case, ask the learner's names, judge the answer, all in this process."""
    given = exercise.draw(np.random.default_rng(seed), root)
    return read(exercise, given, *ask(exercise, names, encode(given)), root)


def _notebook() -> Mapping[str, Any]:
    shell = getattr(builtins, "get_ipython", lambda: None)()
    if shell is None:
        raise UsageError("check() looks for your names in the notebook, and there is none.", "Call it in JupyterLab.")
    names: Mapping[str, Any] = shell.user_ns
    return names


def _sign(item: Expectation) -> str:
    return "✓" if item.met else "✗"


def _line(item: Expectation) -> str:
    colour, word = ("#1a7f37", "met") if item.met else ("#b42318", "not met")
    sign = f'<strong aria-hidden="true" style="color:{colour}">{_sign(item)}</strong>'
    return f"{sign} <em>{word}</em>: {escape(item.name)}{escape(_detail(item))}"


def _detail(item: Expectation) -> str:
    words = [f"found {item.found}"] if item.found else []
    words += [f"expected {item.expected}"] if item.expected and not item.met else []
    return f" ({'; '.join(words)})" if words else ""
