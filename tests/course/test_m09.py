"""Lesson 9: right answers pass whatever is drawn, and each misconception fails with the expectation that names it."""

from __future__ import annotations

import lifelines
import numpy as np
import pytest
from lifelines.utils import concordance_index
from sklearn.model_selection import GroupShuffleSplit

from ai4diag.course import lessons
from ai4diag.course.checking import examine
from ai4diag.course.lessons.m09 import product_limit
from ai4diag.evaluation.survival import Outcomes

SEEDS = range(5)


def unmet(exercise, names, root, seed=0):
    """Return the names of the expectations that are not met."""
    return [item.name for item in examine(lessons.find(exercise), names, root, seed) if not item.met]


def by_patient(records, patients, share, seed):
    """Divide by patient with scikit-learn."""
    size = round(share * len(set(patients)))
    split = GroupShuffleSplit(1, test_size=size, random_state=seed).split(patients, groups=patients)
    parts = np.full(len(patients), "train", dtype=object)
    parts[next(split)[1]] = "test"
    return parts.tolist()


def found_by_patient(table, threshold):
    """Return the sensitivity of each patient of the test part."""
    table = table[table["part"] == "test"]
    early = table[table["truth"] == 1]
    found = early.assign(found=early["score"] >= threshold).groupby("patient_id")["found"].mean()
    return found.reindex(table["patient_id"].unique()).to_dict()


def status(days, event, horizon):
    """Return what is known."""
    if days < horizon and not event:
        return "unknown"
    return "died" if event and days <= horizon else "alive"


def kaplan_meier(days, event):
    """Return the curve of lifelines at the days with a death."""
    fitted = lifelines.KaplanMeierFitter().fit(days, event)
    times = np.unique(days[event == 1])
    return times, fitted.survival_function_at_times(times).to_numpy()


def count_pairs(days, event, risk):
    """Count pair by pair, each once."""
    right, comparable = 0.0, 0
    for i in range(len(days)):
        for j in range(i):
            first, second = (i, j) if (days[i], -event[i]) < (days[j], -event[j]) else (j, i)
            if not event[first] or (days[first], event[first]) == (days[second], event[second]):
                continue
            comparable += 1
            right += 1.0 if risk[first] > risk[second] else 0.5 * (risk[first] == risk[second])
    return right, comparable


@pytest.mark.parametrize("seed", SEEDS)
def test_right_answers_pass_whatever_is_drawn(tmp_path, seed):
    names = {
        "divide": by_patient,
        "found_by_patient": found_by_patient,
        "status": status,
        "kaplan_meier": kaplan_meier,
        "count_pairs": count_pairs,
    }
    for exercise in ("divide", "patients", "status", "km", "pairs"):
        assert unmet(f"m09.{exercise}", names, tmp_path, seed) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_truth_of_the_checks_is_that_of_lifelines_and_of_the_library(seed):
    random = np.random.default_rng(seed)
    days, event, risk = random.integers(1, 20, 60).astype(float), random.integers(0, 2, 60), random.random(60).round(1)
    times, survival = product_limit(days, event)
    assert survival == pytest.approx(kaplan_meier(days, event)[1].tolist(), abs=1e-9)
    outcomes = Outcomes(days, event)
    assert survival == pytest.approx(outcomes.at(outcomes.kaplan_meier(), times)[0].tolist(), abs=1e-9)
    right, comparable = count_pairs(days, event, risk)
    assert right / comparable == pytest.approx(concordance_index(days, -risk, event), abs=1e-9)


def test_a_split_by_beat_tears_records_and_one_by_record_tears_patients(tmp_path):
    def by_beat(records, patients, share, seed):
        return by_patient(records, [str(i) for i in range(len(patients))], share, seed)

    def by_record(records, patients, share, seed):
        return by_patient(records, records, share, seed)

    torn = "no patient is in two parts, not even one with two records"
    assert {"no record is torn: beats of one record stay together", torn} <= set(
        unmet("m09.divide", {"divide": by_beat}, tmp_path)
    )
    for seed in SEEDS:
        found = unmet("m09.divide", {"divide": by_record}, tmp_path, seed)
        assert torn in found
        assert "no record is torn: beats of one record stay together" not in found


