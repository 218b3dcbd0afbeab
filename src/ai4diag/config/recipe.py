"""`pipeline.yaml` as a frozen typed object.

The order of the blocks is the way of the data: `data` (what `prepare` reads), `model` and `train` (what `train`
reads), `evaluate` (what `evaluate` and `package` read), `quick` (what changes in the small variant). What all tasks
share is in `data.py`, `train.py` and `plan.py` beside this file; what a task adds is in the module of its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ai4diag.config.base import parse, parse_yaml, read_yaml
from ai4diag.config.classification import ClassificationRecipe
from ai4diag.config.detection import DetectionRecipe
from ai4diag.config.segmentation import SegmentationRecipe
from ai4diag.config.tabular import TabularRecipe
from ai4diag.config.timeseries import TimeseriesRecipe
from ai4diag.errors import ConfigError, did_you_mean

Recipe = TabularRecipe | DetectionRecipe | TimeseriesRecipe | ClassificationRecipe | SegmentationRecipe
RECIPES: dict[str, type[Recipe]] = {
    "tabular": TabularRecipe,
    "detection": DetectionRecipe,
    "classification": ClassificationRecipe,
    "timeseries": TimeseriesRecipe,
    "segmentation": SegmentationRecipe,
}


def load_recipe(path: Path, *, quick: bool = False, overrides: Sequence[str] = ()) -> Recipe:
    """Read `pipeline.yaml`.

    Args:
        path: the file.
        quick: apply the `quick` block, the recipe's small variant.
        overrides: `train.epochs=3` and the like, applied last; values are read as YAML.

    Raises:
        ConfigError: names the file, the key, what was found and the nearest known key.
    """
    values = read_yaml(path)
    where = str(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{where} holds no settings.", "See docs/reference/pipeline.md.")
    task = values.get("task")
    if not isinstance(task, str) or task not in RECIPES:
        raise ConfigError(f"{where}: task: found {task!r}. {did_you_mean(str(task), RECIPES)}")
    small = values.get("quick") or {}
    if quick and isinstance(small, dict):  # what is no mapping is refused with the rest
        values = merge(values, small)
    for assignment in overrides:
        key, sign, text = assignment.partition("=")
        if not sign or not key:
            raise ConfigError(f"--set {assignment}: expected key=value.", "For example: --set train.epochs=3")
        change: Any = parse_yaml(text, f"--set {assignment}")
        for name in reversed(key.split(".")):
            change = {name: change}
        values = merge(values, change)
        where = f"{path} with --set {assignment}"
    found: Recipe = parse(RECIPES[task], values, where)
    return found


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `change` laid over it; mappings are merged, anything else is replaced.

    A block that names another `network` is replaced whole, because its settings belong to the old one.
    """
    if "network" in change and change["network"] != base.get("network"):
        return dict(change)
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged
