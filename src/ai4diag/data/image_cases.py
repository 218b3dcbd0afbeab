"""Images paired with their annotations, and the boxes that can be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ai4diag.config.card import Card
from ai4diag.config.sources.images import Images
from ai4diag.data.check_images import box_findings, image_findings
from ai4diag.data.problems import ReadError
from ai4diag.data.readers.coco import read_coco
from ai4diag.data.readers.pictures import image_size
from ai4diag.data.readers.yolo import read_names, read_yolo
from ai4diag.data.voc import Annotation, read_annotation
from ai4diag.errors import DataError
from ai4diag.types import Finding

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True)
class ImageCase:
    """One image with its annotation; `size` is rows and columns of the image."""

    name: str
    image: Path
    size: tuple[int, int]
    annotation: Annotation


def read_image_cases(raw: Path, card: Card, images: Images) -> tuple[list[ImageCase], list[Finding]]:
    """Pair images with annotations by name; what has no partner, cannot be read or contradicts the card is an error.

    Raises:
        DataError: a folder is missing or holds no images, or a case is there twice.
    """
    files = _by_stem(raw / images.folder, IMAGE_ENDINGS)
    try:
        notes, read = _annotations(raw, images)
    except ReadError as error:
        return [], [error.finding]
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
            size = image_size(files[name])
            case = ImageCase(name, files[name], size, read(files[name], size))
        except ReadError as error:
            findings.append(error.finding)
            continue
        findings += image_findings(name, case.size, case.annotation, card.classes)
        cases.append(case)
    if not cases and not findings:
        raise DataError(f"{raw / images.folder} holds no images.", "Look at images.folder of the card.")
    return cases, findings


Reader = Callable[[Path, tuple[int, int]], Annotation]
"""From an image file and its size to its annotation."""


def _annotations(raw: Path, images: Images) -> tuple[dict[str, Path], Reader]:
    """Return the name of each annotated image with the file that says so, and the reader of annotations.

    Raises:
        ReadError: the one file of all annotations cannot be read.
        DataError: there is no such folder.
    """
    place = raw / images.annotations
    if images.format == "coco":
        table = read_coco(place)
        names = {Path(name).stem: place for name in table}
        if len(names) != len(table):
            raise ReadError(place.name, "two images of one name", "a name of its own for each case", "Rename one.")

        def of_coco(image: Path, size: tuple[int, int]) -> Annotation:
            if image.name not in table:
                raise ReadError(place.name, f"{image.stem} with another ending", image.name, "Correct the file name.")
            return table[image.name]

        return names, of_coco
    if images.format == "yolo":
        classes = read_names(raw / str(images.names))
        texts = {name: path for name, path in _by_stem(place, (".txt",)).items() if path.name != "classes.txt"}
        return texts, lambda image, size: read_yolo(texts[image.stem], classes, size)
    notes = _by_stem(place, (".xml",))
    return notes, lambda image, size: read_annotation(notes[image.stem])


def box_table(cases: list[ImageCase], classes: tuple[str, ...]) -> tuple[pd.DataFrame, list[Finding]]:
    """Return the boxes that have an area inside their image, and what was dropped or clipped.

    Returns:
        Columns case (row), label (position in `classes`), min_0, min_1, max_0, max_1 (float32, pixels), ignore.
    """
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


def packed_size(cases: list[ImageCase], wanted: tuple[int, ...] | None) -> tuple[int, int]:
    """Return rows and columns of the packed images: what the recipe wants, or the one size that all have.

    Raises:
        DataError: the images differ in size and the recipe gives none, or what it gives is no size.
    """
    if wanted is not None:
        if len(wanted) != 2 or min(wanted) < 1:
            raise DataError(f"data.image_size is {wanted}; images need rows and columns.", "Give two numbers.")
        return wanted[0], wanted[1]
    sizes = {case.size: case.name for case in cases}
    if len(sizes) > 1:
        shown = ", ".join(f"{rows} x {columns} ({name})" for (rows, columns), name in sorted(sizes.items())[:3])
        raise DataError(f"The images have {len(sizes)} sizes: {shown}.", "Give data.image_size: [rows, columns].")
    return next(iter(sizes))


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
