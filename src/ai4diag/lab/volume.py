"""A picture of a volume: three planes at right angles, upright and to scale, with outlines of truth and answer.

Arrays are in canonical orientation: their axes grow to the patient's right, front and head. Planes are cut by
`ai4diag.evaluation.report.planes.cut_plane`, as in the report: head or front at the top, the patient's right on the
left (radiological convention), in the sagittal plane the front on the left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ai4diag.evaluation.report.planes import VIEWS, cut_plane
from ai4diag.lab.drawing import LINES, Picture, cased, figure, legend, picture
from ai4diag.lab.marks import Mark, draw_rectangle, kinds_of, said_kinds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Grey = npt.NDArray[np.uint8]
Masks = dict[str, npt.NDArray[np.uint8]]
NAMES = ("axial", "coronal", "sagittal")
"""What the planes of `VIEWS` are called."""
ENDS = ("RL", "AP", "SI")
"""For each axis the letters of its upper and its lower end: right and left, front and back, head and feet."""
WIDTH_IN, MOST_HEIGHT_IN = 8.6, 4.4
MARGIN_IN, GAP_IN, HEAD_IN, FOOT_IN = 0.12, 0.2, 0.34, 0.45
BARS_MM = (1, 2, 5, 10, 20, 50, 100)
"""Lengths that a scale bar may have."""
FINE = 600
"""Masks are drawn on a grid of about so many points along the longer side: outlines then follow the faces of voxels."""


@dataclass(frozen=True)
class Shown3d:
    """What is shown of a volume.

    Attributes:
        grey: `(i, j, k)`, canonical orientation.
        spacing_mm: of its voxels along each axis; None: not known, and neither is where right, front and head are.
        middle: voxel through which the planes go.
        masks: `truth` and `model's answer` to label maps on the same grid; empty where there are none.
        marks: boxes in voxels of this grid.
        classes: class names.
        notes: what else to say of it, sentences: window, tilt.
    """

    grey: Grey
    spacing_mm: tuple[float, float, float] | None
    middle: tuple[int, int, int]
    masks: Masks
    marks: Sequence[Mark]
    classes: Sequence[str]
    notes: str


def draw_volume(shown: Shown3d, said: str) -> Picture:
    """Return the picture of a volume.

    Args:
        shown: the volume and what is drawn over it.
        said: what is true and what was answered, in words.
    """
    sides, steps = shown.grey.shape, shown.spacing_mm or (1.0, 1.0, 1.0)
    views = [n for n, view in enumerate(VIEWS) if sides[view[1]] == 1] or [0, 1, 2]  # one layer is seen from one side
    sizes = [[sides[axis] * steps[axis] for axis in VIEWS[n][2]] for n in views]
    inner = WIDTH_IN - 2 * MARGIN_IN - GAP_IN * (len(views) - 1)
    scale = min(inner / sum(width for _, width in sizes), MOST_HEIGHT_IN / max(height for height, _ in sizes))
    used = scale * sum(width for _, width in sizes) + GAP_IN * (len(views) - 1) + 2 * MARGIN_IN
    tallest = scale * max(height for height, _ in sizes)
    drawn = figure(max(used, 4.0), tallest + HEAD_IN + FOOT_IN + MARGIN_IN)
    drawn.set_layout_engine("none")
    left = MARGIN_IN
    for n, (height, width) in zip(views, sizes, strict=True):
        axes = _axes(drawn, left, FOOT_IN + MARGIN_IN + tallest - scale * height, scale * width, scale * height)
        _draw_plane(axes, shown, n, steps)
        left += scale * width + GAP_IN
    kinds = [kind for kind in LINES if kind in shown.masks] or kinds_of(shown.marks)
    legend(drawn, kinds, list(shown.classes) if shown.masks or shown.marks else [])
    what = _words(shown, [NAMES[n] for n in views]) + said_kinds(kinds)
    return picture(drawn, f"{what} {said}", what)


def _axes(drawn: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Return axes at a place in inches, without ticks."""
    across, up = drawn.get_size_inches()
    axes = drawn.add_axes((left / across, bottom / up, width / across, height / up))
    axes.set_axis_off()
    return axes


