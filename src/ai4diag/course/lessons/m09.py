"""Checks of lesson 9: beats belong to patients, censoring, Kaplan-Meier and the pairs of a C-index."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ai4diag.course.exercise import Exercise, Expectations
from ai4diag.course.quiz import Question, Quiz

Array = npt.NDArray[Any]


class Divide(Exercise):
    """Patients, not beats or records, are dealt to the parts."""

    id = "m09.divide"
    title = "divide by patient"
    names = ("divide",)
    hints = (
        "Draw among the distinct patients first; then every beat goes where its patient is.",
        "`people = sorted(set(patients))`, then `np.random.default_rng(seed).choice(people, size=..., replace=False)`.",
    )
    worked = (
        "Beats are of patients A, A, B, C, C, D, and share is 0.5: round(0.5 * 4) = 2 patients are drawn, say A and "
        "D. The answer is test, test, train, train, train, test: three beats of six, but two patients of four."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Draw beats of ten patients, of whom two have two records each; some have many beats, some few."""
        people = [f"p{number:02}" for number in random.choice(100, size=10, replace=False)]
        owners = [*people, *people[:2]]
        records = [str(number) for number in random.choice(np.arange(100, 235), size=len(owners), replace=False)]
        beats = np.repeat(np.arange(len(owners)), random.integers(3, 40, size=len(owners)))
        beats = random.permutation(beats)
        share = float(random.choice([0.2, 0.3, 0.4]))
        patients = [owners[i] for i in beats]
        return {"records": [records[i] for i in beats], "patients": patients, "share": share, "seed": 3}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the parts of two calls with one seed, and of others with other seeds."""
        divide = names["divide"]
        beats = given["records"], given["patients"], given["share"]
        first, again = (list(divide(*beats, given["seed"])) for _ in range(2))
        others = [list(divide(*beats, given["seed"] + more)) for more in range(1, 6)]
        return {"first": first, "again": again, "others": others}

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect that nobody is in two parts, and that the share counts patients."""
        patients, splits = given["patients"], [answer["first"], answer["again"], *answer["others"]]
        right = all(len(parts) == len(patients) and set(parts) <= {"train", "test"} for parts in splits)
        if not expect.that("there is 'train' or 'test' for each beat", right, sorted(set(splits[0])), "train, test"):
            return
        twice = set().union(*(_torn(given["records"], parts) for parts in splits))
        expect.that("no record is torn: beats of one record stay together", not twice, f"{len(twice)} torn")
        both = set().union(*(_torn(patients, parts) for parts in splits))
        expect.that("no patient is in two parts, not even one with two records", not both, f"{len(both)} in two parts")
        test = [len({who for who, part in zip(patients, parts, strict=True) if part == "test"}) for parts in splits]
        wanted = [round(given["share"] * len(set(patients)))] * len(splits)
        expect.equal("the share counts patients, not beats, whatever the seed", test, wanted)
        first, again, *others = splits
        expect.that("the same seed gives the same answer", first == again)
        expect.that("other seeds draw other patients", any(first != other for other in others))


def _torn(owners: list[str], parts: list[str]) -> set[str]:
    """Return the owners of beats in both parts."""
    train, test = ({who for who, part in zip(owners, parts, strict=True) if part == name} for name in ("train", "test"))
    return train & test


