"""The shipped recipes on their real data: the published figures, and one half when the labels are random."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from ai4diag.config.card import load_card
from ai4diag.config.recipe import load_recipe
from ai4diag.config.tabular import TabularRecipe
from ai4diag.data import catalogue
from ai4diag.data.prepared import FINAL, Prepared
from ai4diag.tasks import task
from ai4diag.training.loop import fit

from .random_labels import PIPELINES, mean_auroc, with_random_labels


def prepared(name: str, folder: Path, mirror: str, *, quick: bool = False) -> tuple[Prepared, TabularRecipe]:
    recipe = load_recipe(PIPELINES / name / "pipeline.yaml", quick=quick)
    card = load_card(PIPELINES.parent / "datasets" / f"{recipe.data.dataset}.yaml")
    raw = catalogue.get(card, folder / "data", mirror)
    task("tabular").prepare(raw, card, recipe, folder / "prepared", {})
    return Prepared.open(folder / "prepared"), recipe


def out_of_fold(cases: Prepared, recipe: TabularRecipe, *, contrast: bool = False) -> pd.DataFrame:
    """Return index and score of every test case."""
    tables = []
    for fold in cases.folds():
        if fold.contrast != contrast or fold.number == FINAL:
            continue
        learner = task("tabular").learner(cases, recipe, {})
        fit(learner, cases, fold, recipe.train, lambda name, fields: None)
        score = learner.predict(cases, fold.test)["score"].to_numpy()
        tables.append(cases.index.iloc[fold.test].assign(score=score))
    return pd.concat(tables)


def test_breast_mass_reaches_its_reference(tmp_path: Path, mirror: str) -> None:
    found = out_of_fold(*prepared("breast-mass", tmp_path, mirror))
    assert roc_auc_score(found["truth"], found["score"]) >= 0.99


def test_heart_disease_reaches_the_benchmark(tmp_path: Path, mirror: str) -> None:
    """FLamby: pooled accuracy 0.795; scikit-learn on the same rows: AUROC 0.881."""
    found = out_of_fold(*prepared("heart-disease", tmp_path, mirror))
    assert found["site"].value_counts().to_dict() == {"cleveland": 104, "hungarian": 89, "va": 45, "switzerland": 16}
    assert accuracy_score(found["truth"], found["score"] >= 0.5) >= 0.795
    assert roc_auc_score(found["truth"], found["score"]) >= 0.881


def test_parkinsons_voice_shows_what_a_wrong_split_does(tmp_path: Path, mirror: str) -> None:
    cases, recipe = prepared("parkinsons-voice", tmp_path, mirror)
    by_person, by_recording = (out_of_fold(cases, recipe, contrast=contrast) for contrast in (False, True))
    assert roc_auc_score(by_person["truth"], by_person["score"]) == pytest.approx(0.79, abs=0.03)
    assert roc_auc_score(by_recording["truth"], by_recording["score"]) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize(("name", "deals"), [("breast-mass", 12), ("heart-disease", 12), ("parkinsons-voice", 60)])
def test_random_labels_on_real_features_give_one_half(name: str, deals: int, tmp_path: Path, mirror: str) -> None:
    cases, recipe = prepared(name, tmp_path, mirror, quick=True)
    rng = np.random.default_rng(7)
    found = [mean_auroc(with_random_labels(cases, rng), recipe, contrast=False) for _ in range(deals)]
    assert np.nanmean(found) == pytest.approx(0.5, abs=0.05)


def test_random_diagnoses_are_predicted_when_the_speaker_is_known(tmp_path: Path, mirror: str) -> None:
    cases, recipe = prepared("parkinsons-voice", tmp_path, mirror, quick=True)
    rng = np.random.default_rng(7)
    assert np.mean([mean_auroc(with_random_labels(cases, rng), recipe, contrast=True) for _ in range(5)]) > 0.7
