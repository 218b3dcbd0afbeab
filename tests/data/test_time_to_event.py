"""Cards of a time to event: what is read, what is noticed, and sites looked up in a second table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ai4diag.config.base import parse
from ai4diag.config.card import load_card
from ai4diag.config.tabular import TabularRecipe
from ai4diag.data.catalogue import get
from ai4diag.data.prepare_table import prepare_table
from ai4diag.data.prepared import Prepared
from ai4diag.errors import ConfigError, DataError
from tests.conftest import ROOT
from tests.data.helpers import TOY_TABLE, write_card

CODES = "code,place\nA1,ulm\nB2,lyon\n"


def rows(count: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    table = pd.DataFrame({"case": [f"X-{'A1' if i % 3 else 'B2'}-{i:03d}" for i in range(count)]})
    table["age"], table["dead"] = rng.integers(30, 90, count), np.arange(count) % 2
    return table.assign(days=rng.integers(1, 2000, count))


def recipe(**data: Any) -> TabularRecipe:
    values = {"task": "tabular", "data": {"dataset": "toy", **data}, "model": {"network": "cox"}}
    return parse(TabularRecipe, {**values, "evaluate": {"primary": "c_index"}}, "toy")


def prepared(
    tmp_path: Path, table: pd.DataFrame, codes: str = CODES, official: str = "", unit: str = "d", **data: Any
) -> Prepared:
    raw = tmp_path / "raw"
    raw.mkdir()
    table.to_csv(raw / "table.csv", index=False)
    (raw / "codes.csv").write_text(codes, encoding="utf-8")
    block = {
        "files": [{"path": "table.csv"}],
        "label": {"column": "dead", "values": {"alive": [0], "died": [1]}},
        "time": "days",
        "site": {
            "column": "case",
            "pattern": "X-([A-Z][0-9])-[0-9]+",
            "lookup": {"path": "codes.csv", "key": "code", "value": "place"},
        },
        "columns": [
            {"name": "case", "kind": "text"},
            {"name": "age", "unit": "years"},
            {"name": "dead", "kind": "text"},
            {"name": "days", "unit": unit},
        ],
    }
    values: dict[str, Any] = {"classes": ["alive", "died"], "patient": {"column": "case"}, "table": block}
    if official:
        (raw / "split.csv").write_text(official, encoding="utf-8")
        values["official_split"] = {"source": "toy", "table": "split.csv", "case": "who", "part": "where"}
    card = write_card(tmp_path / "cards", raw, **{**TOY_TABLE, **values})
    prepare_table(raw, card, recipe(**data), tmp_path / "out")
    return Prepared.open(tmp_path / "out")


def test_index_facts_and_sites(tmp_path: Path) -> None:
    table = rows()
    found = prepared(tmp_path, table, horizons_days=[700, 350])
    assert found.target == "time_to_event"
    assert found.index["event"].tolist() == table["dead"].tolist()
    assert found.index["time_days"].tolist() == table["days"].tolist()
    assert found.index["site"].tolist() == ["ulm" if i % 3 else "lyon" for i in range(60)]
    assert "truth" not in found.index
    assert found.facts["horizons_days"] == [350, 700]
    days = found.facts["survival_days"]
    assert days == sorted(set(days))
    assert {350, 700} <= set(days)
    assert days[0] > 0


def test_units_become_days(tmp_path: Path) -> None:
    found = prepared(tmp_path, rows(), unit="weeks")
    assert found.index["time_days"].tolist() == (rows()["days"] * 7).tolist()


def test_a_unit_that_is_no_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"table\.time: 'days' has the unit 'mg'; known: d, days, weeks"):
        prepared(tmp_path, rows(), unit="mg")


def test_no_follow_up_is_kept_and_counted(tmp_path: Path) -> None:
    table = rows()
    table.loc[[0, 2], "days"] = 0  # both censored
    found = prepared(tmp_path, table)
    (finding,) = [item for item in found.findings if item.code == "no-follow-up"]
    assert (finding.level, finding.found) == ("info", "2 rows with time 0 and no event")
    assert len(found.index) == 60


def test_an_event_at_the_start_is_a_warning(tmp_path: Path) -> None:
    table = rows()
    table.loc[1, "days"] = 0
    (finding,) = [item for item in prepared(tmp_path, table).findings if item.code == "event-at-start"]
    assert "table.csv, line 3" in finding.found


@pytest.mark.parametrize(("value", "message"), [(-3, "a time before the start in 1 rows"), ("", "no time in 1 rows")])
def test_a_time_that_cannot_be_stops_the_preparation(tmp_path: Path, value: Any, message: str) -> None:
    table = rows().astype({"days": object})
    table.loc[4, "days"] = value
    with pytest.raises(DataError, match=f"{message}, the first is table.csv, line 6"):
        prepared(tmp_path, table)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ("code,place\nA1,ulm\n", "the code 'B2' nowhere"),
        ("code,place\nA1,ulm\nB2,lyon\nA1,pisa\n", "the code 'A1' twice"),
        ("code,town\nA1,ulm\n", "expected a column 'place'"),
    ],
)
def test_a_site_that_cannot_be_looked_up_is_refused(tmp_path: Path, codes: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, rows(), codes)


def test_an_official_split_with_its_own_names_of_columns(tmp_path: Path) -> None:
    table = rows()
    parts = ["test" if i % 4 == 0 else "train" for i in range(59)]
    split = "who,note,where\n" + "".join(f'{c},"a, b",{p}\n' for c, p in zip(table["case"], parts, strict=False))
    found = prepared(tmp_path, table, official=split, split={"test": "official"})
    assert len(found.index) == 59
    part_of = dict(zip(found.split["case_id"], found.split["part"], strict=True))
    assert all((part_of[case] == "test") == (part == "test") for case, part in zip(table["case"], parts, strict=False))


def test_the_card_of_the_breast_cancers(tmp_path: Path, mirror: str) -> None:
    """The measured facts of the data set hold, and regions are those that its authors counted."""
    card = load_card(ROOT / "datasets" / "tcga_brca_survival.yaml")
    raw = get(card, tmp_path, mirror)
    prepare_table(raw, card, recipe(dataset=card.name, split={"test": "official"}), tmp_path / "out")
    found = Prepared.open(tmp_path / "out")
    assert len(found.facts["features"]) == 39
    assert found.split["part"].value_counts()["test"] == 222
    counted = found.index["site"].value_counts().to_dict()
    assert counted == {"Northeast": 311, "West": 206, "South": 196, "Midwest": 162, "Europe": 162, "Canada": 51}
    assert int(found.index["event"].sum()) == 151
    assert found.index["time_days"].max() == 8605
