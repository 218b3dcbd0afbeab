"""The four stages: prepare, train, evaluate, package. Each reads files and writes files; nothing else passes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ai4diag.config.base import parse_yaml
from ai4diag.data import catalogue
from ai4diag.data.prepared import FINAL, Fold, Prepared
from ai4diag.errors import DataError, GateError, UsageError
from ai4diag.files import atomic_path, read_json, read_parquet, sha256_file, sha256_json, write_json, write_text
from ai4diag.pipelines.told import told
from ai4diag.pipelines.workspace import Pipeline
from ai4diag.tasks import task
from ai4diag.tasks.base import Learner, Notify, Task
from ai4diag.types import Estimate

if TYPE_CHECKING:
    from ai4diag.evaluation.evaluate import Evaluation
    from ai4diag.tracking import NoTracker, Tracker

STACKED = ("tabular",)
"""Tasks whose networks may be small enough for several to be trained together."""


@lru_cache
def numerics() -> dict[str, Any]:
    """Return the versions of the numbers that the stages make (`numerics.yaml`)."""
    found: dict[str, Any] = parse_yaml(files("ai4diag").joinpath("numerics.yaml").read_text("utf-8"), "numerics.yaml")
    return found


@told("prepare")
def prepare(pipeline: Pipeline, *, mirror: str | None = None, notify: Notify) -> Prepared:
    """Get the raw files if they are not there, validate, split, leak-scan and pack them.

    Raises:
        DataError: a file is wrong, or the data have errors; each is named with its cure.
    """
    card = pipeline.workspace.catalogue.card(pipeline.recipe.data.dataset)
    size = getattr(pipeline.recipe.data, "size", None)
    raw = catalogue.get(card, pipeline.workspace.data, mirror, notify, size=size)
    folder = pipeline.out / "prepared"
    task(pipeline.recipe.task).prepare(raw, card, pipeline.recipe, folder, pipeline.hooks())
    return Prepared.open(folder)


@told("train")
def train(pipeline: Pipeline, *, notify: Notify, tracker: Tracker | NoTracker) -> None:
    """Fit one learner per fold, and per seed; write the kept one's weights, all predictions and the history.

    Estimates and report of an earlier model are removed, so that they are never packaged with this one. A killed
    training is taken up again from `out/checkpoint` when recipe and data are still the same. Of several processes
    (`torchrun`) all fit, and the first predicts and writes.
    """
    from ai4diag.pipelines import members
    from ai4diag.training.loop import notify_all
    from ai4diag.training.ranks import rank

    prepared, writes = open_prepared(pipeline), rank() == 0
    knows = task(pipeline.recipe.task)
    if writes:
        _clear(pipeline, "failed_batch.json", "failed_batch.safetensors", members.UNFINISHED)
    tables: dict[int, list[pd.DataFrame]] = {seed: [] for seed in members.seeds(pipeline)}
    histories = []
    runs = [(seed, fold) for seed in tables for fold in prepared.folds()]
    named = [
        {"fold": fold.number, "contrast": fold.contrast} | ({"seed": seed} if len(tables) > 1 else {})
        for seed, fold in runs
    ]
    observers = [*(tracker.observer(_prefix(words)) for words in named[:-1]), tracker.notify]
    doubts: list[list[str]] = [[] for _ in runs]
    observers = [notify_all(observer, _doubtful(own)) for observer, own in zip(observers, doubts, strict=True)]
    fitted = _fitted(pipeline, prepared, runs, observers, notify)
    for (seed, fold), words, own, (learner, history) in zip(runs, named, doubts, fitted, strict=True):
        histories.append({**words, "epochs": history} | ({"not_deterministic": own} if own else {}))
        if not writes:
            continue
        if members.keeps_all(pipeline):
            learner.save(members.folder(pipeline, seed, fold, members.UNFINISHED))
        if fold.number != FINAL:
            tables[seed].append(predict_fold(knows, learner, pipeline, prepared, fold))
    if writes:
        _write_trained(pipeline, prepared, learner, tables, histories)


def _fitted(
    pipeline: Pipeline,
    prepared: Prepared,
    runs: Sequence[tuple[int, Fold]],
    observers: Sequence[Notify | None],
    notify: Notify,
) -> Iterator[tuple[Learner, list[dict[str, Any]]]]:
    """Yield the learner and the history of each run: small networks of folds and seeds together, else one by one."""
    from ai4diag.pipelines import members
    from ai4diag.training.loop import notify_all
    from ai4diag.training.stacked import fit_together

    pipelines = [members.with_seed(pipeline, seed) for seed, _ in runs]
    if members.keeps_all(pipeline) and pipeline.recipe.task in STACKED:
        learners = [task(own.recipe.task).learner(prepared, own.recipe, own.hooks()) for own in pipelines]
        heard = [notify_all(observer) for observer in observers[:-1]] + [notify_all(notify, observers[-1])]
        folds, settings = [fold for _, fold in runs], [own.recipe.train for own in pipelines]
        histories = fit_together(learners, prepared, folds, settings, heard)
        if histories is not None:
            for position in range(1, len(runs) + 1):
                notify("fold", {"fold": position, "folds": len(runs)})
            yield from zip(learners, histories, strict=True)
            return
    for position, (own, (_, fold), observer) in enumerate(zip(pipelines, runs, observers, strict=True), start=1):
        notify("fold", {"fold": position, "folds": len(runs)})
        yield fit_fold(own, prepared, fold, notify_all(notify, observer))


def _doubtful(found: list[str]) -> Notify:
    """Return an observer that keeps what a training says was not deterministic."""

    def notify(event: str, fields: dict[str, Any]) -> None:
        if event == "finished":
            found.extend(fields.get("not_deterministic", ()))

    return notify


def _prefix(words: Mapping[str, Any]) -> str:
    """Return what the names of a training's curves begin with."""
    fold = f"{'contrast' if words['contrast'] else 'fold'}_{words['fold']}/"
    return f"seed_{words['seed']}/{fold}" if "seed" in words else fold


