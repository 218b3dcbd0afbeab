"""Side-by-side measurements: `python -m benchmarks` lists them, `python -m benchmarks NAME` runs one, `all` all.

Each module `benchmarks/NAME.py` has a docstring that says what is compared, and `run()`, which returns rows. Both sides
must give the same answer, which is checked before anything is timed. They run in one process, in turn, on one thread
unless the row says otherwise; what is compared are medians of CPU time, so that a busy machine slows both alike.
"""

from __future__ import annotations

import gc
import math
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

ROUNDS = 7


class Seconds(float):
    """The median CPU seconds of one execution, which remembers its rounds.

    Attributes:
        rounds: CPU seconds of each round.
        wall: seconds by the clock of the fastest round.
    """

    rounds: tuple[float, ...]
    wall: float

    def __new__(cls, rounds: Sequence[float], wall: float) -> Seconds:
        """Make one from the CPU seconds of all rounds."""
        made = super().__new__(cls, statistics.median(rounds))
        made.rounds, made.wall = tuple(rounds), wall
        return made

    def times(self, factor: float) -> Seconds:
        """Return what `factor` executions take: for a peer that is measured on a part of the work, and says so."""
        return Seconds([factor * seconds for seconds in self.rounds], factor * self.wall)

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third quartile of the rounds."""
        if len(self.rounds) == 1:
            return self.rounds[0], self.rounds[0]
        first, _, third = statistics.quantiles(self.rounds, n=4, method="inclusive")
        return first, third


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        name: what is measured.
        peer: what it is compared with.
        ours_s, peer_s: median CPU seconds of one execution, `Seconds` where they come from `side_by_side`.
        goal: the ratio `peer_s / ours_s` to reach; 0.98 says: at most 2 % slower than the peer.
        versions: versions of what took part.
        note: what to know about how it was measured.
    """

    name: str
    peer: str
    ours_s: float
    peer_s: float
    goal: float
    versions: Mapping[str, str]
    note: str = ""

    @property
    def ratio(self) -> float:
        """How many times faster than the peer."""
        return self.peer_s / self.ours_s

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, the spread of both sides, the ratio, and whether the goal is reached."""
        fields = {
            **vars(self),
            "versions": dict(self.versions),
            "ratio": self.ratio,
            "reached": self.ratio >= self.goal,
        }
        for side in ("ours", "peer"):
            seconds = fields[f"{side}_s"]
            if isinstance(seconds, Seconds):
                fields[f"{side}_quartiles_s"] = list(seconds.quartiles)
                fields[f"{side}_fastest_by_clock_s"] = seconds.wall
                fields[f"{side}_rounds"] = len(seconds.rounds)
            fields[f"{side}_s"] = float(seconds)
        return fields


def side_by_side(
    ours: Callable[[], object], peer: Callable[[], object], rounds: int = ROUNDS
) -> tuple[Seconds, Seconds]:
    """Run both in turn, after one round that does not count; return the medians of their CPU seconds.

    Who goes first changes from round to round. Garbage is collected before each, not during it.
    """
    times: tuple[list[float], list[float]] = ([], [])
    wall = [math.inf, math.inf]
    for turn in range(rounds + 1):
        for side in ((0, 1), (1, 0))[turn % 2]:
            start = time.perf_counter()
            seconds = cpu_seconds((ours, peer)[side])
            if turn:
                times[side].append(seconds)
                wall[side] = min(wall[side], time.perf_counter() - start)
    return Seconds(times[0], wall[0]), Seconds(times[1], wall[1])


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


def repeat(work: Callable[[], object], times: int) -> Callable[[], None]:
    """Return what does the work several times, for work too short for the clock."""

    def again() -> None:
        for _ in range(times):
            work()

    return again


def bound(limit_s: float, work: Callable[[], object], rounds: int = 3) -> tuple[Seconds, Seconds]:
    """Measure work that has no peer but a limit; return it beside the limit."""
    taken, _ = side_by_side(work, lambda: None, rounds)
    return taken, Seconds([limit_s], limit_s)


def agree(ours: object, peer: object, tolerance: float = 1e-9) -> None:
    """Refuse to time two sides that do not give the same numbers.

    Raises:
        RuntimeError: they differ by more than the tolerance, absolute and relative.
    """
    import numpy as np

    first, second = np.asarray(ours, np.float64), np.asarray(peer, np.float64)
    if first.shape != second.shape or not np.allclose(first, second, tolerance, tolerance, equal_nan=True):
        raise RuntimeError(f"Both sides must give the same before they are timed; ours: {first}, peer: {second}.")


def _cpu_time_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def versions(*names: str) -> dict[str, str]:
    """Return the versions of installed distributions."""
    return {name: version(name) for name in ("ai4diag", *names)}
