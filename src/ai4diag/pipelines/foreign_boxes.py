"""Foreign detections as COCO JSON: results beside a file of annotations, or both in one file.

COCO's crowds are regions to ignore. An image without results has no detections: what is in it counts as missed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ai4diag.data.problems import ReadError
from ai4diag.data.readers.coco import CocoIndex, CocoResults, read_coco, read_coco_index, read_coco_results
from ai4diag.data.voc import Annotation
from ai4diag.errors import DataError
from ai4diag.pipelines.external import Asked
from ai4diag.pipelines.foreign import (
    Foreign,
    left_out,
    named,
    need_target,
    refuse_missing,
    refuse_none,
    unknown_patients,
    who,
)

OF_THE_FORMAT = ("id", "file_name", "width", "height", "license", "flickr_url", "coco_url", "date_captured", "case_id")
"""Fields of an image that say nothing about the patient; others with one value become attributes."""


def read(path: Path, asked: Asked) -> Foreign:
    """Read detections; the annotations are in the plan's `truth`, or in the same file.

    Raises:
        DataError: a file is wrong; image, annotation or result is named.
        ConfigError: the plan asks for something else than boxes.
    """
    need_target(asked, "boxes", path)
    beside = asked.beside(asked.plan.truth) if asked.plan.truth is not None else path
    annotations, index = read_coco(beside), read_coco_index(beside)
    classes = asked.plan.classes or tuple(index.classes.values())
    if set(classes) != set(index.classes.values()):
        listed = ", ".join(index.classes.values())
        raise DataError(
            f"{beside} has the categories {listed}; {asked.path} names {', '.join(classes)}.", "Correct it."
        )
    results = read_coco_results(path, index)
    _refuse_fractions(path, results, annotations)
    files = {number: str(item["file_name"]) for number, item in index.images.items()}
    images = _cases(files)
    silent = [name for number, name in images.items() if number not in results]
    notes = []
    if silent and asked.plan.missing == "refuse":
        refuse_missing(silent, path)
    if silent and asked.plan.missing == "leave_out":
        refuse_none(len(images) - len(silent), path)
        images = {number: name for number, name in images.items() if number in results}
        notes.append(left_out(silent))
    elif silent:
        notes.append(f"No detections, so that all boxes count as missed, in {named(silent, 'image')}.")
    known, is_known = who(list(images.values()), asked, _attributes(index, list(images)))
    position = {name: number for number, name in enumerate(classes)}
    lines = []
    beyond = 0
    for number, name in images.items():
        truth = annotations[files[number]]
        beyond += _beyond(path, name, truth, results.get(number))
        lines.append(_line(truth, results.get(number), position))
    if beyond:
        notes.append(f"{beyond} detections reach beyond the edge of their image; they are scored as they are.")
    table = pd.concat([known, pd.DataFrame(lines)], axis=1)
    if not (table[["size_0", "size_1"]] > 0).all(axis=None):
        table = table.drop(columns=["size_0", "size_1"])
    return Foreign(table, classes, (*notes, *unknown_patients(is_known)), is_known, tuple({path: 0, beside: 0}))


def _cases(files: dict[int, str]) -> dict[int, str]:
    """Return the name of each case: of its file without the ending, unless two would then be called the same."""
    stems = {number: Path(name).stem for number, name in files.items()}
    return stems if len(set(stems.values())) == len(stems) else files


def _line(truth: Annotation, found: CocoResults | None, position: dict[str, int]) -> dict[str, Any]:
    """Return the columns that the target needs, of one image."""
    return {
        "size_0": truth.size[0],
        "size_1": truth.size[1],
        "truth_boxes": truth.boxes.ravel(),
        "truth_labels": np.array([position[name] for name in truth.names], np.int64),
        "truth_ignore": np.array(truth.difficult, bool),
        "boxes": found.boxes.ravel() if found else np.zeros(0),
        "labels": np.array([position[name] for name in found.names] if found else [], np.int64),
        "scores": found.scores if found else np.zeros(0),
    }


def _attributes(index: CocoIndex, images: list[int]) -> pd.DataFrame | None:
    """Return patient_id, site and other single values that the images carry, where all or some do."""
    entries = [index.images[number] for number in images]
    names = dict.fromkeys(
        key for entry in entries for key, value in entry.items() if key not in OF_THE_FORMAT and _single(value)
    )
    if "patient_id" in names and (without := [e["file_name"] for e in entries if not _single(e.get("patient_id"))]):
        raise DataError(f"No patient_id, which others have, in {named(without, 'image')}.", "Complete it.")
    table = pd.DataFrame({name: [e.get(name) if _single(e.get(name)) else None for e in entries] for name in names})
    for name in ("patient_id", "site"):
        if name in table:
            table[name] = table[name].map(lambda value: "" if value is None else str(value))
    return table if len(names) else None


def _single(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and value != ""


def _refuse_fractions(path: Path, results: dict[int, CocoResults], annotations: dict[str, Annotation]) -> None:
    """Refuse boxes in fractions of the image: all coordinates within 0 and 1, and those of the truth are not."""
    largest = max((float(item.boxes.max()) for item in results.values()), default=0.0)
    truth = max((float(item.boxes.max()) for item in annotations.values() if len(item.boxes)), default=0.0)
    if results and largest <= 1 < truth:
        expected = f"pixels, as the truth has them (up to {truth:g})"
        raise ReadError(path.name, "boxes within 0 and 1", expected, "Multiply by width and height of each image.")


def _beyond(path: Path, name: str, truth: Annotation, found: CocoResults | None) -> int:
    """Return how many detections reach beyond the edge; one that lies wholly outside is refused."""
    if found is None or not all(truth.size):
        return 0
    size = np.array(truth.size, np.float64)
    outside = (found.boxes[:, 2:] <= 0).any(axis=1) | (found.boxes[:, :2] >= size).any(axis=1)
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        y, x, bottom, right = (float(value) for value in found.boxes[first])
        raise ReadError(
            f"{path.name}, result {found.places[first]}",
            f"a box [{x:g}, {y:g}, {right - x:g}, {bottom - y:g}] outside '{name}', which has "
            f"{truth.size[1]} x {truth.size[0]}",
            "[x, y, width, height] in pixels of that image",
            "Look whether x and y are exchanged, or image_id is of another image.",
        )
    return int(((found.boxes[:, :2] < 0) | (found.boxes[:, 2:] > size)).any(axis=1).sum())
