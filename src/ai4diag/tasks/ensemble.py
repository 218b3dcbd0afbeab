"""Answers of several models, of folds or seeds, joined to one.

Scores, risks and survival curves are averaged; boxes that overlap are fused as the views of one image are
(`ai4diag.tasks.detection.answers`); voxels of label maps take the class that most models gave them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ai4diag.errors import DataError
from ai4diag.masks import vote


def join(tables: Sequence[pd.DataFrame], classes: int, same_object: float | None = None) -> pd.DataFrame:
    """Return one table of predictions from those of several models about the same cases.

    Args:
        tables: what `Learner.predict` of each model returned, at least one.
        classes: number of classes.
        same_object: overlap above which two boxes are taken for one object, where the model has such a setting.

    Raises:
        DataError: the models answered with different columns or about different numbers of cases.
    """
    first = tables[0]
    for other in tables[1:]:
        if list(other) != list(first) or len(other) != len(first):
            raise DataError(
                f"One model answers with {', '.join(map(str, other))} about {len(other)} cases, another with "
                f"{', '.join(map(str, first))} about {len(first)}.",
                "Only models of the same task can answer together.",
            )
    if len(tables) == 1:
        return first
    if "boxes" in first:
        lines = zip(*(table.to_dict("records") for table in tables), strict=True)
        return pd.DataFrame([_fused(line, classes, same_object) for line in lines], columns=list(first))
    if "runs" in first:
        each = [vote(list(cells)) for cells in zip(*(table["runs"] for table in tables), strict=True)]
        return pd.DataFrame({"runs": pd.Series(each, dtype=object)})
    return pd.DataFrame({name: _mean([table[name] for table in tables]) for name in first})


def _mean(columns: Sequence[pd.Series]) -> pd.Series:
    """Return the mean of numbers, or of lists of numbers line by line."""
    if columns[0].dtype.kind in "fiu":
        return pd.Series(np.mean([column.to_numpy(np.float64) for column in columns], axis=0))
    each = [np.mean(np.stack([np.asarray(cell) for cell in cells]), axis=0) for cells in zip(*columns, strict=True)]
    return pd.Series(each, dtype=object)


def _fused(lines: Sequence[Mapping[str, Any]], classes: int, same_object: float | None) -> dict[str, np.ndarray]:
    from ai4diag.tasks.detection.answers import SAME_OBJECT, answer

    sides = next((len(line["boxes"]) // len(line["scores"]) for line in lines if len(line["scores"])), 4)
    views = []
    for line in lines:
        labels, scores = np.asarray(line["labels"], np.int64), np.asarray(line["scores"], np.float32)
        of_class = np.zeros((len(scores), classes), np.float32)
        of_class[np.arange(len(scores)), labels] = scores
        views.append((of_class, np.asarray(line["boxes"], np.float32).reshape(-1, sides)))
    found = answer(views, (float("inf"),) * (sides // 2), same_object or SAME_OBJECT)
    return {"boxes": found.boxes.ravel(), "labels": found.labels, "scores": found.scores}
