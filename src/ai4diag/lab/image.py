"""A picture of an image case: the image, with boxes of truth and answer where it has boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ai4diag.lab.drawing import Picture, figure, legend, picture
from ai4diag.lab.marks import draw_rectangle, kinds_of, marks_of, said_kinds

WIDTH_IN, HEIGHTS_IN = 6.4, (2.0, 6.4)
PLAIN_IN = 4.2
"""Width of an image without boxes, and about its height."""
Image = npt.NDArray[np.uint8]


def draw_image(
    image: Image, size: tuple[int, int], boxes: Mapping[str, Any] | None, classes: Sequence[str], said: str
) -> Picture:
    """Return the picture of one image.

    Args:
        image: `(rows, columns, 3)` as it is packed.
        size: rows and columns of the original; boxes are in its pixels.
        boxes: truth_boxes, truth_labels, truth_ignore and, where there is an answer, boxes, labels, scores; None: the
            cases have no boxes.
        classes: class names.
        said: what is true and what was answered, in words.
    """
    rows, columns = size
    width = PLAIN_IN if boxes is None else WIDTH_IN
    drawn = figure(width, float(np.clip(width * rows / columns, *HEIGHTS_IN)))
    axes = drawn.subplots()
    axes.imshow(image, extent=(0, columns, rows, 0), interpolation="nearest")
    axes.set_xlabel("column (px of the original image)", fontsize=8)
    axes.set_ylabel("row (px)", fontsize=8)
    axes.tick_params(labelsize=7)
    packed = "" if image.shape[:2] == (rows, columns) else f", packed as {image.shape[0]} x {image.shape[1]}"
    what = f"Image of {rows} x {columns} pixels (rows x columns){packed}."
    if boxes is not None:
        marks = marks_of(boxes, 2, len(classes))
        for mark in marks:
            row, column, row_end, column_end = mark.box
            draw_rectangle(axes, mark, column, row, column_end - column, row_end - row)
        legend(drawn, kinds_of(marks), list(classes))
        what += said_kinds(kinds_of(marks)) or " It has no boxes."
    return picture(drawn, f"{what} {said}", what)
