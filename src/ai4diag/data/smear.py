"""Synthetic blood smears with boxes: a detection data set that every machine can make in seconds.

The picture follows the microscope: light falls through a slide and each cell absorbs some of it (Beer-Lambert), so
that overlapping cells are darker, as in a real smear. Red cells are pale in the middle; white cells have a lobed or a
round nucleus in a lighter body; platelets are small and granular. Cells touch, overlap and are cut by the edge, light
is uneven, there is dust and precipitate of stain. What belongs to a patient (size and number of cells, pallor) and to
a site (light, focus, camera noise, favourite stain) is the same in all its images, so that a split by image leaks.

Nothing here comes from a person. Images that look plausible are no evidence about real smears.

The same seed gives the same pixels: every image has a random generator of its own, seeded by (seed, patient, image).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

Floats = npt.NDArray[np.float64]
CLASSES = ("RBC", "WBC", "Platelets")
STAINS = ("wright", "giemsa", "faded")
SITES = ("north", "south", "east")

# Optical density of red, green and blue light in: a red cell, the body of a white cell, a nucleus, precipitate.
_DENSITY = {
    "wright": np.array([[0.08, 0.38, 0.24], [0.22, 0.24, 0.06], [0.85, 1.15, 0.38], [0.9, 1.1, 0.6]]),
    "giemsa": np.array([[0.12, 0.30, 0.20], [0.30, 0.26, 0.08], [1.05, 1.10, 0.45], [1.0, 1.0, 0.7]]),
    "faded": np.array([[0.05, 0.22, 0.15], [0.13, 0.15, 0.05], [0.55, 0.72, 0.26], [0.6, 0.7, 0.5]]),
}
_RED, _BODY, _NUCLEUS, _DIRT = range(4)
_ANGLES = np.linspace(0, 2 * np.pi, 180, endpoint=False)


@dataclass(frozen=True)
class Site:
    """A laboratory: its light, focus, camera and stains.

    Attributes:
        light: colour of the empty slide, red, green, blue, 0..1.
        tilt: relative fall of the light from one side of the image to the other.
        blur_px: standard deviation of the focus.
        noise: standard deviation of the camera noise, in grey levels.
        stains: probability of each of `STAINS`.
    """

    light: tuple[float, float, float]
    tilt: float
    blur_px: float
    noise: float
    stains: tuple[float, float, float]


_SITES = {
    "north": Site((0.95, 0.93, 0.94), 0.10, 0.6, 2.0, (0.70, 0.15, 0.15)),
    "south": Site((0.93, 0.92, 0.87), 0.22, 0.9, 3.5, (0.15, 0.70, 0.15)),
    "east": Site((0.88, 0.90, 0.93), 0.16, 0.75, 5.0, (0.40, 0.25, 0.35)),
}


@dataclass(frozen=True)
class Patient:
    """What all images of a patient share.

    Attributes:
        site: one of `SITES`.
        stain: one of `STAINS`.
        red_radius_px, red_spread: mean radius of red cells, and its relative standard deviation.
        pallor: how pale the middle of a red cell is, 0..1.
        red_count, platelet_count, white_count: mean numbers per image.
        strength: factor on all optical densities.
    """

    site: str
    stain: str
    red_radius_px: float
    red_spread: float
    pallor: float
    red_count: float
    platelet_count: float
    white_count: float
    strength: float


@dataclass(frozen=True)
class Smear:
    """One image and its truth.

    Attributes:
        image: uint8 `(3, rows, columns)`, red, green, blue.
        boxes: float64 `(n, 4)`, [min_0, min_1, max_0, max_1] in pixels, edges continuous, clipped to the image.
        labels: int64 `(n,)`, position in `CLASSES`.
        difficult: bool `(n,)`, less than a quarter of the cell is in the image.
    """

    image: npt.NDArray[np.uint8]
    boxes: Floats
    labels: npt.NDArray[np.int64]
    difficult: npt.NDArray[np.bool_]


def make_patient(number: int, seed: int) -> Patient:
    """Return a synthetic patient; the same number and seed give the same one."""
    rng = np.random.default_rng([seed, number])
    site = SITES[number % len(SITES)]
    return Patient(
        site=site,
        stain=STAINS[int(rng.choice(len(STAINS), p=_SITES[site].stains))],
        red_radius_px=rng.uniform(9.5, 13.0),
        red_spread=rng.uniform(0.04, 0.13),
        pallor=rng.uniform(0.35, 0.85),
        red_count=rng.uniform(14, 34),
        platelet_count=rng.uniform(1.0, 6.0),
        white_count=rng.uniform(0.6, 1.8),
        strength=rng.uniform(0.85, 1.15),
    )


def make_smear(patient: Patient, rng: np.random.Generator, size: int = 192) -> Smear:
    """Draw one image of a patient.

    Args:
        patient: what its images share.
        rng: source of every random choice.
        size: rows and columns of the image.
    """
    field = _Field(patient, rng, size)
    for _ in range(min(3, int(rng.poisson(patient.white_count)))):
        field.add_white()
    for _ in range(int(rng.poisson(patient.red_count))):
        field.add_red()
    for _ in range(int(rng.poisson(patient.platelet_count))):
        field.add_platelet()
    for _ in range(int(rng.poisson(3))):
        field.add_dirt()
    return Smear(field.develop(), *field.truth())


class _Field:
    """A field of view that is being filled with cells."""

    def __init__(self, patient: Patient, rng: np.random.Generator, size: int) -> None:
        self.patient, self.rng, self.size = patient, rng, size
        self.density = np.zeros((3, size, size))
        self.colours = _DENSITY[patient.stain] * patient.strength
        self.placed: list[tuple[float, float, float]] = []
        self.cells: list[tuple[int, Floats, bool]] = []
        self.nuclei = np.zeros((size, size))

    def add_red(self) -> None:
        patient, rng = self.patient, self.rng
        radius = patient.red_radius_px * max(0.6, 1 + patient.red_spread * rng.standard_normal())
        centre = self._place(radius, closest=0.82)
        if centre is None:
            return
        outline = _outline(rng, radius, roughness=0.025, stretch=0.10)
        self._note(0, centre, outline)
        window, distance, edge = self._window(centre, outline, softness=1.2)
        pale = patient.pallor * np.exp(-((distance / rng.uniform(0.38, 0.52)) ** 4))
        rim = 1 + 0.25 * np.exp(-(((distance - 0.8) / 0.18) ** 2))
        self._absorb(window, edge * rim * (1 - pale) * rng.uniform(0.9, 1.1), _RED)

    def add_white(self) -> None:
        rng = self.rng
        round_nucleus = rng.random() < 0.35
        radius = rng.uniform(14, 17) if round_nucleus else rng.uniform(17, 22)
        centre = self._place(radius, closest=0.95)
        if centre is None:
            return
        outline = _outline(rng, radius, roughness=0.05, stretch=0.10)
        self._note(1, centre, outline)
        window, _, edge = self._window(centre, outline, softness=2.0)
        grain = self._grain(window, 1.0)
        self._absorb(window, edge * (1 + 0.5 * grain), _BODY)
        for place, size in _lobes(rng, radius, round_nucleus):
            lobe = _outline(rng, size, roughness=0.06, stretch=0.15)
            window, _, inner = self._window((centre[0] + place[0], centre[1] + place[1]), lobe, softness=1.6)
            share = np.maximum(0, inner - self.nuclei[window])  # lobes that overlap count once
            self._absorb(window, share * (1 + 0.35 * self._grain(window, 1.6)), _NUCLEUS)
            self.nuclei[window] += share

    def add_platelet(self) -> None:
        rng = self.rng
        radius = rng.uniform(2.6, 4.6)
        centre = self._place(radius, closest=1.0)
        if centre is None:
            return
        outline = _outline(rng, radius, roughness=0.10, stretch=0.25)
        self._note(2, centre, outline)
        window, distance, edge = self._window(centre, outline, softness=1.2)
        granules = 0.45 + 0.35 * np.exp(-((distance / 0.6) ** 2)) + 0.2 * self._grain(window, 0.7)
        self._absorb(window, edge * np.maximum(0.1, granules), _NUCLEUS)

    def add_dirt(self) -> None:
        rng = self.rng
        centre = (rng.uniform(0, self.size), rng.uniform(0, self.size))
        if rng.random() < 0.7:  # precipitate: darker and smaller than any platelet
            window, _, edge = self._window(centre, np.full(len(_ANGLES), rng.uniform(0.5, 1.2)), softness=1.0)
            self._absorb(window, edge, _DIRT)
        else:  # a faint smudge, larger than any cell
            outline = _outline(rng, rng.uniform(8, 26), roughness=0.15, stretch=0.4)
            window, _, edge = self._window(centre, outline, softness=8.0)
            self._absorb(window, 0.25 * edge, _BODY)

    def develop(self) -> npt.NDArray[np.uint8]:
        """Let the light through, blur, add noise, and return the image."""
        rng, site, size = self.rng, _SITES[self.patient.site], self.size
        angle, bend = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.10)
        rows, columns = np.meshgrid(*(np.linspace(-0.5, 0.5, size),) * 2, indexing="ij")
        slope = site.tilt * (np.cos(angle) * rows + np.sin(angle) * columns)
        falloff = 1 + slope - bend * 2 * (rows**2 + columns**2)
        plasma = 0.36 * np.abs(gaussian_filter(rng.standard_normal((size, size)), 12, mode="reflect"))
        light = np.asarray(site.light)[:, None, None] * falloff * np.exp(-plasma)
        picture = light * np.exp(-self.density)
        picture = gaussian_filter(picture, (0, site.blur_px, site.blur_px), mode="reflect") * 255
        picture += site.noise * np.sqrt(np.maximum(picture, 0) / 255) * rng.standard_normal(picture.shape)
        image: npt.NDArray[np.uint8] = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
        return image

    def truth(self) -> tuple[Floats, npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return boxes, labels and whether each is difficult."""
        boxes = np.array([box for _, box, _ in self.cells], np.float64).reshape(-1, 4)
        labels = np.array([label for label, _, _ in self.cells], np.int64)
        return boxes, labels, np.array([cut for _, _, cut in self.cells], bool)

    def _place(self, radius: float, closest: float) -> tuple[float, float] | None:
        """Return a place whose distance to every cell is at least `closest` times the sum of radii, or None."""
        for _ in range(30):
            row, column = self.rng.uniform(-0.4 * radius, self.size + 0.4 * radius, 2).tolist()
            if all((row - r) ** 2 + (column - c) ** 2 >= (closest * (radius + s)) ** 2 for r, c, s in self.placed):
                self.placed.append((row, column, radius))
                return row, column
        return None

    def _note(self, label: int, centre: tuple[float, float], outline: Floats) -> None:
        """Note the box of a cell, as far as it is in the image."""
        rows, columns = centre[0] + outline * np.cos(_ANGLES), centre[1] + outline * np.sin(_ANGLES)
        whole = np.array([rows.min(), columns.min(), rows.max(), columns.max()])
        box = np.clip(whole, 0, self.size)
        sides, full = box[2:] - box[:2], whole[2:] - whole[:2]
        if (sides < 1.5).any():
            return
        self.cells.append((label, box, bool(sides.prod() < 0.25 * full.prod())))

    def _window(
        self, centre: tuple[float, float], outline: Floats, softness: float
    ) -> tuple[tuple[slice, slice], Floats, Floats]:
        """Return the window of a shape, the relative distance from its centre, and how much each pixel is covered."""
        reach = float(outline.max()) + softness
        low = [max(0, int(np.floor(value - reach))) for value in centre]
        high = [min(self.size, int(np.ceil(value + reach)) + 1) for value in centre]
        window = slice(low[0], max(low[0], high[0])), slice(low[1], max(low[1], high[1]))
        rows = np.arange(window[0].start, window[0].stop)[:, None] + 0.5 - centre[0]
        columns = np.arange(window[1].start, window[1].stop)[None, :] + 0.5 - centre[1]
        distance = np.hypot(rows, columns)
        border = np.interp(np.arctan2(columns, rows) % (2 * np.pi), _ANGLES, outline, period=2 * np.pi)
        return window, distance / border, np.clip((border - distance) / softness + 0.5, 0, 1)

    def _absorb(self, window: tuple[slice, slice], amount: Floats, colour: int) -> None:
        self.density[:, window[0], window[1]] += self.colours[colour][:, None, None] * amount

    def _grain(self, window: tuple[slice, slice], scale_px: float) -> Floats:
        shape = window[0].stop - window[0].start, window[1].stop - window[1].start
        grain: Floats = gaussian_filter(self.rng.standard_normal(shape), scale_px, mode="reflect") * 2 * scale_px
        return grain


