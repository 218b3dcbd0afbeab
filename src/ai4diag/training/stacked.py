"""Several small networks of one shape trained at once: the models of folds and seeds, their weights stacked.

A step of a small network is spent in Python, not in arithmetic. Stacked, a step of 25 models is one batched matrix
product per layer, one loss and one step of the optimizer. Each model keeps its own cases, order, random numbers,
validation and end, so that it becomes what `ai4diag.training.loop.fit` alone would make of it, up to rounding.

Nothing is checkpointed: a killed training starts anew.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ai4diag.config.train import Train
from ai4diag.data.prepared import Fold, Prepared
from ai4diag.errors import TrainingError
from ai4diag.tasks.base import Learner, NetworkLearner, Notify
from ai4diag.tasks.memory import fits
from ai4diag.training.determinism import deterministic
from ai4diag.training.device import choose_device, choose_precision
from ai4diag.training.loop import threads
from ai4diag.training.ranks import Ranks
from ai4diag.training.schedule import learning_rate
from ai4diag.training.throughput import Meter
from ai4diag.training.weights import AdamW, Average, copy

KNOWN = (nn.Linear, nn.ReLU, nn.Dropout, nn.Flatten)
MOST_PARAMETERS = 20_000
"""A larger network is busy with arithmetic, and is better checkpointed."""


class Stackable(NetworkLearner, Protocol):
    """A learner whose loss is the mean log loss of one logit per case, and a penalty on the first layer's weights."""

    network: nn.Sequential
    cases: torch.Tensor
    """Encoded columns of all cases, float32 `(cases, columns)`, once placed."""
    outcomes: torch.Tensor
    """Their truth, float32 `(cases,)`."""
    penalty: float
    """What the squared weights of the first layer are multiplied by."""

    def judge(self, prepared: Prepared, rows: np.ndarray, probability: np.ndarray) -> dict[str, float]:
        """Return the figures of `score` for probabilities `(cases,)` that are known already."""


def fit_together(
    learners: Sequence[Learner],
    prepared: Prepared,
    folds: Sequence[Fold],
    settings: Sequence[Train],
    notify: Sequence[Notify],
) -> list[list[dict[str, Any]]] | None:
    """Fit several learners at once, each on its fold; models of other shapes are stacked apart.

    Args:
        learners: untrained.
        prepared: the cases of all.
        folds: of each learner.
        settings: the `train` block of each; they differ in the seed alone.
        notify: told of `started`, `epoch` and `finished` of each (docs/reference/events.md).

    Returns:
        The `epoch` events of each learner, as `loop.fit` returns them; None when they cannot be stacked, in which case
        nothing was touched but the placing of cases.

    Raises:
        TrainingError: a loss is not finite.
    """
    if not _can_be_stacked(learners, settings) or not fits(len(learners) * prepared.features.nbytes, choose_device()):
        return None
    models = [
        _Model(cast(Stackable, learner), prepared, fold, own, told)
        for learner, fold, own, told in zip(learners, folds, settings, notify, strict=True)
    ]
    if any(not model.known for model in models):
        return None
    alike: dict[Any, list[_Model]] = defaultdict(list)
    for model in models:
        alike[model.shape].append(model)
    with deterministic(settings[0].deterministic) as doubts, threads(1):
        for group in alike.values():
            _Stack(group).run(prepared, doubts)
    return [model.history for model in models]


def _can_be_stacked(learners: Sequence[Learner], settings: Sequence[Train]) -> bool:
    if Ranks.join().size > 1 or len(learners) < 2 or not all(hasattr(learner, "judge") for learner in learners):
        return False
    first = settings[0]
    same = all(one.model_copy(update={"seed": first.seed}) == first for one in settings)
    plain = first.accumulate == 1 and first.balance == "none" and first.compile == "off" and first.precision != "probe"
    return same and plain and choose_precision(choose_device(), first.precision) == torch.float32


class _Model:
    """One of the models, placed, with what is its own."""

    def __init__(self, learner: Stackable, prepared: Prepared, fold: Fold, settings: Train, notify: Notify) -> None:
        self.learner, self.settings, self.notify = learner, settings, notify
        rows = np.sort(np.concatenate([getattr(fold, part) for part in settings.parts]))
        self.validation = fold.validation if "validation" not in settings.parts else np.empty(0, np.int64)
        self.rows = torch.from_numpy(rows)
        torch.manual_seed(settings.seed)
        learner.place(prepared, rows, choose_device())
        self.order = torch.Generator().manual_seed(settings.seed)
        self.dropout = torch.Generator().manual_seed(settings.seed)
        self.steps = math.ceil(len(rows) / settings.batch_size)
        self.history: list[dict[str, Any]] = []
        self.best_score, self.best_epoch = -math.inf, 0
        self.kept: dict[str, torch.Tensor] = {}
        self.ended = False
        self.size = sum(p.numel() for p in learner.network.parameters())
        self.known = all(isinstance(part, KNOWN) for part in learner.network) and self.size < MOST_PARAMETERS
        shapes = [(name, tuple(tensor.shape)) for name, tensor in learner.network.state_dict().items()]
        self.shape = (self.steps, str(learner.network), tuple(shapes), bool(len(self.validation)))

    def epoch(self) -> torch.Tensor:
        """Return the training rows in the order of an epoch."""
        return self.rows[torch.randperm(len(self.rows), generator=self.order)]


