"""Checks of lesson 3: windows, spacing, orientation, identifiers in headers and in pixels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ai4diag.course.exercise import Exercise, Expectations
from ai4diag.course.invented import KEPT, draw_header
from ai4diag.course.quiz import Question, Quiz

Floats = npt.NDArray[np.float64]


class Window(Exercise):
    """Stored numbers become greys by way of Hounsfield units."""

    id = "m03.window"
    title = "a window"
    names = ("window",)
    hints = (
        "Two steps: stored numbers to Hounsfield units, then Hounsfield units to greys. Nothing of the picture itself, "
        "such as its largest value, has a part in it.",
        "hu = stored * slope + intercept; black is centre - width / 2; the grey is (hu - black) / width, cut off by "
        "np.clip(..., 0, 1).",
    )
    worked = (
        "stored = 1084, slope 1, intercept -1024: 1084 * 1 - 1024 = 60 HU.\n"
        "Window centre 40, width 80: black at 40 - 40 = 0 HU, white at 40 + 40 = 80 HU.\n"
        "Grey: (60 - 0) / 80 = 0.75. A voxel of 900 HU would be 11.25, cut off to 1."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return windows, and stored numbers below, within and above each; one picture has a metal clip."""
        cases = []
        for number in range(3):
            slope, intercept = (1.0, -1024.0) if number < 2 else (float(random.uniform(0.4, 2)), -float(number * 500))
            centre, width = float(random.integers(30, 500)), float(random.integers(60, 900))
            hu = np.linspace(centre - width, centre + width, 13)
            stored = np.clip(np.round((hu - intercept) / slope), 0, 65535).astype(int)
            cases.append({"stored": stored.tolist(), "about": [slope, intercept, centre, width]})
        cases.append({**cases[0], "stored": [*cases[0]["stored"], 4095, 0]})
        return {"cases": cases}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the greys of each picture."""
        made = [names["window"](np.array(case["stored"], np.uint16), *case["about"]) for case in given["cases"]]
        return [np.asarray(grey, float) for grey in made]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect greys that follow from HU, centre and width alone."""
        places = []
        for case, found in zip(given["cases"], answer, strict=True):
            slope, intercept, centre, width = case["about"]
            at = (
                np.array(case["stored"]) * slope + intercept - centre
            ) / width  # 0 in the middle, 0.5 at the white end
            places.append((at, np.asarray(found, float).reshape(at.shape)))
        low, high = _greys(places, lambda at: at <= -0.5), _greys(places, lambda at: at >= 0.5)
        expect.that("at and below centre - width / 2 everything is black, 0", _all(low, 0), _range(low), "0")
        expect.that("at and above centre + width / 2 everything is white, 1", _all(high, 1), _range(high), "1")
        names = ("stored numbers become HU by slope and intercept (1, -1024)", "... by any other slope and intercept")
        for name, (at, found) in zip(names, (places[0], places[2]), strict=True):
            inside = np.abs(at) < 0.5
            wanted = at[inside] + 0.5
            expect.that(
                name, bool(np.allclose(found[inside], wanted, atol=1e-3)), _three(found[inside]), _three(wanted)
            )
        same = bool(np.allclose(places[0][1], places[3][1][:-2], atol=1e-6))
        expect.that(
            "a metal clip in the picture changes no other voxel", same, _three(places[3][1]), _three(places[0][1])
        )


