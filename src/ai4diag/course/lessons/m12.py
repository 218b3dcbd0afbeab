"""Checks of lesson 12: evidence for the regulator."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import ai4diag
from ai4diag.config.base import read_yaml
from ai4diag.course.exercise import Exercise, Expectations
from ai4diag.course.quiz import Question, Quiz

QUESTIONS = Path(ai4diag.__file__).parent / "packaging" / "evidence" / "documents" / "questions.yaml"
NEEDED = ("target_population", "intended_users", "clinical_context", "setting")
SHORTEST = 60
PLACEHOLDER = re.compile(r"\b(todo|tbd|tbc|xxx|lorem|n/?a)\b|\.\.\.", re.IGNORECASE)
OVERCLAIM = re.compile(
    r"complian|conform|certif|\bCE\b|\bMDR\b|approved|guarantee|\bsafe\b|\breplaces?\b|\balways\b", re.IGNORECASE
)


class Answers(Exercise):
    """What only people can say."""

    id = "m12.answers"
    title = "the intended use, in answers"
    names = ("answers",)
    hints = (
        "Answer for somebody who was not there: who uses it, on whom and on whom not, where, and instead of what.",
        "The keys must be those of to-supply.yaml. Write whole sentences. Say what is the case, not what you hope for.",
    )
    worked = (
        "For a model that reads X-rays of the wrist, 'intended_users' may be answered so:\n\n"
        "    'Doctors of an emergency department who read X-rays alone at night, after an hour of training.'\n\n"
        "It says who, when, and what they must know. 'Doctors' would not; 'a certified aid' claims what no run "
        "can show."
    )

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the answers."""
        return names["answers"]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect whole answers to questions that are asked, and no claim that nobody can check."""
        unknown = sorted(set(answer) - set(read_yaml(QUESTIONS)))
        expect.that("every key is one that a pack asks for", not unknown, unknown or "", "keys of to-supply.yaml")
        texts = {key: " ".join(str(answer.get(key, "")).split()) for key in NEEDED}
        for key, text in texts.items():
            short = len(text) < SHORTEST
            expect.that(f"{key} is answered in a whole sentence", not short, text, f"{SHORTEST} characters or more")
        same = len(set(texts.values())) == len(texts)
        expect.that("each question has an answer of its own", same, "" if same else "two are the same")
        excludes = bool(re.search(r"\bnot\b", texts["target_population"]))
        expect.that("target_population says for whom it is not", excludes, texts["target_population"], "a 'not'")
        everything = " ".join(map(str, answer.values()))
        for name, pattern in (("no placeholder is left", PLACEHOLDER), ("nothing is promised", OVERCLAIM)):
            found = pattern.search(everything)
            expect.that(name, found is None, found[0] if found else "", "without this word")


def _row(name: str, subgroup: str, low: float, part: str = "test", n: int = 120) -> dict[str, Any]:
    value, high = low + 0.04, low + 0.08
    return {"name": name, "part": part, "subgroup": subgroup, "value": value, "low": low, "high": high, "n": n}


RISKS: dict[str, tuple[str, Any]] = {
    "a risk with a measure and evidence is closed": ("", None),
    "a risk without a measure is open": ("no measure", {"measure": ""}),
    "a measure of blanks is no measure": ("no measure", {"measure": "   "}),
    "a measure that points to nothing has no evidence": ("no evidence", {"evidence": None}),
    "a pointer to an estimate that the run has not is no evidence": ("no evidence", {"evidence": "dice"}),
    "an estimate of the validation part is no evidence": ("no evidence", {"evidence": "npv"}),
    "an undefined estimate is no evidence": ("no evidence", {"evidence": "auroc", "subgroup": "site=switzerland"}),
    "a value above the limit is not enough: the lower limit counts": ("not shown", "near"),
    "an estimate below the limit does not show it": ("not shown", "below"),
    "without a measure, evidence does not help": ("no measure", {"measure": "", "evidence": None}),
}


class Trace(Exercise):
    """From risk to measure to evidence."""

    id = "m12.trace"
    title = "the risk trace has no gap"
    names = ("open_risks",)
    hints = (
        "Follow each risk: a measure? then an estimate? then: is its lower limit high enough? Stop at the first gap.",
        "Look for rows with the name, the subgroup and part 'test'. No row, or math.isnan(row['low']): no evidence.",
    )
    worked = (
        "Risk 'missed in women': measure 'tested apart', evidence 'sensitivity' in 'sex=female', at_least 0.70.\n"
        "1. There is a measure. 2. The run has sensitivity / test / sex=female: 0.78 [0.61, 0.90].\n"
        "3. The lower limit, 0.61, is below 0.70: 'not shown', although the value, 0.78, is above.\n"
        "Answer: {'missed in women': 'not shown'}."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return risks, one for each statement, and the rows of a run."""
        low = round(float(random.uniform(0.6, 0.8)), 3)
        rows = [
            _row("sensitivity", "all", low),
            _row("sensitivity", "sex=female", low - 0.1),
            _row("auroc", "all", 0.8),
        ]
        rows += [_row("npv", "all", 0.9, "validation"), _row("auroc", "site=switzerland", math.nan, n=7)]
        risks = []
        for number, (_, change) in enumerate(RISKS.values()):
            risk: dict[str, Any] = {"hazard": f"H{random.integers(100, 1000)}-{number}", "measure": "tested apart"}
            risk |= {"evidence": "sensitivity", "subgroup": "all", "at_least": low - 0.02}
            if change == "near":
                risk["at_least"] = low + 0.02
            elif change == "below":
                risk |= {"subgroup": "sex=female", "at_least": low + 0.05}
            elif isinstance(change, dict):
                risk |= change
            risks.append(risk)
        return {"risks": risks, "rows": [rows[i] for i in random.permutation(len(rows))]}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return which risks the learner finds open."""
        return names["open_risks"](given["risks"], given["rows"])

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the first gap of each risk."""
        for (name, (gap, _)), risk in zip(RISKS.items(), given["risks"], strict=True):
            expect.equal(name, answer.get(risk["hazard"], ""), gap)


