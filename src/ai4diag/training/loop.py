"""The one training loop: explicit, device-independent, resumable to the bit on a CPU.

What an epoch does is in `_epoch` and what a step does in `ai4diag.training.step`; what is decided after an epoch
(validation, early stopping) in `_look`; everything that must survive a kill is in `_save`. The loop knows one `notify`;
progress bars and MLflow are observers.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from ai4diag.config.train import Train
from ai4diag.data.prepared import Fold, Prepared
from ai4diag.errors import ConfigError
from ai4diag.tasks.base import Learner, NetworkLearner, Notify, SelfFitting
from ai4diag.training import probe
from ai4diag.training.checkpoint import read_checkpoint, write_checkpoint
from ai4diag.training.determinism import deterministic, note
from ai4diag.training.device import choose_device, choose_precision
from ai4diag.training.failures import RandomState
from ai4diag.training.probe import Choice
from ai4diag.training.ranks import Ranks
from ai4diag.training.schedule import balance_labels, balanced, learning_rate
from ai4diag.training.step import Losses, Stepper
from ai4diag.training.throughput import EVERY, Meter
from ai4diag.training.weights import copy

CHECKPOINT_SECONDS = 10.0
"""A kill loses at most this much work, or one epoch if that is longer."""
INTERVAL = "AI4DIAG_CHECKPOINT_SECONDS"
"""Environment variable: another time, for machines that may be taken away; `0` writes a checkpoint after each epoch."""

SMALL = 20_000
"""Networks with fewer parameters are trained on one thread: handing the work out costs more than doing it."""


def fit(
    learner: Learner,
    prepared: Prepared,
    fold: Fold,
    settings: Train,
    notify: Notify,
    *,
    checkpoint: Path | None = None,
    fingerprint: str = "",
    checkpoint_seconds: float | None = None,
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
        checkpoint_seconds: least time between two checkpoints; None takes that of `INTERVAL`, else
            `CHECKPOINT_SECONDS`.
        failed_batch: stem of the two files to which a batch with a loss that is no number is written; None for none.

    Returns:
        The `epoch` events in order, without times, so that equal runs give equal histories.

    Raises:
        TrainingError: the loss is not finite, memory ran out twice, the checkpoint is damaged, or an operation is not
            deterministic and `train.deterministic` is strict.
        ConfigError: `train.balance` asks for labels that the learner does not have, or `INTERVAL` is no number.
    """
    rows = np.sort(np.concatenate([getattr(fold, part) for part in settings.parts]))
    validation = fold.validation if "validation" not in settings.parts else np.empty(0, np.int64)
    if hasattr(learner, "fit"):
        if settings.balance != "none":
            raise ConfigError("train.balance is for networks; this model draws its cases itself.", "Leave it out.")
        history: list[dict[str, Any]] = []
        observed = _recording(history, notify)
        cast(SelfFitting, learner).fit(prepared, rows, validation, observed)
        return history
    with deterministic(settings.deterministic) as doubts:
        loop = _Loop(cast(NetworkLearner, learner), prepared, rows, validation, settings, notify, failed_batch, doubts)
        seconds = _checkpoint_seconds() if checkpoint_seconds is None else checkpoint_seconds
        return loop.run(checkpoint, fingerprint, seconds)


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
        doubts: list[str],
    ) -> None:
        self.doubts = doubts
        """What was not deterministic so far, in words."""
        self.learner, self.prepared, self.settings = learner, prepared, settings
        self.rows, self.validation, self.failed_batch = torch.from_numpy(rows), validation, failed_batch
        self.ranks = Ranks.join()
        self.notify = notify if self.ranks.rank == 0 else _silent
        self.device = choose_device()
        self.steps_per_epoch = math.ceil(len(rows) / settings.batch_size)
        self.ranks.need(len(rows) // self.steps_per_epoch)
        torch.manual_seed(settings.seed)
        learner.place(prepared, rows, self.device)
        self.ranks.same_weights(learner.network)
        if self.ranks.rank:
            torch.manual_seed(settings.seed + self.ranks.rank)  # dropout differs between shares
        self.labels = balance_labels(settings.balance, learner, prepared, rows)
        self.parameters = sum(p.numel() for p in learner.network.parameters() if p.requires_grad)
        self.choice = Choice(choose_precision(self.device, settings.precision))
        self.tried: dict[str, float] = {}
        self.stepper: Stepper
        self.epoch = 0
        self.finished = False
        self.history: list[dict[str, Any]] = []
        self.best_score, self.best_epoch = -math.inf, 0
        self.best: dict[str, torch.Tensor] = {}

    def run(self, checkpoint: Path | None, fingerprint: str, checkpoint_seconds: float) -> list[dict[str, Any]]:
        with threads(1 if self.parameters < SMALL else torch.get_num_threads()):
            self._begin(checkpoint, fingerprint)
            meter = Meter(self.learner.network, self.device)
            begin = time.perf_counter()
            self._train(checkpoint, fingerprint, checkpoint_seconds, meter)
            throughput = meter.result()
        self._keep()
        if self.stepper.halved:
            note(self.doubts, "batches in more parts from the step on at which memory ran out")
        self.notify(
            "finished",
            {
                "epochs": self.epoch,
                "best_epoch": self.best_epoch,
                "seconds": time.perf_counter() - begin,
                "throughput": throughput,
                "not_deterministic": list(self.doubts),
            },
        )
        return self.history

    def _begin(self, checkpoint: Path | None, fingerprint: str) -> None:
        """Take up a checkpoint, or choose how to compute; tell that it starts."""
        stored, parts = self._stored(checkpoint, fingerprint), self.settings.accumulate
        if stored is not None:
            self.choice, parts = Choice.from_words(stored[1]["choice"]), stored[1]["parts"]
        elif probe.wanted(self.settings):
            batch = self.rows[: -(-len(self.rows) // self.steps_per_epoch)]
            self.choice, self.tried = probe.choose(
                self.learner, batch, self.settings, self.device, self.settings.accumulate * self.ranks.size
            )
            self.choice = Choice.from_words(self.ranks.tell(self.choice.words()))
            note(self.doubts, "what a probe chose by time (train.precision, train.compile)")
        probe.use(self.learner.network, self.choice, parts)
        self.stepper = Stepper(
            self.learner, self.prepared, self.settings, self.notify, self.choice, self.ranks, self.failed_batch
        )
        if stored is not None:
            self._restore(*stored)
        elif self.tried:
            self.stepper.notes.append(f"the probe chose {self.choice}")
        self.notify(
            "started",
            {
                "epochs": self.settings.epochs,
                "epoch": self.epoch,
                "cases": len(self.rows),
                "parameters": self.parameters,
                "device": str(self.device),
                **self.choice.words(),
                "processes": self.ranks.size,
                "probed": self.tried,
            },
        )

    def _train(self, checkpoint: Path | None, fingerprint: str, checkpoint_seconds: float, meter: Meter) -> None:
        """Run epochs until the last one, or until validation has not improved for long enough."""
        saved = time.perf_counter()
        while not self.finished:
            start = time.perf_counter()
            with meter.timing("epochs"):
                losses, rate = self._epoch(meter)
            meter.epoch(len(self.rows))
            self.epoch += 1
            with meter.timing("validation"):
                validation = self._look()
            event = {"epoch": self.epoch, **losses, "learning_rate": rate, "validation": validation}
            if self.stepper.notes:
                event["notes"] = list(self.stepper.notes)
                self.stepper.notes.clear()
            self.history.append(event)
            self.finished = self.epoch >= self.settings.epochs or self._waited()
            self.notify("epoch", {**event, "epochs": self.settings.epochs, "seconds": time.perf_counter() - start})
            due = self.finished or time.perf_counter() - saved >= checkpoint_seconds
            if checkpoint is not None and due and self.ranks.rank == 0:
                with meter.timing("checkpoint"):
                    self._save(checkpoint, fingerprint)
                saved = time.perf_counter()

    def _epoch(self, meter: Meter) -> tuple[dict[str, float], float]:
        """One pass over the training rows in nearly equal batches; return the mean of each loss, and the last rate."""
        self.learner.network.train()
        order = self._order()
        steps, first = self.settings.epochs * self.steps_per_epoch, self.epoch * self.steps_per_epoch
        totals: Losses = {}
        for number, (batch, read) in enumerate(self.stepper.batches(order, self.steps_per_epoch)):
            step = first + number
            rate = learning_rate(step, steps, self.steps_per_epoch, self.settings)
            if step % EVERY:
                if step % EVERY == 1:
                    meter.follow()
                losses = self.stepper.step(step, self.epoch, batch, rate, read)
            else:
                with meter.looking():
                    losses = self.stepper.step(step, self.epoch, batch, rate, read)
            share = len(batch) / len(order)
            for name, loss in losses.items():
                totals[name] = totals[name] + loss * share if name in totals else loss * share
            self.notify("step", {"step": step + 1, "steps": steps})
        self.stepper.look()
        self.ranks.average_buffers(self.learner.network)
        return {name: float(total) for name, total in totals.items()}, rate

    def _order(self) -> torch.Tensor:
        """Return the rows of an epoch in the order in which they are learned from."""
        if self.labels is None:
            return self.rows[torch.randperm(len(self.rows), generator=self.stepper.generator)]
        return self.rows[balanced(self.labels, self.stepper.generator)]

    def _look(self) -> dict[str, float]:
        """Validate when it is due; remember the best weights when they may be chosen."""
        if not len(self.validation) or (
            self.epoch % self.settings.validate_every and self.epoch != self.settings.epochs
        ):
            return {}
        figures: dict[str, float] = {}
        if self.ranks.rank == 0:
            with self._evaluated():
                figures = self.learner.score(self.prepared, self.validation)
        figures = self.ranks.tell(figures)
        if self.settings.patience is not None and figures["score"] > self.best_score:
            self.best_score, self.best_epoch = figures["score"], self.epoch
            self.best = copy(self.stepper.average.state if self.settings.ema else self.learner.network.state_dict())
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
            network.load_state_dict(self.stepper.average.state)
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
            self.learner.network.load_state_dict(self.stepper.average.state)
        self.learner.network.eval()

    def _save(self, path: Path, fingerprint: str) -> None:
        tensors = {f"network.{name}": tensor for name, tensor in self.learner.network.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.stepper.average.state.items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in self.stepper.optimizer.state().items()}
        tensors |= RandomState.now(self.stepper.generator, self.device).tensors()
        facts = {
            "fingerprint": fingerprint,
            "epoch": self.epoch,
            "finished": self.finished,
            "history": self.history,
            "best_score": None if math.isinf(self.best_score) else self.best_score,
            "best_epoch": self.best_epoch,
            "parts": self.stepper.parts,
            "halved": self.stepper.halved,
            "choice": self.choice.words(),
            "not_deterministic": self.doubts,
        }
        write_checkpoint(path, tensors, facts)
        self.notify("checkpoint", {"epoch": self.epoch})

    def _stored(self, path: Path | None, fingerprint: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """Return what the checkpoint holds, if there is one of this recipe and these cases."""
        if path is None or not self.ranks.tell(path.exists()):
            return None
        tensors, facts = read_checkpoint(path)
        return (tensors, facts) if facts["fingerprint"] == fingerprint else None

    def _restore(self, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        parts: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            parts.setdefault(kind, {})[rest] = tensor.to(self.device) if kind != "random" else tensor
        self.learner.network.load_state_dict(parts["network"])
        stepper, random = self.stepper, parts["random"]
        stepper.average.load(parts.get("average", {}))
        stepper.optimizer.load(parts["optimizer"])
        stepper.parts, stepper.halved = facts["parts"], facts["halved"]
        RandomState(random["order"], random["cpu"], random.get("cuda")).restore(stepper.generator, self.device)
        self.best = parts.get("best", {})
        self.epoch, self.finished, self.history = facts["epoch"], facts["finished"], facts["history"]
        self.best_score = -math.inf if facts["best_score"] is None else facts["best_score"]
        self.best_epoch = facts["best_epoch"]
        if self.ranks.rank:
            torch.manual_seed(self.settings.seed + self.ranks.rank + self.ranks.size * self.epoch)
        self.doubts += [said for said in facts.get("not_deterministic", ()) if said not in self.doubts]
        self.notify("resumed", {"epoch": self.epoch})


def _checkpoint_seconds() -> float:
    said = os.environ.get(INTERVAL, "")
    try:
        seconds = float(said) if said else CHECKPOINT_SECONDS
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:  # NaN neither
        raise ConfigError(f"{INTERVAL} is {said!r}.", "Give seconds, such as 60, or leave it out.")
    return seconds


def _silent(name: str, fields: dict[str, Any]) -> None:
    """What the processes beside the first one tell."""


def _recording(history: list[dict[str, Any]], notify: Notify) -> Notify:
    """Keep `epoch` events, without their times, on their way to `notify`."""

    def observed(name: str, fields: dict[str, Any]) -> None:
        if name == "epoch":
            history.append({key: value for key, value in fields.items() if key not in ("seconds", "epochs")})
        notify(name, fields)

    return observed


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with so many threads; the number found before is restored."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def notify_all(*observers: Notify | None) -> Notify:
    """Return one `notify` that tells each observer in turn."""
    present: list[Callable[[str, dict[str, Any]], None]] = [observer for observer in observers if observer is not None]

    def notify(name: str, fields: dict[str, Any]) -> None:
        for observer in present:
            observer(name, fields)

    return notify
