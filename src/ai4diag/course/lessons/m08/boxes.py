"""Exercises on boxes, formats, pixels, overlap and doubles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ai4diag.course.exercise import Exercise, Expectations

Box = Sequence[float]


class Convert(Exercise):
    """The learner converts boxes between conventions."""

    id = "m08.convert"
    title = "boxes from and to other formats"
    names = ("from_voc", "from_yolo", "to_coco")
    hints = (
        "x counts columns, y counts rows. Ours begins with the row: [row_min, column_min, row_max, column_max].",
        "YOLO: `row_min = (y - height / 2) * rows`. COCO: `[column_min, row_min, column_max - column_min, ...]`.",
    )
    worked = (
        "A picture of 10 rows and 20 columns; a cell covers rows 2 to 5 and columns 8 to 12: ours is [2, 8, 5, 12].\n"
        "Pascal VOC writes x before y: [8, 2, 12, 5]. COCO writes corner and size: [8, 2, 4, 3].\n"
        "YOLO writes the middle and the size as shares of the picture: [10/20, 3.5/10, 4/20, 3/10]."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Draw a box in a picture that is wider than high."""
        rows, columns = int(random.integers(200, 400)), int(random.integers(500, 900))
        low = random.integers(0, [rows // 2, columns // 2])
        return {"size": [rows, columns], "box": [*low.tolist(), *(low + random.integers(20, 90, 2)).tolist()]}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the box that came from each format, and the one that goes out."""
        (rows, columns), (top, left, bottom, right) = given["size"], given["box"]
        yolo = [
            (left + right) / 2 / columns,
            (top + bottom) / 2 / rows,
            (right - left) / columns,
            (bottom - top) / rows,
        ]
        return {
            "voc": names["from_voc"]([left, top, right, bottom]),
            "yolo": names["from_yolo"](yolo, rows, columns),
            "coco": names["to_coco"](given["box"]),
        }

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect rows before columns inside, and the other order outside."""
        box = top, left, bottom, right = given["box"]
        voc, yolo, coco = (answer[name] for name in ("voc", "yolo", "coco"))
        expect.that("from Pascal VOC: rows come first, nothing is added", _same(voc, box), voc, box)
        expect.that("from YOLO: the first number is the upper edge, in pixels", _near(yolo[0], top), yolo[0], top)
        expect.that("from YOLO: rows are shares of the height, columns of the width", _same(yolo, box), yolo, box)
        expect.that("to COCO: the corner is x (column), then y (row)", _same(coco[:2], [left, top]), coco, [left, top])
        size = [right - left, bottom - top]
        expect.that("to COCO: then width and height, each max - min, without + 1", _same(coco[2:], size), coco, size)


class Pixels(Exercise):
    """The learner brings boxes back to the pixels of the original picture."""

    id = "m08.pixels"
    title = "boxes in pixels of the original picture"
    names = ("to_original",)
    hints = (
        "Each axis has a scale of its own: original size over packed size. Rows take the first, columns the second.",
        "`scale = np.array(original) / np.array(packed)`, then `boxes * [*scale, *scale]`. Do not round.",
    )
    worked = (
        "A picture of 100 x 300 pixels was packed to 50 x 100: one packed pixel is 2 rows high and 3 columns wide.\n"
        "The packed box [10, 20, 30, 40] is [20, 60, 60, 120] in the original.\n"
        "With one scale for both axes the box would be beside the cell."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Draw packed boxes and sizes whose scales differ."""
        packed = [int(side) for side in random.integers(100, 200, 2)]
        original = [packed[0] * 2 + int(random.integers(1, 50)), packed[1] * 4 + int(random.integers(1, 50))]
        low = random.uniform(0, 60, (5, 2))
        boxes = np.concatenate([low, low + random.uniform(5, 40, (5, 2))], axis=1)
        return {"packed": packed, "original": original, "boxes": boxes.tolist()}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the boxes, the box of the whole picture, and what becomes of no boxes."""
        convert, sizes = names["to_original"], (given["packed"], given["original"])
        return {
            "boxes": np.asarray(convert(np.array(given["boxes"]), *sizes), np.float64),
            "whole": np.asarray(convert(np.array([[0.0, 0.0, *given["packed"]]]), *sizes), np.float64),
            "none": np.asarray(convert(np.zeros((0, 4)), *sizes), np.float64).size,
        }

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect a scale for each axis."""
        (rows, columns), (high, wide) = given["packed"], given["original"]
        whole = answer["whole"][0]
        expect.that(
            "the box around the whole packed picture becomes that around the original",
            _same(whole, [0, 0, high, wide]),
            whole,
            [0, 0, high, wide],
        )
        right = [
            [a * high / rows, b * wide / columns, c * high / rows, d * wide / columns] for a, b, c, d in given["boxes"]
        ]
        found = answer["boxes"]
        matching = len(found) == len(right)
        expect.that(
            "rows are scaled by the height",
            matching and all(_near(a[0], b[0]) and _near(a[2], b[2]) for a, b in zip(found, right, strict=True)),
        )
        expect.that(
            "columns are scaled by the width",
            matching and all(_near(a[1], b[1]) and _near(a[3], b[3]) for a, b in zip(found, right, strict=True)),
        )
        expect.equal("no boxes stay no boxes", answer["none"], 0)


class Iou(Exercise):
    """The learner writes intersection over union."""

    id = "m08.iou"
    title = "intersection over union"
    names = ("iou",)
    hints = (
        "Shared height times shared width, over the area of both together. A negative length is 0.",
        "`height = max(0, min(a[2], b[2]) - max(a[0], b[0]))`, the width with 1 and 3; union = a + b - shared.",
    )
    worked = (
        "a = [0, 0, 2, 2] and b = [0, 1, 2, 3]: shared rows 0 to 2 (2), shared columns 1 to 2 (1): shared area 2.\n"
        "Areas 4 and 4, together 4 + 4 - 2 = 6. IoU = 2 / 6 = 0.333.\n"
        "Boxes far away along both axes: two negative lengths, whose product would be positive. Hence the max(0, ...)."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Draw pairs on a small grid, where an area can be counted pixel by pixel."""
        low = random.integers(0, 12, (2, 2))
        first = [*low[0].tolist(), *(low[0] + random.integers(4, 12, 2)).tolist()]
        second = [*(low[0] + 2).tolist(), *(low[0] + 2 + random.integers(4, 12, 2)).tolist()]
        side = int(random.integers(3, 9))
        return {
            "general": [first, second],
            "itself": [first, first],
            "inside": [[0, 0, 2 * side, 3 * side], [1, 1, side, side]],
            "touching": [[0, 0, side, side], [0, side, side, 2 * side]],
            "beside": [[0, 0, side, side], [1, side + 3, side, side + 7]],
            "diagonal": [[0, 0, side, side], [side + 2, side + 3, 2 * side + 2, 2 * side + 3]],
            "empty": [[1, 1, 1, 1], [1, 1, 1, 1]],
        }

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the IoU of each pair, and of the first in the other order."""
        values = {name: float(names["iou"](*pair)) for name, pair in given.items() if name != "empty"}
        values["swapped"] = float(names["iou"](*reversed(given["general"])))
        try:
            values["empty"] = float(names["iou"](*given["empty"]))
        except ZeroDivisionError:
            values["empty"] = float("inf")
        return values

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect what counting pixels gives."""
        truth = {name: counted_iou(*pair) for name, pair in given.items()}
        expect.close("a box and itself", answer["itself"], 1.0)
        expect.close("boxes that only touch share nothing: edges are continuous, no + 1", answer["touching"], 0.0)
        expect.close("boxes beside each other share nothing", answer["beside"], 0.0)
        expect.close("boxes apart along both axes share nothing (two negatives are no area)", answer["diagonal"], 0.0)
        expect.close("a box inside another: its share of the larger one", answer["inside"], truth["inside"])
        expect.close("any two boxes, as counted pixel by pixel", answer["general"], truth["general"])
        expect.close("the order of the two does not matter", answer["swapped"], truth["general"])
        expect.close("boxes of no size have the overlap 0, not an error", answer["empty"], 0.0)


class Nms(Exercise):
    """The learner removes double boxes."""

    id = "m08.nms"
    title = "one cell, one box"
    names = ("nms",)
    hints = (
        "Go through the boxes, best score first. Keep one unless a box that you *kept* overlaps it too much.",
        "`for row in np.argsort(-scores):` keep it `if all(iou(boxes[row], boxes[other]) <= limit for other in kept)`.",
    )
    worked = (
        "Scores 0.9, 0.8, 0.7 in a chain: the second overlaps the first and the third by 0.6, the first and the third\n"
        "overlap by 0.3; the limit is 0.5. Keep the first. The second overlaps it: dropped. The third overlaps only\n"
        "the second, and that was dropped: keep it. Result: rows 0 and 2."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Draw doubles, a chain, a pair at the limit, and a heap of boxes."""
        low = random.integers(0, 18, (30, 2))
        heap = np.concatenate([low, low + random.integers(6, 12, (30, 2))], axis=1)
        scores = random.permutation(np.linspace(0.05, 0.95, 30))
        return {
            "double": [[[0, 0, 10, 10], [0, 1, 10, 11], [20, 20, 30, 30]], [0.6, 0.9, 0.3], 0.5],
            "chain": [[[0, 0, 10, 10], [0, 3, 10, 13], [0, 6, 10, 16]], [0.9, 0.8, 0.7], 0.5],
            "limit": [[[0, 0, 4, 4], [0, 0, 4, 2]], [0.9, 0.8], 0.5],
            "heap": [heap.tolist(), scores.tolist(), 0.3],
            "none": [[], [], 0.5],
        }

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the rows that are kept, for each."""
        return {
            name: [int(row) for row in names["nms"](np.array(boxes, float).reshape(-1, 4), np.array(scores), limit)]
            for name, (boxes, scores, limit) in given.items()
        }

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the greedy result."""
        expect.that(
            "of two boxes of one cell the better one stays", set(answer["double"]) == {1, 2}, answer["double"], [1, 2]
        )
        expect.equal("a dropped box drops no other: of a chain both ends stay", sorted(answer["chain"]), [0, 2])
        expect.equal("a box that overlaps by exactly the limit stays", sorted(answer["limit"]), [0, 1])
        right = greedy(*given["heap"])
        expect.equal("of a heap of boxes the right ones stay", sorted(answer["heap"]), sorted(right))
        expect.equal("the best box comes first, and so on", answer["heap"], right)
        expect.equal("of no boxes none stay", answer["none"], [])


def counted_iou(first: Box, second: Box) -> float:
    """Return the intersection over union of two boxes with whole edges from 0 to 63, by counting pixels."""
    masks = np.zeros((2, 64, 64), bool)
    for mask, (top, left, bottom, right) in zip(masks, (first, second), strict=True):
        mask[int(top) : int(bottom), int(left) : int(right)] = True
    both = int(masks.any(axis=0).sum())
    return int(masks.all(axis=0).sum()) / both if both else 0.0


def greedy(boxes: Sequence[Box], scores: Sequence[float], limit: float) -> list[int]:
    """Return the rows of the boxes that stay, best first."""
    waiting, kept = sorted(range(len(boxes)), key=lambda row: -scores[row]), []
    while waiting:
        best = waiting.pop(0)
        kept.append(best)
        waiting = [row for row in waiting if counted_iou(boxes[best], boxes[row]) <= limit]
    return kept


def _near(found: Any, expected: float) -> bool:
    return isinstance(found, int | float) and abs(found - expected) <= 1e-6 * max(1.0, abs(expected))


def _same(found: Any, expected: Sequence[float]) -> bool:
    return len(found) == len(expected) and all(map(_near, found, expected))
