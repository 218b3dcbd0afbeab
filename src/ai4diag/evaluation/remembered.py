"""Cases that are asked several times in the same resamples: each answer is computed once.

A comparison asks each model for its own interval and for its share of every difference, all with the same draws.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ai4diag.evaluation.bootstrap import Statistic

if TYPE_CHECKING:
    from ai4diag.evaluation.evaluate import Entries, Scores

Floats = npt.NDArray[np.float64]


class Remembered:
    """The same cases as `scores`, whose statistic answers weights that it has met before from memory."""

    def __init__(self, scores: Scores) -> None:
        self._scores = scores
        self._statistics: dict[tuple[tuple[str, str], ...], Statistic] = {}
        self.entries, self.presence = scores.entries, scores.presence
        self.undefined = getattr(scores, "undefined", None)

    def statistic(self, entries: Entries) -> Statistic:
        """Return the function from weights `(B, cases)` to values `(B, len(entries))`."""
        key = tuple(entries)
        if key not in self._statistics:
            self._statistics[key] = _remembering(self._scores.statistic(entries))
        return self._statistics[key]

    def counted(self, name: str, group: str) -> npt.NDArray[np.bool_] | None:
        """Return which cases a proportion is of, `(cases,)`; None for what is no proportion."""
        return self._scores.counted(name, group)

    def remark(self, name: str, value: float) -> str:
        """Return why a value is undefined or would mislead."""
        return self._scores.remark(name, value)

    def curves(self) -> dict[str, Any]:
        """Return curves and tables for the report."""
        return self._scores.curves()


def _remembering(statistic: Statistic) -> Statistic:
    known: dict[bytes, Floats] = {}

    def values(weights: Floats) -> Floats:
        mark = hashlib.blake2b(np.ascontiguousarray(weights).data, digest_size=16).digest()
        if mark not in known:
            known[mark] = statistic(weights)
        return known[mark]

    return values
