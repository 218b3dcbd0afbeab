"""Anchor-free detector: at every cell of one grid, a score per class and the distances to the sides of a box.

A residual trunk sees the whole image at strides 2 to 32, or less deep; a top-down path brings what it saw back to the
grid. Which cells learn which box is decided by the network's own answer (task-aligned assignment, Feng et al.,
arXiv:2108.07755): of the cells inside a box, those whose score and overlap are best together. The score learns the
overlap (varifocal loss, Zhang et al., arXiv:2008.13367), so that the better of two boxes around one cell is also the
one kept.

Works in two and three dimensions; nothing but the convolutions knows which.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ai4diag.tasks.detection.boxes import Truth, distance_overlap, grid_points, inside, overlap

BEST_CELLS = 10
"""Cells that learn one box."""
OVERLAP_POWER = 6.0
"""Weight of the overlap against the score in the choice of cells (arXiv:2108.07755, section 3.2)."""
NEGATIVE_WEIGHT, NEGATIVE_FOCUS = 0.75, 2.0
"""Varifocal loss of cells that should find nothing: weight, and power of the score (arXiv:2008.13367, equation 2)."""
BOX_WEIGHT = 2.0
FIRST_SIDE = 5.0
"""Side of the boxes that an untrained network gives, in cells of the grid."""


class AnchorFreeNetwork(nn.Module):
    """Residual trunk, top-down path and two heads.

    Args:
        classes: number of classes.
        channels: of the image.
        dimensions: 2 or 3.
        width: channels of the first stage; the others follow from it.
        stride: pixels per cell of the grid: 2, 4 or 8.
        stages: of the trunk after its first convolution, 2 to 4.
        side: of the boxes that the untrained network gives, in pixels; None: five cells.

    Attributes:
        divisor: sides of images must be multiples of this.
    """

    def __init__(
        self,
        classes: int,
        channels: int,
        dimensions: int = 2,
        width: int = 24,
        stride: int = 4,
        stages: int = 4,
        side: float | None = None,
    ) -> None:
        super().__init__()
        self.dimensions, self.stride, self.divisor = dimensions, stride, 2 ** (stages + 1)
        self._half = (side or stride * FIRST_SIDE) / 2
        widths = [width, width * 3 // 2, width * 3, width * 5, width * 6][: stages + 1]
        blocks = [1, 2, 2, 2]
        neck = width * 8 // 3
        self.stem = _convolution(dimensions, channels, width, stride=2)
        self.stages = nn.ModuleList(
            nn.Sequential(
                _Block(dimensions, before, after, stride=2),
                *(_Block(dimensions, after, after) for _ in range(more - 1)),
            )
            for before, after, more in zip(widths, widths[1:], blocks, strict=False)
        )
        self.skip = int(math.log2(stride)) - 1
        used = widths[self.skip :]
        self.lateral = nn.ModuleList(_convolution(dimensions, one, neck, kernel=1) for one in used)
        self.merge = nn.ModuleList(_convolution(dimensions, neck, neck) for _ in used[:-1])
        self.score_head = nn.Sequential(_convolution(dimensions, neck, neck), _conv(dimensions)(neck, classes, 1))
        self.side_head = nn.Sequential(_convolution(dimensions, neck, neck), _conv(dimensions)(neck, 2 * dimensions, 1))
        self._start()

    def _start(self) -> None:
        """Draw the first weights: residual blocks begin as a weak correction, and scores begin at 1 %."""
        for module in self.modules():
            if isinstance(module, nn.modules.conv._ConvNd):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, _Block):
                nn.init.constant_(module.second.get_parameter("1.weight"), 0.5)
        for head, bias in ((self.score_head, -math.log(99)), (self.side_head, 0.0)):
            nn.init.normal_(head.get_parameter("1.weight"), std=0.01)
            nn.init.constant_(head.get_parameter("1.bias"), bias)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return score logits `(batch, classes, *grid)` and log sides `(batch, 2 * D, *grid)`.

        Args:
            images: normalised, `(batch, channels, *spatial)`, sides multiples of `divisor`.
        """
        flow = self.stem(images)
        features = [flow]
        for stage in self.stages:
            flow = stage(flow)
            features.append(flow)
        features = features[self.skip :]
        top = self.lateral[-1](features[-1])
        for level in range(len(features) - 2, -1, -1):
            top = self.merge[level](F.interpolate(top, scale_factor=2.0) + self.lateral[level](features[level]))
        return self.score_head(top), self.side_head(top)

    def decode(self, outputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return scores `(batch, cells, classes)` between 0 and 1, and boxes `(batch, cells, 2 * D)` in pixels."""
        logits, boxes = self._flatten(outputs)
        return logits.sigmoid(), boxes

    def loss(self, outputs: tuple[Tensor, Tensor], truth: Truth) -> dict[str, Tensor]:
        """Return `loss`, and its parts `loss_score` and `loss_box`, per box to be found."""
        logits, boxes = self._flatten(outputs)
        points = grid_points(outputs[0].shape[2:], self.stride, logits.device)
        scores = logits.detach().sigmoid()
        learns, which, quality = assign(scores, boxes.detach(), points, truth)
        target = torch.zeros_like(logits)
        labels = truth.labels.gather(1, which)
        target.scatter_(2, labels[..., None], (quality * learns)[..., None])
        weight = torch.where(target > 0, target, NEGATIVE_WEIGHT * scores**NEGATIVE_FOCUS)
        shielded = (inside(points, truth.boxes) & (truth.real & truth.ignore)[..., None]).any(1) & ~learns
        weight = weight * ~shielded[..., None]
        total = quality[learns].sum().clamp(min=1)
        loss_score = (F.binary_cross_entropy_with_logits(logits, target, reduction="none") * weight).sum() / total
        wanted = truth.boxes.gather(1, which[..., None].expand_as(boxes))[learns]
        loss_box = ((1 - distance_overlap(boxes[learns], wanted)) * quality[learns]).sum() / total
        return {"loss": loss_score + BOX_WEIGHT * loss_box, "loss_score": loss_score, "loss_box": loss_box}

    def _flatten(self, outputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits `(batch, cells, classes)` and boxes `(batch, cells, 2 * D)`, in float32."""
        logits, sides = (output.float().flatten(2).transpose(1, 2) for output in outputs)
        points = grid_points(outputs[0].shape[2:], self.stride, logits.device)
        distances = torch.exp(sides.clamp(-4, 4)) * self._half
        low, high = distances.chunk(2, -1)
        return logits, torch.cat([points - low, points + high], -1)


@torch.no_grad()
def assign(scores: Tensor, boxes: Tensor, points: Tensor, truth: Truth) -> tuple[Tensor, Tensor, Tensor]:
    """Decide which cell learns which box.

    Args:
        scores: `(batch, cells, classes)`, what the network says now.
        boxes: `(batch, cells, 2 * D)`, likewise.
        points: `(cells, D)`.
        truth: boxes to be found; those to ignore are never learned.

    Returns:
        learns: bool `(batch, cells)`.
        which: int64 `(batch, cells)`, the number of the box; meaningless where nothing is learned.
        quality: `(batch, cells)`, the score to learn: the overlap for the best cell of a box, less for the others.
    """
    cells = len(points)
    candidate = inside(points, truth.boxes) & truth.wanted[..., None]
    overlaps = overlap(truth.boxes[:, :, None], boxes[:, None]) * candidate
    labels = truth.labels[..., None].expand(-1, -1, cells)
    alignment = scores.transpose(1, 2).gather(1, labels) * overlaps**OVERLAP_POWER
    best, cell = (alignment + 1e-9 * candidate).topk(min(BEST_CELLS, cells), dim=-1)
    chosen = torch.zeros_like(candidate).scatter_(2, cell, best > 0)
    which = overlaps.masked_fill(~chosen, -1).argmax(1)
    chosen &= F.one_hot(which, truth.boxes.shape[1]).transpose(1, 2).bool()
    alignment, overlaps = alignment * chosen, overlaps * chosen
    share = alignment / alignment.amax(-1, keepdim=True).clamp(min=1e-9)
    quality = (share * overlaps.amax(-1, keepdim=True)).amax(1)
    return chosen.any(1), which, quality


class _Block(nn.Module):
    """Two convolutions beside a shortcut (He et al., arXiv:1512.03385); halving averages the shortcut first."""

    def __init__(self, dimensions: int, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.first = _convolution(dimensions, before, after, stride=stride)
        self.second = _convolution(dimensions, after, after, rectify=False)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1:
            pool = nn.AvgPool2d(2) if dimensions == 2 else nn.AvgPool3d(2)
            self.shortcut = nn.Sequential(pool, _convolution(dimensions, before, after, kernel=1, rectify=False))

    def forward(self, images: Tensor) -> Tensor:
        return F.relu(self.second(self.first(images)) + self.shortcut(images), inplace=True)


def _convolution(
    dimensions: int, before: int, after: int, kernel: int = 3, stride: int = 1, rectify: bool = True
) -> nn.Sequential:
    """Convolution, batch normalisation and, if wanted, a rectifier."""
    norm: Any = nn.BatchNorm2d if dimensions == 2 else nn.BatchNorm3d
    layers = [_conv(dimensions)(before, after, kernel, stride, kernel // 2, bias=False), norm(after)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if rectify else []))


def _conv(dimensions: int) -> Any:
    return nn.Conv2d if dimensions == 2 else nn.Conv3d
