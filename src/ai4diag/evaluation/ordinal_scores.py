"""What is estimated from predictions of steps of a scale: as of several classes, and how far an answer is off.

Their columns are those of `ai4diag.evaluation.multiclass_scores`, and the classes stand in their order.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ai4diag.evaluation.classification import Threshold
from ai4diag.evaluation.multiclass_scores import MulticlassScores, check, choose_threshold

__all__ = ["check", "choose_threshold", "scores"]


def scores(rows: pd.DataFrame, classes: Sequence[str], thresholds: Threshold) -> MulticlassScores:
    """Return the cases, ready to be weighted."""
    return MulticlassScores(rows, classes, thresholds, ordered=True)
