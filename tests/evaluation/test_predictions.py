"""Tables of predictions: round trips, foreign tables, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ai4diag.errors import ConfigError, DataError
from ai4diag.evaluation.predictions import read_predictions, write_predictions
from tests.evaluation.test_evaluate import smear, tabular

FACTS = {"task": "tabular", "classes": ["healthy", "ill"], "pipeline": "heart"}


def test_what_is_written_is_read(tmp_path):
    table = tabular(n=20)
    write_predictions(tmp_path / "predictions.parquet", table, FACTS)
    read, facts = read_predictions(tmp_path / "predictions.parquet")
    assert facts == FACTS
    pd.testing.assert_frame_equal(read, table, check_dtype=False)
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.parquet"]


def test_lists_of_boxes_are_read_as_they_were(tmp_path):
    table = smear(n=6)
    write_predictions(tmp_path / "p.parquet", table, {"task": "detection", "classes": ["a", "b", "c"]})
    read, _ = read_predictions(tmp_path / "p.parquet")
    for name in ("boxes", "scores", "truth_boxes", "truth_ignore"):
        for one, other in zip(read[name], table[name], strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_same_table_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_predictions(tmp_path / name, tabular(n=20), FACTS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_foreign_csv_may_leave_out_site_fold_and_part(tmp_path):
    path = tmp_path / "vendor.csv"
    path.write_text("\ufeffcase_id,patient_id,truth,score,sex\n001,07,1,0.9,female\n002,08,0,0.2,male\n", "utf-8")
    read, facts = read_predictions(path, task="tabular")
    assert facts == {}
    assert read["case_id"].tolist() == ["001", "002"]
    assert read["patient_id"].tolist() == ["07", "08"]
    assert read["part"].tolist() == ["test", "test"]
    assert read["fold"].tolist() == [0, 0]


def test_a_patient_may_be_called_na(tmp_path):
    path = tmp_path / "vendor.csv"
    path.write_text("case_id;patient_id;site;truth;score\n1;NA;NA;1.0;0.9\n2;nan ;;0.0;0.2\n", "utf-8")
    read, _ = read_predictions(path, task="tabular")
    assert read["patient_id"].tolist() == ["NA", "nan"]
    assert read["site"].isna().tolist() == [False, True]


def test_decimal_commas_are_read_where_semicolons_separate(tmp_path):
    path = tmp_path / "vendor.csv"
    path.write_text("case_id;patient_id;truth;score;dose\n1,5;1;1;0,5;\n2;2;0;1;3,25\n", "utf-8")
    read, _ = read_predictions(path, task="tabular")
    assert read["score"].tolist() == [0.5, 1.0]
    assert read["case_id"].tolist() == ["1,5", "2"]
    assert read["dose"].iloc[1] == 3.25


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case_id,truth,score\n1,0,0.5\n", "no column 'patient_id'"),
        ("case_id,patient_id,truth\n1,1,0\n", "no column 'score'"),
        ("case_id,patient_id,truth,score\n1,1,2,0.5\n", "'truth', line 1"),
        ('case_id,patient_id,truth,score\n1,1,1,"0,5"\n', "'score', line 1: found '0,5'"),
        ("case_id,patient_id,truth,score\n1,1,1,0.5\n2,2,0,\n", "'score', line 2"),
        ("case_id,patient_id,truth,score\n1,,1,0.5\n", "'patient_id', line 1"),
        ("case_id,patient_id,truth,score\n1,1,1,0.5\n1,1,1,0.6\n", "'case_id', line 2"),
        ("case_id,patient_id,truth,score,part\n1,1,1,0.5,tset\n", "'part', line 1: found 'tset'"),
        ("case_id,patient_id,truth,score,fold\n1,1,1,0.5,a\n", "'fold', line 1: found 'a'; expected a whole number"),
        ("case_id,patient_id,truth,score\n1,1,1,0,5\n2,2,0,0,3\n", "decimal points"),
        ("case_id;patient_id;truth;score\n1;1;1;0,5\n2;2;0;0.3\n", "'score', line 1: found '0,5'"),
        ("case_id;patient_id;truth;score\n1;1;1;1.000,5\n", "'score', line 1: found '1.000,5'"),
        ("case_id,patient_id,truth,score\n", "no lines"),
        ("", "not a table"),
        ("a,b\n1,2,3,4\n5\n1,2,3,4,5,6\n", "not a table"),
    ],
)
def test_wrong_tables_are_refused_with_column_and_line(tmp_path, text, message):
    path = tmp_path / "vendor.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(DataError, match=message):
        read_predictions(path, task="tabular")


def test_damaged_missing_and_nameless_files_are_refused(tmp_path):
    path = tmp_path / "p.parquet"
    with pytest.raises(DataError, match="does not exist"):
        read_predictions(path)
    write_predictions(path, tabular(n=20), FACTS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="not a readable Parquet"):
        read_predictions(path)
    tabular(n=20).to_parquet(path)
    with pytest.raises(DataError, match="which task"):
        read_predictions(path)
    with pytest.raises(ConfigError, match="Did you mean 'tabular'"):
        read_predictions(path, task="tabula")


def test_nothing_is_written_when_a_column_is_missing(tmp_path):
    with pytest.raises(DataError, match="no column 'truth'"):
        write_predictions(tmp_path / "p.parquet", tabular(n=20).drop(columns="truth"), FACTS)
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_bit_among_the_scores_is_noticed(tmp_path):
    path = tmp_path / "predictions.parquet"
    names = [f"p{i}" for i in range(200)]
    scores = np.random.default_rng(7).random(200)
    columns = {"case_id": names, "patient_id": names, "site": "a", "fold": 0, "part": "test"}
    table = pd.DataFrame({**columns, "truth": [0, 1] * 100, "score": scores})
    write_predictions(path, table, {"task": "tabular", "classes": ["benign", "malignant"]})
    content = bytearray(path.read_bytes())
    place = content.find(scores[100].tobytes())
    assert place > 0
    content[place + 3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError):
        read_predictions(path)
