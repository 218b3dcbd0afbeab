"""From a prepared case to what is shown of its volume, for cases with masks, with boxes, and with a class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ai4diag.data.prepared import Prepared
from ai4diag.data.volume_shown import grey_volume, window
from ai4diag.data.volume_store import affines_of
from ai4diag.evaluation.report.box_planes import drawn_boxes
from ai4diag.files import read_parquet
from ai4diag.lab.marks import Mark, marks_of
from ai4diag.lab.volume import Masks, Shown3d
from ai4diag.masks import decode

Line = Mapping[str, Any]
Affine = npt.NDArray[np.float64]
TILT = 5.0
"""Degrees from which it is said that planes are not those of the patient."""


def affine_of(prepared: Prepared, row: int) -> Affine:
    """Return the matrix `(4, 4)` from voxels that are shown to millimetres (RAS+): of the file where there are masks,
    of the packed grid where there are boxes."""
    table = read_parquet(prepared.folder / "grids.parquet") if prepared.target == "masks" else prepared.volume_table
    affine: Affine = affines_of(table.iloc[[row]])[0]
    return affine


def with_masks(prepared: Prepared, row: int, truth: Line, answer: Line | None) -> Shown3d:
    """Return what is shown of a case with masks, on the grid of its file.

    Args:
        prepared: prepared cases.
        row: which.
        truth: its truth columns.
        answer: its line of predictions; None: there is none.
    """
    sides = tuple(int(side) for side in truth["shape"])
    masks: Masks = {"truth": decode(truth["truth_runs"], sides)}
    if answer is not None and tuple(int(side) for side in answer["shape"]) == sides:
        masks["model's answer"] = decode(answer["runs"], sides)
    low, high = window(prepared, row)
    notes = f"{_window(low, high)} (1st and 99th percentile of this volume).{_tilt(affine_of(prepared, row))}"
    spacing = np.asarray(truth["spacing_mm"], np.float64).tolist()
    some = masks["truth"] if masks["truth"].any() else masks.get("model's answer", masks["truth"])
    return Shown3d(
        grey_volume(prepared, row),
        (spacing[0], spacing[1], spacing[2]),
        _nearest(np.argwhere(some), sides),
        masks,
        (),
        prepared.classes,
        notes,
    )


def with_boxes(prepared: Prepared, row: int, boxes: Mapping[str, Any]) -> Shown3d:
    """Return what is shown of a case with boxes, on the packed grid: planes through what went wrong, if anything did.

    Args:
        prepared: prepared cases.
        row: which.
        boxes: truth_boxes, truth_labels, truth_ignore and, where there is an answer, boxes, labels, scores, in voxels
            of the original.
    """
    grey = np.asarray(prepared.volumes[row][0])
    sizes = prepared.index[["size_0", "size_1", "size_2"]].iloc[row].to_numpy(np.float64)
    scale = np.tile(np.array(grey.shape) / sizes, 2)
    marks = [Mark(mark.box * scale, mark.kind, mark.tag) for mark in marks_of(boxes, 3, len(prepared.classes))]
    answered = {"boxes": [], "labels": [], "scores": []} | dict(boxes)
    _, middle = drawn_boxes(answered, scale, np.array(grey.shape))
    i, j, k = np.clip(np.floor(middle), 0, np.array(grey.shape) - 1).astype(int).tolist()
    affine = affine_of(prepared, row)
    spacing = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    said = prepared.facts.get("packing", {}).get("grey", {})
    if said.get("values"):
        notes = f"{_window(*said['values'])}."
    else:
        low, high = said.get("percentiles") or (0, 100)
        notes = f"Window: black is percentile {low:g} of this volume, white {high:g}."
    return Shown3d(
        grey, (spacing[0], spacing[1], spacing[2]), (i, j, k), {}, marks, prepared.classes, notes + _tilt(affine)
    )


def with_class(prepared: Prepared, row: int) -> Shown3d:
    """Return what is shown of a case that is a volume of a class, of which neither spacing nor orientation is kept."""
    grey = np.asarray(prepared.images[row][0])
    i, j, k = (side // 2 for side in grey.shape)
    return Shown3d(grey, None, (i, j, k), {}, (), prepared.classes, "Planes through the middle.")


def _window(low: float, high: float) -> str:
    """Return a window as radiologists give it."""
    return f"Window: black {low:.4g}, white {high:.4g}; level {(low + high) / 2:.4g}, width {high - low:.4g}"


def _tilt(affine: Affine) -> str:
    """Return a sentence where the axes of the volume are not those of the patient; empty where they nearly are."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    tilt = float(np.degrees(np.arccos(np.clip(np.diag(axes).min(), -1, 1))))
    return f" The planes are tilted by up to {tilt:.0f} degrees against the patient's axes." if tilt > TILT else ""


def _nearest(places: npt.NDArray[np.int64], sides: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the voxel at the middle of some, of all when there are none."""
    middle = np.round(places.mean(axis=0)).astype(int) if len(places) else np.array(sides) // 2
    i, j, k = middle.tolist()
    return i, j, k