def _clear(pipeline: Pipeline, *names: str) -> None:
    """Remove files and folders from `out`."""
    for name in names:
        path = pipeline.out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _write_trained(
    pipeline: Pipeline,
    prepared: Prepared,
    learner: Learner,
    tables: Mapping[int, Sequence[pd.DataFrame]],
    histories: list[dict[str, Any]],
) -> None:
    """Write everything that training leaves, and remove its checkpoints."""
    from ai4diag.evaluation.predictions import write_predictions
    from ai4diag.pipelines import members

    names = ("predictions.parquet", "history.json", "estimates.json", "report.html", "model")
    _clear(
        pipeline, *names, members.SEEDS, members.MODELS
    )  # a kill from here on never leaves them beside another model
    learner.save(pipeline.out / "model")
    if members.keeps_all(pipeline):
        (pipeline.out / members.UNFINISHED).replace(pipeline.out / members.MODELS)
    facts = prediction_facts(pipeline, prepared)
    of_seed = {seed: pd.concat(own, ignore_index=True) for seed, own in tables.items()}
    known = {*prepared.index, "fold", "part", *task(pipeline.recipe.task).truth(prepared, np.arange(1))}
    table = next(reversed(of_seed.values()))
    if len(of_seed) > 1:
        answers = [str(name) for name in table if name not in known]
        same_object = getattr(pipeline.recipe.model, "same_object", None)
        table = members.joined(of_seed, answers, len(prepared.classes), same_object)
        each = pd.concat([own.assign(seed=seed) for seed, own in of_seed.items()], ignore_index=True)
        with atomic_path(pipeline.out / members.SEEDS) as path:
            each.to_parquet(path, index=False)
    write_predictions(pipeline.out / "predictions.parquet", table, facts)
    write_json(pipeline.out / "history.json", histories)
    _clear(pipeline, "checkpoint")


def prediction_facts(pipeline: Pipeline, prepared: Prepared) -> dict[str, Any]:
    """Return what a table of predictions says about itself."""
    facts = {"task": pipeline.recipe.task, "classes": list(prepared.classes), "pipeline": pipeline.name}
    return facts | {key: prepared.facts[key] for key in ("target",) if key in prepared.facts}


