"""Copies of one another among signals: cut from one recording that was saved twice, under two names."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ai4diag.data.leaks.copies import ALIKE, Floats, Ints, Pair, judged, nearest, same_from

PLAIN = 384
"""Values of a case up to which cases are compared whole; longer ones are projected to as many random directions."""
MARGIN = 0.2
"""By so much may the correlation of projections be too small."""
_BLOCK = 2048


def similar_signals(signals: npt.NDArray[np.float32], patients: Ints, rows: Ints) -> list[Pair]:
    """Find pairs of cases of different patients that hold the same samples, up to scale, offset and rounding.

    Two normal beats of two hearts have nearly the same shape; what a copy shares beyond that is the small print, so
    that slopes are compared, with large ones compressed.

    Args:
        signals: `(cases, channels, samples)`, read in blocks.
        patients: `(cases,)`, numbers; cases of one patient are not compared.
        rows: cases for which a copy is looked for, among all.

    Returns:
        Each pair once, the most similar first.
    """
    length = int(np.prod(slopes(signals[:1]).shape[1:]))
    if len(signals) < 2 or length < 8:
        return []
    draw = np.random.default_rng(0).standard_normal((length, PLAIN)).astype(np.float32) if length > PLAIN else None
    places = np.concatenate([_placed(signals[at : at + _BLOCK], draw) for at in range(0, len(signals), _BLOCK)])
    candidates, closeness = nearest([places], patients, rows)
    least = ALIKE - (MARGIN if draw is not None else 0)
    kept = np.flatnonzero(closeness[:, 0] >= least) if len(rows) else np.zeros(0, np.int64)
    values = np.zeros((len(kept), candidates.shape[1]), np.float32)
    for number, query in enumerate(kept):
        own = slopes(signals[rows[query]][None])[0]
        values[number] = slopes(signals[candidates[query]]) @ own
    values[~np.isfinite(closeness[kept])] = -np.inf  # of the same patient
    return judged(rows[kept], candidates[kept], values, len(signals), same_from(closeness[:, -1]))


def slopes(signals: npt.NDArray[np.float32]) -> Floats:
    """Return `(cases, channels, samples)` as differences of neighbouring samples, compressed, of length 1, in a row."""
    steps = np.diff(np.nan_to_num(np.asarray(signals, np.float32)), axis=-1)
    usual = np.abs(steps).mean(axis=-1, keepdims=True)
    flat = np.tanh(steps / np.where(usual > 0, usual, np.inf)).reshape(len(steps), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    found: Floats = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return found


def _placed(signals: npt.NDArray[np.float32], draw: Floats | None) -> Floats:
    flat = slopes(signals)
    if draw is None:
        return flat
    turned = flat @ draw
    found: Floats = turned / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-6)
    return found
