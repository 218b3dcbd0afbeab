"""A U-Net in two or three dimensions, in plain torch.

Encoder and decoder of stages; each stage is some convolutions (3 per side) with instance normalisation and leaky ReLU,
as nnU-Net has them (Isensee et al., Nature Methods 18, 2021). Going down, the first convolution of a stage has stride 2
along the axes that the plan halves; going up, a transposed convolution undoes it. Instance normalisation makes an
answer independent of the other cases of the batch, so that small batches train like large ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

SLOPE = 0.01


class UNet(nn.Module):
    """U-Net with optional outputs of lower resolution for deep supervision.

    Args:
        dimensions: 2 or 3.
        channels: of the images.
        classes: of the answer, background included.
        widths: channels of each stage, the finest first.
        strides: for each stage after the first, how much each axis shrinks: 1 or 2.
        convolutions: per stage.
        residual: add the input of a stage to its output.
        outputs: number of resolutions at which training asks for an answer; 1: only the finest.
    """

    def __init__(
        self,
        dimensions: int,
        channels: int,
        classes: int,
        widths: Sequence[int],
        strides: Sequence[Sequence[int]],
        convolutions: int = 2,
        residual: bool = False,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        if len(strides) != len(widths) - 1:
            raise ValueError(f"{len(widths)} stages need {len(widths) - 1} strides, found {len(strides)}")
        conv: type[nn.Module] = nn.Conv2d if dimensions == 2 else nn.Conv3d
        up: type[nn.Module] = nn.ConvTranspose2d if dimensions == 2 else nn.ConvTranspose3d
        one = (1,) * dimensions
        self.outputs = min(outputs, len(widths) - 1)
        self.down, self.up, self.join, self.answer = (nn.ModuleList() for _ in range(4))
        before = channels
        for width, stride in zip(widths, [one, *map(tuple, strides)], strict=True):
            self.down.append(_Stage(dimensions, before, width, stride, convolutions, residual))
            before = width
        for level in reversed(range(len(widths) - 1)):
            stride = tuple(strides[level])
            self.up.append(up(widths[level + 1], widths[level], stride, stride, bias=False))
            self.join.append(_Stage(dimensions, 2 * widths[level], widths[level], one, convolutions, residual))
        for level in range(self.outputs):
            self.answer.append(conv(widths[level], classes, 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return logits `(batch, classes, *spatial)`, the finest first; in evaluation mode only the finest.

        Args:
            images: normalised, `(batch, channels, *spatial)`; sides are multiples of the product of the strides.
        """
        kept: list[Tensor] = []
        features = images
        for stage in self.down:
            features = stage(features)
            kept.append(features)
        found: list[Tensor] = []
        wanted = self.outputs if self.training else 1
        for number, (up, join) in enumerate(zip(self.up, self.join, strict=True)):
            level = len(self.up) - 1 - number
            features = join(torch.cat([up(features), kept[level]], 1))
            if level < wanted:
                found.append(self.answer[level](features))
        return found[::-1]


class _Stage(nn.Module):
    """Some convolutions with normalisation; the first changes channels and resolution."""

    def __init__(
        self, dimensions: int, before: int, width: int, stride: Sequence[int], convolutions: int, residual: bool
    ) -> None:
        super().__init__()
        conv: type[nn.Module] = nn.Conv2d if dimensions == 2 else nn.Conv3d
        norm: type[nn.Module] = nn.InstanceNorm2d if dimensions == 2 else nn.InstanceNorm3d
        layers: list[nn.Module] = []
        for number in range(convolutions):
            first = number == 0
            layers.append(
                conv(before if first else width, width, 3, tuple(stride) if first else 1, padding=1, bias=False)
            )
            layers.append(norm(width, affine=True))
            if number < convolutions - 1 or not residual:
                layers.append(nn.LeakyReLU(SLOPE, inplace=True))
        self.layers = nn.Sequential(*layers)
        same = before == width and all(step == 1 for step in stride)
        self.short: nn.Module | None = None
        if residual:
            self.short = (
                nn.Identity()
                if same
                else nn.Sequential(conv(before, width, 1, tuple(stride), bias=False), norm(width, affine=True))
            )

    def forward(self, features: Tensor) -> Tensor:
        """Return the features of this stage."""
        changed: Tensor = self.layers(features)
        if self.short is None:
            return changed
        return nn.functional.leaky_relu(changed + self.short(features), SLOPE)
