"""Gradient-boosted trees: LightGBM behind the `SelfFitting` protocol.

Trees see the features as they are: numbers in raw units, levels as categories, NaN where missing. A level that the
training rows do not hold goes where none of the known levels of a split goes. Equal rows, settings and seed give equal
trees, whatever else the machine does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import lightgbm
import numpy as np
import pandas as pd

from ai4diag.config.tabular import GradientBoosting
from ai4diag.config.train import Train
from ai4diag.data.prepared import Prepared
from ai4diag.errors import DataError
from ai4diag.tasks.base import Notify
from ai4diag.tasks.stored import write_model
from ai4diag.tasks.tabular.base import Array, Rows, features, figures, training_truth, truth

TREES = "model.txt"
REPORT_EVERY = 10
"""Boosting rounds between two `epoch` events; the first and the last round are always told."""
_SMALL_TABLE = 1_000_000
"""Values up to which one thread is faster than several. It is the table that decides, never the machine: sums over
another number of threads could differ in the last bits."""
_ONE_AGAINST_REST_LEVELS = 32
"""Up to so many levels a split sets one level apart; LightGBM's grouping of levels wants a hundred cases in each."""


class Trees:
    """Gradient-boosted trees that fit themselves.

    Args:
        model: the recipe's `model` block.
        train: its `train` block: `epochs` boosting rounds, `learning_rate`, `patience` in rounds, `seed`.
        features: the entries of `prepared.json`, in the order of the columns.
        classes: names of the negative and the positive class.
    """

    booster: lightgbm.Booster
    reading: Mapping[str, Any] = MappingProxyType({})
    """How tables are read (`data.gather_table`)."""

    def __init__(
        self, model: GradientBoosting, train: Train, features: Sequence[Mapping[str, Any]], classes: Sequence[str]
    ) -> None:
        self.model, self.train, self.features, self.classes = model, train, list(features), list(classes)

    def fit(self, prepared: Prepared, train: Rows, validation: Rows, notify: Notify) -> None:
        """Fit on rows `train`; with `train.patience`, keep the round with the least log loss on rows `validation`.

        Raises:
            DataError: a class is missing in rows `train`.
        """
        begin = time.perf_counter()
        rounds = self.train.epochs
        booster = self._start(prepared, train, validation)
        facts = {"epochs": rounds, "epoch": 0, "cases": len(train), "parameters": 0}
        notify("started", {**facts, "device": "cpu", "precision": "float64"})
        watched = features(prepared, validation, self.features), truth(prepared, validation)
        patience = self.train.patience if len(validation) else None
        least, best, done, reported = math.inf, 0, 0, begin
        while done < rounds:
            exhausted = booster.update()
            done = booster.current_iteration()
            if len(validation) and (log_loss := booster.eval_valid()[0][2]) < least:
                least, best = log_loss, done
            ends = exhausted or done == rounds or (patience is not None and done - best >= patience)
            if ends or done == 1 or done % REPORT_EVERY == 0:
                now = time.perf_counter()
                event = {
                    "epoch": done,
                    "loss": booster.eval_train()[0][2],
                    "learning_rate": self.train.learning_rate,
                    "validation": figures(watched[1], _probability(booster, watched[0])) if len(validation) else {},
                }
                notify("epoch", {**event, "epochs": rounds, "seconds": now - reported})
                reported = now
            if ends:
                break
        kept = best if patience is not None else done
        self.booster = lightgbm.Booster(model_str=booster.model_to_string(num_iteration=kept))
        best_epoch = best if patience is not None else 0
        notify("finished", {"epochs": done, "best_epoch": best_epoch, "seconds": time.perf_counter() - begin})

    def predict(self, prepared: Prepared, rows: Rows) -> pd.DataFrame:
        """Return `score`, the probability of the positive class, one line per row.

        Raises:
            DataError: the prepared cases have other features than those that were learned from.
        """
        return pd.DataFrame({"score": self.probability(features(prepared, rows, self.features))})

    def probability(self, table: Array) -> Array:
        """Return the probability of the positive class `(cases,)` for raw features `(cases, features)`."""
        return _probability(self.booster, table)

    def save(self, folder: Path) -> None:
        """Write `model.txt`, in LightGBM's own text format, and `model.json`."""
        settings = {"model": self.model.model_dump(mode="json"), "train": self.train.model_dump(mode="json")}
        facts = {"classes": self.classes, "features": self.features, "reading": dict(self.reading)}
        write_model(folder, "tabular", TREES, self.booster.model_to_string().encode(), {**settings, **facts})

    def _start(self, prepared: Prepared, train: Rows, validation: Rows) -> lightgbm.Booster:
        """Return a booster without trees that watches its log loss on rows `validation`."""
        labels = training_truth(prepared, train)
        categories = [number for number, feature in enumerate(self.features) if feature["kind"] == "category"]
        table = features(prepared, train, self.features)
        parameters = self._parameters() | {"num_threads": _threads(table)}
        data = lightgbm.Dataset(table, labels, categorical_feature=categories, params=parameters)
        booster = lightgbm.Booster(parameters, data)
        if len(validation):
            watched = features(prepared, validation, self.features)
            booster.add_valid(data.create_valid(watched, truth(prepared, validation)), "validation")
        return booster

    def _parameters(self) -> dict[str, Any]:
        return {
            "objective": "binary",
            "metric": "binary_logloss",
            "learning_rate": self.train.learning_rate,
            "num_leaves": self.model.leaves,
            "min_data_in_leaf": self.model.min_cases_per_leaf,
            "feature_fraction": self.model.feature_fraction,
            "bagging_fraction": self.model.bagging_fraction,
            "bagging_freq": int(self.model.bagging_fraction < 1),
            "lambda_l2": self.model.l2,
            "max_cat_to_onehot": _ONE_AGAINST_REST_LEVELS,
            "seed": self.train.seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }


def read_trees(model: GradientBoosting, facts: Mapping[str, Any], trees: bytes) -> Trees:
    """Build the learner that `Trees.save` wrote.

    Args:
        model: the `model` block it was built from.
        facts: content of `model.json`.
        trees: verified content of `model.txt`.

    Raises:
        DataError: the trees want another number of features than `model.json` names.
    """
    learner = Trees(model, Train(**facts["train"]), facts["features"], facts["classes"])
    learner.reading = facts.get("reading", {})
    learner.booster = lightgbm.Booster(model_str=trees.decode())
    if (wanted := learner.booster.num_feature()) != len(learner.features):
        raise DataError(
            f"{TREES} wants {wanted} features; model.json names {len(learner.features)}.", "Train the model again."
        )
    return learner


def _probability(booster: lightgbm.Booster, table: Array) -> Array:
    if not len(table):
        return np.empty(0)
    return np.asarray(booster.predict(table, num_threads=_threads(table)), np.float64)


def _threads(table: Array) -> int:
    return 1 if table.size <= _SMALL_TABLE else 4