class Patients(Exercise):
    """Sensitivity of each patient of the test part."""

    id = "m09.patients"
    title = "sensitivity, patient by patient"
    names = ("found_by_patient",)
    hints = (
        "Take the lines of the test part first, then go through it patient by patient, and look at the PVCs alone.",
        "`for patient, rows in test.groupby('patient_id'):`, then the mean of `score >= threshold` where `truth == 1`.",
    )
    worked = (
        "Test part, threshold 0.5. A has two PVCs with scores 0.9 and 0.2: 1 of 2 is found, 0.5. B has one PVC with "
        "score 0.5: found, 1.0 (at least the threshold). C has none: nan. The answer is {'A': 0.5, 'B': 1.0, 'C': "
        "nan}."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Draw predictions of two parts; one patient of the test part has no PVC, one is in `contrast` alone."""
        table: dict[str, list[Any]] = {"patient_id": [], "part": [], "truth": [], "score": []}
        numbers = {("a", "test"): 30, ("b", "test"): 4, ("c", "test"): 0, ("d", "test"): 9}
        numbers |= {("a", "contrast"): 12, ("b", "contrast"): 6, ("e", "contrast"): 7}
        for (patient, part), n_early in numbers.items():
            truth = [1] * n_early + [0] * 10
            table["patient_id"] += [patient] * len(truth)
            table["part"] += [part] * len(truth)
            table["truth"] += truth
            table["score"] += random.random(len(truth)).round(1).tolist()
        order = random.permutation(len(table["truth"]))
        rows = {name: [values[i] for i in order] for name, values in table.items()}
        return {"predictions": rows, "threshold": float(random.choice([0.3, 0.5, 0.6]))}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the mapping, its keys as texts."""
        import pandas as pd

        found = names["found_by_patient"](pd.DataFrame(given["predictions"]), given["threshold"])
        return {str(patient): float(value) for patient, value in dict(found).items()}

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect each patient's own share, and nan where there is nothing to find."""
        table = {name: np.array(values) for name, values in given["predictions"].items()}
        expect.equal("these are the patients of the test part, each by itself", sorted(answer), ["a", "b", "c", "d"])
        expect.close("a patient without a PVC has no sensitivity", answer.get("c"), math.nan)
        for patient in ("a", "b", "d"):
            rows = (table["patient_id"] == patient) & (table["part"] == "test") & (table["truth"] == 1)
            share = float((table["score"][rows] >= given["threshold"]).mean())
            name = f"patient {patient}: the share of this patient's PVCs in the test part that are found"
            expect.close(name, answer.get(patient), share)


class Status(Exercise):
    """What is known of a patient at a horizon."""

    id = "m09.status"
    title = "what is known at a horizon"
    names = ("status",)
    hints = (
        (
            "Draw the patient's line and the horizon. Is the horizon on the line, behind a cross, or behind an open "
            "circle?"
        ),
        "Died: `event == 1` and `days <= horizon`. Otherwise alive if `days >= horizon`, unknown if not.",
    )
    worked = (
        "Horizon 365 days. Died on day 100: died. Died on day 400: was alive on day 365, so alive. Censored on day "
        "400: alive. Censored on day 100: nobody knows what happened between day 100 and day 365, so unknown."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Draw a horizon and patients on both sides of it, and on the very day."""
        horizon = int(random.integers(300, 2000))
        near, far = int(random.integers(1, horizon)), horizon + int(random.integers(1, 900))
        return {"horizon": horizon, "patients": [[day, e] for day in (near, horizon, far) for e in (0, 1)]}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the status of each patient."""
        return [names["status"](days, event, given["horizon"]) for days, event in given["patients"]]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the right word for each, the very day included."""
        said = (
            ("censored before the horizon: nobody knows", "unknown"),
            ("died before the horizon", "died"),
            ("last seen alive on the very day", "alive"),
            ("died on the very day", "died"),
            ("censored later: was alive at the horizon", "alive"),
            ("died later: was alive at the horizon", "alive"),
        )
        for (name, right), found in zip(said, answer, strict=True):
            expect.equal(name, found, right)


class Curve(Exercise):
    """The Kaplan-Meier estimate."""

    id = "m09.km"
    title = "Kaplan and Meier by hand"
    names = ("kaplan_meier",)
    hints = (
        "Each day with a death needs two counts: who died on it, and who was still under observation on it.",
        "`at_risk = (days >= day).sum()` counts censored patients until their last day; times `1 - deaths / at_risk`.",
    )
    worked = (
        "Days 2, 3, 3, 5 with events 1, 1, 0, 1. Day 2: 1 of 4 at risk dies, S = 3/4. Day 3: 3 at risk (the one who "
        "is censored on day 3 is still there), 1 dies, S = 3/4 * 2/3 = 1/2. Day 5: 1 at risk, 1 dies, S = 0. The "
        "answer is [2, 3, 5] and [0.75, 0.5, 0.0]."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Draw studies: with ties of death and censoring; one whose last patient is censored; one without censoring."""
        studies = []
        for n, censored in ((12, 0.5), (40, 0.6), (9, 0.0)):
            days = random.integers(1, n, size=n)
            event = (random.random(n) >= censored).astype(int)
            event[:2], days[:2] = [1, 0], 3  # a death and a censoring on one day
            days[2], event[2] = n + 2, int(censored == 0)
            days[3], event[3] = 1, 1
            days[4], event[4] = 2, int(censored == 0)
            studies.append({"days": days.tolist(), "event": event.tolist() if censored else [1] * n})
        return {"studies": studies}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the curves."""
        curves = []
        for study in given["studies"]:
            times, survival = names["kaplan_meier"](np.array(study["days"], float), np.array(study["event"]))
            curves.append([np.asarray(times, float).tolist(), np.asarray(survival, float).tolist()])
        return curves

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the product over days with deaths; each usual mistake is named."""
        for number, (study, found) in enumerate(zip(given["studies"], answer, strict=True), 1):
            days, event = np.array(study["days"], float), np.array(study["event"])
            times, survival = product_limit(days, event)
            label = f"study {number} ({len(days)} patients, {int((event == 0).sum())} censored)"
            if not event.all():
                dropped = product_limit(days[event == 1], event[event == 1])
                as_dead = product_limit(days, np.ones_like(event))
                gone = product_limit(np.where(event == 0, days - 0.5, days), event)
                expect.that(f"{label}: censored patients are not dropped", not _alike(found, dropped))
                expect.that(f"{label}: censored patients are not counted as dead", not _alike(found, as_dead))
                expect.that(f"{label}: who is censored on a day is at risk on it", not _alike(found, gone))
            expect.equal(f"{label}: a step on each day with a death, and only there", found[0], times)
            right = len(found[1]) == len(survival) and np.allclose(found[1], survival, atol=1e-6, rtol=0)
            expect.that(f"{label}: the curve is the product of the shares that stay alive", right, found[1], survival)


class Pairs(Exercise):
    """The comparable pairs of Harrell's C-index."""

    id = "m09.pairs"
    title = "the pairs of a C-index"
    names = ("count_pairs",)
    hints = (
        "Go through the patients who died, one by one: which others are known to have lived longer than this one?",
        (
            "`later = (days > days[i]) | ((days == days[i]) & (event == 0))` for each `i` with `event[i] == 1`; then "
            "compare risks."
        ),
    )
    worked = (
        "Days 2, 4, 6 with events 1, 0, 1 and risks 0.9, 0.9, 0.1. The first died on day 2: both others lived longer,"
        " two comparable pairs; one has the same risk (0.5), one a lower risk (1). The second is censored: with the "
        "third it is not comparable. The answer is 1.5 and 2: C = 0.75."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Draw three studies with ties of times and of risks, each with pairs of every kind."""
        studies = []
        for n in (8, 15, 40):
            days = random.integers(1, max(5, n // 2), size=n)
            event = (random.random(n) < 0.5).astype(int)
            days[:4], event[:4] = [2, 2, 2, 1], [1, 1, 0, 0]
            risk = random.integers(0, 6, size=n) / 10
            risk[0], risk[2] = 0.5, 0.5
            studies.append({"days": days.tolist(), "event": event.tolist(), "risk": risk.tolist()})
        return {"studies": studies}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return both counts of each study."""
        counts = []
        for study in given["studies"]:
            arrays = (np.array(study["days"], float), np.array(study["event"]), np.array(study["risk"]))
            right, comparable = names["count_pairs"](*arrays)
            counts.append([float(right), float(comparable)])
        return counts

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect both counts; each usual mistake is named."""
        for study, (right, comparable) in zip(given["studies"], answer, strict=True):
            days, event, risk = (np.array(study[name]) for name in ("days", "event", "risk"))
            label = f"{len(days)} patients"
            early = (days[:, None] < days[None, :]) & (event[:, None] == 1)
            tied = (days[:, None] == days[None, :]) & (event[:, None] == 1) & (event[None, :] == 0)
            pairs = early | tied
            everything = len(days) * (len(days) - 1) // 2
            both_died = int((early & (event[None, :] == 1)).sum())
            expect.that(f"{label}: not all pairs are comparable", comparable != everything, comparable)
            expect.that(f"{label}: pairs with a censored patient may count", comparable > both_died, comparable)
            expect.close(f"{label}: the number of comparable pairs", comparable, int(pairs.sum()))
            higher = np.sign(risk[:, None] - risk[None, :]) / 2 + 0.5
            expected = float((pairs * higher).sum())
            turned = abs(right - float((pairs * (1 - higher)).sum())) < 1e-6 < abs(right - expected)
            expect.that(f"{label}: who died first should have the higher risk", not turned, right, expected)
            expect.close(f"{label}: the pairs that are ranked rightly, equal risks one half", right, expected)


def product_limit(days: Array, event: Array) -> tuple[list[float], list[float]]:
    """Return the days with a death and the Kaplan-Meier estimate from each of them on (JASA 53:457, 1958)."""
    times = np.unique(days[event == 1])
    deaths = ((days[None, :] == times[:, None]) & (event[None, :] == 1)).sum(axis=1)
    at_risk = (days[None, :] >= times[:, None]).sum(axis=1)
    return times.tolist(), np.cumprod(1 - deaths / at_risk).tolist()


def _alike(found: Any, other: tuple[list[float], list[float]]) -> bool:
    same_length = len(found[1]) == len(other[1])
    return same_length and np.allclose(found[1], other[1], atol=1e-6, rtol=0)


EXERCISES = (
    Divide(),
    Patients(),
    Status(),
    Curve(),
    Pairs(),
    Quiz(
        "m09",
        Question(
            "A set has 50,000 beats of 20 patients. What is dealt to train and test?",
            (
                "The beats, at random",
                "The beats, so that both parts have the same share of PVCs",
                "The records",
                "The patients",
            ),
            "d",
            "the model will meet new patients, and one patient may have several records.",
        ),
        Question(
            "Why does a split by beat flatter?",
            (
                "Because it has fewer beats in the test part",
                "Because the model has seen other beats of the same patients, and may recognise the patient",
                "Because beats of the test part are shorter",
            ),
            "b",
            "beats of one person are far more alike than beats of two people.",
        ),
        Question(
            "The pooled sensitivity is 0.93, and nearly all PVCs are of one patient. What do you report?",
            (
                "0.93, as it rests on many beats",
                "The sensitivity of each patient, and an interval that draws patients",
                "The mean of sensitivity and specificity",
                "0.93 with an interval that draws beats",
            ),
            "b",
            "the pooled figure is that of one person; the next patient may be like one of the others.",
        ),
        Question(
            "A patient was last seen alive on day 700. What is this patient's part in a survival curve?",
            (
                "None, since the outcome is missing",
                "A death on day 700",
                "A survivor to the end of the curve",
                "At risk up to day 700, then no longer counted",
            ),
            "d",
            "it is known that the patient lived for 700 days, and nothing beyond.",
        ),
        Question(
            "One patient was censored on day 300, another died on day 500. Do they make a comparable pair?",
            (
                "No: the first one may have died on day 301, or live for years",
                "Yes: 300 is less than 500",
                "Yes, if the first one has the higher risk",
            ),
            "a",
            "a pair is comparable only when the shorter time ended with the event.",
        ),
    ),
)
