"""What verify answers, and which input made two locks differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ai4diag.course.exercise import Exercise, Expectations
from ai4diag.course.mixing import mix, unmix

VERDICTS: dict[str, tuple[int, str]] = {
    "the same numbers hold": (0, "none"),
    "numbers within the tolerance hold": (0, "near"),
    "undefined before and after is the same": (0, "both undefined"),
    "a value outside of the tolerance does not hold": (6, "value auroc"),
    "an estimate that is not the headline counts as well": (6, "value sensitivity"),
    "a lower limit of an interval counts as well": (6, "low auroc"),
    "an upper limit of an interval counts as well": (6, "high brier"),
    "another number of cases does not hold, however close the values": (6, "n auroc"),
    "an estimate that is missing does not hold": (6, "missing"),
    "an estimate that nobody stated does not hold": (6, "not stated"),
    "undefined before and a number now does not hold": (6, "was undefined"),
    "0 before and undefined now does not hold: 0 is a number": (6, "is undefined"),
    "code that is in no commit: nothing can be said": (9, "none"),
    "code that is in no commit: nothing can be said, also where numbers differ": (9, "value auroc"),
}
UNDEFINED = {"value": None, "low": None, "high": None}


class Verdicts(Exercise):
    """What verify answers: 0, 6 or 9."""

    id = "m10.verdict"
    title = "holds, does not hold, cannot be verified"
    names = ("exit_code",)
    hints = (
        "First ask whether anything can be said at all. Then: are the same estimates there? Only then compare numbers.",
        "Compare value, low and high of every estimate with the tolerance, and n without any. None equals None alone.",
    )
    worked = (
        "stated = {'auroc': {'value': 0.90, 'low': 0.85, 'high': 0.94, 'n': 80}},\n"
        "found  = {'auroc': {'value': 0.905, 'low': 0.83, 'high': 0.94, 'n': 80}}, tolerance 0.01, known True:\n"
        "1. known: go on. 2. Both have auroc: go on. 3. n is 80 and 80: go on.\n"
        "4. value differs by 0.005: within 0.01. 5. low differs by 0.02: outside.\n"
        "Answer: 6."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return one case for each statement, in their order."""
        return mix(random, [_case(random, change, known=code != 9) for code, change in VERDICTS.values()])

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the learner's exit code of each case."""
        return [names["exit_code"](**case) for case in given["cases"]]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the exit code of each case."""
        for (name, (code, _)), found in zip(VERDICTS.items(), unmix(given, answer), strict=True):
            expect.equal(name, found, code)


def _case(random: np.random.Generator, change: str, known: bool) -> dict[str, Any]:
    """Return what a case of `exit_code` is called with."""
    tolerance = float(random.choice([0.005, 0.01, 0.02]))
    values = random.uniform(0.6, 0.85, 3)
    stated: dict[str, dict[str, Any]] = {
        name: {"value": float(v), "low": float(v - 0.08), "high": float(v + 0.08), "n": int(random.integers(40, 300))}
        for name, v in zip(("auroc", "brier", "sensitivity"), values, strict=True)
    }
    found = {name: dict(item) for name, item in stated.items()}
    far, near = tolerance * float(random.uniform(1.5, 4)), tolerance * float(random.uniform(0.1, 0.8))
    if change == "near":
        found = {name: {**item, "value": item["value"] + near} for name, item in stated.items()}
    elif change == "missing":
        del found["brier"]
    elif change == "not stated":
        del stated["brier"]
    elif change.endswith("undefined"):
        stated["brier"] |= {"value": 0.0, "low": 0.0, "high": 0.0} if change == "is undefined" else UNDEFINED
        found["brier"] |= {} if change == "was undefined" else UNDEFINED
    elif change != "none":
        key, name = change.split()
        found[name][key] += 1 if key == "n" else far * float(random.choice([-1, 1]))
    return {"stated": stated, "found": found, "tolerance": tolerance, "known": known}


CAUSES: dict[str, tuple[str, ...]] = {
    "equal locks: nothing to explain": (),
    "another recipe is the cause, not what followed from it": ("setting",),
    "another dataset card is the cause": ("card",),
    "another pipeline.py is the cause": ("hooks",),
    "two causes are both named": ("card", "setting"),
    "an input that changed nothing that follows is named as well": ("page",),
    "equal inputs and other outputs: the machine": ("machine",),
}
EFFECTS = ("model", "predictions", "estimates")
FOLLOWS = {
    "setting": EFFECTS,
    "machine": EFFECTS,
    "card": ("prepared", *EFFECTS),
    "hooks": ("prepared", *EFFECTS),
    "page": (),
}
"""What else is other when a part of a lock is."""


class Lock(Exercise):
    """Which input made two locks differ."""

    id = "m10.lock"
    title = "read the lock"
    names = ("causes",)
    hints = (
        "What a stage wrote and a later stage reads is an effect. Look for inputs that no stage has written.",
        "Collect the names of all outputs first. Of the inputs that differ, keep those whose name is not among them.",
    )
    worked = (
        "mine = {'train': {'inputs': {'cases': 'a1', 'train.seed': 7}, 'outputs': {'model': 'c3'}},\n"
        "        'evaluate': {'inputs': {'model': 'c3'}, 'outputs': {'estimates': 'd4'}}}\n"
        "theirs has train.seed 8, model 'c9' and estimates 'd9'.\n"
        "1. Outputs of any stage: model, estimates.\n"
        "2. Inputs that differ: train.seed (7, 8) and model ('c3', 'c9').\n"
        "3. model is an output of train: an effect. train.seed is left.\n"
        "Answer: ['train.seed']."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return pairs of locks, one for each statement."""
        return mix(random, [_pair(random, changed) for changed in CAUSES.values()])

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the causes that the learner finds."""
        return [sorted(names["causes"](pair["mine"], pair["theirs"])) for pair in given["cases"]]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the inputs that were changed."""
        for name, pair, found in zip(CAUSES, unmix(given, given["cases"]), unmix(given, answer), strict=True):
            expect.equal(name, found, _causes(pair["mine"], pair["theirs"]))


