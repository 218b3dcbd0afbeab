"""Small volumes with two structures, written as NIfTI in any orientation, and cards for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ai4diag.config.card import Card
from ai4diag.config.segmentation import SegmentationRecipe
from ai4diag.data.volume import Volume, write_nifti
from tests.data.helpers import write_card
from tests.data.test_volume import affine_of

TOY_VOLUMES: dict[str, Any] = {
    "task": "segmentation",
    "classes": ["ball", "box"],
    "volumes": {"folder": "images", "labels": "labels", "numbers": {"ball": 5, "box": 2}, "site": "lab"},
}
SIDES = (20, 18, 16)


def structures(affine, sides, centre_mm) -> np.ndarray:
    """A ball of 5 mm around a place (5), and a block beside it (2), as numbers `(i, j, k)` on any grid."""
    index = np.stack(np.meshgrid(*map(np.arange, sides), indexing="ij"), -1)
    mm = index @ affine[:3, :3].T + affine[:3, 3] - centre_mm
    found = np.zeros(sides, np.uint8)
    found[np.abs(mm - (0, 0, 6)).max(-1) < 2.6] = 2
    found[np.linalg.norm(mm, axis=-1) < 5] = 5
    return found


def middle(affine, sides) -> np.ndarray:
    return (affine @ np.array([*((side - 1) / 2 for side in sides), 1]))[:3] - (0, 0, 2)


def toy_volume(number: int, axes=(0, 1, 2), signs=(1, 1, 1), turn=None, spacing=(1.0, 1.0, 1.0), sides=SIDES):
    """Image (uint8 or float32, brighter in the ball, darker in the box) and label map."""
    affine = affine_of(axes, signs, turn, spacing)
    rng = np.random.default_rng(number)
    label = structures(affine, sides, middle(affine, sides) + rng.uniform(-1, 1, 3))
    grey = 100 + 60.0 * (label == 5) - 60.0 * (label == 2) + rng.normal(0, 3, sides)
    array = (grey.astype(np.uint8) if number % 2 else (grey * 10 ** (number % 4)).astype(np.float32))[None]
    return Volume(array, affine), Volume(label[None], affine)


def write_case(raw: Path, name: str, image: Volume, label: Volume) -> None:
    for folder, volume in (("images", image), ("labels", label)):
        (raw / folder).mkdir(parents=True, exist_ok=True)
        write_nifti(raw / folder / f"{name}.nii.gz", volume.array, volume)


TURNS = [((0, 1, 2), (1, 1, 1)), ((0, 1, 2), (-1, -1, 1)), ((2, 0, 1), (1, -1, 1)), ((1, 2, 0), (-1, 1, -1))]


def toy_volumes(folder: Path, count: int = 10, *, turned: bool = True, **values: Any) -> tuple[Path, Card]:
    """Write `count` cases, in four orientations unless `turned` is False; return the raw folder and its card."""
    raw = folder / "raw"
    for number in range(count):
        axes, signs = TURNS[number % len(TURNS)] if turned else TURNS[0]
        write_case(raw, f"v{number:02d}", *toy_volume(number, axes, signs))
    return raw, write_card(folder / "cards", raw, **{**TOY_VOLUMES, **values})


def segmentation_recipe(model: dict[str, Any] | None = None, train: dict[str, Any] | None = None, **data: Any):
    return SegmentationRecipe.model_validate(
        {
            "task": "segmentation",
            "data": {"dataset": "toy", "split": {"test": 0.3, "validation": 0.3}, **data},
            "model": {"width": 4, "stages": 2, **(model or {})},
            "train": {"batch_size": 2, **(train or {})},
            "evaluate": {"primary": "dice"},
        }
    )
