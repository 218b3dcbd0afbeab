"""The contract of a pipeline, checked on a few cases in seconds: what every folder must satisfy before training."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ai4diag.config.base import read_yaml
from ai4diag.data.catalogue import state
from ai4diag.data.prepared import Fold, Prepared
from ai4diag.errors import Ai4diagError, ConfigError, DataError
from ai4diag.packaging.bundle import load_bundle, write_bundle
from ai4diag.pipelines import stages
from ai4diag.pipelines.workspace import Pipeline
from ai4diag.tasks import task
from ai4diag.tasks.base import Learner
from ai4diag.types import PARTS

BLOCKS = ("task", "data", "model", "train", "evaluate")
README_SECTIONS = ("## Intended use", "## Trained on", "## Limits")
FEW = {"tabular": 128, "detection": 8, "classification": 96, "timeseries": 256, "segmentation": 4}
"""Training cases of the trial run."""
EPOCHS = {"tabular": 5, "detection": 6, "classification": 4, "timeseries": 4, "segmentation": 2}


@dataclass(frozen=True)
class Checked:
    """What one check found."""

    name: str
    passed: bool
    detail: str
    seconds: float


def check(pipeline: Pipeline, *, mirror: str | None = None) -> list[Checked]:
    """Check the contract of a pipeline; a check that fails does not hide the later ones that can still run.

    Args:
        pipeline: what to check.
        mirror: offline mirror of the data sets.

    Returns:
        One result per check, in order.
    """
    with tempfile.TemporaryDirectory(prefix="ai4diag-check-") as scratch:
        return list(_run(_Trial(reachable(pipeline), mirror, Path(scratch))))


def reachable(pipeline: Pipeline) -> Pipeline:
    """Return the pipeline, or its quick variant where that takes other data and its own must be brought by hand."""
    here = pipeline.workspace
    card = here.catalogue.card(pipeline.recipe.data.dataset)
    if not card.by_hand or state(card, here.data) != "absent":
        return pipeline
    quick = here.pipeline(pipeline.name, quick=True)
    return quick if quick.recipe.data.dataset != card.name else pipeline


def _run(trial: _Trial) -> Iterator[Checked]:
    steps: list[tuple[str, Callable[[], str]]] = [
        ("folder is complete", trial.folder_is_complete),
        ("cases are prepared", trial.cases_are_prepared),
        ("no patient is in two parts", trial.no_patient_in_two_parts),
        ("damaged cases are refused", trial.damage_is_refused),
        ("loss falls", trial.loss_falls),
        ("same seed, same numbers", trial.same_seed_same_numbers),
        ("predictions have the right shape", trial.predictions_have_shape),
        ("bundle gives the same predictions", trial.bundle_round_trip),
    ]
    blocked = False
    for name, step in steps:
        start = time.perf_counter()
        if blocked:
            yield Checked(name, False, "not reached", 0.0)
            continue
        try:
            passed, detail = True, step()
        except Ai4diagError as error:
            passed, detail = False, str(error)
            blocked = name in ("cases are prepared", "loss falls")
        yield Checked(name, passed, detail, time.perf_counter() - start)


class _Trial:
    """A small training of a pipeline in a scratch folder."""

    def __init__(self, pipeline: Pipeline, mirror: str | None, scratch: Path) -> None:
        self.pipeline, self.mirror, self.scratch = pipeline, mirror, scratch
        self.task = task(pipeline.recipe.task)
        train = pipeline.recipe.train
        change = {"epochs": EPOCHS[pipeline.recipe.task], "augment": (), "ema": 0.0, "patience": None}
        change |= {"compile": "off", "precision": "auto" if train.precision == "probe" else train.precision}
        change |= {"schedule": "constant", "warmup_epochs": 0, "batch_size": min(train.batch_size, 32)}
        self.recipe = pipeline.recipe.model_copy(update={"train": train.model_copy(update=change)})
        self.prepared: Prepared
        self.fold: Fold
        self.learner: Learner
        self.history: list[dict[str, Any]]

    def folder_is_complete(self) -> str:
        values = read_yaml(self.pipeline.folder / "pipeline.yaml")
        missing = [block for block in BLOCKS if block not in values]
        _expect(not missing, f"pipeline.yaml lacks {', '.join(missing)}; dvc.yaml tracks these blocks.")
        _expect("accept" in values["evaluate"], "pipeline.yaml lacks evaluate.accept; write `accept: {}` for no gate.")
        path = self.pipeline.folder / "README.md"
        _expect(path.is_file(), f"{path} is missing.")
        text = path.read_text(encoding="utf-8")
        absent = [title for title in README_SECTIONS if title not in text]
        _expect(not absent, f"README.md lacks the sections {', '.join(absent)}.")
        _expect(
            (self.pipeline.folder / "pipeline.py").is_file(), "pipeline.py is missing; one with a docstring will do."
        )
        said = f"{self.recipe.task}, {self.recipe.model.network}"
        if values["data"].get("dataset") == self.recipe.data.dataset:
            return said
        return f"{said}; {values['data'].get('dataset')} is not here: the quick variant on {self.recipe.data.dataset}"

    def cases_are_prepared(self) -> str:
        trial = dataclasses.replace(self.pipeline, variant="check")
        with trial.alone():
            try:
                stages.prepare(trial, mirror=self.mirror, notify=lambda name, fields: None)
                shutil.move(trial.out / "prepared", self.scratch / "prepared")
            finally:
                shutil.rmtree(trial.out, ignore_errors=True)
        self.prepared = Prepared.open(self.scratch / "prepared")
        self.fold = _few(self.prepared, FEW[self.recipe.task])
        return f"{len(self.prepared.index)} cases, {len(self.prepared.findings)} findings"

    def no_patient_in_two_parts(self) -> str:
        patients = self.prepared.index["patient_id"].to_numpy()
        folds = [fold for fold in self.prepared.folds() if not fold.contrast]
        for fold in folds:
            parts = [set(patients[getattr(fold, part)]) for part in PARTS]
            shared = (parts[0] & parts[1]) | (parts[0] & parts[2]) | (parts[1] & parts[2])
            _expect(not shared, f"fold {fold.number}: {sorted(shared)[:3]} are in two parts.")
        return f"{len(set(patients))} patients, {len(folds)} folds"

    def damage_is_refused(self) -> str:
        """Flip one bit in each prepared file: opening must name the file."""
        names = sorted(self.prepared.facts["files"])
        for name in names:
            path = self.scratch / "prepared" / name
            with _flipped(path):
                try:
                    Prepared.open(self.scratch / "prepared")
                    noticed = ""
                except DataError as error:
                    noticed = str(error)
            _expect(name in noticed, f"a flipped bit in {name} was not noticed, or the file was not named.")
        return f"a flipped bit in each of {len(names)} files was noticed"

    def loss_falls(self) -> str:
        self.learner, self.history = self._fit()
        losses = [event["loss"] for event in self.history]
        _expect(losses[-1] < losses[0], f"the training loss went from {losses[0]:.4g} to {losses[-1]:.4g}.")
        return f"{losses[0]:.4g} to {losses[-1]:.4g} in {len(losses)} epochs on {len(self.fold.train)} cases"

    def same_seed_same_numbers(self) -> str:
        other, history = self._fit()
        _expect(str(history) == str(self.history), "two trainings with the same seed had different losses.")
        _assert_same(self._predict(self.learner), self._predict(other), "two trainings with the same seed")
        return "two trainings agree to the bit"

    def predictions_have_shape(self) -> str:
        from ai4diag.evaluation.evaluate import evaluate
        from ai4diag.evaluation.predictions import read_predictions, write_predictions

        table = stages.predict_fold(self.task, self.learner, self.pipeline, self.prepared, self.fold)
        facts = stages.prediction_facts(self.pipeline, self.prepared)
        write_predictions(self.scratch / "predictions.parquet", table, facts)
        read, facts = read_predictions(self.scratch / "predictions.parquet")
        interval = self.recipe.evaluate.interval.model_copy(update={"resamples": 100})
        plan = self.recipe.evaluate.model_copy(update={"interval": interval})
        estimates = evaluate(
            read, task=facts["task"], target=facts.get("target"), classes=facts["classes"], plan=plan, guarded=False
        ).estimates
        names = {item.name for item in estimates}
        _expect(plan.primary in names, f"'{plan.primary}' is not among the estimates: {', '.join(sorted(names))}.")
        return f"{len(table)} predictions, {len(names)} kinds of estimate"

    def bundle_round_trip(self) -> str:
        self.learner.save(self.scratch / "model")
        (self.scratch / "estimates.json").write_text("[]\n", encoding="utf-8")
        write_bundle(
            self.scratch / "bundle",
            model=self.scratch / "model",
            readme=self.pipeline.folder / "README.md",
            estimates=self.scratch / "estimates.json",
            metadata={"task": self.recipe.task},
        )
        again = load_bundle(self.scratch / "bundle")
        _assert_same(self._predict(self.learner), self._predict(again), "the model and its bundle")
        size = sum(path.stat().st_size for path in (self.scratch / "bundle").rglob("*") if path.is_file())
        return f"{size / 1e6:.1f} MB, predictions agree to the bit"

    def _fit(self) -> tuple[Learner, list[dict[str, Any]]]:
        from ai4diag.training.loop import fit

        learner = self.task.learner(self.prepared, self.recipe, self.pipeline.hooks())
        return learner, fit(learner, self.prepared, self.fold, self.recipe.train, lambda name, fields: None)

    def _predict(self, learner: Learner) -> pd.DataFrame:
        return learner.predict(self.prepared, self.fold.test)


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ConfigError(otherwise)


def _few(prepared: Prepared, count: int) -> Fold:
    """Return the kept fold with at most `count` training cases and half as many others, evenly spread.

    The fold of a cross-validated pipeline that is kept has no test part; its validation part stands in.
    """
    fold = prepared.folds()[-1]

    def some(rows: np.ndarray, most: int) -> np.ndarray:
        chosen: np.ndarray = rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int))]
        return chosen

    test = fold.test if len(fold.test) else fold.validation
    return Fold(0, some(fold.train, count), some(fold.validation, count // 2), some(test, count // 2))


def _assert_same(left: pd.DataFrame, right: pd.DataFrame, what: str) -> None:
    _expect(list(left) == list(right), f"{what} gave different columns.")
    for name in left:
        for one, two in zip(left[name], right[name], strict=True):
            _expect(np.array_equal(np.asarray(one), np.asarray(two), equal_nan=True), f"{what} differ in {name}.")


@contextmanager
def _flipped(path: Path) -> Iterator[None]:
    """One bit in the middle of a file is wrong inside the context."""
    position = path.stat().st_size // 2

    def flip() -> None:
        with path.open("rb+") as stream:
            stream.seek(position)
            value = stream.read(1)[0]
            stream.seek(position)
            stream.write(bytes([value ^ 1]))

    flip()
    try:
        yield
    finally:
        flip()
