"""Learners of a time to event: Cox's proportional hazards, linear or with a multi-layer perceptron as log risk.

Both answer with a log risk, 0 for the mean of the training part, and with survival probabilities from the baseline
hazard of the training part. The linear one is fitted by Newton's method in float64 and equals lifelines' CoxPHFitter
on the encoded columns; the perceptron is fitted by the training loop with the same loss on its batches.
"""

from __future__ import annotations

import time as clock
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from ai4diag.config.tabular import Cox, CoxMlp, Mlp
from ai4diag.config.train import Train
from ai4diag.data.prepared import Prepared
from ai4diag.errors import DataError
from ai4diag.evaluation.survival import Outcomes
from ai4diag.tasks.base import Notify
from ai4diag.tasks.stored import write_model
from ai4diag.tasks.tabular.base import Array, Rows, features
from ai4diag.tasks.tabular.encoding import Encoding
from ai4diag.tasks.tabular.hazards import Baseline, Newton, fit_linear, partial_loss
from ai4diag.tasks.tabular.networks import WEIGHTS, build

KEPT = ("horizons_days", "survival_days")
"""What of `prepared.json` the model keeps: the times to answer for."""
_CHUNK = 65_536


def outcome(prepared: Prepared, rows: Rows) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Return time under observation in days and whether it ended with the event, `(cases,)` each."""
    index = prepared.index.iloc[rows]
    return index["time_days"].to_numpy(np.float64), index["event"].to_numpy(bool)


class Hazards:
    """What both learners share: encoded columns, log risk, baseline, predictions, files.

    Args:
        model: the recipe's `model` block.
        features: the entries of `prepared.json`, in the order of the columns.
        classes: what the end of observation without and with the event are called.
        kept: further facts of `prepared.json`, see `KEPT`.
    """

    network: nn.Module
    encoding: Encoding
    baseline: Baseline
    centre: float
    limits: Array
    reading: Mapping[str, Any] = MappingProxyType({})
    """How tables are read (`data.gather_table`)."""

    def __init__(
        self,
        model: Cox | CoxMlp,
        features: Sequence[Mapping[str, Any]],
        classes: Sequence[str],
        kept: Mapping[str, Any],
    ) -> None:
        self.model, self.features, self.classes = model, list(features), list(classes)
        self.kept = {key: kept[key] for key in KEPT if key in kept}
        self._placed: tuple[Prepared, Rows] | None = None

    def predict(self, prepared: Prepared, rows: Rows) -> pd.DataFrame:
        """Return what the model says of each row.

        `score`, the log risk relative to the mean of the training part; `risk_group`, 1 to 3, thirds of the scores of
        the training part; `survival`, probability to be without the event at `survival_days`, NaN beyond all
        observation of the training part; `horizons_days`, for which of these times it is meant. Lists of times are the
        same in every line.

        Raises:
            DataError: the prepared cases have other features than those that were learned from.
        """
        self._learn_baseline()
        score = self.log_risk(features(prepared, rows, self.features)) - self.centre
        days = np.asarray(self.kept["survival_days"], np.float64)
        table = pd.DataFrame({"score": score, "risk_group": 1 + np.searchsorted(self.limits, score, side="right")})
        lists: dict[str, list[Any]] = {"survival": list(self.baseline.survival(score, days))}
        for name in ("survival_days", "horizons_days"):
            lists[name] = [np.asarray(self.kept[name], np.float64)] * len(table)
        return table.assign(**{name: pd.Series(values, dtype=object) for name, values in lists.items()})

    def log_risk(self, table: Array) -> Array:
        """Return the log risk `(cases,)` for raw features `(cases, features)`, before it is centred."""
        self.network.eval()
        weight = next(self.network.parameters())
        columns = torch.from_numpy(self.encoding.transform(table)).to(weight.dtype)
        with torch.inference_mode():
            parts = [self.network(part.to(weight.device)).double().cpu() for part in torch.split(columns, _CHUNK)]
        return torch.cat(parts).numpy()

    def score(self, prepared: Prepared, rows: Rows) -> dict[str, float]:
        """Return `score` (log partial likelihood per event of `rows`, NaN without events) and `c_index`."""
        time, event = outcome(prepared, rows)
        log_risk = self.log_risk(features(prepared, rows, self.features))
        answer, at, ended = (torch.from_numpy(values) for values in (log_risk, time, event))
        loss = partial_loss(answer, at, ended, self.model.ties)
        index = float(Outcomes(time, event).concordance(log_risk)[0])
        return {"score": -float(loss) if event.any() else float("nan"), "c_index": index}

    def save(self, folder: Path) -> None:
        """Write `model.safetensors` and `model.json`."""
        self._learn_baseline()
        weights = {f"network.{name}": t.detach().cpu().contiguous() for name, t in self.network.state_dict().items()}
        numbers = {
            "baseline.days": self.baseline.days,
            "baseline.hazard": self.baseline.hazard,
            "baseline.last_day": np.array([self.baseline.last_day]),
            "centre": np.array([self.centre]),
            "limits": self.limits,
        }
        weights |= {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in numbers.items()}
        facts = {"classes": self.classes, "features": self.features, "reading": dict(self.reading), **self.kept}
        facts["encoding"] = self.encoding.as_list()
        write_model(
            folder, "tabular", WEIGHTS, save_tensors(weights), {"model": self.model.model_dump(mode="json"), **facts}
        )

    def _begin(self, prepared: Prepared, train: Rows) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
        """Learn the encoding from rows `train`; return the columns, times and events of all cases.

        Raises:
            DataError: no event is among rows `train`.
        """
        everyone = np.arange(len(prepared.index))
        time, event = outcome(prepared, everyone)
        if not event[train].any():
            raise DataError(
                f"None of the {len(train)} training cases is '{self.classes[-1]}': there is nothing to learn.",
                "Check label and time in the dataset card, or choose another data.split.seed.",
            )
        table = features(prepared, everyone, self.features)
        self.encoding = Encoding.learn(table[train], self.features)
        self._placed = prepared, train
        return self.encoding.transform(table), time, event

    def _learn_baseline(self) -> None:
        """Learn baseline, centre and thirds for the weights as they are now; a model from a file has its own."""
        if self._placed is None:
            return
        prepared, train = self._placed
        log_risk = self.log_risk(features(prepared, train, self.features))
        self.centre = float(log_risk.mean())
        self.limits = np.quantile(log_risk - self.centre, [1 / 3, 2 / 3])
        self.baseline = Baseline.learn(log_risk - self.centre, *outcome(prepared, train))


class LinearHazards(Hazards):
    """Cox's model; it fits itself (`ai4diag.tasks.base.SelfFitting`).

    Args:
        train: the recipe's `train` block; only `epochs`, the steps at most, plays a part.
        model, features, classes, kept: see `Hazards`.
    """

    model: Cox

    def __init__(
        self,
        model: Cox,
        features: Sequence[Mapping[str, Any]],
        classes: Sequence[str],
        kept: Mapping[str, Any],
        train: Train,
    ) -> None:
        super().__init__(model, features, classes, kept)
        self.train = train

    def fit(self, prepared: Prepared, train: Rows, validation: Rows, notify: Notify) -> None:
        """Fit on rows `train`; the figures of rows `validation` are told, and nothing is chosen on them.

        Raises:
            DataError: no event is among rows `train`.
        """
        begin = clock.perf_counter()
        columns, time, event = (torch.from_numpy(values) for values in self._begin(prepared, train))
        rows = torch.from_numpy(train)
        self.network = linear(columns.shape[1])
        facts = {"epochs": self.train.epochs, "epoch": 0, "cases": len(train), "parameters": columns.shape[1]}
        notify("started", {**facts, "device": "cpu", "precision": "float64"})
        seen = {"at": begin, "epochs": 0.0}

        def heard(step: int, state: Newton) -> None:
            self.network.load_state_dict({"0.weight": state.weights[None]})
            now = clock.perf_counter()
            figures = self.score(prepared, validation) if len(validation) else {}
            told = {"epoch": step, "loss": state.loss, "learning_rate": state.length, "validation": figures}
            notify("epoch", {**told, "epochs": self.train.epochs, "seconds": now - seen["at"]})
            seen.update(at=now, epochs=step)

        fit_linear(
            columns[rows],
            time[rows],
            event[rows],
            ties=self.model.ties,
            l2=self.model.l2,
            steps=self.train.epochs,
            notify=heard,
        )
        seconds = clock.perf_counter() - begin
        notify("finished", {"epochs": int(seen["epochs"]), "best_epoch": 0, "seconds": seconds})

    def coefficients(self) -> dict[str, float]:
        """Return the change in log risk for one unit of each encoded column: a standard deviation, or a level."""
        weights = self.network.get_parameter("0.weight").detach().numpy()[0]
        return dict(zip(self.encoding.columns, weights.tolist(), strict=True))


class DeepHazards(Hazards):
    """A multi-layer perceptron as log risk, for the training loop (`ai4diag.tasks.base.NetworkLearner`).

    Args:
        seed: of the initial weights.
        model, features, classes, kept: see `Hazards`.
    """

    model: CoxMlp

    def __init__(
        self,
        model: CoxMlp,
        features: Sequence[Mapping[str, Any]],
        classes: Sequence[str],
        kept: Mapping[str, Any],
        seed: int,
    ) -> None:
        super().__init__(model, features, classes, kept)
        self.seed = seed

    def place(self, prepared: Prepared, train: Rows, device: torch.device) -> None:
        """Learn the encoding from rows `train`, build the network for its columns, and put all cases on the device.

        Raises:
            DataError: no event is among rows `train`.
        """
        columns, time, event = self._begin(prepared, train)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network = deep(self.model, columns.shape[1]).to(device)
        self._cases = torch.from_numpy(columns).to(device, torch.float32)
        self._time = torch.from_numpy(pd.factorize(time, sort=True)[0]).to(device)  # exact in any precision
        self._event = torch.from_numpy(event).to(device)

    def loss(self, rows: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Return the negative log partial likelihood per event of `rows` `(batch,)`. Nothing is augmented."""
        rows = rows.to(self._cases.device)
        log_risk = self.network(self._cases[rows]).float()
        return {"loss": partial_loss(log_risk, self._time[rows], self._event[rows], self.model.ties)}


