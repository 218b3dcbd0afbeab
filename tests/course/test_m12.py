"""Lesson 12: right answers pass whatever is drawn, and each misconception fails with the expectation that names it."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from ai4diag.course import lessons
from ai4diag.course.checking import examine
from ai4diag.course.lessons.m12.evidence import CLAIMS
from ai4diag.evaluation.gate import check_gate
from ai4diag.types import Estimate

SEEDS = range(5)
ANSWERS = {
    "target_population": "Adults of a chest pain unit who may need an angiography; not people after a heart attack.",
    "intended_users": "Cardiologists of the unit, after an hour's training on what the number means and on its limits.",
    "clinical_context": "History, electrocardiogram and exercise test decide today; the number stands beside them.",
    "setting": "Cardiology departments of four hospitals in three countries, in which all ten findings are measured.",
}


def unmet(exercise, names, root, seed=0):
    """Return the names of the expectations that are not met."""
    return [item.name for item in examine(lessons.find(exercise), names, root, seed) if not item.met]


def test_answers_that_somebody_can_check_are_right(tmp_path):
    more = ANSWERS | {"provider_name": "Example GmbH, Linz", "registration": "Not registered."}
    assert unmet("m12.answers", {"answers": ANSWERS}, tmp_path) == []
    assert unmet("m12.answers", {"answers": more}, tmp_path) == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"intended_user": "Cardiologists."}, "every key is one that a pack asks for"),
        ({"setting": "Hospitals."}, "setting is answered in a whole sentence"),
        (
            {"setting": "TODO: ask the hospital which of its departments will really use this, and when."},
            "no placeholder is left",
        ),
        ({"intended_users": ANSWERS["setting"]}, "each question has an answer of its own"),
        (
            {"target_population": "Adults of a chest pain unit in whom an angiography is being considered by doctors."},
            "target_population says for whom it is not",
        ),
        (
            {"clinical_context": "A certified aid that doctors in all of Europe will use beside an exercise test."},
            "nothing is promised",
        ),
        ({"limits": "x"}, "every key is one that a pack asks for"),
    ],
)
def test_answers_that_nobody_can_check_are_named(change, name, tmp_path):
    assert unmet("m12.answers", {"answers": ANSWERS | change}, tmp_path) == [name]


@pytest.mark.parametrize(
    "change",
    [
        {"clinical_context": "One reading beside history and exercise test; it does not replace the doctor's own."},
        {"target_population": "Adults of a chest pain unit who may need an angiography; people in shock are excluded."},
        {"registration": "The product is not certified, and it is not yet approved anywhere."},
    ],
)
def test_sensible_answers_in_other_words_are_right(change, tmp_path):
    assert unmet("m12.answers", {"answers": ANSWERS | change}, tmp_path) == []


def test_answers_are_texts_of_words(tmp_path):
    for setting in (["a hospital"] * 20, "hospital " * 20, "x" * 90):
        missed = unmet("m12.answers", {"answers": ANSWERS | {"setting": setting}}, tmp_path)
        assert missed == ["setting is answered in a whole sentence"]


def test_empty_answers_fail(tmp_path):
    assert len(unmet("m12.answers", {"answers": dict.fromkeys(ANSWERS, "")}, tmp_path)) >= 5


def reached(rows, name, subgroup, at_least):
    """Ask the product's release gate of a row of the test part; None where there is none or it is undefined."""
    fields = ("value", "low", "high")
    fitting = [
        Estimate(name, *(row[key] for key in fields), row["n"], row["n"])
        for row in rows
        if (row["name"], row["subgroup"], row["part"]) == (name, subgroup, "test")
    ]
    if not fitting or math.isnan(fitting[0].low):
        return None
    return not check_gate(fitting, {f"{name}_low": at_least})


def open_risks(risks, rows):
    """Return the first gap of each open risk."""
    found = {}
    for risk in risks:
        shown = reached(rows, risk["evidence"], risk["subgroup"], risk["at_least"])
        gap = "no evidence" if shown is None else "" if shown else "not shown"
        found[risk["hazard"]] = gap if risk["measure"].split() else "no measure"
    return {hazard: gap for hazard, gap in found.items() if gap}


