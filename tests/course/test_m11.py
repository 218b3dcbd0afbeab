"""Lesson 11: right answers pass whatever is drawn, and each misconception fails with the expectation that names it."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import norm
from sklearn.metrics import accuracy_score, log_loss

from ai4diag.course import lessons
from ai4diag.course.checking import examine
from ai4diag.course.lessons.m11.comparing import wilson

SEEDS = range(5)


def unmet(exercise, names, root, seed=0):
    """Return the names of the expectations that are not met."""
    return [item.name for item in examine(lessons.find(exercise), names, root, seed) if not item.met]


def per_site(rows, name):
    """Return the lines of the hospitals, with pandas."""
    table = pd.DataFrame(rows)
    table = table[(table["name"] == name) & (table["part"] == "test") & table["value"].notna()]
    table = table[table["subgroup"].str.match("site=")]
    columns = table[["subgroup", "n", "value", "low", "high"]].to_dict("split")["data"]
    return {group[5:]: values for group, *values in columns}


@pytest.mark.parametrize("seed", SEEDS)
def test_sites_are_right_with_pandas(seed, tmp_path):
    assert unmet("m11.sites", {"per_site": per_site}, tmp_path, seed) == []


def test_sites_name_a_masked_hospital_and_other_subgroups(tmp_path):
    def with_masked(rows, name):
        return per_site([row | {"value": 0.5 if math.isnan(row["value"]) else row["value"]} for row in rows], name)

    assert unmet("m11.sites", {"per_site": with_masked}, tmp_path) == [
        "a hospital whose value is undefined is left out"
    ]

    def differences_too(rows, name):
        return per_site([row | {"name": row["name"].removesuffix("_difference")} for row in rows], name)

    assert len(unmet("m11.sites", {"per_site": differences_too}, tmp_path)) == 6

    def every_group(rows, name):
        kept = [row for row in rows if (row["name"], row["part"]) == (name, "test") and not math.isnan(row["value"])]
        return {row["subgroup"].split("=")[-1]: [row[key] for key in ("n", "value", "low", "high")] for row in kept}

    assert unmet("m11.sites", {"per_site": every_group}, tmp_path) == ["the keys are the hospitals, without 'site='"]


KNOWN = {"site", "n", "n_disease", "n_correct", "sum_score", "sum_squared_error"}


def refused(result, smallest=5, with_rest=True):
    """Return what must not leave."""
    stays = set(result) - KNOWN
    stays |= {key for key in result if key != "site" and not isinstance(result[key], int | float)}
    if result["site"] not in ("cleveland", "hungarian", "switzerland", "va"):
        stays.add("site")
    stays |= {key for key in ("n_disease", "n_correct") if not isinstance(result[key], int)}
    for key in ("n_disease", "n_correct"):
        if key not in stays:
            parts = [result[key], result["n"] - result[key]] if with_rest else [result[key]]
            stays |= {key} if min(parts) < smallest else set()
    return stays | (set(result) - {"site"} if result["n"] < smallest else set())


@pytest.mark.parametrize("seed", SEEDS)
def test_leave_is_right_for_the_rule(seed, tmp_path):
    assert unmet("m11.leave", {"refused": refused}, tmp_path, seed) == []


def test_leave_names_misconceptions(tmp_path):
    no_rest = {"refused": lambda result: refused(result, with_rest=False)}
    assert unmet("m11.leave", no_rest, tmp_path) == [
        "a count whose rest is small stays: 1 of 100 is healthy",
        "a count of all stays: it tells of every patient",
    ]
    suppress_one_to_four = {
        "refused": lambda result: refused(result, smallest=5) - {k for k in result if result[k] == 0}
    }
    assert unmet("m11.leave", suppress_one_to_four, tmp_path) == ["a count of none stays: it tells of every patient"]

    def bad_words(result):  # a list of what stays, instead of one of what leaves
        named = {key for key in result if key in ("scores", "case_ids")}
        return (refused(result) - {"sum_age"}) | named

    assert unmet("m11.leave", {"refused": bad_words}, tmp_path) == ["a sum that nobody agreed on stays"]
    nothing = unmet("m11.leave", {"refused": lambda result: []}, tmp_path)
    assert len(nothing) == 12


def pooled(results):
    """Return the accuracy of the rows behind the counts, as scikit-learn scores them."""
    rows = [k < item["n_correct"] for item in results if "n_correct" in item for k in range(item["n"])]
    return [accuracy_score([True] * len(rows), rows) if rows else math.nan, len(rows)]


@pytest.mark.parametrize("seed", SEEDS)
def test_pool_is_the_accuracy_of_all_rows(seed, tmp_path):
    assert unmet("m11.pool", {"pooled": pooled}, tmp_path, seed) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_pool_names_the_mean_of_means_and_patients_without_answer(seed, tmp_path):
    def mean_of_means(results):
        known = [item for item in results if "n_correct" in item]
        shares = [item["n_correct"] / item["n"] for item in known]
        return [float(np.mean(shares)) if shares else math.nan, sum(item["n"] for item in known)]

    assert unmet("m11.pool", {"pooled": mean_of_means}, tmp_path, seed) == [
        "the pooled accuracy is the mean weighted by patients",
        "who withheld the count is not in the sum",
    ]

    def zero_for_unknown(results):
        n = sum(item["n"] for item in results)
        return [sum(item.get("n_correct", 0) for item in results) / n, n]

    assert unmet("m11.pool", {"pooled": zero_for_unknown}, tmp_path, seed) == [
        "who withheld the count is not in the sum",
        "n counts only patients of whom something is known",
        "without any count it is undefined, not 0",
        "it then rests on nobody",
    ]


def interval(k, n):
    """Return the shares that a score test at 5 % does not rule out: where |k - n p| = z sqrt(n p (1 - p))."""
    if n == 0:
        return [math.nan, math.nan]
    z = norm.ppf(0.975)
    return sorted(np.roots([n * n + z * z * n, -2 * k * n - z * z * n, k * k]).real.tolist())


@pytest.mark.parametrize("seed", SEEDS)
def test_interval_is_that_of_the_score_test(seed, tmp_path):
    assert unmet("m11.interval", {"interval": interval}, tmp_path, seed) == []


def test_interval_of_a_published_example():
    """15 of 148 with the event: 0.0624 to 0.1605 (Newcombe, Stat Med 17:857, 1998, table I, method 3)."""
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)


def test_interval_names_the_textbook_formula(tmp_path):
    def wald(k, n):
        if n == 0:
            return [math.nan, math.nan]
        half = 1.96 * math.sqrt(k / n * (1 - k / n) / n)
        return [k / n - half, k / n + half]

    missed = unmet("m11.interval", {"interval": wald}, tmp_path)
    assert any(name.startswith("all right: still a width: lower") for name in missed)
    assert any(name.startswith("few patients") for name in missed)
    no_patients = unmet("m11.interval", {"interval": lambda k, n: interval(k, n) if n else [0, 0]}, tmp_path)
    assert no_patients == ["nobody: lower limit of 0 of 0", "nobody: upper limit of 0 of 0"]


def at_prevalence(counts, prevalence):
    """Return accuracy and PPV by Bayes' theorem in odds."""
    tp, fn, tn, fp = (counts[key] for key in ("tp", "fn", "tn", "fp"))
    if not (tp + fn) * (tn + fp):
        return [math.nan, math.nan]
    sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
    accuracy = np.average([sensitivity, specificity], weights=[prevalence, 1 - prevalence])
    if tp + fp == 0:
        return [accuracy, math.nan]
    if fp == 0:
        return [accuracy, 1.0]
    odds = prevalence / (1 - prevalence) * sensitivity / (1 - specificity)
    return [accuracy, odds / (1 + odds)]


