"""The partial likelihood of proportional hazards, its minimum for a linear log risk, and the baseline hazard.

The partial likelihood compares each event with everybody who was at risk then (Cox, JRSS B 34:187, 1972). Who was at
risk, and by what share where events are tied, is one matrix `(events, cases)` of log shares; the loss and its
derivatives are sums over it, without sorting, scattering or loops. It takes 8 bytes per event and case: batches of
networks keep it small, and the linear fit walks over it in blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

Floats = npt.NDArray[np.float64]
BLOCK = 10_000_000
"""Events x cases that are held at once while a linear model is fitted: 80 MB a matrix."""
HALVINGS = 20
CLOSE = 1e-9
"""Largest relative step at which Newton's method has arrived."""


def log_at_risk(
    time: torch.Tensor, event: torch.Tensor, ties: str, rows: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return by which share each case is at risk at each event.

    Args:
        time: float `(cases,)`, time under observation.
        event: bool `(cases,)`, whether it ended with the event.
        ties: `breslow`: events at the same time are all fully at risk; `efron`: of d such events the second counts
            each with 1 - 1/d, the third with 1 - 2/d, and so on.
        rows: the events to look at, int64 `(events,)`; None: all.

    Returns:
        the events, int64 `(events,)`, and the logarithm of the shares `(events, cases)`, minus infinity for no risk.
    """
    every = event.nonzero().flatten()
    own = every if rows is None else rows
    shares = (time >= time[own, None]).to(time.dtype if time.is_floating_point() else torch.float32)
    if ties == "efron":
        tied = (time == time[own, None]) & event
        before = (tied & (torch.arange(len(time), device=time.device) < own[:, None])).sum(dim=1)
        shares = shares - tied * (before / tied.sum(dim=1))[:, None].to(shares.dtype)
    return own, shares.log()


def partial_loss(log_risk: torch.Tensor, time: torch.Tensor, event: torch.Tensor, ties: str) -> torch.Tensor:
    """Return the negative log partial likelihood per event, a scalar; 0 without events.

    Args:
        log_risk: float `(cases,)`.
        time, event, ties: as `log_at_risk` has them.
    """
    own, shares = log_at_risk(time.to(log_risk.dtype), event, ties)
    if not len(own):
        return log_risk.sum() * 0
    return torch.logsumexp(shares + log_risk, dim=1).mean() - log_risk[own].mean()


@dataclass(frozen=True)
class Newton:
    """State after a step of `fit_linear`.

    Attributes:
        weights: float64 `(columns,)`.
        loss: negative log partial likelihood plus penalty, per event.
        length: share of the full step that was taken.
    """

    weights: torch.Tensor
    loss: float
    length: float


def fit_linear(
    columns: torch.Tensor,
    time: torch.Tensor,
    event: torch.Tensor,
    *,
    ties: str,
    l2: float,
    steps: int,
    notify: Callable[[int, Newton], None],
) -> torch.Tensor:
    """Return the weights of the linear log risk that minimise negative log partial likelihood + `l2 / 2 * |w|^2`.

    Newton's method from zero, with the step halved until the loss falls. Where columns are collinear and nothing is
    penalised, the shortest of the equally good answers is taken.

    Args:
        columns: float64 `(cases, columns)`.
        time, event, ties: as `log_at_risk` has them; there must be an event.
        l2: penalty.
        steps: at most so many.
        notify: told after each step: its number, from 1, and the state.
    """
    weights = columns.new_zeros(columns.shape[1])
    count = int(event.sum())
    loss, gradient, curvature = _derivatives(columns, time, event, ties, l2, weights)
    for step in range(1, steps + 1):
        direction = torch.linalg.pinv(curvature, hermitian=True, rtol=1e-12) @ gradient
        length = 1.0
        for _ in range(HALVINGS):
            tried = weights - length * direction
            found = _derivatives(columns, time, event, ties, l2, tried)
            if found[0] <= loss:
                break
            length /= 2
        else:
            break
        weights, (loss, gradient, curvature) = tried, found
        notify(step, Newton(weights, float(loss) / count, length))
        if float((length * direction).abs().max()) < CLOSE * (1 + float(weights.abs().max())):
            break
    return weights


def _derivatives(
    columns: torch.Tensor, time: torch.Tensor, event: torch.Tensor, ties: str, l2: float, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the penalised loss (sum over events), its gradient and its matrix of second derivatives."""
    log_risk = columns @ weights
    every = event.nonzero().flatten()
    loss = 0.5 * l2 * weights.square().sum() - log_risk[every].sum()
    gradient = l2 * weights - columns[every].sum(dim=0)
    curvature = l2 * torch.eye(len(weights), dtype=columns.dtype)
    mass = torch.zeros_like(log_risk)
    for rows in torch.split(every, max(1, BLOCK // len(time))):
        risks = log_at_risk(time, event, ties, rows)[1] + log_risk
        total = torch.logsumexp(risks, dim=1)
        chance = (risks - total[:, None]).exp()  # that it is this case, given that it is one of those at risk
        mean = chance @ columns
        loss = loss + total.sum()
        gradient = gradient + mean.sum(dim=0)
        curvature = curvature - mean.T @ mean
        mass += chance.sum(dim=0)
    return loss, gradient, curvature + columns.T @ (mass[:, None] * columns)


@dataclass(frozen=True)
class Baseline:
    """Cumulative hazard of a case with log risk 0 (Breslow, Biometrics 30:89, 1974).

    Attributes:
        days: times of the events of the training part, rising.
        hazard: cumulative hazard from each of them on.
        last_day: longest time under observation; nothing is known beyond it.
    """

    days: Floats
    hazard: Floats
    last_day: float

    @classmethod
    def learn(cls, log_risk: Floats, time: Floats, event: npt.NDArray[np.bool_]) -> Baseline:
        """Learn from the training part: `(cases,)` each."""
        order = np.argsort(-time, kind="stable")
        at_risk = np.cumsum(np.exp(log_risk[order]))
        days, deaths = np.unique(time[event], return_counts=True)
        last = np.searchsorted(-time[order], -days, side="right") - 1  # the last of those with at least this time
        return cls(days, np.cumsum(deaths / at_risk[last]), float(time.max()))

    def survival(self, log_risk: Floats, days: Floats) -> Floats:
        """Return the probability to be without the event at `days` `(times,)`, `(cases, times)`.

        NaN beyond the last day that anybody of the training part was under observation.
        """
        upto = np.searchsorted(self.days, days, side="right")
        cumulative = np.append(0.0, self.hazard)[upto]
        found: Floats = np.exp(-np.exp(log_risk)[:, None] * cumulative)
        found[:, np.asarray(days) > self.last_day] = np.nan
        return found
