"""A trained model asked about new files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ai4diag import __version__
from ai4diag.errors import DataError, UsageError
from ai4diag.files import read_json, sha256_file, sha256_json, write_json
from ai4diag.packaging.bundle import load_bundle
from ai4diag.pipelines.stages import stage_file
from ai4diag.pipelines.workspace import Pipeline
from ai4diag.tasks import task
from ai4diag.tasks.base import Learner, Notify

AT_ONCE = 16
"""Cases between two looks at the progress."""


@dataclass(frozen=True)
class Model:
    """A model that can be asked.

    Attributes:
        task: name of its task.
        folder: where `model.json` and the weights are.
        learner: the model.
        packaged: whether it comes from a verified bundle, so that it met its release gate.
    """

    task: str
    folder: Path
    learner: Learner
    packaged: bool


def model_of(pipeline: Pipeline) -> Model:
    """Return the model of a pipeline: that of its bundle, else the one that was trained last.

    Raises:
        DataError: nothing was trained, or a file is damaged.
        VerifyError: the bundle is not what its manifest says.
    """
    if (pipeline.out / "bundle").is_dir():
        return model_in(pipeline.out / "bundle")
    folder = stage_file(pipeline, "model", "train")
    return Model(pipeline.recipe.task, folder, task(pipeline.recipe.task).load(folder), packaged=False)


def model_in(bundle: Path) -> Model:
    """Return the model of a bundle.

    Raises:
        VerifyError: the bundle is not what its manifest says.
    """
    learner = load_bundle(bundle)
    return Model(read_json(bundle / "metadata.json")["task"], bundle / "model", learner, packaged=True)


def predict(model: Model, inputs: Sequence[Path], out: Path, notify: Notify) -> list[Path]:
    """Answer new files; nothing is written when one of them cannot be read.

    Args:
        model: the model.
        inputs: files, or folders where the task reads those (a DICOM series).
        out: folder of the answers; created when missing.
        notify: told of `file` with `done` and `total` cases.

    Returns:
        The files that were written: `predictions.csv`, one per case where an answer is an image, and
        `predictions.json`, which says which model answered about which files.

    Raises:
        UsageError: a file is named twice, or two have the same name.
        DataError: a file does not exist, cannot be read, or is not what the model learned from.
    """
    _refuse_missing(inputs)
    knows = task(model.task)
    scratch = Path(tempfile.mkdtemp(prefix="ai4diag-predict-"))
    try:
        prepared = knows.gather(inputs, model.learner, scratch)
        count = len(prepared.index)
        tables = []
        for start in range(0, count, AT_ONCE):
            rows = np.arange(start, min(start + AT_ONCE, count), dtype=np.int64)
            tables.append(model.learner.predict(prepared, rows))
            notify("file", {"done": int(rows[-1]) + 1, "total": count})
        out.mkdir(parents=True, exist_ok=True)
        written = knows.deliver(pd.concat(tables, ignore_index=True), prepared, out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    record = out / "predictions.json"
    write_json(
        record,
        {
            "ai4diag": __version__,
            "task": model.task,
            "model": read_json(model.folder / "model.json")["files"],
            "from_verified_bundle": model.packaged,
            "inputs": [{"name": path.name, "sha256": _fingerprint(path)} for path in inputs],
            "cases": count,
            "use": "Evidence, not approval: not for clinical use without the manufacturer's own approval.",
        },
    )
    return [*written, record]


def _refuse_missing(inputs: Sequence[Path]) -> None:
    for path in inputs:
        if not path.exists():
            raise DataError(f"{path} does not exist.")
    names = [path.name for path in inputs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"Two inputs are called '{twice[0]}'; answers are told apart by that name.", "Rename one.")


def _fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and hashes of all files in a folder."""
    if path.is_file():
        return sha256_file(path)
    files = sorted(item for item in path.rglob("*") if item.is_file())
    return sha256_json({item.relative_to(path).as_posix(): sha256_file(item) for item in files})
