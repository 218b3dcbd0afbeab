"""A trained model asked about new files."""

from __future__ import annotations

import copy
import dataclasses
import math
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
from ai4diag.pipelines import members
from ai4diag.pipelines.stages import stage_file
from ai4diag.pipelines.workspace import Pipeline
from ai4diag.tasks import task
from ai4diag.tasks.base import Learner, Notify
from ai4diag.tasks.ensemble import join

VIEWS = ("flips", "transpose", "views")
"""Settings of a `model` block that make it look at a case more than once."""
HEADERS = (".hea", ".hdr", ".mhd", ".nhdr")
"""Endings of files that describe data in other files of the same name."""
AT_ONCE = 16
"""Cases between two looks at the progress, unless there are very many."""
LOOKS = 100
"""Looks at the progress, at most."""


@dataclass(frozen=True)
class Model:
    """A model that can be asked, or several that answer together.

    Attributes:
        task: name of the task.
        learners: the models, at least one.
        weights: for each, the hash of each file of weights.
        packaged: whether it comes from a verified bundle, so that it met its release gate.
    """

    task: str
    learners: tuple[Learner, ...]
    weights: tuple[dict[str, str], ...]
    packaged: bool = False


def model_of(pipeline: Pipeline) -> Model:
    """Return the model of a pipeline: that of its bundle, unless another was trained since.

    Of a variant with folds or seeds all models answer together.

    Raises:
        DataError: nothing was trained, or a file is damaged.
        VerifyError: the bundle is not what its manifest says.
    """
    if members.keeps_all(pipeline):
        stage_file(pipeline, members.MODELS, "train")
        folders = members.folders(pipeline)
    else:
        trained = pipeline.out / "model"
        if (pipeline.out / "bundle").is_dir():
            bundled = model_in(pipeline.out / "bundle")
            if not (trained / "model.json").is_file() or bundled.weights == (_weights(trained),):
                return bundled
        folders = [stage_file(pipeline, "model/model.json", "train").parent]
    knows = task(pipeline.recipe.task)
    return Model(knows.name, tuple(map(knows.load, folders)), tuple(map(_weights, folders)))


def model_in(bundle: Path, public_key: Path | None = None) -> Model:
    """Return the model of a bundle.

    Args:
        bundle: its folder.
        public_key: the bundle must be signed by this key; None: a signature is not looked at.

    Raises:
        VerifyError: the bundle is not what its manifest says, or not signed by the key.
        DataError: the public key cannot be used.
    """
    learner = load_bundle(bundle, public_key)
    return Model(read_json(bundle / "metadata.json")["task"], (learner,), (_weights(bundle / "model"),), packaged=True)


def one_view(model: Model) -> Model:
    """Return the model without test-time augmentation: each case is looked at once, as it is.

    Raises:
        UsageError: the model looks at a case once anyway.
    """
    found = []
    for learner in model.learners:
        settings = getattr(learner, "model", None)
        known = {name: () for name in VIEWS if getattr(settings, name, None)}
        if settings is None or not known:
            raise UsageError("This model looks at each case once anyway.", "Leave out --no-tta.")
        once = copy.copy(learner)
        once.model = settings.model_copy(update=known)  # type: ignore[attr-defined]
        found.append(once)
    return dataclasses.replace(model, learners=tuple(found))


def _weights(folder: Path) -> dict[str, str]:
    hashes: dict[str, str] = read_json(folder / "model.json")["files"]
    return hashes


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
        UsageError: a file is named twice, two have the same name, or one lies in `out`.
        DataError: a file does not exist, cannot be read, or is not what the model learned from.
    """
    _refuse(inputs, out)
    knows = task(model.task)
    same_object = getattr(getattr(model.learners[0], "model", None), "same_object", None)
    scratch = Path(tempfile.mkdtemp(prefix="ai4diag-predict-"))
    try:
        prepared = knows.gather(inputs, model.learners[0], scratch)
        count = len(prepared.index)
        tables = []
        for rows in np.array_split(np.arange(count), min(max(1, math.ceil(count / AT_ONCE)), LOOKS)):
            answers = [learner.predict(prepared, rows) for learner in model.learners]
            tables.append(join(answers, len(prepared.classes), same_object))
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
            "models": model.weights,
            "from_verified_bundle": model.packaged,
            "inputs": [{"name": path.name, "sha256": fingerprint(path)} for path in inputs],
            "cases": count,
            "use": "Evidence, not approval: not for clinical use without the manufacturer's own approval.",
        },
    )
    return [*written, record]


def _refuse(inputs: Sequence[Path], out: Path) -> None:
    """Refuse what cannot be answered, or whose answer could take the place of an input."""
    for path in inputs:
        if not path.exists():
            raise DataError(f"{path} does not exist.", "Correct the path.")
        if out.resolve() in (path.resolve(), path.resolve().parent):
            raise UsageError(
                f"{path} lies in {out}; an answer of the same name would replace it.", "Give another folder: --out DIR."
            )
    names = [path.name for path in inputs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"Two inputs are called '{twice[0]}'; answers are told apart by that name.", "Rename one.")


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of an input: of a file, or of the names and hashes of the files in a folder.

    A header stands for its data: the files of its name beside it count as those in a folder do.
    """
    if path.is_file() and path.suffix.lower() not in HEADERS:
        return sha256_file(path)
    if path.is_dir():
        found, top = path.rglob("*"), path
    else:
        found, top = (item for item in path.parent.iterdir() if item.stem == path.stem), path.parent
    files = sorted(item for item in found if item.is_file())
    return sha256_json({item.relative_to(top).as_posix(): sha256_file(item) for item in files})
