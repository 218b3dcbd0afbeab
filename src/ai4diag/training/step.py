"""One step of the optimizer: the losses of a batch, their gradients, what is done when memory or numbers give out."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any

import torch

from ai4diag.config.train import Train
from ai4diag.data.prepared import Prepared
from ai4diag.errors import TrainingError
from ai4diag.tasks.base import NetworkLearner, Notify
from ai4diag.tasks.memory import out_of_memory, release
from ai4diag.tasks.prefetch import Prefetch
from ai4diag.training.failures import RandomState, Step, Watch, keep_batch, not_finite
from ai4diag.training.probe import Choice, use
from ai4diag.training.ranks import Ranks
from ai4diag.training.schedule import parts_of
from ai4diag.training.weights import AdamW, Average

Losses = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Read:
    """What a learner read ahead for a batch, and the state of the generator before."""

    state: torch.Tensor
    item: Any


class Stepper:
    """Moves the weights of a learner's network.

    Args:
        learner: placed on the device.
        prepared: the cases, to name those of a failed batch.
        settings: the `train` block.
        notify: told of `out_of_memory`.
        choice: precision.
        ranks: the processes that share the work.
        failed_batch: stem of the files for a failed batch, or None.

    Attributes:
        parts: in how many parts a batch is computed.
        halved: whether memory ran out once.
        notes: what was changed to go on, in words; whoever reports them clears the list.
    """

    def __init__(
        self,
        learner: NetworkLearner,
        prepared: Prepared,
        settings: Train,
        notify: Notify,
        choice: Choice,
        ranks: Ranks,
        failed_batch: Path | None,
    ) -> None:
        self.learner, self.prepared, self.settings, self.notify = learner, prepared, settings, notify
        self.ranks, self.failed_batch = ranks, failed_batch
        network = learner.network
        self.device, self.choice, self.precision = next(network.parameters()).device, choice, choice.precision
        self.optimizer = AdamW([p for p in network.parameters() if p.requires_grad], settings.weight_decay)
        self.average = Average(network, settings.ema)
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.watch = Watch(self.device)
        self.parts, self.halved, self.notes = settings.accumulate, False, list[str]()
        self._takes_share = takes_share(learner)

    def batches(self, order: torch.Tensor, steps: int) -> Iterable[tuple[torch.Tensor, Read | None]]:
        """Divide an epoch into nearly equal batches; a learner that can read ahead does so in a thread."""
        rows = torch.tensor_split(order, steps)
        if not hasattr(self.learner, "read") or self.ranks.size > 1:
            return zip(rows, repeat(None), strict=False)
        return Prefetch(self._read, rows)

    def _read(self, batch: torch.Tensor) -> Read:
        state = self.generator.get_state()
        return Read(state, self.learner.read(batch, self.generator))  # type: ignore[attr-defined]

    def step(self, number: int, epoch: int, batch: torch.Tensor, rate: float, read: Read | None = None) -> Losses:
        """Move the weights once; return the losses of the batch.

        Args:
            number: of the step, from 0, over the whole training.
            epoch: from 0.
            batch: rows of the prepared index, int64 `(cases,)`.
            rate: learning rate.
            read: what was read ahead for this batch.

        Raises:
            TrainingError: a loss is not finite, or memory ran out twice.
        """
        random = RandomState.now(self.generator, self.device)
        if read is not None:
            random = replace(random, order=read.state)
        self.optimizer.forget()
        losses = self._gradients(number, epoch, batch, random, read)
        self._stop_at(self.watch.see(Step(epoch + 1, number + 1, batch, random, losses)))
        if self.settings.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.learner.network.parameters(), self.settings.gradient_clip)
        self.optimizer.step(rate, self.watch.spoilt)
        self.average.update(number)
        return losses

    def look(self) -> None:
        """Stop when a step since the last look went wrong."""
        self._stop_at(self.watch.look())

    def _gradients(
        self, number: int, epoch: int, batch: torch.Tensor, random: RandomState, read: Read | None
    ) -> Losses:
        """Add up the gradients of a batch; return its losses. When memory runs out, once more in halves."""
        try:
            return self._computed(number, batch, random, read)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        self._halve(epoch, batch)
        random.restore(self.generator if read is None else None, self.device)  # the reading thread is ahead of us
        self.optimizer.forget()
        try:
            return self._computed(number, batch, random, read)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        raise self._memory_error(epoch, batch)

    def _computed(self, number: int, batch: torch.Tensor, random: RandomState, read: Read | None) -> Losses:
        """Add up the gradients of the parts of a batch; return the mean of their losses."""
        if self.parts == self.ranks.size == 1:
            with casting(self.device, self.precision):
                losses = self._whole(batch, read)
            losses["loss"].backward()  # type: ignore[no-untyped-call]
            return {name: loss.detach() for name, loss in losses.items()}
        totals: Losses = {}
        own = parts_of(len(batch), self.ranks.size)[self.ranks.rank]
        source = self.ranks.source(self.generator, self._takes_share, self.settings.seed, number)
        source = source if read is None else torch.Generator()
        for part in parts_of(own.stop - own.start, self.parts):
            part = slice(own.start + part.start, own.start + part.stop)
            with casting(self.device, self.precision):
                losses = self._loss_of(part, batch, random, source)
            share = (part.stop - part.start) / len(batch)
            (losses["loss"] * share).backward()
            for name, loss in losses.items():
                totals[name] = totals.get(name, torch.zeros_like(loss)) + loss.detach() * share
        return self.ranks.add_up(self.optimizer.parameters, totals)

    def _whole(self, batch: torch.Tensor, read: Read | None) -> Losses:
        if read is None:
            return self.learner.loss(batch, self.generator)
        found: Losses = self.learner.loss_of(read.item)  # type: ignore[attr-defined]
        return found

    def _loss_of(self, part: slice, batch: torch.Tensor, random: RandomState, source: torch.Generator) -> Losses:
        """Return the losses of a part of a batch, with the random numbers it has in the whole one where possible."""
        if not self._takes_share:
            return self.learner.loss(batch[part], source)
        source.set_state(random.order)
        return self.learner.loss(batch, source, share=part)  # type: ignore[call-arg]

    def _halve(self, epoch: int, batch: torch.Tensor) -> None:
        """Compute batches in twice as many parts from now on, once per training."""
        if self.halved or self.parts >= len(batch) or self.ranks.size > 1:
            raise self._memory_error(epoch, batch)
        self.parts, self.halved = self.parts * 2, True
        use(self.learner.network, self.choice, self.parts)
        note = f"memory ran out: batches of {len(batch)} are computed in {self.parts} parts from here on"
        self.notes.append(note)
        self.notify("out_of_memory", {"epoch": epoch + 1, "cases": len(batch), "parts": self.parts, "note": note})
        release()

    def _memory_error(self, epoch: int, batch: torch.Tensor) -> TrainingError:
        cases = -(-len(batch) // (self.parts * self.ranks.size))
        return TrainingError(
            f"Memory ran out in epoch {epoch + 1} with {cases} cases at once, a batch of {len(batch)} in "
            f"{self.parts} parts.",
            f"Set train.accumulate: {min(2 * self.parts, len(batch))} or more, lower train.batch_size, or make the "
            "window or the network smaller.",
        )

    def _stop_at(self, step: Step | None) -> None:
        """End the training when a step went wrong."""
        if step is None:
            return
        kept = None
        if self.failed_batch is not None and self.ranks.rank == 0:
            facts = {"seed": self.settings.seed, "parts": self.parts, "precision": str(self.precision)}
            kept = keep_batch(self.failed_batch, step, self.learner.network, self.prepared.index, facts)
        raise not_finite(step, kept)


def takes_share(learner: NetworkLearner) -> bool:
    """Return whether a learner's loss knows how to compute a part of a batch (`ai4diag.tasks.base`)."""
    return "share" in inspect.signature(learner.loss).parameters


def casting(device: torch.device, precision: torch.dtype) -> AbstractContextManager[Any]:
    """Return the context in which a loss is computed."""
    return nullcontext() if precision == torch.float32 else torch.autocast(device.type, precision)