@dataclass(frozen=True)
class _Batch:
    """Where the cases of one step stand in the order of an epoch; shorter batches are filled with cases of no weight.

    Attributes:
        place: int64 `(models, cases)`.
        weight: `(models, cases)`, one over the size of the batch, 0 for what fills it.
        share: `(models,)`, of the batch in the epoch.
        sizes: of each model's batch.
    """

    place: torch.Tensor
    weight: torch.Tensor
    share: torch.Tensor
    sizes: list[int]

    @classmethod
    def of(cls, models: Sequence[_Model], step: int, device: torch.device) -> _Batch:
        """Return the batch of a step, divided as `torch.tensor_split` divides an epoch."""
        places = [torch.tensor_split(torch.arange(len(model.rows)), model.steps)[step] for model in models]
        sizes = [len(place) for place in places]
        place = nn.utils.rnn.pad_sequence(places, batch_first=True)
        size = torch.tensor(sizes)
        weight = (torch.arange(place.shape[1]) < size[:, None]) / size[:, None]
        share = size / torch.tensor([len(model.rows) for model in models])
        return cls(place.to(device), weight.to(device), share.to(device), sizes)


class _Stack:
    """Models of one shape, in training."""

    def __init__(self, models: Sequence[_Model]) -> None:
        self.models, self.settings = models, models[0].settings
        self.parts = list(models[0].learner.network)
        states = [model.learner.network.state_dict() for model in models]
        self.names = list(states[0])
        self.weights = nn.ParameterList([torch.stack([state[name] for state in states]) for name in self.names])
        flat = [states[0][name].ndim <= 1 for name in self.names]
        decay = self.settings.weight_decay
        self.optimizers = [
            AdamW(own, amount)
            for own, amount in (
                ([w for w, bias in zip(self.weights, flat, strict=True) if not bias], decay),
                ([w for w, bias in zip(self.weights, flat, strict=True) if bias], 0.0),
            )
            if own
        ]
        self.average = Average(self.weights, self.settings.ema)
        device = self.weights[0].device
        self.penalty = torch.tensor([model.learner.penalty for model in models], device=device)
        self.penalized = bool(self.penalty.any())
        self.cases = torch.stack([model.learner.cases for model in models])
        self.outcomes = torch.stack([model.learner.outcomes for model in models])
        self.number = torch.arange(len(models), device=device)[:, None]
        self.batches = [_Batch.of(models, step, device) for step in range(models[0].steps)]

    def run(self, prepared: Prepared, doubts: list[str]) -> None:
        begin = time.perf_counter()
        for model in self.models:
            told = {"epochs": self.settings.epochs, "epoch": 0, "cases": len(model.rows), "parameters": model.size}
            device = str(self.weights[0].device)
            model.notify("started", {**told, "device": device, "precision": "float32", "processes": 1, "probed": {}})
        last, meter = begin, Meter(self.models[0].learner.network, self.weights[0].device)
        for epoch in range(self.settings.epochs):
            with meter.timing("epochs"):
                losses, rate = self._epoch(epoch)
            meter.epoch(sum(len(model.rows) for model in self.models))
            with meter.timing("validation"):
                found = self._look(prepared, epoch + 1)
            now = time.perf_counter()
            for number, model in enumerate(self.models):
                if model.ended:
                    continue
                own = {name: float(values[number]) for name, values in losses.items()}
                event = {"epoch": epoch + 1, **own, "learning_rate": rate, "validation": found[number]}
                model.history.append(event)
                model.notify("epoch", {**event, "epochs": self.settings.epochs, "seconds": now - last})
                self._end(number, model, epoch + 1)
            last = now
            if all(model.ended for model in self.models):
                break
        for model in self.models:
            model.learner.network.load_state_dict(model.kept)
            model.learner.network.eval()
            told = {"epochs": len(model.history), "best_epoch": model.best_epoch}
            ended = {"seconds": time.perf_counter() - begin, "throughput": meter.result()}
            model.notify("finished", {**told, **ended, "not_deterministic": list(doubts)})

    def _epoch(self, epoch: int) -> tuple[dict[str, torch.Tensor], float]:
        """One pass over each model's training rows; return the mean of each loss, `(models,)`, and the last rate."""
        per_epoch, totals = len(self.batches), dict[str, torch.Tensor]()
        orders = nn.utils.rnn.pad_sequence([model.epoch() for model in self.models], batch_first=True)
        orders = orders.to(self.cases.device)
        for number, batch in enumerate(self.batches):
            step = epoch * per_epoch + number
            rate = learning_rate(step, self.settings.epochs * per_epoch, per_epoch, self.settings)
            for optimizer in self.optimizers:
                optimizer.forget()
            losses = self._losses(orders.gather(1, batch.place), batch)
            losses["loss"].sum().backward()  # type: ignore[no-untyped-call]
            self._clip()
            for optimizer in self.optimizers:
                optimizer.step(rate)
            self.average.update(step)
            for name, loss in losses.items():
                totals[name] = totals.get(name, 0) + loss.detach() * batch.share
        self._refuse_infinite(totals["loss"], epoch)
        return totals, rate

    def _losses(self, rows: torch.Tensor, batch: _Batch) -> dict[str, torch.Tensor]:
        """Return the losses of one batch of each model, `(models,)`, for rows `(models, cases)`."""
        columns, truth = self.cases[self.number, rows], self.outcomes[self.number, rows]
        logits = self._forward(list(self.weights), columns, batch.sizes)
        log_loss = (binary_cross_entropy_with_logits(logits, truth, reduction="none") * batch.weight).sum(dim=1)
        if not self.penalized:
            return {"loss": log_loss}
        penalty = self.penalty * self.weights[0].square().flatten(1).sum(dim=1)
        return {"loss": log_loss + penalty, "log_loss": log_loss}

    def _forward(
        self, weights: Sequence[torch.Tensor], columns: torch.Tensor, sizes: Sequence[int] | None = None
    ) -> torch.Tensor:
        """Return the logits `(models, batch)` of columns `(models, batch, columns)`; with `sizes` also drops units."""
        left, x = list(weights), columns
        for part in self.parts:
            if isinstance(part, nn.Linear):
                weight = left.pop(0).transpose(1, 2)
                x = torch.baddbmm(left.pop(0)[:, None], x, weight) if part.bias is not None else torch.bmm(x, weight)
            elif isinstance(part, nn.ReLU):
                x = x.relu()
            elif isinstance(part, nn.Dropout) and sizes is not None and part.p:
                x = x * self._kept_units(part.p, x, sizes)
        return x.squeeze(-1)

    def _kept_units(self, chance: float, x: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
        """Return what dropout multiplies with, drawn for each model as it would draw alone."""
        masks = torch.zeros(x.shape)
        for mask, size, model in zip(masks.unbind(), sizes, self.models, strict=True):
            mask[:size].bernoulli_(1 - chance, generator=model.dropout)
        return masks.div_(1 - chance).to(x.device)

    def _clip(self) -> None:
        if not self.settings.gradient_clip:
            return
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        norm = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
        factor = (self.settings.gradient_clip / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor.reshape(-1, *[1] * (gradient.ndim - 1)))

    def _look(self, prepared: Prepared, epoch: int) -> list[dict[str, float]]:
        """Validate every model when it is due; remember the best weights of each where they may be chosen."""
        nothing: list[dict[str, float]] = [{} for _ in self.models]
        every = self.settings.validate_every
        if not len(self.models[0].validation) or (epoch % every and epoch != self.settings.epochs):
            return nothing
        longest = max(len(model.validation) for model in self.models)
        with torch.inference_mode():
            columns = torch.stack(
                [
                    nn.functional.pad(
                        m.learner.cases[torch.from_numpy(m.validation)], (0, 0, 0, longest - len(m.validation))
                    )
                    for m in self.models
                ]
            )
            probability = self._forward(self._current(), columns).double().sigmoid().cpu().numpy()
        for number, model in enumerate(self.models):
            if model.ended:
                continue
            rows = model.validation
            nothing[number] = model.learner.judge(prepared, rows, probability[number, : len(rows)])
            if self.settings.patience is not None and nothing[number]["score"] > model.best_score:
                model.best_score, model.best_epoch = nothing[number]["score"], epoch
                model.kept = self._state(number)
        return nothing

    def _end(self, number: int, model: _Model, epoch: int) -> None:
        """Note that a model is done, and its weights."""
        patience = self.settings.patience if len(model.validation) else None
        waited = patience is not None and epoch - model.best_epoch >= patience
        if not waited and epoch < self.settings.epochs:
            return
        model.ended = True
        if not model.best_epoch:
            model.kept = self._state(number)

    def _current(self) -> list[torch.Tensor]:
        """Return the weights that are evaluated and kept: averaged, if they are averaged."""
        state: Mapping[str, torch.Tensor] = self.average.state if self.settings.ema else self.weights.state_dict()
        return list(state.values())

    def _state(self, number: int) -> dict[str, torch.Tensor]:
        current = zip(self.names, self._current(), strict=True)
        return copy({name: tensor[number] for name, tensor in current})

    def _refuse_infinite(self, losses: torch.Tensor, epoch: int) -> None:
        for model, loss in zip(self.models, losses.tolist(), strict=True):
            if not (model.ended or math.isfinite(loss)):
                raise TrainingError(
                    f"The loss of the model with seed {model.settings.seed} is {loss} in epoch {epoch + 1}; expected a "
                    "finite number.",
                    "Lower train.learning_rate, or set train.gradient_clip: 1.",
                )
