"""Checks of lesson 4: rates, worth of an alarm, interval of patients, Dice, what a report does not show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ai4diag.course.exercise import Exercise, Expectations
from ai4diag.course.quiz import Question, Quiz

RESAMPLES = 8000
"""With which the reference interval is made."""
TOLERANCE = 0.25
"""How far a limit may be from the reference's, in standard deviations of the resampled share: with 2,000 resamples the
2.5th percentile scatters by 0.06 of them; an interval of 90 % is 0.31 away."""


class Rates(Exercise):
    """Sensitivity and specificity at a threshold."""

    id = "m04.rates"
    title = "found and cleared"
    names = ("rates",)
    hints = (
        "Each of the two looks at one row of the table: keep the ill, then ask what share of these is called ill.",
        "`yes = np.asarray(score) >= threshold`, then `(truth & yes).sum() / truth.sum()`; first ask `truth.any()`.",
    )
    worked = (
        "Truth 1 1 0 0 0, scores 0.9 0.5 0.5 0.2 0.1, threshold 0.5. Yes: the first three. Ill are two, both found: "
        "sensitivity 1. Well are three, two of them are cleared: specificity 0.667. With truth 0 0 0 0 0 nobody is "
        "ill: the sensitivity is NaN."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return patients with scores in steps of 0.1, so that some are on the threshold; and one-sided groups."""
        truth = (random.random(40) < 0.3).astype(int)
        truth[:2] = 0, 1
        score = np.clip(random.normal(0.35 + 0.2 * truth, 0.2), 0, 1).round(1)
        score[:2] = 0.4
        case = {"truth": truth.tolist(), "score": score.tolist()}
        return {
            "threshold": 0.4,
            "both": case,
            "well": case | {"truth": [0] * len(truth)},
            "ill": case | {"truth": [1] * len(truth)},
        }

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the two rates of each group."""
        groups = {
            kind: [np.array(given[kind][name]) for name in ("truth", "score")] for kind in ("both", "well", "ill")
        }
        return {kind: names["rates"](*group, given["threshold"]) for kind, group in groups.items()}

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect shares of the ill and of the well, NaN where there are none."""
        pairs = list(zip(given["both"]["truth"], given["both"]["score"], strict=True))
        yes_of_ill = [score >= given["threshold"] for truth, score in pairs if truth == 1]
        no_of_well = [score < given["threshold"] for truth, score in pairs if truth == 0]
        expect.close("the sensitivity is the share of the ill that is found", answer["both"][0], _mean(yes_of_ill))
        expect.close("the specificity is the share of the well that is cleared", answer["both"][1], _mean(no_of_well))
        share = _mean([score >= given["threshold"] for _, score in pairs])
        expect.close("where nobody is ill, the sensitivity is NaN (undefined)", answer["well"][0], math.nan)
        expect.close("where nobody is ill, the specificity is still there", answer["well"][1], 1 - share)
        expect.close("where nobody is well, the specificity is NaN (undefined)", answer["ill"][1], math.nan)
        expect.close("where nobody is well, the sensitivity is still there", answer["ill"][0], share)


