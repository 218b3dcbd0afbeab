"""The learner of signals: cases on the device, one augmented batch and its loss, probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import torch.nn.functional as F
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from ai4diag.config.timeseries import ResNet1d
from ai4diag.data.prepared import Prepared
from ai4diag.errors import ConfigError, DataError
from ai4diag.evaluation.ranking import Ranking
from ai4diag.tasks.memory import fits
from ai4diag.tasks.stored import write_model
from ai4diag.tasks.timeseries.augment import apply, check_names, draw
from ai4diag.tasks.timeseries.network import SignalNetwork

WEIGHTS = "model.safetensors"
_AT_ONCE = 512
"""Cases in one forward pass of a prediction."""
SIGNALS = ("channels", "sample_rate_hz", "samples", "unit", "cutting", "features", "preprocessed")
"""What of `prepared.json` a model needs to know, to refuse other signals and to cut new records alike."""

Rows = npt.NDArray[np.int64]


class SignalLearner:
    """A network on signals for the training loop (`ai4diag.tasks.base.NetworkLearner`).

    Args:
        model: the recipe's `model` block.
        target: `binary`, `multiclass` or `multilabel`.
        classes: class names; of two, the positive one is second.
        signals: `SIGNALS` of `prepared.json`.
        augment: the recipe's `train.augment`.
        seed: of the initial weights.

    Raises:
        ConfigError: an augmentation is not known.
    """

    def __init__(
        self,
        model: ResNet1d,
        target: str,
        classes: Sequence[str],
        signals: Mapping[str, Any],
        augment: Sequence[str],
        seed: int,
    ) -> None:
        check_names(augment)
        self.model, self.target, self.classes, self.augment = model, target, tuple(classes), tuple(augment)
        self.signals = {name: signals[name] for name in SIGNALS if name in signals}
        side = len(self.signals.get("features", ())) if model.rhythm else 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = SignalNetwork(
                len(self.signals["channels"]),
                side,
                1 if target == "binary" else len(self.classes),
                model.width,
                model.stages,
                model.blocks,
                model.kernel,
                model.dropout,
            )
        self.usual: list[float] | None = None
        self._medians: tuple[Path, dict[str, Tensor]] = (Path(), {})
        self.spread = torch.ones(len(self.signals["channels"]))
        self.side_spread = torch.ones(side)

    def place(self, prepared: Prepared, train: Rows, device: torch.device) -> None:
        """Learn spreads from rows `train`, and put the network, and the cases if they fit, on the device.

        Raises:
            DataError: the cases are not of the form that the learner was built for, or a class has no training case.
        """
        self._refuse_others(prepared)
        truth = truth_of(prepared)
        self._refuse_missing_classes(truth[train])
        square = np.zeros(len(self.spread))
        for start in range(0, len(train), _AT_ONCE):
            some = np.asarray(prepared.signals[train[start : start + _AT_ONCE]], np.float64)
            square += ((some - np.median(some, axis=2, keepdims=True)) ** 2).mean(axis=2).sum(axis=0)
        self.spread = torch.from_numpy(np.sqrt(square / len(train)).clip(1e-6)).float()
        if len(self.side_spread):
            spread = _log_ratios(prepared.features[train]).std(axis=0).clip(1e-3)
            self.side_spread = torch.from_numpy(spread).float()
        self._prepared, self._held, self._train, self.usual = prepared, None, train, None
        self._medians = (Path(), {})
        self._truth = torch.from_numpy(truth).to(device)
        self.network.to(device)
        if fits(prepared.signals.nbytes, device):
            everyone = np.arange(len(prepared.index))
            parts = [self._inputs(prepared, rows) for rows in np.array_split(everyone, -(-len(everyone) // 4096))]
            self._held = [torch.cat(column).to(device) for column in zip(*parts, strict=True)]

    def loss(self, rows: Tensor, generator: torch.Generator, share: slice = slice(None)) -> dict[str, Tensor]:
        """Return the mean log loss of a share of one augmented batch; `rows` int64 `(batch,)` on the CPU."""
        device, batch = self._truth.device, len(rows)
        rows = rows[share]
        chosen = rows.to(device)
        if self._held is not None:
            signals, side = (column[chosen] for column in self._held)
        else:
            signals, side = (column.to(device) for column in self._inputs(self._prepared, rows.numpy()))
        if self.augment:
            signals = apply(signals, draw(self.augment, (batch, *signals.shape[1:]), generator)[share])
        return {"loss": self._log_loss(self.network(signals, side), self._truth[chosen])}

    def score(self, prepared: Prepared, rows: Rows) -> dict[str, float]:
        """Return `score` (negative log loss), `log_loss`, and `auroc` (mean over classes that have both kinds)."""
        logits = self._logits(prepared, rows)
        truth = truth_of(prepared)[rows]
        log_loss = float(self._log_loss(logits, torch.from_numpy(truth)))
        values = self._probabilities(logits).numpy()
        held = {"binary": truth[:, None], "multilabel": truth}.get(
            self.target, truth[:, None] == np.arange(values.shape[1])
        )
        areas = [Ranking(held[:, k], values[:, k]).areas(np.ones((1, len(rows))))[0][0] for k in range(held.shape[1])]
        known = [area for area in areas if not np.isnan(area)]
        return {"score": -log_loss, "auroc": float(np.mean(known)) if known else float("nan"), "log_loss": log_loss}

    def predict(self, prepared: Prepared, rows: Rows) -> pd.DataFrame:
        """Return `score`, the probability of the positive class, or `score_<class>` for each; one line per row.

        Raises:
            DataError: the cases are of another form than those that were learned from.
        """
        self._refuse_others(prepared)
        logits = self._logits(prepared, rows)
        if self.model.centre:
            logits = logits - self._medians_of(prepared, rows) + torch.tensor(self._usual(), dtype=torch.float64)
        values = self._probabilities(logits).numpy()
        names = ["score"] if self.target == "binary" else [f"score_{name}" for name in self.classes]
        return pd.DataFrame(values, columns=names)

    def save(self, folder: Path) -> None:
        """Write `model.safetensors` and `model.json`."""
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        facts = {
            "model": self.model.model_dump(mode="json"),
            "target": self.target,
            "classes": list(self.classes),
            "signals": self.signals,
            "spread": self.spread.tolist(),
            "side_spread": self.side_spread.tolist(),
            "usual": self._usual() if self.model.centre else None,
        }
        write_model(folder, "timeseries", WEIGHTS, save_tensors(weights), facts)

    def _inputs(self, prepared: Prepared, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return normalised signals `(cases, channels, samples)` and side inputs `(cases, side)`, on the CPU."""
        signals = torch.from_numpy(np.array(prepared.signals[rows], np.float32))
        signals = signals - signals.median(2, keepdim=True).values
        if self.model.normalise == "record":
            signals = signals / torch.from_numpy(prepared.scales[rows])[:, :, None]
        elif self.model.normalise == "window":
            signals = signals / signals.std(2, keepdim=True).clamp(min=1e-6)
        else:
            signals = signals / self.spread[:, None]
        if not len(self.side_spread):
            return signals, torch.zeros(len(rows), 0)
        return signals, torch.from_numpy(_log_ratios(prepared.features[rows])).float() / self.side_spread

    @torch.inference_mode()
    def _logits(self, prepared: Prepared, rows: Rows) -> Tensor:
        """Return logits in double precision on the CPU, `(cases, outputs)`."""
        self.network.eval()
        device = next(self.network.parameters()).device
        parts = [torch.zeros(0, 1 if self.target == "binary" else len(self.classes), dtype=torch.float64)]
        for start in range(0, len(rows), _AT_ONCE):
            signals, side = self._inputs(prepared, rows[start : start + _AT_ONCE])
            parts.append(self.network(signals.to(device), side.to(device)).double().cpu())
        return torch.cat(parts)

    def _usual(self) -> list[float]:
        """Return the median logits of a training record, averaged over these; learned after the network."""
        if self.usual is None:
            names = self._prepared.index["record"].to_numpy()[self._train]
            rows = [self._train[names == name] for name in sorted(set(names))]
            medians = [self._logits(self._prepared, own).median(0).values for own in rows]
            self.usual = torch.stack(medians).mean(0).tolist()
        return self.usual

    def _medians_of(self, prepared: Prepared, rows: Rows) -> Tensor:
        """Return the median logits of the record of each row, over all its cases, `(rows, outputs)`."""
        if self._medians[0] != prepared.folder:
            self._medians = (prepared.folder, {})
        known, names = self._medians[1], prepared.index["record"].to_numpy()
        for name in set(names[rows]) - known.keys():
            known[name] = self._logits(prepared, np.flatnonzero(names == name)).median(0).values
        return torch.stack([known[name] for name in names[rows]]) if len(rows) else torch.zeros(0, 1)

    def _probabilities(self, logits: Tensor) -> Tensor:
        return logits.softmax(1) if self.target == "multiclass" else logits.sigmoid()

    def _log_loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        if self.target == "multiclass":
            return F.cross_entropy(logits.float(), truth)
        held = truth[:, None] if self.target == "binary" else truth
        return F.binary_cross_entropy_with_logits(logits.float(), held.float())

    def _refuse_missing_classes(self, truth: npt.NDArray[np.int64]) -> None:
        held = truth if self.target == "multilabel" else truth[:, None] == np.arange(len(self.classes))
        absent = [name for number, name in enumerate(self.classes) if not held[:, number].any()]
        if absent:
            raise DataError(f"No training case is of class '{absent[0]}'.", "Take more cases, or another split.")

    def _refuse_others(self, prepared: Prepared) -> None:
        given = {"classes": prepared.classes, "target": prepared.target, **_form(prepared.facts)}
        own = {"classes": self.classes, "target": self.target, **_form(self.signals)}
        for name, expected in own.items():
            if given[name] != expected:
                raise DataError(
                    f"The cases have {name} {given[name]}; the model has {expected}.",
                    "Prepare the cases with the recipe of the model.",
                )


