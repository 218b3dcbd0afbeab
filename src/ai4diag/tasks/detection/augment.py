"""Augmentation of whole batches on the device, boxes included.

What happens to a batch is drawn first (`draw`, from a CPU generator, so that every device sees the same choices), and
done afterwards (`apply`): one affine map and one resampling for all geometry, one expression for all intensities. The
same parameters always give the same batch, and a batch of one gives what the same image gives in a batch of many.

Turns and moved boxes are those of `tasks.augment`. Lookup, colours and noise are of its own: other roundings or another
order of draws would train other detectors than those whose figures are published.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ai4diag.errors import ConfigError, did_you_mean
from ai4diag.tasks.augment.geometry import map_boxes, quarter_turns
from ai4diag.tasks.detection.boxes import Truth, sizes_of

KINDS = {
    "flip": "mirror along each axis, each with probability 1/2",
    "flip_0": "mirror along the first axis with probability 1/2; right and left in a volume",
    "flip_1": "mirror along the second axis; front and back in a volume",
    "flip_2": "mirror along the third axis; head and foot in a volume",
    "rotate": "turn by 0, 90, 180 or 270 degrees in the plane of the last two axes",
    "scale": "zoom by 0.7 to 1.4, and stretch by up to 10 % along each axis",
    "stretch": "zoom by 0.9 to 1.1, and stretch by up to 10 % along each axis; for organs, whose size tells",
    "shift": "place the window anywhere in the image instead of in its middle",
    "intensity": "brightness, contrast, gamma, and gain and saturation of the colour channels",
    "noise": "normal noise of up to 3 % of full scale",
}
"""Names that `train.augment` can hold. Where a window is smaller than the image, `shift` makes it a random crop."""

ZOOM = {"scale": (0.7, 1.4), "stretch": (0.9, 1.1)}
STRETCH = 0.1
BRIGHTNESS, CONTRAST, GAMMA, GAIN, SATURATION, NOISE = 0.12, 0.25, 0.25, 0.1, 0.3, 0.03
LEAST_VISIBLE = 0.3
"""Share of a box that must stay in the window; a box of which less is left becomes a region to ignore."""
LEAST_SIDE = 4.0
"""Shortest side in pixels with which a box that the window cuts is still worth finding."""


def check_names(names: Sequence[str] | Mapping[str, object], dimensions: int = 3) -> None:
    """Refuse what is no list of augmentations of images with so many axes.

    Raises:
        ConfigError: names the nearest known one, or says that amounts are fixed.
    """
    if isinstance(names, Mapping):
        raise ConfigError(
            f"train.augment gives amounts for {', '.join(names)}; detection has its own.",
            f"Write the names alone: augment: [{', '.join(names)}]",
        )
    for name in names:
        if name not in KINDS:
            raise ConfigError(f"train.augment: '{name}' is not an augmentation. {did_you_mean(name, KINDS)}")
        if name == "flip_2" and dimensions == 2:
            raise ConfigError("train.augment: 'flip_2' mirrors along a third axis; the images have two.", "Remove it.")


@dataclass(frozen=True)
class Parameters:
    """What was drawn for a batch.

    Attributes:
        matrix: `(batch, D, D)`: from pixels relative to the middle of the image to pixels relative to the middle of the
            window, before `offset` is added.
        offset: `(batch, D)`, pixels of the window.
        window: size of the result in pixels.
        gamma: `(batch, channels)` exponent of intensities between 0 and 1.
        saturation, contrast: `(batch,)` factors on the difference to the mean of the channels, and of the image.
        brightness: `(batch,)` added, full scale is 1.
        noise: `(batch,)` standard deviation, full scale is 1.
        noise_seed: seed of the noise.
        whole: when these are the parameters of a share: the cases of the whole batch, and the first of the share.
    """

    matrix: Tensor
    offset: Tensor
    window: tuple[int, ...]
    gamma: Tensor
    saturation: Tensor
    contrast: Tensor
    brightness: Tensor
    noise: Tensor
    noise_seed: int
    whole: tuple[int, int] | None = None

    def __getitem__(self, share: slice) -> Parameters:
        """Return the parameters of a share of the batch, with the noise that it has in the whole."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        chosen: dict[str, Any] = {name: value[share] for name, value in values.items() if torch.is_tensor(value)}
        return replace(self, **chosen, whole=(len(self.matrix), share.indices(len(self.matrix))[0]))