def _outline(rng: np.random.Generator, radius: float, roughness: float, stretch: float) -> Floats:
    """Return the distance of the border from the centre at `_ANGLES`: an ellipse with three gentle waves."""
    long = 1 + rng.uniform(0, stretch)
    turn = rng.uniform(0, np.pi)
    ellipse = 1 / np.hypot(np.cos(_ANGLES - turn) / long, np.sin(_ANGLES - turn) * long)
    waves = np.ones_like(_ANGLES)
    for order in (2, 3, 5):
        waves += roughness * rng.uniform(0, 1) * np.cos(order * _ANGLES + rng.uniform(0, 2 * np.pi))
    return radius * ellipse * waves


def _lobes(rng: np.random.Generator, radius: float, round_nucleus: bool) -> list[tuple[tuple[float, float], float]]:
    """Return offset and radius of each lobe of a nucleus."""
    if round_nucleus:
        shift = rng.normal(0, 0.06 * radius, 2).tolist()
        return [((shift[0], shift[1]), radius * rng.uniform(0.68, 0.8))]
    count = int(rng.integers(2, 5))
    start, span = rng.uniform(0, 2 * np.pi), rng.uniform(1.0, 1.5)
    lobes = []
    for number in range(count):
        angle = start + span * number
        reach = radius * rng.uniform(0.30, 0.42)
        lobes.append(((reach * np.cos(angle), reach * np.sin(angle)), radius * rng.uniform(0.30, 0.38)))
    return lobes