LINES: dict[str, tuple[str, Any]] = {
    "a line with n, value and interval has no fault": ("", {}),
    "a group of the data that is not in the report is missing": ("missing", None),
    "a line without n has no n": ("no n", {"n": None}),
    "an n that is not that of the data is none": ("no n", {"n": 9999}),
    "a value without an interval has no interval": ("no interval", {"low": None, "high": None}),
    "half an interval is none": ("no interval", {"high": None}),
    "an interval that does not hold its value is none": ("no interval", {"low": 0.95, "high": 0.99}),
    "a value of fewer than ten patients is of too few": ("too few", {"n": 6}),
    "a masked line of few patients has no fault": ("", {"n": 6, "value": None, "low": None, "high": None}),
}
FEW = (7, 8)
"""Lines of groups with six patients."""


class Subgroups(Exercise):
    """Is a report by subgroup complete?"""

    id = "m12.subgroups"
    title = "each group with n and interval"
    names = ("faults",)
    hints = (
        "Go through the groups of the data, not through the lines of the report: who is missing has no line.",
        "In this order: missing, no n, then (where a value stands) too few, no interval. low <= value <= high.",
    )
    worked = (
        "groups = {'women': 56, 'men': 198, 'over 80': 4}. The report has\n"
        "women: n 56, value 0.83, low 0.67, high 0.95; over 80: n 4, value 0.90, low 0.5, high 1.0.\n"
        "1. women: n agrees, 10 or more, 0.67 <= 0.83 <= 0.95: no fault.\n"
        "2. men: no line: 'missing'. 3. over 80: n agrees, but a value stands on 4 patients: 'too few'.\n"
        "Answer: {'men': 'missing', 'over 80': 'too few'}."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return groups of the data and a report, one group for each statement."""
        groups, report = {}, []
        for number, (_, change) in enumerate(LINES.values()):
            group, n = f"band={random.integers(10, 100)}-{number}", int(random.integers(30, 200))
            groups[group] = 6 if number in FEW else n
            value = round(float(random.uniform(0.6, 0.85)), 3)
            line = {"group": group, "n": n, "value": value, "low": value - 0.08, "high": value + 0.08}
            report += [] if change is None else [line | change]
        return {"report": [report[i] for i in random.permutation(len(report))], "groups": groups}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the faults that the learner finds."""
        return names["faults"](given["report"], given["groups"])

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the fault of each group."""
        for (name, (fault, _)), group in zip(LINES.items(), given["groups"], strict=True):
            expect.equal(name, answer.get(group, ""), fault)


CLAIMS: dict[str, tuple[bool, Any]] = {
    "a claim whose lower limit reaches what is claimed is supported": (True, {}),
    "a claim without a run is unsupported": (False, {"run": ""}),
    "a claim that links to a run that is not there is unsupported": (False, {"run": "ffff0000"}),
    "a claim about an estimate that the run has not is unsupported": (False, {"estimate": "f2"}),
    "a claim about women is not supported by all patients": (False, {"subgroup": "sex=female"}),
    "a claim is not supported by the validation part": (False, {"estimate": "npv"}),
    "a claim that only the value reaches is unsupported": (False, "near"),
    "a claim on an undefined estimate is unsupported": (False, {"subgroup": "site=switzerland"}),
    "a claim about another run is judged by that run": (True, "other"),
}


class Claims(Exercise):
    """Which claims no run supports."""

    id = "m12.claims"
    title = "no claim without a run"
    names = ("unsupported",)
    hints = (
        "For each claim look for one row: in its run, of its estimate, its subgroup, and of the part test.",
        "`runs.get(claim['run'], [])` gives no rows where there is no such run. Compare row['low'], not row['value'].",
    )
    worked = (
        "'AUROC at least 0.85 in men' links to run 4358: its row auroc/test/sex=male is 0.88 [0.83, 0.93].\n"
        "1. The run is there. 2. The row is there. 3. low is 0.83, claimed is 0.85.\n"
        "Unsupported, although 0.88 is above. 'AUROC at least 0.80 in men' would be supported."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return claims, one for each statement, and the rows of two runs."""
        first, second = (f"{random.integers(2**28):08x}" for _ in range(2))
        low = round(float(random.uniform(0.6, 0.8)), 3)
        rows = [
            _row("auroc", "all", low),
            _row("auroc", "sex=female", low - 0.1),
            _row("npv", "all", 0.95, "validation"),
        ]
        rows += [_row("auroc", "site=switzerland", math.nan, n=7), _row("auroc", "all", 0.95, "validation")]
        claims = []
        for number, (_, change) in enumerate(CLAIMS.values()):
            claim: dict[str, Any] = {
                "text": f"Claim {random.integers(100, 1000)}-{number}",
                "run": first,
                "estimate": "auroc",
            }
            claim |= {"subgroup": "all", "at_least": low - 0.01}
            if change == "near":
                claim["at_least"] = low + 0.02
            elif change == "other":
                claim |= {"run": second, "at_least": low + 0.05}
            elif isinstance(change, dict):
                claim |= change
            claims.append(claim)
        return {"claims": claims, "runs": {first: rows, second: [_row("auroc", "all", low + 0.08)]}}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the texts of the claims that the learner flags."""
        return list(names["unsupported"](given["claims"], given["runs"]))

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the unsupported claims, and no other."""
        for (name, (supported, _)), claim in zip(CLAIMS.items(), given["claims"], strict=True):
            flagged = claim["text"] in answer
            expect.that(name, flagged != supported, "flagged" if flagged else "not flagged")


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
            elif change.get("settings") == "outside":
                settings = {"train.epochs": int(random.integers(501, 900))}
            elif change.get("settings") == "both":
                settings["data.drop"] = ["chol"]
            worst = -margin + change.get("difference", 0.012)
            difference = {"value": worst + 0.01, "low": worst, "high": worst + 0.02}
            changes.append({"settings": settings, "low": gate + change.get("low", 0.02), "difference": difference})
        return {"plan": plan, "changes": changes}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the learner's decision on each change."""
        return [names["decide"](change, given["plan"]) for change in given["changes"]]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the plan's decision."""
        for (name, (wanted, _)), found in zip(CHANGES.items(), answer, strict=True):
            expect.equal(name, found, wanted)


MONTHS = ("2027-01", "2027-02", "2027-03", "2027-04", "2027-05", "2027-06", "2027-07", "2027-08")
STORIES = {
    "no alarm while nothing has changed": None,
    "no alarm because of one unlucky month with two patients": None,
    "no alarm where nobody was ill": None,
    "a sudden loss raises the alarm in the month in which it shows": "sudden",
    "a loss of few patients a month shows in three months together": "slow",
}


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
        """Return months of five stories, and the sensitivity that was promised."""
        ill = [int(value) for value in random.integers(28, 45, len(MONTHS))]
        good, start = [round(n * 0.88) for n in ill], int(random.integers(3, 6))
        stories = [
            list(zip(good, ill, strict=True)),
            [(0, 2) if i == 4 else pair for i, pair in enumerate(zip(good, ill, strict=True))],
            [(0, 0)] * len(MONTHS),
            [(round(n * (0.88 if i < start else 0.3)), n) for i, n in enumerate(ill)],
            [(8, 9) if i < start - 2 else (4, 9) for i in range(len(MONTHS))],
        ]
        months = [
            [{"month": month, "found": k, "ill": n} for month, (k, n) in zip(MONTHS, story, strict=True)]
            for story in stories
        ]
        return {"stories": months, "promised": 0.74}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the month of the learner's alarm in each story."""
        return [names["first_alarm"](months, given["promised"]) for months in given["stories"]]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the first month whose three months rule the promise out."""
        for name, months, found in zip(STORIES, given["stories"], answer, strict=True):
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


EXERCISES = (
    Answers(),
    Trace(),
    Subgroups(),
    Claims(),
    Change(),
    Incident(),
    Quiz(
        "m12",
        Question(
            "An evidence pack holds, is signed, and every number regenerates. What may you say of the product?",
            ("it meets the AI Act", "these numbers follow from these predictions", "it may be used on patients"),
            "b",
            "A pack is evidence. It is no approval, and no proof that a law or a guideline is met.",
        ),
        Question(
            "The brochure says 'sensitivity 0.81'. The run has 0.81 [0.74, 0.87]. What does the run support?",
            ("at least 0.81", "at least 0.87", "at least 0.74, in patients like these", "exactly 0.81"),
            "c",
            "The lower limit is what the data support; and only for patients like those of the test part.",
        ),
        Question(
            "Nobody knows yet who will use the product. What do you write under intended_users?",
            ("nothing: the question stays open", "'health professionals'", "what a competitor wrote"),
            "a",
            "An open question is marked as open. An invented answer is signed by whoever signs the pack.",
        ),
        Question(
            "A model with another threshold has a better AUROC and the plan does not foresee other thresholds.",
            (
                "release it, it is better",
                "release it and tell later",
                "refuse it for ever",
                "it needs a new assessment",
            ),
            "d",
            "What was not foreseen is not covered by the plan, however good the result.",
        ),
        Question(
            "Monitoring raises the alarm on a Friday at five. What comes first?",
            ("retrain on the new cases", "take it out of use, and write down why", "wait for more data"),
            "b",
            "First patients, then causes: `ai4diag demote` takes the alias away and keeps the reason.",
        ),
    ),
)
