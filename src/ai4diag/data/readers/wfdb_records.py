"""WFDB records in physical units.

A record is `<record>.hea` (text) and the signal files that it names, which lie beside it. What the header says is
checked before samples are read: a file in another folder, a length that the signal file does not have, or a record in
several segments is refused.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ai4diag.data.problems import ReadError
from ai4diag.errors import did_you_mean

BYTES = {"8": 1, "16": 2, "24": 3, "32": 4, "61": 2, "80": 1, "160": 2, "212": 1.5, "310": 4 / 3, "311": 4 / 3}
"""Bytes per sample of the signal formats."""
DAMAGE = (ValueError, TypeError, IndexError, KeyError, AttributeError, OSError, OverflowError, ZeroDivisionError)
"""What the wfdb package raises on files that are not what they claim."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Record:
    """A record.

    Attributes:
        name: its path without ending, as it was asked for.
        signals: `(channels, samples)` in `units`, NaN where a sample is marked as missing.
        sample_rate_hz: samples per second, of every channel.
        channels: names, as the header has them.
        units: physical unit of each channel.
    """

    name: str
    signals: Floats
    sample_rate_hz: float
    channels: tuple[str, ...]
    units: tuple[str, ...]


def read_record(path: Path, name: str = "", channels: Sequence[str | int] | None = None) -> Record:
    """Read one record.

    Args:
        path: the record, without ending.
        name: what errors call it; the name of the file when empty.
        channels: names or positions of the signals to read, in the order wanted; None: all.

    Raises:
        ReadError: a file is missing or damaged, is in several segments, or has no such channel.
    """
    import wfdb

    path, name = Path(path), name or Path(path).name
    header = _header(path, name)
    chosen = list(range(header.n_sig)) if channels is None else [_position(header, one, name) for one in channels]
    try:
        found = wfdb.rdrecord(os.fspath(path), channels=chosen, return_res=64)
        signals = np.ascontiguousarray(found.p_signal.T, np.float32)
        if signals.shape != (len(chosen), header.sig_len):
            raise ValueError(f"{signals.shape[1]} samples of {len(signals)} channels")
    except DAMAGE as error:
        expected = f"{header.sig_len} samples of {len(chosen)} channels"
        raise ReadError(name, f"signals that cannot be read ({error})", expected, "Get the record again.") from None
    names, units = (tuple(str(word) for word in words) for words in (found.sig_name, found.units))
    return Record(name, signals, float(found.fs), names, units)


def _header(path: Path, name: str) -> Any:
    """Return the header, when its signal files lie beside it and are as long as it says."""
    import wfdb

    file = path.with_name(f"{path.name}.hea")
    if not file.is_file():
        raise ReadError(f"{name}.hea", "no such file", "the header of a WFDB record", "Add it, or correct the path.")
    try:
        header = wfdb.rdheader(os.fspath(path))
    except DAMAGE as error:
        raise ReadError(
            f"{name}.hea", f"no readable header ({error})", "a WFDB header", "Get the file again."
        ) from None
    if not isinstance(header, wfdb.Record):
        cure = "Write it as one segment: wfdb.rdrecord with m2s, then wfdb.wrsamp."
        raise ReadError(f"{name}.hea", "a record in several segments", "one segment", cure)
    if not header.n_sig or not header.sig_len or not header.fs or not math.isfinite(header.fs) or header.fs <= 0:
        found = f"{header.n_sig} signals of {header.sig_len} samples at {header.fs} Hz"
        raise ReadError(f"{name}.hea", found, "signals, samples and a sampling rate", "Get the file again.")
    if any(
        len(getattr(header, key) or ()) != header.n_sig for key in ("file_name", "fmt", "sig_name", "samps_per_frame")
    ):
        raise ReadError(f"{name}.hea", "not a line for each signal", f"{header.n_sig} lines", "Get the file again.")
    for signal_file in dict.fromkeys(header.file_name):
        _check_signal_file(path, name, header, signal_file)
    return header


def _check_signal_file(path: Path, name: str, header: Any, signal_file: str) -> None:
    where = f"{name}.hea"
    if Path(signal_file).name != signal_file or signal_file in (".", ".."):
        cure = "A header that reaches out of its folder is refused: correct it."
        raise ReadError(where, f"the signal file '{signal_file}'", "a file beside the header", cure)
    file = path.with_name(signal_file)
    if not file.is_file():
        raise ReadError(where, f"the signal file '{signal_file}', which is missing", "a file that exists", "Add it.")
    own = [number for number, other in enumerate(header.file_name) if other == signal_file]
    needed = header.sig_len * sum(
        BYTES.get(header.fmt[number], 0) * (header.samps_per_frame[number] or 1) for number in own
    )
    if (size := file.stat().st_size) < math.floor(needed):
        found = f"{size} bytes"
        expected = f"at least {math.floor(needed)}, for {header.sig_len} samples of {len(own)} signals"
        raise ReadError(f"{name}: {signal_file}", found, expected, "The file is cut off: get it again.")


def _position(header: Any, channel: str | int, name: str) -> int:
    names = [str(one) for one in header.sig_name]
    if isinstance(channel, int):
        if 0 <= channel < len(names):
            return channel
        found, cure = f"{len(names)} channels: {', '.join(names)}", "Correct signals.channels of the card."
        raise ReadError(name, found, f"a channel at position {channel}", cure)
    if channel not in names:
        cure = f"{did_you_mean(channel, names)} Correct signals.channels of the card."
        raise ReadError(name, f"the channels {', '.join(names)}", f"a channel '{channel}'", cure)
    return names.index(channel)
