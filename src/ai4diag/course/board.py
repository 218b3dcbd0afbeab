"""Who works at what, and who is stuck: the lines of `progress` as one page that opens offline.

The files come from learners' machines: sizes are limited, each line is read on its own, what cannot be one is counted
and left out, and every text is escaped.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ai4diag.course import lessons
from ai4diag.course.progress import PSEUDONYM
from ai4diag.course.untrusted import opened
from ai4diag.errors import ConfigError, UsageError

STUCK = timedelta(minutes=8)
"""From so long after a first attempt without success, somebody is stuck."""
AWAY = timedelta(hours=2)
"""After so long without any attempt, somebody is away."""
MOST_LEARNERS = 500
MOST_BYTES = 500_000
"""Of a file; its end is read."""
LONGEST_LINE = 2000
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
MOST_MET = 1000


@dataclass(frozen=True)
class Attempt:
    """One line.

    Attributes:
        exercise: id.
        met: expectations that were met.
        total: expectations.
        hint: that was asked for; 0: none.
        time: when, UTC.
    """

    exercise: str
    met: int
    total: int
    hint: int
    time: datetime

    @property
    def solved(self) -> bool:
        """Whether everything was met."""
        return self.met == self.total


@dataclass
class Learner:
    """All attempts of a learner, in the order of their time.

    Attributes:
        name: the pseudonym.
        attempts: what was tried.
        damaged: number of lines that could not be read.
    """

    name: str
    attempts: list[Attempt] = field(default_factory=list)
    damaged: int = 0

    def at(self, exercise: str) -> list[Attempt]:
        """Return the attempts at one exercise."""
        return [item for item in self.attempts if item.exercise == exercise]

    def struggle(self) -> list[Attempt]:
        """Return the attempts since the latest success, at exercises that were not solved before."""
        done = {item.exercise for item in self.attempts if item.solved}
        last = max((number for number, item in enumerate(self.attempts) if item.solved), default=-1)
        return [item for item in self.attempts[last + 1 :] if item.exercise not in done]

    def state(self, now: datetime) -> tuple[str, int]:
        """Return `stuck`, `working` or `away`, and for how many minutes there was no success, or no attempt."""
        if not self.attempts or now - self.attempts[-1].time > AWAY:
            return "away", 0
        tried = self.struggle()
        waited = now - tried[0].time if tried else timedelta()
        return ("stuck" if waited > STUCK else "working"), int(waited.total_seconds() // 60)


def read(folder: Path, known: Mapping[str, Sequence[str]], now: datetime) -> list[Learner]:
    """Read the files of a folder, one for each learner.

    Args:
        folder: with `<pseudonym>.jsonl`.
        known: lesson to its exercises; lines on others count as damaged.
        now: lines of later times count as damaged.

    Raises:
        UsageError: there is no such folder, or it has no such files.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder.", "Name the folder that learners share into.")
    paths = sorted(path for path in folder.glob("*.jsonl") if PSEUDONYM.fullmatch(path.stem))[:MOST_LEARNERS]
    if not paths:
        raise UsageError(f"{folder} has no progress (*.jsonl).", "Learners turn it on with `ai4diag course share`.")
    every = {exercise for names in known.values() for exercise in names}
    found = []
    for path in paths:
        learner = Learner(path.stem)
        for line in _lines(path):
            attempt = _attempt(line, every, now)
            if attempt is None:
                learner.damaged += 1
            else:
                learner.attempts.append(attempt)
        learner.attempts.sort(key=lambda item: item.time)
        found.append(learner)
    return found


def known() -> dict[str, list[str]]:
    """Return every lesson and its exercises, in order."""
    return {lesson: [item.id for item in lessons.exercises(lesson)] for lesson in lessons.known()}


