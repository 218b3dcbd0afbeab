"""Images of detection cases with truth and predicted boxes drawn over them: what was found, missed, false or confused.

The image is embedded once, as JPEG; the boxes are vectors above it, so that they print and enlarge well. Truth is a
solid line and a prediction a dashed one, in two colours; what went wrong is thicker and says so in words.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from PIL import Image

from ai4diag.evaluation.boxes import as_boxes
from ai4diag.evaluation.pairing import pair
from ai4diag.evaluation.report.context import Picture
from ai4diag.evaluation.report.words import counted

LONGEST_SIDE = 512
"""Larger images are reduced to this many pixels."""
LOOSE_IOU = 0.1
"""Overlap from which a miss and a false detection of one class are called one box that is off."""
MOST_TAGS = 12
"""Most mistakes of a picture that are named in it: misses and mix-ups, then false alarms, the highest score first."""
WIDE = 1.6
"""A picture that is so much wider than high, such as a signal, needs room."""
TEXT_LINES = 32
"""Width of an image over the size of the words in it."""
WIDE_LETTER = 0.68
"""Width of a letter over its size, on the safe side."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CasePicture:
    """A picture with its caption; `svg` is None when the image is not at hand, `small` ones need little room."""

    case_id: str
    svg: Markup | None
    caption: str
    small: bool = False


def case_picture(case: Mapping[str, Any], classes: Sequence[str], picture: Picture | None, key: str) -> CasePicture:
    """Return the picture of one case.

    Args:
        case: case_id, truth_boxes, truth_labels, truth_ignore; boxes, labels and scores of the detections to show, best
            score first. Boxes are in pixels of the original image.
        classes: class names.
        picture: the image, or None.
        key: prefix of ids, unique in the report.
    """
    truth, truth_labels = as_boxes(case["truth_boxes"]), np.asarray(case["truth_labels"], np.int64)
    boxes, labels = as_boxes(case["boxes"]), np.asarray(case["labels"], np.int64)
    ignore = np.asarray(case["truth_ignore"], bool)
    pairs = pair(truth, truth_labels, ignore, boxes, labels)
    caption = (
        f"{counted(int((~ignore).sum()), 'true box', 'true boxes')}: {len(pairs.found)} found, "
        f"{len(pairs.missed)} missed, {len(pairs.confused)} of another class; "
        f"{counted(len(pairs.false), 'false alarm')}."
    )
    case_id = str(case["case_id"])
    if picture is None:
        return CasePicture(case_id, None, caption)
    image, scale = picture
    truth, boxes = truth * np.tile(scale, 2), boxes * np.tile(scale, 2)
    called, named = [classes[label] for label in labels], [classes[label] for label in truth_labels]
    rects = [_box(truth[box], "ignored") for box in np.flatnonzero(ignore)]
    for box, detection in pairs.found:
        rects += [_box(truth[box], "truth"), _box(boxes[detection], "predicted")]
    missed, false = list(pairs.missed), list(pairs.false)
    loose = pair(truth[missed], truth_labels[missed], ignore[missed], boxes[false], labels[false], LOOSE_IOU).found
    off = {false[detection]: missed[box] for box, detection in loose}
    tags: list[tuple[Floats, str]] = []
    for box in missed:
        rects.append(_box(truth[box], "truth wrong"))
        tags += [(truth[box], f"missed {named[box]}")] if box not in off.values() else []
    for box, detection in pairs.confused:
        rects += [_box(truth[box], "truth wrong"), _box(boxes[detection], "predicted wrong")]
        tags.append((boxes[detection], f"{named[box]} called {called[detection]}"))
    for detection in sorted(false, key=lambda at: -case["scores"][at]):
        rects.append(_box(boxes[detection], "predicted wrong"))
        score = f"{case['scores'][detection]:.2f}"
        what = f"{called[detection]} box off" if detection in off else f"false {called[detection]}"
        tags.append((boxes[detection], f"{what} {score}"))
    marks = rects + _tags(tags[:MOST_TAGS], image.shape)
    return CasePicture(case_id, _overlay(image, marks, key, f"Case {case_id}", caption), caption)


def plain_picture(case_id: str, caption: str, picture: Picture | None, key: str) -> CasePicture:
    """Return the picture of a case with nothing drawn over it.

    Args:
        case_id: name of the case.
        caption: what was true and what was said.
        picture: the image, or None.
        key: prefix of ids, unique in the report.
    """
    if picture is None:
        return CasePicture(case_id, None, caption)
    rows, columns = picture[0].shape[:2]
    svg = _overlay(picture[0], [], key, f"Case {case_id}", caption)
    return CasePicture(case_id, svg, caption, small=columns < WIDE * rows)


def _overlay(image: npt.NDArray[np.uint8], marks: Sequence[Markup], key: str, title: str, text: str) -> Markup:
    rows, columns = image.shape[:2]
    head = Markup(
        '<svg class="overlay" viewBox="0 0 {c} {r}" role="img" aria-labelledby="{k}-title {k}-desc">'
        '<title id="{k}-title">{title}</title><desc id="{k}-desc">{text}</desc>'
        '<image width="{c}" height="{r}" href="{data}"/>'
    ).format(c=columns, r=rows, k=key, title=title, text=text, data=_jpeg(image))
    return head + Markup("").join(marks) + Markup("</svg>")


def _jpeg(image: npt.NDArray[np.uint8]) -> str:
    picture = Image.fromarray(image, "RGB")
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def _box(box: Floats, kind: str) -> Markup:
    """Return a box over a dark casing, which keeps it visible on any image."""
    low_0, low_1, high_0, high_1 = (round(float(value), 1) for value in box)
    shape = f'x="{low_1:g}" y="{low_0:g}" width="{high_1 - low_1:.1f}" height="{high_0 - low_0:.1f}"'
    casing = "case strong" if "wrong" in kind else "case"
    return Markup(f'<rect class="{casing}" {shape}/><rect class="{kind}" {shape}/>')  # noqa: S704 - no text from outside


def _tags(tags: Sequence[tuple[Floats, str]], shape: tuple[int, ...]) -> list[Markup]:
    """Return words above their boxes, inside the image, moved where they would cover words already there."""
    size = shape[1] / TEXT_LINES
    placed: list[tuple[float, float, float]] = []
    marks = []
    for box, text in sorted(tags, key=lambda tag: (float(tag[0][0]), float(tag[0][1]))):
        width = WIDE_LETTER * size * len(text)
        x = max(0.0, min(float(box[1]), shape[1] - width))
        above = min(max(float(box[0]) - 0.3 * size, size), shape[0] - 0.2 * size)
        beside = [row for row, left, right in placed if x < right and left < x + width]
        rows = sorted(np.arange(size, shape[0], size / 4), key=lambda row: abs(row - above))
        free = (row for row in (above, *rows) if all(abs(row - other) >= size for other in beside))
        y = float(next(free, above))
        placed.append((y, x, x + width))
        marks.append(Markup('<text x="{:.1f}" y="{:.1f}" font-size="{:.1f}">{}</text>').format(x, y, size, text))
    return marks
