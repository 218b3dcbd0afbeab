"""The MedMNIST cards: their facts, and the one file that can be had offline against its card."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from ai4diag.config.card import Card
from ai4diag.data.catalogue import Catalogue, get, verify
from ai4diag.data.prepare_labelled import prepare_labelled
from ai4diag.data.prepared import Prepared
from ai4diag.errors import DataError
from tests.data.helpers import write_card
from tests.data.test_prepare_labelled import recipe

CARDS = Catalogue(Path(__file__).parents[2] / "datasets")
MIRROR = os.environ.get("AI4DIAG_MIRROR", "")
FLAT = ["path", "chest", "derma", "oct", "pneumonia", "retina", "breast", "blood", "tissue"]
FLAT += ["organa", "organc", "organs"]
DEEP = ["organ", "nodule", "adrenal", "fracture", "vessel", "synapse"]
NAMES = [f"{name}mnist" for name in FLAT] + [f"{name}mnist3d" for name in DEEP]
CLASSES = [9, 14, 7, 4, 2, 5, 2, 8, 8, 11, 11, 11, 11, 2, 2, 3, 2, 2]
"""Yang et al., Sci Data 10:41 (2023), table 2."""


def test_there_are_eighteen_sets_with_as_many_classes_as_the_paper_says() -> None:
    cards = [CARDS.card(name) for name in NAMES]
    assert [len(card.classes) for card in cards] == CLASSES
    kinds = {card.name: card.arrays.labels for card in cards if card.arrays is not None}
    assert kinds.pop("chestmnist") == "multilabel"
    assert kinds.pop("retinamnist") == "ordinal"
    assert set(kinds.values()) == {"binary", "multiclass"}


@pytest.mark.parametrize("name", NAMES)
def test_a_card_names_a_file_for_every_size_and_fetches_one(name: str) -> None:
    card = CARDS.card(name)
    assert card.arrays is not None
    deep = name.endswith("3d")
    assert card.arrays.dimensions == (3 if deep else 2)
    assert list(card.arrays.files) == ([28, 64] if deep else [28, 64, 128, 224])
    assert [file.path for file in card.files_of()] == [f"{name}.npz"]
    assert [file.path for file in card.files_of(64)] == [f"{name}_64.npz"]
    assert len({file.md5 for file in card.files}) == len(card.arrays.files)
    assert card.licence.commercial == (name != "dermamnist")
    assert card.licence.id == ("CC-BY-NC-4.0" if name == "dermamnist" else "CC-BY-4.0")
    assert len(card.arrays.channels) == (
        3 if name in {f"{n}mnist" for n in ("path", "derma", "retina", "blood")} else 1
    )


def test_a_file_that_is_known_by_its_md5_is_verified_and_recorded_under_its_sha256(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror" / "toy"
    mirror.mkdir(parents=True)
    for part in ("toy.npz", "toy_64.npz"):
        np.savez(mirror / part, images=np.arange(len(part)))
    files = [
        {"path": path.name, "md5": hashlib.md5(path.read_bytes()).hexdigest()} for path in sorted(mirror.iterdir())
    ]
    arrays = {"files": {28: "toy.npz", 64: "toy_64.npz"}, "labels": "binary"}
    card: Card = write_card(tmp_path, mirror, task="classification", classes=["a", "b"], arrays=arrays)
    card = card.model_copy(update={"files": tuple(type(card.files[0])(**file) for file in files)})
    folder = get(card, tmp_path / "data", str(tmp_path / "mirror"))
    assert sorted(path.name for path in folder.iterdir()) == ["SHA256SUMS", "toy.npz"]
    get(card, tmp_path / "data", str(tmp_path / "mirror"), size=64)
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    assert lines == [
        f"{hashlib.sha256((mirror / name).read_bytes()).hexdigest()}  {name}" for name in ("toy.npz", "toy_64.npz")
    ]
    (folder / "toy_64.npz").write_bytes(b"something else")
    verify(card, folder)
    with pytest.raises(DataError, match=r"toy_64\.npz is not what its card says: md5 .*, expected md5"):
        verify(card, folder, size=64)
    (mirror / "toy_64.npz").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"could not be had \(md5"):
        get(card, tmp_path / "data", str(tmp_path / "mirror"), size=64)


@pytest.mark.skipif(not MIRROR, reason="AI4DIAG_MIRROR is not set")
def test_the_reconstructed_pneumoniamnist_has_the_published_counts_and_its_known_copies(tmp_path: Path) -> None:
    card = CARDS.card("pneumoniamnist_reconstructed")
    prepare_labelled(get(card, tmp_path / "data", MIRROR), card, recipe(), tmp_path / "out")
    found = Prepared.open(tmp_path / "out")
    (fold,) = found.folds()
    truth = found.index["truth"].to_numpy()
    counts = [np.bincount(truth[rows]).tolist() for rows in (fold.train, fold.validation, fold.test)]
    assert counts == [[1214, 3494], [135, 389], [234, 390]]
    (leak,) = [item for item in found.findings if item.code == "content-leak"]
    assert leak.level == "warning"
    assert leak.found.startswith("8 such: equal content in two parts: train-")
    (alike,) = [item for item in found.findings if item.code == "look-alike"]  # chest X-rays do not drown the list
    assert (alike.level, alike.cases) == ("warning", ("train-03679", "val-00212"))
    assert "in test" not in leak.found
    (copies,) = [item for item in found.findings if item.code == "duplicate-content"]
    assert copies.found.startswith("27 groups of equal images")
    assert not [item for item in found.findings if item.code == "contradictory-labels"]
    test = [found.images[row].tobytes() for row in fold.test]
    assert len(test) - len(set(test)) == 3
