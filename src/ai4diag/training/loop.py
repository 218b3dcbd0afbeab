"""The one training loop: explicit, device-independent, resumable to the bit on a CPU.

What an epoch does is in `_epoch` and what a step does in `_step`; what is decided after an epoch (validation, early
stopping) in `_look`; everything that must survive a kill is in `_save`. The loop knows one `notify`; progress bars and
MLflow are observers.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from ai4diag.config.train import Train
from ai4diag.data.prepared import Fold, Prepared
from ai4diag.errors import TrainingError
from ai4diag.tasks.base import Learner, NetworkLearner, Notify, SelfFitting
from ai4diag.tasks.memory import out_of_memory, release
from ai4diag.training.checkpoint import read_checkpoint, write_checkpoint
from ai4diag.training.device import choose_device, choose_precision
from ai4diag.training.failures import RandomState, Step, Watch, keep_batch, not_finite
from ai4diag.training.schedule import learning_rate, parts_of
from ai4diag.training.weights import AdamW, Average, copy

CHECKPOINT_SECONDS = 10.0
"""A kill loses at most this much work, or one epoch if that is longer."""

SMALL = 20_000
"""Networks with fewer parameters are trained on one thread: handing the work out costs more than doing it."""

Losses = dict[str, torch.Tensor]


def fit(
    learner: Learner,
    prepared: Prepared,
    fold: Fold,
    settings: Train,
    notify: Notify,
    *,
    checkpoint: Path | None = None,
    fingerprint: str = "",
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    failed_batch: Path | None = None,
) -> list[dict[str, Any]]:
    """Fit a learner on the training part of a fold.

    Args:
        learner: a learner that fits itself, or a network.
        prepared: the cases.
        fold: rows to learn from and to validate on.
        settings: the `train` block of the recipe.
        notify: told of what happens (docs/reference/events.md).
        checkpoint: file to resume from if it is there, and to write to; None for neither.
        fingerprint: what the checkpoint must have been made from; another fingerprint starts anew.
        checkpoint_seconds: least time between two checkpoints.
        failed_batch: stem of the two files to which a batch with a loss that is no number is written; None for none.

    Returns:
        The `epoch` events in order, without times, so that equal runs give equal histories.

    Raises:
        TrainingError: the loss is not finite, memory ran out twice, or the checkpoint is damaged.
    """
    rows = np.sort(np.concatenate([getattr(fold, part) for part in settings.parts]))
    validation = fold.validation if "validation" not in settings.parts else np.empty(0, np.int64)
    if hasattr(learner, "fit"):
        history: list[dict[str, Any]] = []
        observed = _recording(history, notify)
        cast(SelfFitting, learner).fit(prepared, rows, validation, observed)
        return history
    with _deterministic():
        loop = _Loop(cast(NetworkLearner, learner), prepared, rows, validation, settings, notify, failed_batch)
        return loop.run(checkpoint, fingerprint, checkpoint_seconds)


class _Loop:
    """A training in progress."""

    def __init__(
        self,
        learner: NetworkLearner,
        prepared: Prepared,
        rows: np.ndarray,
        validation: np.ndarray,
        settings: Train,
        notify: Notify,
        failed_batch: Path | None,
    ) -> None:
        self.learner, self.prepared, self.settings, self.notify = learner, prepared, settings, notify
        self.rows, self.validation, self.failed_batch = torch.from_numpy(rows), validation, failed_batch
        self.device = choose_device()
        self.precision = choose_precision(self.device, settings.precision)
        torch.manual_seed(settings.seed)
        learner.place(prepared, rows, self.device)
        network = learner.network
        self.optimizer = AdamW([p for p in network.parameters() if p.requires_grad], settings.weight_decay)
        self.parameters = sum(p.numel() for p in self.optimizer.parameters)
        self.average = Average(network, settings.ema)
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.watch = Watch(self.device)
        self.steps_per_epoch = math.ceil(len(rows) / settings.batch_size)
        self.shares = "share" in inspect.signature(learner.loss).parameters
        self.parts, self.halved = settings.accumulate, False
        self.epoch = 0
        self.finished = False
        self.history: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.best_score, self.best_epoch = -math.inf, 0
        self.best: dict[str, torch.Tensor] = {}

    def run(self, checkpoint: Path | None, fingerprint: str, checkpoint_seconds: float) -> list[dict[str, Any]]:
        if checkpoint is not None and checkpoint.exists():
            self._resume(checkpoint, fingerprint)
        self.notify(
            "started",
            {
                "epochs": self.settings.epochs,
                "epoch": self.epoch,
                "cases": len(self.rows),
                "parameters": self.parameters,
                "device": str(self.device),
                "precision": str(self.precision).removeprefix("torch."),
            },
        )
        begin = time.perf_counter()
        with _threads(1 if self.parameters < SMALL else torch.get_num_threads()):
            self._train(checkpoint, fingerprint, checkpoint_seconds)
        self._keep()
        self.notify(
            "finished",
            {"epochs": self.epoch, "best_epoch": self.best_epoch, "seconds": time.perf_counter() - begin},
        )
        return self.history

    def _train(self, checkpoint: Path | None, fingerprint: str, checkpoint_seconds: float) -> None:
        """Run epochs until the last one, or until validation has not improved for long enough."""
        saved = time.perf_counter()
        while not self.finished:
            start = time.perf_counter()
            losses, rate = self._epoch()
            self.epoch += 1
            validation = self._look()
            event = {"epoch": self.epoch, **losses, "learning_rate": rate, "validation": validation}
            if self.notes:
                event["notes"], self.notes = self.notes, []
            self.history.append(event)
            self.finished = self.epoch >= self.settings.epochs or self._waited()
            self.notify("epoch", {**event, "epochs": self.settings.epochs, "seconds": time.perf_counter() - start})
            due = self.finished or time.perf_counter() - saved >= checkpoint_seconds
            if checkpoint is not None and due:
                self._save(checkpoint, fingerprint)
                saved = time.perf_counter()

    def _epoch(self) -> tuple[dict[str, float], float]:
        """One pass over the training rows in nearly equal batches; return the mean of each loss, and the last rate."""
        self.learner.network.train()
        order = self.rows[torch.randperm(len(self.rows), generator=self.generator)]
        steps, first = self.settings.epochs * self.steps_per_epoch, self.epoch * self.steps_per_epoch
        totals: Losses = {}
        for number, batch in enumerate(torch.tensor_split(order, self.steps_per_epoch)):
            step = first + number
            rate = learning_rate(step, steps, self.steps_per_epoch, self.settings)
            share = len(batch) / len(order)
            for name, loss in self._step(step, batch, rate).items():
                totals[name] = totals[name] + loss * share if name in totals else loss * share
            self.notify("step", {"step": step + 1, "steps": steps})
        self._stop_at(self.watch.look())
        return {name: float(total) for name, total in totals.items()}, rate

    def _step(self, step: int, batch: torch.Tensor, rate: float) -> Losses:
        """Move the weights once; return the losses of the batch."""
        random = RandomState.now(self.generator, self.device)
        self.optimizer.forget()
        losses = self._gradients(batch, random)
        self._stop_at(self.watch.see(Step(self.epoch + 1, step + 1, batch, random, losses)))
        if self.settings.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.learner.network.parameters(), self.settings.gradient_clip)
        self.optimizer.step(rate, self.watch.spoilt)
        self.average.update(step)
        return losses

    def _gradients(self, batch: torch.Tensor, random: RandomState) -> Losses:
        """Add up the gradients of a batch; return its losses. When memory runs out, once more in halves."""
        try:
            return self._computed(batch, random)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        self._halve(batch)
        random.restore(self.generator, self.device)
        self.optimizer.forget()
        try:
            return self._computed(batch, random)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        raise self._memory_error(batch)

    def _computed(self, batch: torch.Tensor, random: RandomState) -> Losses:
        """Add up the gradients of the parts of a batch; return the mean of their losses."""
        if self.parts == 1:
            with self._casting():
                losses = self.learner.loss(batch, self.generator)
            losses["loss"].backward()  # type: ignore[no-untyped-call]
            return {name: loss.detach() for name, loss in losses.items()}
        totals: Losses = {}
        for part in parts_of(len(batch), self.parts):
            with self._casting():
                losses = self._loss_of(part, batch, random)
            share = (part.stop - part.start) / len(batch)
            (losses["loss"] * share).backward()
            for name, loss in losses.items():
                totals[name] = totals.get(name, torch.zeros_like(loss)) + loss.detach() * share
        return totals

    def _loss_of(self, part: slice, batch: torch.Tensor, random: RandomState) -> Losses:
        """Return the losses of a part of a batch, with the random numbers it has in the whole one where possible."""
        if not self.shares:
            return self.learner.loss(batch[part], self.generator)
        self.generator.set_state(random.order)
        return self.learner.loss(batch, self.generator, share=part)  # type: ignore[call-arg]

    def _casting(self) -> AbstractContextManager[Any]:
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.precision)

    def _halve(self, batch: torch.Tensor) -> None:
        """Compute batches in twice as many parts from now on, once per training."""
        if self.halved or self.parts >= len(batch):
            raise self._memory_error(batch)
        self.parts, self.halved = self.parts * 2, True
        note = f"memory ran out: batches of {len(batch)} are computed in {self.parts} parts from here on"
        self.notes.append(note)
        self.notify("out_of_memory", {"epoch": self.epoch + 1, "cases": len(batch), "parts": self.parts, "note": note})
        release()

    def _memory_error(self, batch: torch.Tensor) -> TrainingError:
        return TrainingError(
            f"Memory ran out in epoch {self.epoch + 1} with {-(-len(batch) // self.parts)} cases at once, "
            f"a batch of {len(batch)} in {self.parts} parts.",
            f"Set train.accumulate: {min(2 * self.parts, len(batch))} or more, lower train.batch_size, or make the "
            "window or the network smaller.",
        )

    def _stop_at(self, step: Step | None) -> None:
        """End the training when a step went wrong."""
        if step is None:
            return
        kept = None
        if self.failed_batch is not None:
            facts = {"seed": self.settings.seed, "parts": self.parts, "precision": str(self.precision)}
            kept = keep_batch(self.failed_batch, step, self.learner.network, self.prepared.index, facts)
        raise not_finite(step, kept)

    def _look(self) -> dict[str, float]:
        """Validate when it is due; remember the best weights when they may be chosen."""
        if not len(self.validation) or (
            self.epoch % self.settings.validate_every and self.epoch != self.settings.epochs
        ):
            return {}
        with self._evaluated():
            figures = self.learner.score(self.prepared, self.validation)
        if self.settings.patience is not None and figures["score"] > self.best_score:
            self.best_score, self.best_epoch = figures["score"], self.epoch
            self.best = copy(self.average.state if self.settings.ema else self.learner.network.state_dict())
        return figures

    def _waited(self) -> bool:
        """Whether validation, if there is any, has not improved for long enough."""
        patience = self.settings.patience if len(self.validation) else None
        return patience is not None and self.epoch - self.best_epoch >= patience

    @contextmanager
    def _evaluated(self) -> Iterator[None]:
        """The network in evaluation mode with the averaged weights, if there are any."""
        network = self.learner.network
        kept = copy(network.state_dict()) if self.settings.ema else {}
        if self.settings.ema:
            network.load_state_dict(self.average.state)
        network.eval()
        with torch.inference_mode():
            yield
        if self.settings.ema:
            network.load_state_dict(kept)
        network.train()

    def _keep(self) -> None:
        """Leave the network with the weights that the run stands for."""
        if self.best:
            self.learner.network.load_state_dict(self.best)
        elif self.settings.ema:
            self.learner.network.load_state_dict(self.average.state)
        self.learner.network.eval()

    def _save(self, path: Path, fingerprint: str) -> None:
        tensors = {f"network.{name}": tensor for name, tensor in self.learner.network.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.state.items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in self.optimizer.state().items()}
        tensors |= RandomState.now(self.generator, self.device).tensors()
        facts = {
            "fingerprint": fingerprint,
            "epoch": self.epoch,
            "finished": self.finished,
            "history": self.history,
            "best_score": None if math.isinf(self.best_score) else self.best_score,
            "best_epoch": self.best_epoch,
            "parts": self.parts,
            "halved": self.halved,
        }
        write_checkpoint(path, tensors, facts)
        self.notify("checkpoint", {"epoch": self.epoch})

    def _resume(self, path: Path, fingerprint: str) -> None:
        tensors, facts = read_checkpoint(path)
        if facts["fingerprint"] != fingerprint:
            return
        parts: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            parts.setdefault(kind, {})[rest] = tensor.to(self.device) if kind != "random" else tensor
        self.learner.network.load_state_dict(parts["network"])
        self.average.load(parts.get("average", {}))
        self.best = parts.get("best", {})
        self.optimizer.load(parts["optimizer"])
        random = parts["random"]
        RandomState(random["order"], random["cpu"], random.get("cuda")).restore(self.generator, self.device)
        self.parts, self.halved = facts["parts"], facts["halved"]
        self.epoch, self.finished, self.history = facts["epoch"], facts["finished"], facts["history"]
        self.best_score = -math.inf if facts["best_score"] is None else facts["best_score"]
        self.best_epoch = facts["best_epoch"]
        self.notify("resumed", {"epoch": self.epoch})


def _recording(history: list[dict[str, Any]], notify: Notify) -> Notify:
    """Keep `epoch` events, without their times, on their way to `notify`."""

    def observed(name: str, fields: dict[str, Any]) -> None:
        if name == "epoch":
            history.append({key: value for key, value in fields.items() if key not in ("seconds", "epochs")})
        notify(name, fields)

    return observed


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with so many threads; the number found before is restored."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _deterministic() -> Iterator[None]:
    """Ask torch for deterministic algorithms while training; the settings found before are restored.

    New memory is not filled with NaN, as torch would do beside it: that finds readers of memory nobody has written, and
    costs more than a tenth of the time of a small network.
    """
    before, warn_only, fill = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
    )
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


def notify_all(*observers: Notify | None) -> Notify:
    """Return one `notify` that tells each observer in turn."""
    present: list[Callable[[str, dict[str, Any]], None]] = [observer for observer in observers if observer is not None]

    def notify(name: str, fields: dict[str, Any]) -> None:
        for observer in present:
            observer(name, fields)

    return notify
