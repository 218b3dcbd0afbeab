"""Synthetic chest phantoms with nodules: a 3D detection data set that every machine can make in seconds.

A phantom is a body with two lungs, vessels that branch through them, and nodules, in Hounsfield units, with
noise and the blur of voxels that lie partly in two things (partial volume). Nodules are spheres; vessels are as bright
and as thick, but long. It is written as a scanner would: voxels that are no cubes, and axes that may run against the
patient's, so that whoever mixes up an axis, a sign or a unit finds nothing.

Nothing here comes from a person. A detector that finds these nodules is no evidence about patients.

The same seed gives the same voxels: every phantom has a random generator of its own, seeded by (seed, number).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

Floats = npt.NDArray[np.float64]
AIR_HU, LUNG_HU, BODY_HU = -1000.0, -860.0, 40.0
SITES = ("north", "south")
FIELD_MM = (112.0, 96.0, 88.0)
"""Length of the volume to the right, the front and the head: the size of a child's chest, for speed."""
SMALL_MM = 5.0
"""Smaller nodules are written down as findings that nobody needs to find."""


@dataclass(frozen=True)
class Sphere:
    """A nodule: middle `(3,)` in millimetres, RAS+, and diameter."""

    centre_mm: Floats
    diameter_mm: float


@dataclass(frozen=True)
class Phantom:
    """One volume and its truth.

    Attributes:
        array: int16 `(i, j, k)`, Hounsfield units.
        affine: from voxel index to millimetres, RAS+, `(4, 4)`; axes may be exchanged with none and reversed.
        nodules: those to be found.
        small: those of less than `SMALL_MM`, which count neither way.
        site: one of `SITES`.
    """

    array: npt.NDArray[np.int16]
    affine: Floats
    nodules: tuple[Sphere, ...]
    small: tuple[Sphere, ...]
    site: str


def make_phantom(number: int, seed: int) -> Phantom:
    """Return a phantom; the same number and seed give the same one. Every tenth has no nodule to be found."""
    rng = np.random.default_rng([seed, number])
    site = SITES[number % len(SITES)]
    spacing = np.array([1.5, 1.5, 2.5] if site == "north" else [1.25, 1.25, 2.0])
    sides = np.round(np.array(FIELD_MM) * rng.uniform(0.92, 1.0, 3) / spacing).astype(int)
    signs = np.where(rng.random(3) < 0.5, -1.0, 1.0)
    affine = np.diag([*(signs * spacing), 1.0])
    affine[:3, 3] = np.where(signs < 0, (sides - 1) * spacing, 0.0) + rng.uniform(-150, 150, 3)
    chest = _Chest(affine, tuple(sides.tolist()), rng)
    for _ in range(int(rng.integers(14, 20))):
        chest.add_vessel()
    count = 0 if number % 10 == 9 else int(rng.integers(1, 4))
    nodules = [chest.add_nodule(rng.uniform(7, 18)) for _ in range(count)]
    small = [chest.add_nodule(rng.uniform(3, SMALL_MM)) for _ in range(int(rng.integers(0, 2)))]
    return Phantom(
        chest.scanned(30.0 if site == "north" else 20.0),
        affine,
        tuple(one for one in nodules if one is not None),
        tuple(one for one in small if one is not None),
        site,
    )


