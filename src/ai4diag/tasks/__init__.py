"""Tasks: the library's knowledge of a kind of problem."""

from __future__ import annotations

from importlib import import_module

from ai4diag.errors import ConfigError, did_you_mean
from ai4diag.tasks.base import Task

TASKS = {
    "tabular": "ai4diag.tasks.tabular:Tabular",
    "detection": "ai4diag.tasks.detection:Detection",
    "timeseries": "ai4diag.tasks.timeseries:Timeseries",
    "classification": "ai4diag.tasks.classification:Classification",
    "segmentation": "ai4diag.tasks.segmentation:Segmentation",
}


def task(name: str) -> Task:
    """Return the task of that name; only its own module is imported.

    Raises:
        ConfigError: no such task; the nearest is named.
    """
    if name not in TASKS:
        raise ConfigError(f"There is no task '{name}'. {did_you_mean(name, TASKS)}")
    module, _, attribute = TASKS[name].partition(":")
    found: Task = getattr(import_module(module), attribute)()
    return found
