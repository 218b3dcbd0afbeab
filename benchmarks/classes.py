"""Scores of several classes and of findings: every estimate with its interval, beside a loop around scikit-learn.

The peer computes five numbers that scikit-learn has ready on a few resamples, scaled; our side draws 10,000 resamples
and makes intervals of everything that a report shows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ai4diag.config.plan import Evaluate, Interval
from ai4diag.evaluation.classification import Threshold
from ai4diag.evaluation.evaluate import evaluate
from ai4diag.evaluation.multiclass_scores import MulticlassScores
from ai4diag.evaluation.multilabel_scores import MultilabelScores, ThresholdPerClass
from benchmarks import Row, agree, side_by_side, versions

CASES, RESAMPLES, FEW = 10_000, 10_000, 3
ROUNDS = 3
CLASSES = tuple(f"kind {number}" for number in range(9))
FINDINGS = tuple(f"finding {number}" for number in range(14))
Array = np.ndarray[Any, Any]


def run() -> list[Row]:
    """Measure on one thread."""
    generator = np.random.default_rng(1)
    drawn = [generator.integers(0, CASES, CASES) for _ in range(FEW)]
    return [classes(drawn), findings(drawn)]


def _table(columns: dict[str, Array]) -> pd.DataFrame:
    names = [f"c{number}" for number in range(CASES)]
    return pd.DataFrame({"case_id": names, "patient_id": names, "fold": 0, "part": "test", **columns})


def _weights(drawn: list[Array]) -> Array:
    return np.stack([np.bincount(rows, minlength=CASES) for rows in drawn]).astype(np.float64)


def classes(drawn: list[Array]) -> Row:
    """Compare the estimates of nine classes."""
    from sklearn import metrics

    generator = np.random.default_rng(0)
    truth = generator.integers(0, len(CLASSES), CASES)
    score = generator.random((CASES, len(CLASSES))) + 0.5 * (truth[:, None] == np.arange(len(CLASSES)))
    score /= score.sum(axis=1, keepdims=True)
    table = _table({"truth": truth, **{f"score_{name}": score[:, k] for k, name in enumerate(CLASSES)}})
    plan = Evaluate(primary="auroc_macro", interval=Interval(resamples=RESAMPLES))
    names = ["auroc_macro", "accuracy", "balanced_accuracy", "f1_macro", "log_loss"]

    def ours() -> Any:
        return evaluate(table, task="classification", target="multiclass", classes=CLASSES, plan=plan)

    def peer() -> list[list[float]]:
        found = []
        for rows in drawn:
            true, said = truth[rows], score[rows]
            answer = said.argmax(axis=1)
            found.append(
                [
                    float(metrics.roc_auc_score(true, said, multi_class="ovr")),
                    float(metrics.accuracy_score(true, answer)),
                    float(metrics.balanced_accuracy_score(true, answer)),
                    float(metrics.f1_score(true, answer, average="macro")),
                    float(metrics.log_loss(true, said)),
                ]
            )
        return found

    statistic = MulticlassScores(table, CLASSES).statistic([(name, "all") for name in names])
    agree(statistic(_weights(drawn)), peer())
    mine, theirs = side_by_side(ours, peer, ROUNDS)
    return _row(f"estimates of {len(CLASSES)} classes", mine, theirs, len(ours().estimates), len(names))


def findings(drawn: list[Array]) -> Row:
    """Compare the estimates of fourteen findings."""
    from sklearn import metrics

    generator = np.random.default_rng(0)
    truth = generator.random((CASES, len(FINDINGS))) < 0.1
    score = np.clip(0.3 * truth + 0.7 * generator.random(truth.shape), 0, 1)
    columns = {f"truth_{name}": truth[:, k].astype(np.int64) for k, name in enumerate(FINDINGS)}
    table = _table({**columns, **{f"score_{name}": score[:, k] for k, name in enumerate(FINDINGS)}})
    plan = Evaluate.model_validate(
        {"primary": "auroc_macro", "interval": {"resamples": RESAMPLES}, "operating_point": {"threshold": 0.5}}
    )
    names = ["auroc_macro", "auprc_macro", "accuracy", "exact_match", "f1_macro"]

    def ours() -> Any:
        return evaluate(table, task="classification", target="multilabel", classes=FINDINGS, plan=plan)

    def peer() -> list[list[float]]:
        found = []
        for rows in drawn:
            true, said = truth[rows], score[rows]
            answer = said >= 0.5
            found.append(
                [
                    float(metrics.roc_auc_score(true, said)),
                    float(metrics.average_precision_score(true, said)),
                    float(1 - metrics.hamming_loss(true, answer)),
                    float(metrics.accuracy_score(true, answer)),
                    float(metrics.f1_score(true, answer, average="macro")),
                ]
            )
        return found

    half = Threshold(0.5, "")
    at = ThresholdPerClass(0.5, "", {}, "", (half,) * len(FINDINGS))
    statistic = MultilabelScores(table, FINDINGS, at).statistic([(name, "all") for name in names])
    agree(statistic(_weights(drawn)), peer())
    mine, theirs = side_by_side(ours, peer, ROUNDS)
    return _row(f"estimates of {len(FINDINGS)} findings", mine, theirs, len(ours().estimates), len(names))


def _row(name: str, mine: Any, theirs: Any, estimates: int, compared: int) -> Row:
    return Row(
        f"{name}, {RESAMPLES:,} x {CASES:,}",
        "scikit-learn in a loop",
        mine,
        theirs.times(RESAMPLES / FEW),
        100.0,
        versions("scikit-learn", "numba"),
        f"{estimates} estimates with intervals on our side, {compared} numbers on theirs. scikit-learn on {FEW} "
        f"resamples, times {RESAMPLES // FEW:,}.",
    )