@pytest.mark.parametrize("seed", SEEDS)
def test_trace_is_right_by_the_release_gate(seed, tmp_path):
    assert unmet("m12.trace", {"open_risks": open_risks}, tmp_path, seed) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_trace_names_misconceptions(seed, tmp_path):
    def by_value(risks, rows):
        return open_risks(risks, [row | {"low": row["value"]} for row in rows])

    assert "a value above the limit is not enough: the lower limit counts" in unmet(
        "m12.trace", {"open_risks": by_value}, tmp_path, seed
    )

    def any_part(risks, rows):
        return open_risks(risks, [row | {"part": "test"} for row in rows])

    assert unmet("m12.trace", {"open_risks": any_part}, tmp_path, seed) == [
        "an estimate of the validation part is no evidence"
    ]

    def of_anybody(risks, rows):
        return open_risks([risk | {"subgroup": "all"} for risk in risks], rows)

    assert "a risk of women is not closed by the estimate of all patients" in unmet(
        "m12.trace", {"open_risks": of_anybody}, tmp_path, seed
    )

    def truthy(risks, rows):
        return open_risks([risk | {"measure": risk["measure"] and "x"} for risk in risks], rows)

    assert unmet("m12.trace", {"open_risks": truthy}, tmp_path, seed) == ["a measure of blanks is no measure"]


def faults(report, groups, fewest=10):
    """Return the faults of a report, with pandas."""
    table = pd.DataFrame(report).set_index("group").reindex(list(groups))
    said = {line["group"] for line in report}
    found = {}
    for group, n in groups.items():
        line = table.loc[group]
        if group not in said:
            found[group] = "missing"
        elif line["n"] != n:
            found[group] = "no n"
        elif pd.isna(line["value"]):
            found |= {group: "no value"} if n >= 10 else {}
        elif n < fewest:
            found[group] = "too few"
        elif not line["low"] <= line["value"] <= line["high"]:
            found[group] = "no interval"
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_subgroups_are_right_with_pandas(seed, tmp_path):
    assert unmet("m12.subgroups", {"faults": faults}, tmp_path, seed) == []


def test_subgroups_name_misconceptions(tmp_path):
    def of_the_report(report, groups):
        return faults(report, {group: n for group, n in groups.items() if group in {line["group"] for line in report}})

    missing = "a group of the data that is not in the report is missing"
    assert unmet("m12.subgroups", {"faults": of_the_report}, tmp_path) == [missing]
    no_masking = {"faults": lambda report, groups: faults(report, groups, fewest=0)}
    assert unmet("m12.subgroups", no_masking, tmp_path) == ["a value of fewer than ten patients is of too few"]
    hiding = {
        "faults": lambda report, groups: {g: f for g, f in faults(report, groups).items() if f != "no value"},
    }
    assert unmet("m12.subgroups", hiding, tmp_path) == ["many patients and no value is a group that somebody hides"]
    all_small = {
        "faults": lambda report, groups: faults(report, groups) | {g: "too few" for g, n in groups.items() if n < 10}
    }
    assert unmet("m12.subgroups", all_small, tmp_path) == ["a masked line of few patients has no fault"]


