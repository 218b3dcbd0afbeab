"""Boxes in one COCO JSON file.

**Convention.** A COCO box is `[x, y, width, height]`: x (column) before y (row), edges continuous, counted from 0. Here
boxes come out in array-axis order, `[min_0, min_1, max_0, max_1]` = `[y, x, y + height, x + width]`. What COCO calls a
crowd is a region that evaluation ignores. Masks are not read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ai4diag.data.problems import ReadError
from ai4diag.data.voc import Annotation

LARGEST_JSON_BYTES = 512 * 2**20
_FARTHEST = 2**31
"""Pixels; no image has more along a side."""


def read_coco(path: Path) -> dict[str, Annotation]:
    """Read the boxes of all images.

    Returns:
        File name of each image to its annotation; an image without boxes has an empty one.

    Raises:
        ReadError: not JSON of this form, too large, an image twice or outside its folder, a box of an unknown image or
            class, or with a number that is not finite.
    """
    content = _parse(path)
    classes = dict(_pairs(path, content, "categories", "name"))
    if len(set(classes.values())) != len(classes):
        raise ReadError(f"{path.name}, categories", "a name twice", "one number a class", "Join the two.")
    names: dict[int, str] = {}
    for number, name in _pairs(path, content, "images", "file_name"):
        if Path(name).name != name or "\\" in name or name in ("", ".", "..") or "\0" in name:
            cure = "Put all images into images.folder, and write their names without folders."
            raise ReadError(f"{path.name}, image {number}", f"the file '{name[:100]}'", "a file name", cure)
        names[number] = name
    if len(set(names.values())) != len(names):
        raise ReadError(f"{path.name}, images", "a file twice", "each file once", "Join the two, with their boxes.")
    boxes: dict[int, list[tuple[str, list[float], bool]]] = {number: [] for number in names}
    for place, item in enumerate(_list(path, content, "annotations"), start=1):
        where = f"{path.name}, annotation {place}"
        image, category = item.get("image_id"), item.get("category_id")
        if type(image) is not int or type(category) is not int or image not in boxes or category not in classes:
            found = f"image_id {_short(image)} and category_id {_short(category)}"
            raise ReadError(where, found, "numbers that images and categories list", "Correct the file.")
        boxes[image].append((classes[category], _box(where, item.get("bbox")), item.get("iscrowd") in (1, True)))
    sizes = {item["id"]: _size(path, item) for item in _list(path, content, "images")}
    return {name: _annotation(sizes[number], boxes[number]) for number, name in names.items()}


def _annotation(size: tuple[int, int], boxes: list[tuple[str, list[float], bool]]) -> Annotation:
    edges = np.array([edges for _, edges, _ in boxes], np.float64).reshape(-1, 4)
    return Annotation(size, tuple(name for name, _, _ in boxes), edges, tuple(crowd for _, _, crowd in boxes))


def _parse(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ReadError(path.name, "no such file", "one JSON file", "Look at images.annotations of the card.")
    if (size := path.stat().st_size) > LARGEST_JSON_BYTES:
        raise ReadError(path.name, f"{size} bytes", f"at most {LARGEST_JSON_BYTES}", "Look at the file.")

    def refuse(word: str) -> NoReturn:
        raise ValueError(f"the number {word}")

    try:
        content = json.loads(path.read_bytes(), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ReadError(path.name, f"no JSON ({str(error)[:100]})", "a COCO file", "Export it again.") from None
    if not isinstance(content, dict):
        raise ReadError(path.name, "no mapping", "a COCO file with images, annotations and categories", "Export it.")
    return content


def _list(path: Path, content: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = content.get(key)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ReadError(f"{path.name}, {key}", "no list of mappings", "what COCO calls so", "Export the file again.")
    return found


def _pairs(path: Path, content: dict[str, Any], key: str, name: str) -> list[tuple[int, str]]:
    """Return number and name of each item, each number once."""
    found: dict[int, str] = {}
    for item in _list(path, content, key):
        number, text = item.get("id"), item.get(name)
        if isinstance(number, bool) or not isinstance(number, int) or not isinstance(text, str) or not text:
            said, expected = (
                f"id {_short(number)}, {name} {_short(text)}",
                f"an id that is a whole number, and a {name}",
            )
            raise ReadError(f"{path.name}, {key}", said, expected, "Correct the file.")
        if number in found:
            raise ReadError(f"{path.name}, {key}", f"id {number} twice", "each id once", "Number them anew.")
        found[number] = text
    return list(found.items())


def _box(where: str, box: Any) -> list[float]:
    """Return [min_0, min_1, max_0, max_1]."""
    numbers = isinstance(box, list) and len(box) == 4 and all(type(value) in (int, float) for value in box)
    if not numbers or not all(abs(value) < _FARTHEST for value in box):  # false for NaN as well
        raise ReadError(where, f"bbox {_short(box)}", "[x, y, width, height]", "Correct the annotation.")
    x, y, width, height = (float(value) for value in box)
    return [y, x, y + height, x + width]


def _size(path: Path, item: dict[str, Any]) -> tuple[int, int]:
    """Return the rows and columns that an image declares, (0, 0) when it does not."""
    sides = item.get("height", 0), item.get("width", 0)
    if not all(type(side) is int and 0 <= side < 2**31 for side in sides):
        raise ReadError(
            f"{path.name}, image {item['id']}", f"a size of {_short(sides)}", "height and width", "Correct it."
        )
    return int(sides[0]), int(sides[1])


def _short(value: Any) -> str:
    return repr(value)[:60]
