"""A trained tabular model asked about new tables: the same answers from every kind of file, and what is refused."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ai4diag.config.base import parse
from ai4diag.config.tabular import TabularRecipe
from ai4diag.data.gather_table import gather_table
from ai4diag.data.prepare_table import prepare_table
from ai4diag.data.prepared import Prepared
from ai4diag.data.problems import ReadError
from ai4diag.data.sheets import excel, parquet
from ai4diag.errors import DataError
from ai4diag.tasks import task
from ai4diag.training.loop import fit
from tests.data.helpers import TOY_TABLE, toy_rows, toy_table, write_card

NAMES = ["case", "age", "sex", "chol", "outcome"]


def model(tmp_path: Path, network: str = "logistic_regression", preprocess: Any = None) -> tuple[Any, Prepared]:
    """Train on the toy table; return the model as it comes back from its folder, and the cases."""
    raw, card = toy_table(tmp_path / "raw")
    values = {"task": "tabular", "data": {"dataset": "toy"}, "model": {"network": network}, "train": {"epochs": 5}}
    recipe = parse(TabularRecipe, {**values, "evaluate": {"primary": "auroc"}}, "toy")
    prepare_table(raw, card, recipe, tmp_path / "prepared", preprocess=preprocess)
    prepared = Prepared.open(tmp_path / "prepared")
    learner = task("tabular").learner(prepared, recipe, {})
    fit(learner, prepared, prepared.folds()[-1], recipe.train, lambda name, fields: None)
    learner.save(tmp_path / "model")
    return task("tabular").load(tmp_path / "model"), prepared


def answers(learner: Any, tmp_path: Path, *paths: Path) -> pd.DataFrame:
    """Return the content of predictions.csv."""
    folder = tmp_path / f"gathered-{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    cases = task("tabular").gather(paths, learner, folder)
    table = learner.predict(cases, np.arange(len(cases.index)))
    (path,) = task("tabular").deliver(table, cases, folder)
    return pd.read_csv(path, keep_default_na=False)


def written(tmp_path: Path, table: pd.DataFrame, name: str = "new.csv", **settings: Any) -> Path:
    path = tmp_path / name
    table.to_csv(path, index=False, **settings)
    return path


def rows() -> pd.DataFrame:
    return pd.DataFrame(toy_rows()[:6], columns=NAMES)


@pytest.mark.parametrize("network", ["logistic_regression", "gradient_boosting"])
def test_the_file_of_the_card_gives_the_answers_of_the_prepared_cases(tmp_path: Path, network: str) -> None:
    learner, prepared = model(tmp_path, network)
    found = answers(learner, tmp_path, written(tmp_path, rows()))
    assert found["case_id"].tolist() == rows()["case"].tolist()
    np.testing.assert_allclose(found["score"], learner.predict(prepared, np.arange(6))["score"], rtol=1e-5)


def test_every_kind_of_file_gives_the_same(tmp_path: Path) -> None:
    learner, _ = model(tmp_path)
    table = rows().drop(columns="outcome")[["sex", "chol", "case", "age"]]
    expected = answers(learner, tmp_path, written(tmp_path, table))
    numbers = table.assign(age=table["age"].astype(float), chol=table["chol"].astype(float))
    numbers.to_excel(tmp_path / "new.xlsx", index=False)
    numbers.to_parquet(tmp_path / "new.parquet", index=False)
    words = table.assign(sex=table["sex"].map({"f": "female", "m": "male"}))
    units = table.rename(columns={"age": "age [years]", "chol": "chol [mg/dL]"})
    others = [tmp_path / "new.xlsx", tmp_path / "new.parquet"]
    others += [written(tmp_path, words, "words.csv"), written(tmp_path, units, "units.csv", sep=";")]
    for path in others:
        pd.testing.assert_frame_equal(answers(learner, tmp_path, path), expected)
    first, second = written(tmp_path, table[:2], "a.csv"), written(tmp_path, table[2:], "b.csv")
    pd.testing.assert_frame_equal(answers(learner, tmp_path, first, second), expected)


def test_rows_without_a_name_are_called_by_their_line(tmp_path: Path) -> None:
    learner, _ = model(tmp_path)
    found = answers(learner, tmp_path, written(tmp_path, rows().drop(columns="case")))
    assert found["case_id"].tolist()[:2] == ["new-line-2", "new-line-3"]


def test_missing_values_are_filled_and_implausible_ones_remarked(tmp_path: Path) -> None:
    learner, _ = model(tmp_path)
    table = rows()
    table.loc[0, "chol"], table.loc[1, "chol"], table.loc[2, "age"] = "?", "0", "610"
    gathered = gather_table([written(tmp_path, table)], tmp_path / "gathered", learner.features, learner.reading)
    assert np.isnan(gathered.features[:2, 2]).all()
    assert gathered.features[2, 0] == 610
    remarks = answers(learner, tmp_path, written(tmp_path, table))["remark"]
    assert remarks.tolist() == ["", "", "age 610 is outside 18 to 100 years", "", "", ""]


def change(name: str, value: Any) -> pd.DataFrame:
    return rows().assign(**{name: value})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (rows().drop(columns="age"), "no such column; expected a column 'age' in years"),
        (rows().rename(columns={"chol": "chol_mg"}), "a column 'chol_mg'.*Did you mean 'chol'"),
        (rows().rename(columns={"chol": "chol [mmol/L]"}), r"column 'chol': found 'mmol/L'; expected the unit 'mg/dL'"),
        (change("chol", "5.2"), "6 of 6 values outside 80 to 700 mg/dL.*another unit"),
        (change("sex", "x"), "column 'sex': found 'x'"),
        (change("age", "old"), "column 'age': found 'old'"),
        (change("case", "p001-1"), "'p001-1' stands twice"),
    ],
)
def test_what_the_model_did_not_learn_from_is_refused(tmp_path: Path, table: pd.DataFrame, message: str) -> None:
    learner, _ = model(tmp_path)
    with pytest.raises(DataError) as caught:
        answers(learner, tmp_path, written(tmp_path, table))
    assert re.search(message, str(caught.value).replace("\n", " ")), str(caught.value)


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    learner, _ = model(tmp_path)
    for name in ("broken.xlsx", "broken.parquet"):
        (tmp_path / name).write_bytes(b"PK no such thing")
        with pytest.raises(DataError, match="no readable"):
            answers(learner, tmp_path, tmp_path / name)


@pytest.mark.parametrize("member", ["xl/worksheets/sheet1.xml", "xl/workbook.xml", "[Content_Types].xml"])
def test_a_torn_sheet_is_refused(tmp_path: Path, member: str) -> None:
    whole, torn = tmp_path / "whole.xlsx", tmp_path / "torn.xlsx"
    rows().to_excel(whole, index=False)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(torn, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content[: len(content) // 2] if name == member else content)
    with pytest.raises(ReadError, match="no readable Excel file"):
        excel(torn)


def test_a_parquet_file_of_few_bytes_and_too_many_cells_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.parquet"
    count = 10_000_000
    column = pa.array(np.zeros(count, np.int8))
    pq.write_table(pa.table({f"c{number}": column for number in range(14)}), path)
    assert path.stat().st_size < count
    with pytest.raises(ReadError, match="140000000 cells"):
        parquet(path)


def test_the_size_that_a_sheet_gives_for_itself_is_not_trusted(tmp_path: Path) -> None:
    plain, boastful = tmp_path / "plain.xlsx", tmp_path / "boastful.xlsx"
    rows().to_excel(plain, index=False)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(boastful, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            changed = re.sub(rb'<dimension ref="[A-Z0-9:]+"', b'<dimension ref="A1:XFD1048576"', content)
            assert (changed != content) == (name == "xl/worksheets/sheet1.xml")
            target.writestr(name, changed)
    assert excel(boastful) == excel(plain)
    assert len(excel(plain)) == 7


def test_a_model_of_a_changed_table_refuses_new_rows(tmp_path: Path) -> None:
    learner, _ = model(tmp_path, preprocess=lambda table: table.assign(age=table["age"] / 10))
    with pytest.raises(DataError, match="changes the table in `preprocess`"):
        answers(learner, tmp_path, written(tmp_path, rows()))


def test_a_model_without_a_description_takes_names_of_levels(tmp_path: Path) -> None:
    learner, _ = model(tmp_path)
    learner.reading = {}
    table = rows().drop(columns=["case", "outcome"])
    words = table.assign(sex=table["sex"].map({"f": "female", "m": "male"}))
    assert len(answers(learner, tmp_path, written(tmp_path, words))) == 6
    with pytest.raises(DataError, match="found 'm'"):
        answers(learner, tmp_path, written(tmp_path, table))


def test_survival_is_delivered_at_the_horizons(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    raw = tmp_path / "raw"
    raw.mkdir()
    table = pd.DataFrame({"case": [f"p{i:03d}" for i in range(120)], "age": rng.integers(30, 90, 120)})
    table["dead"], table["months"] = rng.integers(0, 2, 120), rng.integers(1, 80, 120)
    table["code"] = np.where(table["age"] % 2, "A1", "B2")
    table.to_csv(raw / "table.csv", index=False)
    (raw / "codes.csv").write_text("code,place,more\nA1,ulm,x\nB2,lyon,y\nC3,pisa,z\n", encoding="utf-8")
    block = {
        "files": [{"path": "table.csv"}],
        "label": {"column": "dead", "values": {"alive": [0], "died": [1]}},
        "time": "months",
        "site": {
            "column": "code",
            "pattern": "([A-Z][0-9])",
            "lookup": {"path": "codes.csv", "key": "code", "value": "place"},
        },
        "columns": [
            {"name": "case", "kind": "text"},
            {"name": "age", "unit": "years", "range": [18, 100]},
            {"name": "dead", "kind": "text"},
            {"name": "months", "unit": "months"},
            {"name": "code", "kind": "text"},
        ],
    }
    settings = {**TOY_TABLE, "classes": ["alive", "died"], "patient": {"column": "case"}, "table": block}
    card = write_card(tmp_path / "cards", raw, **settings)
    values = {"task": "tabular", "data": {"dataset": "toy", "horizons_days": [365, 730]}, "model": {"network": "cox"}}
    recipe = parse(TabularRecipe, {**values, "evaluate": {"primary": "c_index"}}, "toy")
    prepare_table(raw, card, recipe, tmp_path / "prepared")
    prepared = Prepared.open(tmp_path / "prepared")
    assert prepared.target == "time_to_event"
    np.testing.assert_allclose(prepared.index["time_days"], table["months"] * 365.25 / 12)
    assert prepared.index["event"].tolist() == table["dead"].tolist()
    assert prepared.index["site"].tolist() == ["ulm" if age % 2 else "lyon" for age in table["age"]]
    assert [item["name"] for item in prepared.facts["features"]] == ["age"]
    learner: Any = task("tabular").learner(prepared, recipe, {})
    fit(learner, prepared, prepared.folds()[-1], recipe.train, lambda name, fields: None)
    found = answers(learner, tmp_path, written(tmp_path, table[:5]))
    expected = learner.predict(prepared, np.arange(5))
    days = expected["survival_days"].iloc[0]
    assert list(found) == ["case_id", "score", "risk_group", "survival_365_days", "survival_730_days", "remark"]
    at = [list(days).index(day) for day in (365, 730)]
    np.testing.assert_allclose(found.iloc[:, 3:5], np.stack(expected["survival"].tolist())[:, at], rtol=1e-5)
