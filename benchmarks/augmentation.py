"""Random changes of training images: pictures of 28 and 224 pixels, patches of 96 x 96 x 96 voxels, per image.

Ours changes a whole batch at once; MONAI's dictionary transforms change one image after the other, as its DataLoader
has them do. Every change has chance 1 on both sides. That both look up the same places is checked with equal matrices.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai import transforms as mt
from monai.utils import set_determinism
from torch import Tensor

from ai4diag.config.train import Change
from ai4diag.tasks.augment import Moves, apply, draw, plan
from ai4diag.tasks.augment.geometry import index_maps
from ai4diag.tasks.augment.parameters import Parameters
from ai4diag.tasks.segmentation.patches import Cutter, Intensities, Place, scaled
from benchmarks import Row, agree, side_by_side, versions
from benchmarks.volumes import packed, scene

RADIANS = 15 / 180 * np.pi
Work = Callable[[], object]


def run() -> list[Row]:
    """Measure on one thread."""
    torch.set_num_threads(1)
    set_determinism(0)
    same_places(2, 28)
    same_places(3, 24)
    return [pictures(28, 256, 32, 100.0), pictures(224, 32, 16, 8.0), light(), heavy()]


def same_places(dimensions: int, side: int) -> None:
    """Refuse to go on unless MONAI's resampling by our matrix gives our images."""
    generator = torch.Generator().manual_seed(0)
    size = (side,) * dimensions
    images = torch.rand(2, 1, *size, generator=generator)
    changes = plan({"rotate": 15, "zoom": 1.1, "shift": 0.1}, dimensions)
    parameters = draw(changes, 2, 1, size, size, None, generator)
    moved, _ = apply(images, parameters, 0.0)
    middle = torch.full((dimensions,), (side - 1) / 2, dtype=torch.float64)
    for image, mine, index_map in zip(images, moved, index_maps(parameters), strict=True):
        affine = torch.eye(dimensions + 1, dtype=torch.float64)
        affine[:-1, :-1] = index_map[:, :-1]
        affine[:-1, -1] = index_map[:, :-1] @ middle + index_map[:, -1] - middle
        theirs = mt.Affine(affine=affine, padding_mode="zeros", image_only=True)(image)
        agree(mine, theirs, 2e-3)


def pictures(side: int, batch: int, few: int, goal: float) -> Row:
    """Compare rotation, zoom, shift and flips of colour pictures."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch, 3, side, side), generator=generator, dtype=torch.uint8)
    changes = plan({"flip": 0.5, "rotate": 15, "zoom": 1.1, "shift": 0.1}, 2)
    size = (side, side)
    compose = mt.Compose(
        [
            mt.RandFlipd("image", prob=0.5, spatial_axis=0),
            mt.RandFlipd("image", prob=0.5, spatial_axis=1),
            mt.RandRotated("image", range_x=RADIANS, prob=1.0, keep_size=True),
            mt.RandZoomd("image", min_zoom=0.91, max_zoom=1.1, prob=1.0),
            mt.RandAffined("image", translate_range=0.1 * side, prob=1.0, padding_mode="zeros"),
        ]
    )
    floats = images[:few].float()

    def ours() -> Tensor:
        return apply(images, draw(changes, batch, 3, size, size, None, generator), 0.0)[0]

    return per_image(f"augmentation, {side} x {side} x 3", ours, batch, one_by_one(compose, floats), few, goal)


def light() -> Row:
    """Compare the way from packed volumes to patches around a class, flipped, turned and brightened, with masks."""
    images, labels = scene()
    changes = plan({"flip": 0.5, "turn": 3, "brightness": Change(amount=0.1, chance=1)}, 3)
    generator = torch.Generator().manual_seed(0)
    both, rows, size = ["image", "mask"], [0, 1], (96, 96, 96)
    compose = mt.Compose(
        [
            mt.RandCropByPosNegLabeld(both, "mask", size, pos=1, neg=0, num_samples=1),
            *[mt.RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in range(3)],
            mt.RandRotate90d(both, prob=0.75, spatial_axes=(1, 2)),
            mt.RandShiftIntensityd("image", offsets=0.1, prob=1.0),
        ]
    )
    with tempfile.TemporaryDirectory() as folder:
        cutter = Cutter(packed(Path(folder), images, labels), size, Intensities(), 1.0)
        volumes = [torch.from_numpy(scaled(images[row], cutter.intensities.of(row, images[row]))) for row in rows]
        cases = [{"image": volumes[row], "mask": torch.from_numpy(labels[row])} for row in rows]

        def ours() -> tuple[list[Place], Parameters, tuple[Tensor, Tensor]]:
            places = cutter.places(rows, generator)
            parameters = draw(changes, len(rows), 1, size, size, None, generator)
            moves = Moves.of(parameters)
            assert moves is not None
            return places, parameters, cutter.moved(places, moves)

        def peer() -> Any:
            return [compose(dict(case)) for case in cases]

        for _ in range(8):
            for number, (image, mask) in enumerate(zip(*(drawn := ours())[2], strict=True)):
                same_patch(cases[number], drawn[0][number], drawn[1], number, image, mask)
        for (case,) in peer():
            agree([*case["image"].shape, float((case["mask"] > 0).any())], [1, *size, 1.0])
        note = (
            "Ours reads packed volumes and scales them on the way, and its brightness is a share of the range of the "
            "patch; MONAI is given scaled volumes. MONAI looks for the voxels of classes in each mask, as it does by "
            "itself; ours were listed when the volumes were packed."
        )
        return per_image("patch of 96^3 out of 128^3, light, with mask", ours, len(rows), peer, len(rows), 8.0, note)


def same_patch(
    case: dict[str, Tensor], place: Place, parameters: Parameters, number: int, image: Tensor, mask: Tensor
) -> None:
    """Refuse to go on unless MONAI's transforms, told what was drawn, give our patch to rounding, and our mask."""
    matrix = parameters.matrix[number]
    flips = [axis for axis, flipped in ((0, matrix[0, 0] < 0), (2, torch.det(matrix[1:, 1:]) < 0)) if flipped]
    turns = int(torch.round(torch.atan2(matrix[2, 1], matrix[1, 1]) / (np.pi / 2)))
    moves: list[Any] = [mt.SpatialCrop(roi_start=place.start, roi_end=[first + 96 for first in place.start])]
    moves += [mt.Flip(flips)] if flips else []
    moves += [mt.Rotate90(turns % 4, (1, 2))]
    moved = mt.Compose(moves)
    patch = moved(case["image"])
    offset = float(parameters.brightness[number] * (patch.max() - patch.min()))
    agree(image, mt.ShiftIntensity(offset)(patch), 1e-5)
    agree(mask, moved(case["mask"]))