def _draw_plane(axes: Axes, shown: Shown3d, n: int, steps: Sequence[float]) -> None:
    name, across, (rows, columns) = VIEWS[n]
    at, sides = shown.middle[across], shown.grey.shape
    height, width = sides[rows] * steps[rows], sides[columns] * steps[columns]
    extent = (0.0, width, height, 0.0)
    axes.imshow(
        cut_plane(shown.grey, across, at), cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="nearest"
    )
    for kind, mask in shown.masks.items():
        plane = cut_plane(mask, across, at)
        for label in range(1, len(shown.classes) + 1):
            _outline(axes, plane == label, (height, width), kind)
        if kind == "truth":
            _number(axes, plane, (height, width), len(shown.classes))
    for mark in shown.marks:
        if mark.box[across] <= at + 0.5 < mark.box[across + 3]:
            _box(axes, mark, (rows, columns), sides, steps)
    if shown.spacing_mm is None:
        axes.set_title(f"across axis {across}, layer {at} of 0 to {sides[across] - 1}", fontsize=8)
        return
    axes.set_title(f"{NAMES[n]} ({name}), layer {at + 1} of {sides[across]}", fontsize=8)
    _letters(axes, ENDS[rows], ENDS[columns])
    _bar(axes, width, height)


def _outline(axes: Axes, mask: npt.NDArray[np.bool_], size: tuple[float, float], kind: str) -> None:
    """Draw the border of a mask `(rows, columns)` that covers `size` millimetres, along the faces of its pixels."""
    if not mask.any():
        return
    fine = max(1, FINE // max(mask.shape))
    dense = np.pad(np.kron(mask, np.ones((fine, fine))), 1)
    y, x = (
        (np.arange(count + 2) - 0.5) * length / count
        for count, length in zip(np.array(mask.shape) * fine, size, strict=True)
    )
    line = axes.contour(x, y, dense, levels=[0.5], colors=[LINES[kind]["color"]], linewidths=1.4)
    line.set_linestyle(LINES[kind]["linestyle"])
    line.set_path_effects(cased(1.4))


def _number(axes: Axes, plane: npt.NDArray[np.uint8], size: tuple[float, float], n_classes: int) -> None:
    """Write the number of each class into its true region, where there are several classes."""
    for label in range(1, n_classes + 1 if n_classes > 1 else 1):
        places = np.argwhere(plane == label)
        if len(places):
            row, column = (places[np.abs(places - places.mean(axis=0)).sum(axis=1).argmin()] + 0.5) / plane.shape
            axes.text(column * size[1], row * size[0], str(label), color=LINES["truth"]["color"], fontsize=8,
                      ha="center", va="center", path_effects=cased(1.0))  # fmt: skip


def _box(axes: Axes, mark: Mark, plane: tuple[int, int], sides: Sequence[int], steps: Sequence[float]) -> None:
    """Draw a box where a plane cuts it; both axes of the plane run backwards."""
    rows, columns = plane
    left, top = ((sides[axis] - mark.box[axis + 3]) * steps[axis] for axis in (columns, rows))
    width, height = ((mark.box[axis + 3] - mark.box[axis]) * steps[axis] for axis in (columns, rows))
    draw_rectangle(axes, mark, left, top, width, height)


def _letters(axes: Axes, upright: str, sideways: str) -> None:
    """Write at the four edges which side of the patient is there; upper ends of axes are at the top and left."""
    words: dict[str, Any] = {"color": "white", "fontsize": 9, "fontweight": "bold", "transform": axes.transAxes}
    upper, lower = (0.5, 0.985, "center", "top"), (0.5, 0.015, "center", "bottom")
    left, right = (0.015, 0.5, "left", "center"), (0.985, 0.5, "right", "center")
    for letter, (x, y, ha, va) in zip(upright + sideways, (upper, lower, left, right), strict=True):
        axes.text(x, y, letter, ha=ha, va=va, path_effects=cased(1.4), **words)


def _bar(axes: Axes, width: float, height: float) -> None:
    """Draw a scale bar in the lower left corner; `width` and `height` are those of the plane in mm."""
    length = max((bar for bar in BARS_MM if bar <= 0.35 * width), default=BARS_MM[0])
    left, low = 0.04 * width, 0.93 * height
    axes.plot([left, left + length], [low, low], color="white", linewidth=2.5, path_effects=cased(2.5))
    axes.text(left, low - 0.015 * height, f"{length} mm", color="white", fontsize=8, path_effects=cased(1.2))


def _words(shown: Shown3d, names: Sequence[str]) -> str:
    i, j, k = shown.grey.shape
    if shown.spacing_mm is None:
        return (
            f"Planes of {i} x {j} x {k} voxels. The size of a voxel is not known, nor where right, front and head are. "
            f"{shown.notes}"
        ).strip()
    steps = " x ".join(f"{step:.3g}" for step in shown.spacing_mm)
    planes = f"{', '.join(names)} plane of" if len(names) == 1 else f"Planes ({', '.join(names)}) of"
    return (
        f"{planes} {i} x {j} x {k} voxels of {steps} mm (right, front, head), drawn to scale, head or front at the "
        "top. Radiological convention: the patient's right is on the left of the axial and coronal plane; in the "
        f"sagittal one the front is on the left. {shown.notes}"
    ).strip()
