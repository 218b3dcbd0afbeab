"""The one training loop: explicit, device-independent, resumable to the bit on a CPU.

What an epoch does is in `_epoch`; what is decided after it (validation, early stopping) in `_look`; everything that
must survive a kill is in `_State`. The loop knows one `notify`; progress bars and MLflow are observers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from ai4diag.config.train import Train
from ai4diag.data.prepared import Fold, Prepared
from ai4diag.errors import TrainingError
from ai4diag.tasks.base import Learner, NetworkLearner, Notify, SelfFitting
from ai4diag.training.checkpoint import read_checkpoint, write_checkpoint
from ai4diag.training.device import choose_device, choose_precision

CHECKPOINT_SECONDS = 10.0
"""A kill loses at most this much work, or one epoch if that is longer."""

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
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> list[dict[str, Any]]:
    """Fit a learner on the training part of a fold.

    Args:
        learner: a learner that fits itself, or a network.
        prepared: the cases.
        fold: rows to learn from and to validate on.
        settings: the `train` block of the recipe.
        notify: told of `started`, `step`, `epoch`, `checkpoint`, `resumed` and `finished` (docs/reference/events.md).
        checkpoint: file to resume from if it is there, and to write to; None for neither.
        fingerprint: what the checkpoint must have been made from; another fingerprint starts anew.
        checkpoint_seconds: least time between two checkpoints.

    Returns:
        The `epoch` events in order, without times, so that equal runs give equal histories.

    Raises:
        TrainingError: the loss is not finite, or the checkpoint is damaged.
    """
    rows = np.sort(np.concatenate([getattr(fold, part) for part in settings.parts]))
    validation = fold.validation if "validation" not in settings.parts else np.empty(0, np.int64)
    if hasattr(learner, "fit"):
        history: list[dict[str, Any]] = []
        observed = _recording(history, notify)
        cast(SelfFitting, learner).fit(prepared, rows, validation, observed)
        return history
    with _deterministic():
        loop = _Loop(cast(NetworkLearner, learner), prepared, rows, validation, settings, notify)
        return loop.run(checkpoint, fingerprint, checkpoint_seconds)


def learning_rate(step: int, steps: int, steps_per_epoch: int, settings: Train) -> float:
    """Return the learning rate of a step (0-based) out of `steps`.

    `constant` stays at `settings.learning_rate`; `cosine` falls from it to 0 along half a cosine; `one_cycle` rises
    along half a cosine from 4 % over the first 30 % and falls along half a cosine after it (Smith, arXiv:1708.07120).
    A warm-up multiplies the first `warmup_epochs` by a linear ramp.

    >>> learning_rate(50, 100, 10, Train(learning_rate=0.1, schedule="cosine"))
    0.05
    """
    peak, progress = settings.learning_rate, step / max(steps, 1)
    if settings.schedule == "constant":
        factor = 1.0
    elif settings.schedule == "cosine":
        factor = (1 + math.cos(math.pi * progress)) / 2
    else:
        rise = 0.3
        if progress < rise:
            factor = max(0.04, (1 - math.cos(math.pi * progress / rise)) / 2)
        else:
            factor = (1 + math.cos(math.pi * (progress - rise) / (1 - rise))) / 2
    warmup = settings.warmup_epochs * steps_per_epoch
    return peak * factor * min(1.0, (step + 1) / warmup if warmup else 1.0)


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
    ) -> None:
        self.learner, self.prepared, self.settings, self.notify = learner, prepared, settings, notify
        self.rows, self.validation = torch.from_numpy(rows), validation
        self.device = choose_device()
        self.precision = choose_precision(self.device, settings.precision)
        torch.manual_seed(settings.seed)
        learner.place(prepared, rows, self.device)
        network = learner.network
        weights = [p for p in network.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in weights if p.ndim > 1], "weight_decay": settings.weight_decay},
            {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.learning_rate, fused=True)
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.steps_per_epoch = math.ceil(len(rows) / settings.batch_size)
        self.parameters = sum(p.numel() for p in weights)
        self.epoch = 0
        self.finished = False
        self.history: list[dict[str, Any]] = []
        self.best_score, self.best_epoch = -math.inf, 0
        self.average = _copy(network.state_dict()) if settings.ema else {}
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
            losses = self._epoch()
            self.epoch += 1
            validation = self._look()
            rate = self.optimizer.param_groups[0]["lr"]
            event = {"epoch": self.epoch, **losses, "learning_rate": rate, "validation": validation}
            self.history.append(event)
            self.finished = self.epoch >= self.settings.epochs or self._waited()
            self.notify("epoch", {**event, "epochs": self.settings.epochs, "seconds": time.perf_counter() - start})
            due = self.finished or time.perf_counter() - saved >= checkpoint_seconds
            if checkpoint is not None and due:
                self._save(checkpoint, fingerprint)
                saved = time.perf_counter()

    def _epoch(self) -> dict[str, float]:
        """One pass over the training rows in nearly equal batches; returns the mean of each loss."""
        self.learner.network.train()
        order = self.rows[torch.randperm(len(self.rows), generator=self.generator)]
        steps = self.settings.epochs * self.steps_per_epoch
        totals: dict[str, torch.Tensor] = {}
        for number, batch in enumerate(torch.tensor_split(order, self.steps_per_epoch)):
            step = self.epoch * self.steps_per_epoch + number
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, self.steps_per_epoch, self.settings)
            with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
                losses = self.learner.loss(batch, self.generator)
            self.optimizer.zero_grad(set_to_none=True)
            losses["loss"].backward()  # type: ignore[no-untyped-call]
            if self.settings.gradient_clip:
                torch.nn.utils.clip_grad_norm_(self.learner.network.parameters(), self.settings.gradient_clip)
            self.optimizer.step()
            self._update_average(step)
            for name, loss in losses.items():
                totals[name] = totals.get(name, 0) + loss.detach() * (len(batch) / len(order))
            self.notify("step", {"step": step + 1, "steps": steps})
        means = {name: float(total) for name, total in totals.items()}
        if not math.isfinite(means["loss"]):
            raise TrainingError(
                f"The loss is {means['loss']} in epoch {self.epoch + 1}; expected a finite number.",
                "Lower train.learning_rate, or set train.gradient_clip: 1.",
            )
        return means

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
            self.best = _copy(self.average if self.settings.ema else self.learner.network.state_dict())
        return figures

    def _waited(self) -> bool:
        """Whether validation, if there is any, has not improved for long enough."""
        patience = self.settings.patience if len(self.validation) else None
        return patience is not None and self.epoch - self.best_epoch >= patience

    def _update_average(self, step: int) -> None:
        """Move the averaged weights; the decay rises with the step, so that early weights are forgotten quickly."""
        if not self.settings.ema:
            return
        decay = min(self.settings.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, tensor in self.learner.network.state_dict().items():
                if tensor.is_floating_point():
                    self.average[name].lerp_(tensor, 1 - decay)
                else:
                    self.average[name].copy_(tensor)

    @contextmanager
    def _evaluated(self) -> Iterator[None]:
        """The network in evaluation mode with the averaged weights, if there are any."""
        network = self.learner.network
        kept = _copy(network.state_dict()) if self.settings.ema else {}
        if self.settings.ema:
            network.load_state_dict(self.average)
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
            self.learner.network.load_state_dict(self.average)
        self.learner.network.eval()

    def _save(self, path: Path, fingerprint: str) -> None:
        tensors = {f"network.{name}": tensor for name, tensor in self.learner.network.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in state.items()}
        tensors["random.order"] = self.generator.get_state()
        tensors["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        facts = {
            "fingerprint": fingerprint,
            "epoch": self.epoch,
            "finished": self.finished,
            "history": self.history,
            "best_score": None if math.isinf(self.best_score) else self.best_score,
            "best_epoch": self.best_epoch,
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
        self.average, self.best = parts.get("average", {}), parts.get("best", {})
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in parts.get("optimizer", {}).items():
            number, _, key = name.partition(".")
            state.setdefault(int(number), {})[key] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.generator.set_state(parts["random"]["order"])
        torch.set_rng_state(parts["random"]["cpu"])
        if self.device.type == "cuda" and "cuda" in parts["random"]:
            torch.cuda.set_rng_state(parts["random"]["cuda"], self.device)
        self.epoch, self.finished, self.history = facts["epoch"], facts["finished"], facts["history"]
        self.best_score = -math.inf if facts["best_score"] is None else facts["best_score"]
        self.best_epoch = facts["best_epoch"]
        self.notify("resumed", {"epoch": self.epoch})


def _copy(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


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
    """Ask torch for deterministic algorithms while training; the setting found before is restored."""
    before, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)


def notify_all(*observers: Notify | None) -> Notify:
    """Return one `notify` that tells each observer in turn."""
    present: list[Callable[[str, dict[str, Any]], None]] = [observer for observer in observers if observer is not None]

    def notify(name: str, fields: dict[str, Any]) -> None:
        for observer in present:
            observer(name, fields)

    return notify
