"""Boxes in one COCO JSON file.

**Convention.** A COCO box is `[x, y, width, height]`: x (column) before y (row), edges continuous, counted from 0. Here
boxes come out in array-axis order, `[min_0, min_1, max_0, max_1]` = `[y, x, y + height, x + width]`. What COCO calls a
crowd is a region that evaluation ignores. Masks are not read.

Results, as detectors write them for COCO's own scorer, are a list of `{image_id, category_id, bbox, score}`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

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


@dataclass(frozen=True)
class CocoIndex:
    """What the numbers of a COCO file stand for.

    Attributes:
        images: by id, the whole entry of each image.
        classes: by id, the name of each category, in the order of the ids.
    """

    images: dict[int, dict[str, Any]]
    classes: dict[int, str]


@dataclass(frozen=True)
class CocoResults:
    """Detections of one image.

    Attributes:
        names: class name of each box.
        boxes: float64 `(n, 4)`, [min_0, min_1, max_0, max_1] in pixels, possibly beyond the edges of the image.
        scores: float64 `(n,)`.
        places: position of each in the list, counted from 1.
    """

    names: tuple[str, ...]
    boxes: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    places: tuple[int, ...]


def read_coco_index(path: Path) -> CocoIndex:
    """Read which images and categories a COCO file has.

    Raises:
        ReadError: as `read_coco`.
    """
    content = _parse(path)
    _pairs(path, content, "images", "file_name")
    images = {int(item["id"]): item for item in _list(path, content, "images")}
    return CocoIndex(images, dict(sorted(_pairs(path, content, "categories", "name"))))


def read_coco_results(path: Path, known: CocoIndex, key: str = "predictions") -> dict[int, CocoResults]:
    """Read detections, in the order in which they stand.

    Args:
        path: JSON, a list of results, or a mapping that holds it under `key` (a COCO file with both).
        known: images and categories that may be named.
        key: where the list stands in a mapping.

    Returns:
        By image id; images of which nothing was detected are left out.

    Raises:
        ReadError: not JSON of this form, too large, an unknown image or category, a box that is empty or not four
            finite numbers, a score that is no finite number. The place in the list is named, counted from 1.
    """
    content = _json(path, float)
    results = content.get(key) if isinstance(content, dict) else content
    if not isinstance(results, list) or not all(isinstance(item, dict) for item in results):
        expected = f"a list of {{image_id, category_id, bbox, score}}, or a mapping with such a list as '{key}'"
        raise ReadError(path.name, "something else", expected, "Export the results again.")
    rows: dict[int, list[tuple[str, list[float], float, int]]] = {}
    for place, item in enumerate(results, start=1):
        where = f"{path.name}, result {place}"
        image, category, score = (item.get(name) for name in ("image_id", "category_id", "score"))
        for what, number, there in (("image_id", image, known.images), ("category_id", category, known.classes)):
            if type(number) is not int or number not in there:
                expected = f"one of the {len(there)} that the truth lists, such as {next(iter(there), 'none')}"
                raise ReadError(
                    where, f"{what} {_short(number)}", expected, "Correct the results, or add it to the truth."
                )
        if type(score) not in (int, float) or not abs(score) < _FARTHEST:  # false for NaN as well
            raise ReadError(where, f"score {_short(score)}", "a finite number", "Correct the results.")
        box = _box(where, item.get("bbox"))
        if box[2] <= box[0] or box[3] <= box[1]:
            cure = "COCO boxes are [x, y, width, height], not two corners."
            raise ReadError(where, f"bbox {_short(item.get('bbox'))}", "a width and a height above 0", cure)
        rows.setdefault(image, []).append((known.classes[category], box, float(score), place))
    return {image: _results(found) for image, found in rows.items()}


def _results(rows: Sequence[tuple[str, list[float], float, int]]) -> CocoResults:
    names, boxes, scores, places = zip(*rows, strict=True)
    return CocoResults(names, np.array(boxes, np.float64), np.array(scores, np.float64), places)


def _annotation(size: tuple[int, int], boxes: list[tuple[str, list[float], bool]]) -> Annotation:
    edges = np.array([edges for _, edges, _ in boxes], np.float64).reshape(-1, 4)
    return Annotation(size, tuple(name for name, _, _ in boxes), edges, tuple(crowd for _, _, crowd in boxes))


def _parse(path: Path) -> dict[str, Any]:
    def refuse(word: str) -> NoReturn:
        raise ValueError(f"the number {word}")

    content = _json(path, refuse)
    if not isinstance(content, dict):
        raise ReadError(path.name, "no mapping", "a COCO file with images, annotations and categories", "Export it.")
    return content


def _json(path: Path, constant: Callable[[str], Any]) -> Any:
    """Return the content of a file; `constant` makes something of NaN and Infinity."""
    if not path.is_file():
        raise ReadError(path.name, "no such file", "one JSON file", "Look at images.annotations of the card.")
    if (size := path.stat().st_size) > LARGEST_JSON_BYTES:
        raise ReadError(path.name, f"{size} bytes", f"at most {LARGEST_JSON_BYTES}", "Look at the file.")
    try:
        return json.loads(path.read_bytes(), parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise ReadError(path.name, f"no JSON ({str(error)[:100]})", "a COCO file", "Export it again.") from None


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
