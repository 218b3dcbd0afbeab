"""Several processes that train one network together, started by `torchrun`.

Every process holds the whole network and all cases, goes through the same batches, and computes its share of each. What
one device would have computed is put together again: gradients are weighted by their share and added, so that every
process takes the same step. Process 0 validates, writes files and tells of events; the others keep up.
"""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from ai4diag.errors import TrainingError

PATIENCE = timedelta(hours=2)
"""How long a process waits for the others, which may be validating or predicting."""


def rank() -> int:
    """Return the number of this process among those that `torchrun` started; 0 when there is only one."""
    return int(os.environ.get("RANK", "0")) if world() > 1 else 0


def world() -> int:
    """Return how many processes `torchrun` started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@dataclass(frozen=True)
class Ranks:
    """This process among all: `rank` from 0 of `size`. Of one, every method does nothing."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls) -> Ranks:
        """Return this process's place; the first call waits until all are there."""
        if world() == 1:
            return cls()
        if not dist.is_initialized():
            if torch.cuda.is_available():
                torch.cuda.set_device(local_rank())
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
            atexit.register(_leave)
        return cls(dist.get_rank(), dist.get_world_size())

    def need(self, cases: int) -> None:
        """Refuse batches with fewer cases than processes.

        Raises:
            TrainingError: the smallest batch has fewer.
        """
        if cases < self.size:
            raise TrainingError(
                f"The smallest batch has {cases} cases, too few for {self.size} processes.",
                "Raise train.batch_size, or start fewer processes: torchrun --nproc-per-node.",
            )

    def tell(self, content: Any) -> Any:
        """Return what process 0 says; plain values travel as JSON, nothing is pickled."""
        if self.size == 1:
            return content
        told = json.dumps(content).encode() if self.rank == 0 else b""
        length = self._tensor([len(told)], torch.int64)
        self._together(dist.broadcast, length, src=0)
        message = self._tensor(list(told) if self.rank == 0 else [0] * int(length), torch.uint8)
        self._together(dist.broadcast, message, src=0)
        return json.loads(bytes(message.tolist()))

    def source(self, generator: torch.Generator, takes_share: bool, seed: int, step: int) -> torch.Generator:
        """Return the generator from which this process draws for its share of a step.

        A learner that draws for the whole batch uses the common one, which stays the same in all processes. Any other
        draws only for its share; it gets one of its own, so that the common one, which decides the order, stays.
        """
        if self.size == 1 or takes_share:
            return generator
        return torch.Generator().manual_seed((seed * 1_000_003 + step) * self.size + self.rank)

    def same_weights(self, network: torch.nn.Module) -> None:
        """Give every process the weights and buffers of process 0."""
        if self.size > 1:
            for tensor in network.state_dict().values():
                plain = tensor.contiguous()  # itself, unless it is in another memory order
                self._together(dist.broadcast, plain, src=0)
                tensor.copy_(plain)

    def add_up(self, parameters: Sequence[torch.Tensor], losses: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Add the gradients and losses of all processes, in one message; both are weighted by their shares already."""
        if self.size == 1:
            return losses
        gradients = [p.grad for p in parameters]
        kind = parameters[0]
        there = [torch.full((), float(g is not None), dtype=kind.dtype, device=kind.device) for g in gradients]
        filled = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)]
        figures = [losses[name].to(kind.dtype) for name in sorted(losses)]
        flat = torch.cat([tensor.reshape(-1) for tensor in (*filled, *there, *figures)])
        self._together(dist.all_reduce, flat)
        sizes = [tensor.numel() for tensor in filled]
        *summed, counts, together = torch.split(flat, [*sizes, len(there), len(figures)])
        used = counts.tolist() if None in [g if g is None else 0 for g in gradients] else [1.0] * len(there)
        for parameter, gradient, count in zip(parameters, summed, used, strict=True):
            parameter.grad = _like(parameter, gradient) if count else None
        return dict(zip(sorted(losses), together.unbind(), strict=True))

    def average_buffers(self, network: torch.nn.Module) -> None:
        """Replace running statistics, such as those of batch normalisation, by their mean over the processes."""
        if self.size > 1:
            for buffer in network.buffers():
                if buffer.is_floating_point():
                    plain = buffer.contiguous()
                    self._together(dist.all_reduce, plain)
                    buffer.copy_(plain / self.size)

    def _tensor(self, values: list[int], dtype: torch.dtype) -> torch.Tensor:
        nccl = dist.get_backend() == "nccl"
        return torch.tensor(values, dtype=dtype, device=torch.device("cuda", local_rank()) if nccl else None)

    def _together(self, what: Any, tensor: torch.Tensor, **given: Any) -> None:
        try:
            what(tensor, **given)
        except RuntimeError as error:  # gloo and NCCL say it in their own words
            raise TrainingError(
                f"Process {self.rank} of {self.size} lost the others: {str(error).splitlines()[0]}",
                "One of them has ended; its message says why. The same command goes on from the latest checkpoint.",
            ) from error


def _leave() -> None:
    """End the group's threads before the interpreter does: gloo's may abort a process that ends while they run."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _like(parameter: torch.Tensor, flat: torch.Tensor) -> torch.Tensor:
    """Return numbers in the shape and the memory order of a parameter: the fused optimizer goes by the latter."""
    shaped = flat.view(parameter.shape)
    return shaped if parameter.is_contiguous() else torch.empty_like(parameter, requires_grad=False).copy_(shaped)


def local_rank() -> int:
    """Return the number of this process on its machine, which is the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))
