"""Exercises on identifiers, in headers and in pixels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ai4diag.course.exercise import Exercise, Expectations
from ai4diag.course.lessons.m03.headers import KEPT, draw_header


class Clean(Exercise):
    """A header keeps what is needed, and nothing else."""

    id = "m03.clean"
    title = "keep what is needed"
    names = ("clean",)
    hints = (
        "Do not take things away from the old dataset: begin with an empty one, and put in what may stay.",
        "kept = pydicom.Dataset(); for each keyword in KEEP that is `in dataset`: kept[keyword] = dataset[keyword].",
    )
    worked = (
        "A dataset with Rows = 2, PatientName = 'A^B', private (0033,1013) = 'A^B'; KEEP = ['Rows', 'Columns'].\n"
        "kept is empty. 'Rows' is in the dataset: kept.Rows = 2. 'Columns' is not there: nothing to do.\n"
        "kept has one element. The private one was never asked for, so nobody had to know of it."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return three headers as DICOM JSON, and the identifiers in them by the kind of place."""
        return {"headers": [draw_header(random, number) for number in range(3)]}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return what is left of each header, and what it made of the header that it was given."""
        from pydicom import Dataset

        lines = []
        for header in given["headers"]:
            dataset = Dataset.from_json(json.dumps(header["elements"]))
            before = dataset.to_json_dict()
            left = names["clean"](dataset)
            plain = json.loads(json.dumps(left.to_json_dict()))  # pydicom's values have classes of their own
            lines.append({"left": plain, "unchanged": dataset.to_json_dict() == before})
        return lines

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect no identifier in any kind of place, and every element that is needed."""
        texts = [json.dumps(line["left"], ensure_ascii=False).lower() for line in answer]
        for kind in given["headers"][0]["identifiers"]:
            pairs = [(text, header["identifiers"][kind]) for text, header in zip(texts, given["headers"], strict=True)]
            left = [value for text, values in pairs for value in values if value.lower() in text]
            expect.that(
                f"no identifier is left {kind}", not left, f"{len(left)} left, such as {left[0]}" if left else ""
            )
        lost = [
            name
            for line, header in zip(answer, given["headers"], strict=True)
            for tag, name in KEPT.items()
            if line["left"].get(tag, {}).get("Value") != header["elements"][tag]["Value"]
        ]
        expect.that(
            "the elements of KEEP are there, with their values", not lost, ", ".join(sorted(set(lost))), "none lost"
        )
        more = sorted({tag for line in answer for tag in line["left"]} - set(KEPT))
        expect.that("nothing else is there, not even an emptied element", not more, ", ".join(more), "none")
        kept = all(line["unchanged"] for line in answer)
        expect.that("the dataset that was given is still as it was", kept, "" if kept else "it was changed")


class Pixels(Exercise):
    """Only the picture itself is shared."""

    id = "m03.pixels"
    title = "pixels to share"
    names = ("to_share",)
    hints = (
        "Begin with black: np.zeros_like(pixels). Then copy the rectangle. Where there is none, return None at once.",
        "Rows come first in an array: pixels[y0 : y1 + 1, x0 : x1 + 1].",
    )
    worked = (
        "pixels of 3 rows and 4 columns; region x0 = 1, x1 = 3, y0 = 2, y1 = 2.\n"
        "Rows 2 to 2, columns 1 to 3: pixels[2:3, 1:4] stays, everything else becomes 0.\n"
        "region = None: return None, so that nobody can take it for a picture."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return a grey and a colour picture, brighter than 0 everywhere, with their rectangles."""
        cases = []
        for shape in ((11, 17), (9, 14, 3)):
            y0, x0 = (int(random.integers(1, 4)) for _ in range(2))
            y1, x1 = int(random.integers(y0 + 1, shape[0] - 1)), int(random.integers(x0 + 4, shape[1] - 1))
            region = {"x0": x0, "x1": x1, "y0": y0, "y1": y1}
            cases.append({"pixels": random.integers(1, 255, shape), "region": region})
        return {"cases": cases}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return what is shared of each, of a picture without a rectangle, and whether the pixels are as they were."""
        shared, unchanged, same_type = [], True, True
        for case in given["cases"]:
            pixels = np.array(case["pixels"], np.uint8)
            before = pixels.copy()
            shared.append(np.asarray(names["to_share"](pixels, dict(case["region"]))))
            same_type = same_type and shared[-1].dtype == pixels.dtype
            unchanged = unchanged and bool((pixels == before).all())
        unknown = names["to_share"](np.array(given["cases"][0]["pixels"], np.uint8), None)
        return {
            "shared": shared,
            "same_type": same_type,
            "unknown_is_none": unknown is None,
            "unchanged": unchanged,
        }

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the rectangle, black around it, and nothing where no rectangle is known."""
        for name, case, found in zip(("grey", "colour"), given["cases"], answer["shared"], strict=True):
            pixels, found, region = np.array(case["pixels"]), np.asarray(found, float), case["region"]
            if not expect.that(f"{name}: the shape is kept", found.shape == pixels.shape, found.shape, pixels.shape):
                continue
            row, column = np.indices(pixels.shape[:2])
            rows, columns = (
                (row >= region["y0"]) & (row <= region["y1"]),
                (column >= region["x0"]) & (column <= region["x1"]),
            )
            inside = rows & columns
            edge = inside & ((row == region["y1"]) | (column == region["x1"]))
            expect.that(f"{name}: everything outside the rectangle is black", not found[~inside].any())
            inner = bool((found[inside & ~edge] == pixels[inside & ~edge]).all())
            expect.that(f"{name}: inside, the picture is as it was (x counts columns, y counts rows)", inner)
            last = bool((found[edge] == pixels[edge]).all())
            expect.that(f"{name}: the last row and column, y1 and x1, belong to the picture", last)
        expect.equal("the type of the pixels is kept", answer["same_type"], True)
        expect.equal("where no rectangle is known, nothing is shared: None", answer["unknown_is_none"], True)
        expect.equal("the pixels that were given are still as they were", answer["unchanged"], True)
