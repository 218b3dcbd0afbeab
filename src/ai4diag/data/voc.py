"""Pascal VOC annotations, one file per image.

**Convention.** A VOC file gives `xmin, ymin, xmax, ymax`: x (column) before y (row). Here they come out in array-axis
order, `[min_0, min_1, max_0, max_1]` = `[ymin, xmin, ymax, xmax]`. The numbers are taken as continuous edges as they
stand (size = max - min), as detection tools do. The 2007 challenge itself counted pixels from 1 with both ends
inside; read that way a box would begin one pixel earlier. The difference is one pixel at most.

An XML file that declares a document type is refused: that is where entities (bombs, references to other files) live.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np
import numpy.typing as npt

from ai4diag.data.problems import ReadError

LARGEST_XML_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Annotation:
    """What is said about one image, in whatever format.

    Attributes:
        size: rows and columns that are declared; (0, 0) when they are not.
        names: class name of each box.
        boxes: float64 `(n, 4)`, [min_0, min_1, max_0, max_1] as written: possibly empty, inverted or outside.
        difficult: whether each box is marked difficult, which evaluation ignores.
    """

    size: tuple[int, int]
    names: tuple[str, ...]
    boxes: npt.NDArray[np.float64]
    difficult: tuple[bool, ...]


def read_annotation(path: Path) -> Annotation:
    """Read one Pascal VOC file.

    Raises:
        ReadError: not XML, too large, declares a document type, or a box lacks a name or a finite coordinate.
    """
    root = _parse(path)
    if root.tag != "annotation":
        raise ReadError(path.name, f"root element '{root.tag}'", "'annotation', as Pascal VOC has", "Convert the file.")
    size = _number(path, root, "size/height", 0), _number(path, root, "size/width", 0)
    names, boxes, difficult = [], [], []
    for number, item in enumerate(root.findall("object"), start=1):
        name = (item.findtext("name") or "").strip()
        if not name:
            raise ReadError(f"{path.name}, object {number}", "no name", "a class name", "Correct the annotation.")
        where = f"bndbox of object {number} ({name})"
        edges = [_number(path, item, f"bndbox/{key}", None, where) for key in ("ymin", "xmin", "ymax", "xmax")]
        names.append(name)
        boxes.append(edges)
        difficult.append((item.findtext("difficult") or "0").strip() == "1")
    array = np.array(boxes, np.float64).reshape(-1, 4)
    return Annotation((int(size[0]), int(size[1])), tuple(names), array, tuple(difficult))


def _parse(path: Path) -> Element:
    if path.stat().st_size > LARGEST_XML_BYTES:
        raise ReadError(path.name, f"{path.stat().st_size} bytes", f"at most {LARGEST_XML_BYTES}", "Look at the file.")
    builder = TreeBuilder()

    def refuse(*_: object) -> None:
        raise ReadError(
            path.name, "a document type declaration", "plain Pascal VOC without one", "Remove the DOCTYPE lines."
        )

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = lambda tag, attributes: builder.start(tag, attributes)
    parser.EndElementHandler = lambda tag: builder.end(tag)
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(path.read_bytes(), True)
    except (expat.ExpatError, LookupError, ValueError) as error:  # the latter two: an encoding that expat cannot read
        raise ReadError(path.name, f"no well-formed XML ({error})", "a Pascal VOC file", "Export it again.") from None
    return builder.close()


def _number(path: Path, item: Element, key: str, default: float | None, where: str = "") -> float:
    text = item.findtext(key)
    if text is None and default is not None:
        return default
    try:
        value = float((text or "").strip())
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        place = f"{path.name}, {where or key}"
        raise ReadError(place, f"{key.split('/')[-1]} = {text!r}", "a number", "Correct the annotation.")
    return value
