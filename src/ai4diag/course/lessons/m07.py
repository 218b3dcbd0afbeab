"""Checks of lesson 7: sizes, patches, windows, grids, Dice and HD95."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ai4diag.course.exercise import Exercise, Expectations
from ai4diag.course.quiz import Question, Quiz

RUN = "hippocampus --quick"
Floats = npt.NDArray[np.float64]


class Padded(Exercise):
    """Sides that a network can halve."""

    id = "m07.padded"
    title = "a size that can be halved"
    names = ("padded",)
    hints = (
        "By how much does each axis shrink on the whole way down? A side must be a multiple of that.",
        "steps = np.prod(strides, axis=0); the next multiple of step from side on is -(-side // step) * step.",
    )
    worked = (
        "strides (2, 2, 2), (1, 2, 2): the first axis shrinks by 2 * 1 = 2, the others by 2 * 2 = 4.\n"
        "sides 5, 8, 9: the next multiple of 2 is 6; 8 is a multiple of 4 already; the next one from 9 is 12.\n"
        "The answer is [6, 8, 12]."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return sides and strides: all axes halved alike; one axis later; sides that fit already; no stage at all."""
        alike = [[2, 2, 2]] * int(random.integers(2, 5))
        later = [[1, 2, 2]] * int(random.integers(1, 3)) + [[2, 2, 2]] * int(random.integers(1, 3))
        steps = np.prod(later, axis=0)
        return {
            "cases": [
                {"sides": random.integers(17, 70, 3).tolist(), "strides": alike},
                {"sides": random.integers(17, 70, 3).tolist(), "strides": later},
                {"sides": (steps * random.integers(1, 9, 3)).tolist(), "strides": later},
            ]
        }

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the sides for each case."""
        return [names["padded"](list(case["sides"]), [tuple(s) for s in case["strides"]]) for case in given["cases"]]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the smallest multiples, axis by axis."""
        texts = ("every axis halved by every stage", "an axis that is halved later", "sides that fit already stay")
        for text, case, found in zip(texts, given["cases"], answer, strict=True):
            wanted = []
            for axis, side in enumerate(case["sides"]):
                step = math.prod(stride[axis] for stride in case["strides"])
                wanted.append(next(size for size in range(side, side + step) if size % step == 0))
            met = list(found) == wanted
            expect.that(f"{text}: {case['sides']}", met, found, wanted)


