"""What a scan says of pairs: between which parts, how certain, of whom; and what it says of a whole table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ai4diag.data.leaks.copies import Pair
from ai4diag.data.leaks.gate import gate
from ai4diag.data.leaks.scan import ALL_ROWS, Divided, pair_findings, scan_pictures, scan_table
from ai4diag.errors import DataError

NAMES = ["a", "b", "c", "d"]


def divided(parts: list[str], patients: list[str] | None = None, content: list[str] | None = None) -> Divided:
    index = pd.DataFrame({"case_id": NAMES, "patient_id": patients or NAMES, "site": "s"})
    split = index[["case_id", "patient_id"]].assign(fold=0, part=parts, contrast=0)
    wrong = split.assign(part="train", contrast=1)  # what stands in a contrast does not count
    return Divided(index, pd.concat([split, wrong], ignore_index=True), content or NAMES)


def pair(first: int, second: int, *, sure: bool = True, way: str = "") -> Pair:
    return Pair(first, second, 0.91, 1.2, way, sure)


@pytest.mark.parametrize(
    ("parts", "sure", "level", "where"),
    [
        (("train", "test"), True, "error", "train and test"),
        (("test", "validation"), True, "error", "validation and test"),
        (("train", "test"), False, "warning", "train and test"),
        (("validation", "train"), True, "warning", "train and validation"),
        (("test", "test"), True, "warning", "test"),
        (("train", "train"), True, "warning", "train"),
    ],
)
def test_only_a_certain_copy_of_a_tested_case_is_an_error(parts, sure: bool, level: str, where: str) -> None:
    cases = divided([*parts, "train", "train"])
    (found,) = pair_findings([pair(0, 1, sure=sure, way="mirrored")], cases, "look-alike", "picture")
    assert (found.level, found.where, found.cases) == (level, where, ("a", "b"))
    assert found.found.startswith(f"a ({parts[0]}) and b ({parts[1]}): similarity 0.91, mirrored")
    assert ("perhaps" in found.found) == (not sure)


def test_pairs_of_the_same_two_patients_are_one_finding_and_equal_content_is_another() -> None:
    cases = divided(["train", "train", "test", "test"], ["p", "p", "q", "q"])
    (found,) = pair_findings([pair(0, 2), pair(1, 3)], cases, "look-alike", "signal")
    assert found.cases == ("a", "c", "b", "d")
    assert "and 1 more pairs of these two" in found.found
    same = divided(["train", "test", "train", "test"], content=["x", "x", "y", "z"])
    assert pair_findings([pair(0, 1)], same, "look-alike", "picture") == []


def test_in_cross_validation_a_pair_counts_where_one_is_tested_on_what_the_other_taught() -> None:
    index = pd.DataFrame({"case_id": NAMES, "patient_id": NAMES, "site": "s"})
    folds = {-1: ["train", "train", "validation", "train"], 0: ["test", "train", "train", "validation"]}
    folds[1] = ["train", "test", "test", "train"]
    tables = [index[["case_id", "patient_id"]].assign(fold=fold, part=own, contrast=0) for fold, own in folds.items()]
    cases = Divided(index, pd.concat(tables), NAMES)
    apart, together = pair_findings([pair(0, 1), pair(1, 2)], cases, "look-alike", "picture")
    assert (apart.level, apart.where) == ("error", "train and test")
    assert "a (tested in fold 0) and b (tested in fold 1)" in apart.found
    assert (together.level, together.where) == ("warning", "train and validation")  # of the model that is kept


def test_of_many_cases_only_those_are_looked_up_that_are_not_always_learned_from() -> None:
    count = ALL_ROWS + 1
    index = pd.DataFrame({"case_id": [f"c{n}" for n in range(count)], "site": "s"}).assign(patient_id="p")
    part = np.where(np.arange(count) % 10 == 0, "test", "train")
    split = index[["case_id", "patient_id"]].assign(fold=0, part=part, contrast=0)
    asked = Divided(index, split, index["case_id"].tolist()).asked()
    assert asked.tolist() == list(range(0, count, 10))


def table(count: int = 120) -> tuple[np.ndarray, list[dict[str, object]], Divided, np.ndarray]:
    rng = np.random.default_rng(9)
    names = [f"case-{n}" for n in rng.permutation(count)]
    index = pd.DataFrame({"case_id": names, "patient_id": names, "site": "s"})
    part = np.where(np.arange(count) % 4 == 0, "test", "train")
    split = index[["case_id", "patient_id"]].assign(fold=0, part=part, contrast=0)
    cases = Divided(index, split, names, rng.integers(0, 2, count))
    described = [{"name": f"x{n}", "kind": "number", "unit": "1", "levels": []} for n in range(6)]
    return np.round(rng.normal(size=(count, 6)), 2), described, cases, np.flatnonzero(part == "train")


def test_a_clean_table_gives_nothing_and_a_row_entered_twice_stops_and_is_named() -> None:
    features, described, cases, train = table()
    assert scan_table(features, described, cases, train) == []
    features[4] = features[9]  # case 4 is tested, case 9 taught
    features[4, 2] += 3  # a value corrected
    found = scan_table(features, described, cases, train)
    ids = cases.index["case_id"]
    with pytest.raises(DataError, match=rf"{ids[4]} \(test\) and {ids[9]} \(train\): similarity 0.83"):
        gate(found, [], "toy")
    assert scan_table(features, described, cases, train, equal_by_chance=True) == []


def test_volumes_of_one_size_are_scanned_like_pictures() -> None:
    rng = np.random.default_rng(1)
    small = rng.normal(size=(20, 8, 8, 8)).repeat(2, axis=1).repeat(2, axis=2).repeat(2, axis=3)
    images = np.clip(128 + 40 * small, 0, 255).astype(np.uint8)[:, None]
    images[7] = np.clip(images[2][:, ::-1] * 0.7 + 30, 0, 255).astype(np.uint8)
    names = [f"v{n}" for n in range(20)]
    index = pd.DataFrame({"case_id": names, "patient_id": names, "site": "s"})
    part = np.where(np.arange(20) % 3 == 1, "test", "train")
    split = index[["case_id", "patient_id"]].assign(fold=0, part=part, contrast=0)
    (found,) = scan_pictures(images, Divided(index, split, names))
    assert (found.level, found.cases) == ("error", ("v2", "v7"))
    assert "v2 (train) and v7 (test)" in found.found
    assert found.found.endswith(", mirrored")
