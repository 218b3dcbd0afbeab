"""What is to be seen in a PNG of planes: where each plane lies, and where a grey or a colour is in it."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

LEAST = 8
"""Pixels of the ground in a column that belongs to a plane; letters have fewer."""
SEEN = 200
"""Pixels of a bar; in the borders of letters and lines fewer happen to have its grey."""


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def grey_is(image, value):
    return (np.abs(image - value) <= 1).all(axis=-1)


def planes(image, grounds):
    """Return (top, bottom, left, right) of each plane, from left to right; `grounds` are greys that fill planes."""
    ground = np.any([grey_is(image, value) for value in grounds], axis=0)
    columns = ground.sum(axis=0) >= LEAST
    edges = np.flatnonzero(np.diff(np.pad(columns.astype(int), 1)))
    found = []
    for left, right in zip(edges[::2], edges[1::2], strict=True):
        rows = np.flatnonzero(ground[:, left:right].sum(axis=1) >= LEAST)
        found.append((rows[0], rows[-1] + 1, left, right))
    return found


def place(mask, plane):
    """Return where a mask lies in a plane, as shares of its height (down) and width (to the right); None: nowhere."""
    top, bottom, left, right = plane
    rows, columns = np.nonzero(mask[top:bottom, left:right])
    if len(rows) < SEEN:
        return None
    return (rows.mean() + 0.5) / (bottom - top), (columns.mean() + 0.5) / (right - left)


def extent(mask, plane):
    """Return (top, bottom, left, right) of a mask in a plane, as shares of it."""
    top, bottom, left, right = plane
    rows, columns = np.nonzero(mask[top:bottom, left:right])
    height, width = bottom - top, right - left
    return rows.min() / height, (rows.max() + 1) / height, columns.min() / width, (columns.max() + 1) / width
