"""What leaves of a run: ranks for names, the same numbers to the last bit, and nothing that no number needs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ai4diag.errors import ConfigError, DataError
from ai4diag.evaluation.evaluate import evaluate
from ai4diag.packaging.evidence import pseudonyms
from ai4diag.packaging.evidence.pseudonyms import identifiers, pseudonymise, ranks, refuse_identifiers, rename
from tests.packaging.made import TARGETS, source


def both(run):
    """Estimates from the predictions as they were, and from what leaves."""
    record = run.record
    table, names = pseudonymise(run.predictions, target=record["target"], classes=record["classes"], plan=run.plan)
    again = evaluate(table, task=record["task"], target=record["target"], classes=record["classes"], plan=run.plan)
    return rename(run.estimates, names), again.estimates, table, names


def same(first, second):
    """Bit for bit, NaN equal to NaN, whatever the order."""
    plain = [sorted(str(item.as_dict()) for item in one) for one in (first, second)]
    return plain[0] == plain[1]


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in ("masks", "boxes", "time_to_event") else name
        for name in TARGETS
    ],
)
def test_the_numbers_are_the_same_to_the_last_bit(target):
    before, after, table, _ = both(source(target))
    assert same(before, after)
    assert len(after) > 3
    assert {"case_id", "patient_id", "fold", "part"} <= set(table)
    assert not {"site", "note", "age_years", "sex"} & set(table)
    assert table["patient_id"].nunique() == 24
    assert set(table["patient_id"].str.len()) == {2}
    assert set(table["case_id"].str.len()) == {2}


def test_subgroups_keep_their_values_and_a_number_keeps_its_band_alone():
    before, after, table, names = both(source("binary", ("sex", "age_years", "site"), n=60))
    assert same(before, after)
    assert {"sex=female", "sex=male", "site=ZZSITE-A"} <= {item.subgroup for item in after}
    assert names.groups == {}
    bands = table.loc[table["part"] == "test", "age_years"]
    assert bands.nunique() == 4
    assert table.loc[table["part"] == "validation", "age_years"].isna().all()
    assert not any(str(value).replace(".", "").isdigit() for value in bands)


def test_a_subgroup_that_names_patients_gets_ranks_too():
    run = source("binary")
    table = run.predictions.assign(recording=run.predictions["patient_id"].str.replace("ZZPAT", "ZZTAPE"))
    plan = run.plan.model_copy(update={"subgroups": ("recording",), "minimum_n": 1})
    facts = run.record
    found = evaluate(table, task=facts["task"], target="binary", classes=facts["classes"], plan=plan)
    other = source("binary", plan=plan, predictions=table, estimates=found.estimates)
    before, after, left, names = both(other)
    assert same(before, after)
    assert not any("ZZ" in item.subgroup for item in after)
    assert not left["recording"].str.contains("ZZ").any()
    assert len(names.groups) == 24


def test_a_subgroup_of_few_exact_numbers_that_tell_patients_apart_gets_ranks_too():
    """Twelve values or fewer are not cut into bands; a weight or a day of birth with decimals is as good as a name."""
    run = source("binary", n=6)
    table = run.predictions.assign(weight_kg=run.predictions["age_years"] + 0.625)
    plan = run.plan.model_copy(update={"subgroups": ("weight_kg",), "minimum_n": 1})
    left, names = pseudonymise(table, target="binary", classes=run.record["classes"], plan=plan)
    assert set(left["weight_kg"]) == set("123456")
    assert names.groups["weight_kg=30.625"] == "weight_kg=1"


def test_another_unit_of_the_bootstrap_gets_ranks():
    run = source("binary")
    plan = run.plan.model_copy(update={"interval": run.plan.interval.model_copy(update={"unit": "note"})})
    found = evaluate(
        run.predictions, task=run.record["task"], target="binary", classes=run.record["classes"], plan=plan
    )
    before, after, left, _ = both(source("binary", plan=plan, estimates=found.estimates))
    assert same(before, after)
    assert set(left["note"].str.len()) == {2}


@pytest.mark.parametrize(
    "values",
    [["b", "a", "c", "a"], [10, 9, 100, 9], [-1.5, 2.0, 0.0, 2.0], [f"p{k}" for k in range(120)], ["ä", "z", "Z", "é"]],
)
def test_ranks_sort_as_the_values_do(values):
    """Independent: numpy gives values and ranks the same codes, and those are what the bootstrap uses."""
    series = pd.Series(values)
    ranked = series.map(ranks(series)).to_numpy()
    one, other = (np.unique(which, return_inverse=True)[1] for which in (series.to_numpy(), ranked))
    assert one.tolist() == other.tolist()


def test_a_rank_says_nothing_where_nothing_was():
    series = pd.Series(["b", None, "a"])
    assert series.map(ranks(series)).tolist()[0] == "2"
    assert pd.isna(series.map(ranks(series))[1])


def test_a_target_of_which_the_columns_are_not_known_is_refused():
    run = source("binary")
    with pytest.raises(ConfigError, match="not known which columns"):
        pseudonymise(run.predictions, target="smell", classes=["a", "b"], plan=run.plan)


def test_every_target_there_is_has_its_columns():
    from ai4diag.evaluation.targets import TARGETS as KNOWN

    run = source("binary")
    for target in KNOWN:
        kept = pseudonyms.columns(target, ("a", "b"), run.predictions, run.plan)
        assert {"case_id", "patient_id", "fold", "part"} <= set(kept)


@pytest.mark.parametrize(
    "text",
    [
        "hippocampus of ZZCASE-1.nii.gz",
        "masks/ZZCASE-1_mask.png",
        "left-ZZCASE-1",
        "\u201cZZCASE-1\u201d",
        "ZZCASE-1\u2026",
        "~ZZCASE-1",
        "case ZZCASE-1.",
        "<td>ZZCASE-1</td>",
        "images/ZZCASE-1.png",
        '"ZZCASE-1"',
        "(ZZCASE-1)",
        "Mrs Miller, Anna came",
    ],
)
def test_an_identifier_is_found_in_any_text_and_not_repeated_in_the_error(text):
    with pytest.raises(DataError, match=r"report.html .* would name 1 cases") as error:
        refuse_identifiers({"report.html": text}, frozenset({"ZZCASE-1", "Miller, Anna"}), [])
    assert "ZZCASE" not in str(error.value)
    assert "Miller" not in str(error.value)


def test_examples_in_docstrings_hold():
    import doctest

    found = doctest.testmod(pseudonyms)
    assert found.attempted > 1
    assert found.failed == 0


def test_a_file_that_is_called_like_a_case_is_replaced_with_its_ending():
    names = frozenset({"hippocampus_001", "123456", "mask"})
    text = "See hippocampus_001.nii.gz, hippocampus_001_mask.png and 123456.dcm; not hippocampus_0012 nor 0.123456."
    masked = "See (a case), (a case)_mask.png and (a case); not hippocampus_0012 nor 0.123456."
    assert pseudonyms.masked(text, names) == masked


def test_words_and_numbers_that_only_look_alike_are_let_through():
    names = identifiers(["1", "42", 100, "yes", "123456", "ZZCASE-1"])
    assert names == {"123456", "ZZCASE-1"}
    refuse_identifiers({"a": "100 cases, 42 %, yes, 0.123456, ZZCASE-11, xZZCASE-1"}, frozenset(names), ["/home/zz"])
    with pytest.raises(DataError, match="folder, the user or the name"):
        refuse_identifiers({"a": "read from /home/zz/x"}, frozenset(names), ["/home/zz"])