def linear(inputs: int) -> nn.Module:
    """Return the module `(cases, inputs) -> (cases,)` of a linear log risk, in float64, at zero."""
    layer = nn.Linear(inputs, 1, bias=False, dtype=torch.float64)
    nn.init.zeros_(layer.weight)
    return nn.Sequential(layer, nn.Flatten(0))


def deep(model: CoxMlp, inputs: int) -> nn.Module:
    """Return the untrained perceptron `(cases, inputs) -> (cases,)`, with weights from torch's default generator."""
    return build(Mlp(hidden=model.hidden, dropout=model.dropout), inputs)


def read_hazards(model: Cox | CoxMlp, facts: Mapping[str, Any], content: bytes) -> Hazards:
    """Build the learner that `Hazards.save` wrote.

    Args:
        model: the `model` block it was built from.
        facts: content of `model.json`.
        content: verified content of `model.safetensors`.
    """
    learner: Hazards
    if isinstance(model, Cox):
        learner = LinearHazards(model, facts["features"], facts["classes"], facts, Train())
    else:
        learner = DeepHazards(model, facts["features"], facts["classes"], facts, seed=0)
    learner.encoding, learner.reading = Encoding.from_list(facts["encoding"]), facts.get("reading", {})
    inputs = len(learner.encoding.columns)
    learner.network = linear(inputs) if isinstance(model, Cox) else deep(model, inputs)
    tensors = load_tensors(content)
    weights = {name.removeprefix("network."): t for name, t in tensors.items() if name.startswith("network.")}
    learner.network.load_state_dict(weights)
    learner.network.eval()
    days, hazard, last = (tensors[f"baseline.{name}"].numpy() for name in ("days", "hazard", "last_day"))
    learner.baseline = Baseline(days, hazard, float(last[0]))
    learner.centre, learner.limits = float(tensors["centre"][0]), tensors["limits"].numpy()
    return learner
