"""What the model of a pipeline answered about its cases, as far as `out/` holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ai4diag.evaluation.classification import Threshold
from ai4diag.evaluation.predictions import read_predictions
from ai4diag.evaluation.targets import scored_by
from ai4diag.files import sha256_file
from ai4diag.pipelines import tracked
from ai4diag.pipelines.workspace import Pipeline

WITH_THRESHOLD = ("binary", "boxes")
"""Targets of which one score says from where on the answer is yes."""


@dataclass(frozen=True)
class Answers:
    """Predictions of the latest run of a pipeline.

    Attributes:
        lines: by case, what was answered: the test part where a case is in several.
        threshold: the operating point; None where the target has none.
    """

    lines: Mapping[str, Mapping[str, Any]]
    threshold: Threshold | None

    @classmethod
    def of(cls, pipeline: Pipeline, target: str, classes: tuple[str, ...]) -> Answers | None:
        """Read them; None when nothing was trained, or not on the cases as they are prepared now.

        Raises:
            DataError: the file is damaged.
        """
        path, prepared = pipeline.out / "predictions.parquet", pipeline.out / "prepared" / "prepared.json"
        data = tracked.trained(pipeline).get("data_sha256")
        if not path.is_file() or (data is not None and data != sha256_file(prepared)):
            return None
        table, _ = read_predictions(path)
        test, validation = (table[table["part"] == part] for part in ("test", "validation"))
        both = pd.concat([test, validation]).drop_duplicates("case_id")
        lines = {
            str(line["case_id"]): {str(name): value for name, value in line.items()} for line in both.to_dict("records")
        }
        rule = pipeline.recipe.evaluate.operating_point
        fixed = (
            scored_by(target).choose_threshold(validation, test, classes, rule) if target in WITH_THRESHOLD else None
        )
        return cls(lines, fixed)

    def at(self, line: Mapping[str, Any]) -> float:
        """Return the score from which the answer of a line is yes; NaN where none could be fixed."""
        if self.threshold is None:
            return float("nan")
        fold = int(line["fold"])
        return float(self.threshold.folds.get(fold, self.threshold.value))


def shown_boxes(line: Mapping[str, Any], at: float) -> dict[str, Any]:
    """Return the truth of a line of boxes and its detections from a score on, the highest first, as plain lists.

    Args:
        line: a line of the table of predictions.
        at: least score; NaN: 0.5.
    """
    scores = np.asarray(line["scores"], np.float64)
    order = np.argsort(-scores, kind="stable")
    kept = order[scores[order] >= (0.5 if np.isnan(at) else at)]
    boxes = np.asarray(line["boxes"], np.float64).reshape(len(scores), -1)
    labels = np.asarray(line["labels"], np.int64)
    return {
        "case_id": line["case_id"],
        **{name: np.asarray(line[name]).tolist() for name in ("truth_boxes", "truth_labels", "truth_ignore")},
        "boxes": boxes[kept].tolist(),
        "labels": labels[kept].tolist(),
        "scores": scores[kept].tolist(),
    }
