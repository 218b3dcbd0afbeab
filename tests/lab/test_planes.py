"""Planes of a volume: whatever the file, right is on the left, the head is up, and a millimetre is a millimetre."""

from __future__ import annotations

import itertools
import re

import nibabel as nib
import numpy as np
import pytest
from matplotlib.figure import Figure

from ai4diag.data.prepare_volumes import prepare_volumes
from ai4diag.data.prepared import Prepared
from ai4diag.lab.drawing import MOST_BYTES
from ai4diag.lab.marks import Mark
from ai4diag.lab.one_case import Case
from ai4diag.lab.volume import Shown3d, _draw_plane, draw_volume
from tests.data.helpers import write_card
from tests.data.volume_helpers import TOY_VOLUMES, segmentation_recipe
from tests.lab.seen import extent, grey_is, pixels, place, planes

DARK, GROUND, RIGHT, FRONT, HEAD, BRIGHT = -50, 40, 100, 160, 220, 300
"""Values of a phantom: three bars from its middle towards the patient's right, front and head."""
SIDES_MM = np.array([44.0, 60.0, 36.0])


def phantom(axes, spacing_mm):
    """Return values and labels on a grid with these axes, such as `LPS`, and its affine; drawn in millimetres."""
    at = [0 if c in "RL" else 1 if c in "AP" else 2 for c in axes]
    up = [1 if c in "RAS" else -1 for c in axes]
    sides = [round(SIDES_MM[world] / step) for world, step in zip(at, spacing_mm, strict=True)]
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, sign, step, side) in enumerate(zip(at, up, spacing_mm, sides, strict=True)):
        affine[world, axis] = sign * step
        affine[world, 3] = -sign * step * (side - 1) / 2
    index = np.stack(np.meshgrid(*map(np.arange, sides), indexing="ij"), -1)
    mm = index @ affine[:3, :3].T + affine[:3, 3]
    values = np.full(sides, GROUND, np.int16)
    for world, value in enumerate((RIGHT, FRONT, HEAD)):
        others = [axis for axis in range(3) if axis != world]
        values[(mm[..., world] > 4) & (mm[..., world] < 15) & (np.abs(mm[..., others]).max(-1) < 3.5)] = value
    corner = np.abs(mm) > SIDES_MM / 2 * 0.6
    values[corner.all(-1)] = BRIGHT
    values[corner.all(-1) & (mm[..., 0] < 0)] = DARK
    label = np.where(np.abs(mm).max(-1) < 3.9, 5, 0).astype(np.uint8)  # around the middle, where the planes go through
    label[(label == 5) & (mm[..., 0] < 0)] = 2
    return values, label, affine


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Eight phantoms in files of eight orientations and two spacings, prepared."""
    folder = tmp_path_factory.mktemp("phantoms")
    raw = folder / "raw"
    kinds = ["RAS", "LPS", "LAS", "RPI", "SAR", "PSL", "AIR", "IRP"]
    for number, axes in enumerate(kinds):
        spacing = [4.0 if letter in "SI" else 2.0 if letter in "AP" else 1.0 for letter in axes]
        values, label, affine = phantom(axes, spacing)
        values[values == BRIGHT] += number  # no two files are the same
        for kind, array in (("images", values), ("labels", label)):
            (raw / kind).mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array, affine), raw / kind / f"v{number}-{axes}.nii.gz")
    prepare_volumes(raw, write_card(folder / "cards", raw, **TOY_VOLUMES), segmentation_recipe(), folder / "out")
    prepared = Prepared.open(folder / "out")
    return [Case("phantoms", prepared, row, None) for row in range(len(kinds))]


def shown_as(case, value):
    """Return the grey in which a value of the file is drawn, from the window that the picture states."""
    black, white = map(float, re.search(r"black (\S+), white ([^;]+);", case.picture.caption).groups())
    return round(255 * min(max((value - black) / (white - black), 0), 1))


@pytest.mark.parametrize("number", range(8))
def test_every_file_is_shown_upright_and_to_scale_whatever_its_orientation(cases, number):
    case = cases[number]
    image = pixels(case.picture.png)
    grey = {value: shown_as(case, value) for value in (GROUND, RIGHT, FRONT, HEAD)}
    found = planes(image, [grey[GROUND]])
    assert len(found) == 3
    for (rows, columns), (top, bottom, left, right) in zip(((1, 0), (2, 0), (2, 1)), found, strict=True):
        assert (bottom - top) / (right - left) == pytest.approx(SIDES_MM[rows] / SIDES_MM[columns], rel=0.03)
        bars = [(grey_is(image, grey[value]), world) for world, value in enumerate((RIGHT, FRONT, HEAD))]
        places = {world: place(mask, (top, bottom, left, right)) for mask, world in bars}
        assert [world for world, at in places.items() if at is None] == [({0, 1, 2} - {rows, columns}).pop()]
        down, across = places[rows]
        assert down < 0.42
        assert across == pytest.approx(0.5, abs=0.06)
        down, across = places[columns]
        assert across < 0.42
        assert down == pytest.approx(0.5, abs=0.07)
    per_mm = [(right - left) / SIDES_MM[columns] for columns, (_, _, left, right) in zip((0, 0, 1), found, strict=True)]
    assert per_mm == pytest.approx([per_mm[0]] * 3, rel=0.02)
    assert len(case.picture.png) < MOST_BYTES


def test_the_words_say_what_is_seen_and_how(cases):
    case = cases[1]
    text, page = str(case), case.html()
    for words in (
        "44 x 30 x 9 voxels of 1 x 2 x 4 mm (right, front, head)",
        "Radiological convention: the patient's right is on the left of the axial and coronal plane",
        "Outlines: truth solid.",
        "Window: black",
        "(1st and 99th percentile of this volume)",
    ):
        assert words in text
        assert words.replace("'", "&#x27;") in page
    assert "none: no model was trained on these cases yet" in text
    (alt,) = re.findall(r'<img alt="([^"]+)"', page)
    assert "ball" in alt
    assert "truth solid" in alt


@pytest.mark.parametrize(("n", "letters"), [(0, "APRL"), (1, "SIRL"), (2, "SIAP")])
def test_letters_stand_at_the_sides_that_they_name(n, letters):
    axes = Figure().add_axes((0, 0, 1, 1))
    shown = Shown3d(np.zeros((5, 6, 7), np.uint8), (1.0, 1.0, 2.0), (2, 3, 4), {}, (), ("lesion",), "")
    _draw_plane(axes, shown, n, shown.spacing_mm)
    places = {text.get_text(): text.get_position() for text in axes.texts}
    up, down, left, right = letters
    assert places[up][1] > 0.9 > 0.1 > places[down][1]
    assert places[left][0] < 0.1 < 0.9 < places[right][0]


@pytest.mark.parametrize("corner", list(itertools.product((0, 1), repeat=3)))
def test_boxes_lie_where_they_are_in_the_patient(corner):
    sides, spacing = np.array([20, 24, 10]), np.array([2.0, 1.5, 4.0])
    low = np.where(corner, sides * 0.6, sides * 0.1)
    high = low + sides * 0.3
    grey = np.full(tuple(sides), 120, np.uint8)
    at = tuple(int(value) for value in np.floor((low + high) / 2))
    kinds = (Mark(np.concatenate([low, high]), "truth", ""),)
    picture = draw_volume(Shown3d(grey, tuple(spacing), at, {}, kinds, ("lesion",), ""), "")
    image = pixels(picture.png)
    yellow = (image[..., 0] > 200) & (image[..., 1] > 180) & (image[..., 2] < 120)
    found = planes(image, [120])
    for (rows, columns), plane in zip(((1, 0), (2, 0), (2, 1)), found, strict=True):
        expected = [1 - high[rows] / sides[rows], 1 - low[rows] / sides[rows]]
        expected += [1 - high[columns] / sides[columns], 1 - low[columns] / sides[columns]]
        assert extent(yellow, plane) == pytest.approx(expected, abs=0.03)
    sizes = sides * spacing
    ratios = [(plane[1] - plane[0]) / (plane[3] - plane[2]) for plane in found]
    assert ratios == pytest.approx([sizes[1] / sizes[0], sizes[2] / sizes[0], sizes[2] / sizes[1]], rel=0.03)


def test_truth_and_answer_differ_in_more_than_colour():
    truth, answer = np.zeros((30, 30, 30), np.uint8), np.zeros((30, 30, 30), np.uint8)
    truth[5:15, 10:20, 10:20], answer[15:25, 10:20, 10:20] = 1, 1
    grey = np.full(truth.shape, 120, np.uint8)
    masks = {"truth": truth, "model's answer": answer}
    picture = draw_volume(Shown3d(grey, (1.0, 1.0, 1.0), (15, 15, 15), masks, (), ("lesion",), ""), "")
    image = pixels(picture.png)
    top, bottom, left, right = planes(image, [120])[0]
    plane = image[top:bottom, left:right]
    yellow = (plane[..., 0] > 200) & (plane[..., 1] > 180) & (plane[..., 2] < 120)
    cyan = (plane[..., 0] < 150) & (plane[..., 1] > 225) & (plane[..., 2] > 230)
    side = (right - left) / 3  # of each square, in pixels: the lines of the truth have no gaps, those of the answer do
    for mask, whole in ((yellow, True), (cyan, False)):
        row = np.flatnonzero(mask.sum(axis=1) > side / 3)[0] + 1
        covered = mask[row - 1 : row + 2].any(axis=0).sum() / side
        assert (covered > 0.9) == whole
    assert "truth solid, model's answer dashed" in picture.alt
