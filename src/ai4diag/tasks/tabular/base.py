"""What every tabular learner shares: which cases it can be asked about, and how its scores are judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ai4diag.data.prepared import Prepared
from ai4diag.errors import DataError
from ai4diag.evaluation.ranking import Ranking

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


def truth(prepared: Prepared, rows: Rows) -> Array:
    """Return the truth of `rows` as 0.0 and 1.0, `(cases,)`."""
    values: Array = prepared.index["truth"].to_numpy(np.float64)[rows]
    return values


def training_truth(prepared: Prepared, rows: Rows) -> Array:
    """Return the truth of training rows.

    Raises:
        DataError: a class is missing among them, so that there is nothing to learn.
    """
    values = truth(prepared, rows)
    positives = int(values.sum())
    if positives in (0, len(values)):
        absent = prepared.classes[0 if positives else 1]
        raise DataError(
            f"None of the {len(values)} training cases is '{absent}'; both classes are needed.",
            "Check the label in the dataset card, or choose another data.split.seed.",
        )
    return values


def features(prepared: Prepared, rows: Rows, learned: Sequence[Mapping[str, Any]]) -> Array:
    """Return the features of `rows`, `(cases, features)`, when they are the ones that the model learned from.

    Raises:
        DataError: the prepared cases have other features, or in another order, or with other units or levels.
    """
    given = list(prepared.facts["features"])
    if len(given) != len(learned):
        raise DataError(
            f"The cases have {len(given)} features; the model was trained on {len(learned)}.",
            "Prepare the cases with the recipe of the model.",
        )
    for found, expected in zip(given, learned, strict=True):
        for key in ("name", "kind", "unit", "levels"):
            if found.get(key) != expected.get(key):
                raise DataError(
                    f"Feature '{found['name']}' has {key} {found.get(key)!r}; "
                    f"the model was trained on '{expected['name']}' with {expected.get(key)!r}.",
                    "Prepare the cases with the recipe of the model.",
                )
    return prepared.features[rows]


def figures(truth: Array, score: Array) -> dict[str, float]:
    """Return validation figures of scores `(cases,)` in [0, 1]; there must be a case.

    `score`, the one to maximise, is the negative log loss: it moves with every case, where AUROC on a small validation
    part jumps, or stays at 1. `auroc` is NaN when a class is missing.
    """
    clipped = score.clip(1e-15, 1 - 1e-15)
    log_loss = -float(np.mean(np.where(truth == 1, np.log(clipped), np.log1p(-clipped))))
    return {"score": -log_loss, "auroc": float(Ranking(truth, score).areas()[0]), "log_loss": log_loss}
