"""Masks of 128 x 128 x 128 voxels: Dice of five classes, HD95 of an organ and of a lesion.

The scene holds four ellipsoids on background, 8 % of the voxels; the prediction is the same scene moved by a voxel and
a half. The organ has some 19,000 surface voxels and a rough outline, the lesion some 570.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance
from monai.networks.utils import one_hot
from scipy import ndimage

from ai4diag.evaluation.overlap import confusion, dice
from ai4diag.evaluation.surface import surface_distances
from benchmarks import Row, agree, repeat, side_by_side, versions

SIDE = 128
ORGANS = (((40, 40, 40), 22), ((80, 85, 50), 28), ((90, 30, 90), 15), ((45, 95, 95), 20))
UNIT = (1.0, 1.0, 1.0)


def run() -> list[Row]:
    """Measure on one thread."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=FutureWarning, module="monai")
    rows = [overlap()]
    for name, radius, shift, goal in (("an organ", 40, 2, 2.0), ("a lesion", 8, 1, 5.0)):
        rows += distances(name, radius, shift, goal)
    return rows


def overlap() -> Row:
    """Compare Dice of all classes."""
    truth, predicted = scene(0), scene(1.5)
    hot = [torch.from_numpy(labels)[None, None] for labels in (predicted, truth)]

    def ours() -> Any:
        return dice(confusion(truth, predicted, 5))

    def peer() -> Any:
        return compute_dice(*(one_hot(labels, 5) for labels in hot))[0]

    agree(ours(), peer(), 1e-6)
    mine, theirs = side_by_side(repeat(ours, 20), peer)
    words = "Labels of one byte, four classes of one part each; 20 executions of ours to a round."
    return Row(
        "Dice of 5 classes, 128^3",
        "MONAI, one-hot",
        mine.times(1 / 20),
        theirs,
        100.0,
        versions("monai", "numba"),
        words,
    )


def distances(name: str, radius: float, shift: float, goal: float) -> list[Row]:
    """Compare HD95 with MONAI, which defines it as we do, and with DeepMind's tool, which does not."""
    generator = np.random.default_rng(0)
    truth, predicted = ball(generator, radius, 0), ball(generator, radius, shift)
    pair = [torch.from_numpy(mask)[None, None] for mask in (predicted, truth)]
    deepmind = old_names()

    def ours() -> float:
        return surface_distances(truth, predicted, UNIT).hausdorff()

    def monai() -> Any:
        return compute_hausdorff_distance(*pair, include_background=True, percentile=95)[0, 0]

    def theirs() -> float:
        found = deepmind.compute_surface_distances(truth, predicted, UNIT)
        return float(deepmind.compute_robust_hausdorff(found, 95))

    agree(ours(), monai(), 1e-5)
    agree(ours(), theirs(), 1.0)
    words = f"Not the same number by definition (see `surface.py`): {ours():.2f} mm and {theirs():.2f} mm."
    peers: list[tuple[str, Callable[[], object], str, str]] = [
        ("MONAI", monai, "monai", ""),
        ("surface-distance", theirs, "surface-distance", words),
    ]
    rows = []
    for peer, work, package, note in peers:
        seconds = side_by_side(ours, work)
        rows.append(Row(f"HD95 of {name}, 128^3", peer, *seconds, goal, versions(package, "numba", "scipy"), note))
    return rows


def old_names() -> ModuleType:
    """Return DeepMind's metrics; version 0.1 asks scipy and numpy for names that they have since dropped."""
    from surface_distance import metrics

    for name in ("filters", "morphology"):
        if not hasattr(ndimage, name):
            setattr(ndimage, name, ndimage)
    return metrics


def scene(shift: float) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return a label map of four organs, moved by some voxels."""
    grid = np.indices((SIDE,) * 3, np.float32)
    labels = np.zeros((SIDE,) * 3, np.uint8)
    for number, (centre, radius) in enumerate(ORGANS, start=1):
        parts = [(axis - c - shift) / s for axis, c, s in zip(grid, centre, (1, 0.8, 1.2), strict=True)]
        labels[sum(part**2 for part in parts) < radius**2] = number
    return labels


def ball(generator: np.random.Generator, radius: float, shift: float) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return a mask with a rough outline."""
    rough = ndimage.gaussian_filter(generator.normal(size=(SIDE,) * 3), 4)
    middle = SIDE / 2 + shift
    parts = [(axis - middle) / s for axis, s in zip(np.indices((SIDE,) * 3), (1, 1.2, 0.9), strict=True)]
    mask: np.ndarray[Any, np.dtype[np.bool_]] = np.sqrt(sum(p**2 for p in parts)) + 2 * rough / rough.std() < radius
    return mask
