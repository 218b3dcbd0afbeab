"""Tell another process how far the stages are: lines of JSON in the file that `AI4DIAG_EVENTS` names.

A notebook that runs a pipeline in a process of its own draws its bars from them (`ai4diag.lab.execution`). Without the
variable nothing is written. A line holds `stage`, `event` and what belongs to it: `begin`, `end` with `how`, and the
events of docs/reference/events.md whose fields are counts or words.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from ai4diag.errors import GateError
from ai4diag.tasks.base import Notify

FILE = "AI4DIAG_EVENTS"
"""Environment variable with the path of the file."""
AT_MOST_EVERY_S = 0.2
"""Seconds between two lines about steps."""
TOLD = {
    "fold": ("fold", "folds"),
    "step": ("step", "steps"),
    "epoch": ("epoch", "epochs", "loss"),
    "file": ("done", "total"),
    "resumed": ("epoch",),
}
"""Events that are told, and which of their fields."""
Given = ParamSpec("Given")
Result = TypeVar("Result")


def told(stage: str) -> Callable[[Callable[Given, Result]], Callable[Given, Result]]:
    """Make a stage tell when it begins, how far it is (if it takes a `notify`), and how it ended."""

    def wrap(function: Callable[Given, Result]) -> Callable[Given, Result]:
        @functools.wraps(function)
        def run(*given: Given.args, **named: Given.kwargs) -> Result:
            if FILE not in os.environ:
                return function(*given, **named)
            teller = _Teller(Path(os.environ[FILE]), stage)
            teller.tell("begin")
            if "notify" in named:
                named["notify"] = teller.beside(cast(Notify, named["notify"]))
            how = "failed"
            try:
                result = function(*given, **named)
                how = "done"
                return result
            except GateError:
                how = "release gate not met"
                raise
            except KeyboardInterrupt:
                how = "stopped"
                raise
            finally:
                teller.tell("end", how=how)

        return run

    return wrap


class _Teller:
    """Writes what happens in one stage."""

    def __init__(self, path: Path, stage: str) -> None:
        self._path, self._stage, self._last = path, stage, -AT_MOST_EVERY_S

    def tell(self, event: str, **fields: Any) -> None:
        """Add one line; whole lines only, as two processes may write."""
        line = json.dumps({"stage": self._stage, "event": event, **fields}) + "\n"
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(line)

    def beside(self, notify: Notify) -> Notify:
        """Return an observer that tells, and hands on."""

        def both(name: str, fields: dict[str, Any]) -> None:
            notify(name, fields)
            now = time.monotonic()
            often = name == "step" and now - self._last < AT_MOST_EVERY_S and fields["step"] < fields["steps"]
            if name in TOLD and not often:
                self._last = now if name == "step" else self._last
                self.tell(name, **{key: fields[key] for key in TOLD[name] if key in fields})

        return both
