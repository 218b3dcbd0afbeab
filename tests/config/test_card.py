from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ai4diag.config.card import Card, load_card
from ai4diag.errors import ConfigError

TOY: dict[str, Any] = {
    "name": "toy",
    "title": "Toy",
    "description": "For tests.",
    "task": "tabular",
    "origin": {"page": "https://example.org"},
    "citation": "none",
    "licence": {"id": "CC0-1.0", "commercial": True, "attribution": "none"},
    "terms": "none",
    "files": [{"path": "a.csv", "sha256": "0" * 64}],
    "classes": ["healthy", "ill"],
    "table": {
        "files": [{"path": "a.csv"}],
        "label": {"column": "outcome", "values": {"healthy": [0], "ill": [1]}},
        "columns": [{"name": "age", "unit": "years"}, {"name": "outcome", "kind": "text"}],
    },
}
SEX: dict[str, Any] = {"name": "sex", "kind": "category", "levels": {"female": 0, "male": 1}}


def card(tmp_path: Path, *changes: tuple[str, Any]) -> Card:
    values = json.loads(json.dumps(TOY))
    for key, value in changes:
        *path, last = key.split(".")
        target = values
        for step in path:
            target = target[int(step)] if isinstance(target, list) else target[step]
        target[int(last) if isinstance(target, list) else last] = value
    (tmp_path / "toy.yaml").write_text(json.dumps(values), encoding="utf-8")
    return load_card(tmp_path / "toy.yaml")


def test_a_card_knows_its_folder_and_hash(tmp_path: Path) -> None:
    found = card(tmp_path)
    assert found.folder == tmp_path.resolve()
    assert len(found.sha256) == 64
    assert found.sha256 != card(tmp_path, ("title", "Other")).sha256


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("licens", {}, "unknown key 'licens'. Did you mean 'licence'"),
        ("name", "other", "expected 'toy', the name of the file"),
        ("files", [], "names no files"),
        ("files", [{"path": "a.csv"}], "has no sha256"),
        ("files", [{"path": "a.csv", "sha256": "abc"}], "sha256"),
        ("files", [{"path": "../a.csv", "sha256": "0" * 64}], "stays inside its folder"),
        ("files", [{"path": "/etc/passwd", "sha256": "0" * 64}], "stays inside its folder"),
        ("files", [{"path": "a\\b.csv", "sha256": "0" * 64}], "stays inside its folder"),
        ("mirror", "..", "stays inside its folder"),
        ("classes", ["ill", "healthy"], "must name the classes in order"),
        ("table.label.column", "death", "column 'death', which is not among the columns"),
        ("patient", {"column": "who"}, "column 'who', which is not among the columns"),
        ("patient", {"column": "age", "pattern": ".*"}, "exactly one group"),
        ("patient", {"column": "age", "pattern": "("}, "not a regular expression"),
        ("table.columns.0", {"name": "age"}, "a number needs a unit"),
        ("table.columns.0", {"name": "age", "kind": "category"}, "every category needs them"),
        ("table.columns.0", {"name": "age", "unit": "years", "attribute": True}, "a number with bands"),
        ("table.columns.0", {"name": "age", "unit": "years", "bands": [60, 50]}, "bands must increase"),
        ("table.columns.0", {"name": "outcome", "kind": "text"}, "given twice"),
        ("table.columns.0", {"name": "age", "kind": "text", "unit": "years"}, "belong to a number"),
        ("table.columns.0", {"name": "age", "unit": "years", "range": [100, 18]}, "range must be the smallest"),
        ("table.columns.0", {"name": "device", "kind": "text", "attribute": True}, "an attribute is a category"),
        ("table.columns.0", {**SEX, "levels": {"female": 1, "male": "1.0"}}, "'1.0' stands for two levels"),
        ("table.columns.0", {**SEX, "name": "truth", "attribute": True}, "cannot have this name"),
        ("table.columns.0", {**SEX, "name": "site"}, "name it in `table.site`"),
        ("table.columns.1", {**SEX, "name": "outcome", "attribute": True}, "which therefore is no attribute"),
        ("table.label.values", {"healthy": [0], "ill": [0, 1]}, "'0' stands for two levels"),
        ("task", "detection", "a detection card needs `images`"),
        ("official_split", {"source": "me"}, "exactly one of lists, table"),
        ("official_split", {"source": "me", "lists": {"train": "a"}}, "at least train and test"),
    ],
)
def test_a_wrong_card_says_what_and_where(tmp_path: Path, key: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        card(tmp_path, (key, value))
    assert message in str(caught.value)
    assert "toy.yaml" in str(caught.value)


def test_an_empty_card_is_refused(tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds no card"):
        load_card(tmp_path / "toy.yaml")


NO_TASK = {key: value for key, value in TOY.items() if key not in ("classes", "table")} | {"task": "none"}


def without_a_task(tmp_path: Path, **changes: Any) -> Card:
    (tmp_path / "toy.yaml").write_text(json.dumps(NO_TASK | changes), encoding="utf-8")
    return load_card(tmp_path / "toy.yaml")


def test_files_that_no_task_reads_have_a_card_too(tmp_path: Path) -> None:
    found = without_a_task(tmp_path)
    assert [file.path for file in found.all_files()] == ["a.csv"]
    assert found.classes == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ["healthy", "ill"]}, "a card without a task has no source, no classes and no split"),
        ({"table": TOY["table"]}, "a card without a task has no source, no classes and no split"),
        ({"official_split": {"source": "us", "table": "a.csv"}}, "a card without a task has no source"),
        ({"files": []}, "names no files"),
        ({"task": "tabular", "table": TOY["table"]}, "a tabular card needs classes"),
        ({"task": "tabular", "classes": ["healthy", "ill"]}, "a tabular card needs `table`"),
    ],
)
def test_a_card_without_a_task_has_files_alone(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        without_a_task(tmp_path, **changes)
