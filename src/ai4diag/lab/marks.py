"""Boxes as they are drawn over a picture: which line, which words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ai4diag.evaluation.boxes import as_boxes
from ai4diag.lab.drawing import LINES, cased

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]
MOST_SCORES = 12
"""Up to so many boxes their scores are written beside them."""
SMALL = 0.15
"""Share of the height of a picture up to which a box has its word outside."""
STYLE = {"truth": "solid", "model's answer": "dashed", "to ignore": "dotted"}


@dataclass(frozen=True)
class Mark:
    """A box.

    Attributes:
        box: all minima, then all maxima, in array-axis order (docs/concepts/boxes.md).
        kind: key of `drawing.LINES`.
        tag: number of its class where there are several, and its score.
    """

    box: Floats
    kind: str
    tag: str


def marks_of(boxes: Mapping[str, Any], dimensions: int, n_classes: int) -> list[Mark]:
    """Return the boxes of a case as marks.

    Args:
        boxes: truth_boxes, truth_labels, truth_ignore and, where there is an answer, boxes, labels, scores.
        dimensions: 2 or 3.
        n_classes: number of classes.
    """
    numbered = [
        [str(k + 1) if n_classes > 1 else "" for k in boxes.get(name, ())] for name in ("truth_labels", "labels")
    ]
    truth = as_boxes(boxes["truth_boxes"], dimensions)
    kinds = ["to ignore" if ignored else "truth" for ignored in boxes["truth_ignore"]]
    marks = [Mark(*line) for line in zip(truth, kinds, numbered[0], strict=True)]
    scores = boxes.get("scores", ())
    if len(scores):
        answers = zip(as_boxes(boxes["boxes"], dimensions), numbered[1], scores, strict=True)
        few = len(scores) <= MOST_SCORES
        marks += [Mark(box, "model's answer", f"{k} {score:.2f}".strip() if few else k) for box, k, score in answers]
    return marks


def kinds_of(marks: Sequence[Mark]) -> list[str]:
    """Return which kinds of lines there are, in the order of the legend."""
    return [kind for kind in LINES if kind in {mark.kind for mark in marks}]


def draw_rectangle(axes: Axes, mark: Mark, left: float, top: float, width: float, height: float) -> None:
    """Draw a mark as a rectangle, in the coordinates of the axes, whose rows grow downwards."""
    from matplotlib.patches import Rectangle

    patch = Rectangle((left, top), width, height, fill=False, linewidth=1.4, **LINES[mark.kind])
    patch.set_path_effects(cased(1.4))
    axes.add_patch(patch)
    answer = mark.kind == "model's answer"
    inside = height > SMALL * abs(np.diff(axes.get_ylim())[0])  # a word would cover what is in a small box
    if mark.tag:
        axes.text(
            left + width if answer else left,
            top + height if answer else top,
            mark.tag,
            ha="right" if answer else "left",
            va="bottom" if answer == inside else "top",
            color=LINES[mark.kind]["color"],
            fontsize=7,
            clip_on=True,
            bbox={"facecolor": "black", "alpha": 0.6, "pad": 0.8, "linewidth": 0},
        )


def said_kinds(kinds: Sequence[str]) -> str:
    """Return how each kind is drawn, as a sentence; empty without any.

    >>> said_kinds(["truth", "to ignore"])
    ' Outlines: truth solid, to ignore dotted.'
    """
    return f" Outlines: {', '.join(f'{kind} {STYLE[kind]}' for kind in kinds)}." if kinds else ""
