"""Where training runs, and in which precision."""

from __future__ import annotations

import torch

from ai4diag.training.ranks import local_rank


def choose_device() -> torch.device:
    """Return the GPU of this process (`torchrun` counts them; else the first) if torch can use one, else the CPU."""
    return torch.device("cuda", local_rank()) if torch.cuda.is_available() else torch.device("cpu")


def choose_precision(device: torch.device, wish: str) -> torch.dtype:
    """Return bfloat16 when the wish is `bfloat16`, or `auto` on a GPU that has it; else float32.

    For `probe` this is where the comparison starts. On the CPU float32 stays unless it is asked for: bfloat16 was
    measured slower without AMX (docs/LOG.md, 2026-11-22).
    """
    if wish == "bfloat16":
        return torch.bfloat16
    if wish == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return torch.float32
