"""Changes of intensities: pixel by pixel, and with the neighbours of a pixel.

Amounts are shares of full scale: 0 to 255 for uint8, else from the least to the greatest value of each channel of an
image. Everything works on any device and for planes and volumes alike.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ai4diag.tasks.augment.geometry import multiply_axes, spread
from ai4diag.tasks.augment.parameters import Parameters

_TINY = 1e-6


def full_scale(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values `(batch, channels)` that count as 0 and the distance to those that count as 1."""
    if images.dtype == torch.uint8:
        zero = torch.zeros(images.shape[:2], device=images.device)
        return zero, zero + 255
    if images.device.type == "cpu":  # over one image after the other, torch uses vector instructions
        ends = [torch.stack(torch.aminmax(channel)) for image in images for channel in image]
        low, high = torch.stack(ends).T.reshape(2, *images.shape[:2])
    else:
        low, high = torch.aminmax(images.flatten(2), dim=2)
    return low, width_of(low, high)


def width_of(low: Tensor, high: Tensor) -> Tensor:
    """Return the width of full scale between its ends; never 0."""
    return (high - low).clamp(min=_TINY)


def uses_full_scale(parameters: Parameters) -> bool:
    """Whether anything is drawn that needs to know full scale."""
    return bool((parameters.noise > 0).any() or (parameters.gamma != 1).any()) or not keeps_levels(parameters)


def change_levels(images: Tensor, parameters: Parameters, low: Tensor, width: Tensor) -> Tensor:
    """Change gamma, gain, contrast and brightness; what is off costs nothing.

    Args:
        images: float32 `(batch, channels, *window)`; overwritten.
        parameters: of the batch.
        low, width: full scale, see `full_scale`.

    A share `s` of full scale becomes `s ** gamma * gain` (outside 0 to 1, gamma changes nothing), and then moves away
    from the mean of its channel by `contrast`, and up by `brightness`.
    """
    device, shape = images.device, (*images.shape[:2], *[1] * (images.ndim - 2))
    gain, contrast = parameters.gain.to(device), parameters.contrast.to(device)[:, None]
    brightness, factor = parameters.brightness.to(device)[:, None], gain * contrast
    bent = bool((parameters.gamma != 1).any())
    if bent:
        images = _raise(images, parameters.gamma.to(device).reshape(shape), low.reshape(shape), width.reshape(shape))
    elif keeps_levels(parameters):
        return images
    mean: Tensor | float = 0.0
    if bool((parameters.contrast != 1).any()):
        mean = images.flatten(2).mean(2)
        mean = mean if bent else (mean - low) / width
    summand = (mean * gain * (1 - contrast) + brightness) * width + low
    factor, summand = (factor * width, summand) if bent else (factor, summand - low * factor)
    return torch.addcmul(summand.reshape(shape), images, factor.reshape(shape), out=images)


def straight(parameters: Parameters, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return the factor and the summand `(batch, channels)` that gain and brightness are, without gamma and contrast.

    `low` and `high` are the ends of each channel of floating point images on the CPU.
    """
    return parameters.gain, parameters.brightness[:, None] * width_of(low, high) + low - low * parameters.gain


def _raise(images: Tensor, gamma: Tensor, low: Tensor, width: Tensor) -> Tensor:
    """Return shares of full scale to the power of `gamma`; what is outside 0 to 1 stays. Overwrites the images."""
    shares = images.sub_(low).div_(width)
    inside = shares.clamp(0, 1)
    shares -= inside
    return shares.add_(inside.clamp_(min=_TINY**3).log_().mul_(gamma).exp_())


def keeps_levels(parameters: Parameters) -> bool:
    """Whether gain, contrast and brightness are the identity."""
    return bool(
        (parameters.gain == 1).all() and (parameters.contrast == 1).all() and (parameters.brightness == 0).all()
    )


def soften(images: Tensor, parameters: Parameters) -> Tensor:
    """Blur, and sample again with longer pixels, the images that are drawn for it; `(batch, channels, *window)`.

    Along an axis both are one matrix, so a blur by different amounts and a lower resolution cost one product an axis.
    The images are overwritten.
    """
    rows = torch.nonzero((parameters.blur > 0) | (parameters.resolution > 1))[:, 0]
    if not len(rows):
        return images
    place, matrices = rows.to(images.device), []
    for length, spacing in zip(images.shape[2:], parameters.spacing_mm, strict=True):
        matrix = _coarse(length, parameters.resolution[rows]) @ _gaussian(length, parameters.blur[rows] / spacing)
        matrices.append(matrix.to(images.device))
    images[place] = multiply_axes(matrices, images[place])
    return images


def _gaussian(length: int, sigma: Tensor) -> Tensor:
    """Return blurs `(batch, length, length)` with standard deviations in pixels; rows sum to 1, also at the edges."""
    places = torch.arange(length, dtype=torch.float32)
    distance = (places - places[:, None]) / sigma.clamp(min=1e-3)[:, None, None]
    weights = torch.exp(-0.5 * distance**2) * (distance.abs() < 4)  # the tails would be too small to compute with
    return weights / weights.sum(-1, keepdim=True)


def _coarse(length: int, factor: Tensor) -> Tensor:
    """Return `(batch, length, length)`: means over pixels about `factor` times as long, interpolated linearly."""
    count = (length / factor).round().clamp(min=1)  # whole coarse pixels
    wide = (length / count)[:, None, None]
    places = torch.arange(length, dtype=torch.float32)
    at = (places + 0.5)[None, :, None] / wide - 0.5  # place of each fine pixel in coarse ones
    last = (count - 1)[:, None, None]
    total = torch.zeros(len(factor), length, length)
    for step in (0, 1):
        cell = at.floor() + step
        weight = 1 - (at - cell).abs()
        cell = torch.minimum(cell.clamp(min=0), last)
        shared = torch.minimum(places + 1, (cell + 1) * wide) - torch.maximum(places, cell * wide)
        total += weight * shared.clamp(min=0) / wide
    return total


def shade(images: Tensor, parameters: Parameters) -> Tensor:
    """Multiply with the bias fields that are drawn; values are counted from 0, so it suits images without negatives."""
    if not parameters.bias.any():
        return images
    field = spread(parameters.bias.to(images.device), parameters.window).exp_()
    return images.mul_(field[:, None])


def add_noise(images: Tensor, parameters: Parameters, width: Tensor) -> Tensor:
    """Add normal noise to the images, in place, from a generator of its own for each image, on their device."""
    rows = torch.nonzero(parameters.noise > 0)[:, 0]
    if not len(rows):
        return images
    noise, source = torch.zeros_like(images), torch.Generator(images.device)
    for row, seed in zip(rows.tolist(), parameters.seed[rows].tolist(), strict=True):
        noise[row].normal_(generator=source.manual_seed(seed))
    scale = parameters.noise.to(images.device)[:, None] * width
    return images.addcmul_(noise, scale.reshape(*images.shape[:2], *[1] * (images.ndim - 2)))
