"""Checkpoints that are whole or absent: safetensors followed by their SHA-256, written atomically, never pickled."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from ai4diag.errors import TrainingError
from ai4diag.files import write_bytes

_DIGEST = hashlib.sha256().digest_size


def write_checkpoint(path: Path, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """Write tensors and JSON-able facts; a kill at any moment leaves the previous checkpoint or this one."""
    unshared = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    content = save(unshared, metadata={"facts": json.dumps(facts)})
    write_bytes(path, content + hashlib.sha256(content).digest())


def read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `write_checkpoint` wrote.

    Raises:
        TrainingError: the content does not match its hash.
    """
    stored = path.read_bytes()
    content, digest = stored[:-_DIGEST], stored[-_DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        raise TrainingError(
            f"{path} is damaged: its content does not match its SHA-256.", f"Delete {path} to train from the start."
        )
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return load(content), json.loads(header["__metadata__"]["facts"])
