"""Exercises on sizes, patches and windows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ai4diag.course.exercise import Exercise, Expectations


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
        """Return sides and strides: all axes halved alike; one axis later; sides that fit already, but no more."""
        alike = [[2, 2, 2]] * int(random.integers(3, 5))
        later = [[1, 2, 2]] * int(random.integers(1, 3)) + [[2, 2, 2]] * int(random.integers(1, 3))
        steps = np.prod(later, axis=0)
        just_above = [2 ** len(alike) * int(random.integers(2, 5)) + 1, *random.integers(17, 70, 2).tolist()]
        odd = 2 * random.integers(1, 5, 3) + 1
        return {
            "cases": [
                {"sides": just_above, "strides": alike},
                {"sides": random.integers(17, 70, 3).tolist(), "strides": later},
                {"sides": (steps * odd).tolist(), "strides": later},
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


def _words(case: list[float], found: list[int]) -> str:
    return f"starts({', '.join(f'{value:g}' for value in case)}) is {found}"


def _gap(starts: list[int]) -> int:
    return max((after - before for before, after in pairwise(starts)), default=0)
