"""Exercises on what is found, at what price, and what missing labels do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ai4diag.course.exercise import Exercise, Expectations

FEW = 3
"""Boxes of red cells up to which a full picture is suspicious."""
MANY, SHOWN_FROM = 10, 0.3
"""So many detections of red cells, from this score on, make a picture full."""
PREDICTIONS = Path("pipelines/blood-cells/out/quick/predictions.parquet")


class Froc(Exercise):
    """The learner reads the sensitivity at a number of false alarms per image."""

    id = "m08.froc"
    title = "sensitivity at one false alarm per image"
    names = ("sensitivity_at",)
    hints = (
        "Lower one threshold over all images. How far may it fall before more than rate x images are false?",
        "Sort by score, best first; `false = np.cumsum(~found)`; where `false <= rate * n_images`, take "
        "the largest `np.cumsum(found)`, over `n_truth`.",
    )
    worked = (
        "2 images, 4 cells; best first: found, found, false, found, false, false. At 1 false alarm per image 2 are\n"
        "allowed. The third false one is the last: before it 3 of 4 cells are found, the sensitivity is 0.75.\n"
        "At 0.5 per image 1 is allowed: still 3 of 4, because the third cell comes before the second false alarm."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Draw detections of twenty images, mixed, and a model that has few false alarms."""
        found = random.permutation(np.arange(90) < 35)
        scores = random.uniform(0, 0.6, 90) + np.where(found, 0.35, 0)
        few = np.array([True] * 6 + [False] * 3)
        return {
            "mixed": [scores.tolist(), found.tolist(), 50, 20],
            "few": [random.permutation(np.linspace(0.1, 0.9, 9)).tolist(), few.tolist(), 12, 20],
            "none": [[], [], 8, 20],
        }

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the sensitivity at several rates."""

        def ask(name: str, rate: float) -> float:
            scores, found, n_truth, n_images = given[name]
            return float(
                names["sensitivity_at"](np.array(scores, float), np.array(found, bool), n_truth, n_images, rate)
            )

        return {
            "one": ask("mixed", 1.0),
            "half": ask("mixed", 0.5),
            "zero": ask("mixed", 0.0),
            "few": ask("few", 1.0),
            "none": ask("none", 1.0),
        }

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the best that one threshold reaches."""
        expect.close(
            "at 1 false alarm per image, over all images together", answer["one"], best_reached(given["mixed"], 1.0)
        )
        expect.close("at 0.5 false alarms per image", answer["half"], best_reached(given["mixed"], 0.5))
        expect.close(
            "without a single false alarm: what is found before the first",
            answer["zero"],
            best_reached(given["mixed"], 0.0),
        )
        expect.close(
            "a model with fewer false alarms than allowed: all that it found, of all that there is", answer["few"], 0.5
        )
        expect.close("a model that finds nothing", answer["none"], 0.0)


class Missing(Exercise):
    """The learner sees what missing labels do."""

    id = "m08.missing"
    title = "what missing labels do"
    names = ("recount", "suspects")
    hints = (
        "A detection on a cell whose label is gone turns from found to false. A cell without a label cannot be missed.",
        "`found = sum(hit is not None and hit not in gone for hit in hits)`; all others are false; missed are "
        "`n_truth - len(set(gone)) - found`.",
    )
    worked = (
        "5 cells, 0 to 4; detections hit the cells 0, 1, 3 and nothing: found 3, false 1, missed 2 (cells 2, 4).\n"
        "The labels of cells 1 and 4 are missing: the detection on 1 becomes false, cell 4 is not missed any more.\n"
        "Found 2, false 2, missed 1. PPV falls from 0.75 to 0.5; sensitivity goes from 3/5 to 2/3."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Draw detections of 40 cells, of which some lose their labels; one hits cell 0, which is not none."""
        hit = random.permutation([0, *(1 + random.permutation(39)[:29])]).tolist()
        hits = [hit.pop() if kind else None for kind in random.permutation(np.arange(38) < 30)]
        gone = sorted(random.permutation(40)[: int(random.integers(8, 20))].tolist())
        return {"hits": hits, "n_truth": 40, "gone": gone}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the counts with all labels, some missing, all missing; and the suspicious pictures."""
        hits, n_truth = given["hits"], given["n_truth"]
        cases = {"all": [], "some": given["gone"], "none": list(range(n_truth))}
        counts = {name: names["recount"](list(hits), n_truth, gone) for name, gone in cases.items()}
        return {"counts": counts, "suspects": sorted(str(name) for name in names["suspects"])}

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect that what is gone cannot be found or missed, and that detections on it become false."""
        hits, gone = given["hits"], set(given["gone"])
        found = {hit for hit in hits if hit is not None}
        whole, some, none = (answer["counts"][name] for name in ("all", "some", "none"))
        expect.equal(
            "with all labels nothing changes",
            whole,
            {"found": len(found), "false": len(hits) - len(found), "missed": 10},
        )
        expect.equal("cells without a label are not found", some["found"], len(found - gone))
        expect.equal("a detection on such a cell counts as false", some["false"], len(hits) - len(found - gone))
        expect.equal("a cell without a label is not missed either", some["missed"], len(set(range(40)) - gone - found))
        expect.equal("without any label every detection is false", none, {"found": 0, "false": len(hits), "missed": 0})
        right = suspicious(root)
        expect.that(
            "every suspicious picture is named", set(right) <= set(answer["suspects"]), answer["suspects"], right
        )
        expect.that("no other picture is", set(answer["suspects"]) <= set(right), answer["suspects"], right)


def best_reached(case: Sequence[Any], rate: float) -> float:
    """Return the highest sensitivity of any threshold at which no more than `rate` detections per image are false.

    Args:
        case: scores, whether each is a hit, the number of cells, the number of images.
        rate: false detections per image.
    """
    scores, found, n_truth, n_images = case
    reached = [0.0]
    for threshold in scores:
        shown = [hit for score, hit in zip(scores, found, strict=True) if score >= threshold]
        if shown.count(False) <= rate * n_images:
            reached.append(shown.count(True) / n_truth)
    return max(reached)


def suspicious(root: Path) -> list[str]:
    """Return the test pictures with few boxes of red cells in which the model sees many."""
    from ai4diag.files import read_parquet

    table = read_parquet(root / PREDICTIONS)
    names = []
    for line in table[table["part"] == "test"].itertuples():
        labelled = int((np.asarray(line.truth_labels) == 0).sum())
        seen = int(((np.asarray(line.labels) == 0) & (np.asarray(line.scores) >= SHOWN_FROM)).sum())
        if labelled <= FEW and seen >= MANY:
            names.append(str(line.case_id))
    return sorted(names)
