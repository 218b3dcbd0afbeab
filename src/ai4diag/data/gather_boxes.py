"""New images and volumes for a trained detector, and its answers as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.detection import Grey
from ai4diag.data.image_cases import IMAGE_ENDINGS
from ai4diag.data.prepare_scans import EDGES, SIZES, pack
from ai4diag.data.prepared import Prepared, write_prepared
from ai4diag.data.readers.pictures import read_image, resample
from ai4diag.data.scan_boxes import boxes_in_mm, moved_boxes
from ai4diag.data.split import COLUMNS
from ai4diag.data.volume import read_volume, stem
from ai4diag.data.volume_store import AFFINE, packing, volume_table
from ai4diag.errors import DataError
from ai4diag.files import read_parquet

IN_IMAGES = ("row_min_px", "column_min_px", "row_max_px", "column_max_px")
IN_VOLUMES = tuple(f"{axis}_{edge}_voxel" for edge in ("min", "max") for axis in "ijk")
"""Along the first, second and third axis of the file; edges are continuous, voxel i covers i to i + 1."""
IN_MM = ("x_right_mm", "y_front_mm", "z_head_mm")
SIZE_MM = ("size_right_mm", "size_front_mm", "size_head_mm")


def gather_box_images(
    inputs: Sequence[Path], folder: Path, classes: Sequence[str], channels: Sequence[str], size: Sequence[int]
) -> Prepared:
    """Read pictures (PNG, JPEG, TIFF, BMP) and pack them in the size of the model.

    Args:
        inputs: one case each.
        folder: where the prepared cases go.
        classes, channels: names.
        size: rows and columns of the packed images.

    Raises:
        DataError: a file cannot be read, is no picture, or has the name of another.
    """
    images = np.empty((len(inputs), len(channels), size[0], size[1]), np.uint8)
    index = pd.DataFrame({"case_id": _names(inputs)})
    index["patient_id"], index["site"] = index["case_id"], "unknown"
    sides = np.empty((len(inputs), 2), np.int64)
    for row, path in enumerate(inputs):
        if path.suffix.lower() not in IMAGE_ENDINGS:
            raise DataError(f"{path.name}: the model reads pictures (PNG, JPEG, TIFF, BMP).", "Convert the file.")
        picture = read_image(path, len(channels))
        sides[row] = picture.shape[1:]
        images[row] = resample(picture, (size[0], size[1]))
    index[["size_0", "size_1"]] = sides
    facts = {"classes": list(classes), "channels": list(channels), "image_size": list(size)}
    return _written(folder, facts, index, {"images": images}, {})


def gather_box_volumes(
    inputs: Sequence[Path],
    folder: Path,
    classes: Sequence[str],
    channels: Sequence[str],
    packed_as: Mapping[str, Any],
) -> Prepared:
    """Read volumes and pack them as `prepare_scans` packed those that the model learned from.

    Args:
        inputs: files, or folders that hold one DICOM series; one case each.
        folder: where the prepared cases go.
        classes, channels: names.
        packed_as: what `prepare_scans.packing_facts` gave.

    Returns:
        Prepared cases, with the affines of the files in `files.parquet`.

    Raises:
        DataError: a file cannot be read, has other channels, or has the name of another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index = pd.DataFrame({"case_id": _names(inputs)})
    index["patient_id"], index["site"] = index["case_id"], "unknown"
    grey, spacing = Grey.model_validate(packed_as["grey"]), packed_as["spacing_mm"]
    sides, affines, own, canonical = [], [], [], []
    with packing(folder, "volumes", np.uint8) as writer:
        for path in inputs:
            volume = read_volume(path, channels=len(channels))
            turned = volume.canonical()
            array, affine = pack(turned, grey, spacing)
            writer.add(array)
            sides.append(turned.array.shape[1:])
            affines.append(affine)
            own.append(volume.affine[:3].ravel())
            canonical.append(turned.affine[:3].ravel())
        index[SIZES] = np.array(sides, np.int64)
        files = pd.DataFrame(np.array(own), columns=AFFINE)
        files[[f"canonical_{name}" for name in AFFINE]] = np.array(canonical)
        store = writer.store()
        facts = {"classes": list(classes), "channels": list(channels), "packing": dict(packed_as)}
        facts["image_size"] = store.shape[:, 1:].max(axis=0).tolist()
        tables = {"volumes": volume_table(store, np.array(affines)), "files": files}
        return _written(folder, facts, index, {"volumes": store.flat}, tables)


def box_lines(table: pd.DataFrame, prepared: Prepared) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one line per box and one line per case.

    Args:
        table: `boxes`, `labels` and `scores` of each gathered case.
        prepared: what a function of this module returned.

    Returns:
        case_id, class, score and edges of each box, best first in each case: in pixels of the picture (rows from the
        top, columns from the left), or in voxels along the axes of the file, and then also its middle in millimetres
        (RAS+) and its sides; and case_id and the number of boxes of each case.
    """
    volumes = "files.parquet" in prepared.facts["files"]
    columns = list(IN_VOLUMES if volumes else IN_IMAGES)
    files = read_parquet(prepared.folder / "files.parquet") if volumes else None
    parts = []
    answers = zip(prepared.index["case_id"], table["boxes"], table["labels"], table["scores"], strict=True)
    for row, (name, edges, labels, scores) in enumerate(answers):
        boxes = np.asarray(edges, np.float64).reshape(-1, len(columns))
        lines = pd.DataFrame({"case_id": name, "class": [prepared.classes[label] for label in labels]}, dtype=object)
        lines["score"] = np.asarray(scores, np.float64)
        if files is None:
            lines[columns] = boxes
        else:
            canonical = _affine(files, row, [f"canonical_{column}" for column in AFFINE])
            lines[columns] = moved_boxes(boxes, canonical, _affine(files, row, AFFINE))
            lines[list(IN_MM)], lines[list(SIZE_MM)] = boxes_in_mm(boxes, canonical)
        parts.append(lines)
    cases = pd.DataFrame({"case_id": prepared.index["case_id"], "boxes": [len(part) for part in parts]})
    return pd.concat(parts, ignore_index=True), cases


def _affine(files: pd.DataFrame, row: int, columns: list[str]) -> npt.NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3] = files.loc[row, columns].to_numpy(np.float64).reshape(3, 4)
    return affine


def _names(inputs: Sequence[Path]) -> list[str]:
    names = [stem(path) if path.suffix.lower() not in IMAGE_ENDINGS else path.stem for path in inputs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"Two files are called '{twice[0]}'.", "Rename one: answers are named after their file.")
    return names


def _written(
    folder: Path,
    facts: Mapping[str, Any],
    index: pd.DataFrame,
    arrays: Mapping[str, npt.NDArray[Any]],
    tables: Mapping[str, pd.DataFrame],
) -> Prepared:
    edges = EDGES if "volumes" in arrays else ["min_0", "min_1", "max_0", "max_1"]
    kinds = {"case": np.int64, "label": np.int64, **dict.fromkeys(edges, np.float32), "ignore": bool}
    boxes = pd.DataFrame({name: np.empty(0, kind) for name, kind in kinds.items()})
    write_prepared(
        folder,
        facts={"task": "detection", "dataset": "new files", **facts},
        index=index,
        split=pd.DataFrame(columns=COLUMNS),
        findings=[],
        arrays=arrays,
        tables={"boxes": boxes, **tables},
    )
    return Prepared.open(folder)
