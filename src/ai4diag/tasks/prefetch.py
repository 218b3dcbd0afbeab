"""Reading ahead: what comes next is read in a thread while the present is computed with."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key")
Item = TypeVar("Item")
WAIT_S = 0.1
"""How often the thread looks whether anybody still wants what it read."""


class Prefetch(Generic[Key, Item]):
    """Gives `(key, read(key))` for each key in order, read in one thread and a few keys ahead.

    One thread, so that whatever `read` draws comes in the order of the keys: the numbers are those of a plain loop. For
    crops out of memory maps and files that are unpacked, which let other threads run meanwhile; it gains nothing where
    cases are in memory already. An error of `read` is raised where its item would have come.

    Args:
        read: returns the item of a key; called from the thread alone.
        keys: in the order wanted.
        ahead: items that may wait.

    >>> list(Prefetch(lambda row: row * row, [1, 2, 3]))
    [(1, 1), (2, 4), (3, 9)]
    """

    def __init__(self, read: Callable[[Key], Item], keys: Iterable[Key], ahead: int = 2) -> None:
        self._read, self._keys, self._ahead = read, keys, ahead

    def __iter__(self) -> Iterator[tuple[Key, Item]]:
        """Start reading; leaving the loop early ends the thread."""
        self._ready: queue.Queue[tuple[Key, Item] | BaseException | None] = queue.Queue(maxsize=self._ahead)
        self._left = threading.Event()
        thread = threading.Thread(target=self._work, name="ai4diag-prefetch", daemon=True)
        thread.start()
        try:
            while (found := self._ready.get()) is not None:
                if isinstance(found, BaseException):
                    raise found
                yield found
        finally:
            self._left.set()
            thread.join()

    def _work(self) -> None:
        try:
            for key in self._keys:
                if not self._offer((key, self._read(key))):
                    return
        except BaseException as error:  # raised again where it is waited for
            self._offer(error)
        else:
            self._offer(None)

    def _offer(self, item: tuple[Key, Item] | BaseException | None) -> bool:
        """Hand an item over; return False when nobody wants it any more."""
        while not self._left.is_set():
            try:
                self._ready.put(item, timeout=WAIT_S)
            except queue.Full:
                continue
            return True
        return False
