"""Harrell's C of all patients, and of 2,000 bootstrap resamples, beside lifelines (which draws copies of the cases).

1,000 patients, 15 % of them with the event, tied times. Lifelines is measured on 20 resamples and counted as 2,000.
"""

from __future__ import annotations

import numpy as np

from ai4diag.evaluation.survival import Outcomes
from benchmarks import Row, agree, repeat, side_by_side, versions

PATIENTS, RESAMPLES, OF_PEER = 1000, 2000, 20


def run() -> list[Row]:
    """Measure."""
    from lifelines.utils import concordance_index

    rng = np.random.default_rng(7)
    time, event = rng.integers(0, 300, PATIENTS).astype(float), rng.random(PATIENTS) < 0.15
    risk = rng.normal(size=PATIENTS) - time / 300
    drawn = rng.integers(0, PATIENTS, (RESAMPLES, PATIENTS))
    weights = np.stack([np.bincount(rows, minlength=PATIENTS) for rows in drawn]).astype(np.float64)
    outcomes = Outcomes(time, event)

    def of(rows: np.ndarray) -> float:
        return float(concordance_index(time[rows], -risk[rows], event[rows]))

    agree(outcomes.concordance(risk, weights[:OF_PEER]), [of(rows) for rows in drawn[:OF_PEER]], 1e-12)
    rows = []
    everyone = np.arange(PATIENTS)
    alone = side_by_side(repeat(lambda: Outcomes(time, event).concordance(risk), 5), repeat(lambda: of(everyone), 5))
    rows.append(Row("Harrell's C, 1,000 patients, 5 times", "lifelines", *alone, 1.0, versions("lifelines", "numpy")))
    ours_s, peer_s = side_by_side(
        lambda: outcomes.concordance(risk, weights), lambda: [of(rows) for rows in drawn[:OF_PEER]]
    )
    peer_s = peer_s.times(RESAMPLES / OF_PEER)
    note = f"lifelines: {OF_PEER} resamples, counted as {RESAMPLES:,}"
    name = "Harrell's C, 2,000 resamples of 1,000 patients"
    return [*rows, Row(name, "lifelines", ours_s, peer_s, 50.0, versions("lifelines", "numpy"), note)]
