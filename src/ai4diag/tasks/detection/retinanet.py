"""RetinaNet on MONAI's parts: at every place of a feature pyramid, a score per class and the correction of an anchor.

Which anchors learn which box is decided by where they lie (adaptive training sample selection, ATSS; Zhang et al.,
arXiv:1912.02424), so that one anchor per place is enough. Scores learn with the focal loss (Lin et al.,
arXiv:1708.02002), boxes by their overlap. MONAI's own detector needs torchvision, and matches in a loop over images and
boxes; `match` and `decode_boxes` give what its matcher and its box coder give, for a whole batch at once.

Works in two and three dimensions. Building a network imports MONAI, which takes seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ai4diag.errors import ConfigError
from ai4diag.tasks.detection.boxes import Truth, centres_of, distance_overlap, inside, overlap, sizes_of

LEVELS = 4
"""Stages of the ResNet, and levels of the pyramid at most."""
NEAREST = 9
"""Places per level and box among which ATSS chooses (arXiv:1912.02424, section 3.2)."""
FOCAL_WEIGHT, FOCAL_POWER = 0.25, 2.0
"""Focal loss: weight of what is to be found, and power of the error (arXiv:1708.02002, table 1b)."""
BOX_WEIGHT = 2.0
LARGEST_LOG = math.log(1000 / 16)
"""Logarithm of the largest factor on the side of an anchor, as in MONAI's `BoxCoder`."""


