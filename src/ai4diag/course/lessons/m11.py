"""Checks of lesson 11: evaluate without moving data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ai4diag.course.exercise import Exercise, Expectations
from ai4diag.course.quiz import Question, Quiz

SITES = ("cleveland", "hungarian", "switzerland", "va")
SMALLEST = 5
COUNTS = ("n_disease", "n_correct")
SUMS = ("sum_score", "sum_squared_error")


class PerSite(Exercise):
    """One estimate for each hospital, with n and interval."""

    id = "m11.sites"
    title = "one line for each hospital"
    names = ("per_site",)
    hints = (
        "Four things must fit: the estimate's name, the part, the subgroup, and that a value was estimated at all.",
        "A hospital's rows have a `subgroup` that begins with 'site='. `math.isnan` finds what was masked.",
    )
    worked = (
        "Rows: auroc/test/all 0.88, auroc/test/site=north 0.81 [0.70, 0.90] n=60, auroc/test/sex=male 0.87,\n"
        "auroc/validation/all 0.90, accuracy/test/site=north 0.75. Asked for 'auroc':\n"
        "1. Only rows with the name auroc: the last one goes. 2. Only the part test: the fourth goes.\n"
        "3. Only subgroups that begin with 'site=': the first and the third go.\n"
        "Answer: {'north': [60, 0.81, 0.70, 0.90]}."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return the rows of an invented run, shuffled; one hospital is masked."""
        groups = ["all", "sex=female", "age_band=under 50", *(f"site={site}" for site in SITES)]
        masked = f"site={random.choice(SITES)}"
        rows = []
        for name in ("auroc", "accuracy", "auroc_difference"):
            for part, group in [("validation", "all"), *(("test", group) for group in groups)]:
                value = math.nan if group == masked else float(random.uniform(0.6, 0.9))
                low, high = value - float(random.uniform(0.02, 0.1)), value + float(random.uniform(0.02, 0.1))
                n = 7 if group == masked else int(random.integers(20, 300))
                rows.append({"name": name, "part": part, "subgroup": group, "value": value, "low": low, "high": high})
                rows[-1] |= {"n": n, "n_patients": n, "note": ""}
        order = random.permutation(len(rows))
        return {"rows": [rows[i] for i in order], "name": str(random.choice(["auroc", "accuracy"])), "masked": masked}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the learner's table."""
        return names["per_site"](given["rows"], given["name"])

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the lines of three hospitals."""
        masked = given["masked"].removeprefix("site=")
        fitting = {(row["name"], row["part"], row["subgroup"]): row for row in given["rows"]}
        shown = [site for site in SITES if site != masked]
        expect.that("a hospital whose value is undefined is left out", masked not in answer, masked, "not there")
        found = sorted(set(answer) - {masked})
        expect.equal("the keys are the hospitals, without 'site='", found, sorted(shown))
        for site in shown:
            row = fitting[given["name"], "test", f"site={site}"]
            wanted = [row[key] for key in ("n", "value", "low", "high")]
            expect.equal(f"{site}: n, value, low and high of the {given['name']}", answer.get(site), wanted)


LEAVING: dict[str, dict[str, Any]] = {
    "a result of allowed counts and sums leaves whole": {},
    "a list of scores, one per patient, stays": {"scores": [0.2, 0.7, 0.9]},
    "names of cases stay": {"case_ids": "cleveland-0001 cleveland-0002"},
    "a sum that nobody agreed on stays": {"sum_age": 5120.0},
    "rows under an allowed name stay": {"sum_score": [0.2, 0.7, 0.9]},
    "a text under an allowed name stays": {"n_correct": "70: all but cleveland-0001"},
    "a site that is not one of the four stays": {"site": "Ward 3, Dr Novak"},
    "a small count stays": {"n_disease": 3},
    "a count whose rest is small stays: 1 of 100 is healthy": {"n_disease": 99},
    "a count of none stays: it tells of every patient": {"n_correct": 0},
    "a count of all stays: it tells of every patient": {"n_disease": 100},
    "of fewer than five patients only the site leaves": {"n": 4, "n_disease": 2, "n_correct": 3},
}


class Leave(Exercise):
    """What of a hospital's result must not leave."""

    id = "m11.leave"
    title = "only allowed aggregates leave"
    names = ("refused",)
    hints = (
        "Of each key: is it on the list? Has its value the right form? Is the count, or its rest, small?",
        "For a count c of n look at `min(c, n - c)`. Test the form before you calculate: `type(value) is int`.",
    )
    worked = (
        "{'site': 'va', 'n': 40, 'n_disease': 38, 'n_correct': 31, 'ages': [61, 70]}\n"
        "1. ages is not on the list: refused. 2. n is 40, not under 5.\n"
        "3. n_disease: min(38, 40 - 38) = 2 is under 5: two healthy patients would stand there. Refused.\n"
        "4. n_correct: min(31, 9) = 9: leaves.\n"
        "Answer: ['ages', 'n_disease']."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return results, one for each statement; all have 100 patients unless said otherwise."""
        results = []
        for change in LEAVING.values():
            disease, correct = (int(value) for value in random.integers(30, 80, 2))
            sums = {name: round(float(random.uniform(10, 60)), 6) for name in SUMS}
            own = {"site": str(random.choice(SITES)), "n": 100, "n_disease": disease, "n_correct": correct, **sums}
            results.append(own | change)
        return {"results": results}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the keys that the learner refuses, for each result."""
        return [sorted(names["refused"](result)) for result in given["results"]]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the keys that must not leave, and no other."""
        for name, result, found in zip(LEAVING, given["results"], answer, strict=True):
            expect.equal(name, found, sorted(key for key in result if not _may_leave(result, key)))


def _may_leave(result: Mapping[str, Any], key: str) -> bool:
    value, n = result[key], result["n"]
    if key == "site":
        return value in SITES
    if n < SMALLEST or key not in ("n", *COUNTS, *SUMS):
        return False
    if key in COUNTS:
        return type(value) is int and SMALLEST <= value <= n - SMALLEST
    return type(value) in (int, float)


class Pool(Exercise):
    """The accuracy of all hospitals, from their counts."""

    id = "m11.pool"
    title = "the weighted mean is the hand sum"
    names = ("pooled",)
    hints = (
        "Add up the right answers, add up the patients, divide once. Who withheld the answer gives no patients either.",
        "First keep the results that have 'n_correct'. When none is left, the accuracy is math.nan and n is 0.",
    )
    worked = (
        "North: 90 of 100 right. South: 5 of 10 right. East: 40 patients, n_correct withheld.\n"
        "1. Right: 90 + 5 = 95. Patients of those two: 110. 2. 95 / 110 = 0.8636.\n"
        "3. As a weighted mean: (100 x 0.90 + 10 x 0.50) / 110 = 0.8636, the same. (The plain mean would say 0.70.)\n"
        "Answer: [0.8636, 110]."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return results of four hospitals; some withhold their count."""
        whole = []
        for site, n in zip(SITES, (104, 89, 16, 45), strict=True):
            size = n + int(random.integers(-5, 200))
            whole.append({"site": site, "n": size, "n_correct": int(size * random.uniform(0.5, 0.95))})
        lacking = [dict(item) for item in whole]
        del lacking[int(random.integers(4))]["n_correct"]
        return {"whole": whole, "lacking": lacking, "none": [{"site": "va", "n": 45}]}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the learner's accuracy and n for each list."""
        return {key: list(names["pooled"](results)) for key, results in given.items()}

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the weighted mean."""
        whole = given["whole"]
        n = sum(item["n"] for item in whole)
        mean = sum(item["n"] / n * (item["n_correct"] / item["n"]) for item in whole)
        expect.close("the pooled accuracy is the mean weighted by patients", answer["whole"][0], mean)
        expect.equal("it rests on the patients of all four", answer["whole"][1], n)
        gave = [item for item in given["lacking"] if "n_correct" in item]
        covered = sum(item["n"] for item in gave)
        right = sum(item["n_correct"] for item in gave)
        expect.close("who withheld the count is not in the sum", answer["lacking"][0], right / covered)
        expect.equal("n counts only patients of whom something is known", answer["lacking"][1], covered)
        expect.close("without any count it is undefined, not 0", answer["none"][0], math.nan)
        expect.equal("it then rests on nobody", answer["none"][1], 0)


def wilson(k: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a proportion k / n by Wilson (JASA 22:209, 1927); NaN without cases."""
    if n == 0:
        return math.nan, math.nan
    z = 1.959963984540054
    centre, spread = (k + z * z / 2) / (n + z * z), z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
    return centre - spread, centre + spread


class Interval(Exercise):
    """An interval from two counts."""

    id = "m11.interval"
    title = "an interval from two counts"
    names = ("interval",)
    hints = (
        "Put p = k / n into the formula. Where n is 0 there is no p: the limits are math.nan.",
        "centre = (p + z*z/(2*n)) / (1 + z*z/n); half = z / (1 + z*z/n) * math.sqrt(p*(1-p)/n + z*z/(4*n*n)).",
    )
    worked = (
        "8 right of 10: p = 0.8, z = 1.96, z*z = 3.8416.\n"
        "1. 1 + z*z/n = 1.38416. 2. centre = (0.8 + 0.19208) / 1.38416 = 0.7167.\n"
        "3. Root of 0.8*0.2/10 + 3.8416/400 = root of 0.025604 = 0.16001. 4. half = 1.416 x 0.16001 = 0.2266.\n"
        "Answer: [0.4902, 0.9433]. (p ± 1.96 root(p(1-p)/n) would reach 1.048, more than all.)"
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return counts: ordinary ones, all right, none right, nobody."""
        n, small = int(random.integers(60, 300)), int(random.integers(8, 20))
        return {"cases": [[int(n * random.uniform(0.6, 0.9)), n], [small - 1, small], [small, small], [0, n], [0, 0]]}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the learner's limits for each pair of counts."""
        return [list(names["interval"](k, n)) for k, n in given["cases"]]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect Wilson's limits."""
        labels = ("many patients", "few patients: nearly all right", "all right: still a width", "none right", "nobody")
        for label, (k, n), found in zip(labels, given["cases"], answer, strict=True):
            for what, value, wanted in zip(("lower", "upper"), found, wilson(k, n), strict=True):
                expect.close(f"{label}: {what} limit of {k} of {n}", value, wanted, 0.001)


class Prevalence(Exercise):
    """Hospitals at the same prevalence."""

    id = "m11.prevalence"
    title = "compare like with like"
    names = ("at_prevalence",)
    hints = (
        "Sensitivity and specificity do not depend on how many are ill. Compute them first, then mix them anew.",
        "accuracy = se * p + sp * (1 - p); PPV = se * p / (se * p + (1 - sp) * (1 - p)). No ill or no healthy: nan.",
    )
    worked = (
        "tp 45, fn 5, tn 6, fp 4, prevalence 0.5:\n"
        "1. sensitivity 45/50 = 0.9, specificity 6/10 = 0.6. 2. accuracy 0.9 x 0.5 + 0.6 x 0.5 = 0.75.\n"
        "3. PPV 0.45 / (0.45 + 0.4 x 0.5) = 0.45 / 0.65 = 0.692.\n"
        "Answer: [0.75, 0.692]. (As it stood, with 50 ill of 60: accuracy 51/60 = 0.85, PPV 45/49 = 0.918.)"
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return counts of two hospitals, of one without healthy patients, of one where nobody was called ill."""

        def counts(ill: int, healthy: int) -> dict[str, int]:
            tp, tn = int(ill * random.uniform(0.6, 0.95)), int(healthy * random.uniform(0.6, 0.95))
            return {"tp": tp, "fn": ill - tp, "tn": tn, "fp": healthy - tn}

        sizes = [int(value) for value in random.integers(15, 80, 4)]
        nobody = {"tp": 0, "fn": sizes[0], "tn": sizes[1], "fp": 0}
        return {
            "prevalence": round(float(random.uniform(0.2, 0.7)), 3),
            "counts": [counts(sizes[0], sizes[1]), counts(sizes[2] * 6, sizes[3]), counts(sizes[0], 0), nobody],
        }

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the learner's accuracy and PPV for each hospital."""
        return [list(names["at_prevalence"](counts, given["prevalence"])) for counts in given["counts"]]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect each hospital's rates, mixed at the given prevalence, counted out of a million patients."""
        labels = ("a mixed hospital", "a hospital of mostly ill patients")
        for label, counts, found in zip(labels, given["counts"], answer, strict=False):
            ill = 1e6 * given["prevalence"]
            right = ill * counts["tp"] / (counts["tp"] + counts["fn"])
            spared = (1e6 - ill) * counts["tn"] / (counts["tn"] + counts["fp"])
            alarms = right + (1e6 - ill - spared)
            expect.close(f"{label}: accuracy at the common prevalence", found[0], (right + spared) / 1e6)
            expect.close(f"{label}: PPV at the common prevalence", found[1], right / alarms)
        for what, value in zip(("accuracy", "PPV"), answer[2], strict=True):
            expect.close(f"without healthy patients the {what} elsewhere is undefined", value, math.nan)
        expect.close("where nobody is called ill the PPV is undefined", answer[3][1], math.nan)


class Federated(Exercise):
    """Sums of gradients instead of rows."""

    id = "m11.federated"
    title = "a step of learning from sums"
    names = ("site_sums", "federated_step")
    hints = (
        "A hospital sends sums over its patients, not means: then hospitals of all sizes can simply be added.",
        "p = 1 / (1 + np.exp(-X @ w)); the gradient's sum is X.T @ (p - y). The step divides by all n together.",
    )
    worked = (
        "One column, w = [0]: every p is 0.5. North has X = [[1], [2]], y = [1, 0]; South has X = [[4]], y = [1].\n"
        "1. North: 1 x (0.5 - 1) + 2 x (0.5 - 0) = 0.5, n = 2. 2. South: 4 x (0.5 - 1) = -2.0, n = 1.\n"
        "3. Together: (0.5 - 2.0) / (2 + 1) = -0.5. 4. With rate 0.1: w = 0 - 0.1 x (-0.5) = 0.05.\n"
        "All three rows in one table give the same -0.5."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return three hospitals of different size, coefficients and a rate."""
        sizes = [int(value) for value in (random.integers(30, 60), random.integers(10, 20), random.integers(3, 6))]
        return {
            "w": random.normal(0, 0.5, 4).tolist(),
            "rate": round(float(random.uniform(0.1, 1.0)), 3),
            "sites": [
                {"X": random.normal(k, 1, (n, 4)).tolist(), "y": random.integers(0, 2, n).tolist()}
                for k, n in enumerate(sizes)
            ],
        }

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return what each hospital sends, and the new coefficients."""
        w = np.array(given["w"])
        sent = [names["site_sums"](np.array(site["X"]), np.array(site["y"]), w) for site in given["sites"]]
        return {"sent": sent, "w": names["federated_step"](w, sent, given["rate"])}

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect sums, no more, and the step that all rows together would take."""
        w, names = np.array(given["w"]), ("the large hospital", "the middle one", "the small one")
        total, n = np.zeros(4), 0
        for name, site, sent in zip(names, given["sites"], answer["sent"], strict=True):
            errors = [
                1 / (1 + math.exp(-float(np.dot(row, w)))) - y for row, y in zip(site["X"], site["y"], strict=True)
            ]
            gradient = sum(error * np.array(row) for error, row in zip(errors, site["X"], strict=True))
            total, n = total + gradient, n + len(errors)
            expect.equal(f"{name} sends n and gradient, nothing else", sorted(sent), ["gradient", "n"])
            expect.equal(f"{name}: n is its number of patients", sent["n"], len(errors))
            same = np.allclose(sent["gradient"], gradient, atol=1e-8)
            expect.that(f"{name}: the gradient is a sum over its patients", same, sent["gradient"], gradient.tolist())
        wanted = w - given["rate"] * total / n
        same = np.shape(answer["w"]) == (4,) and np.allclose(answer["w"], wanted, atol=1e-8)
        expect.that("the step is that of all rows in one table", same, answer["w"], wanted.tolist())


EXERCISES = (
    PerSite(),
    Leave(),
    Pool(),
    Interval(),
    Prevalence(),
    Federated(),
    Quiz(
        "m11",
        Question(
            "Hospital A: accuracy 0.94 of 16 patients, 15 of them ill. Hospital B: 0.80 of 104, half of them ill.",
            (
                "A's patients are served better",
                "always saying 'ill' has 0.94 at A; nothing follows",
                "B has worse doctors",
            ),
            "b",
            "At A the commonest answer alone scores 15 of 16. Look at prevalence and interval before you compare.",
        ),
        Question(
            "Which of these can be computed exactly from one number and n per hospital?",
            ("the pooled AUROC from AUROCs", "the pooled median from medians", "the pooled accuracy from accuracies"),
            "c",
            "Accuracy is a mean over patients. An AUROC also compares patients of different hospitals.",
        ),
        Question(
            "A hospital may not send counts below 5. It has 45 patients, 43 of them right. May it send n_correct?",
            (
                "yes, 43 is not below 5",
                "yes, without the hospital's name",
                "no, anybody can subtract",
                "no, 45 is small",
            ),
            "c",
            "45 minus 43 is 2: two patients who were judged wrongly would stand there.",
        ),
        Question(
            "The intervals of two hospitals overlap widely. What do you report?",
            (
                "both values with intervals and n; these data show no difference",
                "the hospitals are equal",
                "only the pooled value",
            ),
            "a",
            "That no difference was shown does not show that there is none; few patients show little.",
        ),
        Question(
            "What does ai4diag offer today for learning across hospitals?",
            (
                "a server that hospitals connect to",
                "evaluation per site; learning across sites only as you did by hand",
                "encrypted sums",
            ),
            "b",
            "Live federation does not exist in ai4diag yet. A bundle can travel and be scored where the data are.",
        ),
    ),
)
