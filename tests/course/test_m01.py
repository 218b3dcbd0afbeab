"""Checks of lesson 1: right answers pass whatever is drawn, and each usual mistake fails where it should."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest

from ai4diag.course.checking import examine
from ai4diag.course.exercise import judged
from ai4diag.course.lessons.m01 import Change, FindRun, Gate, ReadReport, Version

SEEDS = range(5)
OTHER = Path()


def crosses(expectations):
    """Return the names of what is not met."""
    return [item.name for item in expectations if not item.met]


# --- the gate


@pytest.mark.parametrize("seed", SEEDS)
def test_a_gate_on_the_lower_limit_passes(seed):
    assert crosses(examine(Gate(), {"meets_gate": lambda value, low, wanted: low >= wanted}, OTHER, seed)) == []


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("rule", "cross"),
    [
        (lambda value, low, wanted: value >= wanted, "a value above the gate is not enough"),
        (lambda value, low, wanted: low > wanted, "exactly what was asked for"),
        (lambda value, low, wanted: not low < wanted, "low is NaN"),
        (lambda value, low, wanted: True, "a value below the gate"),
    ],
    ids=["the value decides", "strictly above", "NaN slips through", "always"],
)
def test_a_wrong_gate_fails_by_name(rule, cross, seed):
    assert any(cross in name for name in crosses(examine(Gate(), {"meets_gate": rule}, OTHER, seed)))


# --- the list of runs


class Kept:
    """Stands for a run: only its id is asked for."""

    class record:  # noqa: N801 - as the run's attribute is called
        run_id = "ab" * 16


OWN = [
    {"run_id": "ab" * 16, "pipeline": "breast-mass", "variant": "full", "status": "FINISHED", "started": "2026-11-01"}
]


def find_run(rows, pipeline, variant):
    """Sort by time, filter, take the last."""
    latest = None
    for row in sorted(rows, key=lambda row: row["started"]):
        if row["pipeline"] == pipeline and row["variant"] == variant and row["status"] == "FINISHED":
            latest = row["run_id"]
    return latest


def looked_up(find, seed):
    return crosses(examine(FindRun(), {"find_run": find, "rows": OWN, "first": Kept}, OTHER, seed))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_newest_finished_run_passes(seed):
    assert looked_up(find_run, seed) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_wrong_searches_fail_by_name(seed):
    def first_that_fits(rows, pipeline, variant):
        return next((row["run_id"] for row in rows if find_run([row], pipeline, variant)), None)

    def killed_too(rows, pipeline, variant):
        return find_run([row | {"status": "FINISHED"} for row in rows], pipeline, variant)

    def any_variant(rows, pipeline, variant):
        return find_run([row | {"variant": variant} for row in rows], pipeline, variant)

    def last_that_fits(rows, pipeline, variant):
        return first_that_fits(rows[::-1], pipeline, variant)

    newest = "it is the newest of them, whatever the order of the rows"
    assert looked_up(first_that_fits, seed) == [newest]
    assert looked_up(last_that_fits, seed) == [newest]
    assert "the run is finished: not killed, not running" in looked_up(killed_too, seed)
    assert "it finds a run of this pipeline and variant" in looked_up(any_variant, seed)


# --- one setting changed


def run(**changed):
    """Return what a run says of itself."""
    recipe = {"train": {"epochs": 300, "seed": 7}, "data": {"split": {"seed": 7}}}
    return {"id": "a" * 32, "pipeline": "breast-mass", "recipe": recipe, "data": "53bc", "value": 0.9959} | changed


SHORT = {"train": {"epochs": 3, "seed": 7}, "data": {"split": {"seed": 7}}}


def test_one_setting_changed_passes():
    second = run(id="b" * 32, recipe=SHORT, value=0.9947)
    assert crosses(judged(Change(), {}, [run(), second], OTHER)) == []


@pytest.mark.parametrize(
    ("second", "cross"),
    [
        (run(recipe=SHORT, value=0.9947), "`second` is another run than `first`"),
        (run(id="b" * 32, value=0.9947), "exactly one setting differs"),
        (run(id="b" * 32, recipe=SHORT | {"model": {"l2": 9}}, value=0.9947), "exactly one setting differs"),
        (run(id="b" * 32, recipe=SHORT), "the headline differs"),
        (
            run(id="b" * 32, recipe=SHORT, value=0.9, data="77ff"),
            "both rest on the same prepared data, so that both were tested on the same patients",
        ),
        (run(id="b" * 32, recipe=SHORT, value=0.9, pipeline="heart-disease"), "both are of breast-mass"),
    ],
    ids=["same run", "nothing changed", "two changed", "same result", "other data", "other pipeline"],
)
def test_another_change_fails_by_name(second, cross):
    assert crosses(judged(Change(), {}, [run(), second], OTHER)) == [cross]


# --- what was read off


def read_off(**changed):
    reading = {"lower": 0.988, "malignant": 64, "missed": 2, "models": 3} | changed
    said = {"low": 0.98806, "truth": [1] * 64 + [0] * 107, "sensitivity": 62 / 64, "look": 3}
    return crosses(judged(ReadReport(), {}, said | {"reading": reading}, OTHER))


def test_what_the_report_says_passes():
    assert read_off() == []


@pytest.mark.parametrize(
    ("changed", "cross"),
    [
        ({"lower": 0.996}, "'lower' is the lower limit, not the value"),
        ({"malignant": 171}, "'malignant' counts the ill of the test part, not all cases"),
        ({"missed": 3}, "'missed' counts malignant cases, and is not per cent"),
        ({"missed": 97}, "'missed' counts malignant cases, and is not per cent"),
        ({"models": 1}, "'models' counts those tested on these cases so far"),
        ({"models": ""}, "'models' counts those tested on these cases so far"),
    ],
)
def test_a_misreading_fails_by_name(changed, cross):
    assert read_off(**changed) == [cross]


# --- the version of the data

PREPARED = '{"format": 1}\n'
NOTED = hashlib.sha256(PREPARED.encode()).hexdigest()


def versions(**changed):
    given = {"text": "abc", "changed": "abd"}
    found = {"a.txt": hashlib.sha256(b"abc").hexdigest(), "b.txt": hashlib.sha256(b"abd").hexdigest()}
    outputs = [{"path": "pipelines/breast-mass/out/prepared", "md5": "1f3a.dir"}]
    said = {"found": found | {"copy.txt": found["a.txt"]}, "recorded": NOTED, "locked": "1f3a.dir", "noted": NOTED}
    return crosses(judged(Version(), given, said | {"prepared": PREPARED, "outputs": outputs} | changed, OTHER))


def test_the_right_versions_pass():
    assert versions() == []


def test_wrong_versions_fail_by_name():
    short = hashlib.md5(b"abc", usedforsecurity=False).hexdigest()
    assert len(versions(found={"a.txt": short, "copy.txt": short, "b.txt": "x"})) == 1
    by_name = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("a.txt", "copy.txt", "b.txt")}
    assert "a copy under another name has the same one" in versions(found=by_name)
    assert versions(recorded=NOTED[:12])[0] == "`recorded` is what the run noted"
    assert versions(prepared="changed since")[0] == "`recorded` is the hash of the prepared data that lie here"
    assert versions(locked=NOTED) == ["`locked` is what dvc.lock says of the folder `prepared`"]
    assert versions(found=math.nan) == ["the answer has the form that was asked for"]