def test_a_split_that_is_not_drawn_or_not_repeated_is_refused(tmp_path):
    always = {"divide": lambda records, patients, share, seed: by_patient(records, patients, share, 0)}
    assert unmet("m09.divide", always, tmp_path) == ["other seeds draw other patients"]
    random = np.random.default_rng(0)
    anew = {"divide": lambda records, patients, share, seed: by_patient(records, patients, share, random.integers(99))}
    assert unmet("m09.divide", anew, tmp_path) == ["the same seed gives the same answer"]
    nobody = {"divide": lambda records, patients, share, seed: ["train"] * len(patients)}
    counts = "the share counts patients, not beats, whatever the seed"
    assert counts in unmet("m09.divide", nobody, tmp_path)


def test_sensitivity_is_each_patients_own_on_the_test_part(tmp_path):
    def pooled(table, threshold):
        early = table[(table["part"] == "test") & (table["truth"] == 1)]
        return dict.fromkeys(table[table["part"] == "test"]["patient_id"], (early["score"] >= threshold).mean())

    assert "a patient without a PVC has no sensitivity" in unmet("m09.patients", {"found_by_patient": pooled}, tmp_path)

    def everything(table, threshold):
        return found_by_patient(table.assign(part="test"), threshold)

    said = unmet("m09.patients", {"found_by_patient": everything}, tmp_path)
    assert "these are the patients of the test part, each by itself" in said

    def zero(table, threshold):
        return {name: 0.0 if value != value else value for name, value in found_by_patient(table, threshold).items()}

    said = unmet("m09.patients", {"found_by_patient": zero}, tmp_path)
    assert said == ["a patient without a PVC has no sensitivity"]


def test_a_censored_patient_is_neither_alive_nor_dead_at_a_later_horizon(tmp_path):
    unknown = "censored before the horizon: nobody knows"
    alive = {"status": lambda days, event, horizon: "died" if event and days <= horizon else "alive"}
    assert unmet("m09.status", alive, tmp_path) == [unknown]
    late = {"status": lambda days, event, horizon: "died" if event else status(days, event, horizon)}
    assert unmet("m09.status", late, tmp_path) == ["died later: was alive at the horizon"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda d, e: product_limit(d[e == 1], e[e == 1]), "censored patients are not dropped"),
        (lambda d, e: product_limit(d, np.ones_like(e)), "censored patients are not counted as dead"),
        (lambda d, e: product_limit(np.where(e == 0, d - 0.5, d), e), "who is censored on a day is at risk on it"),
    ],
)
def test_each_mistake_with_censored_patients_is_named(tmp_path, wrong, said):
    for seed in SEEDS:
        found = unmet("m09.km", {"kaplan_meier": wrong}, tmp_path, seed)
        assert [name for name in found if name.startswith("study 1") and name.endswith(said)]
        others = ("dropped", "counted as dead", "at risk on it")
        assert sum(name.startswith("study 1") and name.endswith(others) for name in found) == 1


def test_a_curve_of_plain_shares_is_refused(tmp_path):
    def shares(days, event):
        times = np.unique(days[event == 1])
        return times, [1 - ((days <= time) & (event == 1)).mean() for time in times]

    found = unmet("m09.km", {"kaplan_meier": shares}, tmp_path)
    assert len(found) == 2, "without censoring it is right"
    assert all(name.endswith("the curve is the product of the shares that stay alive") for name in found)


def test_each_mistake_with_pairs_is_named(tmp_path):
    def everything(days, event, risk):
        n = len(days)
        return count_pairs(days, event, risk)[0], n * (n - 1) // 2

    def among_the_dead(days, event, risk):
        return count_pairs(days[event == 1], event[event == 1], risk[event == 1])

    def turned(days, event, risk):
        return count_pairs(days, event, -risk)

    def ties_lost(days, event, risk):
        return count_pairs(days, event, risk + 1e-9 * days)

    for seed in SEEDS:
        assert "15 patients: not all pairs are comparable" in unmet(
            "m09.pairs", {"count_pairs": everything}, tmp_path, seed
        )
        dead = unmet("m09.pairs", {"count_pairs": among_the_dead}, tmp_path, seed)
        assert "15 patients: pairs with a censored patient may count" in dead
        wrong_way = unmet("m09.pairs", {"count_pairs": turned}, tmp_path, seed)
        assert "40 patients: who died first should have the higher risk" in wrong_way
        lost = unmet("m09.pairs", {"count_pairs": ties_lost}, tmp_path, seed)
        assert "40 patients: the pairs that are ranked rightly, equal risks one half" in lost
