from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ai4diag.config.card import Card
from ai4diag.data.check_table import auroc
from ai4diag.data.prepare_table import prepare_table
from ai4diag.data.prepared import FINAL, Prepared
from ai4diag.errors import ConfigError, DataError
from tests.data.helpers import TOY_TABLE, tabular_recipe, toy_rows, toy_table


def prepared(tmp_path: Path, raw: Path, card: Card, drop: list[str] | None = None, **split: object) -> Prepared:
    prepare_table(raw, card, tabular_recipe(drop, **split), tmp_path / "out")
    return Prepared.open(tmp_path / "out")


def codes(found: Prepared) -> list[str]:
    return [finding.code for finding in found.findings]


def test_features_index_and_facts_are_those_of_the_files(tmp_path: Path) -> None:
    rows = toy_rows()
    raw, card = toy_table(tmp_path, rows)
    found = prepared(tmp_path, raw, card)
    assert found.facts["features"] == [
        {"name": "age", "kind": "number", "unit": "years", "levels": []},
        {"name": "sex", "kind": "category", "unit": "", "levels": ["female", "male"]},
        {"name": "chol", "kind": "number", "unit": "mg/dL", "levels": []},
    ]
    expected = [[float(age), float(sex == "m"), float(chol)] for _, age, sex, chol, _ in rows]
    np.testing.assert_array_equal(found.features, expected)
    assert found.index["case_id"].tolist() == [row[0] for row in rows]
    assert found.index["patient_id"].tolist() == [row[0][:3] for row in rows]
    assert found.index["truth"].tolist() == [int(row[4]) for row in rows]
    assert found.index["site"].tolist() == ["north"] * 40 + ["south"] * 40
    bands = ["under 50" if int(r[1]) < 50 else "50 to under 70" if int(r[1]) < 70 else "70 and over" for r in rows]
    assert found.index["age_band"].tolist() == bands
    assert found.index["sex"].tolist() == [{"f": "female", "m": "male"}[row[2]] for row in rows]
    assert found.classes == ("healthy", "ill")
    assert found.split.groupby("patient_id")["part"].nunique().max() == 1


def test_statistics_are_those_of_the_training_part_alone(tmp_path: Path) -> None:
    raw, card = toy_table(tmp_path)
    found = prepared(tmp_path, raw, card, test="folds", folds=4)
    final = found.folds()[-1]
    assert final.number == FINAL
    train = found.features[final.train]
    facts = found.facts["statistics"]
    assert facts["cases"] == len(final.train)
    assert facts["features"]["chol"]["mean"] == pytest.approx(train[:, 2].mean())
    assert facts["features"]["chol"]["std"] == pytest.approx(train[:, 2].std())
    assert facts["features"]["sex"]["counts"] == np.bincount(train[:, 1].astype(int)).tolist()
    assert facts["classes"]["ill"] == int(found.index["truth"].to_numpy()[final.train].sum())


def test_zeros_that_mean_missing_become_missing_and_are_counted_per_site(tmp_path: Path) -> None:
    rows = toy_rows()
    for row in rows[40:]:
        row[3] = "0"
    raw, card = toy_table(tmp_path, rows)
    found = prepared(tmp_path, raw, card)
    assert np.isnan(found.features[40:, 2]).all()
    assert not np.isnan(found.features[:40]).any()
    findings = {finding.code: finding for finding in found.findings}
    assert findings["zero-coded-missing"].found == "0 in 40 of 40 rows of south"
    assert findings["missing-values"].found == "40 of 80 missing: in 40 of 40 rows of south"
    assert findings["missing-values"].level == "warning"


def test_values_outside_the_range_are_kept_and_reported_with_their_line(tmp_path: Path) -> None:
    rows = toy_rows()
    rows[45][1] = "610"
    raw, card = toy_table(tmp_path, rows)
    found = prepared(tmp_path, raw, card)
    (finding,) = [finding for finding in found.findings if finding.code == "out-of-range"]
    assert "610 (south.csv, line 7)" in finding.found
    assert finding.expected == "18 to 100 years"
    assert found.features[45, 0] == 610


def test_many_zeros_below_the_range_are_suspected_to_be_missing(tmp_path: Path) -> None:
    rows = [[c, "0" if n % 9 == 0 else age, *rest] for n, (c, age, *rest) in enumerate(toy_rows())]
    raw, card = toy_table(tmp_path, rows)
    (finding,) = [finding for finding in prepared(tmp_path, raw, card).findings if finding.code == "out-of-range"]
    assert "zero_is_missing" in finding.cure


