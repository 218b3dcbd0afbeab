"""Exercises on pictures and where they lie, windows, spacing, orientation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ai4diag.course.exercise import Exercise, Expectations

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
        """Return windows, and stored numbers around each; one picture has middle greys only, one has a metal clip."""
        cases = []
        for number in range(3):
            slope, intercept = (1.0, -1024.0) if number < 2 else (float(random.uniform(0.4, 2)), -float(number * 500))
            centre, width = float(random.integers(30, 500)), float(random.integers(60, 900))
            reach = 0.3 * width if number == 1 else width
            hu = np.linspace(centre - reach, centre + reach, 13)
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
            hu = np.array(case["stored"]) * slope + intercept
            at = (hu - centre) / width  # 0 in the middle, 0.5 at the white end
            places.append((at, np.asarray(found, float).reshape(at.shape)))
        low, high = _greys(places, lambda at: at <= -0.5), _greys(places, lambda at: at >= 0.5)
        expect.that("at and below centre - width / 2 everything is black, 0", _all(low, 0), _range(low), "0")
        expect.that("at and above centre + width / 2 everything is white, 1", _all(high, 1), _range(high), "1")
        names = (
            "stored numbers become HU by slope and intercept (1, -1024)",
            "a picture of middle greys alone is not stretched to black and white",
            "... by any other slope and intercept",
        )
        for name, (at, found) in zip(names, places[:3], strict=True):
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
            # an axis that stays has its spacing exactly: `grid.finer` leaves one of nearly the same spacing alone
            spacing = np.where(np.equal(own, wanted), 1.0, random.uniform(0.95, 1.05)) * np.array(own)
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
        """Return pairs of grids of equal voxels: reversed, reordered (a cube), and both on an image that is not RAS."""
        cases = []
        for order, reverse, sides, spacing in (
            ((0, 1, 2), (0,), (6, 6, 6), (1.0, 1.0, 1.0)),
            ((1, 0, 2), (), (6, 6, 6), (1.0, 1.0, 1.0)),
            (tuple(random.permutation(3).tolist()), (1, 2), (5, 6, 8), (0.8, 1.1, 3.0)),
        ):
            image = np.diag([*spacing, 1.0])
            image[:3, 3] = random.uniform(-50, 50, 3)
            if len(set(sides)) > 1:
                image[:, :3] = image[:, [1, 0, 2]] * [1, -1, -1]  # to the front, to the left, to the feet
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
            "reversed, in another order, and the image itself does not run to right, front and head",
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
