"""Score predictions that somebody else's model made."""

from __future__ import annotations

from pathlib import Path

from ai4diag.config.base import Settings, parse, read_yaml
from ai4diag.config.plan import Evaluate
from ai4diag.types import Estimate


class Plan(Settings):
    """`task:` and the `evaluate:` block of a pipeline."""

    task: str
    target: str | None = None
    """What was predicted, where it is not what the task usually predicts."""
    classes: tuple[str, ...] = ("negative", "positive")
    evaluate: Evaluate


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        ConfigError: the file is missing, or names the key that is wrong.
    """
    return parse(Plan, read_yaml(path), str(path))


def evaluate_external(predictions: Path, plan: Path) -> list[Estimate]:
    """Return the estimates of a table of predictions under a plan.

    Args:
        predictions: CSV or Parquet with case_id, patient_id, truth, score and any attributes.
        plan: YAML file with `task` and `evaluate`.

    Raises:
        DataError: a column is missing or malformed.
        ConfigError: the plan is malformed.
    """
    from ai4diag.evaluation.evaluate import evaluate
    from ai4diag.evaluation.predictions import read_predictions

    asked = read_plan(plan)
    table, _ = read_predictions(predictions, asked.task, asked.target, asked.classes)
    return evaluate(table, task=asked.task, target=asked.target, classes=asked.classes, plan=asked.evaluate).estimates