class Worth(Exercise):
    """PPV at a prevalence."""

    id = "m04.ppv"
    title = "the worth of an alarm"
    names = ("ppv",)
    hints = (
        "Take one person. How likely is the person ill and found? How likely well and alarmed all the same?",
        "`right = sensitivity * prevalence`, `wrong = (1 - specificity) * (1 - prevalence)`; right / (right + wrong).",
    )
    worked = (
        "Sensitivity 0.9, specificity 0.8, prevalence 0.01. Of 1,000 people 10 are ill, 9 are found. Of the 990 "
        "well, 198 are alarmed. 9 of 207 alarms are right: 0.043. With 1 instead of 1,000 people: 0.009 / (0.009 + "
        "0.198)."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return tests and two prevalences for each."""
        sensitivity = random.uniform(0.6, 0.95, 3).round(3)
        specificity = random.uniform(0.6, 0.95, 3).round(3)
        rare = random.uniform(0.005, 0.05, 3).round(4)
        often = random.uniform(0.3, 0.7, 3).round(3)
        return {"tests": np.column_stack([sensitivity, specificity, rare, often]).tolist()}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the PPV of each test at its prevalences, and at the ends."""
        rule = names["ppv"]
        sensitivity, specificity, _, _ = given["tests"][0]
        return {
            "rare": [rule(se, sp, rare) for se, sp, rare, _ in given["tests"]],
            "often": [rule(se, sp, often) for se, sp, _, often in given["tests"]],
            "nobody": rule(sensitivity, specificity, 0.0),
            "everybody": rule(sensitivity, specificity, 1.0),
            "silent": _tried(rule, 0.0, 1.0, 0.2),
        }

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect Bayes' theorem."""
        rare, often = answer["rare"], answer["often"]
        rarer_is_less = all(low < high for low, high in zip(rare, often, strict=True))
        expect.that("the rarer the disease, the fewer alarms are right", rarer_is_less, f"{rare[0]} and {often[0]}")
        for (se, sp, share, _), found in zip(given["tests"], rare, strict=True):
            expect.close(f"sensitivity {se}, specificity {sp}, {share:.2%} ill", found, _bayes(se, sp, share))
        se, sp, _, share = given["tests"][0]
        expect.close(f"sensitivity {se}, specificity {sp}, {share:.1%} ill", often[0], _bayes(se, sp, share))
        expect.close("where nobody is ill, no alarm is right: 0", answer["nobody"], 0.0)
        expect.close("where everybody is ill, every alarm is right: 1", answer["everybody"], 1.0)
        expect.close("without any alarm it is NaN (undefined)", answer["silent"], math.nan)


class PatientInterval(Exercise):
    """A 95 % bootstrap interval that draws whole patients."""

    id = "m04.interval"
    title = "draw patients"
    names = ("patient_interval",)
    hints = (
        "What is drawn is a list of patients, as long as the number of patients. Their cases come along, all of them.",
        "Sum up `right` and `cases` per patient; `drawn = rng.integers(0, n, (2000, n))`; then "
        "`right[drawn].sum(axis=1) / cases[drawn].sum(axis=1)` are 2,000 shares for `np.percentile`.",
    )
    worked = (
        "Three patients: A has 2 cases, both right; B has 1, wrong; C has 3, all right. A draw gives B, C, C: 0 + 3 "
        "+ 3 = 6 right of 1 + 3 + 3 = 7 cases, a share of 0.857. Another draw gives A, B, B: 2 of 4, 0.5. Two "
        "thousand such shares, sorted: the 50th is the lower limit, the 1,950th the upper one."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return cases of 40 patients; those with many cases are harder, so that a mean of patients' shares is off."""
        while True:
            cases = _cases(random)
            own = [[right for who, right in cases if who == patient] for patient in {who for who, _ in cases}]
            if abs(_mean([_mean(rights) for rights in own]) - _mean([right for _, right in cases])) > 0.07:
                break
        order = random.permutation(len(cases))
        return {"patient": [cases[place][0] for place in order], "correct": [cases[place][1] for place in order]}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the limits."""
        return names["patient_interval"](np.array(given["patient"]), np.array(given["correct"]))

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the limits of a reference, made by weights instead of by drawing lists."""
        low, high = answer
        ordered = 0 <= low < high <= 1
        if not expect.that("it gives two limits from 0 to 1, the lower one first", ordered, f"{low}, {high}"):
            return
        correct = np.array(given["correct"], float)
        people = np.unique(given["patient"], return_inverse=True)[1]
        shares = _resampled(people, correct)
        narrow = _width(_resampled(np.arange(len(correct)), correct))
        expect.that(
            "it is wide enough for whole patients: drawing single cases gives a narrower one",
            high - low > (narrow + _width(shares)) / 2,
            f"{high - low:.3f} wide",
            f"about {_width(shares):.3f}; single cases give about {narrow:.3f}",
        )
        slack = TOLERANCE * float(shares.std())
        for name, found, percent in (("lower", low, 2.5), ("upper", high, 97.5)):
            statement = f"the {name} limit is the {percent}th percentile of the share over all cases that came"
            expect.close(statement, found, float(np.percentile(shares, percent)), slack)


class Dice(Exercise):
    """Dice, and its mean, with empty masks."""

    id = "m04.dice"
    title = "Dice, empty masks included"
    names = ("dice", "mean_dice")
    hints = (
        "Twice the overlap over the sum of both areas. What is that sum when both are empty, and what follows?",
        "`total = truth.sum() + predicted.sum()`; return `math.nan` when it is 0; in `mean_dice` keep the values "
        "that are not NaN (`math.isnan`) and count the others.",
    )
    worked = (
        "Truth 1 1 0 0, prediction 0 1 1 0: the overlap is 1, the areas are 2 and 2, Dice is 2 x 1 / 4 = 0.5. Truth "
        "and prediction 0 0 0 0: 0 / 0, undefined. The mean over both pairs is 0.5, and one is undefined: (0.5, 1)."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return pairs of masks: overlapping, equal, apart, one of them empty, both empty."""
        truth = (random.random((6, 7)) < 0.4).astype(int)
        truth[0, :3] = 1
        predicted = np.where(random.random((6, 7)) < 0.25, 1 - truth, truth)
        predicted[0, :3] = 1, 1, 0
        empty = np.zeros_like(truth)
        pairs = {
            "overlap": (truth, predicted),
            "equal": (truth, truth),
            "apart": (truth, 1 - truth),
            "missed": (truth, empty),
            "invented": (empty, predicted),
            "empty": (empty, empty),
        }
        return {name: [first.tolist(), second.tolist()] for name, (first, second) in pairs.items()}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return Dice of each pair, and the mean over all, over the empty ones."""
        pairs = {name: tuple(np.array(mask) for mask in pair) for name, pair in given.items()}
        return {
            "single": {name: _tried(names["dice"], *pair) for name, pair in pairs.items()},
            "bool": names["dice"](*(mask.astype(bool) for mask in pairs["overlap"])),
            "mean": names["mean_dice"]([*pairs.values(), pairs["empty"]]),
            "none": names["mean_dice"]([pairs["empty"]]),
        }

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect Dice by counting, undefined where both are empty."""
        single = answer["single"]
        overlap = _dice(*given["overlap"])
        expect.close("it is twice the overlap over the sum of both areas", single["overlap"], overlap)
        expect.close("equal masks: 1", single["equal"], 1.0)
        expect.close("masks that do not meet: 0", single["apart"], 0.0)
        expect.close("an area that is missed altogether: 0, not undefined", single["missed"], 0.0)
        expect.close("an area that is invented: 0, not undefined", single["invented"], 0.0)
        expect.close("two empty masks: NaN (undefined), neither 1 nor 0", single["empty"], math.nan)
        expect.close("masks of True and False count as well", answer["bool"], overlap)
        mean, undefined = answer["mean"]
        expect.close("the mean leaves out what is undefined", mean, (overlap + 1) / 5)
        expect.equal("what is undefined is counted", undefined, 2)
        expect.close("the mean of nothing defined is NaN", answer["none"][0], math.nan)


class Sceptic(Exercise):
    """What a report says by hospital, and what it does not show."""

    id = "m04.report"
    title = "what the report does not show"
    names = ("reading", "not_shown", "run")
    hints = (
        "`sites` has the AUROC by hospital; `test.groupby('site')` counts the well; 'Subgroups' has the women. For "
        "`not_shown` look at the lower limit alone.",
        "`[row['subgroup'] for row in rows if not row['low'] > 0.5]` keeps NaN too, as no comparison with NaN is "
        "True; then `sorted`. Missed of 100 are `round(100 * (1 - sensitivity))`.",
    )
    worked = (
        "North: 0.82 (0.61 to 0.95); South: 0.90 (0.48 to 1.00); West: 0.75 without an interval. North is shown to "
        "be better than chance. South is not, 0.48 is below 0.5, although 0.90 is the best value. West is not. The "
        "answer is ['South', 'West']."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return subgroups: shown, with a high value but not shown, without an interval, ending at 0.5."""
        width = random.uniform(0.05, 0.1, 6)
        rows = [
            ("site=north", 0.75, 0.75 - width[0], 0.8),
            ("site=south", 0.9, 0.5 - width[1], 1.0),
            ("site=west", 0.95, math.nan, math.nan),
            ("sex=female", 0.62, 0.5 + width[2], 0.7),
            ("sex=male", 0.7, 0.5, 0.85),
            ("age=old", 0.45, 0.45 - width[3], 0.55),
        ]
        keys = ("subgroup", "value", "low", "high")
        return {"rows": [dict(zip(keys, rows[place], strict=True)) for place in random.permutation(len(rows))]}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the reading, the function's answers, and what the run says."""
        run = names["run"]
        table = run.table()
        auroc = table[(table["name"] == "auroc") & table["subgroup"].str.startswith("site=")]
        women = table[(table["name"] == "sensitivity") & (table["subgroup"] == "sex=female")]
        return {
            "reading": dict(names["reading"]),
            "found": names["not_shown"](given["rows"]),
            "none": names["not_shown"]([]),
            "sites": auroc[["subgroup", "value", "low"]].to_numpy().tolist(),
            "women": float(women["value"].iloc[0]),
            "patients": run.predictions.query("part == 'test'")[["site", "truth"]].to_numpy().tolist(),
        }

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect what the run's estimates and predictions say."""
        reading = answer["reading"]
        weakest = min(answer["sites"], key=lambda row: row[1])
        expect.equal("'weakest' has the lowest AUROC", reading.get("weakest"), weakest[0].removeprefix("site="))
        expect.close("'weakest_low' is its lower limit", reading.get("weakest_low"), weakest[2], 6e-4)
        healthy = sum(truth == 0 for site, truth in answer["patients"] if site == "switzerland")
        expect.equal("'healthy_in_switzerland' counts patients", reading.get("healthy_in_switzerland"), healthy)
        missed = round(100 * (1 - answer["women"]))
        expect.equal("'missed_women' is of 100 ill women, the missed ones", reading.get("missed_women"), missed)
        found, rows = answer["found"], {row["subgroup"]: row for row in given["rows"]}
        wanted = sorted(name for name, row in rows.items() if math.isnan(row["low"]) or row["low"] <= 0.5)
        expect.that("a high value with a lower limit below 0.5 is not shown", "site=south" in found)
        expect.that("a value without an interval is not shown", "site=west" in found)
        expect.that("a low value whose interval lies above 0.5 is shown", "sex=female" not in found)
        expect.that("a limit of exactly 0.5 does not lie above 0.5", "sex=male" in found)
        expect.equal("`not_shown` returns these subgroups, sorted", found, wanted)
        expect.equal("no subgroups: an empty list", answer["none"], [])


def _tried(rule: Any, *given: Any) -> Any:
    """Return an answer, or the name of the error where the learner divided by zero, so that all else is judged."""
    try:
        return rule(*given)
    except ZeroDivisionError as error:
        return type(error).__name__


def _cases(random: np.random.Generator) -> list[tuple[str, int]]:
    """Draw cases of 40 patients, each with whether it is right; most patients are all right or all wrong."""
    cases = []
    for number in range(40):
        size = int(random.choice([1, 2, 3, 6, 9]))
        chance = random.beta(0.5, 0.3 if size < 6 else 0.5)
        cases += [(f"p{number:02}", int(right)) for right in random.random(size) < chance]
    return cases


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _bayes(sensitivity: float, specificity: float, prevalence: float) -> float:
    odds = prevalence / (1 - prevalence) * sensitivity / (1 - specificity)
    return odds / (1 + odds)


def _resampled(unit: np.ndarray[Any, Any], correct: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return shares of cases that are right, in resamples of whole units."""
    n_units = int(unit.max()) + 1
    right, cases = np.bincount(unit, weights=correct), np.bincount(unit)
    weights = np.random.default_rng(0).multinomial(n_units, np.full(n_units, 1 / n_units), RESAMPLES)
    shares: np.ndarray[Any, Any] = (weights @ right) / (weights @ cases)
    return shares


def _width(shares: np.ndarray[Any, Any]) -> float:
    return float(np.percentile(shares, 97.5) - np.percentile(shares, 2.5))


def _dice(truth: Sequence[Sequence[int]], predicted: Sequence[Sequence[int]]) -> float:
    first = {(row, column) for row, line in enumerate(truth) for column, value in enumerate(line) if value}
    second = {(row, column) for row, line in enumerate(predicted) for column, value in enumerate(line) if value}
    return 2 * len(first & second) / (len(first) + len(second))


EXERCISES = (
    Rates(),
    Worth(),
    PatientInterval(),
    Dice(),
    Sceptic(),
    Quiz(
        "m04",
        Question(
            "A model is sold to general practices, where 2 of 100 are ill. Its report comes from a hospital, where "
            "50 of 100 are. Which number of the report does not hold in the practice, by counting alone?",
            ("The sensitivity.", "The positive predictive value.", "The specificity."),
            "b",
            "it mixes the ill and the well, and there are far more well people in a practice",
        ),
        Question(
            "60 patients, 10 pictures of each. What does the bootstrap of an interval draw?",
            (
                "600 pictures, with replacement.",
                "60 pictures, one of each patient.",
                "60 patients, with replacement, each with all of their pictures.",
                "60 patients, each exactly once.",
            ),
            "c",
            "pictures of one patient are alike; what is independent is the patient",
        ),
        Question(
            "Neither the radiologist nor the model marks anything in a picture. What is its Dice?",
            ("Undefined: it is counted, and left out of the mean.", "1, they agree.", "0, there is no overlap."),
            "a",
            "0 / 0 has no value; with 1 a model that never marks anything would look good among healthy people",
        ),
        Question(
            "Of 40 ill patients 30 are called ill, of 60 well ones 15 are called ill. What is the sensitivity?",
            ("30 of 45: 0.67.", "75 of 100: 0.75.", "45 of 60: 0.75.", "30 of 40: 0.75."),
            "d",
            "it looks at the ill alone: 30 of the 40; 30 of 45 is the positive predictive value",
        ),
        Question(
            "A hospital has an AUROC of 0.93, 0.80 to 1.00, with one healthy patient to test on. What may you say?",
            (
                "The model is best there.",
                "Nearly nothing: all rests on how that one patient ranked.",
                "It is at least 0.80 there.",
            ),
            "b",
            "an interval cannot know of healthy patients who were never there",
        ),
    ),
)
