"""Drawn electrocardiograms of 12 leads with the five diagnostic superclasses of PTB-XL, as WFDB records.

Each heart has its own rate, axis and amplitudes; a disease changes what textbooks say it changes. Nothing here was
measured on anybody, and whoever can tell these drawings apart has learned nothing about patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

LEADS = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")
RATE_HZ, SECONDS = 100, 10
STATEMENTS = {"NORM": "NORM", "IMI": "MI", "ASMI": "MI", "NST_": "STTC", "ISC_": "STTC", "CLBBB": "CD", "LVH": "HYP"}
"""Statements that are drawn, and their diagnostic superclass."""
R_WAVE = np.array([0.6, 1.0, 0.4, -0.8, 0.2, 0.7, 0.2, 0.4, 0.7, 1.1, 1.2, 1.0])
S_WAVE = np.array([0.1, 0.1, 0.1, 0.0, 0.1, 0.1, 0.9, 1.1, 0.8, 0.5, 0.3, 0.2])
T_WAVE = np.array([0.2, 0.3, 0.1, -0.25, 0.1, 0.2, 0.05, 0.3, 0.4, 0.4, 0.3, 0.25])
INFERIOR, SEPTAL, LATERAL = (1, 2, 5), (6, 7, 8), (0, 4, 10, 11)
"""Positions of the leads that look at a wall of the heart."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DrawnEcg:
    """A drawn record.

    Attributes:
        samples: int16 `(samples, 12)` in microvolts.
        codes: statements, `SR` (sinus rhythm) first.
    """

    samples: npt.NDArray[np.int16]
    codes: tuple[str, ...]


def draw_ecg(codes: Sequence[str], rng: np.random.Generator) -> DrawnEcg:
    """Draw ten seconds of a heart with the diagnoses `codes` (keys of `STATEMENTS`)."""
    strength = rng.uniform(0.6, 1.2)
    r, s, t = (wave * rng.normal(1, 0.15, 12) for wave in (R_WAVE, S_WAVE, T_WAVE))
    q, st, width = np.zeros(12), np.zeros(12), 0.018
    if "IMI" in codes or "ASMI" in codes:
        wall = list(INFERIOR if "IMI" in codes else SEPTAL)
        q[wall], r[wall] = 0.35 * strength, 0.5 * r[wall]
        st[wall] = 0.15 * strength
    if "NST_" in codes or "ISC_" in codes:
        wall = list(LATERAL)
        t[wall], st[wall] = -0.8 * strength * t[wall], -0.1 * strength
    if "CLBBB" in codes:
        width *= 1.0 + 1.2 * strength
    if "LVH" in codes:
        r[[4, 10, 11]] += 0.9 * strength
        s[[6, 7]] += 0.9 * strength
    time = np.arange(SECONDS * RATE_HZ) / RATE_HZ
    signal = rng.normal(0, 0.015, (len(time), 12))
    signal += rng.uniform(0, 0.1) * np.sin(2 * np.pi * (rng.uniform(0.15, 0.4) * time[:, None] + rng.random(12)))
    interval, beat = rng.uniform(0.6, 1.1), rng.uniform(0, 0.5)
    while beat < SECONDS:
        signal += _waves(time - beat, q, r, s, t, st, width)
        beat += interval * rng.normal(1, 0.03)
    return DrawnEcg(np.round(signal.clip(-30, 30) * 1000).astype(np.int16), ("SR", *codes))


def _waves(time: Floats, q: Floats, r: Floats, s: Floats, t: Floats, st: Floats, width: float) -> Floats:
    """Return one beat `(samples, 12)` in mV; `time` in seconds from its R peak."""

    def bump(at: float, spread: float) -> Floats:
        return np.asarray(np.exp(-(((time - at) / spread) ** 2)))[:, None]

    beat = 0.1 * bump(-0.16, 0.035) - q * bump(-2.0 * width, width) + r * bump(0, width) - s * bump(2.0 * width, width)
    return np.asarray(beat + st * bump(0.12, 0.06) + t * bump(0.28, 0.06))


def write_drawn(folder: Path, name: str, ecg: DrawnEcg) -> list[str]:
    """Write a WFDB record of 16-bit samples, 1 microvolt each; return the names of its two files."""
    folder.mkdir(parents=True, exist_ok=True)
    count, leads = ecg.samples.shape
    lines = [f"{name} {leads} {RATE_HZ} {count}"]
    for lead, values in zip(LEADS, ecg.samples.T.astype(np.int64), strict=True):
        checksum = (int(values.sum()) + 2**15) % 2**16 - 2**15
        lines.append(f"{name}.dat 16 1000(0)/mV 16 0 {values[0]} {checksum} 0 {lead}")
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n", encoding="ascii")
    (folder / f"{name}.dat").write_bytes(ecg.samples.astype("<i2").tobytes())
    return [f"{name}.hea", f"{name}.dat"]
