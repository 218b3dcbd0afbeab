"""Images with Pascal VOC annotations.

**Convention.** A VOC file gives `xmin, ymin, xmax, ymax`: x (column) before y (row). Here they come out in array-axis
order, `[min_0, min_1, max_0, max_1]` = `[ymin, xmin, ymax, xmax]`. The numbers are taken as continuous edges as they
stand (size = max - min), as detection tools do. The 2007 challenge itself counted pixels from 1 with both ends
inside; read that way a box would begin one pixel earlier. The difference is one pixel at most.

An XML file that declares a document type is refused: that is where entities (bombs, references to other files) live.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np
import numpy.typing as npt

from ai4diag.data.problems import ReadError

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

LARGEST_XML_BYTES = 4 * 2**20
LARGEST_IMAGE_PIXELS = 100_000_000
"""A compressed file of a few bytes can declare an image that fills the memory."""
_MODES = {1: ("L", "1", "P"), 3: ("RGB", "RGBA", "L", "P", "CMYK", "YCbCr")}


@dataclass(frozen=True)
class Annotation:
    """What one VOC file says.

    Attributes:
        size: rows and columns that the file declares; (0, 0) when it does not.
        names: class name of each box.
        boxes: float64 `(n, 4)`, [min_0, min_1, max_0, max_1] as in the file: possibly empty, inverted or outside.
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


def image_size(path: Path) -> tuple[int, int]:
    """Return rows and columns from the header of an image file, without decoding it.

    Raises:
        ReadError: not an image, or more pixels than `LARGEST_IMAGE_PIXELS`.
    """
    image = _open(path)
    with image:
        return int(image.height), int(image.width)


def read_image(path: Path, channels: int) -> npt.NDArray[np.uint8]:
    """Read an image as uint8 `(channels, rows, columns)`.

    Args:
        path: JPEG, PNG, TIFF or BMP of 8 bits per channel.
        channels: 1 (grey) or 3 (red, green, blue).

    Raises:
        ReadError: unreadable, truncated, too large, or more than 8 bits per channel.
    """
    with _open(path) as image:
        if image.mode not in _MODES[channels]:
            expected = "8-bit grey" if channels == 1 else "8-bit colour"
            raise ReadError(path.name, f"pixels of mode {image.mode}", expected, "Convert the image, or the card.")
        try:
            array = np.asarray(image.convert("L" if channels == 1 else "RGB"), np.uint8)
        except (OSError, SyntaxError, ValueError) as error:
            raise ReadError(
                path.name, f"a damaged image ({error})", "a whole image", "Fetch or export the file again."
            ) from None
    return np.ascontiguousarray(array[None] if channels == 1 else array.transpose(2, 0, 1))


def resample(image: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Resample uint8 `(channels, rows, columns)` to `size` = (rows, columns).

    An image that shrinks by whole factors is averaged over areas; by others it is filtered (Hamming), so that no detail
    aliases. Growing is bicubic. Rows and columns are rounded to uint8 one after the other: at most one grey level.
    """
    from PIL import Image

    if image.shape[1:] == tuple(size):
        return image
    rows, columns = image.shape[1:]
    if rows % size[0] == 0 and columns % size[1] == 0:
        method = Image.Resampling.BOX
    elif size[0] <= rows and size[1] <= columns:
        method = Image.Resampling.HAMMING  # the box filter of Pillow has no fractions of pixels
    else:
        method = Image.Resampling.BICUBIC
    planes = [Image.fromarray(plane).resize((size[1], size[0]), method) for plane in image]
    return np.stack([np.asarray(plane, np.uint8) for plane in planes])


def _open(path: Path) -> ImageFile:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about size, where our own limit follows, and about unused metadata
            image = Image.open(path, formats=("JPEG", "PNG", "TIFF", "BMP"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        what = "no image" if isinstance(error, UnidentifiedImageError) else f"a damaged image ({error})"
        raise ReadError(path.name, what, "a JPEG, PNG, TIFF or BMP image", "Fetch or export the file again.") from None
    except Image.DecompressionBombError:
        raise _too_large(path, "more") from None
    if image.width * image.height > LARGEST_IMAGE_PIXELS:
        image.close()
        raise _too_large(path, f"{image.width} x {image.height}")
    return image


def _too_large(path: Path, found: str) -> ReadError:
    return ReadError(
        path.name,
        f"{found} pixels declared",
        f"at most {LARGEST_IMAGE_PIXELS:,} pixels",
        "Cut the image into tiles, or look at where it comes from: such a file can be made to fill the memory.",
    )


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
