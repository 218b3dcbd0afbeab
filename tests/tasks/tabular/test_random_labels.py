"""Shipped tabular recipes learn nothing from random labels, unless something leaks.

Labels are dealt out anew among patients, so that a model can only be right by recognising a patient. Each fold is
judged for itself: given the labels it was trained on, the labels of its test part are in random order, and the expected
AUROC is one half. (AUROC over the pooled predictions of all folds would be lower: a fold with many positive test cases
has few to train on, and scores all of its cases low.)
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ai4diag.config.recipe import TabularRecipe, load_recipe
from ai4diag.data.prepared import FINAL, Prepared
from ai4diag.tasks import task
from ai4diag.training.loop import fit

from .cases import folds, table, write

PIPELINES = Path(__file__).parents[3] / "pipelines"
RECIPES = sorted(
    path for path in PIPELINES.glob("*/pipeline.yaml") if "task: tabular" in path.read_text(encoding="utf-8")
)
REPEATS = 12
"""The mean of twelve has a standard error of about 0.012: 0.05 is four of them."""


def with_random_labels(prepared: Prepared, rng: np.random.Generator) -> Prepared:
    """Return the cases with the patients' labels dealt out anew; every case of a patient keeps one label."""
    truth = prepared.index.groupby("patient_id")["truth"].first()
    dealt = dict(zip(truth.index, rng.permutation(truth.to_numpy()), strict=True))
    return replace(prepared, index=prepared.index.assign(truth=prepared.index["patient_id"].map(dealt)))


def mean_auroc(prepared: Prepared, recipe: TabularRecipe, *, contrast: bool) -> float:
    """Return the mean AUROC over the test parts of the folds."""
    found = []
    for fold in prepared.folds():
        if fold.contrast != contrast or fold.number == FINAL:
            continue
        learner = task("tabular").learner(prepared, recipe, {})
        fit(learner, prepared, fold, recipe.train, lambda name, fields: None)
        truth = prepared.index["truth"].to_numpy()[fold.test]
        found.append(roc_auc_score(truth, learner.predict(prepared, fold.test)["score"]))
    return float(np.mean(found))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.parent.name)
def test_random_labels_give_one_half(path: Path, tmp_path: Path) -> None:
    features, _, index = table(patients=240, visits=1)
    prepared = write(tmp_path, features, index, folds(index))
    recipe = load_recipe(path, quick=True)
    assert mean_auroc(prepared, recipe, contrast=False) > 0.75, "the true labels can be learned"
    rng = np.random.default_rng(7)
    dealt = [mean_auroc(with_random_labels(prepared, rng), recipe, contrast=False) for _ in range(REPEATS)]
    assert np.mean(dealt) == pytest.approx(0.5, abs=0.05)


def test_a_patient_on_both_sides_is_noticed(tmp_path: Path) -> None:
    """The check above can fail: trees that saw five visits of a patient in training recognise the sixth."""
    features, _, index = table(patients=40, visits=6)
    prepared = write(tmp_path, features, index, folds(index))
    deep = ("model.leaves=8", "model.min_cases_per_leaf=5", "model.feature_fraction=0.8", "model.bagging_fraction=0.8")
    recipe = load_recipe(PIPELINES / "parkinsons-voice" / "pipeline.yaml", overrides=deep)
    rng = np.random.default_rng(7)
    dealt = [mean_auroc(with_random_labels(prepared, rng), recipe, contrast=True) for _ in range(REPEATS // 2)]
    assert np.mean(dealt) > 0.6
