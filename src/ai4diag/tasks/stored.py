"""A trained model in a folder: one file of weights, and `model.json`, which says how to build the model again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ai4diag.errors import DataError
from ai4diag.files import read_json, sha256_bytes, write_bytes, write_json

FORMAT = 1
"""Of `model.json`."""


def write_model(folder: Path, task: str, name: str, weights: bytes, facts: Mapping[str, Any]) -> None:
    """Write `weights` to the file `name`, then `model.json` with `facts` and the hash of the weights."""
    write_bytes(folder / name, weights)
    write_json(folder / "model.json", {"format": FORMAT, "task": task, **facts, "files": {name: sha256_bytes(weights)}})


def read_model(folder: Path, task: str) -> tuple[dict[str, Any], bytes]:
    """Read what `write_model` wrote: the facts and the weights.

    Raises:
        DataError: a file is missing, is of another task or format, or differs from its hash.
    """
    facts = read_json(folder / "model.json")
    if (facts.get("task"), facts.get("format")) != (task, FORMAT):
        raise DataError(
            f"{folder / 'model.json'} is of task {facts.get('task')!r} and format {facts.get('format')!r}; "
            f"expected '{task}' and {FORMAT}.",
            "Train the model again with this version.",
        )
    ((name, expected),) = facts["files"].items()
    if Path(name).name != name or not (folder / name).is_file():
        raise DataError(f"{folder} lacks '{name}', which model.json names.", "Restore the folder, or train again.")
    weights = (folder / name).read_bytes()
    if (found := sha256_bytes(weights)) != expected:
        raise DataError(
            f"{folder / name} is damaged: sha256 {found[:12]}..., expected {expected[:12]}....",
            "Restore the file, or train again.",
        )
    return facts, weights
