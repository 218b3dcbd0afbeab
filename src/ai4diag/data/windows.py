"""Pieces of signals: another sampling rate, windows, and the rhythm around a beat."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
RHYTHM = ("rr_before", "rr_after")
"""Numbers that come with a beat: the intervals before and after it, over the mean of the intervals around it."""
SURROUNDING = 5
"""Intervals before and after a beat of which that mean is taken."""
LONGEST_S = 3.0
"""A longer interval is no interval between two beats: annotations are missing, or the record is interrupted."""


def resample(signals: Floats, rate_hz: float, wanted_hz: float) -> Floats:
    """Return signals `(channels, samples)` at another rate; sample `i` of the result lies at `i / wanted_hz` seconds.

    A polyphase filter that cuts what the new rate cannot carry (`scipy.signal.resample_poly`). Missing samples (NaN)
    are bridged by straight lines first: where they were, the caller must know.
    """
    bridged = bridge(signals)
    if rate_hz == wanted_hz:
        return bridged
    from scipy.signal import resample_poly

    ratio = Fraction(wanted_hz).limit_denominator(10_000) / Fraction(rate_hz).limit_denominator(10_000)
    result = resample_poly(bridged, ratio.numerator, ratio.denominator, axis=1, padtype="line")
    return np.ascontiguousarray(result, np.float32)


def bridge(signals: Floats) -> Floats:
    """Return `(channels, samples)` with straight lines over missing samples; 0 in a channel without any sample."""
    missing = np.isnan(signals)
    if not missing.any():
        return signals
    result, places = signals.copy(), np.arange(signals.shape[1])
    for channel, gaps in zip(result, missing, strict=True):
        known = ~gaps
        channel[gaps] = np.interp(places[gaps], places[known], channel[known]) if known.any() else 0
    return result


def cut(signals: npt.NDArray[np.generic], starts: Ints, length: int) -> npt.NDArray[np.generic]:
    """Return the windows of signals `(channels, samples)` that begin at `starts`, as `(windows, channels, length)`.

    Every window must lie inside: `0 <= start <= samples - length`.
    """
    views = np.lib.stride_tricks.sliding_window_view(signals, length, axis=1)
    return np.ascontiguousarray(views[:, starts].transpose(1, 0, 2))


def starts_around(times_s: npt.NDArray[np.float64], before_s: float, rate_hz: float) -> Ints:
    """Return the first sample of a window that begins `before_s` before each time; may be negative.

    >>> starts_around(np.array([1.0]), 0.25, 100).tolist()
    [75]
    """
    return (np.round(times_s * rate_hz) - round(before_s * rate_hz)).astype(np.int64)


def starts_of_fixed(samples: int, length: int, step: int) -> Ints:
    """Return the first sample of each window of a fixed length; what is left at the end is in none.

    >>> starts_of_fixed(10, 4, 3).tolist()
    [0, 3, 6]
    """
    return np.arange(0, samples - length + 1, step, dtype=np.int64)


def rhythm(times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return `RHYTHM` of each beat, `(beats, 2)`; NaN where there is no interval, or one over `LONGEST_S`.

    Args:
        times_s: of all beats of a record, increasing.

    An extrasystole comes early and is followed by a pause: first number below 1, second above. The mean is that of
    the ten intervals around the beat (de Chazal, IEEE Trans Biomed Eng 51:1196, 2004), fewer at the ends.

    >>> rhythm(np.array([0.0, 1.0, 1.5, 3.0, 4.0]))[2].round(2).tolist()
    [0.5, 1.5]
    """
    intervals = np.diff(times_s)
    usable = np.where((intervals > 0) & (intervals <= LONGEST_S), intervals, np.nan)
    count = len(times_s)
    before, after = np.concatenate([[np.nan], usable])[:count], np.concatenate([usable, [np.nan]])[:count]
    sums = np.concatenate([[0.0], np.cumsum(np.nan_to_num(usable))])
    known = np.concatenate([[0], np.cumsum(~np.isnan(usable))])
    low = np.clip(np.arange(count) - SURROUNDING, 0, len(usable))
    high = np.clip(np.arange(count) + SURROUNDING, 0, len(usable))
    with np.errstate(invalid="ignore", divide="ignore"):
        local = (sums[high] - sums[low]) / (known[high] - known[low])
        return np.column_stack([before / local, after / local])
