"""Labels drawn at random are not told by the cheap pipelines on their own data, from raw files on.

`tests/tasks/tabular/test_random_labels.py` does the same with drawn cohorts; here reading, splitting
and scanning take part.
"""

from __future__ import annotations

import numpy as np
import pytest

from ai4diag.config.recipe import load_recipe
from ai4diag.data.catalogue import Catalogue, get
from ai4diag.data.prepared import Prepared
from ai4diag.tasks import task
from tests.conftest import ROOT
from tests.tasks.tabular.random_labels import mean_auroc, with_random_labels

pytestmark = pytest.mark.slow
DEALS = 40


def prepared(name: str, folder, mirror: str):
    recipe = load_recipe(ROOT / "pipelines" / name / "pipeline.yaml", quick=True)
    card = Catalogue(ROOT / "datasets").card(recipe.data.dataset)
    raw = get(card, folder / "data", mirror)
    task(recipe.task).prepare(raw, card, recipe, folder / "out", {})
    return recipe, Prepared.open(folder / "out")


def dealt(recipe, cases: Prepared, *, contrast: bool = False) -> list[float]:
    rng = np.random.default_rng(7)
    return [mean_auroc(with_random_labels(cases, rng), recipe, contrast=contrast) for _ in range(DEALS)]


@pytest.mark.parametrize("name", ["breast-mass", "heart-disease"])
def test_labels_at_random_are_not_told(name: str, tmp_path, mirror: str) -> None:
    recipe, cases = prepared(name, tmp_path, mirror)
    assert mean_auroc(cases, recipe, contrast=False) > 0.8
    found = dealt(recipe, cases)
    assert np.mean(found) == pytest.approx(0.5, abs=0.05), found


def test_voices_that_stand_in_two_parts_tell_even_labels_at_random(tmp_path, mirror: str) -> None:
    """The check can fail: divided by recording, a model knows the person, and with it a label that means nothing."""
    recipe, cases = prepared("parkinsons-voice", tmp_path, mirror)
    assert np.mean(dealt(recipe, cases)) == pytest.approx(0.5, abs=0.05)
    assert np.mean(dealt(recipe, cases, contrast=True)) > 0.7
