"""Pictures of foreign cases for the report: images, or volumes below label maps, from a folder of the plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ai4diag.data.readers.pictures import read_image, resample
from ai4diag.data.volume import read_volume, volumes_in
from ai4diag.data.volume_shown import BRIGHTEST, DARKEST
from ai4diag.errors import DataError
from ai4diag.evaluation.report.context import Picture
from ai4diag.pipelines.external import Asked
from ai4diag.pipelines.foreign import Foreign

LONGEST = 640
"""Pixels along the longer side of a picture in the report; larger images are shown smaller."""


def pictures(asked: Asked, foreign: Foreign) -> dict[str, Any]:
    """Return what gives the pictures of cases: `picture` or `volume` of a `ReportContext`.

    Empty where the plan names no folder. A case without a file has no picture.

    Raises:
        DataError: the folder does not exist.
    """
    if asked.plan.images is None:
        return {}
    folder = asked.beside(asked.plan.images)
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder.", "Name the folder of the images in the plan, or leave `images` out.")
    if asked.target == "masks":
        return {"volume": _volumes(folder, foreign)}
    return {"picture": _pictures(folder)}


def _pictures(folder: Path) -> Callable[[str], Picture | None]:
    files = {path.name: path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")}
    by_stem = {path.stem: path for path in files.values()}

    def picture(case_id: str) -> Picture | None:
        path = files.get(case_id) or by_stem.get(case_id)
        if path is None:
            return None
        image = read_image(path, 3)
        rows, columns = image.shape[1:]
        scale = min(1.0, LONGEST / max(rows, columns))
        if scale < 1:
            image = resample(image, (max(1, round(rows * scale)), max(1, round(columns * scale))))
        shown = np.ascontiguousarray(image.transpose(1, 2, 0))
        return shown, (shown.shape[0] / rows, shown.shape[1] / columns)

    return picture


def _volumes(folder: Path, foreign: Foreign) -> Callable[[str], npt.NDArray[np.uint8] | None]:
    files = volumes_in([folder], r"(.+)", others="left")
    shapes = {
        str(case): tuple(shape) for case, shape in zip(foreign.table["case_id"], foreign.table["shape"], strict=True)
    }

    def volume(case_id: str) -> npt.NDArray[np.uint8] | None:
        path = files.get(case_id)
        if path is None:
            return None
        values = read_volume(path, channels=None).canonical().array[0].astype(np.float64)
        if values.shape != shapes[case_id]:
            raise DataError(
                f"{path} has sides {values.shape}, its label map has {shapes[case_id]} (right, front, head).",
                "Give the volumes on the grid of the label maps, or leave `images` out of the plan.",
            )
        low, high = np.percentile(values, (DARKEST, BRIGHTEST))
        grey: npt.NDArray[np.uint8] = np.round(np.clip((values - low) / max(high - low, 1e-12), 0, 1) * 255).astype(
            np.uint8
        )
        return grey

    return volume
