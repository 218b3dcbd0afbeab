"""Exercises on maps that are to explain an answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ai4diag.course.exercise import Exercise, Expectations

Floats = npt.NDArray[np.float64]
LIMIT = 0.5
"""Mean likeness from which a map explains nothing."""


class Occlusion(Exercise):
    """The learner asks which patch of a picture an answer rests on."""

    id = "m06.occlusion"
    title = "where does the answer come from? cover it and see"
    names = ("occlusion",)
    hints = (
        "For every patch: copy the picture, fill the patch, ask for the score; how far is it below that of the whole?",
        "`covered = image.copy(); covered[row : row + size, column : column + size] = fill`, and "
        "`score(image[None])[0] - score(covered[None])[0]` is the value of this patch.",
    )
    worked = (
        "A picture of 2 x 4 pixels, patches of 2 x 2, hence a map of 1 x 2. The score of the whole picture is 3.\n"
        "With the left patch covered it is 1, with the right one 4. The map is [[2, -1]]: the left patch spoke for\n"
        "pneumonia, the right one against it."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Draw a picture and a model that looks at all but one patch."""
        size = int(random.integers(2, 4))
        weights = random.normal(0, 0.02, (3 * size, 5 * size))
        weights[:size, -size:] = 0
        image = random.uniform(20, 235, weights.shape).round()
        return {
            "weights": weights.tolist(),
            "image": image.tolist(),
            "size": size,
            "fill": float(random.integers(60, 200)),
        }

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the map, and the picture as the learner's function left it."""
        weights, image = np.array(given["weights"]), np.array(given["image"])

        def score(images: Any) -> Floats:
            scores: Floats = np.tanh((np.asarray(images, np.float64) * weights).sum(axis=(1, 2)) / 40)
            return scores

        found = names["occlusion"](score, image, given["size"], given["fill"])
        return {"map": np.asarray(found, np.float64), "image": image}

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the fall of the score for each patch."""
        weights, image = np.array(given["weights"]), np.array(given["image"])
        size, fill = given["size"], given["fill"]
        rows, columns = image.shape[0] // size, image.shape[1] // size
        right = np.zeros((rows, columns))
        for row in range(rows):
            for column in range(columns):
                inside = np.zeros(image.shape, bool)
                inside[row * size : (row + 1) * size, column * size : (column + 1) * size] = True
                covered = np.where(inside, fill, image)
                right[row, column] = math.tanh((image * weights).sum() / 40) - math.tanh((covered * weights).sum() / 40)
        found = np.array(answer["map"], np.float64)
        if not expect.equal(
            "the map has one value for each patch: (rows, columns)", list(found.shape), [rows, columns]
        ):
            return
        expect.that(
            "the picture that was given is unchanged: patches are covered on a copy",
            np.array_equal(np.array(answer["image"]), image),
        )
        expect.close("a patch that the model ignores has the value 0", float(found[0, -1]), 0.0, 1e-9)
        expect.that(
            "a patch that speaks for pneumonia has a positive value: the score falls when it is covered",
            float((found * right).sum()) > 0,
        )
        expect.that(
            "every patch has the right value: it alone is covered, with `fill`", np.allclose(found, right, atol=1e-6)
        )


class Sanity(Exercise):
    """The learner tests whether maps depend on what a network has learned."""

    id = "m06.sanity"
    title = "does the map depend on what was learned?"
    names = ("explains", "maps", "verdict")
    hints = (
        "Compare ranks of absolute values, picture by picture, then take the mean. Alike on random weights: it fails.",
        "`scipy.stats.spearmanr(np.abs(a).ravel(), np.abs(b).ravel())[0]` for each pair, `np.mean` of them, `< limit`.",
    )
    worked = (
        "One picture, maps of four patches: trained [4, -3, 2, 1], random [1, 2, -3, 4].\n"
        "Absolute values 4, 3, 2, 1 and 1, 2, 3, 4: their ranks run against each other, likeness -1, below 0.5: the\n"
        "map changed with the weights, so it may explain. Random [8, 6, 4, 2] would have likeness 1: whatever that\n"
        "map shows, it did not come from training."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Draw maps: other ones, the same, with another sign, in other units, four alike of six, and flat ones."""
        trained = random.normal(size=(6, 12, 12))
        other = random.normal(size=trained.shape)
        bright = np.geomspace(1, 1e4, 6)[:, None, None]
        against = np.concatenate([trained[:4], 1 / (0.01 + np.abs(trained[4:]))])  # four with likeness 1, two with -1
        cases = {
            "other": (trained, other),
            "same": (trained, trained),
            "sign": (trained, -trained),
            "units": (trained, np.abs(trained) ** 15),
            "bright": (trained * bright, other * bright),
            "against": (trained, against),
            "flat": (trained, np.full(trained.shape, 0.3)),
        }
        return {name: [first.tolist(), second.tolist()] for name, (first, second) in cases.items()}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return what the learner says of the drawn maps, and the maps of the real network."""
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of flat maps
            said = {name: names["explains"](*map(np.array, pair)) for name, pair in given.items()}
        maps = {
            method: {which: np.asarray(pair[which], np.float64).round(9) for which in ("trained", "random")}
            for method, pair in names["maps"].items()
        }
        return {"said": said, "maps": maps, "verdict": names["verdict"]}

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect that only maps that change with the weights are taken for explanations."""
        said = answer["said"]
        expect.equal("maps that change with the weights may explain", said["other"], True)
        expect.equal("maps that look the same on random weights explain nothing", said["same"], False)
        expect.equal("the same map with the other sign explains nothing either", said["sign"], False)
        expect.equal("nor does the same map in other units: ranks are compared, not values", said["units"], False)
        expect.equal("bright pictures do not make maps alike: compare picture by picture", said["bright"], True)
        expect.equal("four pictures with likeness 1, two with -1: their mean, 0.33, counts", said["against"], True)
        expect.equal("a likeness that is undefined (a flat map) explains nothing", said["flat"], False)
        maps = {name: {k: np.array(v, np.float64) for k, v in pair.items()} for name, pair in answer["maps"].items()}
        if not expect.that(
            "there are maps of occlusion and of edges", {"occlusion", "edges"} <= set(maps), sorted(maps)
        ):
            return
        pairs = [(pair["trained"], pair["random"]) for pair in maps.values()]
        expect.that(
            "each is of three pictures or more, as many on random weights as on trained ones",
            all(len(first) >= 3 and first.shape == second.shape for first, second in pairs),
            [len(first) for first, _ in pairs],
        )
        occluded = maps["occlusion"]
        expect.that(
            "the maps of occlusion come from two networks: trained and random weights",
            not np.allclose(occluded["trained"], occluded["random"]),
        )
        same = np.array_equal(maps["edges"]["trained"], maps["edges"]["random"])
        expect.that("the maps of edges ask no network: they are the same twice", same)
        right = {name: bool(likeness(pair["trained"], pair["random"]) < LIMIT) for name, pair in maps.items()}
        expect.equal("the verdict follows from the maps, method by method", answer["verdict"], right)
        expect.equal("edges of the picture explain nothing of the network", answer["verdict"]["edges"], False)


def likeness(trained: Floats, random: Floats) -> float:
    """Return the mean rank correlation of absolute values, picture by picture; NaN where a map is flat."""
    pairs = zip(np.abs(trained), np.abs(random), strict=True)
    values = [_correlation(_ranks(first.ravel()), _ranks(second.ravel())) for first, second in pairs]
    return float(np.mean(values))


def _ranks(values: Floats) -> Floats:
    """Return ranks from 1; equal values share the mean of theirs."""
    _, which, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    middle: Floats = (2 * last - count + 1) / 2
    return middle[which]


def _correlation(first: Floats, second: Floats) -> float:
    if first.std() == 0 or second.std() == 0:
        return math.nan
    return float(np.mean((first - first.mean()) * (second - second.mean())) / (first.std() * second.std()))