@pytest.mark.parametrize("seed", SEEDS)
def test_prevalence_is_right_by_odds(seed, tmp_path):
    assert unmet("m11.prevalence", {"at_prevalence": at_prevalence}, tmp_path, seed) == []


def test_prevalence_names_figures_as_they_stood(tmp_path):
    def as_it_stood(counts, prevalence):
        n, called = sum(counts.values()), counts["tp"] + counts["fp"]
        return [(counts["tp"] + counts["tn"]) / n, counts["tp"] / called if called else math.nan]

    missed = unmet("m11.prevalence", {"at_prevalence": as_it_stood}, tmp_path)
    assert "a hospital of mostly ill patients: accuracy at the common prevalence" in missed
    assert "a hospital of mostly ill patients: PPV at the common prevalence" in missed
    assert "without healthy patients the accuracy elsewhere is undefined" in missed


def site_sums(rows, y, w):
    """Return n and the gradient of the summed log loss, by finite differences of scikit-learn's."""

    def loss(at):
        return log_loss(y, expit(rows @ at), labels=[0, 1], normalize=False)

    step = 1e-5 * np.eye(len(w))
    return {"n": len(y), "gradient": np.array([(loss(w + one) - loss(w - one)) / 2e-5 for one in step])}


def exact_sums(rows, y, w):
    """Return n and the gradient, row by row."""
    return {"n": len(y), "gradient": sum((expit(row @ w) - label) * row for row, label in zip(rows, y, strict=True))}