class Patch(Exercise):
    """Where a patch around a voxel begins."""

    id = "m07.patch"
    title = "a patch around a voxel"
    names = ("start_around",)
    hints = (
        "First where the patch would begin if the volume had no end; then move it inside, axis by axis.",
        "np.clip(voxel - patch // 2, 0, sides - patch) with numpy arrays; .tolist() makes plain numbers of them.",
    )
    worked = (
        "One axis: 20 voxels, a patch of 8. Around voxel 10 it begins at 10 - 4 = 6 and ends at 13.\n"
        "Around voxel 1 it would begin at -3: it is moved to 0. Around voxel 19 it would begin at 15 and end at 22: it "
        "is moved to 20 - 8 = 12. Voxel 19 is then its last one."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return voxels in the middle, at the near and at the far edge, and a patch as large as the volume."""
        patch = random.integers(4, 12, 3) * 2
        sides = patch * 3 + random.integers(0, 9, 3)
        middle = (sides // 2 + random.integers(-3, 4, 3)).tolist()
        near, far = random.integers(0, 2, 3), sides - 1 - random.integers(0, 2, 3)
        mixed = [int(near[0]), middle[1], int(far[2])]
        cases = [{"voxel": v, "patch": patch, "sides": sides} for v in (middle, near, far, mixed)]
        return {"cases": [*cases, {"voxel": near, "patch": patch, "sides": patch}]}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the first voxel for each case."""
        return [
            names["start_around"](*(list(case[key]) for key in ("voxel", "patch", "sides"))) for case in given["cases"]
        ]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect patches inside the volume, around the voxel, and in its middle where that can be."""
        cases = [{key: np.array(value) for key, value in case.items()} for case in given["cases"]]
        found = [np.array(item, float) for item in answer]
        whole = all(item.shape == (3,) and bool((item == item.round()).all()) for item in found)
        if not expect.that("three whole numbers for each voxel", whole, answer[0], "such as [3, 0, 12]"):
            return
        below = all(bool((item >= 0).all()) for item in found)
        expect.that("no patch begins before the volume does", below, answer[1], "0 or more")
        over = [item + case["patch"] - case["sides"] for item, case in zip(found, cases, strict=True)]
        says = f"up to {max(item.max() for item in over):g} voxels beyond"
        expect.that(
            "no patch ends after the volume does", all(bool((item <= 0).all()) for item in over), says, "inside"
        )
        inside = all(
            bool(((item <= case["voxel"]) & (case["voxel"] < item + case["patch"])).all())
            for item, case in zip(found, cases, strict=True)
        )
        expect.that("every patch shows its voxel", inside)
        best = [np.clip(case["voxel"] - case["patch"] / 2 + 0.5, 0, case["sides"] - case["patch"]) for case in cases]
        away = [float(np.abs(item - wanted).max()) for item, wanted in zip(found, best, strict=True)]
        texts = (
            "in the middle of the volume",
            "at its near edge",
            "at its far edge",
            "near one edge and far from others",
        )
        for text, off, item, wanted in zip(texts, away, answer, best, strict=False):
            expect.that(
                f"a voxel {text} is as near to the middle of its patch as can be", off <= 0.5, item, wanted.tolist()
            )


class Windows(Exercise):
    """Where windows begin along an axis."""

    id = "m07.windows"
    title = "where windows begin"
    names = ("starts",)
    hints = (
        "The last window must end where the volume ends. How many gaps of at most a step lie between the first "
        "start, 0, and the last one?",
        "count = -(-(side - window) // step) gaps, rounded up; the starts are round(number * (side - window) / count) "
        "for number from 0 to count.",
    )
    worked = (
        "side 11, window 4, overlap 0.5: the step is 2. The last window begins at 11 - 4 = 7.\n"
        "range(0, 8, 2) gives 0, 2, 4, 6: the last of these windows ends at voxel 9, and voxel 10 has no answer.\n"
        "From 0 to 7 there are 7 / 2 = 3.5, so 4 gaps, of 1.75 voxels: 0, 1.75, 3.5, 5.25, 7, rounded 0, 2, 4, 5, 7."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return sides that steps fill exactly, that they do not fill, that one window covers; and no overlap."""
        window = int(random.integers(5, 20)) * 2
        odd = window + window // 2 * int(random.integers(2, 6)) + int(random.integers(1, window // 2))
        cases = [[window * 4, window, 0.5], [odd, window, 0.5], [odd, window, 0.0], [odd, window, 0.7]]
        return {"cases": [*cases, [window, window, 0.5], [window - 3, window, 0.5], [window + 1, window, 0.5]]}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the starts for each case."""
        return [names["starts"](*case) for case in given["cases"]]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect that every voxel is answered, by windows inside the volume, near enough, and no more than needed."""
        plain = all(isinstance(item, list) and item and all(type(at) is int for at in item) for item in answer)
        if not expect.that("a list of whole numbers for each axis", plain, answer[0], "such as [0, 20, 40]"):
            return
        pairs = list(zip(given["cases"], answer, strict=True))
        order = all(item[0] == 0 and item == sorted(set(item)) for item in answer)
        expect.that("the first window begins at 0, and each further one later than the one before", order, answer[1])
        wrong = [_words(c, item) for c, item in pairs if item[-1] + c[1] < c[0] or _gap(item) > c[1]]
        expect.that("every voxel is covered, the last ones too", not wrong, wrong[0] if wrong else "", "all covered")
        wrong = [_words(c, item) for c, item in pairs if item[-1] > max(0, c[0] - c[1])]
        expect.that("no window reaches beyond the volume", not wrong, wrong[0] if wrong else "", "inside")
        steps = [max(1, int(c[1] * (1 - c[2]))) for c in given["cases"]]
        wrong = [_words(c, item) for (c, item), step in zip(pairs, steps, strict=True) if _gap(item) > step]
        expect.that(
            "neighbours overlap at least as asked", not wrong, wrong[0] if wrong else "", "a step or less apart"
        )
        fewest = [1 + max(0, math.ceil((c[0] - c[1]) / step)) for c, step in zip(given["cases"], steps, strict=True)]
        wrong = [_words(c, item) for (c, item), few in zip(pairs, fewest, strict=True) if len(item) > few]
        expect.that("no more windows than it takes", not wrong, wrong[0] if wrong else "", "as few as can be")
        expect.that("where one window covers everything, it is the only one", answer[4] == [0] and answer[5] == [0])


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


def _words(case: list[float], found: list[int]) -> str:
    return f"starts({', '.join(f'{value:g}' for value in case)}) is {found}"


def _gap(starts: list[int]) -> int:
    return max((after - before for before, after in pairwise(starts)), default=0)


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
    return found, record.estimates()[0].value


EXERCISES = (
    Padded(),
    Patch(),
    Windows(),
    Grid(),
    Dice(),
    Hd95(),
    Quiz(
        "m07",
        Question(
            "From which cases does `ai4diag plan` take spacing, patch and stages?",
            (
                "from all cases, so that they fit all",
                "from the training cases",
                "from the test cases, which matter most",
            ),
            "b",
            "The plan is part of the model; what is tested on must not have decided it.",
        ),
        Question(
            "Every training patch is cut around the structure (`foreground: 1`). What do you expect in a whole volume?",
            (
                "nothing changes, windows are patches too",
                "the structure is missed at the edges of windows",
                "structures are found where there are none",
            ),
            "c",
            "The network never saw a place without the structure.",
        ),
        Question(
            "Windows begin at range(0, 105 - 40 + 1, 20). What is wrong?",
            (
                "voxels 100 to 104 get no answer",
                "windows overlap too much",
                "the first window reaches beyond the volume",
                "nothing",
            ),
            "a",
            "The starts are 0, 20, 40, 60; the last window ends at voxel 99.",
        ),
        Question(
            "A model learned from patches of 32 x 48 x 32. A customer with a large GPU wants to predict whole volumes.",
            (
                "good: more context can only help",
                "it makes no difference, convolutions are the same everywhere",
                "measure first: normalisation sees another amount of margin, and this model became worse by it",
            ),
            "c",
            "Instance normalisation takes mean and spread over what is seen; prediction must look like training.",
        ),
        Question(
            "HD95 of a service is 3.0 'with spacing (1, 1, 1)'; the voxels are 0.5 x 0.5 x 3 mm. What do you know?",
            (
                "the error is 3 mm",
                "the error is 1.5 mm",
                "the error is 9 mm",
                "between 1.5 and 9 mm, depending on where the faults lie: it must be computed again",
            ),
            "d",
            "Three voxels are 1.5 mm in the plane and 9 mm across slices; no factor mends it afterwards.",
        ),
    ),
)
