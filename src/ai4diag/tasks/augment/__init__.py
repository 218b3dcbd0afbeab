"""Augmentation of whole batches on the device, of planes and volumes, with masks and boxes.

What happens to a batch is drawn first (`draw`, on the CPU, so that every device sees the same choices) and done
afterwards (`apply`): one affine map and one lookup for all geometry, then intensities. The same parameters always give
the same batch, and a batch of one gives what the same image gives in a batch of many.

    changes = plan({"rotate": 15, "elastic": 2, "noise": 0.02}, dimensions=3)
    parameters = draw(changes, len(images), channels, size, window, spacing_mm, generator)
    images, masks = apply(images, parameters, fill, masks)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ai4diag.tasks.augment.changes import GROUPS, KINDS, Plan, plan
from ai4diag.tasks.augment.geometry import move_boxes, move_points
from ai4diag.tasks.augment.intensity import add_noise, change_levels, full_scale, shade, soften, uses_full_scale
from ai4diag.tasks.augment.moves import AS_IT_IS, TYPES, Block, Moves
from ai4diag.tasks.augment.parameters import Parameters, draw
from ai4diag.tasks.augment.resample import Lookup, resample

__all__ = [
    "AS_IT_IS",
    "GROUPS",
    "KINDS",
    "TYPES",
    "Block",
    "Moves",
    "Parameters",
    "Plan",
    "apply",
    "draw",
    "move_boxes",
    "move_points",
    "plan",
]

IN_CACHE = 2**19
"""Values that are done at once on a CPU: what lies between two steps then stays in its cache. Images that are larger by
themselves gain nothing, and are done together."""


def apply(
    images: Tensor, parameters: Parameters, fill: Tensor | float = 0.0, masks: Tensor | None = None, outside: int = 0
) -> tuple[Tensor, Tensor | None]:
    """Apply drawn parameters to a batch. Boxes and places: `move_boxes`, `move_points`.

    Args:
        images: uint8 or floating point, `(batch, channels, *size)`.
        parameters: as drawn for this batch and size.
        fill: what stands outside the images, on their scale: a number, or one per channel.
        masks: any whole numbers, `(batch, channels of their own, *size)`; each pixel takes the nearest label.
        outside: label outside the images.

    Returns:
        float32 `(batch, channels, *window)` on the scale of the images, and the masks `(batch, ..., *window)` with
        their type, or None. Where nothing moves, the masks are those that were given, not a copy.

    Raises:
        ValueError: images or masks are not of the batch and size for which the parameters were drawn.
    """
    for name, values in (("images", images), ("masks", masks)):
        expected = (len(parameters.matrix), *parameters.size)
        if values is not None and (len(values), *values.shape[2:]) != expected:
            raise ValueError(f"{name} are {tuple(values.shape)}; the parameters are drawn for {expected}")
    device, shape = images.device, (*images.shape[:2], *parameters.window)
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        if images.dtype not in (torch.uint8, torch.float32):
            images = images.float()
        level = torch.as_tensor(fill, dtype=torch.float32, device=device).expand(images.shape[1])
        together = IN_CACHE // math.prod(shape[1:]) if device.type == "cpu" else 0
        if not 0 < together < len(images):
            return _apply(images, parameters, level, masks, outside)
        result = torch.empty(shape)
        labels = None if masks is None else torch.empty((*masks.shape[:2], *parameters.window), dtype=masks.dtype)
        for start in range(0, len(images), together):
            rows = slice(start, start + together)
            some = None if masks is None else masks[rows]
            result[rows], found = _apply(images[rows], parameters[rows], level, some, outside)
            if labels is not None and found is not None:
                labels[rows] = found
        return result, labels


def _apply(
    images: Tensor, parameters: Parameters, level: Tensor, masks: Tensor | None, outside: int
) -> tuple[Tensor, Tensor | None]:
    lookup = Lookup.of(parameters, images.device)
    if lookup.is_identity:
        moved = images.float() if images.dtype == torch.uint8 else images.clone()
    else:
        moved = resample(images, lookup, level)
        masks = None if masks is None else resample(masks, lookup, torch.tensor([outside]), "nearest")
    if not uses_full_scale(parameters):
        return shade(soften(moved, parameters), parameters), masks
    low, width = full_scale(images)
    moved = change_levels(moved, parameters, low, width)
    return add_noise(shade(soften(moved, parameters), parameters), parameters, width), masks
