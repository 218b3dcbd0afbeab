"""RetinaNet on MONAI's parts: residual backbone, feature pyramid, heads, anchors, ATSS matching and box coder.

MONAI's own detector needs torchvision; this one does not, and answers without a loop over boxes. Each place of the
pyramid has one square anchor of four strides, as ATSS needs no more (Zhang et al., arXiv:1912.02424, section 3.3).
The score learns with the focal loss (Lin et al., arXiv:1708.02002), the box by its overlap.

MONAI is imported where the network is built: importing it takes seconds.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ai4diag.errors import TrainingError
from ai4diag.tasks.detection.boxes import Truth, centres_of, distance_overlap, inside

STRIDES = (4, 8, 16, 32)
ANCHOR_SIDE = 4
"""Side of an anchor, in strides of its level."""
NEAREST = 4
"""Anchors per level and box among which ATSS chooses, as nnDetection does."""
FOCAL_WEIGHT, FOCAL_FOCUS = 0.25, 2.0
BOX_WEIGHT = 2.0
Outputs = tuple[Tensor, Tensor, Tensor]


class RetinaNetwork(nn.Module):
    """Backbone, feature pyramid and two heads that all levels share.

    Args:
        classes: number of classes.
        channels: of the image.
        dimensions: 2 or 3.
        backbone: `resnet10`, `resnet18`, `resnet34` or `resnet50`.
        pyramid: channels of the feature pyramid, a multiple of 8.
    """

    divisor = 32
    """Sides of images must be multiples of this."""

    def __init__(
        self, classes: int, channels: int, dimensions: int = 2, backbone: str = "resnet18", pyramid: int = 64
    ) -> None:
        from monai.apps.detection.networks.retinanet_network import (
            RetinaNetClassificationHead,
            RetinaNetRegressionHead,
        )
        from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape
        from monai.apps.detection.utils.ATSS_matcher import ATSSMatcher
        from monai.apps.detection.utils.box_coder import BoxCoder
        from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork
        from monai.networks.nets import resnet

        super().__init__()
        self.backbone = getattr(resnet, backbone)(
            spatial_dims=dimensions, n_input_channels=channels, conv1_t_stride=2, feed_forward=False
        )
        expansion = 4 if backbone == "resnet50" else 1
        widths = [width * expansion for width in resnet.get_inplanes()]
        self.pyramid = FeaturePyramidNetwork(dimensions, widths, pyramid)
        self.score_head = RetinaNetClassificationHead(pyramid, 1, classes, dimensions)
        self.side_head = RetinaNetRegressionHead(pyramid, 1, dimensions)
        self.anchors = AnchorGeneratorWithAnchorShape(
            [stride / STRIDES[0] for stride in STRIDES], [[ANCHOR_SIDE * STRIDES[0]] * dimensions]
        )
        self.matcher = ATSSMatcher(NEAREST)
        self.coder = BoxCoder([1.0] * 2 * dimensions)

    def forward(self, images: Tensor) -> Outputs:
        """Return score logits `(batch, places, classes)`, box codes `(batch, places, 2 * D)`, anchors `(places, 2 * D)`.

        Args:
            images: normalised, `(batch, channels, *spatial)`, sides multiples of `divisor`.

        Raises:
            TrainingError: an activation is not a finite number.
        """
        net = self.backbone
        flow = net.maxpool(net.act(net.bn1(net.conv1(images))))
        features = {}
        for name in ("layer1", "layer2", "layer3", "layer4"):
            flow = getattr(net, name)(flow)
            features[name] = flow
        levels = list(self.pyramid(features).values())
        try:
            logits, codes = self.score_head(levels), self.side_head(levels)
        except ValueError as error:
            raise TrainingError(f"{error}", "Lower train.learning_rate, or set train.gradient_clip: 1.") from None
        with torch.no_grad():
            anchors = self.anchors(images, levels)[0].float()
        return _join(logits), _join(codes), anchors

    def decode(self, outputs: Outputs) -> tuple[Tensor, Tensor]:
        """Return scores `(batch, places, classes)` between 0 and 1, and boxes `(batch, places, 2 * D)` in pixels."""
        logits, codes, anchors = outputs
        repeated = anchors.repeat(len(codes), 1)
        boxes: Tensor = self.coder.decode_single(codes.reshape(repeated.shape), repeated)
        return logits.sigmoid(), boxes.reshape(codes.shape)

    def loss(self, outputs: Outputs, truth: Truth) -> dict[str, Tensor]:
        """Return `loss`, and its parts `loss_score` and `loss_box`, per place that learns a box."""
        logits, _, anchors = outputs
        boxes = self.decode(outputs)[1]
        which = torch.stack([self._match(anchors, truth.boxes[n][truth.wanted[n]]) for n in range(len(logits))])
        learns = which >= 0
        images, places = learns.nonzero(as_tuple=True)
        # the matcher counts the boxes to be found; number them among all boxes of the image
        order = torch.argsort(~truth.wanted, dim=1, stable=True)
        number = order[images, which[images, places]]
        target = torch.zeros_like(logits)
        target[images, places, truth.labels[images, number]] = 1
        count = max(len(images), 1)
        shielded = (inside(centres_of(anchors), truth.boxes) & (truth.real & truth.ignore)[..., None]).any(1) & ~learns
        focal = _focal(logits, target) * ~shielded[..., None]
        loss_score = focal.sum() / count
        loss_box = (1 - distance_overlap(boxes[images, places], truth.boxes[images, number])).sum() / count
        return {"loss": loss_score + BOX_WEIGHT * loss_box, "loss_score": loss_score, "loss_box": loss_box}

    @torch.no_grad()
    def _match(self, anchors: Tensor, boxes: Tensor) -> Tensor:
        """Return int64 `(places,)`: the number of the box that each anchor learns, -1 for none."""
        dimensions = anchors.shape[1] // 2
        sides = anchors[:, dimensions] - anchors[:, 0]
        per_level = [int((sides == ANCHOR_SIDE * stride).sum()) for stride in STRIDES]
        matches: Tensor = self.matcher(boxes, anchors, per_level, 1)[1]
        return matches.to(anchors.device)


def _join(levels: list[Tensor]) -> Tensor:
    """Join maps `(batch, values, *grid)` of the levels to `(batch, places, values)`, in float32."""
    return torch.cat([level.float().flatten(2).transpose(1, 2) for level in levels], 1)


def _focal(logits: Tensor, target: Tensor) -> Tensor:
    """Return the focal loss of each score (arXiv:1708.02002, equation 5)."""
    plain = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    given = torch.exp(-plain)  # probability of what is true
    weight = torch.where(target > 0, FOCAL_WEIGHT, 1 - FOCAL_WEIGHT)
    return weight * (1 - given) ** FOCAL_FOCUS * plain
