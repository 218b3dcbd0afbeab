"""Volumes: patches for training, and the prediction of a volume of 128 x 128 x 128 voxels.

Patches: eight volumes of that size, patches of 96 voxels a side around a voxel of one of three classes. MONAI has its
volumes scaled and its class indices computed in memory; ours are read from memory maps and scaled patch by patch.

Prediction: one U-Net of 16 to 128 channels. MONAI slides windows of 64 voxels, one by one, overlapping by a quarter, as
it does by itself; ours sees the whole volume at once, which memory allows. That both slide alike is checked first.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from monai.data import CacheDataset, DataLoader
from monai.inferers import sliding_window_inference
from monai.transforms import ClassesToIndicesd, Compose, NormalizeIntensityd, RandCropByLabelClassesd

from ai4diag.data.prepared import Prepared, write_prepared
from ai4diag.data.volume_store import packing, volume_table
from ai4diag.tasks.segmentation.network import UNet
from ai4diag.tasks.segmentation.patches import Cutter, Intensities
from ai4diag.tasks.segmentation.windows import slide
from benchmarks import Row, agree, side_by_side, versions

SIDE, PATCH, CASES, CLASSES = 128, 96, 8, 3
WINDOW, OVERLAP = 64, 0.25


def run() -> list[Row]:
    """Measure on one thread."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        return [patches(Path(folder)), prediction()]


def patches(folder: Path) -> Row:
    """Compare an epoch of patches, from what is at hand before training to batches."""
    images, masks = scene()
    prepared = packed(folder, images, masks)
    cutter = Cutter(prepared, (PATCH,) * 3, Intensities(), 1.0)
    generator = torch.Generator().manual_seed(0)
    names = ["image", "label"]
    cached = CacheDataset(
        [
            {"image": torch.from_numpy(image), "label": torch.from_numpy(mask)}
            for image, mask in zip(images, masks, strict=True)
        ],
        Compose(
            [
                NormalizeIntensityd("image"),
                ClassesToIndicesd("label", indices_postfix="_at", num_classes=CLASSES + 1),
                RandCropByLabelClassesd(
                    names,
                    "label",
                    (PATCH,) * 3,
                    [0, *[1] * CLASSES],
                    CLASSES + 1,
                    indices_key="label_at",
                    warn=False,
                ),
            ]
        ),
        progress=False,
    )
    loader = DataLoader(cached, batch_size=CASES, shuffle=True)

    def ours() -> Any:
        return cutter.cut(list(range(CASES)), generator)

    def peer() -> Any:
        return [(batch["image"], batch["label"]) for batch in loader]

    for image, mask in (ours(), *peer()):
        agree(list(image.shape), [CASES, 1, PATCH, PATCH, PATCH])
        agree(float((mask.flatten(1) > 0).any(1).float().mean()), 1.0)
    mine, theirs = side_by_side(ours, peer)
    words = "An epoch of eight patches; crops are drawn at random, so shapes and classes are compared, not voxels."
    return Row(
        "patches of 96^3 from volumes of 128^3", "MONAI CacheDataset", mine, theirs, 3.0, versions("monai"), words
    )


def prediction() -> Row:
    """Compare the prediction of one volume."""
    torch.manual_seed(0)
    network = UNet(3, 1, CLASSES + 1, (16, 32, 64, 128), [(2, 2, 2)] * 3).eval()
    volume = torch.randn(1, SIDE, SIDE, SIDE)

    def forward(images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = network(images)[0]
        return found

    def ours() -> torch.Tensor:
        with torch.inference_mode():
            return forward(volume[None])[0]

    def peer() -> Any:
        with torch.inference_mode():
            return sliding_window_inference(volume[None], (WINDOW,) * 3, 1, forward, overlap=OVERLAP)[0]

    small = volume[:, :96, :80, :64]  # sides at which both place their windows alike
    with torch.inference_mode():
        theirs = sliding_window_inference(small[None], (32,) * 3, 4, forward, overlap=0.5, mode="gaussian")[0]
        agree(slide(small, (32,) * 3, 0.5, forward, 4).numpy(), theirs.numpy(), 5e-3)
    mine, other = side_by_side(ours, peer, 1)
    words = (
        "One thread; the windows hold 3.4 times as many voxels. The whole volume suits a network that learned from "
        "whole volumes: instance normalisation sees as much."
    )
    return Row("prediction of 128^3", "MONAI sliding window", mine, other, 8.0, versions("monai", "torch"), words)


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Return images float32 and masks uint8, `(cases, 1, side, side, side)`: noise with a block of each class."""
    generator = np.random.default_rng(0)
    images = generator.normal(100, 20, (CASES, 1, *[SIDE] * 3)).astype(np.float32)
    masks = np.zeros(images.shape, np.uint8)
    for case in range(CASES):
        for label in range(1, CLASSES + 1):
            low = generator.integers(0, SIDE - 20, 3)
            masks[case, 0][tuple(slice(start, start + 20) for start in low)] = label
    return images, masks


def packed(folder: Path, images: np.ndarray, masks: np.ndarray) -> Prepared:
    """Write prepared cases."""
    names = [f"v{case}" for case in range(CASES)]
    table = pd.DataFrame({"case_id": names, "patient_id": names, "site": "bench"})
    split = table[["case_id", "patient_id"]].assign(fold=0, part="train", contrast=0)
    voxels, lines = [], []
    for case in range(CASES):
        for label in range(1, CLASSES + 1):
            lines.append((case, label, sum(map(len, voxels)), 2000))
            voxels.append(np.argwhere(masks[case, 0] == label)[:2000].astype(np.int32))
    with packing(folder, "volumes", np.float32) as flat, packing(folder, "masks", np.uint8) as labels:
        for image, mask in zip(images, masks, strict=True):
            flat.add(image)
            labels.add(mask)
        write_prepared(
            folder,
            facts={"task": "segmentation", "classes": ["a", "b", "c"]},
            index=table,
            split=split,
            findings=[],
            arrays={"volumes": flat.flat(), "masks": labels.flat(), "foreground": np.concatenate(voxels)},
            tables={
                "volumes": volume_table(flat.store(), np.tile(np.eye(4), (CASES, 1, 1)), labels.store()),
                "foreground": pd.DataFrame(lines, columns=["case", "label", "start", "count"]),
            },
        )
    return Prepared.open(folder)
