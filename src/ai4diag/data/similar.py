"""Images that look the same although their bytes differ: saved again, resized, or taken twice of one field."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ai4diag.types import Finding

BITS = 256
ALIKE_BITS = 40
"""Largest number of different bits of two images that count as alike. Measured on BCCD and on the synthetic smears:
an image saved again as JPEG at quality 50 or at half its size differs in at most 27 bits, one field at two focus
settings in 30, two different fields in 63 or more."""
_BLOCK = 2048


def fingerprint(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return the difference hash of uint8 `(channels, rows, columns)`: bool `(256,)`.

    The image is averaged to 16 x 17 grey pixels; each bit says whether a pixel is brighter than its left neighbour.
    """
    from PIL import Image

    grey = Image.fromarray(image[0]) if len(image) == 1 else Image.fromarray(image.transpose(1, 2, 0)).convert("L")
    small = np.asarray(grey.resize((17, 16), Image.Resampling.BOX), np.int16)
    bits: npt.NDArray[np.bool_] = (small[:, 1:] > small[:, :-1]).ravel()
    return bits


def alike(prints: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the pairs of rows of bool `(images, 256)` that differ in at most `ALIKE_BITS` bits.

    A print without a single set bit belongs to an empty image and is compared with none.
    """
    signs = np.where(prints, np.float32(1), np.float32(-1))
    told = np.asarray(prints.any(axis=1))
    pairs = []
    for start in range(0, len(signs), _BLOCK):
        block = slice(start, start + _BLOCK)
        differing = (BITS - signs[block] @ signs.T) / 2
        close = np.asarray(differing <= ALIKE_BITS) & told[block][:, None] & told[None, :]
        first, second = np.nonzero(close)
        first += start
        pairs += [(int(a), int(b)) for a, b in zip(first, second, strict=True) if a < b]
    return pairs


def alike_findings(
    pairs: Sequence[tuple[int, int]], case_ids: Sequence[str], patients: Sequence[str], content: Sequence[str]
) -> list[Finding]:
    """Warn of images of two patients that look the same; copies of equal content are reported elsewhere."""
    strange = [(a, b) for a, b in pairs if patients[a] != patients[b] and content[a] != content[b]]
    if not strange:
        return []
    shown = ", ".join(f"{case_ids[a]} and {case_ids[b]}" for a, b in strange[:5])
    found = f"{len(strange)} pairs of images that look the same: {shown}" + (", ..." if len(strange) > 5 else "")
    cure = "Look at them: one field taken or saved twice belongs to one patient; give both the same patient_id."
    return [Finding("warning", "look-alike", "images", found, "every field once, or under one patient", cure)]
