"""Labels drawn at random must not be told by any pipeline: else something carries them to the test part."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ai4diag.config.recipe import load_recipe
from ai4diag.data.catalogue import Catalogue, get
from ai4diag.data.prepared import Fold, Prepared
from ai4diag.tasks import task
from ai4diag.training.loop import fit
from tests.conftest import ROOT

pytestmark = pytest.mark.slow


def prepared(name: str, folder, mirror: str):
    recipe = load_recipe(ROOT / "pipelines" / name / "pipeline.yaml", quick=True)
    card = Catalogue(ROOT / "datasets").card(recipe.data.dataset)
    raw = get(card, folder / "data", mirror)
    task(recipe.task).prepare(raw, card, recipe, folder / "out", {})
    return recipe, Prepared.open(folder / "out")


def shuffled(cases: Prepared, seed: int) -> Prepared:
    """Return the cases with the labels of the patients dealt anew; all cases of a patient keep one label."""
    own = cases.index.groupby("patient_id")["truth"].first()
    dealt = pd.Series(np.random.default_rng(seed).permutation(own.to_numpy()), own.index)
    return dataclasses.replace(cases, index=cases.index.assign(truth=cases.index["patient_id"].map(dealt)))


def auroc(recipe, cases: Prepared, folds: list[Fold]) -> float:
    """Train on each fold; return the AUROC of all tested cases together, or of the only fold."""
    truth, score = [], []
    for fold in folds:
        learner = task(recipe.task).learner(cases, recipe, {})
        fit(learner, cases, fold, recipe.train, lambda name, fields: None)
        score.append(learner.predict(cases, fold.test)["score"].to_numpy())
        truth.append(cases.index["truth"].to_numpy()[fold.test])
    return float(roc_auc_score(np.concatenate(truth), np.concatenate(score)))


def real(cases: Prepared) -> list[Fold]:
    return [fold for fold in cases.folds() if not fold.contrast and len(fold.test)]


@pytest.mark.parametrize("name", ["breast-mass", "heart-disease"])
def test_labels_at_random_are_not_told(name: str, tmp_path, mirror: str) -> None:
    recipe, cases = prepared(name, tmp_path, mirror)
    assert auroc(recipe, cases, real(cases)) > 0.8
    found = [auroc(recipe, shuffled(cases, seed), real(cases)) for seed in range(40)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.05), found


def test_voices_that_stand_in_two_parts_tell_even_labels_at_random(tmp_path, mirror: str) -> None:
    """The check can fail: divided by recording, a model knows the person, and with it a label that means nothing."""
    recipe, cases = prepared("parkinsons-voice", tmp_path, mirror)
    wrong = [fold for fold in cases.folds() if fold.contrast]
    honest = [auroc(recipe, shuffled(cases, seed), real(cases)) for seed in range(40)]
    leaking = [auroc(recipe, shuffled(cases, seed), wrong) for seed in range(10)]
    assert np.mean(leaking) > 0.7, leaking
    assert np.mean(honest) == pytest.approx(0.5, abs=0.05), honest
