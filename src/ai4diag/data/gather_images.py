"""New images for a model that is trained: pictures, or arrays in an `.npz`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.data import npz
from ai4diag.data.image_cases import IMAGE_ENDINGS
from ai4diag.data.prepared import Prepared
from ai4diag.data.readers.pictures import read_image, resample
from ai4diag.data.split import COLUMNS
from ai4diag.errors import DataError

Pixels = npt.NDArray[np.uint8]


def gather_images(
    inputs: Sequence[Path],
    folder: Path,
    target: str,
    classes: Sequence[str],
    channels: Sequence[str],
    size: Sequence[int],
) -> Prepared:
    """Read and pack new images.

    Args:
        inputs: pictures (PNG, JPEG, TIFF, BMP), which are resampled to `size`; and `.npz` files, of which every array
            of uint8 images of this size is taken, as `(cases, *size)` or `(cases, *size, channels)`.
        folder: where `images.npy` is written.
        target, classes, channels, size: of the model.

    Returns:
        Prepared cases without truth: `case_id` is the name of the file without its ending; of arrays, the names of
        file and array and the number of the image from 1 stand together, such as `scan-images-00001`.

    Raises:
        DataError: a file cannot be read, or is not what the model learned from; it is named.
    """
    names: list[str] = []
    images: list[Pixels] = []
    for path in inputs:
        if path.suffix.lower() == ".npz":
            for name, image in _arrays(path, channels, size):
                names.append(name)
                images.append(image)
        elif path.suffix.lower() in IMAGE_ENDINGS and len(size) == 2:
            names.append(path.stem)
            images.append(resample(read_image(path, len(channels)), (size[0], size[1])))
        else:
            what = "a picture (PNG, JPEG, TIFF, BMP) or arrays (.npz)" if len(size) == 2 else "arrays (.npz)"
            raise DataError(f"{path.name}: the model reads {what}.", "Convert the file.")
    if not images:
        raise DataError(f"{', '.join(path.name for path in inputs)}: no images.", "Name a file that holds some.")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"Two inputs are called '{twice}'.", "Rename one.")
    np.save(folder / "images.npy", np.stack(images), allow_pickle=False)
    facts: dict[str, Any] = {"task": "classification", "target": target, "classes": list(classes)}
    facts |= {"channels": list(channels), "image_size": list(size), "files": {}}
    index = pd.DataFrame({"case_id": names})
    return Prepared(folder, facts, index, pd.DataFrame(columns=COLUMNS))


def _arrays(path: Path, channels: Sequence[str], size: Sequence[int]) -> list[tuple[str, Pixels]]:
    expected = tuple(size) if len(channels) == 1 else (*size, len(channels))
    fitting = [
        name for name, header in npz.headers(path).items() if header.dtype == np.uint8 and header.shape[1:] == expected
    ]
    if not fitting:
        found = ", ".join(f"{name} {item.dtype} {item.shape}" for name, item in npz.headers(path).items())
        sides = ", ".join(map(str, expected))
        raise DataError(
            f"{path.name} holds {found or 'no arrays'}; the model reads uint8 (cases, {sides}).",
            "Save the images in the size and with the channels of the model.",
        )
    found_images = []
    for name in fitting:
        for number, image in enumerate(npz.read(path, name), start=1):
            pixels = image[None] if len(channels) == 1 else np.moveaxis(image, -1, 0)
            found_images.append((f"{path.stem}-{name}-{number:05d}", np.ascontiguousarray(pixels)))
    return found_images