def test_a_constant_column_is_reported(tmp_path: Path) -> None:
    rows = [[case, age, "f", chol, outcome] for case, age, _, chol, outcome in toy_rows()]
    raw, card = toy_table(tmp_path, rows)
    (finding,) = [f for f in prepared(tmp_path, raw, card).findings if f.code == "constant-column"]
    assert finding.where == "column 'sex'"


def test_a_column_that_holds_the_label_stops(tmp_path: Path) -> None:
    rows = [[case, age, sex, str(200 + 100 * int(outcome)), outcome] for case, age, sex, _, outcome in toy_rows()]
    raw, card = toy_table(tmp_path, rows)
    with pytest.raises(DataError, match=r"column 'chol': found .* AUROC 1\.000 on the training part.*drop: \[chol\]"):
        prepared(tmp_path, raw, card)
    assert prepared(tmp_path, raw, card, ["chol"])


def test_missing_values_that_tell_the_label_are_reported(tmp_path: Path) -> None:
    rows = [
        [c, age, sex, "" if ill == "0" and n % 5 else chol, ill]
        for n, (c, age, sex, chol, ill) in enumerate(toy_rows())
    ]
    raw, card = toy_table(tmp_path, rows)
    found = [f.where for f in prepared(tmp_path, raw, card).findings if f.code == "informative-missingness"]
    assert found == ["column 'chol'", "number of missing values per case"]


def test_a_column_known_only_after_the_outcome_stops_until_it_is_dropped(tmp_path: Path) -> None:
    table = TOY_TABLE["table"]
    columns = [{**column, "post_outcome": True} if column["name"] == "chol" else column for column in table["columns"]]
    raw, card = toy_table(tmp_path, table={**table, "columns": columns})
    with pytest.raises(DataError, match=r"column 'chol'.*after the outcome.*data\.drop: \[chol\]"):
        prepared(tmp_path, raw, card)
    assert [item["name"] for item in prepared(tmp_path, raw, card, ["chol"]).facts["features"]] == ["age", "sex"]


def test_damaged_cells_are_all_named_at_once_and_nothing_is_prepared(tmp_path: Path) -> None:
    rows = toy_rows()
    rows[0][1], rows[50][2], rows[60][4], rows[70][4] = "sixty", "x", "2", ""
    raw, card = toy_table(tmp_path, rows)
    with pytest.raises(DataError) as caught:
        prepared(tmp_path, raw, card)
    text = str(caught.value)
    assert "4 errors" in text
    for place in (
        "north.csv, line 2, column 'age'",
        "south.csv, line 12, column 'sex'",
        "south.csv, line 22",
        "line 32",
    ):
        assert place in text
    assert not (tmp_path / "out").exists()


def test_rows_of_equal_content_are_reported_and_stay_together(tmp_path: Path) -> None:
    rows = toy_rows(visits=1)
    rows[31][1:] = rows[4][1:]
    raw, card = toy_table(tmp_path, rows)
    found = prepared(tmp_path, raw, card, test=0.3, validation=0.3)
    (finding,) = [finding for finding in found.findings if finding.code == "duplicate-content"]
    assert "p04-1 = p31-1" in finding.found
    parts = found.split.set_index("case_id")["part"]
    assert parts["p04-1"] == parts["p31-1"]


@pytest.mark.parametrize("visits", [1, 3])
def test_equal_rows_of_a_table_of_categories_are_no_copies(tmp_path: Path, visits: int) -> None:
    rng = np.random.default_rng(0)
    rows = [[c, str(rng.choice([30, 60])), sex, "200.0", ill] for c, _, sex, _, ill in toy_rows(60, visits)]
    raw, card = toy_table(tmp_path, rows)
    found = prepared(tmp_path, raw, card, test=0.3, validation=0.3)
    assert "rows-alike" in codes(found)
    assert "duplicate-content" not in codes(found)
    seen = found.index.merge(found.split).groupby("part")[["age_band", "sex"]].agg(lambda column: len(set(column)))
    assert (seen == 2).all(axis=None)


def test_splitting_patients_stops_but_as_contrast_it_is_marked(tmp_path: Path) -> None:
    raw, card = toy_table(tmp_path)
    with pytest.raises(DataError, match=r"such: patient p00 in two parts: p00-"):
        prepared(tmp_path, raw, card, by="case_id")
    found = prepared(tmp_path, raw, card, test="folds", contrast="case_id")
    assert [fold.contrast for fold in found.folds()] == [True] * 5 + [False] * 6


