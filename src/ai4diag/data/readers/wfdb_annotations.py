"""WFDB annotation files (MIT format), read here because damaged files make the wfdb package run forever.

The file is a row of 16-bit words, little-endian: six bits of code, ten of time since the last annotation. Five codes
say something about the annotation before or after: SKIP (a long interval follows), NUM, SUB, CHN, and AUX (text
follows). Source: WFDB Applications Guide, annot(5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ai4diag.data.problems import ReadError

SKIP, AUX = 59, 63
NOTE = 22
_RESOLUTION = re.compile(r"## time resolution: ([0-9.]+)\s*$")
_DEFINITION = re.compile(r"(\d+)\s+(\S+)")


@dataclass(frozen=True)
class Annotations:
    """The annotations of a record.

    Attributes:
        samples: int64 `(annotations,)`, position from the start, not decreasing.
        symbols: one per annotation, such as `N` or `V`.
        rate_hz: positions per second, where the file says so; else they count the record's samples.
    """

    samples: npt.NDArray[np.int64]
    symbols: tuple[str, ...]
    rate_hz: float | None


def read_annotations(path: Path, ending: str, name: str = "") -> Annotations:
    """Read the annotation file of a record.

    Args:
        path: the record, without ending.
        ending: of the annotation file, such as `atr`.
        name: what errors call the record.

    Raises:
        ReadError: the file is missing, or is no annotation file.
    """
    path = Path(path)
    where = f"{name or path.name}.{ending}"
    file = path.with_name(f"{path.name}.{ending}")
    if not file.is_file():
        raise ReadError(where, "no such file", "an annotation file beside the record", "Add it, or leave it out.")
    found = _parse(file.read_bytes())
    if isinstance(found, str):
        raise ReadError(where, f"annotations that cannot be read ({found})", "a WFDB file", "Get the file again.")
    return found


def _parse(content: bytes) -> Annotations | str:
    """Return the annotations, or what is wrong with the file."""
    words = np.frombuffer(content[: len(content) // 2 * 2], "<u2").astype(np.int64).tolist()
    times: list[int] = []
    codes: list[int] = []
    texts: list[str] = []
    now, place = 0, 0
    while place < len(words):
        code, value = words[place] >> 10, words[place] & 0x3FF
        place += 1
        if code == 0 and value == 0:
            break
        if code == SKIP:
            if place + 2 > len(words):
                return "it ends in the middle of an interval"
            leap = words[place] << 16 | words[place + 1]
            now += leap - (1 << 32 if leap >= 1 << 31 else 0)
            place += 2
        elif code == AUX:
            length = (value + 1) // 2
            if place + length > len(words) or not texts:
                return "it ends in the middle of a text, or begins with one"
            texts[-1] = content[2 * place : 2 * place + value].decode("latin-1").rstrip("\0")
            place += length
        elif code < SKIP:
            now += value
            times.append(now)
            codes.append(code)
            texts.append("")
    else:
        return "its end mark is missing"
    return _finished(np.array(times, np.int64), codes, texts)


def _finished(times: npt.NDArray[np.int64], codes: list[int], texts: list[str]) -> Annotations | str:
    """Leave out what describes the file, and name the codes."""
    from wfdb.io.annotation import ann_label_table

    symbol_of = dict(zip(ann_label_table["label_store"].tolist(), ann_label_table["symbol"].tolist(), strict=True))
    rate, kept = None, []
    for number, (time, code, text) in enumerate(zip(times.tolist(), codes, texts, strict=True)):
        described = time == 0 and code == NOTE and texts[number] != ""
        if described and (found := _RESOLUTION.match(text)):
            rate = float(found.group(1).strip(".") or 0) or None
        elif described and (defined := _DEFINITION.match(text)):
            symbol_of[int(defined.group(1))] = defined.group(2)
        elif not described and code:
            kept.append(number)
    unknown = sorted({codes[number] for number in kept} - symbol_of.keys())
    if unknown:
        return f"code {unknown[0]}, which means nothing"
    if (np.diff(times[kept]) < 0).any() or (times[kept] < 0).any():
        return "positions that go back in time"
    return Annotations(times[kept], tuple(str(symbol_of[codes[number]]) for number in kept), rate)
