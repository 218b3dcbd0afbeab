"""Recipes: what is read, and what is said about a mistake."""

from __future__ import annotations

import pytest

from ai4diag.config.recipe import load_recipe, merge
from ai4diag.errors import ConfigError

RECIPE = """
task: tabular
data:
  dataset: wdbc
  split: {by: patient_id, test: 0.2, validation: 0.15, seed: 7}
model: {network: mlp, hidden: [32, 16]}
train: {epochs: 40, learning_rate: 1e-3}
evaluate: {primary: auroc, accept: {auroc_low: 0.9}}
quick:
  train: {epochs: 2}
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text(RECIPE)
    return path


def test_yaml_1_2_reads_1e_3_as_a_number_and_no_as_a_word(path):
    path.write_text(RECIPE.replace("dataset: wdbc", "dataset: no"))
    recipe = load_recipe(path)
    assert recipe.train.learning_rate == 0.001
    assert recipe.data.dataset == "no"


def test_quick_and_set_change_only_what_they_name(path):
    quick = load_recipe(path, quick=True, overrides=["model.dropout=0.3", "evaluate.operating_point=accuracy"])
    assert quick.train.epochs == 2
    assert quick.train.learning_rate == 0.001
    assert quick.model.hidden == (32, 16)
    assert quick.model.dropout == 0.3
    assert quick.evaluate.operating_point.accuracy is True


def test_another_network_drops_the_settings_of_the_old_one(path):
    recipe = load_recipe(path, overrides=["model.network=gradient_boosting"])
    assert recipe.model.network == "gradient_boosting"
    assert merge({"a": {"network": "x", "depth": 3}}, {"a": {"network": "x", "width": 1}}) == {
        "a": {"network": "x", "depth": 3, "width": 1}
    }


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("epochs: 40", "epoch: 40", r"train: unknown key 'epoch'. Did you mean 'epochs'\?$"),
        ("task: tabular", "task: tabula", r"Did you mean 'tabular'\?"),
        ("task: tabular", "task: [tabular]", r"found \['tabular'\]"),
        ("network: mlp", "network: mlq", "mlq"),
        ("hidden: [32, 16]", "hiden: [32]", r"Did you mean 'hidden'\?"),
        ("epochs: 40", "epochs: 0", "greater than or equal to 1"),
        ("epochs: 40", "epochs: many", "found 'many'"),
        ("validation: 0.15", "validation: 1.5", "less than 1"),
        ("auroc_low: 0.9", "auroc: 0.9", "lower limit"),
        ("test: 0.2", "test: 0.2, contrast: case_id", "contrast needs test: folds"),
        ("epochs: 40,", "epochs: 40, patience: 3, parts: [train, validation],", "patience chooses on validation"),
        ("epochs: 40,", "epochs: 40, epochs: 41,", "duplicate key"),
        ("task: tabular", "task: [tabular", "not valid YAML"),
        ("task: tabular", "task: " + "[" * 20_000, "too deep to be read"),
        ("auroc_low: 0.9", "auroc_low: .nan", "finite number"),
        ("learning_rate: 1e-3", "learning_rate: .inf", "finite number"),
        ("primary: auroc,", "primary: auroc, operating_point: {youden: false},", "should be True"),
        ("primary: auroc,", "primary: auroc, operating_point: {sensitivity: null},", "exactly one"),
        ("primary: auroc,", "primary: auroc, operating_point: {sensitivity: 0.9, specificity: 0.9},", "exactly one"),
    ],
)
def test_mistakes_are_named_with_their_file(path, old, new, said):
    assert old in RECIPE
    path.write_text(RECIPE.replace(old, new))
    with pytest.raises(ConfigError, match=said) as caught:
        load_recipe(path)
    assert str(path) in str(caught.value)


def test_a_small_variant_that_is_none_is_named(path):
    path.write_text(RECIPE.replace("quick:\n  train: {epochs: 2}", "quick: 3"))
    with pytest.raises(ConfigError, match=r"quick: .*found 3"):
        load_recipe(path, quick=True)


def test_operating_point_on_validation_needs_an_unseen_validation_part(path):
    path.write_text(RECIPE.replace("epochs: 40,", "epochs: 40, parts: [train, validation],"))
    with pytest.raises(ConfigError, match="operating_point"):
        load_recipe(path)
    assert (
        load_recipe(path, overrides=["evaluate.operating_point={threshold: 0.5}"]).evaluate.operating_point.threshold
        == 0.5
    )


def test_set_needs_a_key_and_a_value(path):
    with pytest.raises(ConfigError, match="key=value"):
        load_recipe(path, overrides=["train.epochs"])


def test_missing_and_empty_files_are_said_to_be_so(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        load_recipe(tmp_path / "pipeline.yaml")
    (tmp_path / "pipeline.yaml").write_text("")
    with pytest.raises(ConfigError, match="holds no settings"):
        load_recipe(tmp_path / "pipeline.yaml")


def test_byte_order_mark_is_read_and_other_encodings_are_refused(path):
    path.write_bytes(b"\xef\xbb\xbf" + RECIPE.encode())
    assert load_recipe(path).task == "tabular"
    path.write_bytes(RECIPE.replace("wdbc", "wd\u00e9").encode("latin-1"))
    with pytest.raises(ConfigError, match="UTF-8"):
        load_recipe(path)