def federated_step(w, sent, rate):
    """Return the new coefficients as the mean of the hospitals' own steps, weighted by n."""
    steps = [w - rate * item["gradient"] / item["n"] for item in sent]
    return np.average(steps, axis=0, weights=[item["n"] for item in sent])


RIGHT = {"site_sums": exact_sums, "federated_step": federated_step}


@pytest.mark.parametrize("seed", SEEDS)
def test_federated_is_right_for_steps_averaged_by_n(seed, tmp_path):
    assert unmet("m11.federated", RIGHT, tmp_path, seed) == []


def test_the_gradient_is_that_of_the_log_loss():
    random = np.random.default_rng(3)
    rows, y, w = random.normal(size=(30, 4)), random.integers(0, 2, 30), random.normal(size=4)
    assert site_sums(rows, y, w)["gradient"] == pytest.approx(exact_sums(rows, y, w)["gradient"], abs=1e-5)


def test_federated_names_misconceptions(tmp_path):
    step = "the step is that of all rows in one table"

    def means(rows, y, w):
        sums = exact_sums(rows, y, w)
        return sums | {"gradient": sums["gradient"] / len(y)}

    assert unmet("m11.federated", RIGHT | {"site_sums": means}, tmp_path) == [
        "the large hospital: the gradient is a sum over its patients",
        "the middle one: the gradient is a sum over its patients",
        "the small one: the gradient is a sum over its patients",
        step,
    ]

    def unweighted(w, sent, rate):
        return np.mean([w - rate * item["gradient"] / item["n"] for item in sent], axis=0)

    assert unmet("m11.federated", RIGHT | {"federated_step": unweighted}, tmp_path) == [step]
    uphill = {"federated_step": lambda w, sent, rate: federated_step(w, sent, -rate)}
    assert unmet("m11.federated", RIGHT | uphill, tmp_path) == [step]
    with_rows = {"site_sums": lambda rows, y, w: exact_sums(rows, y, w) | {"rows": rows}}
    assert len(unmet("m11.federated", RIGHT | with_rows, tmp_path)) == 3


@pytest.mark.parametrize("exercise", ["sites", "leave", "pool", "interval", "prevalence", "federated"])
def test_an_empty_answer_fails(exercise, tmp_path):
    names = lessons.find(f"m11.{exercise}").names
    assert unmet(f"m11.{exercise}", {name: lambda *given, **named: None for name in names}, tmp_path)
