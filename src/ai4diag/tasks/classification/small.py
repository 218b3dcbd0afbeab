"""A residual network for small images: pre-activation blocks in three stages, the first at full resolution.

He et al., Identity Mappings in Deep Residual Networks, arXiv:1603.05027. At 28 x 28 pixels an ImageNet stem would
throw fifteen sixteenths of the pixels away before the first block.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOL = {2: F.avg_pool2d, 3: F.avg_pool3d}
STAGES = 3


class Block(nn.Module):
    """Two convolutions of 3 pixels with a shortcut, which is averaged and widened where the resolution halves."""

    def __init__(self, dimensions: int, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, self.pool = stride, POOL[dimensions]
        self.first_norm, self.second_norm = NORM[dimensions](inputs), NORM[dimensions](outputs)
        self.first = CONV[dimensions](inputs, outputs, 3, stride, 1, bias=False)
        self.second = CONV[dimensions](outputs, outputs, 3, 1, 1, bias=False)
        self.widen = CONV[dimensions](inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Return features `(batch, outputs, *spatial)`, sides divided by the stride and rounded up."""
        active = F.relu(self.first_norm(features))
        if isinstance(self.widen, nn.Identity):
            shortcut = features
        else:
            shortcut = self.widen(self.pool(active, self.stride, ceil_mode=True) if self.stride > 1 else active)
        result: Tensor = shortcut + self.second(F.relu(self.second_norm(self.first(active))))
        return result


class SmallResNetwork(nn.Module):
    """The network.

    Args:
        outputs: numbers per image.
        channels: of the images.
        dimensions: 2 or 3.
        width: channels of the first stage.
        blocks: of each stage.
        dropout: share of the last features that are switched off while training.
    """

    def __init__(self, outputs: int, channels: int, dimensions: int, width: int, blocks: int, dropout: float) -> None:
        super().__init__()
        self.stem = CONV[dimensions](channels, width, 3, 1, 1, bias=False)
        body: list[nn.Module] = []
        inputs = width
        for stage in range(STAGES):
            for number in range(blocks):
                stride = 2 if stage and not number else 1
                body.append(Block(dimensions, inputs, width * 2**stage, stride))
                inputs = width * 2**stage
        self.body = nn.Sequential(*body)
        self.norm = NORM[dimensions](inputs)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(inputs, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Return `(batch, outputs)` for normalised images `(batch, channels, *spatial)`."""
        features = F.relu(self.norm(self.body(self.stem(images))))
        pooled = torch.flatten(features, 2).mean(dim=2)
        result: Tensor = self.head(self.dropout(pooled))
        return result