class Resample(Exercise):
    """A volume at another spacing stays where it is in the patient."""

    id = "m03.resample"
    title = "another spacing"
    names = ("resampled",)
    hints = (
        "grid.finer makes the new grid, grid.places says where its voxels lie on the old one, grid.linear reads values "
        "there.",
        "places = grid.places(new_affine, sides, affine): first the grid whose voxels are asked for, last the old "
        "affine; then grid.linear(array[None], places)[0].",
    )
    worked = (
        "One axis of 6 voxels of 1 mm, the first centre at 0 mm: the block reaches from -0.5 to 5.5 mm.\n"
        "At 2 mm it has 3 voxels. The first reaches from -0.5 to 1.5 mm, so its centre, the new origin, is 0.5 mm.\n"
        "On the old axis the new centres lie at 0.5, 2.5, 4.5 voxels: that is what grid.places returns.\n"
        "Whoever keeps the origin at 0 has moved everything by 0.5 mm."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return two volumes with a blob: one becomes coarser in the plane, one finer between the slices."""
        cases = []
        for own, wanted in (((0.7, 0.8, 2.5), (2.0, 2.0, 2.5)), ((1.5, 1.5, 6.0), (1.5, 1.5, 1.9))):
            spacing = np.array(own) * random.uniform(0.95, 1.05)
            sides = np.round(np.array([36, 42, 48]) / own).astype(int)
            affine = np.diag([*spacing, 1.0])
            affine[:3, 3] = random.uniform(-80, 80, 3)
            blob = affine[:3, 3] + spacing * sides * random.uniform(0.4, 0.6, 3)
            cases.append({"affine": affine, "sides": sides, "blob": blob, "spacing_mm": list(wanted)})
        return {"cases": cases}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return spacing, sides, mass and centre of mass of what was made of each volume; the arrays are too long."""
        lines = []
        for case in given["cases"]:
            array, affine = names["resampled"](_blob(case), np.array(case["affine"]), tuple(case["spacing_mm"]))
            array, affine = np.asarray(array, float), np.asarray(affine, float)
            lines.append({"affine": affine, "sides": array.shape, "mass": float(array.sum()), "centre": _centre(array)})
        return lines

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the spacing within 0.001 mm, the block covered, and the blob where it was."""
        for case, found, name in zip(given["cases"], answer, ("coarser", "finer"), strict=True):
            affine, own = np.array(found["affine"], float), np.array(case["affine"], float)
            spacing = np.linalg.norm(affine[:3, :3], axis=0)
            off = float(np.abs(spacing - case["spacing_mm"]).max())
            expect.that(
                f"{name}: the spacing is right within 0.001 mm",
                off <= 1e-3,
                spacing.round(4).tolist(),
                case["spacing_mm"],
            )
            block = np.array(case["sides"]) * np.diag(own)[:3]
            sides = np.round(block / case["spacing_mm"]).astype(int)
            near = len(found["sides"]) == 3 and bool((np.abs(np.array(found["sides"]) - sides) <= 1).all())
            expect.that(f"{name}: as many voxels as cover the same block", near, found["sides"], sides.tolist())
            if not near:
                continue
            lies = affine[:3, :3] @ np.array(found["centre"], float) + affine[:3, 3]
            moved = float(np.abs(lies - case["blob"]).max())
            says = f"moved by {moved:.2f} mm"
            expect.that(f"{name}: what is in the picture has not moved in the patient", moved < 0.15, says, "0 mm")
            mass = found["mass"] * abs(float(np.linalg.det(affine[:3, :3])))
            before = float(_blob(case).sum()) * abs(float(np.linalg.det(own[:3, :3])))
            kept = abs(mass - before) < 0.03 * before
            expect.that(f"{name}: brightness times volume stays the same", kept, round(mass, 1), round(before, 1))


class Overlay(Exercise):
    """A mask is brought to the axes of its image."""

    id = "m03.overlay"
    title = "a mask on its image"
    names = ("onto",)
    hints = (
        "Go by way of a common order: first the mask to RAS, then from RAS to the axes of the image.",
        "upright = Volume(mask[None], mask_affine).canonical(); the image's volume then has back(upright.array), of "
        "which you take channel [0].",
    )
    worked = (
        "Two axes only. The image's axes run to the right and to the front; the mask's to the front and to the left.\n"
        "mask = [[0, 1, 0], [0, 0, 2]]: first index to the front, second to the left.\n"
        "Reverse the second axis, so that it runs to the right: [[0, 1, 0], [2, 0, 0]].\n"
        "Exchange the axes, so that right comes first: [[0, 2], [1, 0], [0, 0]]. That lies on the image."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return pairs of grids of the same voxels: reversed, reordered (a cube), and both with other spacing."""
        cases = []
        for order, reverse, sides, spacing in (
            ((0, 1, 2), (0,), (6, 6, 6), (1.0, 1.0, 1.0)),
            ((1, 0, 2), (), (6, 6, 6), (1.0, 1.0, 1.0)),
            (tuple(random.permutation(3).tolist()), (1, 2), (5, 6, 8), (0.8, 1.1, 3.0)),
        ):
            image = np.diag([*spacing, 1.0])
            image[:3, 3] = random.uniform(-50, 50, 3)
            mask_to_image = np.zeros((4, 4))  # from index of the mask to index of the image
            mask_to_image[3, 3] = 1
            for axis, towards in enumerate(order):
                mask_to_image[towards, axis] = -1 if towards in reverse else 1
                mask_to_image[towards, 3] = sides[towards] - 1 if towards in reverse else 0
            mask = random.choice([0, 0, 0, 1, 2], [sides[towards] for towards in order])
            cases.append({"mask": mask, "mask_affine": image @ mask_to_image, "shape": sides, "affine": image})
        return {"cases": cases}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the masks on their images; where the call fails, what it said."""
        found = []
        for case in given["cases"]:
            mask, own, affine = (
                np.array(case["mask"], np.uint8),
                np.array(case["mask_affine"]),
                np.array(case["affine"]),
            )
            found.append(np.asarray(names["onto"](mask, own, tuple(case["shape"]), affine), float))
        return found

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect each voxel of the mask at the place in the patient that its affine says."""
        names = (
            "a mask that runs from right to left lies right, although its shape is that of the image",
            "a mask with axes in another order lies right, although it is a cube",
            "reversed, in another order, and with voxels of three lengths",
        )
        for name, case, found in zip(names, given["cases"], answer, strict=True):
            mask, wanted = np.array(case["mask"]), np.zeros(case["shape"])
            at = (
                np.linalg.inv(case["affine"])
                @ case["mask_affine"]
                @ np.vstack([np.argwhere(mask >= 0).T, mask.size * [1]])
            )
            wanted[tuple(np.round(at[:3]).astype(int))] = mask.ravel()
            if not expect.that(f"{name}: its shape", np.shape(found) == wanted.shape, np.shape(found), wanted.shape):
                continue
            wrong = int((np.asarray(found, float) != wanted).sum())
            expect.that(name, wrong == 0, f"{wrong} of {wanted.size} voxels wrong", "none wrong")


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
        shared, unchanged = [], True
        for case in given["cases"]:
            pixels = np.array(case["pixels"], np.uint8)
            before = pixels.copy()
            shared.append(np.asarray(names["to_share"](pixels, dict(case["region"]))))
            unchanged = unchanged and bool((pixels == before).all())
        unknown = names["to_share"](np.array(given["cases"][0]["pixels"], np.uint8), None)
        return {"shared": shared, "unknown_is_none": unknown is None, "unchanged": unchanged}

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
        expect.equal("where no rectangle is known, nothing is shared: None", answer["unknown_is_none"], True)
        expect.equal("the pixels that were given are still as they were", answer["unchanged"], True)


def _greys(places: list[tuple[Floats, Floats]], chosen: Any) -> Floats:
    return np.concatenate([found[chosen(at)] for at, found in places])


def _three(values: Floats) -> list[float]:
    found: list[float] = values[:3].round(3).tolist()
    return found


def _all(found: Floats, wanted: float) -> bool:
    return bool(np.allclose(found, wanted, atol=1e-6))


def _range(found: Floats) -> str:
    return f"{found.min():.4g} to {found.max():.4g}"


def _blob(case: dict[str, Any]) -> Floats:
    """Return a soft ball of 5 mm around `blob`, 100 in its middle, on the grid of a case, `(i, j, k)`."""
    affine = np.array(case["affine"])
    total = np.zeros(case["sides"])
    for axis in range(3):
        along = affine[axis, 3] + affine[axis, axis] * np.arange(case["sides"][axis]) - case["blob"][axis]
        total = total + (along**2).reshape([-1 if a == axis else 1 for a in range(3)])
    result: Floats = 100 * np.exp(-0.5 * total / 5.0**2)
    return result


def _centre(array: Floats) -> list[float]:
    """Return the centre of mass in voxels; 0 where there is no mass."""
    total = float(array.sum()) or 1.0
    return [
        float((array.sum(tuple(b for b in range(array.ndim) if b != a)) * np.arange(side)).sum() / total)
        for a, side in enumerate(array.shape)
    ]


EXERCISES = (
    Window(),
    Resample(),
    Overlay(),
    Clean(),
    Pixels(),
    Quiz(
        "m03",
        Question(
            "A CT file stores 1,060 in a voxel; slope 1, intercept -1024. What is it, in a window 40 / 80?",
            (
                "white: 1,060 is far above 80",
                "36 HU, a little darker than middle grey",
                "black: it is below 1,024 + 40",
            ),
            "b",
            "1,060 - 1,024 = 36 HU, just below the centre, 40 HU.",
        ),
        Question(
            "Why are MR volumes not shown in one fixed window, as CT is?",
            (
                "MR has no common unit: the same tissue has other numbers in each scan",
                "MR files hold no slope and intercept because they are smaller",
                "MR has more greys than a screen can show",
            ),
            "a",
            "Hounsfield units are anchored at air and water; intensities of MR are anchored at nothing.",
        ),
        Question(
            "Image and mask both have shape 512 x 512 x 60. What says whether they lie on each other?",
            ("that the shapes are equal", "the file names", "the affines, and nothing else"),
            "c",
            "Axes can be reversed or exchanged without the shape saying so.",
        ),
        Question(
            "A partner's script empties 40 named elements of each DICOM header. What is the main weakness?",
            (
                "40 elements take too long",
                "the pixels are changed by it",
                "private elements, sequences and free text that nobody named stay",
                "DICOM does not allow empty elements",
            ),
            "c",
            "What is not on such a list stays. A list of what may stay can only lose too much.",
        ),
        Question(
            "An ultrasound file has no element BurnedInAnnotation. What do you conclude?",
            (
                "its pixels hold no text, or the machine would have said so",
                "nothing: absent is not no; it is held back until its pixels are known to be clean",
                "it is not DICOM",
            ),
            "b",
            "One of the two images of this lesson says nothing, and has a name in its pixels.",
        ),
    ),
)