def unsupported(claims, runs):
    """Return the claims that the release gate would refuse."""
    return [
        claim["text"]
        for claim in claims
        if not reached(runs.get(claim["run"], []), claim["estimate"], claim["subgroup"], claim["at_least"])
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_claims_are_right_by_the_release_gate(seed, tmp_path):
    assert unmet("m12.claims", {"unsupported": unsupported}, tmp_path, seed) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_claims_name_misconceptions(seed, tmp_path):
    def by_value(claims, runs):
        return unsupported(claims, {run: [row | {"low": row["value"]} for row in rows] for run, rows in runs.items()})

    assert unmet("m12.claims", {"unsupported": by_value}, tmp_path, seed) == [
        "a claim that only the value reaches is unsupported"
    ]

    def any_run(claims, runs):
        everything = [row for rows in runs.values() for row in rows]
        return unsupported(claims, {claim["run"]: everything for claim in claims})

    assert "a claim that links to a run that is not there is unsupported" in unmet(
        "m12.claims", {"unsupported": any_run}, tmp_path, seed
    )

    def any_group(claims, runs):
        return unsupported([claim | {"subgroup": "all"} for claim in claims], runs)

    assert "a claim about women is not supported by all patients" in unmet(
        "m12.claims", {"unsupported": any_group}, tmp_path, seed
    )
    everything = {"unsupported": lambda claims, runs: [claim["text"] for claim in claims]}
    assert unmet("m12.claims", everything, tmp_path, seed) == [name for name, (good, _) in CLAIMS.items() if good]


def decide(change, plan, by="low"):
    """Return what the plan says."""
    limits = [plan["may_change"].get(name) for name in change["settings"]]
    pairs = zip(change["settings"].values(), limits, strict=True)
    if None in limits or any(not low <= value <= high for value, (low, high) in pairs):
        return "new assessment"
    if (
        math.isnan(change["low"] + change["difference"]["low"])
        or change["low"] < plan["gate"]
        or change["difference"][by] < -plan["margin"]
    ):
        return "refuse"
    return "release"


@pytest.mark.parametrize("seed", SEEDS)
def test_change_is_right_for_the_plan(seed, tmp_path):
    assert unmet("m12.change", {"decide": decide}, tmp_path, seed) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_change_names_misconceptions(seed, tmp_path):
    by_value = {"decide": lambda change, plan: decide(change, plan, by="value")}
    assert unmet("m12.change", by_value, tmp_path, seed) == [
        "a difference that may be worse than the margin is refused"
    ]
    never_worse = {
        "decide": lambda change, plan: "refuse" if change["difference"]["value"] < 0 else decide(change, plan)
    }
    assert "a slightly worse value within the margin is released" in unmet("m12.change", never_worse, tmp_path, seed)

    def results_first(change, plan):
        return "release" if decide(change | {"settings": {}}, plan) == "release" else decide(change, plan)

    assert "a good result does not excuse an unforeseen change" in unmet(
        "m12.change", {"decide": results_first}, tmp_path, seed
    )

    def below_is_refused(change, plan):
        kind = decide(change | {"low": 1.0}, plan)
        return "refuse" if kind == "release" and change["low"] < plan["gate"] else kind

    assert unmet("m12.change", {"decide": below_is_refused}, tmp_path, seed) == ["an undefined lower limit is refused"]


def upper(k, n):
    """Return the largest share that a score test at 5 % does not rule out."""
    z = norm.ppf(0.975)
    return brentq(lambda p: (n * p - k) - z * math.sqrt(n * p * (1 - p)), k / n + 1e-12, 1 - 1e-12) if k < n else 1.0


def first_alarm(months, promised, width=3, limit=upper):
    """Return the first month whose last `width` months rule the promise out."""
    table = pd.DataFrame(months)
    sums = table[["found", "ill"]].rolling(width, min_periods=1).sum()
    alarms = [ill > 0 and limit(found, ill) < promised for found, ill in sums.itertuples(index=False)]
    return next((month for month, alarm in zip(table["month"], alarms, strict=True) if alarm), None)


@pytest.mark.parametrize("seed", SEEDS)
def test_incident_is_right_by_the_score_test(seed, tmp_path):
    assert unmet("m12.incident", {"first_alarm": first_alarm}, tmp_path, seed) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_incident_names_misconceptions(seed, tmp_path):
    unlucky = "no alarm because of one unlucky month with two patients"
    one_month = {"first_alarm": lambda months, promised: first_alarm(months, promised, width=1)}
    assert unlucky in unmet("m12.incident", one_month, tmp_path, seed)

    def by_value(months, promised):
        return first_alarm(months, promised, width=1, limit=lambda found, ill: found / ill)

    assert unlucky in unmet("m12.incident", {"first_alarm": by_value}, tmp_path, seed)
    never = {"first_alarm": lambda months, promised: None}
    assert unmet("m12.incident", never, tmp_path, seed) == [
        "a sudden loss raises the alarm in the month in which it shows",
        "a loss of few patients a month shows in three months together",
        "good months of long ago do not hide a loss",
    ]
    for width in (4, 8):
        long = {"first_alarm": lambda months, promised, width=width: first_alarm(months, promised, width=width)}
        assert "good months of long ago do not hide a loss" in unmet("m12.incident", long, tmp_path, seed)


@pytest.mark.parametrize("exercise", ["trace", "subgroups", "claims", "change", "incident"])
def test_an_empty_answer_fails(exercise, tmp_path):
    names = lessons.find(f"m12.{exercise}").names
    assert unmet(f"m12.{exercise}", {name: lambda *given, **named: None for name in names}, tmp_path)
