"""The split, against counting by hand and against scikit-learn's balance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from ai4diag.config.data import Split
from ai4diag.data.prepared import FINAL
from ai4diag.data.split import deal, leaks, make_split, merge_groups
from ai4diag.errors import ConfigError, DataError


def cohort(patients: int = 50, visits: int = 3) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    number = np.repeat(np.arange(patients), visits)
    visit = np.tile(np.arange(visits), patients)
    index = pd.DataFrame(
        {
            "case_id": [f"p{p}-{v}" for p, v in zip(number, visit, strict=True)],
            "patient_id": [f"p{p}" for p in number],
            "site": np.where(number % 2 == 0, "north", "south"),
            "truth": (number % 5 == 0).astype(int),
        }
    )
    strata = pd.get_dummies(index["truth"]).to_numpy(float)
    return index, strata, [str(row) for row in range(len(index))]


def test_a_fraction_gives_its_share_of_patients_and_of_ill() -> None:
    index, strata, content = cohort(100, 1)
    split = make_split(index, strata, content, Split(test=0.2, validation=0.25))
    counts = split.merge(index).groupby("part")["truth"].agg(["size", "sum"])
    assert counts.loc["test"].tolist() == [20, 4]
    assert counts.loc["validation"].tolist() == [20, 4]
    assert counts.loc["train"].tolist() == [60, 12]


def test_folds_partition_the_cases_and_hold_patients_together() -> None:
    index, strata, content = cohort()
    split = make_split(index, strata, content, Split(test="folds", folds=5))
    assert sorted(split["fold"].unique()) == [FINAL, 0, 1, 2, 3, 4]
    tested = split[(split["part"] == "test")]["case_id"]
    assert sorted(tested) == sorted(index["case_id"])
    for _, fold in split.groupby("fold"):
        assert sorted(fold["case_id"]) == sorted(index["case_id"])
        assert fold.groupby("patient_id")["part"].nunique().max() == 1
    assert set(split.loc[split["fold"] == FINAL, "part"]) == {"train", "validation"}
    assert leaks(split, dict(zip(index["case_id"], content, strict=True))) == []


def test_contrast_folds_part_patients_and_are_marked() -> None:
    index, strata, content = cohort()
    split = make_split(index, strata, content, Split(test="folds", folds=5, contrast="case_id"))
    wrong = split[split["contrast"] == 1]
    assert sorted(wrong["fold"].unique()) == [0, 1, 2, 3, 4]
    assert wrong[wrong["fold"] == 0].groupby("patient_id")["part"].nunique().max() > 1
    assert leaks(split, dict(zip(index["case_id"], content, strict=True))) == []


def test_folds_are_as_even_as_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 9, 60)
    groups = np.repeat(np.arange(60), sizes)
    label = np.repeat((rng.random(60) < 0.3).astype(int), sizes)
    strata = pd.get_dummies(label).to_numpy(float)
    ours = deal(groups, strata, [0.2] * 5, np.random.default_rng(0))
    theirs = np.zeros(len(groups), int)
    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    for fold, (_, test) in enumerate(splitter.split(groups, label, groups)):
        theirs[test] = fold

    def spread(folds: np.ndarray) -> float:
        return float(np.std([np.bincount(label[folds == fold], minlength=2) for fold in range(5)], axis=0).sum())

    assert spread(ours) <= spread(theirs) * 1.05 + 0.5


@pytest.mark.parametrize("patients", [3, 4, 5, 6])
def test_no_part_stays_empty_however_few_the_patients(patients: int) -> None:
    index, strata, content = cohort(patients, 1)
    split = make_split(index, strata, content, Split(test=0.2, validation=0.15))
    assert set(split["part"]) == {"train", "validation", "test"}


@settings(max_examples=40, deadline=None)
@given(st.integers(6, 40), st.integers(1, 4), st.integers(0, 10_000))
def test_no_group_is_ever_parted(patients: int, visits: int, seed: int) -> None:
    index, strata, content = cohort(patients, visits)
    split = make_split(index, strata, content, Split(test=0.3, validation=0.2, seed=seed))
    assert split.groupby("patient_id")["part"].nunique().max() == 1
    assert split["case_id"].tolist() == index["case_id"].tolist()


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    index, strata, content = cohort()
    first, again, other = (make_split(index, strata, content, Split(seed=seed)) for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


def test_copies_under_two_patients_stay_together() -> None:
    index, strata, content = cohort(40, 1)
    content[3] = content[17] = content[31] = "copy"
    for seed in range(20):
        parts = make_split(index, strata, content, Split(seed=seed))["part"]
        assert parts[3] == parts[17] == parts[31]


def test_merging_is_transitive() -> None:
    units = np.array([0, 0, 1, 1, 2, 2, 3])
    content = ["a", "b", "b", "c", "c", "d", "e"]
    assert merge_groups(units, content).tolist() == [0, 0, 0, 0, 0, 0, 1]


def test_a_patient_in_two_parts_is_an_error_that_names_the_cases() -> None:
    split = pd.DataFrame(
        {
            "case_id": ["a", "b", "c"],
            "patient_id": ["p", "p", "q"],
            "fold": 0,
            "part": ["train", "test", "test"],
            "contrast": 0,
        }
    )
    (found,) = leaks(split, {"a": "1", "b": "2", "c": "3"})
    assert (found.level, found.code) == ("error", "patient-leak")
    assert found.found == "patient p in two parts: b in test and a in train"
    assert set(found.cases) == {"a", "b"}


def test_equal_content_in_two_parts_is_an_error_unless_the_card_declares_it() -> None:
    split = pd.DataFrame(
        {"case_id": ["a", "b"], "patient_id": ["p", "q"], "fold": 0, "part": ["train", "test"], "contrast": 0}
    )
    (error,) = leaks(split, {"a": "same", "b": "same"})
    (warning,) = leaks(split, {"a": "same", "b": "same"}, known_duplicates=1)
    assert (error.level, error.code) == ("error", "content-leak")
    assert warning.level == "warning"


def test_an_official_split_is_kept_and_only_validation_is_taken_from_train() -> None:
    index, strata, content = cohort()
    official = pd.Series(np.where(index["patient_id"].isin([f"p{n}" for n in range(10)]), "test", "train"))
    split = make_split(index, strata, content, Split(test="official", validation=0.25), official)
    assert (split["part"].eq("test") == official.eq("test")).all()
    learn = split[split["part"] != "test"]
    assert learn.groupby("patient_id")["part"].nunique().max() == 1
    assert (learn["part"] == "validation").mean() == pytest.approx(0.25, abs=0.03)


def test_grouping_by_site_keeps_sites_whole() -> None:
    index, strata, content = cohort()
    index["site"] = [f"s{int(name[1:]) % 6}" for name in index["patient_id"]]
    split = make_split(index, strata, content, Split(by="site", test=0.3, validation=0.3))
    assert split.assign(site=index["site"]).groupby("site")["part"].nunique().max() == 1


def test_an_unknown_column_and_too_few_groups_are_errors() -> None:
    index, strata, content = cohort(4, 2)
    with pytest.raises(ConfigError, match="Did you mean 'patient_id'"):
        make_split(index, strata, content, Split(by="patient"))
    with pytest.raises(DataError, match="too few for 5 folds"):
        make_split(index, strata, content, Split(test="folds", folds=5))
    with pytest.raises(DataError, match="2 groups cannot fill 3 parts"):
        make_split(index[:4], strata[:4], content[:4], Split())
    with pytest.raises(ConfigError, match="no official_split"):
        make_split(index, strata, content, Split(test="official"))
