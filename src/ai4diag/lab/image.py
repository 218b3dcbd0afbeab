"""A picture of an image case: the image, with boxes of truth and answer where it has boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ai4diag.evaluation.boxes import as_boxes
from ai4diag.lab.drawing import LINES, Picture, cased, figure, legend, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_IN, HEIGHTS_IN = 6.4, (2.0, 6.4)
MOST_SCORES = 12
"""Up to so many boxes their scores are written beside them."""
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
    height = float(np.clip(WIDTH_IN * rows / columns, *HEIGHTS_IN))
    drawn = figure(WIDTH_IN if boxes is not None else min(WIDTH_IN, 4.2), height if boxes is not None else 4.0)
    axes = drawn.subplots()
    axes.imshow(image, extent=(0, columns, rows, 0), interpolation="nearest")
    axes.set_xlabel("column (px of the original image)", fontsize=8)
    axes.set_ylabel("row (px)", fontsize=8)
    axes.tick_params(labelsize=7)
    packed = "" if image.shape[:2] == (rows, columns) else f", packed as {image.shape[0]} x {image.shape[1]}"
    what = f"Image of {rows} x {columns} pixels (rows x columns){packed}."
    if boxes is not None:
        kinds = draw_boxes(axes, boxes, len(classes))
        legend(drawn, kinds, list(classes))
        what += f" Outlines: {', '.join(f'{kind} {_style(kind)}' for kind in kinds)}." if kinds else " No boxes."
    return picture(drawn, f"{what} {said}", what)


def draw_boxes(axes: Axes, boxes: Mapping[str, Any], n_classes: int) -> list[str]:
    """Draw boxes `[row_min, column_min, row_max, column_max]` in original pixels; return which kinds there are."""
    from matplotlib.patches import Rectangle

    truth, labels = as_boxes(boxes["truth_boxes"], 2), boxes["truth_labels"]
    kinds = ["to ignore" if ignored else "truth" for ignored in boxes["truth_ignore"]]
    tags = [str(label + 1) if n_classes > 1 else "" for label in labels]
    every = list(zip(truth, kinds, tags, strict=True))
    if "scores" in boxes:
        few = len(boxes["scores"]) <= MOST_SCORES
        for box, label, score in zip(as_boxes(boxes["boxes"], 2), boxes["labels"], boxes["scores"], strict=True):
            number = str(label + 1) if n_classes > 1 else ""
            every.append((box, "model's answer", f"{number} {score:.2f}".strip() if few else number))
    for box, kind, tag in every:
        low_0, low_1, high_0, high_1 = box
        patch = Rectangle((low_1, low_0), high_1 - low_1, high_0 - low_0, fill=False, linewidth=1.4, **LINES[kind])
        patch.set_path_effects(cased(1.4))
        axes.add_patch(patch)
        answer = kind == "model's answer"
        axes.text(
            high_1 if answer else low_1,
            high_0 if answer else low_0,
            tag,
            ha="right" if answer else "left",
            va="bottom" if answer else "top",
            color=LINES[kind]["color"],
            fontsize=7,
            clip_on=True,
            bbox={"facecolor": "black", "alpha": 0.6, "pad": 0.8, "linewidth": 0} if tag else None,
        )
    return [kind for kind in LINES if kind in {one for _, one, _ in every}]


def _style(kind: str) -> str:
    return {"truth": "solid", "model's answer": "dashed", "to ignore": "dotted"}[kind]
