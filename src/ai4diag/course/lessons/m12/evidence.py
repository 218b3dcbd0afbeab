"""Intended use, risks, subgroups and claims: what a run supports."""

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
from ai4diag.course.mixing import labels, mix

QUESTIONS = Path(ai4diag.__file__).parent / "packaging" / "evidence" / "documents" / "questions.yaml"
NEEDED = ("target_population", "intended_users", "clinical_context", "setting")
SHORTEST, FEWEST_WORDS = 60, 8
PLACEHOLDER = re.compile(r"\b(todo|tbd|tbc|xxx|lorem|n/?a)\b|\.\.\.", re.IGNORECASE)
EXCLUDES = re.compile(r"\b(not|never|nor|except\w*|exclud\w*)\b", re.IGNORECASE)
OVERCLAIM = re.compile(
    r"complian|conform|certif|\bCE\b|\bMDR\b|approved|guarantee|\bsafe\b|\breplac(e|es|ing)\b|\balways\b", re.IGNORECASE
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
        said = {key: " ".join(text.split()) if isinstance(text, str) else "" for key, text in answer.items()}
        texts = {key: said.get(key, "") for key in NEEDED}
        for key, text in texts.items():
            whole = len(text) >= SHORTEST and len(set(text.lower().split())) >= FEWEST_WORDS
            wanted = f"{SHORTEST} characters or more, {FEWEST_WORDS} different words or more"
            expect.that(f"{key} is answered in a whole sentence", whole, text, wanted)
        same = len(set(texts.values())) == len(texts)
        expect.that("each question has an answer of its own", same, "" if same else "two are the same")
        population = texts["target_population"]
        wanted = "'not', 'never', 'except' or 'excluded'"
        expect.that("target_population says for whom it is not", bool(EXCLUDES.search(population)), population, wanted)
        everything = " | ".join(said.values())
        left = PLACEHOLDER.search(everything)
        expect.that("no placeholder is left", left is None, left[0] if left else "", "without this word")
        promised = _promised(everything)
        expect.that("nothing is promised", not promised, promised, "without this word")


def _promised(text: str) -> str:
    """Return the first word that promises something; "it does not replace the doctor" promises nothing."""
    for found in OVERCLAIM.finditer(text):
        if not re.search(r"\b(not|never|nor)\b(\W+\w+){0,2}\W*$", text[: found.start()], re.IGNORECASE):
            return found[0]
    return ""


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
    "a risk of women is not closed by the estimate of all patients": ("not shown", {"subgroup": "sex=female"}),
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
        risks, hazards = [], labels(random, "Hazard {}", len(RISKS))
        for hazard, (_, change) in zip(hazards, RISKS.values(), strict=True):
            risk: dict[str, Any] = {"hazard": hazard, "measure": "tested apart"}
            risk |= {"evidence": "sensitivity", "subgroup": "all", "at_least": low - 0.02}
            if change == "near":
                risk["at_least"] = low + 0.02
            elif change == "below":
                risk["at_least"] = low + 0.1
            elif isinstance(change, dict):
                risk |= change
            risks.append(risk)
        rows = [rows[i] for i in random.permutation(len(rows))]
        return {"risks": mix(random, risks)["cases"], "rows": rows, "hazards": hazards}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return which risks the learner finds open."""
        return names["open_risks"](given["risks"], given["rows"])

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the first gap of each risk."""
        for (name, (gap, _)), hazard in zip(RISKS.items(), given["hazards"], strict=True):
            expect.equal(name, answer.get(hazard, ""), gap)


LINES: dict[str, tuple[str, Any]] = {
    "a line with n, value and interval has no fault": ("", {}),
    "a group of the data that is not in the report is missing": ("missing", None),
    "a line without n has no n": ("no n", {"n": None}),
    "an n that is not that of the data is none": ("no n", {"n": 9999}),
    "a value without an interval has no interval": ("no interval", {"low": None, "high": None}),
    "half an interval is none": ("no interval", {"high": None}),
    "the other half is none, either": ("no interval", {"low": None}),
    "an interval above its value is none": ("no interval", {"low": 0.95, "high": 0.99}),
    "an interval below its value is none": ("no interval", {"low": 0.1, "high": 0.2}),
    "many patients and no value is a group that somebody hides": (
        "no value",
        {"value": None, "low": None, "high": None},
    ),
    "a value of fewer than ten patients is of too few": ("too few", {"n": 6}),
    "a masked line of few patients has no fault": ("", {"n": 6, "value": None, "low": None, "high": None}),
}


class Subgroups(Exercise):
    """Is a report by subgroup complete?"""

    id = "m12.subgroups"
    title = "each group with n and interval"
    names = ("faults",)
    hints = (
        "Go through the groups of the data, not through the lines of the report: who is missing has no line.",
        "In this order: missing, no n; under 10 patients: too few, if a value stands; else: no value, no interval.",
    )
    worked = (
        "groups = {'women': 56, 'men': 198, 'over 80': 6}. The report has\n"
        "women: n 56, value 0.83, low 0.67, high 0.95; over 80: n 6, value 0.90, low 0.5, high 1.0.\n"
        "1. women: n agrees, 10 or more, 0.67 <= 0.83 <= 0.95: no fault.\n"
        "2. men: no line: 'missing'. 3. over 80: n agrees, but a value stands on 6 patients: 'too few'.\n"
        "Answer: {'men': 'missing', 'over 80': 'too few'}."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return groups of the data and a report, one group for each statement."""
        bands, sizes, report = labels(random, "band={}", len(LINES)), {}, []
        for group, (_, change) in zip(bands, LINES.values(), strict=True):
            n = int(random.integers(30, 200))
            sizes[group] = 6 if change is not None and change.get("n") == 6 else n
            value = round(float(random.uniform(0.6, 0.85)), 3)
            line = {"group": group, "n": n, "value": value, "low": value - 0.08, "high": value + 0.08}
            report += [] if change is None else [line | change]
        groups = {str(group): sizes[str(group)] for group in random.permutation(bands)}
        return {"report": mix(random, report)["cases"], "groups": groups, "bands": bands}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the faults that the learner finds."""
        return names["faults"](given["report"], given["groups"])

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the fault of each group."""
        for (name, (fault, _)), group in zip(LINES.items(), given["bands"], strict=True):
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
        claims, texts = [], labels(random, "Claim {}", len(CLAIMS))
        for text, (_, change) in zip(texts, CLAIMS.values(), strict=True):
            claim: dict[str, Any] = {"text": text, "run": first, "estimate": "auroc"}
            claim |= {"subgroup": "all", "at_least": low - 0.01}
            if change == "near":
                claim["at_least"] = low + 0.02
            elif change == "other":
                claim |= {"run": second, "at_least": low + 0.05}
            elif isinstance(change, dict):
                claim |= change
            claims.append(claim)
        runs = {first: mix(random, rows)["cases"], second: [_row("auroc", "all", low + 0.08)]}
        return {"claims": mix(random, claims)["cases"], "runs": runs, "texts": texts}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the texts of the claims that the learner flags."""
        return list(names["unsupported"](given["claims"], given["runs"]))

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the unsupported claims, and no other."""
        for (name, (supported, _)), text in zip(CLAIMS.items(), given["texts"], strict=True):
            flagged = text in answer
            expect.that(name, flagged != supported, "flagged" if flagged else "not flagged")
