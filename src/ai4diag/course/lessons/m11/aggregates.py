"""What hospitals say, what may leave them, and what it adds up to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ai4diag.course.exercise import Exercise, Expectations
from ai4diag.course.mixing import mix, unmix

SITES = ("cleveland", "hungarian", "switzerland", "va")
SMALLEST = 5
COUNTS = ("n_disease", "n_correct")
SUMS = ("sum_score", "sum_squared_error")
ASKED = ("auroc", "accuracy")


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
        groups = ["all", "sex=female", "on_site=yes", *(f"site={site}" for site in SITES)]
        masked = f"site={random.choice(SITES)}"
        rows = []
        for name in (*ASKED, *(f"{name}_difference" for name in ASKED)):
            for part, group in [("validation", "all"), *(("test", group) for group in groups)]:
                value = math.nan if group == masked else float(random.uniform(0.6, 0.9))
                low, high = value - float(random.uniform(0.02, 0.1)), value + float(random.uniform(0.02, 0.1))
                n = 7 if group == masked else int(random.integers(20, 300))
                rows.append({"name": name, "part": part, "subgroup": group, "value": value, "low": low, "high": high})
                rows[-1] |= {"n": n, "n_patients": n, "note": ""}
        shuffled = mix(random, rows)["cases"]
        # differences last: who takes them along overwrites what was asked for
        return {"rows": sorted(shuffled, key=lambda row: row["name"] not in ASKED), "masked": masked}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the learner's table of each estimate."""
        return {name: names["per_site"](given["rows"], name) for name in ASKED}

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the lines of three hospitals, of both estimates."""
        masked = given["masked"].removeprefix("site=")
        keys = set(answer["auroc"]) | set(answer["accuracy"])
        fitting = {(row["name"], row["part"], row["subgroup"]): row for row in given["rows"]}
        shown = [site for site in SITES if site != masked]
        expect.that("a hospital whose value is undefined is left out", masked not in keys, masked, "not there")
        expect.equal("the keys are the hospitals, without 'site='", sorted(keys - {masked}), sorted(shown))
        for name in ASKED:
            for site in shown:
                row = fitting[name, "test", f"site={site}"]
                wanted = [row[key] for key in ("n", "value", "low", "high")]
                expect.equal(f"{site}: n, value, low and high of the {name}", answer[name].get(site), wanted)


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
    "a count that is no whole number stays": {"n_correct": 61.5},
    "a count of five leaves, and one whose rest is five": {"n_disease": 5, "n_correct": 95},
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
        return mix(random, results)

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the keys that the learner refuses, for each result."""
        return [sorted(names["refused"](result)) for result in given["cases"]]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the keys that must not leave, and no other."""
        for name, result, found in zip(LEAVING, unmix(given, given["cases"]), unmix(given, answer), strict=True):
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