def heavy() -> Row:
    """Compare nnU-Net's kinds of changes: rotation and zoom, noise, blur, contrast, gamma, gain, flips, with a mask."""
    volumes, masks = scans(2, 96)
    always = {"rotate": 15.0, "zoom": 1.25, "noise": 0.03, "blur": 1.0, "contrast": 0.25, "gamma": 0.25, "gain": 0.1}
    changes = plan({"flip": 0.5, **{name: Change(amount=value, chance=1) for name, value in always.items()}}, 3)
    generator = torch.Generator().manual_seed(0)
    angle = (-RADIANS, RADIANS)
    both = ["image", "mask"]
    compose = mt.Compose(
        [
            mt.RandAffined(
                both, prob=1.0, rotate_range=(angle,) * 3, scale_range=((-0.2, 0.25),) * 3,
                mode=("bilinear", "nearest"), padding_mode="zeros",
            ),
            mt.RandGaussianNoised("image", prob=1.0, std=0.03),
            mt.RandGaussianSmoothd("image", (0.5, 1.0), (0.5, 1.0), (0.5, 1.0), prob=1.0),
            mt.RandScaleIntensityd("image", factors=0.1, prob=1.0),
            mt.RandScaleIntensityFixedMeand("image", factors=0.25, prob=1.0),
            mt.RandAdjustContrastd("image", prob=1.0, gamma=(0.78, 1.28)),
            *[mt.RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in range(3)],
        ]
    )  # fmt: skip
    return patches("patch of 96^3, heavy, with mask", volumes, masks, changes, generator, compose, 2.0)


def patches(
    name: str, volumes: Tensor, masks: Tensor, changes: Any, generator: torch.Generator, compose: Any, goal: float
) -> Row:
    """Compare a batch of ours with the same number of MONAI's dictionaries."""
    count, size = len(volumes), tuple(volumes.shape[2:])

    def parameters() -> Parameters:
        return draw(changes, count, 1, size, (96, 96, 96), None, generator)

    def ours() -> object:
        return apply(volumes, parameters(), 0.0, masks)

    cases = [{"image": image, "mask": mask} for image, mask in zip(volumes, masks, strict=True)]

    def peer() -> object:
        return [compose(dict(case)) for case in cases]

    return per_image(name, ours, count, peer, count, goal)


def one_by_one(compose: Any, images: Sequence[Tensor] | Tensor) -> Work:
    """Return what gives each image to MONAI as a dictionary."""
    return lambda: [compose({"image": image}) for image in images]


def per_image(name: str, ours: Work, batch: int, peer: Work, few: int, goal: float, more: str = "") -> Row:
    """Measure both per image."""
    mine, theirs = side_by_side(ours, peer)
    note = f"Batches of {batch} beside {few} images one by one. {more}".rstrip()
    known = versions("monai", "torch", "numba")
    return Row(name, "MONAI dictionary transforms", mine.times(1 / batch), theirs.times(1 / few), goal, known, note)


def scans(count: int, side: int) -> tuple[Tensor, Tensor]:
    """Return volumes float32 `(count, 1, side, side, side)` within 0..1, and masks of them."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, 1, *(side // 8,) * 3, generator=generator)
    volumes = torch.nn.functional.interpolate(coarse, size=(side,) * 3, mode="trilinear").contiguous()
    return volumes, (volumes > 0.6).to(torch.uint8)
