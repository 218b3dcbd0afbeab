"""Labelled images from arrays, folders and tables, to prepared cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ai4diag.config.card import Card
from ai4diag.config.classification import ClassificationRecipe
from ai4diag.data.prepare_labelled import prepare_labelled
from ai4diag.data.prepared import Prepared
from ai4diag.errors import ConfigError, DataError
from tests.data.helpers import write_card

CLASSES = {"binary": ["normal", "ill"], "multiclass": ["a", "b", "c"], "ordinal": ["mild", "moderate", "severe"]}
CLASSES["multilabel"] = ["oedema", "effusion"]


def recipe(**data: Any) -> ClassificationRecipe:
    split = {"test": "official", **data.pop("split", {})}
    return ClassificationRecipe.model_validate(
        {
            "task": "classification",
            "data": {"dataset": "toy", "split": split, **data},
            "model": {"network": "small_resnet"},
            "evaluate": {"primary": "auroc"},
        }
    )


def arrays_card(
    tmp_path: Path,
    labels: str = "binary",
    shape: tuple[int, ...] = (6, 5),
    counts: tuple[int, int, int] = (24, 9, 12),
    **changes: Any,
) -> tuple[Path, Card]:
    """Write an `.npz` with MedMNIST's keys, and its card; every class is in every part."""
    raw = tmp_path / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    content: dict[str, np.ndarray] = {}
    classes = CLASSES[labels]
    for part, count in zip(("train", "val", "test"), counts, strict=True):
        content[f"{part}_images"] = rng.integers(0, 256, (count, *shape), np.uint8)
        if labels == "multilabel":
            content[f"{part}_labels"] = np.stack([np.arange(count) % 2, np.arange(count) % 3 == 0], axis=1).astype(
                np.uint8
            )
        else:
            content[f"{part}_labels"] = (np.arange(count) % len(classes)).astype(np.uint8)[:, None]
    content |= changes.pop("content", {})
    np.savez(raw / "toy.npz", **content)
    arrays = {"files": {28: "toy.npz"}, "labels": labels, **changes.pop("arrays", {})}
    official = {"source": "toy", "arrays": True, **changes.pop("official", {})}
    card = write_card(tmp_path, raw, task="classification", classes=classes, arrays=arrays, official_split=official)
    return raw, card


def prepared(tmp_path: Path, raw: Path, card: Card, **data: Any) -> Prepared:
    prepare_labelled(raw, card, recipe(**data), tmp_path / "out")
    return Prepared.open(tmp_path / "out")


@pytest.mark.parametrize("labels", list(CLASSES))
def test_arrays_keep_their_pixels_labels_and_parts(tmp_path: Path, labels: str) -> None:
    raw, card = arrays_card(tmp_path, labels)
    found = prepared(tmp_path, raw, card)
    stored = np.load(raw / "toy.npz")
    (fold,) = found.folds()
    for part, rows in (("train", fold.train), ("val", fold.validation), ("test", fold.test)):
        np.testing.assert_array_equal(found.images[rows][:, 0], stored[f"{part}_images"])
        names = [f"truth_{name}" for name in card.classes] if labels == "multilabel" else ["truth"]
        np.testing.assert_array_equal(found.index[names].to_numpy()[rows], stored[f"{part}_labels"])
        assert found.index["case_id"].iloc[rows[0]] == f"{part}-00001"
    assert found.target == labels
    assert found.facts["statistics"]["mean"][0] == pytest.approx(stored["train_images"].mean())
    assert found.facts["statistics"]["std"][0] == pytest.approx(stored["train_images"].std())
    assert [finding.code for finding in found.findings] == ["no-patient-ids"]


def test_colour_and_volumes_keep_their_axes(tmp_path: Path) -> None:
    raw, card = arrays_card(tmp_path / "rgb", shape=(6, 5, 3), arrays={"channels": ["red", "green", "blue"]})
    found = prepared(tmp_path / "rgb", raw, card)
    assert found.images.shape == (45, 3, 6, 5)
    np.testing.assert_array_equal(found.images[0, 2], np.load(raw / "toy.npz")["train_images"][0, :, :, 2])
    raw, card = arrays_card(tmp_path / "volume", shape=(6, 5, 4), arrays={"dimensions": 3})
    found = prepared(tmp_path / "volume", raw, card)
    assert found.images.shape == (45, 1, 6, 5, 4)
    with pytest.raises(ConfigError, match="volumes stay as they are"):
        prepared(tmp_path / "volume", raw, card, image_size=[3, 3])


def with_copy(source: str = "train", to: str = "val", label: int = 0) -> dict[str, np.ndarray]:
    """Arrays in which the first picture of one part stands in another as well, with this label."""
    rng = np.random.default_rng(5)
    content = {f"{part}_images": rng.integers(0, 256, (n, 6, 5), np.uint8) for part, n in (("train", 24), ("val", 9))}
    content["val_labels"] = (np.arange(9) % 2).astype(np.uint8)[:, None]
    content[f"{to}_images"][0] = content[f"{source}_images"][0]
    content[f"{to}_labels"][0] = label
    return content


