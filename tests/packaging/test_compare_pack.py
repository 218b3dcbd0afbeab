"""Where what a pack shows differs from what comes out."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ai4diag.packaging.evidence.compare import compare_estimates, compare_texts, compare_versions
from ai4diag.types import Estimate

AUROC = Estimate("auroc", 0.9, 0.8, 0.95, 100, 50)
EMPTY = Estimate("ppv", math.nan, math.nan, math.nan, 100, 50, note="never called")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"value": 0.91}, "auroc (test), value: found 0.91, regenerated 0.9"),
        ({"low": 0.81}, "low: found 0.81, regenerated 0.8"),
        ({"high": math.nan}, "high: found nan, regenerated 0.95"),
        ({"n": 101}, "n: found 101.0, regenerated 100.0"),
        ({"n_patients": 49}, "n_patients: found 49.0"),
        ({"note": "fine"}, "note: found 'fine'"),
        ({"name": "auprc"}, "auprc (test) is stated, and does not come out"),
        ({"subgroup": "sex=female"}, "auroc (test, sex=female) is stated"),
    ],
)
def test_a_change_is_named_with_both_numbers(change, said):
    found = compare_estimates([replace(AUROC, **change), EMPTY], [AUROC, EMPTY], "estimates.json")
    assert any(said in sentence and sentence.startswith("estimates.json: ") for sentence in found)


def test_what_is_missing_or_stated_twice_is_named():
    assert compare_estimates([AUROC], [AUROC, EMPTY], "e") == ["e: ppv (test) is missing."]
    assert "twice" in compare_estimates([AUROC, AUROC, EMPTY], [AUROC, EMPTY], "e")[0]


def test_the_last_bits_of_another_machine_are_no_difference_and_the_seventh_digit_is():
    assert not compare_estimates([replace(AUROC, value=0.9 + 1e-9), EMPTY], [AUROC, EMPTY], "e")
    assert compare_estimates([replace(AUROC, value=0.9 + 2e-6), EMPTY], [AUROC, EMPTY], "e")


def test_a_newer_version_may_estimate_and_define_more_but_nothing_else():
    defined = replace(EMPTY, value=0.5, low=0.4, high=0.6, note="")
    assert not compare_estimates([AUROC, EMPTY], [AUROC, defined, replace(AUROC, name="new")], "e", more=True)
    assert compare_estimates([replace(AUROC, value=0.91)], [AUROC], "e", more=True)
    assert compare_estimates([defined], [EMPTY], "e", more=True)


def numbers(found, again):
    return compare_texts(found, again, "f").numbers


def texts(found, again):
    return compare_texts(found, again, "f").texts


def test_a_number_in_a_text_is_named_with_the_one_regenerated():
    assert numbers("# A\n\nAUROC 0.999 of 100\n", "# A\n\nAUROC 0.912 of 100\n") == [
        "f: found 0.999, regenerated 0.912, in 'AUROC 0.999 of 100'."
    ]
    assert numbers("<td>1,234</td>", "<td>1,235</td>")[0].startswith("f: found 1,234, regenerated 1,235")
    assert numbers("<p>n = 9</p>", "<p>n = 10</p>")


def test_equal_texts_do_not_differ():
    found = compare_texts("a 1\n", "a 1\n", "f")
    assert (found.numbers, found.texts) == ([], [])


def test_words_are_told_from_numbers():
    assert not numbers("good\n", "bad\n")
    assert "found 'good', regenerated 'bad'" in texts("good\n", "bad\n")[0]


def test_lines_that_moved_are_matched_by_their_words():
    found = compare_texts("new line\nAUROC 0.99\nn 5\n", "n 5\nAUROC 0.91\n", "f")
    assert found.numbers == ["f: found 0.99, regenerated 0.91, in 'AUROC 0.99'."]
    assert len(found.texts) == 1
    assert compare_texts("b\na\n", "a\nb\n", "f").texts


def test_a_decimal_in_new_words_is_still_a_number():
    assert "0.999" in numbers("It is 0.999 right\n", "AUROC 0.912\n")[0]
    assert not numbers("It is 0.912 right\n", "AUROC 0.912\n")


def test_a_drawing_may_differ_by_what_no_eye_sees_and_a_table_may_not():
    assert not numbers('<path d="M1.00 2.00">', '<path d="M1.00 2.001">')
    assert numbers('<path d="M1.00 2.00">', '<path d="M1.00 2.50">')
    assert numbers("<td>2.00</td>", "<td>2.01</td>")


@pytest.mark.parametrize(
    ("found", "again"),
    [
        ('<text x="1.00">0.894', '<text x="1.00">0.890'),
        ('<text x="1.00">\n0.894', '<text x="1.00">\n0.890'),
        ("</g>0.894", "</g>0.890"),
        ('<svg aria-label="AUROC 0.894">', '<svg aria-label="AUROC 0.890">'),
        ('<g style="stroke-width: 1.004">', '<g style="stroke-width: 1.000">'),
    ],
)
def test_what_is_written_in_a_drawing_is_no_coordinate(found, again):
    assert len(numbers(found, again)) == 1


def test_a_label_that_another_version_is_said_to_have_drawn_is_compared():
    found = compare_versions(
        '<svg><text x="1.00">AUROC 0.894</text></svg>', '<svg><path d="M1.00"></svg>', "f", [AUROC]
    )
    assert "found 0.894, which is regenerated nowhere" in found.numbers[0]
    assert not compare_versions('<svg><text x="1.00">0.25</text></svg>', "<svg></svg>", "f", [AUROC]).numbers


def test_a_style_sheet_holds_no_estimates():
    found = compare_texts("<style>a {\n margin: 0.85rem }</style><p>", "<style>a {\n padding: 1.5rem }</style><p>", "f")
    assert (len(found.numbers), len(found.texts)) == (0, 1)


def test_what_is_missing_from_a_text_is_named():
    assert texts("a\n", "a\nb\n") == ["f: 'b' is missing."]


def test_many_differences_are_counted():
    found = numbers("\n".join(f"a {k}" for k in range(20)), "\n".join(f"a {k + 100}" for k in range(20)))
    assert len(found) == 6
    assert found[-1] == "f: 15 more differences of this kind."


@pytest.mark.parametrize(
    ("found", "again", "said"),
    [
        ("The AUROC is 0.990.", "The AUROC is 0.900.", "found 0.990, regenerated 0.900"),
        ("Its AUROC: 0.990.", "The AUROC is 0.900.", "found 0.990, which is regenerated nowhere"),
        ("<td>0.990</td>", "<td>0.900</td>", "found 0.990, which is regenerated nowhere"),
        ("The AUROC is 0.800.", "The AUROC is 0.900.", "found 0.800, regenerated 0.900"),  # its limit is no value
    ],
)
def test_a_number_that_another_version_is_said_to_have_written_is_compared(found, again, said):
    assert said in compare_versions(found, again, "f", [AUROC]).numbers[0]


@pytest.mark.parametrize(
    ("found", "again"),
    [
        ("Its AUROC: 0.900.", "The AUROC is 0.900."),
        ("It is 90.00 of 100.", "The AUROC is 0.900."),
        ("Item 7 of 40.", "Item 8 of 41."),
        ("| Item a | 0.900 |\n| Item b | 0.800 |", "| Item c | 0.950 |\n| Item d | 0.900 |"),
        ("At 0.50 errors: 0.900\nAt 1.00 errors: 0.800", "At 1.00 errors: 0.800.\nAt 0.50 errors: 0.900."),
        ("<td>0.900</td>", "<td>0.900</td><td>0.123</td>"),
        ('<svg viewBox="0 0 1.25 2.25"><path d="M1.25 3.45"/></svg>', '<svg viewBox="0 0 9.25 2.25"></svg>'),
        ("<style>a { margin: 0.85rem }</style>", "<style>a { margin: 0.95rem }</style>"),
    ],
)
def test_what_another_version_words_draws_or_counts_otherwise_is_no_difference_in_numbers(found, again):
    result = compare_versions(found, again, "f", [AUROC])
    assert result.numbers == []
    assert bool(result.texts) == (found != again)
