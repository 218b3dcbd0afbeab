"""From one record to its cases: channels, rate, windows, rhythm; the same for known records and for new ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ai4diag.config.timeseries import Window
from ai4diag.data.check_signals import FLAT, Notice, plateaus
from ai4diag.data.problems import ReadError
from ai4diag.data.readers.wfdb_annotations import read_annotations
from ai4diag.data.readers.wfdb_records import Record, read_record
from ai4diag.data.windows import LONGEST_S, cut, resample, rhythm, starts_around, starts_of_fixed
from ai4diag.errors import did_you_mean

Floats = npt.NDArray[np.float32]
MILLIVOLTS = {"V": 1e3, "mV": 1.0, "uV": 1e-3}


@dataclass(frozen=True)
class Cutting:
    """How records become cases; it goes to `prepared.json` and to the model, which cuts new records alike.

    Attributes:
        channels: names or positions of the signals.
        unit: physical unit of the samples.
        sample_rate_hz: rate of the cases; None: that of the record.
        window: piece of a record that is one case; None: the whole record.
        annotation: ending of the annotation files, if there are any.
        symbols: class to symbols of beats.
        other_beats, no_beats: symbols of beats that are no case, and of what is no beat.
    """

    channels: tuple[str | int, ...]
    unit: str = "mV"
    sample_rate_hz: float | None = None
    window: Window | None = None
    annotation: str | None = None
    symbols: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    other_beats: tuple[str, ...] = ()
    no_beats: tuple[str, ...] = ()

    @property
    def around_beats(self) -> bool:
        """Whether a case is a window around a beat."""
        return self.window is not None and self.window.around is not None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        plain = asdict(replace(self, window=None))
        return {**plain, "window": None if self.window is None else self.window.model_dump(mode="json")}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Cutting:
        """Read what `as_dict` gave, also after JSON."""
        lists = {name: tuple(values[name]) for name in ("channels", "other_beats", "no_beats")}
        symbols = {name: tuple(ones) for name, ones in values["symbols"].items()}
        window = None if values["window"] is None else Window.model_validate(values["window"])
        return cls(**{**values, **lists, "symbols": symbols, "window": window})


@dataclass(frozen=True)
class RecordCases:
    """The cases of one record, in the order of time.

    Attributes:
        signals: `(cases, channels, samples)` in `Cutting.unit`, without missing values.
        times_s: `(cases,)`: of the beat, or of the window's first sample.
        rhythm: `(cases, 2)`, `ai4diag.data.windows.RHYTHM`; `(cases, 0)` where windows are not around beats.
        labels: bool `(cases, classes)` from the symbols; `(cases, 0)` without symbols.
        leads: names of the channels in this record; those of differences come last.
        rate_hz: sampling rate of `signals`.
        scale: `(channels,)`, typical standard deviation of a window of this record.
        notices: what was noticed.
    """

    signals: Floats
    times_s: npt.NDArray[np.float64]
    rhythm: npt.NDArray[np.float64]
    labels: npt.NDArray[np.bool_]
    leads: tuple[str, ...]
    rate_hz: float
    scale: Floats
    notices: tuple[Notice, ...]


@dataclass(frozen=True)
class Beats:
    """Beats of a record: times in seconds, and class number of each, -1 for beats that are no case."""

    times_s: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int64]


def read_cases(path: Path, name: str, cutting: Cutting) -> RecordCases:
    """Read a record with its annotations, and cut it.

    Args:
        path: the record, without ending.
        name: what findings call it.
        cutting: how.

    Raises:
        ReadError: a file cannot be read, the unit is another, or an annotation has an unknown symbol.
    """
    record = read_record(path, name, cutting.channels)
    beats = read_beats(path, record, cutting) if cutting.annotation is not None else None
    return cut_record(record, cutting, beats)


def read_beats(path: Path, record: Record, cutting: Cutting) -> Beats:
    """Return the annotated beats of a record.

    Raises:
        ReadError: no such file, a symbol that the card does not know, a beat behind the end, or no beat at all.
    """
    ending = str(cutting.annotation)
    found = read_annotations(path, ending, record.name)
    times_s = found.samples / (found.rate_hz or record.sample_rate_hz)
    class_of = {symbol: number for number, own in enumerate(cutting.symbols.values()) for symbol in own}
    class_of |= dict.fromkeys(cutting.other_beats, -1) | dict.fromkeys(cutting.no_beats, -2)
    where = f"{record.name}.{ending}"
    for time_s, symbol in zip(times_s, found.symbols, strict=True):
        if symbol not in class_of:
            what = f"symbol '{symbol}' at {time_s:.2f} s"
            cure = f"{did_you_mean(symbol, class_of)} Add it to symbols, other_beats or no_beats of the card."
            raise ReadError(where, what, "a symbol of the card", cure)
    length_s = record.signals.shape[1] / record.sample_rate_hz
    if len(times_s) and times_s[-1] >= length_s:
        what = f"an annotation at {times_s[-1]:.2f} s"
        raise ReadError(where, what, f"less than {length_s:.2f} s, the length", "Use the record's own file.")
    classes = np.array([class_of[symbol] for symbol in found.symbols], np.int64)
    if not (classes >= -1).any():
        raise ReadError(where, "no beat", "annotated beats", "Add the annotations, or leave the record out.")
    is_beat = classes >= -1
    return Beats(times_s[is_beat], classes[is_beat])


def cut_record(record: Record, cutting: Cutting, beats: Beats | None) -> RecordCases:
    """Cut a record into cases; windows that reach out of it, hold missing samples or nothing at all are left out.

    Raises:
        ReadError: the unit is another, or windows are around beats and there are none.
    """
    signals, rate = _in_unit(record, cutting.unit), cutting.sample_rate_hz or record.sample_rate_hz
    notices = []
    clipped = sum(plateaus(channel, record.sample_rate_hz) for channel in signals)
    if clipped:
        notices.append(Notice("saturated", record.name, clipped, "places where the signal is cut off"))
    notices += _gaps(record, beats)
    packed = resample(signals, record.sample_rate_hz, rate)
    starts, length, times_s, which = _starts(packed.shape[1], cutting, beats, rate)
    inside = (starts >= 0) & (starts + length <= packed.shape[1])
    if not inside.all():
        notices.append(Notice("window-outside", record.name, int((~inside).sum()), "windows that reach out"))
    if not len(starts) and cutting.around_beats:
        notices.append(Notice("no-class-beat", record.name, 1, "records without a beat of a class"))
    elif not len(starts):
        notices.append(Notice("too-short", record.name, 1, "records shorter than a window"))
    whole = inside.copy()
    whole[inside] = ~_missing(signals, starts[inside], length, record.sample_rate_hz / rate)
    if (inside & ~whole).any():
        notices.append(Notice("missing-samples", record.name, int((inside & ~whole).sum()), "windows with gaps"))
    pieces = cut(packed, starts[whole], length).astype(np.float32) if length <= packed.shape[1] else None
    if pieces is None:
        pieces = np.empty((0, len(packed), length), np.float32)
    flat = np.asarray(np.ptp(pieces, axis=2) < FLAT)
    dead = np.asarray(flat.all(axis=1))
    notices += _flat(record, flat)
    kept, pieces = np.flatnonzero(whole)[~dead], pieces[~dead]
    scale = np.median(pieces.std(axis=2, dtype=np.float64), axis=0) if len(pieces) else np.ones(len(packed))
    leads = record.channels
    if cutting.window is not None and cutting.window.compare:
        pieces = np.concatenate([pieces, unlike_usual(pieces)], axis=1)
        scale, leads = np.tile(scale, 2), (*leads, *(f"{lead}, difference" for lead in leads))
    return RecordCases(
        signals=pieces,
        times_s=times_s[kept],
        rhythm=rhythm(beats.times_s)[which[kept]] if beats is not None and cutting.around_beats else _none(len(kept)),
        labels=_labels(beats, cutting, times_s[kept], which[kept], length / rate),
        leads=leads,
        rate_hz=rate,
        scale=np.where(scale > FLAT, scale, 1).astype(np.float32),
        notices=tuple(notices),
    )


def unlike_usual(pieces: Floats) -> Floats:
    """Return the difference of windows `(windows, channels, samples)` from the median window, levels taken off."""
    centred = pieces - np.median(pieces, axis=2, keepdims=True)
    return centred - np.median(centred, axis=0) if len(pieces) else pieces


def _starts(
    samples: int, cutting: Cutting, beats: Beats | None, rate: float
) -> tuple[npt.NDArray[np.int64], int, npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return first samples and length of the windows, their times, and the number of the beat of each."""
    window = cutting.window
    if window is None:
        return np.zeros(1, np.int64), samples, np.zeros(1), np.zeros(1, np.int64)
    if window.around is None:
        length = round(float(window.length_s or 0) * rate)
        step = max(1, round(float(window.step_s or window.length_s or 0) * rate))
        starts = starts_of_fixed(samples, length, step)
        return starts, length, starts / rate, np.zeros(len(starts), np.int64)
    if beats is None:
        raise ReadError("signals", "no annotated beats", "beats to cut windows around", "Give annotation and symbols.")
    which = np.flatnonzero(beats.classes >= 0)
    times = beats.times_s[which]
    return (
        starts_around(times, window.before_s, rate),
        round((window.before_s + window.after_s) * rate),
        times,
        which,
    )