def fit_fold(
    pipeline: Pipeline, prepared: Prepared, fold: Fold, notify: Notify
) -> tuple[Learner, list[dict[str, Any]]]:
    """Fit the learner of one fold, or take it up from its checkpoint; return it with its history."""
    from ai4diag.training.loop import fit

    recipe = pipeline.recipe
    learner = task(recipe.task).learner(prepared, recipe, pipeline.hooks())
    seed = f"seed{recipe.train.seed}_" if pipeline.seeds > 1 else ""
    name = f"{seed}{'contrast' if fold.contrast else 'fold'}{fold.number}.safetensors"
    checkpoint = pipeline.out / "checkpoint" / name
    history = fit(
        learner,
        prepared,
        fold,
        recipe.train,
        notify,
        checkpoint=checkpoint,
        fingerprint=sha256_json([train_fingerprint(pipeline), fold.number, fold.contrast]),
        failed_batch=pipeline.out / "failed_batch",
    )
    return learner, history


def train_fingerprint(pipeline: Pipeline) -> str:
    """Return a hash of everything that decides what training makes: data, recipe, hooks, version of the numbers."""
    recipe, hooks = pipeline.recipe, pipeline.folder / "pipeline.py"
    return sha256_json(
        {
            "prepared": sha256_file(pipeline.out / "prepared" / "prepared.json"),
            "recipe": recipe.model_dump(
                mode="json",
                include={"task": True, "data": True, "model": True, "train": True},
                exclude={"train": {"deterministic"}},  # it ends trainings, it changes none
            ),
            "hooks": sha256_file(hooks) if hooks.is_file() else None,
            "numerics": numerics()["train"][recipe.task],
        }
    )


def predict_fold(knows: Task, learner: Learner, pipeline: Pipeline, prepared: Prepared, fold: Fold) -> pd.DataFrame:
    """Return predictions of the validation and test rows of a fold; validation only if it was not learned from."""
    parts: dict[str, np.ndarray] = {}
    if "validation" not in pipeline.recipe.train.parts and not fold.contrast:
        parts["validation"] = fold.validation
    parts["contrast" if fold.contrast else "test"] = fold.test
    tables = []
    for part, rows in parts.items():
        if not len(rows):
            continue
        known = prepared.index.iloc[rows].reset_index(drop=True)
        truth = knows.truth(prepared, rows)
        known = known.drop(columns=[name for name in truth if name in known])
        known = known.assign(fold=fold.number, part=part)
        tables.append(pd.concat([known, truth, learner.predict(prepared, rows)], axis=1))
    return pd.concat(tables, ignore_index=True)


@told("evaluate")
def evaluate(pipeline: Pipeline, *, tracker: Tracker | NoTracker) -> Evaluation:
    """Estimate from the predictions alone and write `estimates.json` and `report.html`. Imports no torch."""
    from ai4diag.evaluation.evaluate import evaluate as estimate
    from ai4diag.evaluation.gate import check_gate
    from ai4diag.evaluation.predictions import read_predictions
    from ai4diag.evaluation.report import render
    from ai4diag.pipelines import looks, members, records
    from ai4diag.pipelines.report_context import report_context

    recipe = pipeline.recipe
    predictions, facts = read_predictions(stage_file(pipeline, "predictions.parquet", "train"))
    evaluation = estimate(
        predictions,
        task=facts["task"],
        target=facts.get("target"),
        classes=facts["classes"],
        plan=recipe.evaluate,
    )
    if pipeline.seeds > 1:
        each = read_parquet(stage_file(pipeline, members.SEEDS, "train"))
        evaluation.notes.extend(members.spread(each, evaluation.target, evaluation.classes, recipe.evaluate))
    write_json(pipeline.out / "estimates.json", [item.as_dict() for item in evaluation.estimates])
    unmet = check_gate(evaluation.estimates, recipe.evaluate.accept)
    look = looks.look(pipeline, predictions, numerics()["train"][recipe.task], tracker.run_id)
    context = report_context(pipeline, open_prepared(pipeline), unmet, look)
    write_text(pipeline.out / "report.html", render(evaluation, context))
    if tracker.run_id:
        records.keep(pipeline, tracker.run_id, context, evaluation.target)
    tracker.estimates(evaluation.estimates)
    for name in ("report.html", "estimates.json", "history.json"):
        tracker.artifact(pipeline.out / name)
    for path in sorted(stage_file(pipeline, "model", "train").iterdir()):
        tracker.artifact(path, "model")
    return evaluation


