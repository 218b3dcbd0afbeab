"""Logistic regression and multi-layer perceptron: torch modules that the training loop fits.

Both look at the columns of `encoding` and return one logit per case. The logistic regression starts at zero and
minimises the mean log loss plus `l2 / (2 n) * |w|^2` over n training cases, the bias left out of the penalty: the same
minimum as scikit-learn's `LogisticRegression(C=1 / l2)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ai4diag.config.tabular import LogisticRegression, Mlp
from ai4diag.data.prepared import Prepared
from ai4diag.tasks.stored import write_model
from ai4diag.tasks.tabular.base import Rows, features, figures, training_truth, truth
from ai4diag.tasks.tabular.encoding import Array, Encoding

WEIGHTS = "model.safetensors"
_CHUNK = 65_536


def build(model: LogisticRegression | Mlp, inputs: int) -> nn.Module:
    """Return the untrained module `(cases, inputs) -> (cases,)`, with weights from torch's default generator."""
    if model.network == "logistic_regression":
        linear = nn.Linear(inputs, 1)
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
        return nn.Sequential(linear, nn.Flatten(0))
    layers: list[nn.Module] = []
    for units in model.hidden:
        layers += [nn.Linear(inputs, units), nn.ReLU(), nn.Dropout(model.dropout)]
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, 1), nn.Flatten(0))


class TabularNetwork:
    """A network on encoded features, for the training loop (`ai4diag.tasks.base.NetworkLearner`).

    Args:
        model: the recipe's `model` block.
        features: the entries of `prepared.json`, in the order of the columns.
        classes: names of the negative and the positive class.
        seed: of the initial weights.
    """

    network: nn.Module
    encoding: Encoding
    reading: Mapping[str, Any] = MappingProxyType({})
    """How tables are read (`data.gather_table`)."""

    def __init__(
        self, model: LogisticRegression | Mlp, features: Sequence[Mapping[str, Any]], classes: Sequence[str], seed: int
    ) -> None:
        self.model, self.features, self.classes, self.seed = model, list(features), list(classes), seed
        self.penalty = 0.0

    def place(self, prepared: Prepared, train: Rows, device: torch.device) -> None:
        """Learn the encoding from rows `train`, build the network for its columns, and put all cases on the device.

        Raises:
            DataError: a class is missing in rows `train`, or no feature has a value in them.
        """
        training_truth(prepared, train)
        everyone = np.arange(len(prepared.index))
        table = features(prepared, everyone, self.features)
        self.encoding = Encoding.learn(table[train], self.features)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network = build(self.model, len(self.encoding.columns)).to(device)
        self.cases = torch.from_numpy(self.encoding.transform(table)).to(device, torch.float32)
        self.outcomes = torch.from_numpy(truth(prepared, everyone)).to(device, torch.float32)
        if self.model.network == "logistic_regression":
            self.penalty = self.model.l2 / (2 * len(train))

    def loss(self, rows: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Return the mean log loss of `rows` `(batch,)`, and with a penalty both apart. Nothing is augmented."""
        rows = rows.to(self.cases.device)
        log_loss = binary_cross_entropy_with_logits(self.network(self.cases[rows]).float(), self.outcomes[rows])
        if not self.penalty:
            return {"loss": log_loss}
        weights = self.network.get_parameter("0.weight")
        return {"loss": log_loss + self.penalty * weights.square().sum(), "log_loss": log_loss}

    def score(self, prepared: Prepared, rows: Rows) -> dict[str, float]:
        """Return `score` (negative log loss), `auroc` and `log_loss` of rows."""
        return self.judge(prepared, rows, self.probability(features(prepared, rows, self.features)))

    def judge(self, prepared: Prepared, rows: Rows, probability: Array) -> dict[str, float]:
        """Return the figures of `score` for probabilities `(cases,)` that are known already."""
        return figures(truth(prepared, rows), probability)

    def predict(self, prepared: Prepared, rows: Rows) -> pd.DataFrame:
        """Return `score`, the probability of the positive class, one line per row.

        Raises:
            DataError: the prepared cases have other features than those that were learned from.
        """
        return pd.DataFrame({"score": self.probability(features(prepared, rows, self.features))})

    def probability(self, table: Array) -> Array:
        """Return the probability of the positive class `(cases,)` for raw features `(cases, features)`."""
        self.network.eval()
        device = next(self.network.parameters()).device
        columns = torch.from_numpy(self.encoding.transform(table)).float()
        with torch.inference_mode():
            parts = [self.network(part.to(device)).double().sigmoid().cpu() for part in torch.split(columns, _CHUNK)]
        return torch.cat(parts).numpy()

    def save(self, folder: Path) -> None:
        """Write `model.safetensors` and `model.json`."""
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        facts = {"classes": self.classes, "features": self.features, "reading": dict(self.reading)}
        facts["encoding"] = self.encoding.as_list()
        write_model(
            folder, "tabular", WEIGHTS, save_tensors(weights), {"model": self.model.model_dump(mode="json"), **facts}
        )


def read_network(model: LogisticRegression | Mlp, facts: Mapping[str, Any], weights: bytes) -> TabularNetwork:
    """Build the learner that `TabularNetwork.save` wrote.

    Args:
        model: the `model` block it was built from.
        facts: content of `model.json`.
        weights: verified content of `model.safetensors`.
    """
    learner = TabularNetwork(model, facts["features"], facts["classes"], seed=0)
    learner.encoding, learner.reading = Encoding.from_list(facts["encoding"]), facts.get("reading", {})
    learner.network = build(model, len(learner.encoding.columns))
    learner.network.load_state_dict(load_tensors(weights))
    learner.network.eval()
    return learner
