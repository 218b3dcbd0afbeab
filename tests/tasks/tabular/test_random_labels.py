"""Shipped tabular recipes learn nothing from random labels, unless a patient is on both sides of the split."""

from pathlib import Path

import numpy as np
import pytest

from ai4diag.config.recipe import load_recipe

from .cases import folds, table, write
from .random_labels import PIPELINES, mean_auroc, with_random_labels

RECIPES = sorted(
    path
    for path in PIPELINES.glob("*/pipeline.yaml")
    if "task: tabular" in (text := path.read_text(encoding="utf-8")) and "network: cox" not in text
)
"""Times to event have a test of their own (`test_survival.py`)."""
REPEATS = 12
"""The mean of twelve has a standard error of about 0.012: 0.05 is four of them."""


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
