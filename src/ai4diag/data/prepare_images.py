"""From images with Pascal VOC boxes to prepared cases.

Every image is decoded once, resampled, and written to a memory map; never more than one image is held in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.card import Card, Images
from ai4diag.config.recipe import DetectionRecipe
from ai4diag.data.catalogue import verify
from ai4diag.data.check_images import box_findings, image_findings, part_findings
from ai4diag.data.identify import image_index
from ai4diag.data.official import left_out, official_parts
from ai4diag.data.prepared import write_prepared
from ai4diag.data.problems import ReadError, stop_on_errors
from ai4diag.data.split import leaks, make_split
from ai4diag.data.voc import Annotation, image_size, read_annotation, read_image, resample
from ai4diag.errors import DataError
from ai4diag.types import Finding

Preprocess = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class _Case:
    """One image that is there, with its annotation."""

    name: str
    image: Path
    size: tuple[int, int]
    annotation: Annotation


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
    cases, findings = _read_cases(raw, card.images)
    for case in cases:
        findings += image_findings(case.name, case.size, case.annotation, card.classes)
    stop_on_errors(findings, card.name)
    index, id_findings = image_index([case.name for case in cases], card, raw)
    index["size_0"], index["size_1"] = (np.array([case.size[axis] for case in cases], np.int64) for axis in (0, 1))
    findings += id_findings
    official = official_parts(card, raw, recipe.data.split)
    if official is not None:
        kept, reason = left_out(index["case_id"], official, card)
        findings += reason
        cases = [case for case, keep in zip(cases, kept, strict=True) if keep]
        index = index[kept].reset_index(drop=True)
    boxes, box_problems = _boxes(cases, card.classes)
    findings += box_problems
    size = _packed_size(cases, recipe.data.image_size)
    folder.mkdir(parents=True, exist_ok=True)
    with _memory_map(folder, (len(cases), len(card.images.channels), *size)) as packed:
        content = _pack(cases, packed, preprocess)
        strata = _strata(index, boxes, len(card.classes))
        parts = None if official is None else index["case_id"].map(official)
        split = make_split(index, strata, content, recipe.data.split, parts)
        known = card.official_split.known_duplicates if card.official_split and official is not None else 0
        findings += leaks(split, dict(zip(index["case_id"], content, strict=True)), known)
        findings += part_findings(split, index, boxes, card.classes)
        stop_on_errors(findings, card.name)
        write_prepared(
            folder,
            facts={
                "task": "detection",
                "dataset": card.name,
                "card_sha256": card.sha256,
                "classes": list(card.classes),
                "channels": list(card.images.channels),
                "image_size": list(size),
                "statistics": _statistics(packed, boxes, split, card),
            },
            index=index,
            split=split,
            findings=findings,
            arrays={"images": packed},
            tables={"boxes": boxes},
        )


def _read_cases(raw: Path, images: Images) -> tuple[list[_Case], list[Finding]]:
    """Pair images with annotations; what has no partner, or cannot be read, is an error."""
    files = _by_stem(raw / images.folder, (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp"))
    notes = _by_stem(raw / images.annotations, (".xml",))
    findings = []
    for name in sorted(files.keys() ^ notes.keys()):
        has, lacks = ("image", "annotation") if name in files else ("annotation", "image")
        where = str((files.get(name) or notes[name]).relative_to(raw))
        cure = f"Add the {lacks}, or remove the {has}; an image without cells has an annotation without objects."
        findings.append(
            Finding("error", f"{has}-without-{lacks}", where, f"no {lacks} named {name}", "one of each", cure)
        )
    cases = []
    for name in sorted(files.keys() & notes.keys()):
        try:
            annotation = read_annotation(notes[name])
            cases.append(_Case(name, files[name], image_size(files[name]), annotation))
        except ReadError as error:
            findings.append(error.finding)
    if not cases and not findings:
        raise DataError(f"{raw / images.folder} holds no images.", "Look at images.folder of the card.")
    return cases, findings


def _by_stem(folder: Path, endings: tuple[str, ...]) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} does not exist.", "Look at images.folder and images.annotations of the card.")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in endings:
            continue
        if path.stem in found:
            raise DataError(f"{path} and {found[path.stem].name} are the same case twice.", "Keep one of them.")
        found[path.stem] = path
    return found


def _boxes(cases: list[_Case], classes: tuple[str, ...]) -> tuple[pd.DataFrame, list[Finding]]:
    """Return the boxes that have an area inside the image, and what was dropped or clipped."""
    findings: list[Finding] = []
    tables = []
    for number, case in enumerate(cases):
        kept, inside, problems = box_findings(case.name, case.size, case.annotation)
        findings += problems
        labels = np.array([classes.index(name) for name in case.annotation.names], np.int64)[kept]
        table = pd.DataFrame(inside.astype(np.float32), columns=["min_0", "min_1", "max_0", "max_1"])
        table.insert(0, "label", labels)
        table.insert(0, "case", number)
        table["ignore"] = np.array(case.annotation.difficult, bool)[kept]
        tables.append(table)
    boxes = pd.concat(tables, ignore_index=True)
    return boxes.astype({"case": np.int64, "label": np.int64, "ignore": bool}), findings


def _packed_size(cases: list[_Case], wanted: tuple[int, ...] | None) -> tuple[int, int]:
    if wanted is not None:
        if len(wanted) != 2 or min(wanted) < 1:
            raise DataError(f"data.image_size is {wanted}; images need rows and columns.", "Give two numbers.")
        return wanted[0], wanted[1]
    sizes = {case.size: case.name for case in cases}
    if len(sizes) > 1:
        shown = ", ".join(f"{rows} x {columns} ({name})" for (rows, columns), name in sorted(sizes.items())[:3])
        raise DataError(f"The images have {len(sizes)} sizes: {shown}.", "Give data.image_size: [rows, columns].")
    return next(iter(sizes))


@contextmanager
def _memory_map(folder: Path, shape: tuple[int, ...]) -> Iterator[npt.NDArray[np.uint8]]:
    """Give a uint8 array on disk that is removed at the end, however it ends."""
    path = folder / ".images.packing.npy"
    try:
        yield np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    finally:
        path.unlink(missing_ok=True)


def _pack(cases: list[_Case], packed: npt.NDArray[np.uint8], preprocess: Preprocess | None) -> list[str]:
    """Fill `packed` and return the hash of each image's pixels at its original size."""
    problems: list[Finding] = []
    content = []
    size = packed.shape[2], packed.shape[3]
    for number, case in enumerate(cases):
        try:
            original = read_image(case.image, packed.shape[1])
        except ReadError as error:
            problems.append(error.finding)
            continue
        content.append(hashlib.sha256(repr(original.shape).encode() + original.tobytes()).hexdigest())
        pixels = resample(original, size)
        result = pixels if preprocess is None else preprocess(pixels)
        if result.shape != pixels.shape or result.dtype != np.uint8:
            raise DataError(
                f"preprocess returned {result.dtype} {result.shape} for {case.name}, expected uint8 {pixels.shape}.",
                "Keep shape and type; sizes are set by data.image_size.",
            )
        packed[number] = result
    stop_on_errors(problems, "images")
    return content


