"""Scores of two classes: intervals of AUROC and average precision, all estimates of a classifier, one evaluation.

The bootstrap of 10,000 resamples of 10,000 cases is drawn, weighted and turned into intervals on our side; the peer is
the loop that everybody writes around scikit-learn, on fewer resamples, scaled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ai4diag.config.plan import Evaluate, Interval
from ai4diag.evaluation.bootstrap import intervals
from ai4diag.evaluation.evaluate import evaluate
from ai4diag.evaluation.ranking import Ranking
from benchmarks import Row, agree, bound, repeat, side_by_side, versions

CASES, RESAMPLES, FEW = 10_000, 10_000, 20
ROUNDS = 5


def run() -> list[Row]:
    """Measure on one thread."""
    truth, score = cases(CASES)
    return [resampling(truth, score), everything(truth, score), once()]


def cases(n: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return truth, a third of it positive, and scores that are probabilities."""
    generator = np.random.default_rng(0)
    truth = (generator.random(n) < 1 / 3).astype(np.int64)
    return truth, 1 / (1 + np.exp(-generator.normal(1.5 * truth - 1, 1)))


def resampling(truth: np.ndarray[Any, Any], score: np.ndarray[Any, Any]) -> Row:
    """Compare the bootstrap with a loop around scikit-learn."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    plan = Interval(resamples=RESAMPLES)
    generator = np.random.default_rng(1)
    drawn = [generator.integers(0, CASES, CASES) for _ in range(FEW)]

    def ours() -> Any:
        ranking = Ranking(truth, score)
        return intervals(lambda weights: np.stack(ranking.areas(weights), axis=1), np.arange(CASES), plan)

    def peer() -> list[list[float]]:
        return [[roc_auc_score(truth[d], score[d]), average_precision_score(truth[d], score[d])] for d in drawn]

    weights = np.stack([np.bincount(d, minlength=CASES) for d in drawn]).astype(np.float64)
    agree(np.stack(Ranking(truth, score).areas(weights, compiled=True), axis=1), peer())
    mine, theirs = side_by_side(ours, peer, ROUNDS)
    name = f"bootstrap of AUROC and AUPRC, {RESAMPLES:,} x {CASES:,}"
    note = f"scikit-learn on {FEW} resamples, times {RESAMPLES // FEW}."
    theirs = theirs.times(RESAMPLES / FEW)
    return Row(name, "scikit-learn in a loop", mine, theirs, 100.0, versions("scikit-learn", "numba"), note)


def everything(truth: np.ndarray[Any, Any], score: np.ndarray[Any, Any]) -> Row:
    """Measure the whole table of estimates of a classifier."""
    half = CASES // 2
    table = pd.DataFrame(
        {
            "case_id": [f"c{number}" for number in range(CASES + half)],
            "patient_id": [f"p{number}" for number in range(CASES + half)],
            "fold": 0,
            "part": ["test"] * CASES + ["validation"] * half,
            "truth": np.concatenate([truth, truth[:half]]),
            "score": np.concatenate([score, score[:half]]),
        }
    )
    plan = Evaluate(primary="auroc", interval=Interval(resamples=RESAMPLES))

    def ours() -> Any:
        return evaluate(table, task="tabular", classes=("no", "yes"), plan=plan)

    found = [estimate for estimate in ours().estimates if estimate.part == "test"]
    note = f"{len(found)} estimates with intervals, the headline on validation, and what the report draws."
    seconds = bound(3.0, ours)
    return Row(f"estimates of a classifier, {RESAMPLES:,} x {CASES:,}", "limit", *seconds, 1.0, versions("numba"), note)


def once() -> Row:
    """Compare one evaluation without intervals with torchmetrics, exact curves."""
    import torch
    from torchmetrics.functional.classification import binary_auroc, binary_average_precision

    torch.set_num_threads(1)
    truth, score = cases(100_000)
    tensors = torch.from_numpy(score), torch.from_numpy(truth)

    def ours() -> Any:
        return Ranking(truth, score).areas()

    def peer() -> Any:
        return [float(work(*tensors)) for work in (binary_auroc, binary_average_precision)]

    agree(ours(), peer(), 1e-5)
    mine, theirs = side_by_side(repeat(ours, 5), repeat(peer, 5))
    name = "AUROC and AUPRC once, 100,000 cases"
    return Row(name, "torchmetrics", mine.times(0.2), theirs.times(0.2), 1.0, versions("torchmetrics", "torch"))
