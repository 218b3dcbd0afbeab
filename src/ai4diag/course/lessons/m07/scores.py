"""Exercises on grids, Dice and HD95."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ai4diag.course.exercise import Exercise, Expectations

RUN = "hippocampus --quick"
Floats = npt.NDArray[np.float64]


class Grid(Exercise):
    """Whether a label map lies on its image."""

    id = "m07.grid"
    title = "does it lie there?"
    names = ("lies_on",)
    hints = (
        "Two conditions, and both count: numbers of voxels, and places of the corners in mm.",
        "image.array.shape[1:] == answer.array.shape[1:] and moved_mm(image.affine, answer.affine, "
        "image.array.shape[1:]) < 0.1.",
    )
    worked = (
        "Two grids of 10 voxels of 1 mm along one axis; the second begins at 0.5 mm: all corners are off: False.\n"
        "The second begins where the first does, but has voxels of 1.02 mm: corner 0 is off by 0, corner 9 by 0.18 mm: "
        "False, although the origins agree.\n"
        "The second differs by rounding, 0.000001 mm: True."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return an image and other grids: the same, rounded, moved, reversed, stretched, turned, shorter."""
        spacing, sides = random.uniform(0.7, 1.4, 3), [int(random.integers(60, 90))] * 3
        affine = np.diag([*spacing, 1.0])
        affine[:3, 3] = random.uniform(-90, 90, 3)
        rounded = affine + random.choice([-1, 1], (4, 4)) * np.array([[1e-6] * 4] * 3 + [[0] * 4])
        moved = affine.copy()
        moved[random.integers(3), 3] += 0.5 * spacing.min()
        reverse = affine @ np.array([[-1, 0, 0, sides[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
        angle = 0.004
        turn = np.eye(4)
        turn[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        others = {
            "same": affine,
            "rounded": rounded,
            "moved": moved,
            "reversed": reverse,
            "stretched": affine @ np.diag([1, 1, 1.01, 1]),
            "turned": affine @ turn,
            "shorter": affine,
        }
        lengths = {name: [*sides[:2], sides[2] - (name == "shorter")] for name in others}
        return {"affine": affine, "sides": sides, "others": others, "lengths": lengths}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return what is said of each grid."""
        from ai4diag.data.volume import Volume

        def volume(sides: list[int], affine: Any) -> Volume:
            return Volume(np.broadcast_to(np.uint8(0), (1, *sides)), np.array(affine))

        image = volume(given["sides"], given["affine"])
        lengths = given["lengths"]
        return {name: names["lies_on"](image, volume(lengths[name], at)) for name, at in given["others"].items()}

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect True of the grid itself, also when rounded otherwise, and False of all others."""
        expect.equal("the same grid lies on the image", answer["same"], True)
        expect.equal("... also when numbers differ by rounding, 0.000001 mm", answer["rounded"], True)
        expect.equal("one slice less does not", answer["shorter"], False)
        expect.equal("the same shape, moved by half a voxel, does not", answer["moved"], False)
        expect.equal("the same shape with an axis reversed does not", answer["reversed"], False)
        expect.equal(
            "the same origin with voxels longer by 1 % does not: look at the far corner", answer["stretched"], False
        )
        expect.equal("turned by a quarter of a degree does not: look at the far corner", answer["turned"], False)


class Dice(Exercise):
    """Dice of each test case, and the gate on the lower limit."""

    id = "m07.dice"
    title = "Dice per case, and the gate"
    names = ("scores", "releases")
    hints = (
        "One number per case: the mean of the last two of the three numbers that dice(...) gives. For the gate, one of "
        "value, low and high decides.",
        "scores[row.case_id] = float(dice(confusion(truth, answer, 3))[1:].mean()); return estimate.low >= floor.",
    )
    worked = (
        "A case of five voxels: expert 0 1 1 2 2, model 0 1 2 2 2.\n"
        "Class 1: overlap 1, sizes 2 and 1: 2 * 1 / 3 = 0.667. Class 2: overlap 2, sizes 2 and 3: 2 * 2 / 5 = 0.8.\n"
        "The case has (0.667 + 0.8) / 2 = 0.733; the background, 1.0, is left out.\n"
        "Gate at 0.7: an estimate of 0.733 [0.65, 0.80] is not released, because 0.65 is below 0.7."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return estimates around a floor: below, astride, above, on it, and an undefined one."""
        floor = float(random.uniform(0.5, 0.9))
        estimates = {
            "below": [floor - 0.1, floor - 0.2, floor - 0.05],
            "astride": [floor + 0.02, floor - 0.01, floor + 0.05],
            "above": [floor + 0.05, floor + 0.01, floor + 0.09],
            "on": [floor + 0.05, floor, floor + 0.09],
            "undefined": [floor + 0.05, float("nan"), float("nan")],
        }
        return {"floor": floor, "estimates": estimates}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the scores, and what is released."""
        from ai4diag.types import Estimate

        verdicts = {
            key: names["releases"](Estimate("dice", value, low, high, 21, 21), given["floor"])
            for key, (value, low, high) in given["estimates"].items()
        }
        return {"scores": dict(names["scores"]), "released": verdicts}

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the Dice of each case of the supplied run, counted again; and the lower limit to decide."""
        wanted, headline = _dice_of_run(root)
        scores, released = answer["scores"], answer["released"]
        same = set(scores) == set(wanted)
        expect.that(f"one number for each of the {len(wanted)} test cases", same, f"{len(scores)} cases", len(wanted))
        both = [case for case in wanted if case in scores]
        off = max((abs(float(scores[case]) - wanted[case]) for case in both), default=math.inf)
        says = f"off by up to {off:.3g}"
        expect.that("each is the mean of front and back part, without the background", off < 1e-6, says, "0")
        mean = sum(map(float, scores.values())) / max(1, len(scores))
        expect.close("their mean is the headline of the run", mean, headline, 1e-6)
        expect.equal("an estimate whose whole interval is above the floor is released", released["above"], True)
        expect.equal("one whose lower limit is the floor is released", released["on"], True)
        expect.equal("one below the floor is not", released["below"], False)
        expect.equal(
            "one above it whose lower limit is below is not: the lower limit decides", released["astride"], False
        )
        expect.equal("one without an interval is not", released["undefined"], False)


class Hd95(Exercise):
    """HD95 in millimetres."""

    id = "m07.hd95"
    title = "HD95"
    names = ("hd95_mm",)
    hints = (
        "Turn voxel indices into millimetres first, axis by axis. Then there are two questions: how far is the answer "
        "from the truth, and how far is the truth from the answer?",
        "a = truth_surface * spacing, b = answer_surface * spacing; max(np.percentile(KDTree(b).query(a)[0], 95), "
        "np.percentile(KDTree(a).query(b)[0], 95)); first of all, nan when one is empty.",
    )
    worked = (
        "spacing 1, 1, 3 mm; truth at (0, 0, 0) and (0, 0, 1), answer at (0, 2, 0).\n"
        "In mm: (0, 0, 0), (0, 0, 3); (0, 2, 0). From the truth: 2 mm, and sqrt(4 + 9) = 3.61 mm; back: 2 mm.\n"
        "95th percentiles: between 2 and 3.61, at 95 %: 2 + 0.95 * 1.61 = 3.53; and 2. The larger one: 3.53 mm."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return pairs of surfaces: unequal voxels, a single far voxel, an extra and a missing piece, an empty one."""
        spacing = [float(random.uniform(0.5, 0.8)), float(random.uniform(0.9, 1.3)), float(random.uniform(2.5, 4))]
        ball = _shell(6, (10, 10, 10))
        moved = _shell(6, (10, 10, 12))
        far = [*_shell(6, (10, 11, 10)), [60, 60, 40]]
        more = [*ball, *_shell(4, (30, 12, 10))]
        pairs = {"unequal": [ball, moved], "far": [ball, far], "extra": [ball, more], "missing": [more, ball]}
        return {"spacing": spacing, "pairs": {**pairs, "empty": [ball, []]}}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the distance for each pair."""
        return {
            key: names["hd95_mm"](*(np.array(points, int).reshape(-1, 3) for points in pair), tuple(given["spacing"]))
            for key, pair in given["pairs"].items()
        }

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect what a table of all distances gives."""
        texts = {
            "unequal": "moved by two slices: in millimetres, with the spacing of each axis",
            "far": "a single far voxel does not decide: the 95th percentile, not the largest",
            "extra": "an extra piece in the answer counts: distances from the answer to the truth",
            "missing": "a missing piece counts: distances from the truth to the answer",
            "empty": "without a surface it is undefined",
        }
        for key, text in texts.items():
            a, b = (np.array(points, float).reshape(-1, 3) * given["spacing"] for points in given["pairs"][key])
            expect.close(text, answer[key], _hd95(a, b), 1e-6)


def _shell(radius: int, centre: tuple[int, int, int]) -> list[list[int]]:
    """Return the voxels `(n, 3)` between two balls of `radius` - 1 and `radius` voxels."""
    around = np.argwhere(np.ones([2 * radius + 1] * 3)) - radius
    length = np.linalg.norm(around, axis=1)
    found: list[list[int]] = (around[(length <= radius) & (length > radius - 1)] + np.array(centre)).tolist()
    return found


def _hd95(a: Floats, b: Floats) -> float:
    """Return HD95 of points in mm, from the table of all distances; NaN when one has none."""
    if not len(a) or not len(b):
        return float("nan")
    table = np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=2))
    return float(max(np.percentile(table.min(axis=1), 95), np.percentile(table.min(axis=0), 95)))


def _dice_of_run(root: Path) -> tuple[dict[str, float], float]:
    """Return the Dice of each test case of the supplied run, counted from its label maps, and its headline."""
    from ai4diag.masks import decode
    from ai4diag.pipelines import records
    from ai4diag.pipelines.workspace import Workspace

    record = records.find(Workspace(root), RUN)
    table = record.predictions()
    found = {}
    for row in table[table["part"] == "test"].to_dict("records"):
        truth, answer = (decode(row[name], row["shape"]) for name in ("truth_runs", "runs"))
        each = [
            2
            * int(((truth == number) & (answer == number)).sum())
            / int((truth == number).sum() + (answer == number).sum())
            for number in (1, 2)
        ]
        found[str(row["case_id"])] = sum(each) / 2
    return found, next(estimate.value for estimate in record.estimates() if estimate.name == "dice")
