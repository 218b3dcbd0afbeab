"""Nearly equal rows, columns that carry the outcome, and columns that number or place the cases."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ai4diag.data.leaks.columns import identifying_columns, outcome_columns, separation, told_share
from ai4diag.data.leaks.rows import near_rows


def measured(count: int = 300, columns: int = 12, seed: int = 0) -> np.ndarray:
    """Correlated measurements, as laboratories give them."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(count, 5))
    return np.round(hidden @ rng.normal(size=(5, columns)) + rng.normal(0, 0.3, (count, columns)), 2)


def with_row(features: np.ndarray, row: np.ndarray) -> np.ndarray:
    return np.vstack([features, row])


def one_changed(row: np.ndarray) -> np.ndarray:
    return np.where(np.arange(len(row)) == 4, row + 7, row)


@pytest.mark.parametrize(
    "change", [one_changed, lambda row: row + 0.01, lambda row: np.round(row, 1), lambda row: row * 1.004]
)
def test_a_row_entered_twice_with_a_change_is_found(change: object) -> None:
    features = measured()
    both = with_row(features, change(features[17]))  # type: ignore[operator]
    (pair,) = near_rows(both, np.arange(301), np.arange(301))
    assert (pair.first, pair.second, pair.sure) == (17, 300, True)
    assert near_rows(both, np.array([*range(300), 17]), np.arange(301)) == []
    assert near_rows(both, np.arange(301), np.array([3])) == []


def test_rows_of_different_patients_and_equal_rows_are_no_near_copies() -> None:
    features = measured()
    assert near_rows(features, np.arange(300), np.arange(300)) == []
    assert near_rows(with_row(features, features[17]), np.arange(301), np.arange(301)) == []  # another finding


def test_a_table_of_few_categories_gives_no_false_alarm() -> None:
    rng = np.random.default_rng(1)
    table = rng.integers(0, 2, (500, 15)).astype(float)
    table[:, :5] = table[:, [0]]  # columns that say the same
    table[rng.random(table.shape) < 0.1] = np.nan
    assert near_rows(table, np.arange(500), np.arange(500)) == []
    assert near_rows(table[:8], np.arange(8), np.arange(8)) == []
    assert near_rows(np.zeros((50, 3)), np.arange(50), np.arange(50)) == []


@pytest.mark.parametrize(("count", "items", "levels"), [(40, 9, 4), (200, 20, 2), (300, 40, 2), (1000, 9, 4)])
def test_answers_to_a_questionnaire_that_go_together_stop_nobody(count: int, items: int, levels: int) -> None:
    rng = np.random.default_rng(0)
    answers = 0.9 * rng.normal(size=(count, 1)) + 0.44 * rng.normal(size=(count, items))
    table = np.clip(np.floor(answers + 0.3), 0, levels - 1)
    pairs = near_rows(table, np.arange(count), np.arange(count))
    assert not any(pair.sure for pair in pairs)
    assert len(pairs) <= 3


def described(*names: str, unit: str = "1") -> list[dict[str, object]]:
    return [{"name": name, "kind": "number", "unit": unit, "levels": []} for name in names]


def codes(findings: list) -> list[tuple[str, str]]:
    return [(item.level, item.code) for item in findings]


def test_separation_is_the_auroc_of_scikit_learn_in_the_better_direction() -> None:
    rng = np.random.default_rng(2)
    truth, values = rng.integers(0, 2, 200), np.round(rng.normal(size=200), 1)
    expected = roc_auc_score(truth, values)
    assert separation(values, truth) == pytest.approx(max(expected, 1 - expected))
    values[:20] = np.nan
    expected = roc_auc_score(truth[20:], values[20:])
    assert separation(values, truth) == pytest.approx(max(expected, 1 - expected))
    assert separation(values[:25], truth[:25]) == 0.5
    assert separation(values, np.zeros(200, np.int64)) == 0.5


def test_of_several_classes_a_column_tells_what_it_is_told_by_hand() -> None:
    truth = np.repeat([0, 1, 2], 60)
    assert separation(truth.astype(float)[::1], truth) == 1.0
    middle = np.where(truth == 1, 1.0, 0.0)  # tells class 1; of the others half: 120 of 180, the largest class 60
    assert separation(middle, truth) == pytest.approx(0.5 + (120 - 60) / (180 - 60) / 2)
    noise = np.random.default_rng(0).normal(size=1800)
    assert separation(noise, np.repeat(truth, 10)) < 0.55
    assert told_share(np.full(50, np.nan), np.arange(50) % 2) == 0.0


def test_a_copy_of_the_label_stops_and_a_strong_marker_is_a_warning() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, 200)
    copy, strong = 5.0 - truth, truth + rng.normal(0, 0.27, 200)
    strong[np.flatnonzero(truth)[0]] = 0  # one ill patient with a normal value
    found = outcome_columns(np.column_stack([copy, strong, rng.normal(size=200)]), described("a", "b", "c"), truth)
    assert codes(found) == [("error", "label-in-column"), ("warning", "label-in-column")]
    assert [item.where for item in found] == ["column 'a'", "column 'b'"]
    assert "data.drop: [a]" in found[0].cure


