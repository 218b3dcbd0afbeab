"""New WFDB records for a trained model, and its answers as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.data.check_signals import Notice, gather_notices
from ai4diag.data.prepare_signals import record_index, signal_facts
from ai4diag.data.prepared import Prepared, write_prepared
from ai4diag.data.problems import ReadError
from ai4diag.data.readers.wfdb_annotations import read_annotations
from ai4diag.data.readers.wfdb_records import Record, read_record
from ai4diag.data.signal_cases import Beats, Cutting, RecordCases, cut_record
from ai4diag.data.split import COLUMNS
from ai4diag.data.windows import bridge
from ai4diag.errors import DataError
from ai4diag.tasks.deliver import write_csv

if TYPE_CHECKING:
    from ai4diag.tasks.base import Learner

ENDINGS = ("atr", "qrs", "ecg", "ann")
"""Endings of annotation files that are looked for after the one of the training data."""
BEATS = frozenset("NLRBAaJSVrFejnE/fQ?")
"""Symbols of beats in WFDB's own table (`wfdb.show_ann_labels`)."""


def gather(inputs: Sequence[Path], learner: Learner, folder: Path) -> Prepared:
    """Read new records and cut them as those were that the learner learned from.

    Where windows are around beats, beats come from an annotation file beside the record; without one they are found
    in the first channel by wfdb's detector (XQRS), and `beats_from` of the index says so. Rhythm and scale are those
    of the whole record, so that a record of a minute or more is better than a short one.

    Args:
        inputs: header files, or other files of a record; or folders, of which all records are read.
        learner: what `SignalLearner.save` wrote and `read_learner` read.
        folder: where the cases are packed.

    Raises:
        DataError: a record cannot be read, has other channels or another unit, has no case, or has the name of another;
            or the model's pipeline changes samples in `preprocess`, which is not a part of the model.
    """
    signals: Mapping[str, Any] = learner.signals  # type: ignore[attr-defined]
    if signals.get("preprocessed"):
        raise DataError(
            "The pipeline changes samples in `preprocess` of its pipeline.py, which is no part of the model.",
            "Prepare the new records as a data set of the pipeline.",
        )
    cutting = replace(Cutting.from_dict(signals["cutting"]), sample_rate_hz=float(signals["sample_rate_hz"]))
    notices: list[Notice] = []
    tables, found = [], []
    for path in _records(inputs):
        cases, table = _cut(path, cutting, signals["samples"])
        notices += cases.notices
        tables.append(table)
        found.append(cases)
    first = found[0]
    form = first.rate_hz, first.signals.shape[1:], first.rhythm.shape[1]
    facts = {
        "task": "timeseries",
        "target": learner.target,  # type: ignore[attr-defined]
        "dataset": "new records",
        "classes": list(learner.classes),  # type: ignore[attr-defined]
        **signal_facts(cutting, [cases.leads for cases in found], *form),
    }
    arrays: dict[str, npt.NDArray[Any]] = {
        "signals": np.concatenate([cases.signals for cases in found]),
        "scales": np.concatenate([np.repeat(cases.scale[None], len(cases.signals), axis=0) for cases in found]),
    }
    if first.rhythm.shape[1]:
        arrays["features"] = np.concatenate([cases.rhythm for cases in found])
    index, split = pd.concat(tables, ignore_index=True), pd.DataFrame(columns=COLUMNS)
    write_prepared(
        folder, facts=facts, index=index, split=split, findings=gather_notices(notices), arrays=arrays, tables={}
    )
    return Prepared.open(folder)


def _cut(path: Path, cutting: Cutting, samples: int) -> tuple[RecordCases, pd.DataFrame]:
    """Return the cases of a record, of so many samples each, and their index."""
    record = read_record(path, path.name, cutting.channels)
    beats, source = beats_of(path, record, cutting) if cutting.around_beats else (None, "")
    cases = cut_record(record, replace(cutting, symbols={}), beats)
    _refuse_other_length(cases, samples, path.name)
    table = record_index(pd.Series({"case_id": path.name}), cases, cutting)
    return cases, table.assign(beats_from=source) if source else table


def deliver(table: pd.DataFrame, prepared: Prepared, folder: Path) -> list[Path]:
    """Write `predictions.csv`: case, record, time in seconds from its start, where beats come from, and the scores."""
    names = [name for name in ("case_id", "record", "time_s", "lead", "beats_from") if name in prepared.index]
    answers = pd.concat([prepared.index[names].reset_index(drop=True), table.reset_index(drop=True)], axis=1)
    return [write_csv(answers, folder)]


def beats_of(path: Path, record: Record, cutting: Cutting) -> tuple[Beats, str]:
    """Return the beats of a new record, all as cases, and where they come from.

    Raises:
        DataError: an annotation file cannot be read, or there is no beat.
    """
    for ending in dict.fromkeys([cutting.annotation, *ENDINGS]):
        if ending is None or not path.with_name(f"{path.name}.{ending}").is_file():
            continue
        found = read_annotations(path, ending, path.name)
        known = {symbol for own in cutting.symbols.values() for symbol in own} | {*cutting.other_beats}
        is_beat = np.array([symbol in (known | BEATS) - {*cutting.no_beats} for symbol in found.symbols], bool)
        times_s = (found.samples / (found.rate_hz or record.sample_rate_hz))[is_beat]
        source = f"annotations .{ending}"
        break
    else:
        times_s, source = detect_beats(record) / record.sample_rate_hz, "detector xqrs"
    times_s = times_s[times_s < record.signals.shape[1] / record.sample_rate_hz]
    if not len(times_s):
        raise DataError(f"{path.name} has no beats ({source}).", "Give a longer record, or annotations beside it.")
    return Beats(times_s, np.zeros(len(times_s), np.int64)), source


def detect_beats(record: Record) -> npt.NDArray[np.int64]:
    """Return the samples of the R peaks in the first channel, found by wfdb's XQRS; none in a flat signal."""
    from wfdb.processing import xqrs_detect

    signal = bridge(record.signals[:1])[0].astype(np.float64)
    if np.ptp(signal) == 0:
        return np.empty(0, np.int64)
    try:
        return np.unique(np.asarray(xqrs_detect(signal, record.sample_rate_hz, verbose=False), np.int64))
    except (ValueError, IndexError) as error:
        where, cure = f"{record.name}, channel {record.channels[0]}", "Give a longer record, or annotations beside it."
        raise ReadError(where, f"a signal without beats ({error})", "an electrocardiogram", cure) from None


def _records(inputs: Sequence[Path]) -> list[Path]:
    """Return the records, without ending, each once, when their names differ."""
    found: dict[Path, None] = {}
    for path in inputs:
        headers = sorted(path.glob("*.hea")) if path.is_dir() else [path]
        if not headers:
            raise DataError(f"{path} holds no WFDB records.", "Name a folder with .hea files, or the files.")
        found |= dict.fromkeys(header.with_suffix("") for header in headers)
    names = [record.name for record in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"Two records are called '{twice[0]}'.", "Rename one: answers are told apart by that name.")
    return list(found)


def _refuse_other_length(cases: RecordCases, samples: int, name: str) -> None:
    if not len(cases.signals):
        raise DataError(f"{name} is shorter than a window, or without a signal.", "Give a longer record.")
    if cases.signals.shape[2] != samples:
        raise DataError(
            f"{name} has {cases.signals.shape[2]} samples at {cases.rate_hz:g} Hz; the model answers about {samples}.",
            "Cut the record to that length.",
        )