class RetinaNetwork(nn.Module):
    """Residual trunk, feature pyramid, and two heads that all levels share.

    Args:
        classes: number of classes.
        channels: of the image.
        dimensions: 2 or 3.
        backbone: `resnet10`, `resnet18`, `resnet34` or `resnet50`.
        width: channels of the trunk's first stage; each further stage has twice as many.
        pyramid: channels of the feature pyramid and the heads, a multiple of 8.
        anchor_shapes: sides in pixels, in array-axis order, of the anchors of the finest level; each further level
            doubles them. None: one square or cube of four strides.
        levels: of the pyramid, 2 to 4: those of the first stages of the trunk.
        first_stride: of the first convolution, one for all axes or one per axis, 1 or 2.
        candidates: anchors per level, box and shape among which ATSS chooses.

    Attributes:
        divisor: sides of images must be multiples of this, or of these, one per axis.

    Raises:
        ConfigError: an anchor has not as many sides as the image, or a side below 2 pixels; or `first_stride` has
            another number of axes.
    """

    def __init__(
        self,
        classes: int,
        channels: int,
        dimensions: int = 2,
        backbone: str = "resnet18",
        width: int = 64,
        pyramid: int = 64,
        anchor_shapes: Sequence[Sequence[float]] | None = None,
        levels: int = LEVELS,
        first_stride: Sequence[int] = (2,),
        candidates: int = NEAREST,
    ) -> None:
        from monai.apps.detection.networks import retinanet_network
        from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape
        from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork
        from monai.networks.nets import resnet

        super().__init__()
        first = list(first_stride) * (dimensions if len(first_stride) == 1 else 1)
        if len(first) != dimensions:
            raise ConfigError(f"The first stride is {list(first_stride)}; expected 1 or {dimensions} numbers.")
        self._stride = [2 * step for step in first]
        self._levels, self._candidates = levels, candidates
        self.divisor = tuple(step * 2 ** (levels - 1) for step in self._stride)
        shapes = anchor_shapes or [[4 * step for step in self._stride]]
        if any(len(shape) != dimensions or min(shape) < 2 for shape in shapes):
            raise ConfigError(f"The anchors are {shapes}; expected {dimensions} sides of at least 2 pixels.")
        block, blocks, *_ = resnet.resnet_params[backbone]
        widths = [width * 2**stage for stage in range(LEVELS)]
        self.trunk = resnet.ResNet(
            block, blocks, widths, dimensions, channels, conv1_t_stride=first, feed_forward=False, bias_downsample=False
        )
        for stage in range(levels, LEVELS):
            setattr(self.trunk, f"layer{stage + 1}", nn.Identity())
        expansion = resnet.ResNetBottleneck.expansion if block == "bottleneck" else 1
        self.pyramid = FeaturePyramidNetwork(dimensions, [width * expansion for width in widths[:levels]], pyramid)
        self.score_head = retinanet_network.RetinaNetClassificationHead(pyramid, len(shapes), classes, dimensions)
        self.box_head = retinanet_network.RetinaNetRegressionHead(pyramid, len(shapes), dimensions)
        self._generator = AnchorGeneratorWithAnchorShape([2**level for level in range(levels)], shapes)
        self._shapes = len(shapes)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return maps, finest level first: all score logits `(batch, shapes * classes, *grid)`, then all box codes
        `(batch, shapes * 2 * D, *grid)`.

        Args:
            images: normalised, `(batch, channels, *spatial)`, sides multiples of `divisor`.
        """
        trunk: Any = self.trunk
        flow = trunk.maxpool(trunk.act(trunk.bn1(trunk.conv1(images))))
        stages = {}
        for stage in [f"layer{level + 1}" for level in range(self._levels)]:
            stages[stage] = flow = getattr(trunk, stage)(flow)
        levels = self.pyramid(stages).values()
        # the heads' own forward looks for NaN in every map, which stops a GPU; the training loop looks at the loss
        logits = [self.score_head.cls_logits(self.score_head.conv(level)) for level in levels]
        codes = [self.box_head.bbox_reg(self.box_head.conv(level)) for level in levels]
        return *logits, *codes

    def anchors(self, outputs: tuple[Tensor, ...]) -> list[Tensor]:
        """Return the anchors of each level, float32 `(places * shapes, 2 * D)` in pixels, last axis fastest."""
        shapes = [list(level.shape[2:]) for level in outputs[: self._levels]]
        self._generator.set_cell_anchors(torch.float32, outputs[0].device)
        strides = [[step * 2**level for step in self._stride] for level in range(self._levels)]
        levels: list[Tensor] = self._generator.grid_anchors(shapes, strides)
        return levels

    def decode(self, outputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return scores `(batch, cells, classes)` between 0 and 1, and boxes `(batch, cells, 2 * D)` in pixels."""
        logits, codes = self._flatten(outputs)
        return logits.sigmoid(), decode_boxes(codes, torch.cat(self.anchors(outputs)))

    def loss(self, outputs: tuple[Tensor, ...], truth: Truth) -> dict[str, Tensor]:
        """Return `loss`, and its parts `loss_score` and `loss_box`, per anchor that learns a box."""
        logits, codes = self._flatten(outputs)
        levels = self.anchors(outputs)
        anchors = torch.cat(levels)
        learns, which = match(levels, truth, self._candidates * self._shapes)
        total = learns.sum().clamp(min=1)
        labels = truth.labels.gather(1, which)
        target = torch.zeros_like(logits).scatter_(2, labels[..., None], learns[..., None].float())
        shielded = (inside(centres_of(anchors), truth.boxes) & (truth.real & truth.ignore)[..., None]).any(1) & ~learns
        loss_score = (_focal_loss(logits, target) * ~shielded[..., None]).sum() / total
        wanted = truth.boxes.gather(1, which[..., None].expand_as(codes))[learns]
        boxes = decode_boxes(codes[learns], anchors.expand_as(codes)[learns])
        loss_box = (1 - distance_overlap(boxes, wanted)).sum() / total
        return {"loss": loss_score + BOX_WEIGHT * loss_box, "loss_score": loss_score, "loss_box": loss_box}

    def _flatten(self, outputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return logits `(batch, cells, classes)` and codes `(batch, cells, 2 * D)`, in float32, as `anchors` go."""
        rows = [
            level.float()
            .reshape(len(level), self._shapes, -1, level.shape[2:].numel())
            .permute(0, 3, 1, 2)
            .flatten(1, 2)
            for level in outputs
        ]
        return torch.cat(rows[: self._levels], 1), torch.cat(rows[self._levels :], 1)


def decode_boxes(codes: Tensor, anchors: Tensor) -> Tensor:
    """Return the boxes `(..., 2 * D)` in pixels that codes mean.

    Args:
        codes: `(..., 2 * D)`: shift of the centre in sides of the anchor, then logarithm of the factor on the sides.
        anchors: `(..., 2 * D)` in pixels.
    """
    shift, growth = codes.chunk(2, -1)
    sides = sizes_of(anchors)
    centres = centres_of(anchors) + shift * sides
    halves = growth.clamp(max=LARGEST_LOG).exp() * sides / 2
    return torch.cat([centres - halves, centres + halves], -1)


@torch.no_grad()
def match(levels: list[Tensor], truth: Truth, nearest: int) -> tuple[Tensor, Tensor]:
    """Decide which anchor learns which box (ATSS, arXiv:1912.02424, algorithm 1).

    Candidates are the anchors of each level whose centres are nearest to that of the box. Those learn it whose centre
    is inside the box and whose overlap is not below the mean plus one standard deviation of all candidates. Unlike in
    the paper, a box for which nothing is left has its best candidate all the same: small objects are learned too.

    Args:
        levels: anchors of each level, `(cells, 2 * D)`.
        truth: boxes to be found; those to ignore are never learned.
        nearest: candidates per level and box.

    Returns:
        learns: bool `(batch, cells)`, cells of all levels.
        which: int64 `(batch, cells)`, the number of the box; meaningless where nothing is learned.
    """
    anchors, boxes = torch.cat(levels), truth.boxes[:, :, None]
    middle = centres_of(anchors)
    distances = torch.cdist(centres_of(truth.boxes), middle, compute_mode="donot_use_mm_for_euclid_dist")
    start, parts = 0, []
    for cells in map(len, levels):
        part = distances[..., start : start + cells]
        parts.append(part.topk(min(nearest, cells), largest=False).indices + start)
        start += cells
    near = torch.cat(parts, -1)
    overlaps = overlap(boxes, anchors[near])
    threshold = overlaps.mean(-1, keepdim=True) + overlaps.std(-1, keepdim=True)
    low, high = boxes.chunk(2, -1)
    passed = (overlaps >= threshold) & ((middle[near] > low) & (middle[near] < high)).all(-1)
    passed |= ~passed.any(-1, keepdim=True) & (overlaps == overlaps.amax(-1, keepdim=True))
    passed &= truth.wanted[..., None]
    chosen = torch.full_like(distances, -1).scatter_(2, near, torch.where(passed, overlaps, -1))
    best, which = chosen.max(1)
    return best >= 0, which


def _focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the focal loss of every score (arXiv:1708.02002, equation 5)."""
    cross_entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    weight = torch.where(target > 0, FOCAL_WEIGHT, 1 - FOCAL_WEIGHT)
    return weight * (1 - torch.exp(-cross_entropy)) ** FOCAL_POWER * cross_entropy