def test_a_copy_of_the_label_stops_a_table_too_small_to_judge_columns() -> None:
    rng = np.random.default_rng(9)
    truth = rng.permutation(np.repeat([0, 1], 9))
    columns = np.column_stack([7.0 - truth, truth + rng.normal(0, 0.1, 18), np.ones(18), truth])
    columns[0, 3] = np.nan
    (found,) = outcome_columns(columns, described("copy", "marker", "constant", "missing"), truth)
    assert (found.level, found.where) == ("error", "column 'copy'")
    assert outcome_columns(columns[:, :1], described("copy"), np.zeros(18, np.int64)) == []
    assert outcome_columns(7.0 - truth[:6, None], described("copy"), truth[:6]) == []


@pytest.mark.parametrize(
    "name", ["follow_up_days", "FollowUpTime", "time", "days_to_death", "survival", "hospital_stay"]
)
def test_a_follow_up_column_is_found_by_name_and_by_what_it_does(name: str) -> None:
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 2, 300)
    values = (100 - 70 * truth + rng.normal(0, 45, 300))[:, None]
    (found,) = outcome_columns(values, described(name, unit="d"), truth)
    assert (found.level, found.code) == ("error", "post-outcome-column")
    (weak,) = outcome_columns(rng.normal(size=(300, 1)), described(name, unit="d"), truth)
    assert weak.level == "warning"


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("prothrombin_time", "s"),
        ("age", "years"),
        ("thalach", "1/min"),
        ("los", "1"),
        ("collagen_precursor", "ug/l"),
        ("dead_space", "ml"),
        ("Survivin", "ng/l"),
        ("nipple_discharge", "1"),
        ("family_death_before_50", "1"),
    ],
)
def test_measurements_are_not_taken_for_follow_up(name: str, unit: str) -> None:
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 2, 300)
    assert outcome_columns((truth + rng.normal(size=300))[:, None], described(name, unit=unit), truth) == []


def test_the_time_to_the_event_in_another_unit_is_found() -> None:
    rng = np.random.default_rng(6)
    days, event = rng.exponential(800, 200), rng.integers(0, 2, 200)
    columns = np.column_stack([np.round(days / 30.4), rng.normal(size=200)])
    with np.errstate(all="raise"):  # the last column is constant
        (found,) = outcome_columns(np.column_stack([columns, days * 0]), described("x", "y", "z"), event, days)
    assert (found.level, found.code, found.where) == ("error", "label-in-column", "column 'x'")


def rows(count: int = 200, sites: int = 2) -> pd.DataFrame:
    names = [f"p{n:03d}" for n in range(count)]
    return pd.DataFrame({"case_id": names, "patient_id": names, "site": [f"s{n % sites}" for n in range(count)]})


def test_numbers_of_cases_dates_and_sites_are_no_measurements() -> None:
    rng, index = np.random.default_rng(7), rows()
    site = np.arange(200) % 2
    columns = {
        "record": np.arange(200.0),
        "patient_number": rng.permutation(200) + 5000.0,
        "year": rng.integers(2001, 2010, 200).astype(float),
        "kvp": 100.0 + 20 * site,
        "platelets": 1000.0 * rng.permutation(200),
        "age": rng.integers(20, 90, 200).astype(float),
    }
    truth = (np.arange(200) >= 100).astype(np.int64)
    found = identifying_columns(np.column_stack(list(columns.values())), described(*columns), index, truth)
    assert [(item.level, item.code, item.where) for item in found] == [
        ("error", "identifier-column", "column 'record'"),  # the ill were entered last: it tells the label
        ("warning", "identifier-column", "column 'patient_number'"),
        ("warning", "date-column", "column 'year'"),
        ("warning", "site-in-column", "column 'kvp'"),
    ]
    assert identifying_columns(columns["age"][:, None], described("age"), rows(sites=1), truth) == []


def test_whole_numbers_that_measure_stop_nobody() -> None:
    """Counts of cells, and a table that somebody sorted by a laboratory value."""
    rng, index = np.random.default_rng(8), rows(40, sites=1)
    truth = (np.arange(40) >= 20).astype(np.int64)
    enzyme = np.sort(rng.choice(np.arange(20.0, 4000), 40, replace=False))
    cells = rng.permutation(enzyme * 10)
    found = identifying_columns(np.column_stack([enzyme, cells]), described("ck", "cell_number"), index, truth)
    assert [(item.level, item.where) for item in found] == [("warning", "column 'ck'")]
    number = np.arange(40.0) * 1.5 // 1 + 7000
    found = identifying_columns(number[:, None], described("x"), index, truth)
    assert codes(found) == [("error", "identifier-column")]
