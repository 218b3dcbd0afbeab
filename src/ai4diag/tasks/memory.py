"""Memory that may not be enough: what fits on a device, and what to do once it does not.

Learners use this (`ai4diag.tasks.base`); the training loop halves its own batches.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar, overload

import psutil
import torch

from ai4diag.errors import MachineError

Result = TypeVar("Result")

RESERVE = 0.5
"""Share of the free memory that cases may take; the rest is for weights, activations and everybody else."""
_CPU_SAYS = ("can't allocate memory", "not enough memory")


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on whatever device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _CPU_SAYS)


def free_bytes(device: torch.device) -> int:
    """Return the bytes that are free on a device: of the GPU, else of the machine."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    return int(psutil.virtual_memory().available)


def fits(size: int, device: torch.device) -> bool:
    """Return whether `size` bytes of cases fit on a device beside the training.

    >>> fits(1, torch.device("cpu")), fits(10**18, torch.device("cpu"))
    (True, False)
    """
    return size <= RESERVE * free_bytes(device)


def release() -> None:
    """Give back what a failed attempt held; call it outside the `except` block, whose error keeps tensors alive."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@overload
def halving(
    work: Callable[[int], Result], size: int, *, divisor: int = 1, changed: Callable[[int], None] = ...
) -> Result: ...


@overload
def halving(
    work: Callable[[tuple[int, ...]], Result],
    size: tuple[int, ...],
    *,
    divisor: int = 1,
    changed: Callable[[tuple[int, ...]], None] = ...,
) -> Result: ...


def halving(
    work: Callable[..., Result],
    size: int | tuple[int, ...],
    *,
    divisor: int = 1,
    changed: Callable[..., None] = lambda size: None,
) -> Result:
    """Return `work(size)`; when memory runs out, once more with half the size.

    For predictions in windows, where a smaller window changes little, or in batches, where it changes nothing.

    Args:
        work: what needs memory.
        size: cases at once, or the sides of a window in pixels or voxels.
        divisor: what the sides must be multiples of; halves are rounded down to one, never below it.
        changed: told of the smaller size, so that it can be said in the run.

    Raises:
        MachineError: memory ran out a second time, or there is nothing to halve.

    >>> halving(lambda window: window, (96, 96, 40), divisor=8)
    (96, 96, 40)
    """
    try:
        return work(size)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
    release()
    smaller = _half(size, divisor) if isinstance(size, int) else tuple(_half(side, divisor) for side in size)
    if smaller != size:
        changed(smaller)
        try:
            return work(smaller)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
    tried = f"with {size} and with {smaller}" if smaller != size else f"with {size}"
    raise MachineError(
        f"Memory ran out {tried}.", "End other work on this machine or GPU, or make windows or batches smaller."
    )


def _half(side: int, divisor: int) -> int:
    return max(side // 2 // divisor * divisor, min(side, divisor))
