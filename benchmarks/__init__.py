"""Side-by-side measurements: `python -m benchmarks` lists them, `python -m benchmarks NAME` runs one.

Each module `benchmarks/NAME.py` has a docstring that says what is compared, and `run()`, which returns rows. Both sides
run in one process, in turn, on one thread unless the module says otherwise; what is compared are medians of CPU time.
"""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

ROUNDS = 7


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        name: what is measured.
        peer: what it is compared with.
        ours_s, peer_s: median CPU seconds of one execution.
        goal: the ratio `peer_s / ours_s` to reach; 0.98 says: at most 2 % slower than the peer.
        versions: versions of what took part.
    """

    name: str
    peer: str
    ours_s: float
    peer_s: float
    goal: float
    versions: Mapping[str, str]

    @property
    def ratio(self) -> float:
        """How many times faster than the peer."""
        return self.peer_s / self.ours_s

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, the ratio, and whether the goal is reached."""
        return {**vars(self), "versions": dict(self.versions), "ratio": self.ratio, "reached": self.ratio >= self.goal}


def side_by_side(ours: Callable[[], object], peer: Callable[[], object], rounds: int = ROUNDS) -> tuple[float, float]:
    """Run both in turn, after one round that does not count; return the medians of their CPU seconds.

    Who goes first changes from round to round. Garbage is collected before each, not during it.
    """
    times: dict[int, list[float]] = {0: [], 1: []}
    for turn in range(rounds + 1):
        for side in ((0, 1), (1, 0))[turn % 2]:
            seconds = cpu_seconds((ours, peer)[side])
            if turn:
                times[side].append(seconds)
    return statistics.median(times[0]), statistics.median(times[1])


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of one execution, all threads and ended child processes together."""
    gc.collect()
    gc.disable()
    try:
        start = _cpu_time_s()
        work()
        return _cpu_time_s() - start
    finally:
        gc.enable()


def _cpu_time_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def versions(*names: str) -> dict[str, str]:
    """Return the versions of installed distributions."""
    return {name: version(name) for name in ("ai4diag", *names)}