def _labels(
    beats: Beats | None,
    cutting: Cutting,
    times_s: npt.NDArray[np.float64],
    which: npt.NDArray[np.int64],
    length_s: float,
) -> npt.NDArray[np.bool_]:
    """Return the class of each beat; or of a longer window the last class of the card that a beat in it is of."""
    labels = np.zeros((len(times_s), len(cutting.symbols)), bool)
    if not cutting.symbols or beats is None:
        return labels[:, :0]
    if cutting.around_beats:
        labels[np.arange(len(which)), np.maximum(beats.classes[which], 0)] = True
        return labels
    low, high = np.searchsorted(beats.times_s, times_s), np.searchsorted(beats.times_s, times_s + length_s)
    for row, (first, last) in enumerate(zip(low, high, strict=True)):
        labels[row, max(int(beats.classes[first:last].max(initial=0)), 0)] = True
    return labels


def _missing(signals: Floats, starts: npt.NDArray[np.int64], length: int, step: float) -> npt.NDArray[np.bool_]:
    """Whether a window covers a missing sample; `step` is original samples per sample of the windows."""
    lost = np.asarray(np.isnan(signals).any(axis=0))
    if not lost.any():
        return np.zeros(len(starts), bool)
    total = np.concatenate([[0], np.cumsum(lost)])
    low = np.floor(starts * step).astype(np.int64)
    high = np.minimum(np.ceil((starts + length) * step).astype(np.int64), len(lost))
    return np.asarray(total[high] > total[low])