def test_a_class_that_is_absent_from_training_stops(tmp_path: Path) -> None:
    raw, card = toy_table(tmp_path, [[*row[:4], "0"] for row in toy_rows()])
    with pytest.raises(DataError, match="part train: found no case of class ill"):
        prepared(tmp_path, raw, card)


def test_identifiers_must_match_their_pattern_and_be_unique(tmp_path: Path) -> None:
    rows = toy_rows()
    rows[2][0] = "x1"
    raw, card = toy_table(tmp_path / "a", rows)
    with pytest.raises(DataError, match=r"north\.csv, row 3, column 'case': 'x1' does not match"):
        prepared(tmp_path, raw, card)
    rows[2][0] = rows[1][0]
    raw, card = toy_table(tmp_path / "b", rows)
    with pytest.raises(DataError, match="the case 'p00-2' stands twice"):
        prepared(tmp_path, raw, card)


def test_without_identifiers_rows_are_numbered_and_the_report_says_so(tmp_path: Path) -> None:
    raw, card = toy_table(tmp_path, case=None, patient=None)
    found = prepared(tmp_path, raw, card)
    assert found.index["case_id"].tolist()[:2] == ["north-0001", "north-0002"]
    assert found.index["patient_id"].tolist() == found.index["case_id"].tolist()
    assert "no-patient-ids" in codes(found)


def test_dropping_what_is_not_there_gives_the_nearest_name(tmp_path: Path) -> None:
    raw, card = toy_table(tmp_path)
    with pytest.raises(ConfigError, match=r"no column 'colesterol'\. Known: age, case, chol"):
        prepared(tmp_path, raw, card, ["colesterol"])
    with pytest.raises(ConfigError, match="is the label"):
        prepared(tmp_path, raw, card, ["outcome"])
    with pytest.raises(ConfigError, match="leaves no column"):
        prepared(tmp_path, raw, card, ["age", "sex", "chol"])


def test_preprocess_may_add_numbers_and_never_sees_the_truth(tmp_path: Path) -> None:
    raw, card = toy_table(tmp_path)
    seen: list[str] = []

    def preprocess(table: pd.DataFrame) -> pd.DataFrame:
        seen.extend(table.columns)
        return table.assign(old=(table["age"] > 65) * (table["sex"] == "male")).drop(columns="chol")

    prepare_table(raw, card, tabular_recipe(), tmp_path / "out", preprocess)
    found = Prepared.open(tmp_path / "out")
    assert "truth" not in seen
    assert [item["name"] for item in found.facts["features"]] == ["age", "sex", "old"]
    expected = (found.features[:, 0] > 65) & (found.features[:, 1] == 1)
    np.testing.assert_array_equal(found.features[:, 2], expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.iloc[::-1], "same cases in the same order"),
        (lambda table: table.drop(columns="case_id"), "same cases in the same order"),
        (lambda table: table[["case_id"]], "no feature"),
        (lambda table: pd.concat([table, table[["age"]]], axis=1), "a column twice"),
        (lambda table: table.assign(age=table["age"] - table["age"].mean()), "sees fewer cases"),
        (lambda table: table.assign(**{f"n{len(table)}": 1.0}), "sees fewer cases"),
        (lambda table: table.assign(age=np.inf), "infinite values"),
        (lambda table: table.assign(sex="other"), "unknown levels of 'sex'"),
        (lambda table: table.assign(age="old"), "'age' that is not numbers"),
    ],
)
def test_a_wrong_preprocess_is_refused(tmp_path: Path, change: object, message: str) -> None:
    raw, card = toy_table(tmp_path)
    with pytest.raises(DataError, match=message):
        prepare_table(raw, card, tabular_recipe(), tmp_path / "out", change)  # type: ignore[arg-type]


def test_changed_raw_files_are_refused(tmp_path: Path) -> None:
    raw, card = toy_table(tmp_path)
    (raw / "north.csv").write_text((raw / "north.csv").read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"north\.csv is not what its card says"):
        prepared(tmp_path, raw, card)


def test_preparing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    raw, card = toy_table(tmp_path)
    first = prepared(tmp_path, raw, card).facts
    assert prepared(tmp_path, raw, card).facts == first


def test_auroc_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 200)
    score = np.round(rng.normal(truth, 2), 1)
    assert auroc(score, truth) == pytest.approx(roc_auc_score(truth, score))
    assert math.isclose(auroc(score, np.zeros(200, int)), 0.5)