def _strata(index: pd.DataFrame, boxes: pd.DataFrame, classes: int) -> npt.NDArray[np.float64]:
    """Boxes of each class, and site, per case."""
    counts = np.zeros((len(index), classes))
    np.add.at(counts, (boxes["case"].to_numpy(), boxes["label"].to_numpy()), 1)
    sites = pd.get_dummies(index["site"]).to_numpy(np.float64)
    return np.column_stack([counts, sites])


def _statistics(packed: npt.NDArray[np.uint8], boxes: pd.DataFrame, split: pd.DataFrame, card: Card) -> dict[str, Any]:
    """Describe the training part of the fold whose model is kept: channels, boxes per class, sizes."""
    lines = split[(split["contrast"] == 0) & (split["fold"] == split["fold"].min())].reset_index(drop=True)
    rows = np.flatnonzero(lines["part"].to_numpy() == "train")
    total, squares = np.zeros(packed.shape[1]), np.zeros(packed.shape[1])
    for row in rows:
        image = packed[row].reshape(packed.shape[1], -1).astype(np.float64)
        total += image.sum(axis=1)
        squares += (image**2).sum(axis=1)
    pixels = len(rows) * packed.shape[2] * packed.shape[3]
    mean = total / pixels
    train = boxes[boxes["case"].isin(rows)]
    height, width = train["max_0"] - train["min_0"], train["max_1"] - train["min_1"]
    sizes = pd.DataFrame({"label": train["label"], "height": height, "width": width}).groupby("label").median()
    counts = train["label"].value_counts()
    return {
        "part": "train",
        "cases": len(rows),
        "mean": mean.tolist(),
        "std": np.sqrt(np.maximum(squares / pixels - mean**2, 0)).tolist(),
        "boxes": {name: int(counts.get(number, 0)) for number, name in enumerate(card.classes)},
        "median_box_px": {
            name: [float(sizes.loc[number, "height"]), float(sizes.loc[number, "width"])]
            for number, name in enumerate(card.classes)
            if number in sizes.index
        },
    }
