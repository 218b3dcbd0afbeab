"""Where training runs, and in which precision."""

from __future__ import annotations

import torch


def choose_device() -> torch.device:
    """Return the first GPU if torch can use one, else the CPU."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def choose_precision(device: torch.device, wish: str) -> torch.dtype:
    """Return bfloat16 on a GPU that has it and when the wish is `auto`, else float32.

    On the CPU float32 stays: bfloat16 was measured slower without AMX (docs/LOG.md, 2026-11-22).
    """
    if wish == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return torch.float32
