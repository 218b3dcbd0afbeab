"""Small prepared cases with exact boxes: bright and dark discs on a grey field, one patient per two images."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ai4diag.data.prepared import Prepared, write_prepared


def discs(count: int, size: tuple[int, int], seed: int, original: int = 1) -> tuple[np.ndarray, pd.DataFrame]:
    """Draw images uint8 (count, 3, *size) and their boxes in pixels of originals `original` times as large.

    Images are wider than high, and the discs stand right of the middle, so that boxes with swapped axes are wrong.
    """
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    images = np.full((count, 3, *size), 128, np.uint8)
    lines = []
    for image in range(count):
        for label in (0, 1):
            half = generator.uniform(6, 10, 2) * (1, 0.75)
            middle = generator.uniform(half, (size[0] - half[0], size[1] / 2 - half[1]))
            middle[1] += size[1] / 2 if label == 0 else 0
            inside = ((rows - middle[0]) / half[0]) ** 2 + ((columns - middle[1]) / half[1]) ** 2 < 1
            images[image, :, inside] = (230, 60, 60) if label == 0 else (30, 30, 200)
            lines.append([image, label, *(middle - half) * original, *(middle + half) * original, False])
    names = ["case", "label", "min_0", "min_1", "max_0", "max_1", "ignore"]
    return images, pd.DataFrame(lines, columns=names).astype(dict.fromkeys(names[2:6], np.float32))


def prepare(folder, count: int = 12, size: tuple[int, int] = (64, 96), original: int = 2) -> Prepared:
    """Write and open prepared cases of discs; the last quarter is test, the quarter before validation."""
    images, boxes = discs(count, size, seed=3, original=original)
    names = [f"smear{number:02d}" for number in range(count)]
    patients = [f"p{number // 2:02d}" for number in range(count)]
    index = pd.DataFrame({"case_id": names, "patient_id": patients, "site": "lab"})
    index["size_0"], index["size_1"] = (side * original for side in size)
    part = np.array(["train"] * count, dtype=object)
    part[count // 2 :], part[3 * count // 4 :] = "validation", "test"
    split = pd.DataFrame({"case_id": names, "patient_id": patients, "fold": 0, "part": part, "contrast": 0})
    facts = {"task": "detection", "dataset": "discs", "classes": ["bright", "dark"]}
    facts |= {"channels": ["red", "green", "blue"], "image_size": list(size)}
    write_prepared(
        folder,
        facts=facts,
        index=index,
        split=split,
        findings=[],
        arrays={"images": images},
        tables={"boxes": boxes},
    )
    return Prepared.open(folder)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Twelve images of 64 x 96 pixels, packed from originals of 128 x 192."""
    return prepare(tmp_path_factory.mktemp("discs"))
