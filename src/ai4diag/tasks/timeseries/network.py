"""Residual network along time: He et al., arXiv:1512.03385; for ECG, Ribeiro et al., Nat Commun 11:1760 (2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """Two convolutions and a shortcut around them; the first one may halve the samples."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(channels, out, kernel, stride, kernel // 2, bias=False)
        self.first_norm = nn.BatchNorm1d(out)
        self.second = nn.Conv1d(out, out, kernel, 1, kernel // 2, bias=False)
        self.second_norm = nn.BatchNorm1d(out)
        self.shortcut: nn.Module = nn.Identity()
        if channels != out or stride > 1:
            pool = nn.AvgPool1d(stride, stride, ceil_mode=True, count_include_pad=False)
            self.shortcut = nn.Sequential(pool, nn.Conv1d(channels, out, 1, bias=False), nn.BatchNorm1d(out))

    def forward(self, signals: Tensor) -> Tensor:
        """Return `(batch, out, samples / stride)`, rounded up."""
        flow = torch.relu(self.first_norm(self.first(signals)))
        flow = self.second_norm(self.second(flow))
        return torch.relu(flow + self.shortcut(signals))


class SignalNetwork(nn.Module):
    """Stem, stages of residual blocks, mean and maximum over time, and a head that sees the side inputs as well.

    Args:
        channels: of the signals.
        side: numbers that come with each case.
        outputs: logits.
        width: channels of the first stage; each further stage has twice as many and half the samples.
        stages, blocks: how many, and of what.
        kernel: samples that a convolution sees, odd.
        dropout: share of the pooled features that are switched off while training.
    """

    def __init__(
        self, channels: int, side: int, outputs: int, width: int, stages: int, blocks: int, kernel: int, dropout: float
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv1d(channels, width, kernel, 2, kernel // 2, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
        ]
        for stage in range(stages):
            out = width * 2**stage
            for block in range(blocks):
                first = block == 0
                layers.append(Block(out // 2 if first and stage else out, out, kernel, 2 if first and stage else 1))
        self.trunk = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        hidden = max(32, width)
        self.head = nn.Sequential(nn.Linear(2 * out + side, hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    def forward(self, signals: Tensor, side: Tensor) -> Tensor:
        """Return logits `(batch, outputs)` of signals `(batch, channels, samples)` and `side` `(batch, side)`."""
        flow = self.trunk(signals)
        pooled = self.dropout(torch.cat([flow.mean(2), flow.amax(2)], 1))
        logits: Tensor = self.head(torch.cat([pooled, side], 1))
        return logits