def _causes(mine: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    made = {name for stage in mine.values() for name in stage["outputs"]}
    pairs = [
        (part, name, was, theirs[s][part][name])
        for s in mine
        for part in mine[s]
        for name, was in mine[s][part].items()
    ]
    other = {(part, name) for part, name, was, now in pairs if was != now}
    found = sorted({name for part, name in other if part == "inputs" and name not in made})
    return found or (["machine"] if other else [])


def _pair(random: np.random.Generator, changed: tuple[str, ...]) -> dict[str, Any]:
    """Return two locks of one pipeline that differ in what is `changed`, and in what follows."""
    settings = (("train.epochs", 300), ("model.l2", 1), ("train.seed", 7), ("train.learning_rate", 0.05))
    setting, at = settings[int(random.integers(4))]

    def fresh() -> str:
        return f"{random.integers(2**60):015x}"

    sums = {name: fresh() for name in ("card", "hooks", "page", "prepared", "model", "predictions", "estimates")}

    def lock(sums: Mapping[str, str], value: Any) -> dict[str, Any]:
        prepare = {"datasets/wdbc.yaml": sums["card"], "pipeline.py": sums["hooks"]}
        train = {"out/prepared": sums["prepared"], "pipeline.py": sums["hooks"], setting: value}
        evaluate = {"out/predictions.parquet": sums["predictions"], "README.md": sums["page"]}
        written = {"out/model": sums["model"], "out/predictions.parquet": sums["predictions"]}
        return {
            "prepare": {"inputs": prepare, "outputs": {"out/prepared": sums["prepared"]}},
            "train": {"inputs": train, "outputs": written},
            "evaluate": {"inputs": evaluate, "outputs": {"out/estimates.json": sums["estimates"]}},
        }

    renewed = {name for part in changed for name in (part, *FOLLOWS[part])} & set(sums)
    other = lock({**sums, **{name: fresh() for name in sorted(renewed)}}, at * 2 if "setting" in changed else at)
    return {"mine": lock(sums, at), "theirs": other}
