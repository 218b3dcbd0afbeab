"""Intervals from counts, hospitals at one prevalence, learning from sums."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ai4diag.course.exercise import Exercise, Expectations
from ai4diag.course.mixing import mix, unmix


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
        cases = [[int(n * random.uniform(0.6, 0.9)), n], [small - 1, small], [small, small], [0, n], [0, 0]]
        return mix(random, cases)

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the learner's limits for each pair of counts."""
        return [list(names["interval"](k, n)) for k, n in given["cases"]]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect Wilson's limits."""
        labels = ("many patients", "few patients: nearly all right", "all right: still a width", "none right", "nobody")
        for label, (k, n), found in zip(labels, unmix(given, given["cases"]), unmix(given, answer), strict=True):
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
        """Return counts of two hospitals, without healthy, without ill patients, and where nobody was called ill."""

        def counts(ill: int, healthy: int) -> dict[str, int]:
            tp, tn = int(ill * random.uniform(0.6, 0.95)), int(healthy * random.uniform(0.6, 0.95))
            return {"tp": tp, "fn": ill - tp, "tn": tn, "fp": healthy - tn}

        sizes = [int(value) for value in random.integers(15, 80, 4)]
        nobody = {"tp": 0, "fn": sizes[0], "tn": sizes[1], "fp": 0}
        return {
            "prevalence": round(float(random.uniform(0.2, 0.7)), 3),
            **mix(
                random,
                [
                    counts(sizes[0], sizes[1]),
                    counts(sizes[2] * 6, sizes[3]),
                    counts(sizes[0], 0),
                    counts(0, sizes[1]),
                    nobody,
                ],
            ),
        }

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the learner's accuracy and PPV for each hospital."""
        return [list(names["at_prevalence"](counts, given["prevalence"])) for counts in given["cases"]]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect each hospital's rates, mixed at the given prevalence, counted out of a million patients."""
        labels = ("a mixed hospital", "a hospital of mostly ill patients")
        *mixed, no_healthy, no_ill, nobody_called = unmix(given, answer)
        for label, counts, found in zip(labels, unmix(given, given["cases"]), mixed, strict=False):
            ill = 1e6 * given["prevalence"]
            right = ill * counts["tp"] / (counts["tp"] + counts["fn"])
            spared = (1e6 - ill) * counts["tn"] / (counts["tn"] + counts["fp"])
            alarms = right + (1e6 - ill - spared)
            expect.close(f"{label}: accuracy at the common prevalence", found[0], (right + spared) / 1e6)
            expect.close(f"{label}: PPV at the common prevalence", found[1], right / alarms)
        for who, pair in (("healthy", no_healthy), ("ill", no_ill)):
            for what, value in zip(("accuracy", "PPV"), pair, strict=True):
                expect.close(f"without {who} patients the {what} elsewhere is undefined", value, math.nan)
        expect.close("where nobody is called ill, the healthy are right", nobody_called[0], 1 - given["prevalence"])
        expect.close("where nobody is called ill the PPV is undefined", nobody_called[1], math.nan)


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