def test_a_copy_in_two_parts_is_a_leak_that_is_named_unless_the_card_knows_it(tmp_path: Path) -> None:
    raw, card = arrays_card(tmp_path, content=with_copy())
    with pytest.raises(DataError, match="train-00001 in train and val-00001 in validation"):
        prepared(tmp_path, raw, card)
    for known in (1, "uncounted"):
        raw, card = arrays_card(tmp_path, content=with_copy(), official={"known_duplicates": known})
        found = prepared(tmp_path, raw, card)
        (leak,) = [item for item in found.findings if item.code == "content-leak"]
        assert leak.level == "warning"
        assert ("known_duplicates" in leak.cure) == (known == "uncounted")
        assert "train-00001 in train and val-00001 in validation" in leak.found


def test_equal_pictures_with_different_labels_are_named(tmp_path: Path) -> None:
    raw, card = arrays_card(tmp_path, content=with_copy(label=1), official={"known_duplicates": 1})
    found = prepared(tmp_path, raw, card)
    (odd,) = [item for item in found.findings if item.code == "contradictory-labels"]
    assert odd.found.endswith("train-00001 and val-00001")


def test_another_split_keeps_copies_together(tmp_path: Path) -> None:
    raw, card = arrays_card(tmp_path, content=with_copy())
    found = prepared(tmp_path, raw, card, split={"test": 0.3})
    part = found.split.set_index("case_id")["part"]
    assert part["train-00001"] == part["val-00001"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"val_labels": np.full((9, 1), 2, np.uint8)}, "val_labels, case 1: found 2; expected 0 to 1"),
        (
            {"val_labels": np.zeros((8, 1), np.uint8)},
            r"val_labels: found uint8 \(8, 1\); expected whole numbers \(9, 1\)",
        ),
        ({"test_images": np.zeros((12, 6, 6), np.uint8)}, "test_images: found uint8"),
        ({"test_images": np.zeros((12, 6, 5), np.float32)}, "test_images: found float32"),
        ({"train_labels": np.zeros((24, 1), np.uint8)}, "no case of class ill among 24"),
    ],
)
def test_arrays_that_are_not_what_the_card_says_are_refused(
    tmp_path: Path, content: dict[str, np.ndarray], message: str
) -> None:
    raw, card = arrays_card(tmp_path, content=content)
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, raw, card)


def test_an_empty_picture_is_noticed(tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (12, 6, 5), np.uint8)
    images[3] = 7
    raw, card = arrays_card(tmp_path, content={"test_images": images})
    (odd,) = [item for item in prepared(tmp_path, raw, card).findings if item.code == "empty-image"]
    assert odd.found == "1 images of one value, such as test-00004"


def test_only_the_file_of_the_size_that_is_asked_for_is_needed(tmp_path: Path) -> None:
    raw, card = arrays_card(tmp_path)
    arrays = {"files": {28: "toy.npz", 64: "toy_64.npz"}, "labels": "binary"}
    np.savez(raw / "toy_64.npz", nothing=np.ones(3))
    card = write_card(tmp_path, raw, task="classification", classes=["normal", "ill"], arrays=arrays,
                      official_split={"source": "toy", "arrays": True})  # fmt: skip
    (raw / "toy_64.npz").unlink()
    assert len(prepared(tmp_path, raw, card).index) == 45
    with pytest.raises(DataError, match=r"toy_64\.npz is missing"):
        prepared(tmp_path, raw, card, size=64)
    with pytest.raises(ConfigError, match="no images of size 128"):
        prepared(tmp_path, raw, card, size=128)


def write_pictures(raw: Path, names: list[str], size: tuple[int, int] = (9, 8)) -> None:
    rng = np.random.default_rng(2)
    for name in names:
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(raw / name)