@told("package")
def package(pipeline: Pipeline) -> Path:
    """Write the bundle if the release gate `accept` is met.

    Raises:
        GateError: a lower limit is below what the gate asks; the earlier bundle, if any, is removed.
        UsageError: the estimates are of several seeds joined, and a bundle holds one model.
    """
    from ai4diag.evaluation.gate import check_gate
    from ai4diag.packaging.bundle import write_bundle

    bundle, recipe = pipeline.out / "bundle", pipeline.recipe
    if pipeline.seeds > 1:
        raise UsageError(
            f"The estimates of {pipeline.name} with {pipeline.seeds} seeds are of their answers joined; a bundle holds "
            "one model.",
            "Package it without --seeds.",
        )
    path = stage_file(pipeline, "estimates.json", "evaluate")
    unmet = check_gate(read_estimates(path), recipe.evaluate.accept)
    if unmet:
        shutil.rmtree(bundle, ignore_errors=True)
        raise GateError(
            f"{pipeline.name} does not meet its release gate: {'; '.join(unmet)}.",
            "Nothing was packaged. Improve the model or gather more data; lowering the gate is a decision to document.",
        )
    prepared = open_prepared(pipeline)
    card = pipeline.workspace.catalogue.card(recipe.data.dataset)
    metadata = {
        "name": pipeline.name,
        "task": recipe.task,
        "inputs": {key: prepared.facts[key] for key in ("features", "channels", "image_size") if key in prepared.facts},
        "classes": list(prepared.classes),
        "dataset": {"name": card.name, "sha256": card.sha256, "licence": card.licence.model_dump(mode="json")},
        "recipe": recipe.model_dump(mode="json", exclude={"quick"}),
        "accept": dict(recipe.evaluate.accept),
        "intended_use": "See README.md. Not for clinical use without the manufacturer's own approval.",
    }
    model, readme = stage_file(pipeline, "model", "train"), pipeline.folder / "README.md"
    write_bundle(bundle, model=model, readme=readme, estimates=path, metadata=metadata)
    return bundle


def open_prepared(pipeline: Pipeline) -> Prepared:
    """Open the pipeline's prepared cases.

    Raises:
        DataError: they are missing or damaged.
    """
    stage_file(pipeline, "prepared/prepared.json", "prepare")
    return Prepared.open(pipeline.out / "prepared")


def read_estimates(path: Path) -> list[Estimate]:
    """Read `estimates.json`.

    Raises:
        DataError: it is missing, or does not hold estimates.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist.", "Run `ai4diag evaluate` first.")
    return parse_estimates(path.read_bytes(), str(path))


def parse_estimates(content: str | bytes, where: str) -> list[Estimate]:
    """Read the content of an `estimates.json`; `where` names it in errors.

    Raises:
        DataError: it does not hold estimates.
    """
    try:
        return [Estimate.from_dict(item) for item in json.loads(content)]
    except (KeyError, TypeError, ValueError) as error:
        found = f"{type(error).__name__}: {error}"
        raise DataError(f"{where} does not hold a list of estimates ({found}).", "Evaluate again.") from None


def not_deterministic(out: Path) -> list[str]:
    """Return what the training of what is in `out` ran that may give other bits each time, in words, each once.

    Raises:
        DataError: there is no `history.json`.
    """
    return list(
        dict.fromkeys(said for fold in read_json(out / "history.json") for said in fold.get("not_deterministic", ()))
    )


def stage_file(pipeline: Pipeline, name: str, stage: str) -> Path:
    """Return the path of what a stage wrote.

    Raises:
        DataError: it is not there; the stage to run is named.
    """
    path = pipeline.out / name
    if not path.exists():
        raise DataError(f"{path} does not exist.", f"Run `ai4diag {stage} {pipeline.words}` first.")
    return path
