"""What learners of pictures and small volumes share: a network with channel statistics, on a device."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Placed:
    """A network and the statistics of its channels.

    Attributes:
        network: the network.
        size: of the images in pixels, in array-axis order.
        mean, spread: of each channel, `(channels,)`.
    """

    network: nn.Module
    size: tuple[int, ...]
    mean: Tensor
    spread: Tensor

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    def _move(self, device: torch.device) -> None:
        """Put the network on the device, in the memory order in which its convolutions are fastest."""
        self.network.to(device)
        if len(self.size) == 2:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.mean, self.spread = self.mean.to(device), self.spread.to(device)
