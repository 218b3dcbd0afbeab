"""From WFDB records to prepared cases: beats, windows or whole records.

Records are read one after the other, and their cases are appended to a file; never more than one record is in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.card import Card
from ai4diag.config.sources.signals import Signals
from ai4diag.config.timeseries import TimeseriesRecipe
from ai4diag.data.catalogue import verify
from ai4diag.data.check_signals import Notice, gather_notices
from ai4diag.data.check_table import duplicate_findings
from ai4diag.data.divide import divide, official_parts, training_rows
from ai4diag.data.leaks.gate import gate
from ai4diag.data.leaks.scan import Divided, scan_signals
from ai4diag.data.prepare_labelled import truth_columns
from ai4diag.data.prepared import write_prepared
from ai4diag.data.problems import ReadError, absent_findings, stop_on_errors
from ai4diag.data.signal_cases import Cutting, RecordCases, read_cases
from ai4diag.data.signal_records import Records, labelled, list_records
from ai4diag.data.windows import RHYTHM
from ai4diag.errors import ConfigError, DataError
from ai4diag.types import Finding

Floats = npt.NDArray[np.float32]
Preprocess = Callable[[Floats, float], Floats]


@dataclass
class Packed:
    """Cases of all records so far; their samples are in the file already.

    Attributes:
        index: one table per record: case_id, record, time_s, and what is known of the record.
        truth: bool `(cases, classes)` per record.
        rhythm, scale: `(cases, 2 or 0)` and `(cases, channels)` per record.
        content: hash of each case's samples.
        leads: names of the channels of each record.
        shapes: `(channels, samples)` to the first record that has it.
        rates: sampling rates in Hz.
    """

    index: list[pd.DataFrame] = field(default_factory=list)
    truth: list[npt.NDArray[np.bool_]] = field(default_factory=list)
    rhythm: list[npt.NDArray[np.float64]] = field(default_factory=list)
    scale: list[Floats] = field(default_factory=list)
    content: list[str] = field(default_factory=list)
    leads: list[tuple[str, ...]] = field(default_factory=list)
    shapes: dict[tuple[int, ...], str] = field(default_factory=dict)
    rates: set[float] = field(default_factory=set)


def cutting_of(signals: Signals, recipe: TimeseriesRecipe) -> Cutting:
    """Return how records become cases: what the card says of the files, and the recipe of the windows.

    Raises:
        ConfigError: the recipe wants windows around beats, and the card names none; or beats are the truth of whole
            records.
    """
    window = recipe.data.window
    if window is not None and window.around is not None and not signals.symbols:
        raise ConfigError("data.window.around is beat, but the card has no symbols of beats.", "Give length_s.")
    if window is None and signals.symbols:
        raise ConfigError("The card has symbols of beats, so data.window must be given.", "For example around: beat.")
    return Cutting(
        channels=signals.channels,
        unit=signals.unit,
        sample_rate_hz=recipe.data.sample_rate_hz,
        window=window,
        annotation=signals.annotation if signals.symbols else None,
        symbols=signals.symbols,
        other_beats=signals.other_beats,
        no_beats=signals.no_beats,
    )


def prepare_signals(
    raw: Path, card: Card, recipe: TimeseriesRecipe, folder: Path, preprocess: Preprocess | None = None
) -> None:
    """Read, validate, cut, split and pack signals; write prepared cases to `folder`.

    Args:
        raw: folder of the data set; its files are verified against their checksums first.
        card: what the data set shall be.
        recipe: the windows, their rate, and how cases are divided.
        folder: where the prepared cases go.
        preprocess: applied to the samples of each case, float32 `(channels, samples)` in the card's unit, with the
            sampling rate in Hz; must keep shape and type.

    Raises:
        DataError: a file is missing, damaged or not what the card says, or the split leaks; all errors are named.
        ConfigError: the windows do not suit the card.
    """
    if card.signals is None:
        raise DataError(f"{card.name} has no signals.", "Choose a data set for time series.")
    cutting = cutting_of(card.signals, recipe)
    verify(card, raw)
    records, findings = list_records(raw, card, card.signals, cutting.sample_rate_hz)
    kept, parts, noticed = official_parts(records.index["case_id"], card, raw, recipe.data.split)
    part_of = None if parts is None else dict(zip(records.index["case_id"][kept], parts, strict=True))
    records, unlabelled = labelled(records.keep(kept), card.signals.labels)
    findings += noticed + unlabelled
    stop_on_errors(findings, card.name)
    folder.mkdir(parents=True, exist_ok=True)
    with _growing(folder) as stream:
        packed, noticed = _read_all(raw, records, cutting, stream, preprocess)
        findings += noticed
        stop_on_errors(findings, card.name)
        index = pd.concat(packed.index, ignore_index=True)
        truth = np.concatenate(packed.truth)
        strata = np.column_stack([truth, pd.get_dummies(index["site"]).to_numpy(bool)]).astype(np.float64)
        parts = None if part_of is None else index["record"].map(part_of)
        split, noticed = divide(index, strata, packed.content, card, recipe, parts)
        findings += noticed + absent_findings(split, index, truth, card.classes, "no case of class {name}")
        findings += duplicate_findings(index["case_id"].tolist(), packed.content, "cases")
        (shape,) = packed.shapes
        signals = np.memmap(stream.name, np.float32, "r", shape=(len(index), *shape))
        findings += scan_signals(signals, Divided(index, split, packed.content))
        findings = gate(findings, recipe.data.waive, card.name)
        arrays: dict[str, npt.NDArray[Any]] = {
            "signals": signals,
            "scales": np.concatenate(packed.scale),
        }
        rhythm = np.concatenate(packed.rhythm)
        if rhythm.shape[1]:
            arrays["features"] = rhythm
        write_prepared(
            folder,
            facts=_facts(card, cutting, packed, truth[training_rows(split)], preprocess is not None),
            index=pd.concat([index, truth_columns(truth, card.classes, _target(card))], axis=1),
            split=split,
            findings=findings,
            arrays=arrays,
            tables={},
        )


def _facts(
    card: Card, cutting: Cutting, packed: Packed, learned: npt.NDArray[np.bool_], preprocessed: bool
) -> dict[str, Any]:
    """Return `prepared.json`; `learned` is the truth of the training part."""
    target = _target(card)
    (shape,), (rate_hz,) = packed.shapes, packed.rates
    counts = learned.sum(axis=0)
    return {
        "task": "timeseries",
        **({} if target == "binary" else {"target": target}),
        "dataset": card.name,
        "card_sha256": card.sha256,
        "classes": list(card.classes),
        **signal_facts(cutting, packed.leads, rate_hz, shape, packed.rhythm[0].shape[1]),
        **({"preprocessed": True} if preprocessed else {}),
        "statistics": {
            "part": "train",
            "cases": len(learned),
            "classes": {name: int(count) for name, count in zip(card.classes, counts, strict=True)},
        },
    }


def signal_facts(
    cutting: Cutting, leads: list[tuple[str, ...]], rate_hz: float, shape: tuple[int, ...], rhythm: int
) -> dict[str, Any]:
    """Return what `prepared.json` says of the signals; a channel that is another lead in some records has a number."""
    names = [set(one) for one in zip(*leads, strict=True)]
    channels = [next(iter(own)) if len(own) == 1 else f"channel {number}" for number, own in enumerate(names)]
    described = [{"name": name, "kind": "number", "unit": "1", "levels": []} for name in RHYTHM[:rhythm]]
    return {
        "channels": channels,
        "sample_rate_hz": rate_hz,
        "samples": shape[1],
        "unit": cutting.unit,
        "cutting": cutting.as_dict(),
        **({"features": described} if described else {}),
    }


def record_index(known: pd.Series, cases: RecordCases, cutting: Cutting) -> pd.DataFrame:
    """Return the index of the cases of a record: a case of a whole record has its name, others a number as well.

    Args:
        known: case_id and whatever else is known of the record.
        cases: its cases.
        cutting: how they were cut.
    """
    record = str(known["case_id"])
    count = len(cases.times_s)
    whole = cutting.window is None
    table = pd.DataFrame({"case_id": [record if whole else f"{record}-{number:06d}" for number in range(1, count + 1)]})
    for name, value in known.drop("case_id").items():
        table[str(name)] = value
    table["record"] = record
    if not whole:
        table["time_s"] = cases.times_s
    if len(cutting.channels) == 1:
        table["lead"] = cases.leads[0]
    return table


def _read_all(
    raw: Path, records: Records, cutting: Cutting, stream: BinaryIO, preprocess: Preprocess | None
) -> tuple[Packed, list[Finding]]:
    """Append the samples of all cases to `stream`; return everything else, and what was noticed."""
    packed, problems = Packed(), []
    notices: list[Notice] = []
    for row, path in enumerate(records.paths):
        known = records.index.iloc[row]
        try:
            cases = read_cases(raw / path, str(known["case_id"]), cutting)
        except ReadError as error:
            problems.append(error.finding)
            continue
        notices += cases.notices
        if not len(cases.signals):
            continue
        samples = _preprocessed(cases, preprocess, str(known["case_id"]))
        stream.write(samples.tobytes())
        packed.content += [hashlib.sha256(one.tobytes()).hexdigest() for one in samples]
        packed.index.append(record_index(known, cases, cutting))
        own = cases.labels if records.labels is None else np.repeat(records.labels[[row]], len(samples), axis=0)
        packed.truth.append(own)
        packed.rhythm.append(cases.rhythm)
        packed.scale.append(np.repeat(cases.scale[None], len(samples), axis=0))
        packed.leads.append(cases.leads)
        packed.shapes.setdefault(samples.shape[1:], str(known["case_id"]))
        packed.rates.add(cases.rate_hz)
    stream.flush()
    return packed, (problems or _uneven(packed)) + gather_notices(notices)


def _uneven(packed: Packed) -> list[Finding]:
    """Report cases of several lengths or rates, and that there is no case at all."""
    cure = "Give data.sample_rate_hz."
    if not packed.index:
        cure = "Look at the other findings; shorten data.window."
        return [Finding("error", "no-cases", "signals", "no case", "at least one window", cure)]
    if len(packed.rates) > 1:
        found = f"sampling rates of {', '.join(f'{rate:g}' for rate in sorted(packed.rates))} Hz"
        return [Finding("error", "several-rates", "signals", found, "one rate", cure)]
    if len(packed.shapes) > 1:
        shown = ", ".join(f"{shape[1]} ({record})" for shape, record in list(packed.shapes.items())[:3])
        cure = "Give data.window: {length_s: ...}."
        return [Finding("error", "several-lengths", "signals", f"records of {shown} samples", "one length", cure)]
    return []


def _preprocessed(cases: RecordCases, preprocess: Preprocess | None, record: str) -> Floats:
    if preprocess is None:
        return cases.signals
    results = [preprocess(one.copy(), cases.rate_hz) for one in cases.signals]
    for one in results:
        if one.shape != cases.signals.shape[1:] or one.dtype != np.float32 or not np.isfinite(one).all():
            raise DataError(
                f"preprocess returned {one.dtype} {one.shape} for {record}, expected finite float32 "
                f"{cases.signals.shape[1:]}.",
                "Keep shape and type; rate and length are set by data.sample_rate_hz and data.window.",
            )
    return np.stack(results)


@contextmanager
def _growing(folder: Path) -> Iterator[BinaryIO]:
    """Give a file that grows, and is removed at the end, however it ends."""
    path = folder / ".signals.packing"
    try:
        with path.open("wb") as stream:
            yield stream
    finally:
        path.unlink(missing_ok=True)


def _target(card: Card) -> str:
    labels = card.signals.labels if card.signals is not None else None
    if labels is not None and labels.multilabel:
        return "multilabel"
    return "binary" if len(card.classes) == 2 else "multiclass"
