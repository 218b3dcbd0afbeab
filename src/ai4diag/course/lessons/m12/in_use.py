"""What happens after the release: changes and incidents."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ai4diag.course.exercise import Exercise, Expectations
from ai4diag.course.mixing import mix, unmix

CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "a foreseen change that holds is released": ("release", {}),
    "a setting that the plan does not name needs a new assessment": ("new assessment", {"settings": "other"}),
    "a foreseen setting outside of its range needs a new assessment": ("new assessment", {"settings": "outside"}),
    "a good result does not excuse an unforeseen change": ("new assessment", {"settings": "other", "low": 0.05}),
    "one unforeseen change among foreseen ones counts": ("new assessment", {"settings": "both"}),
    "a missed gate is refused": ("refuse", {"low": -0.02}),
    "a difference that may be worse than the margin is refused": ("refuse", {"difference": -0.006}),
    "a slightly worse value within the margin is released": ("release", {"difference": 0.002}),
    "an undefined lower limit is refused": ("refuse", {"low": math.nan}),
    "an undefined difference is refused": ("refuse", {"difference": math.nan}),
    "the ends of a range are foreseen": ("release", {"settings": "ends"}),
}


class Change(Exercise):
    """What the change plan says of a change."""

    id = "m12.change"
    title = "a change within the plan"
    names = ("decide",)
    hints = (
        "First ask whether the change was foreseen: every setting, and within its range. Only then look at results.",
        "Write the condition that must hold, `low >= gate`, and refuse otherwise: a NaN then fails by itself.",
    )
    worked = (
        "Plan: train.epochs 100 to 500, gate 0.83, margin 0.02.\n"
        "Change: train.epochs 400; lower limit 0.85; difference new minus old: -0.005 [-0.03, 0.01].\n"
        "1. Foreseen, and within 100 to 500. 2. 0.85 reaches 0.83.\n"
        "3. The difference may be as bad as -0.03, which is beyond -0.02.\n"
        "Answer: 'refuse'."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return a plan, and changes, one for each statement."""
        gate, margin = round(float(random.uniform(0.75, 0.85)), 3), round(float(random.uniform(0.015, 0.03)), 3)
        plan = {"may_change": {"train.epochs": [100, 500], "model.l2": [1, 100]}, "gate": gate, "margin": margin}
        changes = []
        for _, change in CHANGES.values():
            settings: dict[str, Any] = {"train.epochs": int(random.integers(100, 500)), "model.l2": 10}
            if change.get("settings") == "other":
                settings = {"evaluate.operating_point.threshold": 0.4}
            elif change.get("settings") == "ends":
                settings = {"train.epochs": 500, "model.l2": 1}
            elif change.get("settings") == "outside":
                settings = {"train.epochs": int(random.integers(501, 900))}
            elif change.get("settings") == "both":
                settings["data.drop"] = ["chol"]
            worst = -margin + change.get("difference", 0.012)
            difference = {"value": worst + 0.01, "low": worst, "high": worst + 0.02}
            changes.append({"settings": settings, "low": gate + change.get("low", 0.02), "difference": difference})
        return {"plan": plan, **mix(random, changes)}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the learner's decision on each change."""
        return [names["decide"](change, given["plan"]) for change in given["cases"]]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the plan's decision."""
        for (name, (wanted, _)), found in zip(CHANGES.items(), unmix(given, answer), strict=True):
            expect.equal(name, found, wanted)


MONTHS = ("2027-01", "2027-02", "2027-03", "2027-04", "2027-05", "2027-06", "2027-07", "2027-08")
STORIES = (
    "no alarm while nothing has changed",
    "no alarm because of one unlucky month with two patients",
    "no alarm where nobody was ill",
    "a sudden loss raises the alarm in the month in which it shows",
    "a loss of few patients a month shows in three months together",
    "good months of long ago do not hide a loss",
)


class Incident(Exercise):
    """When does monitoring raise the alarm?"""

    id = "m12.incident"
    title = "notice it, and not too often"
    names = ("first_alarm",)
    hints = (
        "One month has few ill patients. Add up the last three months (fewer at the start), then look at the interval.",
        "For month i take months[max(0, i - 2): i + 1]. Alarm when interval(found, ill)[1] < promised and ill > 0.",
    )
    worked = (
        "promised 0.75. January: 9 of 10 found. February: 4 of 10. March: 3 of 10.\n"
        "1. January: 9/10, upper limit 0.98: no alarm. 2. January and February: 13/20, upper limit 0.82: no alarm.\n"
        "3. All three: 16/30 = 0.53, upper limit 0.70 is below 0.75: alarm.\n"
        "Answer: the month of March."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return months of six stories, and the sensitivity that was promised."""
        ill = [int(value) for value in random.integers(28, 45, len(MONTHS))]
        good, start = [round(n * 0.88) for n in ill], int(random.integers(3, 6))
        stories = [
            list(zip(good, ill, strict=True)),
            [(0, 2) if i == 4 else pair for i, pair in enumerate(zip(good, ill, strict=True))],
            [(0, 0)] * len(MONTHS),
            [(round(n * (0.88 if i < start else 0.3)), n) for i, n in enumerate(ill)],
            [(8, 9) if i < start - 2 else (4, 9) for i in range(len(MONTHS))],
            [(95, 100) if i < start - 1 else (22, 40) for i in range(len(MONTHS))],
        ]
        months = [
            [{"month": month, "found": k, "ill": n} for month, (k, n) in zip(MONTHS, story, strict=True)]
            for story in stories
        ]
        return {**mix(random, months), "promised": 0.74}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the month of the learner's alarm in each story."""
        return [names["first_alarm"](months, given["promised"]) for months in given["cases"]]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the first month whose three months rule the promise out."""
        for name, months, found in zip(STORIES, unmix(given, given["cases"]), unmix(given, answer), strict=True):
            expect.equal(name, found, _first_alarm(months, given["promised"]))


def _first_alarm(months: list[dict[str, Any]], promised: float) -> str | None:
    for last in range(len(months)):
        window = months[max(0, last - 2) : last + 1]
        k, n = (sum(item[key] for item in window) for key in ("found", "ill"))
        if n and _upper(k, n) < promised:
            return str(months[last]["month"])
    return None


def _upper(k: int, n: int) -> float:
    """Return Wilson's upper 95 % limit of k / n."""
    z, p = 1.959963984540054, k / n
    return (p + z * z / (2 * n) + z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))) / (1 + z * z / n)
