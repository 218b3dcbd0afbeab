"""Deterministic algorithms: torch is asked for them while a network is trained, and what has none is listed.

torch knows of some of its operations that they add up in an order that changes; of those, and only those, it warns or
raises. It does not know of what is chosen by time (`train.precision: probe`) or by memory; the loop lists these itself.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ai4diag.errors import TrainingError

SAYS = r"(?si).*(does not have a deterministic implementation|deterministic behavior was enabled|non-?deterministic)"
"""How torch's warnings and errors about an operation that is not deterministic read."""
CUBLAS = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
"""With this setting matrix products on a GPU give the same bits each time (NVIDIA, cuBLAS, "Results reproducibility");
read when a process first multiplies there."""


@contextmanager
def deterministic(mode: str = "auto") -> Iterator[list[str]]:
    """Ask torch for deterministic algorithms inside; the settings found before are restored.

    New memory is not filled with NaN, as torch would do beside it: that finds readers of memory nobody has written, and
    costs more than a tenth of the time of a small network.

    Args:
        mode: `strict` raises where there is no such algorithm, `warn` lists it and goes on, `auto` is strict on a
            machine without a GPU.

    Yields:
        What was not deterministic so far, in words, each once; others may add to it.

    Raises:
        TrainingError: strict, and an operation has no deterministic algorithm.
    """
    before, warn_only, fill = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
    )
    gpu = torch.cuda.is_available()
    if gpu:
        os.environ.setdefault(*CUBLAS)
    _set_deterministic(True, warn_only=mode == "warn" or (mode == "auto" and gpu))
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    found: list[str] = []
    try:
        with _heard(found):
            yield found
    except RuntimeError as error:
        if not re.match(SAYS, str(error)):
            raise
        raise TrainingError(
            f"{operation(str(error))} has no deterministic algorithm in torch on {device()}.",
            "With `train.deterministic: warn` it is used nevertheless, and listed in the run.",
        ) from error
    finally:
        _set_deterministic(before, warn_only=warn_only)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


def note(found: list[str], what: str) -> None:
    """Add to what was not deterministic, with the device on which it ran, unless it is there already."""
    said = f"{what}, on {device()}"
    if said not in found:
        found.append(said)


def device() -> str:
    """Return the name of the kind of device that training uses here."""
    return f"cuda ({torch.cuda.get_device_name()})" if torch.cuda.is_available() else "cpu"


def operation(said: str) -> str:
    """Return which operation torch speaks of.

    >>> operation("put_ does not have a deterministic implementation, but you set ...")
    'put_'
    >>> operation("Deterministic behavior was enabled with ... because it uses CuBLAS and you have CUDA >= 10.2 ...")
    'matrix products of cuBLAS'
    """
    named = re.match(r"(\S+) does not have a deterministic implementation", said)
    if named:
        return named[1]
    return "matrix products of cuBLAS" if "CuBLAS" in said else said.split(". ")[0].strip().rstrip(".")


@contextmanager
def _heard(found: list[str]) -> Iterator[None]:
    """Note torch's warnings, instead of showing them; others are shown as ever."""
    with warnings.catch_warnings():
        warnings.filterwarnings("default", message=SAYS, category=UserWarning)  # once for each place in the code
        shown = warnings.showwarning

        def hear(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if category is UserWarning and re.match(SAYS, str(message)):
                note(found, operation(str(message)))
            else:
                shown(message, category, *where, **more)

        warnings.showwarning = hear
        yield


def _set_deterministic(mode: bool, *, warn_only: bool) -> None:
    """As `torch.use_deterministic_algorithms`, which imports the compiler to tell it: a second before the first step.

    Without CUDA the compiler has nothing to be told.
    """
    if torch.cuda.is_available() or "torch._inductor" in sys.modules:
        torch.use_deterministic_algorithms(mode, warn_only=warn_only)
    else:
        torch._C._set_deterministic_algorithms(mode, warn_only=warn_only)
