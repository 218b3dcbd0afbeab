"""Drawn electrocardiograms as WFDB records, written by the wfdb package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import wfdb

from ai4diag.config.card import Card
from ai4diag.config.timeseries import TimeseriesRecipe
from tests.data.helpers import write_card

RATE = 250
PATIENTS = ("p1", "p2", "p3", "p4", "p5", "p6")


def drawn(patient: int, seconds: float = 60, seed: int = 1) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return an electrocardiogram in mV at `RATE`, the samples of its beats, and their symbols.

    A premature beat comes early, is broad, and is followed by a pause; every tenth beat on average is one.
    """
    rng = np.random.default_rng(100 * seed + patient)
    time = np.arange(round(seconds * RATE)) / RATE
    interval = 0.7 + 0.04 * patient
    beats, symbols, now, early = [], [], 0.5, False
    while now < seconds - 1:
        beats.append(now)
        symbols.append("V" if early else "N")
        pause, early = early, not early and rng.random() < 0.12
        now += interval * (0.65 if early else 1.35 if pause else 1) + 0.01 * rng.normal()
    signal = 0.02 * rng.normal(size=len(time)) + 0.1 * np.sin(2 * np.pi * 0.2 * time + patient)
    for at, symbol in zip(beats, symbols, strict=True):
        width, height = (0.03, -1.6) if symbol == "V" else (0.015, 1.0 + 0.1 * patient)
        signal += height * np.exp(-(((time - at) / width) ** 2))
        signal += 0.25 * np.exp(-(((time - at - 0.25) / 0.05) ** 2))
    return signal, np.round(np.array(beats) * RATE).astype(np.int64), symbols


def write_record(folder: Path, name: str, signal: np.ndarray, rate: float = RATE, lead: str = "MLII") -> None:
    """Write `(samples,)` or `(samples, channels)` in mV, with a resolution of 1 microvolt."""
    folder.mkdir(parents=True, exist_ok=True)
    signal = signal[:, None] if signal.ndim == 1 else signal
    count = signal.shape[1]
    names = [lead] if count == 1 else [f"lead {number}" for number in range(count)]
    wfdb.wrsamp(
        name,
        fs=rate,
        units=["mV"] * count,
        sig_name=names,
        p_signal=signal.astype(np.float64),
        fmt=["16"] * count,
        adc_gain=[1000.0] * count,
        baseline=[0] * count,
        write_dir=str(folder),
    )


def write_beats(folder: Path, name: str, samples: np.ndarray, symbols: list[str], ending: str = "atr") -> None:
    wfdb.wrann(name, ending, np.asarray(samples), symbol=symbols, write_dir=str(folder), fs=RATE)


def toy_beats(folder: Path, seconds: float = 60, **signals: Any) -> tuple[Path, Card]:
    """Write one record of each of `PATIENTS` with its beats; return the raw folder and its card."""
    raw = folder / "raw"
    for number, name in enumerate(PATIENTS):
        signal, samples, symbols = drawn(number, seconds)
        write_record(raw, name, signal)
        write_beats(raw, name, samples, symbols)
    return raw, beat_card(folder, raw, **signals)


def beat_card(folder: Path, raw: Path, **signals: Any) -> Card:
    source = {
        "records": list(PATIENTS),
        "channels": [0],
        "annotation": "atr",
        "symbols": {"other": ["N"], "pvc": ["V"]},
    }
    return write_card(
        folder / "cards",
        raw,
        task="timeseries",
        classes=["other", "pvc"],
        patient={"column": "record"},
        signals={**source, **signals},
    )


def beat_recipe(**changes: Any) -> TimeseriesRecipe:
    """Return a recipe of windows around beats; `data`, `model` and `train` change single settings."""
    window = {"around": "beat", "before_s": 0.2, "after_s": 0.4}
    split = {"test": 0.34, "validation": 0.25, "seed": 1}
    values = {
        "task": "timeseries",
        "data": {"dataset": "toy", "window": window, "split": split, **changes.get("data", {})},
        "model": {"network": "resnet1d", "width": 4, "stages": 2, "blocks": 1, **changes.get("model", {})},
        "train": {"epochs": 3, "batch_size": 32, "learning_rate": 0.01, "seed": 3, **changes.get("train", {})},
        "evaluate": {"primary": "auroc", "operating_point": {"threshold": 0.5}},
    }
    return TimeseriesRecipe.model_validate(values)


CLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
STATEMENTS = {"NORM": "NORM", "IMI": "MI", "ASMI": "MI", "NST_": "STTC", "LAFB": "CD", "LVH": "HYP", "SR": ""}


def toy_ptb_xl(raw: Path, records: int = 40) -> None:
    """Write a data set laid out like PTB-XL: 12 leads of 10 s at 100 Hz, one table of records, one of statements.

    Record 1 is of no class; a class bends one lead up in the middle of the record, as no disease does.
    """
    rng = np.random.default_rng(4)
    leads = ["I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6"]
    header = "ecg_id,patient_id,age,sex,scp_codes,strat_fold,filename_lr,filename_hr\n"
    lines = []
    for number in range(1, records + 1):
        codes = ["SR"] if number == 1 else ["SR", list(STATEMENTS)[number % 6]]
        codes += ["LVH"] if number % 6 == 1 and number > 1 else []
        signal = 0.1 * rng.normal(size=(1000, 12))
        for code in codes:
            if STATEMENTS[code]:
                signal[300:700, CLASSES.index(STATEMENTS[code])] += 1.0
        path = f"records100/00000/{number:05d}_lr"
        write_leads(raw / "records100" / "00000", f"{number:05d}_lr", signal, leads)
        words = "{" + ", ".join(f"'{code}': 100.0" for code in codes) + "}"
        patient = float(1000 + (number + 1) // 2)
        fold = 1 + (patient % 10)
        age, sex = 40 + number, number % 2
        lines.append(f'{number},{patient},{age}.0,{sex},"{words}",{fold:.0f},{path},{path.replace("lr", "hr")}\n')
    (raw / "ptbxl_database.csv").write_text(header + "".join(lines), encoding="utf-8")
    groups = [f"{code},{code},{1.0 if name else ''},{name}\n" for code, name in STATEMENTS.items()]
    (raw / "scp_statements.csv").write_text(",description,diagnostic,diagnostic_class\n" + "".join(groups), "utf-8")


def write_leads(folder: Path, name: str, signal: np.ndarray, leads: list[str], rate: float = 100) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    count = len(leads)
    wfdb.wrsamp(
        name,
        fs=rate,
        units=["mV"] * count,
        sig_name=leads,
        p_signal=signal,
        fmt=["16"] * count,
        adc_gain=[1000.0] * count,
        baseline=[0] * count,
        write_dir=str(folder),
    )
