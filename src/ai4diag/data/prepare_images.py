"""From images with boxes to prepared cases.

Every image is decoded once, resampled, and written to a memory map; never more than one image is held in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.card import Card
from ai4diag.config.detection import DetectionRecipe
from ai4diag.data.catalogue import verify
from ai4diag.data.check_images import double_findings, part_findings
from ai4diag.data.check_table import duplicate_findings
from ai4diag.data.divide import box_strata, divide, official_parts, training_rows
from ai4diag.data.identify import image_index
from ai4diag.data.image_cases import ImageCase, box_table, packed_size, read_image_cases
from ai4diag.data.leaks.gate import gate
from ai4diag.data.leaks.scan import Divided, scan_pictures
from ai4diag.data.packing import channel_moments, memory_map
from ai4diag.data.prepared import write_prepared
from ai4diag.data.problems import ReadError, stop_on_errors
from ai4diag.data.readers.pictures import read_image, resample
from ai4diag.errors import DataError
from ai4diag.types import Finding

Preprocess = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]


def prepare_images(
    raw: Path, card: Card, recipe: DetectionRecipe, folder: Path, preprocess: Preprocess | None = None
) -> None:
    """Read, validate, split and pack images with boxes; write prepared cases to `folder`.

    Args:
        raw: folder of the data set; its files are verified against their checksums first.
        card: what the data set shall be.
        recipe: how large the packed images are, and how cases are divided.
        folder: where the prepared cases go.
        preprocess: applied to each packed image, uint8 `(channels, rows, columns)`; must keep shape and type.

    Raises:
        DataError: a file is missing, damaged or not what the card says, or the split leaks; all errors are named.
    """
    if card.images is None:
        raise DataError(f"{card.name} has no images.", "Choose a data set for detection.")
    verify(card, raw)
    cases, findings = read_image_cases(raw, card, card.images)
    stop_on_errors(findings, card.name)
    index, noticed = image_index([case.name for case in cases], card, raw)
    index["size_0"], index["size_1"] = (np.array([case.size[axis] for case in cases], np.int64) for axis in (0, 1))
    findings += noticed
    kept, parts, noticed = official_parts(index["case_id"], card, raw, recipe.data.split)
    findings += noticed
    cases, index = [cases[row] for row in np.flatnonzero(kept)], index[kept].reset_index(drop=True)
    boxes, noticed = box_table(cases, card.classes)
    findings += noticed + double_findings([case.name for case in cases], boxes)
    shape = len(cases), len(card.images.channels), *packed_size(cases, recipe.data.image_size)
    folder.mkdir(parents=True, exist_ok=True)
    with memory_map(folder, shape) as packed:
        content, noticed = _pack(cases, packed, preprocess)
        findings += noticed
        split, noticed = divide(index, box_strata(index, boxes, len(card.classes)), content, card, recipe, parts)
        findings += noticed + part_findings(split, index, boxes, card.classes)
        findings += scan_pictures(packed, Divided(index, split, content))
        findings = gate(findings, recipe.data.waive, card.name)
        facts = {
            "task": "detection",
            "dataset": card.name,
            "card_sha256": card.sha256,
            "classes": list(card.classes),
            "channels": list(card.images.channels),
            "image_size": list(shape[2:]),
            "statistics": _statistics(packed, boxes, training_rows(split), card),
        }
        write_prepared(
            folder,
            facts=facts,
            index=index,
            split=split,
            findings=findings,
            arrays={"images": packed},
            tables={"boxes": boxes},
        )


def _pack(
    cases: list[ImageCase], packed: npt.NDArray[np.uint8], preprocess: Preprocess | None
) -> tuple[list[str], list[Finding]]:
    """Fill `packed`; return the hash of each image's pixels at its original size, and copies."""
    problems: list[Finding] = []
    content = []
    for number, case in enumerate(cases):
        try:
            original = read_image(case.image, packed.shape[1])
        except ReadError as error:
            problems.append(error.finding)
            continue
        content.append(hashlib.sha256(repr(original.shape).encode() + original.tobytes()).hexdigest())
        pixels = resample(original, (packed.shape[2], packed.shape[3]))
        result = pixels if preprocess is None else preprocess(pixels)
        if result.shape != pixels.shape or result.dtype != np.uint8:
            raise DataError(
                f"preprocess returned {result.dtype} {result.shape} for {case.name}, expected uint8 {pixels.shape}.",
                "Keep shape and type; sizes are set by data.image_size.",
            )
        packed[number] = result
    stop_on_errors(problems, "images")
    names = [case.name for case in cases]
    return content, duplicate_findings(names, content, "images")


def _statistics(
    packed: npt.NDArray[np.uint8], boxes: pd.DataFrame, rows: npt.NDArray[np.int64], card: Card
) -> dict[str, Any]:
    """Describe the training part: mean and standard deviation per channel (0..255), boxes, median size in pixels."""
    mean, spread = channel_moments(packed, rows)
    train = boxes[boxes["case"].isin(rows)]
    counts: dict[str, int] = {}
    median: dict[str, list[float]] = {}
    for number, name in enumerate(card.classes):
        edges = train.loc[train["label"] == number, ["min_0", "min_1", "max_0", "max_1"]].to_numpy(np.float64)
        counts[name] = len(edges)
        if len(edges):
            median[name] = np.median(edges[:, 2:] - edges[:, :2], axis=0).round(2).tolist()
    return {
        "part": "train",
        "cases": len(rows),
        "mean": mean.tolist(),
        "std": spread.tolist(),
        "boxes": counts,
        "median_box_px": median,
    }