def _gaps(record: Record, beats: Beats | None) -> list[Notice]:
    if beats is None:
        return []
    end = record.signals.shape[1] / record.sample_rate_hz
    gaps = np.asarray(np.diff(np.concatenate([[0.0], beats.times_s, [end]])) > LONGEST_S)
    return [Notice("beat-gap", record.name, int(gaps.sum()), "stretches without a beat")] if gaps.any() else []


def _flat(record: Record, flat: npt.NDArray[np.bool_]) -> list[Notice]:
    dead, partly = int(flat.all(axis=1).sum()), int((flat.any(axis=1) & ~flat.all(axis=1)).sum())
    notices = [Notice("flat-line", record.name, dead, "windows without a signal")] if dead else []
    return notices + ([Notice("flat-channel", record.name, partly, "windows with a dead channel")] if partly else [])


def _in_unit(record: Record, unit: str) -> Floats:
    """Return the samples in the wanted unit; volts are converted, any other difference is an error."""
    factors = []
    for channel, own in zip(record.channels, record.units, strict=True):
        known = own in MILLIVOLTS and unit in MILLIVOLTS
        if own != unit and not known:
            cure = "Correct signals.unit of the card, or the header."
            raise ReadError(f"{record.name}, channel {channel}", f"the unit {own}", unit, cure)
        factors.append(1.0 if own == unit else MILLIVOLTS[own] / MILLIVOLTS[unit])
    return record.signals * np.asarray(factors, np.float32)[:, None]


def _none(count: int) -> npt.NDArray[np.float64]:
    return np.empty((count, 0))
