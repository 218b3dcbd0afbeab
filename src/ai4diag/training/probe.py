"""Precision, memory order and compilation, chosen by timing a few steps of this network with its own loss.

Belief does not help here: on the same CPU bfloat16 made a 3D U-Net almost four times faster and a small ResNet slower
(docs/LOG.md). Weights, buffers, gradients and random states are put back afterwards: a probe has no effect but its
choice.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from ai4diag.config.train import Train
from ai4diag.tasks.base import NetworkLearner
from ai4diag.tasks.memory import out_of_memory, release
from ai4diag.training.device import choose_precision
from ai4diag.training.failures import RandomState
from ai4diag.training.weights import copy

BUDGET_S = 2.0
"""Time for one comparison, in which each way has at least one step; its first, which may compile, is not counted."""
MOST_ROUNDS = 20
LEAST_GAIN = 1.05
"""How many times faster a candidate must be to be worth leaving the plain way."""
LARGEST_ERROR = 0.05
"""How far the loss of a candidate may be from that of float32."""


@dataclass(frozen=True)
class Choice:
    """How steps are computed."""

    precision: torch.dtype = torch.float32
    channels_last: bool = False
    compiled: bool = False

    def words(self) -> dict[str, str]:
        """Return it for events and records."""
        return {
            "precision": str(self.precision).removeprefix("torch."),
            "memory_format": "channels_last" if self.channels_last else "contiguous",
            "compile": "on" if self.compiled else "off",
        }

    @classmethod
    def from_words(cls, words: Mapping[str, str]) -> Choice:
        """Return the choice that `words` describes."""
        precision = getattr(torch, words["precision"])
        return cls(precision, words["memory_format"] == "channels_last", words["compile"] == "on")

    def __str__(self) -> str:
        words = self.words()
        return f"{words['precision']}, {words['memory_format']}, {'compiled' if self.compiled else 'not compiled'}"


def wanted(settings: Train) -> bool:
    """Return whether the recipe asks for a probe."""
    return "probe" in (settings.precision, settings.compile)


def choose(
    learner: NetworkLearner, batch: torch.Tensor, settings: Train, device: torch.device, parts: int = 1
) -> tuple[Choice, dict[str, float]]:
    """Return the fastest way to compute steps, and the seconds per step of each way that was tried.

    Args:
        learner: placed on the device.
        batch: rows of a whole batch, on the CPU; of it `1 / parts` is computed.
        settings: the `train` block.
        device: where.
        parts: in how many parts batches are computed.
    """
    probe = _Probe(learner, batch[: -(-len(batch) // parts)], settings.seed, device, parts)
    plain = Choice(choose_precision(device, settings.precision))
    try:
        best = plain
        if settings.precision == "probe":
            best = probe.better(best, replace(best, precision=torch.bfloat16))
            if device.type == "cuda" and any(p.ndim == 4 for p in learner.network.parameters()):
                best = probe.better(best, replace(best, channels_last=True))
        if settings.compile == "probe":
            best = probe.better(best, replace(best, compiled=True))
    finally:
        probe.put_back()
    return best, probe.seconds


def use(network: torch.nn.Module, choice: Choice, parts: int = 1) -> None:
    """Order and compile a network as chosen; precision is the loop's part.

    CUDA graphs (`reduce-overhead`) write the gradients of each part of a batch to the same memory, so that they could
    not be added up: with several parts the network is compiled without.
    """
    if choice.channels_last:
        order(network, torch.channels_last)
    if choice.compiled:
        graphs = parts == 1 and next(network.parameters()).device.type == "cuda"
        network.compile(mode="reduce-overhead" if graphs else "default")
    else:
        network._compiled_call_impl = None


def order(network: torch.nn.Module, memory_format: torch.memory_format) -> None:
    """Put the weights of 2D convolutions into a memory order."""
    for parameter in network.parameters():
        if parameter.ndim == 4 and not parameter.is_contiguous(memory_format=memory_format):
            parameter.data = parameter.data.contiguous(memory_format=memory_format)


class _Probe:
    """Times ways to compute the same batch."""

    def __init__(
        self, learner: NetworkLearner, batch: torch.Tensor, seed: int, device: torch.device, parts: int
    ) -> None:
        self.learner, self.batch, self.device, self.parts = learner, batch, device, parts
        self.generator = torch.Generator().manual_seed(seed)
        self.random, self.before = RandomState.now(self.generator, device), copy(learner.network.state_dict())
        self.channels_last = any(
            p.ndim == 4 and p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous()
            for p in learner.network.parameters()
        )
        self.seconds: dict[str, float] = {}
        learner.network.train()

    def better(self, now: Choice, other: Choice) -> Choice:
        """Return the faster of two; the present one unless the other gains enough and gives nearly the same loss."""
        times: dict[Choice, list[float]] = {now: [], other: []}
        losses: dict[Choice, float] = {}
        try:
            for choice in (now, other):  # the first of each prepares kernels, and compiles
                losses[choice], _ = self._once(choice)
            end = time.perf_counter() + BUDGET_S
            while not times[other] or (time.perf_counter() < end and len(times[other]) < MOST_ROUNDS):
                for choice, seconds in times.items():
                    seconds.append(self._once(choice)[1])
        except Exception as error:  # whatever a backend or a compiler cannot do, the plain way can
            if out_of_memory(error):
                release()
            return now
        medians = {choice: statistics.median(seconds) for choice, seconds in times.items()}
        self.seconds |= {str(choice): seconds for choice, seconds in medians.items()}
        near = abs(losses[other] - losses[now]) <= LARGEST_ERROR * abs(losses[now])
        gains = medians[now] >= LEAST_GAIN * medians[other]
        return other if gains and near and math.isfinite(losses[other]) else now

    def _once(self, choice: Choice) -> tuple[float, float]:
        """Compute loss and gradients one way; return the loss and the seconds."""
        network: Any = self.learner.network
        self._order(choice.channels_last)
        if choice.compiled != (network._compiled_call_impl is not None):
            use(network, choice, self.parts)
        self.random.restore(self.generator, self.device)
        for parameter in network.parameters():
            parameter.grad = None
        self._wait()
        start = time.perf_counter()
        with torch.autocast(self.device.type, choice.precision, enabled=choice.precision != torch.float32):
            loss = self.learner.loss(self.batch, self.generator)["loss"]
        loss.backward()  # type: ignore[no-untyped-call]
        self._wait()
        return loss.item(), time.perf_counter() - start

    def _order(self, channels_last: bool) -> None:
        if self.device.type == "cuda":
            last = channels_last or self.channels_last
            order(self.learner.network, torch.channels_last if last else torch.contiguous_format)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def put_back(self) -> None:
        """Leave everything as it was found."""
        network: Any = self.learner.network
        network._compiled_call_impl = None
        self._order(False)
        for parameter in network.parameters():
            parameter.grad = None
        network.load_state_dict(self.before)
        self.random.restore(self.generator, self.device)
