"""Which epochs are recorded: all, unless they are so short that recording would cost more than 1 % of the training.

Storing a figure takes MLflow 0.07 to 0.15 ms, opening and closing a batch included. So a training may record one figure
per 20 ms of its own time: epochs of a tenth of a second and more are all recorded, of shorter ones some, the first and
the last always. The curves of the kept model have about fifty points in any case, which takes 20 ms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ai4diag.tracking.names import curve_metrics

SECONDS_PER_FIGURE = 0.02
POINTS_OF_KEPT = 50

Figure = tuple[str, float, int]
"""Metric name, value, step."""


class Curves:
    """The curves of one training, that is, of one fold.

    Args:
        prefix: what the names of its metrics begin with, such as `fold_1/`; empty for the model that is kept.
        recorded: last step of each metric that an earlier process has recorded; what is not later is left out.
    """

    def __init__(self, prefix: str, recorded: Mapping[str, int]) -> None:
        self._prefix = prefix
        self._recorded = recorded
        self._passed_s = float("inf")
        self._held: Mapping[str, Any] = {}

    def epoch(self, fields: Mapping[str, Any]) -> Iterator[Figure]:
        """Give what to record of an `epoch` event: its figures, or nothing yet."""
        figures = list(self._figures(fields))
        self._passed_s += float(fields["seconds"])
        stride = max(1, int(fields["epochs"]) // POINTS_OF_KEPT)
        asked_for = not self._prefix and int(fields["epoch"]) % stride == 0
        if not asked_for and self._passed_s < len(figures) * SECONDS_PER_FIGURE:
            self._held = fields
            return
        self._passed_s, self._held = 0.0, {}
        yield from figures

    def finished(self, fields: Mapping[str, Any]) -> Iterator[Figure]:
        """Give the last epoch, if it was held back, and what the whole training came to."""
        if self._held:
            yield from self._figures(self._held)
        whole = {"best_epoch": fields["best_epoch"], "total_seconds": fields["seconds"]}
        whole |= {key: fields[key] for key in ("throughput",) if key in fields}
        yield from ((name, value, 0) for name, value in curve_metrics(whole, self._prefix))

    def _figures(self, fields: Mapping[str, Any]) -> Iterator[Figure]:
        step = int(fields["epoch"])
        for name, value in curve_metrics(fields, self._prefix):
            if step > self._recorded.get(name, -1):
                yield name, value, step
