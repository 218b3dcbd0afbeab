"""What is fixed before an epoch begins: its learning rates, and which cases come when."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch

from ai4diag.config.train import Train
from ai4diag.data.prepared import Prepared
from ai4diag.errors import ConfigError
from ai4diag.tasks.base import NetworkLearner


def learning_rate(step: int, steps: int, steps_per_epoch: int, settings: Train) -> float:
    """Return the learning rate of a step (0-based) out of `steps`.

    `constant` stays at `settings.learning_rate`; `cosine` falls from it to 0 along half a cosine; `one_cycle` rises
    along half a cosine from 4 % over the first 30 % and falls along half a cosine after it (Smith, arXiv:1708.07120).
    A warm-up multiplies the first `warmup_epochs` by a linear ramp.

    >>> learning_rate(50, 100, 10, Train(learning_rate=0.1, schedule="cosine"))
    0.05
    """
    peak, progress = settings.learning_rate, step / max(steps, 1)
    if settings.schedule == "constant":
        factor = 1.0
    elif settings.schedule == "cosine":
        factor = (1 + math.cos(math.pi * progress)) / 2
    else:
        rise = 0.3
        if progress < rise:
            factor = max(0.04, (1 - math.cos(math.pi * progress / rise)) / 2)
        else:
            factor = (1 + math.cos(math.pi * (progress - rise) / (1 - rise))) / 2
    warmup = settings.warmup_epochs * steps_per_epoch
    return peak * factor * min(1.0, (step + 1) / warmup if warmup else 1.0)


def parts_of(count: int, parts: int) -> list[slice]:
    """Divide `count` cases into at most `parts` nearly equal runs, the longer ones first, none of them empty.

    >>> parts_of(5, 2), parts_of(1, 4)
    ([slice(0, 3, None), slice(3, 5, None)], [slice(0, 1, None)])
    """
    parts = max(1, min(parts, count))
    size, more = divmod(count, parts)
    ends = [size * (number + 1) + min(number + 1, more) for number in range(parts)]
    return [slice(begin, end) for begin, end in zip([0, *ends], ends, strict=False)]


def balance_labels(balance: str, learner: NetworkLearner, prepared: Prepared, rows: np.ndarray) -> torch.Tensor | None:
    """Return what `train.balance` makes equally frequent, int64 `(cases,)`; None when it is `none`.

    Raises:
        ConfigError: the classes are asked for, and cases of this task have no single one.
    """
    if balance == "none":
        return None
    if balance == "patient":
        return torch.from_numpy(pd.factorize(prepared.index["patient_id"].iloc[rows])[0].astype(np.int64))
    if not hasattr(learner, "balance_labels"):
        raise ConfigError(
            "train.balance: class needs cases that have one class each; those of this task do not.",
            "Use balance: patient or none.",
        )
    return torch.from_numpy(np.asarray(learner.balance_labels(rows), np.int64))


def balanced(labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return an order of as many places as there are cases in which every label comes equally often, plus or minus one.

    Cases of a rare label come several times, of a frequent one not all; within a label no case comes a second time
    before every other one has come, and which ones are left out is drawn anew in each epoch.

    Args:
        labels: int64 `(cases,)`.
        generator: CPU generator.

    Returns:
        Positions in `labels`, int64 `(cases,)`.
    """
    kinds = torch.unique(labels)
    lucky = torch.randperm(len(kinds), generator=generator)  # who gets one more when it does not come out even
    quota = torch.full((len(kinds),), len(labels) // len(kinds))
    quota[lucky[: len(labels) % len(kinds)]] += 1
    chosen = []
    for kind, wanted in zip(kinds, quota.tolist(), strict=True):
        own = torch.nonzero(labels == kind)[:, 0]
        rounds = [own[torch.randperm(len(own), generator=generator)] for _ in range(-(-wanted // len(own)))]
        chosen += [torch.cat(rounds)[:wanted]] if rounds else []
    together = torch.cat(chosen)
    return together[torch.randperm(len(together), generator=generator)]
