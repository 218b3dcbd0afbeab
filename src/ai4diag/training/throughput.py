"""How fast a training was and where its time went, for less than a hundredth of it.

A step is not told apart from its data by asking the clock in every one: of every sixteenth the moment is taken at which
the network is first called. What lies before is data (gathering, augmentation), what follows is the step.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

EVERY = 16
"""Steps of which one is looked at."""
KINDS = ("data", "step", "validation", "checkpoint")


class Meter:
    """Measures a training.

    Args:
        network: the one that is trained.
        device: where.
    """

    def __init__(self, network: torch.nn.Module, device: torch.device) -> None:
        self._network: Any = network
        self._cuda = device.type == "cuda"
        self._cases = 0
        self._seconds = {"epochs": 0.0, "validation": 0.0, "checkpoint": 0.0}
        self._seen: list[list[Any]] = []
        self._data = self._whole = self._idle = 0.0
        self._start, self._cpu = time.perf_counter(), time.process_time()

    @contextmanager
    def timing(self, kind: str) -> Iterator[None]:
        """Count the time inside as `epochs`, `validation` or `checkpoint`."""
        start = time.perf_counter()
        yield
        self._seconds[kind] += time.perf_counter() - start

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look at the step inside."""
        if self._network._compiled_call_impl is not None:  # a hook would make it compile again
            yield
            return
        moments = [self._now()]
        hook = self._network.register_forward_pre_hook(
            lambda *_: moments.append(self._now()) if len(moments) == 1 else None
        )
        try:
            yield
        finally:
            hook.remove()
        moments.append(self._now())
        if len(moments) == 3:
            self._seen.append(moments)

    def follow(self) -> None:
        """The step after one that was looked at begins: how long did a GPU wait for it?"""
        if self._cuda and self._seen:
            self._seen[-1].append(self._now())

    def epoch(self, cases: int) -> None:
        """An epoch is over, and the device has done its work."""
        self._cases += cases
        for begin, called, end, *following in self._seen:
            self._data += self._between(begin, called)
            self._whole += self._between(begin, end)
            self._idle += sum(self._between(end, moment) for moment in following)
        self._seen.clear()

    def result(self) -> dict[str, float]:
        """Return `samples_per_s`, the seconds of data, step, validation and checkpoint, and the busy share."""
        share = self._data / self._whole if self._whole else 0.0
        epochs = self._seconds["epochs"]
        found = {"samples_per_s": self._cases / epochs if epochs else 0.0}
        found |= {"data_s": epochs * share, "step_s": epochs * (1 - share)}
        found |= {f"{kind}_s": self._seconds[kind] for kind in ("validation", "checkpoint")}
        return found | {"busy": self._busy()}

    def _busy(self) -> float:
        """Return the share of the time in which the device worked; see docs/reference/events.md."""
        wall = time.perf_counter() - self._start
        if self._cuda:
            working = self._whole / (self._whole + self._idle) if self._whole else 0.0
            return working * self._seconds["epochs"] / wall
        return min(1.0, (time.process_time() - self._cpu) / (wall * torch.get_num_threads()))

    def _now(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def _between(self, one: Any, two: Any) -> float:
        return float(one.elapsed_time(two)) / 1000 if self._cuda else float(two - one)
