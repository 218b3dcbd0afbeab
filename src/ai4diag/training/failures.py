"""A loss that is no number: noticed at the step at which it happens, and the batch that caused it is kept.

On a CPU the loss of every step is looked at, which costs nothing. Looking at one on a GPU would make the host wait for
the device, so there a flag on the device keeps the optimizer from moving after the first bad loss, and the host looks
every few steps: weights, cases and random numbers are those of the bad step, as if it had been noticed at once.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save

from ai4diag.errors import TrainingError
from ai4diag.files import write_bytes, write_json

LOOK_EVERY = 50
"""Steps between two looks at a GPU."""


@dataclass(frozen=True)
class RandomState:
    """Everything that decides what a step draws."""

    order: torch.Tensor
    cpu: torch.Tensor
    device: torch.Tensor | None

    @classmethod
    def now(cls, generator: torch.Generator, device: torch.device) -> RandomState:
        """Return the present state."""
        own = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return cls(generator.get_state(), torch.get_rng_state(), own)

    def restore(self, generator: torch.Generator | None, device: torch.device) -> None:
        """Go back to it; without a generator only what torch draws from by itself."""
        if generator is not None:
            generator.set_state(self.order)
        torch.set_rng_state(self.cpu)
        if self.device is not None and device.type == "cuda":
            torch.cuda.set_rng_state(self.device, device)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return it as named tensors."""
        found = {"random.order": self.order, "random.cpu": self.cpu}
        return found if self.device is None else found | {"random.cuda": self.device}


@dataclass(frozen=True)
class Step:
    """A step and what it began with: `number` from 1 over the whole training, `rows` of the prepared index."""

    epoch: int
    number: int
    rows: torch.Tensor
    random: RandomState
    losses: Mapping[str, torch.Tensor]


class Watch:
    """Looks at losses.

    Args:
        device: where they are.
        later: look every few steps instead of at each; None: on every device but the CPU.

    Attributes:
        spoilt: float32 scalar on the device that is 1 after a bad loss; None where each step is looked at.
    """

    def __init__(self, device: torch.device, later: bool | None = None) -> None:
        later = device.type != "cpu" if later is None else later
        self.spoilt = torch.zeros((), device=device) if later else None
        self._trace = torch.zeros((), device=device)
        self._steps: deque[Step] = deque(maxlen=LOOK_EVERY)

    def see(self, step: Step) -> Step | None:
        """Look at the losses of a step, before the optimizer moves; return the step that went wrong, once known."""
        loss = step.losses["loss"]
        if self.spoilt is None:
            return None if math.isfinite(loss.item()) else step
        self._steps.append(step)
        self._trace += loss * 0  # NaN for ever after the first loss that is no number
        torch.ne(self._trace, self._trace, out=self.spoilt)
        return self.look() if len(self._steps) == LOOK_EVERY else None

    def look(self) -> Step | None:
        """Wait for the device and return the first step since the last look that went wrong."""
        if not self._steps:
            return None
        losses = torch.stack([step.losses["loss"].float() for step in self._steps]).tolist()
        steps = list(self._steps)
        self._steps.clear()
        return next((step for step, loss in zip(steps, losses, strict=True) if not math.isfinite(loss)), None)


def keep_batch(stem: Path, step: Step, network: torch.nn.Module, index: pd.DataFrame, facts: Mapping[str, Any]) -> Path:
    """Write `<stem>.json`, for reading, and `<stem>.safetensors`, for computing the batch again; return the former.

    With the weights loaded and the random states restored, `learner.loss(rows, generator)` gives that loss again
    (docs/how-to/resume-and-reproduce.md).
    """
    weights = {f"network.{name}": tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    tensors = {"rows": step.rows, **step.random.tensors(), **weights}
    write_bytes(
        stem.with_suffix(".safetensors"), save({name: one.contiguous().clone() for name, one in tensors.items()})
    )
    rows = step.rows.tolist()
    path = stem.with_suffix(".json")
    write_json(
        path,
        {
            "epoch": step.epoch,
            "step": step.number,
            "losses": {name: repr(float(loss)) for name, loss in step.losses.items()},
            "rows": rows,
            "case_ids": index["case_id"].iloc[rows].astype(str).tolist() if "case_id" in index else [],
            **facts,
            "tensors": f"{stem.name}.safetensors: rows, weights before the step, random states before its first draw",
        },
    )
    return path


def not_finite(step: Step, kept: Path | None) -> TrainingError:
    """Return the error that ends the training."""
    where = f" The batch that caused it is in {kept}." if kept else ""
    return TrainingError(
        f"The loss is {float(step.losses['loss'])} in epoch {step.epoch}, step {step.number}; expected a finite "
        f"number.{where}",
        "Look at these cases; lower train.learning_rate, or set train.gradient_clip: 1.",
    )
