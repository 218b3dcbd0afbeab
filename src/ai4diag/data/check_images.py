"""What validation looks for in images with boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.data.problems import absent_findings
from ai4diag.data.voc import Annotation
from ai4diag.errors import did_you_mean
from ai4diag.types import Finding

DOUBLE_IOU = 0.7
"""Overlap of two boxes of one class from which they may be one object, boxed twice."""


def image_findings(name: str, size: tuple[int, int], annotation: Annotation, classes: tuple[str, ...]) -> list[Finding]:
    """Compare an annotation with its image and the card.

    Args:
        name: the case.
        size: rows and columns of the image.
        annotation: what its file says.
        classes: class names of the card.

    Returns:
        Errors: a class that the card does not know, a size that is not the image's, an inverted box.
    """
    findings = []
    for unknown in sorted(set(annotation.names) - set(classes)):
        nearest = did_you_mean(unknown, classes)
        cure = f"Correct the annotation or the card. {nearest}"
        findings.append(
            Finding("error", "unknown-class", name, f"class '{unknown}'", f"one of {', '.join(classes)}", cure)
        )
    if annotation.size not in ((0, 0), size):
        found = f"an annotation made for {annotation.size[0]} x {annotation.size[1]} (rows x columns)"
        expected = f"{size[0]} x {size[1]}, the size of the image"
        cure = "The image was resized or turned after it was annotated: take the original, or annotate again."
        findings.append(Finding("error", "size-mismatch", name, found, expected, cure))
    inverted = (annotation.boxes[:, 2:] < annotation.boxes[:, :2]).any(axis=1)
    for number in np.flatnonzero(inverted):
        cure = "Correct the annotation: x or y was exchanged."
        where = f"{name}, object {number + 1} ({annotation.names[number]})"
        found = _words(annotation.boxes[number])
        findings.append(Finding("error", "inverted-box", where, found, "minimum before maximum", cure))
    return findings


def box_findings(
    name: str, size: tuple[int, int], annotation: Annotation
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64], list[Finding]]:
    """Find boxes without area, and boxes that reach out of the image.

    Args:
        name: the case.
        size: rows and columns of the image.
        annotation: what its file says.

    Returns:
        Which boxes are kept; the kept boxes `(kept, 4)` clipped to the image; warnings.
    """
    boxes = annotation.boxes
    limits = np.array([*size, *size], np.float64)
    inside = np.clip(boxes, 0, limits)
    empty = np.asarray((boxes[:, 2:] - boxes[:, :2] <= 0).any(axis=1))
    outside: npt.NDArray[np.bool_] = ~empty & (inside[:, 2:] - inside[:, :2] <= 0).any(axis=1)
    clipped: npt.NDArray[np.bool_] = ~empty & ~outside & (inside != boxes).any(axis=1)
    findings = []
    for number in np.flatnonzero(empty | outside | clipped):
        if empty[number]:
            code, expected, cure = "zero-area-box", "a box with an area", "It was dropped; correct the annotation."
        elif outside[number]:
            code, expected, cure = "box-outside", "a box in the image", "It was dropped; correct the annotation."
        else:
            code, expected, cure = "box-clipped", "a box inside the image", "It was clipped; correct the annotation."
        where = f"{name}, object {number + 1} ({annotation.names[number]})"
        expected = f"{expected} of {size[0]} x {size[1]} (rows x columns)"
        findings.append(Finding("warning", code, where, _words(boxes[number]), expected, cure))
    kept: npt.NDArray[np.bool_] = ~(empty | outside)
    return kept, inside[kept], findings


def double_findings(names: Sequence[str], boxes: pd.DataFrame) -> list[Finding]:
    """Warn of pairs of boxes of one class that overlap by more than `DOUBLE_IOU`: perhaps one cell, boxed twice."""
    doubles = []
    columns = [name for name in boxes.columns if name.startswith(("min_", "max_"))]
    half = len(columns) // 2
    for (case, _), group in boxes.groupby(["case", "label"], sort=True):
        edges = group[columns].to_numpy(np.float64)
        low = np.maximum(edges[:, None, :half], edges[None, :, :half])
        high = np.minimum(edges[:, None, half:], edges[None, :, half:])
        both = np.prod(np.maximum(high - low, 0), axis=2)
        area = np.prod(edges[:, half:] - edges[:, :half], axis=1)
        overlap = both / (area[:, None] + area[None, :] - both)
        doubles += [names[int(str(case))]] * int(np.triu(overlap > DOUBLE_IOU, 1).sum())
    if not doubles:
        return []
    shown = ", ".join(dict.fromkeys(doubles[:5])) + (", ..." if len(doubles) > 5 else "")
    found = f"{len(doubles)} pairs of boxes of one class with an overlap (IoU) over {DOUBLE_IOU}: {shown}"
    cure = "Look whether one object was boxed twice; a correct detector counts as wrong on the second box."
    return [Finding("warning", "double-box", "boxes", found, "one box per object", cure)]


def part_findings(
    split: pd.DataFrame, index: pd.DataFrame, boxes: pd.DataFrame, classes: tuple[str, ...]
) -> list[Finding]:
    """Find classes that have no box in a part: an error in train, where nothing could be learnt, else a warning."""
    held = np.zeros((len(index), len(classes)), bool)
    counted = boxes[~boxes["ignore"]]
    held[counted["case"].to_numpy(), counted["label"].to_numpy()] = True
    return absent_findings(split, index, held, classes, "no box of class {name}")


def _words(box: npt.NDArray[np.float64]) -> str:
    rows = f"rows {box[0]:g} to {box[2]:g}"
    return f"{rows}, columns {box[1]:g} to {box[3]:g}"
