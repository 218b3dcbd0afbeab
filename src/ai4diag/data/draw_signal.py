"""A signal as a small picture: what a reader of a report looks at."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

WIDTH = 288
"""Columns of a picture."""
HEIGHTS = (28, 120)
"""Rows of a channel: of many channels, and of a single one."""
INK, PAPER = 20, 255


def draw_signal(samples: npt.NDArray[np.floating], width: int = WIDTH) -> npt.NDArray[np.uint8]:
    """Return the lines of all channels, one below the other, as uint8 `(rows, width, 3)`.

    Args:
        samples: `(channels, samples)`; each channel fills its own height, a constant one is a line in the middle.
        width: columns.
    """
    channels = len(samples)
    height = max(HEIGHTS[0], HEIGHTS[1] // channels)
    image = np.full((channels * height, width), PAPER, np.uint8)
    rows = np.arange(height)[:, None]
    for number, values in enumerate(np.asarray(samples, np.float64)):
        at = np.interp(np.linspace(0, len(values) - 1, width + 1), np.arange(len(values)), values)
        low, high = values.min(), values.max()
        share = (at - low) / (high - low) if high > low else np.full(width + 1, 0.5)
        place = 2 + (1 - share) * (height - 5)  # a margin of two rows
        top, bottom = np.minimum(place[:-1], place[1:]), np.maximum(place[:-1], place[1:])
        inked = (rows >= np.floor(top)) & (rows <= np.floor(bottom) + 1)
        image[number * height : (number + 1) * height][inked] = INK
    return np.repeat(image[..., None], 3, axis=2)
