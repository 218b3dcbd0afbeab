"""A volume as three pictures: seen from below, from the front and from the left, with outlines of truth and answer.

Arrays are in canonical orientation: the axes grow to the patient's right, front and head. A picture shows voxels with
their size in millimetres; the outlines run along the faces of voxels, so that nothing is smoothed.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from PIL import Image

from ai4diag.evaluation.report.pictures import CasePicture
from ai4diag.evaluation.report.words import number
from ai4diag.masks import decode

GAP = 0.04
"""Space between two pictures, as a share of the width of all."""
VIEWS = (("from below", 2, (1, 0)), ("from the front", 1, (2, 0)), ("from the left", 0, (2, 1)))
"""What a picture is called, the axis that it cuts across, and the axes of its rows and columns."""
Slice = npt.NDArray[np.uint8]


def volume_picture(
    case: Mapping[str, Any], classes: Sequence[str], volume: npt.NDArray[np.uint8] | None, key: str
) -> CasePicture:
    """Return the picture of one case.

    Args:
        case: case_id, truth_runs, runs, shape, spacing_mm, dice.
        classes: class names.
        volume: grey values `(i, j, k)` on the grid of the maps, or None.
        key: prefix of ids, unique in the report.
    """
    each = [f"{name} {number(value)}" for name, value in zip(classes, case["dice"], strict=True)]
    caption = f"Dice: {', '.join(each)}."
    case_id = str(case["case_id"])
    shape = [int(side) for side in case["shape"]]
    if volume is None or len(shape) != 3:
        return CasePicture(case_id, None, caption)
    truth, answer = (decode(case[name], shape) for name in ("truth_runs", "runs"))
    middle = _middle(truth if truth.any() else answer)
    spacing = [float(value) for value in case["spacing_mm"]]
    views = [view for view in VIEWS if shape[view[1]] == 1] or VIEWS  # a single layer is seen from one side
    sizes = [[shape[axis] * spacing[axis] for axis in axes] for _, _, axes in views]
    total = sum(width for _, width in sizes) / (1 - GAP * (len(views) - 1))
    height, left, marks = max(rows for rows, _ in sizes), 0.0, Markup("")
    for (_, across, axes), (rows, columns) in zip(views, sizes, strict=True):
        marks += Markup('<g transform="translate({:.2f} {:.2f})">').format(left, (height - rows) / 2)
        marks += plane_image(cut_plane(volume, across, middle[across]), columns, rows)
        for mask, kind in ((truth, "truth"), (answer, "predicted")):
            piece = cut_plane(mask, across, middle[across])
            steps = spacing[axes[0]], spacing[axes[1]]
            for label in range(1, len(classes) + 1):
                marks += _outline(piece == label, steps, kind)
        marks += Markup("</g>")
        left += columns + GAP * total
    head = Markup(
        '<svg class="overlay" viewBox="0 0 {w:.2f} {h:.2f}" role="img" aria-labelledby="{k}-title {k}-desc">'
        '<title id="{k}-title">{title}</title><desc id="{k}-desc">{text}</desc>'
    ).format(w=total, h=height, k=key, title=f"Case {case_id}", text=f"Seen {_named(views)}. {caption}")
    return CasePicture(case_id, head + marks + Markup("</svg>"), caption)


def _named(views: Sequence[tuple[str, int, tuple[int, int]]]) -> str:
    return ", ".join(name for name, _, _ in views)


def _middle(mask: Slice) -> list[int]:
    """Return the voxel nearest to the middle of what is not background; that of the volume when all is."""
    places = np.argwhere(mask)
    if not len(places):
        return [side // 2 for side in mask.shape]
    return [round(float(value)) for value in places.mean(axis=0)]


def cut_plane(volume: Slice, across: int, at: int) -> Slice:
    """Return a plane upright: head or front at the top, the patient's right (or face) on the left."""
    plane = np.take(volume, at, axis=across)  # the two axes that are left, in order: columns, then rows
    return np.ascontiguousarray(plane.T[::-1, ::-1])


def plane_image(plane: Slice, width: float, height: float) -> Markup:
    """Return a plane `(rows, columns)` as a picture of so many millimetres."""
    stream = io.BytesIO()
    Image.fromarray(plane, "L").save(stream, "PNG", optimize=True)
    data = f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
    return Markup('<image width="{:.2f}" height="{:.2f}" preserveAspectRatio="none" href="{}"/>').format(
        width, height, data
    )


def _outline(mask: npt.NDArray[np.bool_], step: tuple[float, float], kind: str) -> Markup:
    """Return the faces between a mask `(rows, columns)` and what is around it over a dark casing."""
    if not mask.any():
        return Markup("")
    padded = np.pad(mask, 1)
    across = padded[1:, 1:-1] != padded[:-1, 1:-1]  # (rows + 1, columns): faces above a row
    along = padded[1:-1, 1:] != padded[1:-1, :-1]  # (rows, columns + 1): faces before a column
    parts = [f"M{start * step[1]:.4g} {row * step[0]:.4g}H{stop * step[1]:.4g}" for row, start, stop in _runs(across)]
    parts += [f"M{col * step[1]:.4g} {start * step[0]:.4g}V{stop * step[0]:.4g}" for col, start, stop in _runs(along.T)]
    path = Markup('<path class="{}" fill="none" vector-effect="non-scaling-stroke" d="{}"/>')
    return path.format("case", "".join(parts)) + path.format(kind, "".join(parts))


def _runs(lines: npt.NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """Return line, first and end of every run of True in the lines of an array."""
    edges = np.diff(np.pad(lines.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    starts, stops = np.argwhere(edges == 1), np.argwhere(edges == -1)
    return [(int(line), int(start), int(stop)) for (line, start), (_, stop) in zip(starts, stops, strict=True)]
