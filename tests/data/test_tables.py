"""Tables as they come, and what is said about bad ones."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ai4diag.config.sources.table import Column
from ai4diag.data.problems import ReadError
from ai4diag.data.tables import MOST_COLUMNS, levels, numbers, read_table

MIRROR = os.environ.get("AI4DIAG_MIRROR", "")
AGE = Column(name="age", unit="years")


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        "age,sex\n61,f\n47.5,m\n",
        "\ufeffage,sex\n61,f\n47.5,m\n",
        "age;sex\r\n61;f\r\n47,5;m\r\n",
        "age\tsex\n61\tf\n47,5\tm\n",
        'age,sex\n61, "f"\n 47.5 ,m\n\n\n',
        "sex,age\nf,61\nm,47.5\n",
    ],
)
def test_forms_of_the_same_table_read_alike(tmp_path: Path, content: str) -> None:
    table, _ = read_table(write(tmp_path / "a.csv", content), ["age", "sex"], header=True)
    values, findings = numbers(table, AGE, ("",))
    assert values.tolist() == [61, 47.5]
    assert table.cells["sex"].tolist() == ["f", "m"]
    assert not [finding for finding in findings if finding.level == "error"]


def test_decimal_commas_are_reported_with_their_line(tmp_path: Path) -> None:
    table, _ = read_table(write(tmp_path / "a.csv", "age;sex\n61;f\n47,5;m\n"), ["age", "sex"], header=True)
    _, (finding,) = numbers(table, AGE, ("",))
    assert (finding.level, finding.code) == ("warning", "decimal-comma")
    assert finding.where == "a.csv, line 3, column 'age'"


def test_uci_data_without_a_header_takes_names_from_the_card(tmp_path: Path) -> None:
    table, _ = read_table(write(tmp_path / "a.data", "61,?\n?,1\n"), ["age", "sex"], header=False)
    values, findings = numbers(table, AGE, ("?",))
    assert findings == []
    assert values[0] == 61
    assert math.isnan(values[1])
    assert table.lines.tolist() == [1, 2]


ARFF = """% comment
@relation ckd
@attribute 'age' numeric
@attribute "blood pressure" numeric
@attribute class {ckd, notckd}

