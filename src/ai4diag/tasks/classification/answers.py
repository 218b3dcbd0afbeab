"""What the outputs of a network stand for: losses and scores of each target.

A network gives for `binary` one logit, for `multiclass` one per class (softmax), for `multilabel` one per class
(sigmoid), and for `ordinal` one per step between classes: the logit that the truth lies above it (Cheng et al., A
neural network approach to ordinal regression, IJCNN 2008).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

HEAVIEST = 20.0
"""Largest weight of a rare finding; more would make single cases rule the gradient."""


def outputs(target: str, classes: int) -> int:
    """Return how many numbers a network gives.

    >>> outputs("binary", 2), outputs("multiclass", 5), outputs("multilabel", 5), outputs("ordinal", 5)
    (1, 5, 5, 4)
    """
    return {"binary": 1, "ordinal": classes - 1}.get(target, classes)


def wanted(target: str, truth: Tensor, classes: int) -> Tensor:
    """Return what a network should give, as probabilities `(cases, outputs)`.

    Args:
        target: what is predicted.
        truth: int64 `(cases,)`, class numbers; for `multilabel` `(cases, classes)` of 0 and 1.
        classes: their number.
    """
    if target == "multilabel":
        return truth.float()
    if target == "multiclass":
        return F.one_hot(truth, classes).float()
    return (truth[:, None] > torch.arange(classes - 1, device=truth.device)).float()


def class_weights(target: str, truth: Tensor, classes: int) -> Tensor:
    """Return the weight of positive and negative truth of each output, `(2, outputs)`, or of each class, `(classes,)`.

    Classes weigh so that each has the same sum over the cases, and the mean over cases is 1. Findings (`multilabel`)
    have a weight where they are there and one where they are not, at most `HEAVIEST`.
    """
    if target == "multilabel":
        share = truth.float().mean(dim=0).clamp(1e-6, 1 - 1e-6)
        return torch.stack([0.5 / share, 0.5 / (1 - share)]).clamp(max=HEAVIEST)
    counts = torch.bincount(truth, minlength=classes).float()
    present = int((counts > 0).sum())
    return torch.where(counts > 0, len(truth) / (present * counts.clamp(min=1)), torch.zeros_like(counts))


def loss(target: str, logits: Tensor, truth: Tensor, classes: int, smoothing: float, weights: Tensor | None) -> Tensor:
    """Return the mean cross-entropy over cases and members.

    Args:
        target: what is predicted.
        logits: `(members, cases, outputs)`.
        truth: as for `wanted`.
        classes: their number.
        smoothing: share of certainty that is spread over all classes.
        weights: from `class_weights`, or None.
    """
    goal = wanted(target, truth, classes)
    if target == "multiclass":
        smooth = goal * (1 - smoothing) + smoothing / classes
        each = -(smooth * F.log_softmax(logits.float(), dim=2)).sum(dim=2)
    else:
        smooth = (goal * (1 - smoothing) + smoothing / 2).expand_as(logits)
        parts = F.binary_cross_entropy_with_logits(logits.float(), smooth, reduction="none")
        if target == "multilabel" and weights is not None:
            parts = parts * torch.where(goal == 1, weights[0], weights[1])
        each = parts.mean(dim=2) if target == "multilabel" else parts.sum(dim=2)
    if weights is not None and target != "multilabel":
        each = each * weights[truth]
    return each.mean()


def probabilities(target: str, logits: Tensor) -> Tensor:
    """Return the probability of each class: `(..., outputs)` to `(..., classes)`, for `binary` of the positive alone.

    Of a scale the probabilities to lie above each step are made to fall from step to step before they are subtracted.
    """
    if target == "multiclass":
        return torch.softmax(logits.float(), dim=-1)
    above = torch.sigmoid(logits.float())
    if target != "ordinal":
        return above
    falling = torch.cummin(above, dim=-1).values
    ones, zeros = torch.ones_like(falling[..., :1]), torch.zeros_like(falling[..., :1])
    return torch.cat([ones, falling], dim=-1) - torch.cat([falling, zeros], dim=-1)


def table(target: str, scores: npt.NDArray[np.float32], classes: Sequence[str]) -> pd.DataFrame:
    """Return the columns of predictions: `score` of two classes, else `score_<class>`, from 0 to 1.

    Args:
        target: what is predicted.
        scores: `(cases, classes)`, or `(cases, 1)` of the positive class.
        classes: class names.
    """
    values = scores.astype(np.float64)
    if target == "binary":
        return pd.DataFrame({"score": values[:, 0]})
    return pd.DataFrame(values, columns=[f"score_{name}" for name in classes])
