"""How a number from the estimates stands in a document: always with its interval, never bare."""

from __future__ import annotations

import math

from ai4diag.evaluation.report import words
from ai4diag.types import Estimate


def said(estimate: Estimate, level: float) -> str:
    """Return an estimate with its interval and what it rests on, as a document says it.

    Args:
        estimate: what to say.
        level: confidence level of the interval.

    >>> said(Estimate("auroc", 0.9958, 0.988, 1.0, 171, 171), 0.95)
    'AUROC 0.996 (95 % interval 0.988 to 1.000; 171 cases)'
    """
    on = words.counted(estimate.n, "case")
    if estimate.n_patients != estimate.n:
        on += f" of {words.counted(estimate.n_patients, 'patient')}"
    if math.isnan(estimate.value):
        return f"{words.name(estimate.name)} undefined ({estimate.note or 'too little data'}; {on})"
    return f"{words.name(estimate.name)} {words.number(estimate.value)} ({interval(estimate, level)}; {on})"


def interval(estimate: Estimate, level: float) -> str:
    """Return the interval of an estimate, or that there is none.

    >>> interval(Estimate("dice", 0.5, float("nan"), float("nan"), 3, 3), 0.95)
    'no interval'
    """
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return "no interval"
    return f"{100 * level:g} % interval {words.limits(estimate)}"