@data
48,80,ckd
% another comment
7,\t?,ckd\t
62, 80 ,'notckd'
"""


def test_arff_with_stray_tabs_is_read_and_reported(tmp_path: Path) -> None:
    names = ["age", "blood pressure", "class"]
    table, (finding,) = read_table(write(tmp_path / "a.arff", ARFF), names, header=True)
    assert table.cells.values.tolist() == [["48", "80", "ckd"], ["7", "?", "ckd"], ["62", "80", "notckd"]]
    assert table.lines.tolist() == [8, 10, 11]
    assert finding.code == "stray-tabs"
    assert "line 10" in finding.found
    codes, findings = levels(table, "class", {"no": ("notckd",), "yes": ("ckd",)}, ("?",))
    assert codes.tolist() == [1, 1, 0]
    assert findings == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "an empty file"),
        ("age,sex\n", "no rows"),
        ("age,sex\n61,f\n47\n", r"a.csv, line 3: found 1 cells; expected 2 cells"),
        ("age,sex\n61,f\n47,5,m\n", r"line 3: found 3 cells; expected 2 cells. Correct the line: .*decimal comma"),
        ("age,age\n61,f\n", "column 'age' twice"),
        ("agee,sex\n61,f\n", "Did you mean 'agee'"),
        (b"age,sex\n61,f\n47,\xe9\n", "line 3: found byte 0xe9; expected UTF-8"),
        (b"PK\x03\x04\x00\x00", "zero bytes"),
        ('age,sex\n61,"f\n47,m\n', "broken quotes"),
        (",".join(f"c{n}" for n in range(MOST_COLUMNS + 1)) + "\n1\n", "10001 columns"),
    ],
)
def test_a_bad_table_names_file_line_and_cure(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(ReadError, match=message) as caught:
        read_table(write(tmp_path / "a.csv", content), ["age", "sex"], header=True)
    assert "a.csv" in str(caught.value)
    assert caught.value.cure


def test_a_missing_file_and_an_arff_without_data_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="no such file"):
        read_table(tmp_path / "none.csv", ["age"], header=True)
    with pytest.raises(ReadError, match="no @data line"):
        read_table(write(tmp_path / "a.arff", "@relation x\n"), ["age"], header=True)
    with pytest.raises(ReadError, match="line 1"):
        read_table(write(tmp_path / "b.arff", "@attribute\n@data\n1\n"), ["age"], header=True)


@pytest.mark.parametrize("cell", ["sixty", "nan", "inf", "1e999", "12:30", "47,5", "0x1f"])
def test_what_is_not_a_number_is_an_error(tmp_path: Path, cell: str) -> None:
    table, _ = read_table(write(tmp_path / "a.csv", f'age,sex\n61,f\n"{cell}",m\n'), ["age", "sex"], header=True)
    _, findings = numbers(table, AGE, ("",))
    assert findings[-1].level == "error"
    assert findings[-1].where == "a.csv, line 3, column 'age'"
    assert cell in findings[-1].found


def test_a_formula_is_named_as_one(tmp_path: Path) -> None:
    content = "age,sex\n=cmd|' /C calc'!A0,f\n"
    table, _ = read_table(write(tmp_path / "a.csv", content), ["age", "sex"], header=True)
    _, (finding,) = numbers(table, AGE, ("",))
    assert "the formula" in finding.found


def test_an_unknown_level_gives_the_known_ones(tmp_path: Path) -> None:
    table, _ = read_table(write(tmp_path / "a.csv", "age,sex\n61,f\n47,x\n"), ["age", "sex"], header=True)
    _, (finding,) = levels(table, "sex", {"female": ("f", 0), "male": ("m", 1)}, ("",))
    assert finding.where == "a.csv, line 3, column 'sex'"
    assert "f/0 (female), m/1 (male)" in finding.expected


def test_numbers_as_levels_match_however_they_are_written(tmp_path: Path) -> None:
    table, _ = read_table(write(tmp_path / "a.data", "1.0,a\n1,b\n0,c\n?,d\n"), ["sex", "x"], header=False)
    codes, findings = levels(table, "sex", {"female": (0,), "male": (1,)}, ("?",))
    assert findings == []
    np.testing.assert_array_equal(codes, [1, 1, 0, math.nan])


def test_columns_that_the_card_does_not_know_are_reported(tmp_path: Path) -> None:
    table, (finding,) = read_table(write(tmp_path / "a.csv", "age,ward\n61,7\n"), ["age"], header=True)
    assert list(table.cells.columns) == ["age"]
    assert "ward" in finding.found


@pytest.mark.skipif(not MIRROR, reason="AI4DIAG_MIRROR is not set")
def test_the_messy_copy_of_heart_failure_reads_like_a_table() -> None:
    path = Path(MIRROR) / "heart_failure" / "messy_teaching_copy.csv"
    original = pd.read_csv(path.parent / "heart_failure_clinical_records_dataset.csv")
    table, _ = read_table(path, list(original.columns), header=True)
    values, findings = numbers(table, Column(name="platelets", unit="1/uL"), ("",))
    assert [finding.code for finding in findings] == ["decimal-comma"]
    same = np.isclose(values, original["platelets"])
    assert (same | np.isnan(values)).sum() >= 295  # the copy altered three cells on purpose
    codes, problems = levels(table, "DEATH_EVENT", {"survived": ("NO",), "died": ("SI",)}, ("",))
    assert problems == []
    assert np.nansum(codes == original["DEATH_EVENT"]) >= 295


@pytest.mark.skipif(not MIRROR, reason="AI4DIAG_MIRROR is not set")
def test_the_dirty_kidney_file_reads_completely() -> None:
    path = Path(MIRROR) / "uci_ckd" / "chronic_kidney_disease_full.arff"
    table, findings = read_table(path, ["age", "dm", "class"], header=True)
    assert len(table.cells) == 400
    assert "stray-tabs" in [finding.code for finding in findings]
    codes, problems = levels(table, "class", {"notckd": ("notckd",), "ckd": ("ckd",)}, ("?",))
    assert problems == []
    assert codes.sum() == 250
