"""What validation looks for in signals; what many records share is said once, with the records counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ai4diag.types import Finding, Level

FLAT = 1e-6
"""Difference of the largest and the smallest value of a window, in its unit, below which nothing was recorded."""
PLATEAU_S = 0.02
"""A signal that stays so long at the extreme of its record was cut off by the recorder."""
SHOWN = 5

KINDS: dict[str, tuple[Level, str, str]] = {
    "missing-samples": ("warning", "a value per sample", "Those windows are left out; look why samples are missing."),
    "flat-line": ("warning", "a signal", "Those windows are left out: an electrode was off, or a lead not recorded."),
    "flat-channel": ("warning", "a signal in every channel", "They are kept; an electrode was off."),
    "saturated": ("warning", "a signal inside the recorder's range", "They are kept; amplitudes there are too small."),
    "window-outside": ("info", "a window inside the record", "They are left out; they still count as neighbours."),
    "beat-gap": ("warning", "a beat every 3 s", "Look whether beats are not annotated; their rhythm is unknown."),
    "no-class-beat": ("warning", "beats of the classes", "It has no case; look at its annotations, or remove it."),
    "too-short": ("warning", "a record as long as a window", "It has no case; shorten data.window, or remove it."),
}
"""For each code: level, what is expected, and the cure."""


@dataclass(frozen=True)
class Notice:
    """One thing noticed in one record: a code of `KINDS`, how often, and of what."""

    code: str
    record: str
    count: int
    what: str


def gather_notices(notices: Sequence[Notice]) -> list[Finding]:
    """Return one finding per code, which counts its records and names the first."""
    findings = []
    for code, (level, expected, cure) in KINDS.items():
        own = [notice for notice in notices if notice.code == code]
        if not own:
            continue
        what = own[0].what
        shown = ", ".join(f"{notice.record} ({notice.count})" for notice in own[:SHOWN])
        more = f", and {len(own) - SHOWN} more records" if len(own) > SHOWN else ""
        found = f"{sum(notice.count for notice in own)} {what}: {shown}{more}"
        findings.append(Finding(level, code, "signals", found, expected, cure))
    return findings


def plateaus(signal: npt.NDArray[np.float32], rate_hz: float) -> int:
    """Return how often a signal `(samples,)` stays at the record's extreme for `PLATEAU_S` or longer (3 samples)."""
    known = signal[~np.isnan(signal)]
    if not len(known) or known.min() == known.max():
        return 0
    least = max(3, round(PLATEAU_S * rate_hz))
    count = 0
    for extreme in (known.min(), known.max()):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], signal == extreme, [False]]).astype(np.int8)))
        count += int((edges[1::2] - edges[::2] >= least).sum())
    return count