class _Chest:
    """A chest that is being filled; all lengths in millimetres from its middle."""

    def __init__(self, affine: Floats, sides: tuple[int, int, int], rng: np.random.Generator) -> None:
        self.rng = rng
        self._steps = np.diag(affine)[:3]
        self._middle = affine[:3, :3] @ ((np.array(sides) - 1) / 2) + affine[:3, 3]
        self._axes = [(np.arange(side) - (side - 1) / 2) * step for side, step in zip(sides, self._steps, strict=True)]
        x, y, z = np.meshgrid(*self._axes, indexing="ij", sparse=True)
        half = np.abs(self._steps) * np.array(sides) / 2
        body = (x / half[0]) ** 2 + (y / half[1]) ** 2
        self.values = np.where(body < 0.97, BODY_HU, AIR_HU) + 0 * z
        width, depth, height = half * (0.36, 0.72, 0.86)
        self._lungs = [(np.array([side * 0.46 * half[0], 0, 0]), np.array([width, depth, height])) for side in (-1, 1)]
        for centre, radii in self._lungs:
            inside = sum(
                ((axis - c) / r) ** 2 for axis, c, r in zip((x, y, z), centre.tolist(), radii.tolist(), strict=True)
            )
            self.values[inside < 1] = LUNG_HU
        self._nodules: list[Sphere] = []

    def add_vessel(self) -> None:
        """Let a vessel grow from the root of a lung outwards, thinner and thinner, in bends."""
        rng = self.rng
        centre, radii = self._lungs[int(rng.integers(2))]
        place = centre + radii * (-0.55 * np.sign(centre[0]), rng.uniform(-0.2, 0.2), rng.uniform(-0.3, 0.3))
        heading = rng.normal(size=3) + np.array([np.sign(centre[0]) * 0.8, 0, 0])
        radius = rng.uniform(2.0, 4.0)
        for _ in range(12):
            heading = heading / np.linalg.norm(heading) + rng.normal(scale=0.35, size=3)
            after = place + heading / np.linalg.norm(heading) * 7
            if (((after - centre) / radii) ** 2).sum() > 0.95:
                return
            self._paint_tube(place, after, radius)
            place, radius = after, radius * 0.9

    def add_nodule(self, diameter_mm: float) -> Sphere | None:
        """Put a nodule into a lung, clear of the others; None when there is no room."""
        rng = self.rng
        for _ in range(50):
            centre, radii = self._lungs[int(rng.integers(2))]
            direction = rng.normal(size=3)
            reach = rng.uniform(0.2, 1) ** (1 / 3)
            place = centre + direction / np.linalg.norm(direction) * reach * (radii - diameter_mm / 2 - 1)
            if all(np.linalg.norm(place - one.centre_mm) > diameter_mm + one.diameter_mm for one in self._nodules):
                self._nodules.append(Sphere(place, diameter_mm))
                self._paint_tube(place, place, diameter_mm / 2, rng.uniform(-60, 80))
                return Sphere(place + self._middle, diameter_mm)
        return None

    def scanned(self, noise_hu: float) -> npt.NDArray[np.int16]:
        """Blur as a reconstruction does, add noise, and return Hounsfield units."""
        picture = gaussian_filter(self.values, 0.4, mode="nearest")
        picture += gaussian_filter(self.rng.standard_normal(picture.shape), 0.5) * noise_hu * 2
        found: npt.NDArray[np.int16] = np.clip(np.rint(picture), -1024, 3000).astype(np.int16)
        return found

    def _paint_tube(self, start: Floats, end: Floats, radius: float, value_hu: float = 30.0) -> None:
        """Paint what lies within `radius` of the line from start to end; voxels on the edge in part."""
        soft = float(np.abs(self._steps).mean())
        reach = radius + soft
        low, high = np.minimum(start, end) - reach, np.maximum(start, end) + reach
        inside = [(axis >= a) & (axis <= b) for axis, a, b in zip(self._axes, low, high, strict=True)]
        if not all(one.any() for one in inside):
            return
        window = tuple(slice(int(np.flatnonzero(one)[0]), int(np.flatnonzero(one)[-1]) + 1) for one in inside)
        grid = np.meshgrid(*(axis[part] for axis, part in zip(self._axes, window, strict=True)), indexing="ij")
        points = np.stack(grid, -1)
        along = end - start
        share = np.clip((points - start) @ along / max(float(along @ along), 1e-9), 0, 1)
        distance = np.linalg.norm(points - start - share[..., None] * along, axis=-1)
        cover = np.clip((radius - distance) / soft + 0.5, 0, 1)
        piece = self.values[window]
        piece[...] = np.where(cover > 0, np.maximum(piece, piece + (value_hu - piece) * cover), piece)
