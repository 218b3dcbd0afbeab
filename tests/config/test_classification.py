"""Recipes of classification, and the card sources for arrays and pictures: what contradicts itself is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ai4diag.config.base import parse
from ai4diag.config.card import Card, load_card
from ai4diag.config.classification import ClassificationRecipe, SmallResNet
from ai4diag.errors import ConfigError

RECIPE: dict[str, Any] = {
    "task": "classification",
    "data": {"dataset": "toy"},
    "model": {"network": "small_resnet"},
    "evaluate": {"primary": "auroc"},
}
ARRAYS: dict[str, Any] = {"files": {28: "a.npz", 64: "b.npz"}, "labels": "binary"}
PICTURES: dict[str, Any] = {"folder": "img", "labels": "binary", "folders": {"healthy": "H", "ill": "I"}}


def card(tmp_path: Path, **changes: Any) -> Card:
    values = {
        "name": "toy",
        "title": "Toy",
        "description": "For tests.",
        "task": "classification",
        "origin": {"page": "https://example.org"},
        "citation": "none",
        "licence": {"id": "CC0-1.0", "commercial": True, "attribution": "none"},
        "terms": "none",
        "files": [{"path": "a.npz", "sha256": "0" * 64}, {"path": "b.npz", "md5": "1" * 32}],
        "classes": ["healthy", "ill"],
        **changes,
    }
    (tmp_path / "toy.yaml").write_text(json.dumps(values).replace('"28"', "28").replace('"64"', "64"), encoding="utf-8")
    return load_card(tmp_path / "toy.yaml")


def test_defaults_are_one_small_network_from_scratch() -> None:
    found = parse(ClassificationRecipe, RECIPE, "here")
    assert isinstance(found.model, SmallResNet)
    assert (found.model.members, found.model.balanced, found.model.views, found.model.weights) == (1, False, (), None)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"network": "resnet", "layers": 19}, "layers"),
        ({"network": "resnet", "width": 16}, "unknown key 'width'"),
        ({"network": "vgg"}, "network"),
        ({"network": "small_resnet", "views": ["turn"]}, "views"),
        ({"network": "small_resnet", "untouched": 1.5}, "untouched"),
    ],
)
def test_a_wrong_model_is_named(model: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(ClassificationRecipe, {**RECIPE, "model": model}, "here")


def test_a_threshold_is_not_fixed_on_cases_that_were_learned_from() -> None:
    values = {**RECIPE, "train": {"parts": ["train", "validation"]}}
    values["evaluate"] = {"primary": "auroc", "operating_point": {"sensitivity": 0.9}}
    with pytest.raises(ConfigError, match="cannot be fixed on it"):
        parse(ClassificationRecipe, values, "here")
    values["evaluate"]["operating_point"] = {"threshold": 0.5}
    assert parse(ClassificationRecipe, values, "here").train.parts == ("train", "validation")


def test_a_card_of_arrays_knows_which_file_is_which_size(tmp_path: Path) -> None:
    found = card(tmp_path, arrays=ARRAYS)
    assert [file.path for file in found.files_of()] == ["a.npz"]
    assert [file.path for file in found.files_of(64)] == ["b.npz"]
    assert [file.checksum for file in found.files] == ["0" * 64, "md5:" + "1" * 32]
    with pytest.raises(ConfigError, match=r"no images of size 32.*28, 64"):
        found.files_of(32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "needs `arrays` or `pictures`"),
        ({"arrays": ARRAYS, "pictures": PICTURES}, "and no other source"),
        ({"arrays": {**ARRAYS, "labels": "multiclass"}}, "three classes or more"),
        ({"arrays": ARRAYS, "classes": ["a", "b", "c"]}, "two classes: negative, then positive"),
        ({"arrays": ARRAYS, "classes": ["a", "a"]}, "two classes have the same name"),
        ({"arrays": {**ARRAYS, "files": {28: "c.npz"}}}, "'c.npz', which is not among the files"),
        ({"arrays": {**ARRAYS, "channels": ["a", "b"]}}, "one \\(grey\\) or three"),
        ({"arrays": ARRAYS, "patient": {"column": "who"}}, "no identifiers"),
        ({"pictures": PICTURES, "official_split": {"source": "x", "arrays": True}}, "belongs to arrays"),
        ({"pictures": {**PICTURES, "folders": {"ill": "I", "healthy": "H"}}}, "classes in order"),
        ({"pictures": {**PICTURES, "cases": "cases.csv"}}, "either folders or cases"),
        ({"pictures": {"folder": "img", "labels": "binary", "cases": "c.csv"}}, "give both or none"),
        (
            {"pictures": {"folder": "i", "labels": "binary", "cases": "c.csv", "truth": {"columns": {"ill": "x"}}}},
            "multilabel needs truth.columns",
        ),
        ({"pictures": {**PICTURES, "attributes": ["sex"]}}, "columns of cases"),
        ({"arrays": ARRAYS, "files": [{"path": "a.npz"}, {"path": "b.npz", "md5": "1" * 32}]}, "has no sha256"),
        ({"arrays": ARRAYS, "files": [{"path": "a.npz", "md5": "xyz"}]}, "md5"),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        card(tmp_path, **changes)
