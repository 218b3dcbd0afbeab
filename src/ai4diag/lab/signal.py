"""A picture of a signal case: every channel over time, in its unit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ai4diag.lab.drawing import Picture, figure, picture

WIDTH_IN = 7.0
HEIGHTS_IN = (0.9, 2.2)
"""Height of a channel: of many, and of one or two."""
INK = "#1a1a1a"


def draw_signal(
    samples: npt.NDArray[np.floating],
    rate_hz: float,
    unit: str,
    leads: Sequence[str],
    beat_s: float | None,
    said: str,
) -> Picture:
    """Return the picture of one signal.

    Args:
        samples: `(channels, samples)` in `unit`.
        rate_hz: samples per second.
        unit: such as `mV`.
        leads: names of the channels.
        beat_s: seconds from the first sample to the annotated beat, where the case is a window around one; the axis
            then counts from the beat.
        said: what is true and what was answered, in words.
    """
    channels, count = samples.shape
    seconds = np.arange(count) / rate_hz - (beat_s or 0.0)
    height = HEIGHTS_IN[1] if channels <= 2 else HEIGHTS_IN[0]
    drawn = figure(WIDTH_IN, height * channels + 0.6)
    each = drawn.subplots(channels, 1, sharex=True, squeeze=False)[:, 0]
    for axes, values, lead in zip(each, samples, leads, strict=True):
        axes.plot(seconds, values, color=INK, linewidth=0.9)
        axes.set_ylabel(f"{lead} ({unit})" if channels <= 2 else f"{lead}\n({unit})", fontsize=8)
        axes.grid(visible=True, color="#d9d9d9", linewidth=0.6)
        axes.tick_params(labelsize=7)
        if beat_s is not None:
            axes.axvline(0, color="#8a4f00", linewidth=1.2, linestyle="--")
    if beat_s is not None:
        each[0].annotate("beat", (0, 1), xycoords=("data", "axes fraction"), xytext=(3, -9), textcoords="offset points",
                         fontsize=8, color="#8a4f00")  # fmt: skip
    each[-1].set_xlabel("time from the beat (s)" if beat_s is not None else "time (s)", fontsize=8)
    each[-1].set_xlim(seconds[0], seconds[0] + count / rate_hz)
    ranges = ", ".join(
        f"{lead} from {values.min():.2g} to {values.max():.2g} {unit}"
        for lead, values in zip(leads, samples, strict=True)
    )
    around = "" if beat_s is None else f", from {beat_s:g} s before the beat (dashed line) on"
    what = f"Signal of {count / rate_hz:g} s at {rate_hz:g} samples per second{around}."
    return picture(drawn, f"{what} {said} {ranges}.", what)
