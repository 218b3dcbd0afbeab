"""The loss of a segmentation: cross-entropy plus soft Dice, at one resolution or several."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SMOOTH = 1.0
"""Voxels added to overlap and sizes, so that a class that a batch lacks has a small loss and a gradient."""


def dice_and_cross_entropy(logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return 1 minus the soft Dice of the foreground classes, and the mean cross-entropy.

    Dice is taken over all voxels of the batch at once, so that a patch without a class does not count alone
    (`batch_dice` of nnU-Net). Nothing here scatters or gathers: the sums are the same on every run.

    Args:
        logits: float `(batch, classes, *spatial)`.
        masks: class numbers `(batch, 1, *spatial)`.
    """
    logs = F.log_softmax(logits.float(), 1)
    numbers = torch.arange(logits.shape[1], device=logits.device).view(1, -1, *[1] * (logits.ndim - 2))
    truth = (masks == numbers).float()
    shares = logs.exp()
    axes = [0, *range(2, logits.ndim)]
    overlap = (shares * truth).sum(axes)[1:]
    total = (shares.sum(axes) + truth.sum(axes))[1:]
    dice = (2 * overlap + SMOOTH) / (total + SMOOTH)
    return 1 - dice.mean(), -(logs * truth).sum(1).mean()


def losses(outputs: Sequence[Tensor], masks: Tensor, strides: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Return `loss`, and `dice_loss` and `cross_entropy` of the finest resolution.

    Args:
        outputs: logits, the finest first.
        masks: class numbers `(batch, 1, *spatial)` of the finest.
        strides: by how much each further resolution shrinks each spatial axis; its truth is every n-th voxel.

    Each resolution weighs half as much as the finer one.
    """
    total, weights, parts = torch.zeros((), device=masks.device), 0.0, []
    for level, logits in enumerate(outputs):
        if level:
            masks = masks[(slice(None), slice(None), *(slice(None, None, step) for step in strides[level - 1]))]
        dice, entropy = dice_and_cross_entropy(logits, masks)
        parts.append((dice, entropy))
        total, weights = total + (dice + entropy) / 2**level, weights + 1 / 2**level
    return {"loss": total / weights, "dice_loss": parts[0][0], "cross_entropy": parts[0][1]}
