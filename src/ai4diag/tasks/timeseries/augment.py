"""Random changes of training signals, a whole batch at once on its device.

Parameters are drawn from a CPU generator and applied apart, so that the same seed gives the same changes on every
device. Signals are normalised: a typical window has the standard deviation 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Generator, Tensor

from ai4diag.errors import ConfigError, did_you_mean

NAMES = {
    "scale": "larger or smaller, each channel for itself",
    "wander": "a slow wave under the signal: breathing, a moving electrode",
    "noise": "a random value on every sample",
    "shift": "earlier or later in the window",
    "stretch": "slower or faster",
    "invert": "turned upside down: the electrodes exchanged",
    "drop": "a channel without a signal, where there are several",
}
"""What each name does."""
SCALE = 0.4
"""Largest change of the logarithm of the amplitude."""
WANDER, WAVES = 0.5, (0.2, 1.0)
"""Largest amplitude of the slow wave, and how many of its periods fit into the window."""
NOISE = 0.1
"""Largest standard deviation of the noise."""
SHIFT, STRETCH = 0.05, 0.1
"""Largest shift as a share of the window, and largest change of the logarithm of the speed."""
INVERTED, DROPPED = 0.2, 0.1
"""Share of the signals that are turned over, and of the channels that are switched off."""


@dataclass(frozen=True)
class Parameters:
    """What happens to each signal of a batch.

    Attributes:
        scale: `(batch, channels, 1)` factors; negative where turned over, 0 where switched off.
        wander, waves, phase: `(batch, channels, 1)`: amplitude, periods per window and phase of the slow wave.
        noise: `(batch, channels, samples)`, or `(batch, channels, 1)` zeros.
        shift: `(batch, 1)`, share of the window by which the signal comes earlier.
        speed: `(batch, 1)` factors on time, from the middle of the window.
    """

    scale: Tensor
    wander: Tensor
    waves: Tensor
    phase: Tensor
    noise: Tensor
    shift: Tensor
    speed: Tensor

    def __getitem__(self, share: slice) -> Parameters:
        """Return those of a share of the batch."""
        return Parameters(*(getattr(self, item.name)[share] for item in fields(self)))

    def to(self, device: torch.device) -> Parameters:
        """Return them on a device."""
        return Parameters(*(getattr(self, item.name).to(device) for item in fields(self)))


def check_names(names: Sequence[str]) -> None:
    """Refuse an augmentation that does not exist.

    Raises:
        ConfigError: the first is named, and the nearest that exists.
    """
    for name in names:
        if name not in NAMES:
            raise ConfigError(f"train.augment: signals know no '{name}'. {did_you_mean(name, NAMES)}")


def draw(names: Sequence[str], shape: Sequence[int], generator: Generator) -> Parameters:
    """Draw what happens to each signal of a batch `(batch, channels, samples)`; what is not named changes nothing.

    Every number is drawn whatever the names, but for the noise, so that one name does not change the others.
    """

    batch, channels, samples = shape

    def uniform(*sides: int) -> Tensor:
        return torch.rand(batch, *sides, generator=generator) * 2 - 1

    amount = {name: float(name in names) for name in NAMES}
    scale = torch.exp(uniform(channels, 1) * SCALE * amount["scale"])
    inverted = torch.rand(batch, 1, 1, generator=generator) < INVERTED * amount["invert"]
    dropped = torch.rand(batch, channels, 1, generator=generator) < DROPPED * amount["drop"] * (channels > 1)
    dropped &= ~dropped.all(1, keepdim=True)
    wander = uniform(channels, 1) * WANDER * amount["wander"]
    low, high = WAVES
    waves = low + (high - low) * torch.rand(batch, channels, 1, generator=generator)
    phase = uniform(channels, 1) * math.pi
    shift, speed = uniform(1) * SHIFT * amount["shift"], torch.exp(uniform(1) * STRETCH * amount["stretch"])
    strength = torch.rand(batch, 1, 1, generator=generator) * NOISE * amount["noise"]
    noise = torch.zeros(batch, channels, 1)
    if "noise" in names:
        noise = strength * torch.randn(batch, channels, samples, generator=generator)
    return Parameters(torch.where(inverted, -scale, scale) * ~dropped, wander, waves, phase, noise, shift, speed)


def apply(signals: Tensor, parameters: Parameters) -> Tensor:
    """Return changed signals `(batch, channels, samples)`, on their device; what is beyond the window is its edge."""
    p = parameters.to(signals.device)
    batch, channels, samples = signals.shape
    if bool((p.shift != 0).any() | (p.speed != 1).any()):
        middle = (samples - 1) / 2
        steps = torch.arange(samples, device=signals.device, dtype=signals.dtype)
        places = (middle + (steps - middle) * p.speed + p.shift * samples).clamp(0, samples - 1)
        low = places.floor().long().clamp(max=samples - 2)
        share = (places - low)[:, None]
        index = low[:, None].expand(batch, channels, samples)
        signals = signals.gather(2, index) * (1 - share) + signals.gather(2, index + 1) * share
    time = torch.linspace(0, 1, samples, device=signals.device, dtype=signals.dtype)
    wave = p.wander * torch.sin(2 * math.pi * p.waves * time + p.phase)
    return signals * p.scale + (wave + p.noise) * (p.scale != 0)