def draw(
    names: Sequence[str],
    batch: int,
    channels: int,
    image: tuple[int, ...] | Tensor,
    window: tuple[int, ...],
    generator: torch.Generator,
) -> Parameters:
    """Draw the parameters of a batch; what `names` does not hold stays at the identity.

    Args:
        names: augmentations, of `KINDS`.
        batch, channels: size of the batch.
        image: size of the images in pixels, one for all or one each, `(batch, D)`.
        window: size of what the network will see.
        generator: CPU generator. It advances by the same amount whatever `names` holds.
    """
    dimensions = len(window)

    def uniform(name: str, *shape: int) -> Tensor:
        """Between -1 and 1, or 0 where `name` is switched off."""
        numbers = torch.rand(batch, *shape, generator=generator) * 2 - 1
        return numbers if name in names else torch.zeros_like(numbers)

    mirrored = torch.tensor(["flip" in names or f"flip_{axis}" in names for axis in range(dimensions)])
    signs = 1 - 2 * ((torch.rand(batch, dimensions, generator=generator) * 2 - 1 > 0) & mirrored).float()
    turns = ((uniform("rotate") + 1) * 2).long() % 4 if "rotate" in names else uniform("rotate").long()
    size = "scale" if "scale" in names else "stretch"
    low, high = (math.log(limit) for limit in ZOOM[size])
    zoom = torch.exp((uniform(size) * (high - low) + high + low) / 2) if size in names else 1 + uniform(size)
    stretch = torch.exp(uniform(size, dimensions) * STRETCH)
    matrix = quarter_turns(turns, dimensions) * (signs * zoom[:, None] * stretch)[:, None, :]
    with torch.autocast("cpu", enabled=False):
        sides = image if isinstance(image, Tensor) else torch.tensor(image, dtype=torch.float32)
        reach = (matrix.abs() @ sides[..., None])[..., 0] / 2 if sides.ndim > 1 else matrix.abs() @ sides / 2
    offset = uniform("shift", dimensions) * (reach - torch.tensor(window) / 2).abs()
    return Parameters(
        matrix=matrix,
        offset=offset,
        window=window,
        gamma=torch.exp(uniform("intensity", 1) * GAMMA + uniform("intensity", channels) * GAIN),
        saturation=1 + uniform("intensity") * SATURATION,
        contrast=torch.exp(uniform("intensity") * CONTRAST),
        brightness=uniform("intensity") * BRIGHTNESS,
        noise=uniform("noise").abs() * NOISE,
        noise_seed=int(torch.randint(2**62, (), generator=generator)),
    )


def apply(images: Tensor, truth: Truth, parameters: Parameters, fill: Tensor) -> tuple[Tensor, Truth]:
    """Apply drawn parameters to a batch.

    Args:
        images: uint8 `(batch, channels, *spatial)`.
        truth: its boxes, in pixels of these images.
        parameters: as drawn.
        fill: `(channels,)`, what stands outside the image, on the scale of the images.

    Returns:
        float32 `(batch, channels, *window)` on the scale 0 to 255, and the boxes in it, cut off at the window.
    """
    matrix, offset = parameters.matrix.to(images.device), parameters.offset.to(images.device)
    with torch.autocast(images.device.type, enabled=False):  # bfloat16 cannot tell pixel 257 from 258
        moved = resample(images, matrix, offset, parameters.window, fill)
        return intensities(moved, parameters), move_boxes(truth, images.shape[2:], matrix, offset, parameters.window)


def resample(
    images: Tensor,
    matrix: Tensor,
    offset: Tensor,
    window: tuple[int, ...],
    fill: Tensor,
    shift: Tensor | None = None,
) -> Tensor:
    """Look up every pixel of the window in the image, linearly; `fill` outside.

    Args:
        images: `(batch, channels, *spatial)`.
        matrix, offset, window: as `Parameters` has them, on the device of the images.
        fill: `(channels,)`.
        shift: `(D,)`, from the middle of these images to the middle of those that they were cut from.
    """
    batch, dimensions = len(images), len(window)
    half = torch.tensor(images.shape[2:], dtype=torch.float32, device=images.device) / 2
    axes = [torch.arange(length, device=images.device) + 0.5 - length / 2 for length in window]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(1, -1, dimensions)
    source = (points - offset[:, None]) @ torch.linalg.inv(matrix).transpose(1, 2)
    source = source if shift is None else source + shift
    grid = (source / half).flip(-1).reshape(batch, *window, dimensions)  # grid_sample counts axes from the last
    level = fill.to(images.device).view(1, -1, *[1] * dimensions)
    return F.grid_sample(images.float() - level, grid, align_corners=False) + level


def intensities(images: Tensor, parameters: Parameters) -> Tensor:
    """Change gamma, saturation, contrast, brightness, and add noise; on the scale 0 to 255."""
    ones = [1] * (images.ndim - 2)

    def each(values: Tensor) -> Tensor:
        return values.to(images.device).reshape(len(images), -1, *ones)

    share = (images / 255).clamp(1e-3, 1) ** each(parameters.gamma)
    grey = share.mean(1, keepdim=True)
    share = grey + (share - grey) * each(parameters.saturation)
    mean = share.mean(tuple(range(1, images.ndim)), keepdim=True)
    share = mean + (share - mean) * each(parameters.contrast) + each(parameters.brightness)
    if parameters.noise.any():
        source = torch.Generator().manual_seed(parameters.noise_seed)
        count, first = parameters.whole or (len(images), 0)
        noise = torch.randn((count, *share.shape[1:]), generator=source)[first : first + len(images)]
        share = share + noise.to(share.device) * each(parameters.noise)
    return share * 255


def move_boxes(
    truth: Truth, spatial: Sequence[int] | Tensor, matrix: Tensor, offset: Tensor, window: tuple[int, ...]
) -> Truth:
    """Move boxes with the image; what the window cuts off too far becomes a region to ignore.

    Args:
        truth: boxes in pixels of the images.
        spatial: size of the images, one for all or one each, `(batch, D)`.
        matrix, offset, window: as `Parameters` has them, on the device of the boxes.
    """
    frame = torch.tensor(window, dtype=torch.float32, device=truth.boxes.device)
    whole = map_boxes(truth.boxes, matrix, offset, spatial, window)
    cut = torch.minimum(whole.clamp(min=0), frame.repeat(2))
    sides = sizes_of(cut).clamp(min=0)
    visible = sides.prod(-1) / sizes_of(whole).prod(-1).clamp(min=1e-6)
    poor = (visible < LEAST_VISIBLE) | ((visible < 1 - 1e-4) & (sides.amin(-1) < LEAST_SIDE))
    return Truth(cut, truth.labels, truth.real & (sides > 0).all(-1), truth.ignore | poor)
