"""A volume with boxes as three pictures: seen from below, from the front and from the left, through what went wrong.

The three planes go through the middle of one box: the first that was missed, else the first false alarm, else the first
true one. Drawn are the boxes that each plane cuts. Colours and lines are those of `ai4diag.evaluation.report.pictures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from ai4diag.evaluation.boxes import as_boxes
from ai4diag.evaluation.pairing import pair
from ai4diag.evaluation.report.context import Scan
from ai4diag.evaluation.report.pictures import CasePicture, case_picture
from ai4diag.evaluation.report.planes import GAP, VIEWS, cut_plane, plane_image

Floats = npt.NDArray[np.float64]


def scan_picture(case: Mapping[str, Any], classes: Sequence[str], scan: Scan | None, key: str) -> CasePicture:
    """Return the picture of one volume.

    Args:
        case: as `pictures.case_picture` has it; boxes `(n, 6)` in voxels of the original, canonical orientation.
        classes: class names.
        scan: the volume, or None.
        key: prefix of ids, unique in the report.
    """
    bare = case_picture(case, classes, None, key)
    if scan is None:
        return bare
    volume, scale, spacing = scan
    sides = np.array(volume.shape)
    boxes, middle = drawn_boxes(case, np.tile(scale, 2), sides)
    at = np.clip(np.floor(middle), 0, sides - 1)
    sizes = [(sides[rows] * spacing[rows], sides[columns] * spacing[columns]) for _, _, (rows, columns) in VIEWS]
    total = sum(width for _, width in sizes) / (1 - GAP * (len(VIEWS) - 1))
    height, left, marks = max(rows for rows, _ in sizes), 0.0, Markup("")
    for (_, across, axes), (rows, columns) in zip(VIEWS, sizes, strict=True):
        marks += Markup('<g transform="translate({:.2f} {:.2f})">').format(left, (height - rows) / 2)
        marks += plane_image(cut_plane(volume, across, int(at[across])), columns, rows)
        for box, kind in boxes:
            if box[across] <= at[across] + 0.5 < box[across + 3]:
                marks += _rectangle(box, axes, sides, np.array(spacing), kind)
        marks += Markup("</g>")
        left += columns + GAP * total
    head = Markup(
        '<svg class="overlay" viewBox="0 0 {w:.2f} {h:.2f}" role="img" aria-labelledby="{k}-title {k}-desc">'
        '<title id="{k}-title">{title}</title><desc id="{k}-desc">{text}</desc>'
    ).format(
        w=total,
        h=height,
        k=key,
        title=f"Case {bare.case_id}",
        text=f"Seen {', '.join(name for name, _, _ in VIEWS)}. {bare.caption}",
    )
    return CasePicture(bare.case_id, head + marks + Markup("</svg>"), bare.caption)


def drawn_boxes(
    case: Mapping[str, Any], scale: Floats, sides: npt.NDArray[np.int64]
) -> tuple[list[tuple[Floats, str]], Floats]:
    """Return boxes in packed voxels with their kind, and the middle of the one to look at.

    Args:
        case: as `scan_picture` has it.
        scale: packed voxels per original one, twice, `(6,)`.
        sides: of the packed volume, `(3,)`: its middle is what to look at where there is no box.
    """
    truth, truth_labels = as_boxes(case["truth_boxes"], 3), np.asarray(case["truth_labels"], np.int64)
    boxes, labels = as_boxes(case["boxes"], 3), np.asarray(case["labels"], np.int64)
    ignore = np.asarray(case["truth_ignore"], bool)
    pairs = pair(truth, truth_labels, ignore, boxes, labels)
    truth, boxes = truth * scale, boxes * scale
    drawn = [(truth[at], "ignored") for at in np.flatnonzero(ignore)]
    wrong = [(truth[at], "truth wrong") for at in pairs.missed] + [(boxes[at], "predicted wrong") for at in pairs.false]
    for box, detection in pairs.confused:
        wrong += [(truth[box], "truth wrong"), (boxes[detection], "predicted wrong")]
    right: list[tuple[Floats, str]] = []
    for box, detection in pairs.found:
        right += [(truth[box], "truth"), (boxes[detection], "predicted")]
    shown = (wrong + right + drawn)[:1]
    middle = (shown[0][0][:3] + shown[0][0][3:]) / 2 if shown else sides / 2
    return drawn + right + wrong, middle


def _rectangle(box: Floats, axes: tuple[int, int], sides: npt.NDArray[np.int64], spacing: Floats, kind: str) -> Markup:
    """Return a box where a plane cuts it, over a dark casing; both axes of the plane run backwards."""
    rows, columns = axes
    x, y = ((sides[axis] - box[axis + 3]) * spacing[axis] for axis in (columns, rows))
    width, height = ((box[axis + 3] - box[axis]) * spacing[axis] for axis in (columns, rows))
    shape = f'x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"'
    casing = "case strong" if "wrong" in kind else "case"
    return Markup(f'<rect class="{casing}" {shape}/><rect class="{kind}" {shape}/>')  # noqa: S704 - no text from outside