def test_pictures_in_class_folders_with_patients_in_their_names(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    names = [f"img/{label}/p{number % 8}-{number}.png" for label in ("NORMAL", "ILL") for number in range(16)]
    write_pictures(raw, names)
    pictures = {"folder": "img", "labels": "binary", "folders": {"normal": "NORMAL", "ill": "ILL"}}
    card = write_card(
        tmp_path,
        raw,
        task="classification",
        classes=["normal", "ill"],
        pictures=pictures,
        patient={"column": "image", "pattern": "[A-Z]+/(p[0-9])-[0-9]+"},
    )
    found = prepared(tmp_path, raw, card, split={"test": 0.25}, image_size=[4, 4])
    assert found.images.shape == (32, 1, 4, 4)
    assert found.index["case_id"].tolist() == sorted(found.index["case_id"], key=lambda name: (name[0] != "N", name))
    truth = found.index.set_index("case_id")["truth"]
    assert all(value == name.startswith("ILL") for name, value in truth.items())
    assert found.index["patient_id"].nunique() == 8
    assert found.split.groupby("patient_id")["part"].nunique().max() == 1
    assert set(found.index["size_0"]) == {9}


def table_card(tmp_path: Path, lines: list[str], **truth: Any) -> tuple[Path, Card]:
    raw = tmp_path / "raw"
    write_pictures(raw, [f"img/{number:02d}.png" for number in range(12)])
    (raw / "cases.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    classes = truth.pop("classes", ["oedema", "effusion"])
    labels = truth.pop("labels", "multilabel")
    pictures = {"folder": "img", "labels": labels, "cases": "cases.csv", "truth": truth, "site_column": "where",
                "attributes": ["sex"]}  # fmt: skip
    card = write_card(
        tmp_path, raw, task="classification", classes=classes, pictures=pictures, patient={"column": "who"}
    )
    return raw, card


def lines(change: dict[int, str] | None = None) -> list[str]:
    head = "image,who,where,sex,Edema,Effusion"
    body = [
        f"{n:02d}.png,p{n // 2},{'north' if n < 6 else 'south'},{'fm'[n % 2]},{n % 2},{int(n % 3 == 0)}"
        for n in range(12)
    ]
    for row, text in (change or {}).items():
        body[row] = text
    return [head, *body]


COLUMNS = {"columns": {"oedema": "Edema", "effusion": "Effusion"}}


def test_a_table_of_cases_gives_findings_patients_sites_and_attributes(tmp_path: Path) -> None:
    raw, card = table_card(tmp_path, lines(), **COLUMNS)
    found = prepared(tmp_path, raw, card, split={"test": 0.3, "validation": 0.3})
    assert found.target == "multilabel"
    assert found.index["truth_oedema"].tolist() == [0, 1] * 6
    assert found.index["truth_effusion"].tolist() == [1, 0, 0] * 4
    assert found.index["site"].tolist() == ["north"] * 6 + ["south"] * 6
    assert found.index["sex"].tolist() == ["f", "m"] * 6
    assert found.index["patient_id"].nunique() == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({3: "03.png,p1,north,f,2,0"}, "row 4, column 'Edema': found '2'; expected 0 or 1"),
        ({3: "33.png,p1,north,f,1,0"}, "row 4: there is no image '33.png'"),
        ({3: "../cases.csv,p1,north,f,1,0"}, "row 4: there is no image"),
        ({3: "03.png,,north,f,1,0"}, "expected an identifier"),
        ({3: "02.png,p1,north,f,1,0"}, "'02' stands twice"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, change: dict[int, str], message: str) -> None:
    raw, card = table_card(tmp_path, lines(change), **COLUMNS)
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, raw, card, split={"test": 0.3})


def test_words_of_a_label_column_are_translated_and_unknown_ones_refused(tmp_path: Path) -> None:
    words = {"classes": ["female", "male"], "labels": "binary", "column": "sex", "values": {"female": "f", "male": "m"}}
    raw, card = table_card(tmp_path, lines(), **words)
    assert prepared(tmp_path, raw, card, split={"test": 0.3}).index["truth"].tolist() == [0, 1] * 6
    raw, card = table_card(tmp_path, lines({5: "05.png,p2,north,x,1,0"}), **words)
    with pytest.raises(DataError, match="row 6, column 'sex': found 'x'; expected one of f, m"):
        prepared(tmp_path, raw, card, split={"test": 0.3})


def test_pictures_of_several_sizes_need_one(tmp_path: Path) -> None:
    raw, card = table_card(tmp_path, lines(), **COLUMNS)
    write_pictures(raw, ["img/04.png"], (5, 5))
    card = write_card(tmp_path, raw, task="classification", classes=card.classes,
                      pictures=card.pictures.model_dump(exclude_none=True), patient={"column": "who"})  # fmt: skip
    with pytest.raises(DataError, match="2 sizes"):
        prepared(tmp_path, raw, card, split={"test": 0.3})
    assert prepared(tmp_path, raw, card, split={"test": 0.3}, image_size=[4, 6]).images.shape == (12, 1, 4, 6)


def test_a_hook_changes_pixels_but_not_shapes(tmp_path: Path) -> None:
    raw, card = arrays_card(tmp_path)
    prepare_labelled(raw, card, recipe(), tmp_path / "out", preprocess=lambda image: 255 - image)
    first = np.load(raw / "toy.npz")["train_images"][0]
    np.testing.assert_array_equal(Prepared.open(tmp_path / "out").images[0, 0], 255 - first)
    with pytest.raises(DataError, match="preprocess returned"):
        prepare_labelled(raw, card, recipe(), tmp_path / "out", preprocess=lambda image: image[:, :2])
