"""The models of a variant with folds or seeds: which are trained, where each is kept, how far they differ.

out/folds5-seeds3/model/                 the recipe's own seed, as without the variant
out/folds5-seeds3/models/seed_7-fold_0/  every model, to be asked together (`ai4diag.tasks.ensemble`)
out/folds5-seeds3/predictions.parquet    answers of the seeds, joined
out/folds5-seeds3/seeds.parquet          answers of each seed, with a column `seed`
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ai4diag.config.plan import Evaluate
from ai4diag.data.prepared import Fold
from ai4diag.evaluation.evaluate import headline
from ai4diag.evaluation.predictions import read_predictions
from ai4diag.evaluation.targets import target_of
from ai4diag.files import read_parquet
from ai4diag.pipelines.workspace import Pipeline
from ai4diag.tasks.ensemble import join

MODELS, SEEDS = "models", "seeds.parquet"
FEW = 10
"""So many values are named one by one."""
UNFINISHED = "checkpoint/models"
"""Where models wait until the last one is there, so that those of a killed training never answer for all."""


def seeds(pipeline: Pipeline) -> list[int]:
    """Return the seeds to train with; the recipe's own comes last, because the last model is the one that is kept."""
    own = pipeline.recipe.train.seed
    return [own + more for more in reversed(range(pipeline.seeds))]


def with_seed(pipeline: Pipeline, seed: int) -> Pipeline:
    """Return the pipeline with another `train.seed`."""
    recipe = pipeline.recipe
    train = recipe.train.model_copy(update={"seed": seed})
    return dataclasses.replace(pipeline, recipe=recipe.model_copy(update={"train": train}))


def keeps_all(pipeline: Pipeline) -> bool:
    """Return whether every model is kept, not only the last."""
    return bool(pipeline.folds) or pipeline.seeds > 1


def folder(pipeline: Pipeline, seed: int, fold: Fold, within: str = MODELS) -> Path:
    """Return where a model is kept when all are."""
    return pipeline.out / within / f"seed_{seed}-{'contrast' if fold.contrast else 'fold'}_{fold.number}"


def folders(pipeline: Pipeline) -> list[Path]:
    """Return the folders of all models of a variant that were kept, contrasts left out; empty when only one was."""
    found = sorted((pipeline.out / MODELS).glob("*/model.json"))
    return [path.parent for path in found if "-contrast_" not in path.parent.name]


def joined(
    tables: Mapping[int, pd.DataFrame], answers: list[str], classes: int, same_object: float | None = None
) -> pd.DataFrame:
    """Return predictions of several seeds about the same cases as one table.

    Args:
        tables: seed to its table; the same cases in the same order, the recipe's own seed last.
        answers: the columns that the models filled.
        classes: number of classes.
        same_object: see `ai4diag.tasks.ensemble.join`.
    """
    *_, own = tables.values()
    together = join([table[answers].reset_index(drop=True) for table in tables.values()], classes, same_object)
    return own.reset_index(drop=True).assign(**{name: together[name] for name in answers})


def of_each_seed(table: pd.DataFrame, target: str, classes: tuple[str, ...], plan: Evaluate) -> dict[int, float]:
    """Return the headline of each seed alone.

    Args:
        table: predictions with a column `seed`.
        target: what was predicted.
        classes: class names.
        plan: the recipe's `evaluate` block.
    """
    seed_of = table["seed"].to_numpy(np.int64)
    return {int(seed): headline(table[seed_of == seed], target, classes, plan) for seed in np.unique(seed_of)}


def spread(table: pd.DataFrame, target: str, classes: tuple[str, ...], plan: Evaluate) -> list[str]:
    """Return what the report notes about the seeds: the headline of each, and how far they differ.

    Arguments as `of_each_seed` has them.
    """
    values = of_each_seed(table, target, classes, plan)
    each = np.array(list(values.values()))
    return [
        f"{len(values)} trainings that differ in their seed alone: {plan.primary} {each.mean():.3f} on average, "
        f"from {each.min():.3f} to {each.max():.3f} ("
        + ", ".join(f"seed {seed}: {value:.3f}" for seed, value in values.items())
        + "). The estimates are of their answers joined."
    ]


def spreads(pipeline: Pipeline) -> dict[str, str]:
    """Return how far the headline differs between seeds and between folds, in words: what the commands print beside it.

    Nothing with one seed and one fold, and where the predictions have not been fetched.

    >>> said([0.91, 0.95, 0.93])
    '0.930 on average, from 0.910 to 0.950 (0.910, 0.950, 0.930)'
    """
    if not (pipeline.out / "predictions.parquet").is_file():
        return {}
    table, facts = read_predictions(pipeline.out / "predictions.parquet")
    target, classes, plan = target_of(facts), tuple(facts["classes"]), pipeline.recipe.evaluate
    found = {}
    if pipeline.seeds > 1:
        each = of_each_seed(read_parquet(pipeline.out / SEEDS), target, classes, plan)
        found[f"{len(each)} seeds"] = said(list(each.values()))
    folds = sorted(table.loc[table["part"] == "test", "fold"].unique())
    if len(folds) > 1:
        values = [headline(table[table["fold"] == fold], target, classes, plan) for fold in folds]
        found[f"{len(folds)} folds"] = said(values)
    return found


def said(values: Sequence[float]) -> str:
    """Return mean, smallest and largest of some values, and all of them where they are few, in words."""
    known = [value for value in values if not np.isnan(value)]
    if not known:
        return "undefined"
    missing = f", undefined in {len(values) - len(known)}" if len(known) < len(values) else ""
    every = f" ({', '.join(f'{value:.3f}' for value in values)})" if len(values) <= FEW else ""
    return f"{np.mean(known):.3f} on average, from {min(known):.3f} to {max(known):.3f}{missing}{every}"
