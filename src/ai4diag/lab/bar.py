"""A progress bar that is still there when a notebook is saved, exported, or read aloud.

It is HTML and text in one output that is written anew (`display_id`), not a widget: what stands in the notebook when
it is saved is what a reader sees later. Without a notebook it writes lines.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from html import escape
from typing import Any, TypeVar

from ai4diag.shown import Shown

AT_MOST_EVERY_S = 0.2
"""Seconds between two updates of a bar in a notebook: five a second."""
LINE_S = 5.0
"""Seconds between two lines where there is no notebook."""
Item = TypeVar("Item")


class Bar(Shown):
    """How far something is.

    Args:
        text: what is being done.
        total: how many steps there are; None: not known.
    """

    def __init__(self, text: str, total: int | None = None) -> None:
        self.text, self.total, self.done, self.note = text, total, 0, ""
        self.ended = ""
        self._begin, self._shown, self._first = time.monotonic(), -LINE_S, 0
        self._seconds = 0.0
        self._handle: Any = None
        self._update(force=True)

    def update(self, done: int, *, total: int | None = None, note: str | None = None) -> None:
        """Say how many steps are done.

        Args:
            done: steps.
            total: how many there are, if that has become known.
            note: what to say beside it, such as a loss.
        """
        if total is not None and self.total is None:
            self._begin, self._first = time.monotonic(), done - 1  # what was done before is not timed
        self.done, self.total = done, self.total if total is None else total
        self.note = self.note if note is None else note
        self._update()

    def end(self, state: str = "done") -> None:
        """Say how it ended; this stays in the notebook.

        Args:
            state: `done`, `stopped`, `failed`, or other words.
        """
        if not self.ended:
            self.ended = state
            self._update(force=True)

    def _update(self, *, force: bool = False) -> None:
        now = time.monotonic()
        self._seconds = now - self._begin
        in_notebook = _in_notebook()
        if not force and now - self._shown < (AT_MOST_EVERY_S if in_notebook else LINE_S):
            return
        self._shown = now
        if not in_notebook:
            print(self, file=sys.stderr, flush=True)
        elif self._handle is None:
            from IPython.display import display

            self._handle = display(self, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(self)

    @property
    def share(self) -> float:
        """What is done of all, from 0 to 1; 1 when it ended well, 0 when the total is not known."""
        if self.ended == "done":
            return 1.0
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds that the rest takes at the speed so far; None when that cannot be said."""
        worked = self.done - self._first
        if not self.total or worked <= 0 or self.ended:
            return None
        return self._seconds * (self.total - self.done) / worked

    @property
    def _state(self) -> str:
        counted = f"{self.done:,} of {self.total:,}" if self.total else f"{self.done:,}" if self.done else ""
        note = [self.note] if self.note else []
        if self.ended:
            ended = f"{self.ended} at {counted}" if counted and self.ended != "done" else self.ended
            return ", ".join([ended, *([counted] if counted and self.ended == "done" else []), *note]) + (
                f" in {clock(self._seconds)}"
            )
        left = f"{clock(self.left_s)} left" if self.left_s is not None else "running"
        counted = f"{counted} ({100 * self.share:.0f} %)" if self.total else counted
        return ", ".join([*([counted] if counted else []), *note, left])

    def __str__(self) -> str:
        return f"{self.text}: {self._state}"

    def html(self) -> str:
        """Return a bar of text and two boxes; it needs no style sheet."""
        percent = f"{100 * self.share:.0f}"
        known = f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent}"' if self.total or self.ended else ""
        label = escape(str(self), quote=True)
        return (
            f'<div role="progressbar" aria-label="{label}" {known} '
            'style="display:inline-block;width:12em;height:0.8em;border:1px solid currentColor">'
            f'<div style="width:{percent}%;height:100%;background-color:#3b6ea5"></div></div> '
            f'<span style="overflow-wrap:anywhere">{escape(str(self))}</span>'
        )


def progress(items: Iterable[Item], text: str, total: int | None = None) -> Iterator[Item]:
    """Give the items one by one, under a bar that shows how many were worked on.

    Args:
        items: anything to loop over.
        text: what is being done.
        total: how many there are; None: `len(items)`, if it has one.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    bar = Bar(text, total)
    try:
        for number, item in enumerate(items, start=1):
            yield item
            bar.update(number)
    except BaseException:
        bar.end("stopped")
        raise
    bar.end()


def clock(seconds: float) -> str:
    """Return minutes and seconds.

    >>> clock(83.4)
    '1:23'
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _in_notebook() -> bool:
    """Whether there is a kernel to which a notebook listens."""
    if "IPython" not in sys.modules:
        return False
    from IPython.core.getipython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None