def truth_of(prepared: Prepared) -> npt.NDArray[np.int64]:
    """Return the class number of each case `(cases,)`, or 0 and 1 for each class `(cases, classes)` in multilabel."""
    if prepared.target == "multilabel":
        return prepared.index[[f"truth_{name}" for name in prepared.classes]].to_numpy(np.int64)
    return prepared.index["truth"].to_numpy(np.int64)


def read_learner(model: ResNet1d, facts: Mapping[str, Any], weights: bytes) -> SignalLearner:
    """Build the learner that `SignalLearner.save` wrote.

    Args:
        model: the `model` block it was built from.
        facts: content of `model.json`.
        weights: verified content of `model.safetensors`.

    Raises:
        DataError: the weights are not those of the network that `model.json` describes.
    """
    learner = SignalLearner(model, facts["target"], facts["classes"], facts["signals"], augment=(), seed=0)
    try:
        learner.network.load_state_dict(load_tensors(weights))
    except RuntimeError as error:
        raise DataError(
            f"The weights do not fit the network of model.json: {error}.", "Restore the folder, or train again."
        ) from None
    learner.usual = facts["usual"]
    learner.spread, learner.side_spread = torch.tensor(facts["spread"]), torch.tensor(facts["side_spread"])
    learner.network.eval()
    return learner


def build(model: Any, prepared: Prepared, augment: Sequence[str], seed: int) -> SignalLearner:
    """Return the untrained learner for prepared cases.

    Raises:
        ConfigError: the model is of another kind, or an augmentation is not known.
    """
    if not isinstance(model, ResNet1d):
        raise ConfigError(f"model.network is '{model.network}'; expected resnet1d.")
    return SignalLearner(model, prepared.target, prepared.classes, prepared.facts, augment, seed)


def _form(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must agree between cases and model; the channels only in number where the card numbers them."""
    return {
        "channels": len(facts["channels"]),
        "sample_rate_hz": float(facts["sample_rate_hz"]),
        "samples": int(facts["samples"]),
        "unit": facts["unit"],
        "features": [item["name"] for item in facts.get("features", ())],
    }


def _log_ratios(features: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return logarithms of ratios, 0 where unknown: as if the interval were like the others."""
    return np.nan_to_num(np.log(np.clip(features, 0.05, 20.0)))
