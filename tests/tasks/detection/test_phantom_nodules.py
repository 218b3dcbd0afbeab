"""From drawn chests in millimetres to boxes: the small variant of lung-nodules, end to end."""

import numpy as np
import pytest

from ai4diag.config.recipe import load_recipe
from ai4diag.data.catalogue import Catalogue, get
from ai4diag.data.prepared import Prepared
from ai4diag.tasks import task
from ai4diag.training.loop import fit
from tests.conftest import ROOT


@pytest.mark.slow
def test_a_short_training_finds_nodules_in_chests_it_has_not_seen(tmp_path):
    recipe = load_recipe(ROOT / "pipelines" / "lung-nodules" / "pipeline.yaml", quick=True)
    card = Catalogue(ROOT / "datasets").card(recipe.data.dataset)
    detection = task("detection")
    detection.prepare(get(card, tmp_path / "data"), card, recipe, tmp_path / "prepared", {})
    prepared = Prepared.open(tmp_path / "prepared")
    assert prepared.boxes["ignore"].any()
    learner = detection.learner(prepared, recipe, {})
    (fold,) = prepared.folds()
    fit(learner, prepared, fold, recipe.train, lambda name, fields: None)
    assert learner.score(prepared, fold.test)["map_50"] > 0.6
    sides = prepared.index[["size_0", "size_1", "size_2"]].to_numpy()[fold.test]
    for boxes, limit in zip(learner.predict(prepared, fold.test)["boxes"], sides, strict=True):
        assert (boxes.reshape(-1, 6)[:, 3:] <= limit + 0.01).all()
        assert np.isfinite(boxes).all()