def render(learners: Sequence[Learner], known: Mapping[str, Sequence[str]], now: datetime) -> str:
    """Return the page; the same arguments give the same bytes.

    Stuck learners stand first, the longest before all; so does the lesson that was tried last.
    """
    order = {"stuck": 0, "working": 1, "away": 2}
    placed = sorted(learners, key=lambda item: (order[item.state(now)[0]], -item.state(now)[1], item.name))
    attempts = sorted((item for learner in learners for item in learner.attempts), key=lambda item: item.time)
    tried = list(dict.fromkeys(item.exercise.partition(".")[0] for item in reversed(attempts)))
    environment = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(_resource("ai4diag.course", "board.html")).render(
        css=Markup(_resource("ai4diag.evaluation.report", "report.css")),  # noqa: S704 - our own file
        now=now.strftime("%Y-%m-%d %H:%M UTC"),
        people=[_person(learner, now) for learner in placed],
        stuck=[_person(learner, now) for learner in placed if learner.state(now)[0] == "stuck"],
        lessons=[
            {
                "id": lesson,
                "exercises": [name.partition(".")[2] for name in names],
                "rows": [
                    {**_person(learner, now), "cells": [_cell(learner.at(name)) for name in names]}
                    for learner in placed
                    if any(learner.at(name) for name in names)
                ],
            }
            for lesson, names in ((lesson, known[lesson]) for lesson in tried)
        ],
        damaged=sum(learner.damaged for learner in learners),
        minutes=int(STUCK.total_seconds() // 60),
        hours=int(AWAY.total_seconds() // 3600),
    )


def _person(learner: Learner, now: datetime) -> dict[str, Any]:
    state, minutes = learner.state(now)
    tried = learner.struggle()
    last = learner.attempts[-1] if learner.attempts else None
    return {
        "name": learner.name,
        "state": state,
        "minutes": minutes,
        "said": f"stuck for {minutes} min" if state == "stuck" else state,
        "exercise": tried[-1].exercise if tried else "",
        "attempts": _times(len(tried)),
        "hint": max((item.hint for item in tried), default=0),
        "solved": len({item.exercise for item in learner.attempts if item.solved}),
        "seen": last.time.strftime("%H:%M") if last else "never",
    }


def _cell(attempts: Sequence[Attempt]) -> dict[str, str]:
    """Return what stands in a cell: a kind for its colour, a sign, words."""
    if not attempts:
        return {"kind": "none", "sign": "\N{EN DASH}", "said": "not tried", "more": ""}
    hint = max(item.hint for item in attempts)
    solved = next((number for number, item in enumerate(attempts, 1) if item.solved), 0)
    more = _times(solved or len(attempts)) + (f", hint {hint}" if hint else "")
    if solved:
        return {"kind": "done", "sign": "✓", "said": "solved", "more": more}
    best = max(attempts, key=lambda item: item.met / item.total)
    return {"kind": "open", "sign": "✗", "said": f"{best.met} of {best.total}", "more": more}


def _times(number: int) -> str:
    return f"{number} attempt" + "s" * (number != 1)


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of the end of a file; none of what is no file."""
    with suppress(ConfigError), opened(path) as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - MOST_BYTES))
        yield from (line for line in stream.read(MOST_BYTES).split(b"\n") if line.strip())


def _attempt(line: bytes, every: set[str], now: datetime) -> Attempt | None:
    """Read a line; None when it cannot be one."""
    try:
        if len(line) > LONGEST_LINE:
            return None
        found = json.loads(line)
        met, total, hint = (found[key] for key in ("met", "total", "hint"))
        if not TIME.fullmatch(found["time"]):
            return None
        time = datetime.fromisoformat(found["time"])
        numbers = all(type(number) is int for number in (met, total, hint))
        fits = numbers and 0 <= met <= total <= MOST_MET and total > 0 and 0 <= hint <= 3
        if not fits or found["exercise"] not in every or time > now + timedelta(minutes=5):
            return None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return Attempt(found["exercise"], met, total, hint, time)


def _resource(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")
