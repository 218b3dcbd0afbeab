"""Orders, sizes and brightness that tell the class or the part."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ai4diag.data.leaks.order import _runs, neighbour_findings, order_findings


def cases(count: int = 200, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    names = [f"img{n:04d}" for n in range(count)]
    index = pd.DataFrame({"case_id": names, "patient_id": names, "site": "s"})
    part = np.random.default_rng(seed).choice(["train", "validation", "test"], count, p=[0.6, 0.15, 0.25])
    return index, index[["case_id", "patient_id"]].assign(fold=0, part=part, contrast=0)


def codes(findings: list) -> list[tuple[str, str]]:
    return [(item.code, item.where) for item in findings]


def test_a_shuffled_set_gives_nothing() -> None:
    index, split = cases()
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 200)
    assert order_findings(index, split, truth, {"the mean brightness": rng.normal(size=200)}) == []
    assert order_findings(index, split, None, {}) == []
    assert order_findings(index[:10], split[:10], truth[:10] * 0, {}) == []


def test_ill_first_then_healthy_is_told_and_so_are_names_that_number_the_classes() -> None:
    index, split = cases()
    truth = (np.arange(200) < 100).astype(np.int64)
    (found,) = order_findings(index, split, truth, {})
    assert (found.code, found.where, found.level) == ("order-tells-label", "the order of the cases", "info")
    mixed = np.random.default_rng(2).permutation(200)
    again = index.iloc[mixed].reset_index(drop=True)  # rows are shuffled, but the names still say it
    assert codes(order_findings(again, split, truth[mixed], {})) == [("order-tells-label", "the number in the name")]


def test_blocks_of_classes_are_seen_where_the_auroc_is_even() -> None:
    index, split = cases()
    truth = np.repeat([0, 1, 1, 0], 50)
    (found,) = order_findings(index, split, truth, {})
    assert "fewer places than by chance" in found.found


def test_visits_of_one_patient_and_hospitals_one_after_the_other_are_no_order() -> None:
    index, split = cases()
    rng = np.random.default_rng(8)
    visits = index.assign(patient_id=[f"p{n // 5}" for n in range(200)])
    assert order_findings(visits, split, np.repeat(rng.integers(0, 2, 40), 5), {}) == []
    sites = index.assign(site=np.repeat(["north", "south"], 100))
    truth = (rng.random(200) < np.repeat([0.25, 0.75], 100)).astype(np.int64)
    assert order_findings(sites, split, truth, {}) == []


def test_sizes_and_brightness_that_tell_class_or_part_are_warnings() -> None:
    index, split = cases()
    rng = np.random.default_rng(3)
    truth, test = rng.integers(0, 2, 200), (split["part"] == "test").to_numpy()
    traits = {"the size (size_0)": 512.0 + 256 * truth, "the mean brightness": 90.0 + 30 * test + rng.normal(size=200)}
    found = order_findings(index, split, truth, traits)
    assert codes(found) == [("trait-tells-label", "the size (size_0)"), ("trait-tells-part", "the mean brightness")]
    assert {item.level for item in found} == {"warning"}
    three = rng.integers(0, 3, 200)
    assert codes(order_findings(index, split, three, {"the size (size_0)": 100.0 * (three == 1) + three})) == [
        ("trait-tells-label", "the size (size_0)")
    ]


def test_a_test_part_of_the_last_cases_is_told() -> None:
    index, split = cases()
    split["part"] = np.where(np.arange(200) < 150, "train", "test")  # by number, as later patients would be
    found = order_findings(index, split, None, {})
    assert [item.level for item in found] == ["info"]
    assert found[0].code == "order-tells-part"


def test_the_number_of_runs_is_standardised_as_by_hand_and_by_simulation() -> None:
    labels = np.array([1, 1, 0, 1, 0, 0, 0, 1, 0, 1])  # 7 runs of 5 and 5: mean 6, variance 80/36 = 20/9
    assert _runs(labels) == pytest.approx(1 / np.sqrt(20 / 9))
    rng = np.random.default_rng(4)
    drawn = np.array([_runs(rng.permutation(np.repeat([0, 1, 2], [20, 30, 50]))) for _ in range(2000)])
    assert abs(drawn.mean()) < 0.1
    assert drawn.std() == pytest.approx(1, abs=0.06)
    assert _runs(np.zeros(20, np.int64)) == 0


def test_neighbours_that_are_alike_are_told_only_where_they_are_parted() -> None:
    index, split = cases()
    rng = np.random.default_rng(5)
    (found,) = neighbour_findings(rng.uniform(0.6, 1, 199), index, split)
    assert (found.level, found.code) == ("warning", "neighbours-alike")
    assert neighbour_findings(rng.uniform(0, 1, 199), index, split) == []
    assert neighbour_findings(rng.uniform(0.6, 1, 199), index, split.assign(part="train")) == []
