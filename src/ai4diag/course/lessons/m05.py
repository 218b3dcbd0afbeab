"""Checks of lesson 5: leaks, a recipe, a baseline, an operating point and calibration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ai4diag.course.exercise import Exercise, Expectations
from ai4diag.course.quiz import Question, Quiz
from ai4diag.errors import ConfigError

Floats = npt.NDArray[np.float64]
TABLE = "data/heart_failure/heart_failure_clinical_records_dataset.csv"
WANTED = 0.9
"""The sensitivity that the story asks for."""


def auroc(truth: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Return the share of pairs of one who died and one who did not that are ranked rightly; ties half, NaN if none."""
    died, values = np.asarray(truth) == 1, np.asarray(score, np.float64)
    pairs = values[died][:, None] - values[~died][None, :]
    return float(((pairs > 0) + 0.5 * (pairs == 0)).mean()) if pairs.size else math.nan


class Known(Exercise):
    """Which columns exist too late."""

    id = "m05.known"
    title = "columns that are known too late"
    names = ("must_go",)
    hints = (
        "Compare two days for each column: that on which its value exists, and that on which the model is asked.",
        "Keep `column['name']` when `column['known_on_day'] > prediction_day`; `auroc` plays no role.",
    )
    worked = (
        "The model is asked on day 3. `sodium` exists on day 1: it stays. `discharge_letter` exists on day 3: it "
        "stays. `readmitted` exists on day 40: it goes, however well or badly it tells the outcome. The answer is "
        "`['readmitted']`."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Draw columns early and late, strong and weak, one on the very day."""
        day = int(random.integers(3, 10))
        kinds = {
            "sodium": (0, 0.60),
            "ejection_fraction": (day - 1, 0.93),
            "discharge_weight": (day, 0.62),
            "days_followed": (day + int(random.integers(20, 200)), 0.88),
            "last_contact_by_phone": (day + int(random.integers(5, 60)), 0.52),
            "age": (0, 0.64),
        }
        order = random.permutation(list(kinds)).tolist()
        late = [order.index(name) for name in ("last_contact_by_phone", "days_followed")]
        for place, name in zip(sorted(late), ("last_contact_by_phone", "days_followed"), strict=True):
            order[place] = name  # never in alphabetical order
        columns = [{"name": str(n), "known_on_day": int(kinds[n][0]), "auroc": kinds[n][1]} for n in order]
        return {"columns": columns, "prediction_day": day}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the names that must go."""
        return list(names["must_go"](given["columns"], given["prediction_day"]))

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect that the day decides, not the strength."""
        day = given["prediction_day"]
        late = [item["name"] for item in given["columns"] if item["known_on_day"] > day]
        expect.that("a strong column from the future goes", "days_followed" in answer, answer, "days_followed in it")
        expect.that("a weak column from the future goes too", "last_contact_by_phone" in answer, answer)
        expect.that("a strong column that is known in time stays", "ejection_fraction" not in answer, answer)
        expect.that("what exists on the day of the prediction stays", "discharge_weight" not in answer, answer)
        expect.equal("exactly these must go, in the order given", answer, late)


class Recipe(Exercise):
    """The recipe keeps what was agreed."""

    id = "m05.recipe"
    title = "a recipe that keeps three sentences"
    names = ("recipe",)
    hints = (
        "Each sentence of the story is one line of the recipe: `drop`, `operating_point`, `accept`.",
        "`drop` names the column of which the leak scan spoke; `{sensitivity: 0.9}`; `{auroc_low: 0.70}`.",
    )
    worked = (
        "Another hospital: the column `ward_at_death` exists too late, 8 of 10 are to be found, and the lower limit "
        "of the AUROC must reach 0.8. Its recipe has `drop: [ward_at_death]`, `operating_point: {sensitivity: 0.8}` "
        "and `accept: {auroc_low: 0.8}`."
    )

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the text."""
        return names["recipe"]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Read the recipe as the product does, and expect what the story says."""
        from ai4diag.config.base import parse, parse_yaml
        from ai4diag.config.tabular import TabularRecipe

        try:
            recipe = parse(TabularRecipe, parse_yaml(answer, "recipe"), "recipe")
        except ConfigError as error:
            expect.that("the recipe can be read", False, str(error), "a recipe as docs/reference/pipeline.md has it")
            return
        data, plan = recipe.data, recipe.evaluate
        expect.that("the recipe can be read", True)
        expect.equal("it is about heart_failure", data.dataset, "heart_failure")
        expect.that("what is known only afterwards is dropped", "time" in data.drop, list(data.drop), "time in it")
        expect.that("what is known at discharge stays", set(data.drop) <= {"time"}, list(data.drop), "time alone")
        expect.that("no leak is waived", not data.waive, len(data.waive), "none")
        expect.equal("patients are kept together", data.split.by, "patient_id")
        expect.equal("the operating point asks for the stated sensitivity", plan.operating_point.sensitivity, WANTED)
        expect.equal("the gate is on the lower limit of the AUROC", dict(plan.accept), {"auroc_low": 0.7})
        expect.equal("intervals are made in log odds", plan.interval.method, "logit")


class Beats(Exercise):
    """A model that is better than age alone, where models are chosen."""

    id = "m05.beats"
    title = "beat the baseline on validation"
    names = ("validation_auroc", "baseline", "model")
    hints = (
        "Models are chosen on the lines whose `part` is `validation`; the test part waits until the choice is made.",
        (
            "`rows = predictions[predictions['part'] == 'validation']`, then `roc_auc_score(rows['truth'], "
            "rows['score'])`."
        ),
    )
    worked = (
        "Four patients: validation (died, 0.8), validation (survived, 0.3), test (died, 0.1), test (survived, 0.6). "
        "On validation the one pair is ranked rightly: AUROC 1. On the test part it is 0. Both together would give "
        "0.5. The answer is 1."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Draw predictions whose validation and test parts disagree; scores are rounded, so that there are ties."""
        part = np.repeat(["validation", "test"], 30)
        truth = np.tile(np.repeat([0, 1], [18, 12]), 2)
        effect = np.where(part == "test", 2.0, 0.5)
        order = random.permutation(60)
        while True:
            score = (1 / (1 + np.exp(-(effect * truth + random.normal(size=60))))).round(1)
            values = [auroc(truth[part == name], score[part == name]) for name in ("validation", "test")]
            if abs(values[0] - values[1]) > 0.05:
                break
        return {"part": part[order].tolist(), "truth": truth[order].tolist(), "score": score[order].tolist()}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the function's answer, and what the two runs say of themselves."""
        import pandas as pd

        return {
            "drawn": float(names["validation_auroc"](pd.DataFrame(given))),
            "baseline": _told(names["baseline"]),
            "model": _told(names["model"]),
        }

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the right AUROC, comparable runs, and the better one to be the model."""
        truth, score, part = (np.array(given[name]) for name in ("truth", "score", "part"))
        validation, test = (auroc(truth[part == name], score[part == name]) for name in ("validation", "test"))
        found = answer["drawn"]
        expect.that("the test part plays no part in the choice", abs(found - test) > 1e-6, found, "not the test part's")
        expect.close("validation_auroc is the AUROC of the validation part, ties half", found, validation)
        first, second = answer["baseline"], answer["model"]
        columns, outcome = _data(root)
        expect.equal("the baseline sees age alone", sorted(columns - set(first["drop"])), ["age"])
        expect.that(
            "the model is another run than the baseline", first["id"] != second["id"], second["id"], "another run"
        )
        for name, run in (("baseline", first), ("model", second)):
            seen = "time" not in run["drop"]
            expect.that(f"the {name} does not see the length of follow-up", not seen, run["drop"], "time in data.drop")
        same = first["validation"]["case_id"] == second["validation"]["case_id"]
        expect.that("both answer for the same validation patients", same and len(first["validation"]["case_id"]) > 0)
        real = all(
            outcome.get(case) == value
            for run in (first, second)
            for case, value in zip(run["validation"]["case_id"], run["validation"]["truth"], strict=True)
        )
        expect.that("their outcomes are those of the data set", real)
        values = [auroc(run["validation"]["truth"], run["validation"]["score"]) for run in (first, second)]
        expect.that("the model is better on validation", values[1] > values[0], values[1], f"above {values[0]:.4f}")


class Threshold(Exercise):
    """The highest threshold that keeps a stated sensitivity."""

    id = "m05.threshold"
    title = "a threshold for a stated sensitivity"
    names = ("threshold_for", "threshold", "model")
    hints = (
        "Only the scores of the patients who died matter for sensitivity. Sort them, the highest first.",
        "With `n` deaths, `needed = ceil(sensitivity * n)` must be found: the threshold is the needed-th highest.",
    )
    worked = (
        "Five died, with scores 0.9, 0.7, 0.6, 0.4, 0.2; 0.8 is wanted. 0.8 x 5 = 4 of them must be called, so the "
        "threshold is the fourth highest of these scores: 0.4. At 0.5 only three would be called (0.6 of them); at "
        "0.3 four would, too, but more well patients as well."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Draw four validation parts with the wish of each."""
        cases = []
        for wish, n_died, digits in ((0.9, 20, 4), (0.8, 15, 4), (0.95, 30, 4), (0.75, 12, 1)):
            truth = np.repeat([0, 1], [int(random.integers(30, 60)), n_died])
            score = 1 / (1 + np.exp(-(random.normal(size=len(truth)) + 1.2 * truth - 1)))
            order = random.permutation(len(truth))
            values = score.round(digits)[order].tolist()
            cases.append({"truth": truth[order].tolist(), "score": values, "sensitivity": wish})
        return {"cases": cases}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the threshold of each case, and the learner's own with the rows that it was made on."""
        thresholds = [
            float(names["threshold_for"](np.array(case["truth"]), np.array(case["score"]), case["sensitivity"]))
            for case in given["cases"]
        ]
        own = names["threshold"]
        return {"drawn": thresholds, "own": None if own is None else float(own), **_told(names["model"])}

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect enough to be found, and nobody called beyond that."""
        for case, found in zip(given["cases"], answer["drawn"], strict=True):
            wish = case["sensitivity"]
            label = f"{sum(case['truth'])} deaths, {wish} wanted"
            _at_threshold(expect, label, np.array(case["truth"]), np.array(case["score"]), wish, found)
        rows, own = answer["validation"], answer["own"]
        if expect.that("`threshold` is a number", isinstance(own, float), own, "a score"):
            truth, score = np.array(rows["truth"]), np.array(rows["score"])
            _at_threshold(expect, "your model on validation", truth, score, WANTED, own)


class Slope(Exercise):
    """The calibration slope, and what its interval says."""

    id = "m05.calibration"
    title = "compute and read a calibration slope"
    names = ("calibration_slope", "reading")
    hints = (
        "Turn scores into log odds first, then fit a logistic regression of the outcome on them, without a penalty.",
        (
            "`LogisticRegression(C=1e9).fit(log_odds.reshape(-1, 1), truth).coef_[0, 0]`; an interval that contains 1 "
            "shows no fault."
        ),
    )
    worked = (
        "Scores 0.01 and 0.99 have log odds -4.6 and 4.6. Of 100 patients at 0.01 twelve die, of 100 at 0.99 "
        "eighty-eight: their true log odds are log(0.12 / 0.88) = -2.0 and 2.0. The slope is 2.0 / 4.6 = 0.43: too "
        "extreme. With an interval from 0.3 to 0.6 that is shown; with one from 0.3 to 1.2 it is not."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Draw scores that are too extreme, right and too timid; and intervals of each kind."""
        cases = []
        for slope in (0.5, 1.0, 2.0):
            log_odds = random.normal(-0.5, 1.2, size=80)
            truth = random.random(80) < 1 / (1 + np.exp(-slope * log_odds))
            truth[:4] = [True, True, False, False]
            cases.append({"truth": truth.astype(int).tolist(), "score": (1 / (1 + np.exp(-log_odds))).tolist()})
        a, b, c = random.uniform(0.05, 0.3, size=3)
        return {"cases": cases, "intervals": [[0.4 - a, 0.7 + b], [1.05 + b, 2 + c], [0.6 - c, 1.1 + a], [0.9, 1 + b]]}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the slopes and the readings."""
        slopes = [
            float(names["calibration_slope"](np.array(case["truth"]), np.array(case["score"])))
            for case in given["cases"]
        ]
        return {"slopes": slopes, "readings": [names["reading"](low, high) for low, high in given["intervals"]]}

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the maximum likelihood slope on log odds, and a reading of the interval."""
        from ai4diag.evaluation.calibration import logistic_line

        cases = [(np.array(case["truth"]), np.array(case["score"])) for case in given["cases"]]
        on_scores = [logistic_line(truth, score)[1] for truth, score in cases]
        apart = all(abs(a - b) > 0.01 for a, b in zip(answer["slopes"], on_scores, strict=True))
        expect.that("it is the slope on log odds, not on the scores themselves", apart, answer["slopes"])
        for number, ((truth, score), found) in enumerate(zip(cases, answer["slopes"], strict=True), 1):
            true = logistic_line(truth, np.log(score / (1 - score)))[1]
            expect.close(f"drawn case {number}: the slope, without a penalty", found, true, 0.01)
        extreme, timid, open_, close = answer["readings"]
        expect.equal("all of the interval below 1", extreme, "too extreme")
        expect.equal("all of the interval above 1", timid, "too timid")
        expect.equal("an interval that contains 1 shows no fault", [open_, close], ["no fault shown"] * 2)


def _told(run: Any) -> dict[str, Any]:
    """Return what a run of the learner says of itself, as plain values."""
    facts, table = run.record.facts, run.predictions
    rows = table[table["part"] == "validation"].sort_values("case_id")
    return {
        "id": facts["run_id"],
        "drop": list(facts["recipe"]["data"]["drop"]),
        "validation": {name: rows[name].tolist() for name in ("case_id", "truth", "score")},
    }


def _data(root: Path) -> tuple[set[str], dict[str, int]]:
    """Return the columns of the data set, and the outcome of each case."""
    import csv

    with (root / TABLE).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    outcome = {f"faisalabad-{number:04}": int(row["DEATH_EVENT"]) for number, row in enumerate(rows, 1)}
    return set(rows[0]) - {"DEATH_EVENT"}, outcome


def _at_threshold(expect: Expectations, label: str, truth: Floats, score: Floats, wish: float, found: float) -> None:
    """Expect that at `found` at least `wish` of the dead are called, and no higher threshold does that."""
    died = score[truth == 1]
    share = float((died >= found).mean())
    enough = expect.that(f"{label}: so many are found", share >= wish - 1e-9, share, f"at least {wish}")
    best = max(value for value in died.tolist() if (died >= value).mean() >= wish - 1e-9)
    vain, fewest = (int(((score >= limit) & (truth == 0)).sum()) for limit in (found, best))
    tight = enough and vain == fewest and bool(((died >= found) == (died >= best)).all())
    expect.that(f"{label}: no higher threshold would do", tight, f"{vain} called in vain", f"{fewest}")


EXERCISES = (
    Known(),
    Recipe(),
    Beats(),
    Threshold(),
    Slope(),
    Quiz(
        "m05",
        Question(
            "`ai4diag prepare` stopped with exit code 4 and named a column. What do you do first?",
            (
                "Waive the finding, because the column helps the model",
                "Rename the column so that the scan does not know it",
                "Ask on which day the value exists, and drop the column if that is after the prediction",
                "Use a stronger penalty, so that the column weighs less",
            ),
            "c",
            "what is not there when the model is asked cannot help any patient.",
        ),
        Question(
            "You tried five models. Which result may you report as the model's performance?",
            (
                "The test result of the one that was chosen on validation",
                "The best of the five test results",
                "The validation result of the one that was best on validation",
            ),
            "a",
            "validation has chosen, so that its number flatters; the test part had no say in the choice.",
        ),
        Question(
            "`compare` says: B - A +0.04 [-0.02, +0.10]. What is shown?",
            (
                "B is better by 0.04",
                "A and B are equally good",
                "Nothing yet: B may be better by 0.10 or worse by 0.02",
                "B is worse",
            ),
            "c",
            "the interval contains 0, and that is no proof of being equal either.",
        ),
        Question(
            "The calibration slope is 0.6 [0.4, 0.8], the intercept 0. What does that say about a score of 0.95?",
            (
                "The true risk is nearer to the middle: the scores are too extreme",
                "The true risk is even higher: the scores are too timid",
                "Nothing, because the AUROC is what counts",
            ),
            "a",
            "a slope below 1, with all of its interval, means scores too near 0 and 1.",
        ),
        Question(
            "`accept: {auroc_low: 0.70}`, and the run shows auroc 0.78 [0.66, 0.87]. What happens?",
            (
                "The model is released, because 0.78 is above 0.70",
                "The model is not released; nothing is packaged until the lower limit reaches 0.70",
                "The gate lowers itself to 0.66",
                "The run is deleted",
            ),
            "b",
            "the gate is on the lower limit, so that a lucky small test part does not pass.",
        ),
    ),
)
