"""Boxes in YOLO text files: one beside each image, one line per box, and a `data.yaml` that names the classes.

**Convention.** A line is `class x y width height`: the middle and the sides of the box as shares of the image, x
(column) before y (row). Here boxes come out in array-axis order and in pixels, rounded to 1/1000, which is what six
decimals are worth, so that a box drawn to the edge of an image does not seem to reach out of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ai4diag.config.base import read_yaml
from ai4diag.data.problems import ReadError
from ai4diag.data.voc import Annotation
from ai4diag.errors import ConfigError

LARGEST_TEXT_BYTES = 4 * 2**20
_DECIMALS = 3


def read_names(path: Path) -> tuple[str, ...]:
    """Return the class names of a `data.yaml`, a list or numbered from 0.

    Raises:
        ReadError: no such file, no `names`, or a number without a name.
    """
    if path.is_file() and path.stat().st_size > LARGEST_TEXT_BYTES:
        raise ReadError(path.name, f"{path.stat().st_size} bytes", f"at most {LARGEST_TEXT_BYTES}", "Look at the file.")
    try:
        content = read_yaml(path)
    except (ConfigError, RecursionError) as error:
        raise ReadError(path.name, f"no readable YAML ({str(error)[:200]})", "class names", "Correct it.") from None
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict):
        numbered = sorted(names) == list(range(len(names))) if all(type(key) is int for key in names) else False
        names = [names[number] for number in range(len(names))] if numbered else None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise ReadError(path.name, "no names", "names: a list, or one for each number from 0", "Add the class names.")
    return tuple(names)


def read_yolo(path: Path, names: Sequence[str], size: tuple[int, int]) -> Annotation:
    """Read the boxes of one image.

    Args:
        path: the text file; an empty one is an image without boxes.
        names: class names.
        size: rows and columns of the image.

    Raises:
        ReadError: a line is no box (an outline, or a score behind it), has an unknown class, or numbers that are no
            shares of the image.
    """
    if (length := path.stat().st_size) > LARGEST_TEXT_BYTES:
        raise ReadError(path.name, f"{length} bytes", f"at most {LARGEST_TEXT_BYTES}", "Look at the file.")
    labels, boxes = [], []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ReadError(path.name, "no UTF-8 text", "lines of five numbers", "Export it again.") from None
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        where = f"{path.name}, line {number}"
        if len(words) != 5:
            found = f"{len(words)} numbers"
            raise ReadError(where, found, "class x y width height", "Export boxes, without outlines and scores.")
        if not words[0].isascii() or not words[0].isdigit() or len(words[0]) > 9 or int(words[0]) >= len(names):
            expected = f"a whole number from 0 to {len(names) - 1}"
            raise ReadError(where, f"class '{words[0][:20]}'", expected, "Correct the line, or the names.")
        x, y, width, height = (_share(where, word) for word in words[1:])
        labels.append(names[int(words[0])])
        boxes.append([y - height / 2, x - width / 2, y + height / 2, x + width / 2])
    edges = np.array(boxes, np.float64).reshape(-1, 4) * np.array([*size, *size])
    return Annotation((0, 0), tuple(labels), np.round(edges, _DECIMALS), (False,) * len(labels))


def _share(where: str, word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not -1 <= value <= 2:  # a box may reach out a little, which the checks of all formats report
        raise ReadError(where, f"'{word[:20]}'", "a share of the image", "Divide pixels by the size of the image.")
    return value
