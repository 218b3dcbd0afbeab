"""Labels dealt out anew among patients: a model can then only be right by recognising a patient.

Each fold is judged for itself: given the labels it was trained on, the labels of its test part are in random order,
and the expected AUROC is one half. (AUROC over the pooled predictions of all folds would be lower: a fold with many
positive test cases has few to train on, and scores all of its cases low.)
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from ai4diag.config.tabular import TabularRecipe
from ai4diag.data.prepared import FINAL, Prepared
from ai4diag.tasks import task
from ai4diag.training.loop import fit

PIPELINES = Path(__file__).parents[3] / "pipelines"


def with_random_labels(prepared: Prepared, rng: np.random.Generator) -> Prepared:
    """Return the cases with the patients' labels dealt out anew; every case of a patient keeps one label."""
    truth = prepared.index.groupby("patient_id")["truth"].first()
    dealt = dict(zip(truth.index, rng.permutation(truth.to_numpy()), strict=True))
    return replace(prepared, index=prepared.index.assign(truth=prepared.index["patient_id"].map(dealt)))


def mean_auroc(prepared: Prepared, recipe: TabularRecipe, *, contrast: bool) -> float:
    """Return the mean AUROC over the test parts of the folds that hold both classes."""
    found = []
    for fold in prepared.folds():
        if fold.contrast != contrast or fold.number == FINAL:
            continue
        truth = prepared.index["truth"].to_numpy()[fold.test]
        if len(np.unique(truth)) < 2:
            continue
        learner = task("tabular").learner(prepared, recipe, {})
        fit(learner, prepared, fold, recipe.train, lambda name, fields: None)
        found.append(roc_auc_score(truth, learner.predict(prepared, fold.test)["score"]))
    return float(np.mean(found))
