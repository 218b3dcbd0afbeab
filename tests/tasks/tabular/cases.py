"""Toy cases of a chest-pain clinic: two hospitals, two visits per patient, units, gaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ai4diag.data.prepared import FINAL, Fold, Prepared, write_prepared

FEATURES = [
    {"name": "age", "kind": "number", "unit": "year"},
    {"name": "cholesterol", "kind": "number", "unit": "mg/dL"},
    {"name": "oldpeak", "kind": "number", "unit": "mm"},
    {"name": "chest_pain", "kind": "category", "unit": "", "levels": ["typical", "atypical", "none"]},
    {"name": "sex", "kind": "category", "unit": "", "levels": ["female", "male"]},
]


def table(patients: int = 120, visits: int = 2, seed: int = 7) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Return features `(cases, 5)` with gaps, truth per patient, and the index."""
    rng = np.random.default_rng(seed)
    illness = rng.normal(size=patients)
    truth = (illness + 0.5 * rng.normal(size=patients) > 0).astype(int)
    of = np.repeat(np.arange(patients), visits)
    cases = len(of)
    features = np.column_stack(
        [
            np.round(55 + 8 * illness[of] + 4 * rng.normal(size=cases)),
            np.round(230 + 40 * rng.normal(size=patients)[of] + 5 * rng.normal(size=cases)),
            np.round(np.abs(1 + illness[of] + rng.normal(size=cases)), 1),
            rng.integers(0, 3, cases),
            (illness[of] + rng.normal(size=cases) > 0).astype(float),
        ]
    )
    features[rng.random(cases) < 0.15, 1] = np.nan
    features[rng.random(cases) < 0.10, 3] = np.nan
    index = pd.DataFrame(
        {
            "case_id": [f"visit-{case:03d}" for case in range(cases)],
            "patient_id": [f"patient-{patient:03d}" for patient in of],
            "site": np.where(of % 3 == 0, "budapest", "zurich"),
            "truth": truth[of],
        }
    )
    return features, truth[of], index


def write(folder: Path, features: np.ndarray, index: pd.DataFrame, split: pd.DataFrame) -> Prepared:
    """Write prepared cases and open them."""
    facts = {
        "task": "tabular",
        "dataset": "toy_clinic",
        "classes": ["healthy", "diseased"],
        "features": FEATURES,
        "statistics": {},
    }
    write_prepared(folder, facts=facts, index=index, split=split, findings=[], arrays={"features": features}, tables={})
    return Prepared.open(folder)


def single_split(index: pd.DataFrame) -> pd.DataFrame:
    """Every fifth patient to test, the next to validation."""
    number = index["patient_id"].str[-3:].astype(int) % 5
    part = number.map({0: "test", 1: "validation"}).fillna("train")
    return index[["case_id", "patient_id"]].assign(fold=0, part=part, contrast=0)


def folds(index: pd.DataFrame, count: int = 5) -> pd.DataFrame:
    """Cross-validation by patient, the kept fold, and the same folds by visit, which is wrong, as contrast."""
    patient = index["patient_id"].str[-3:].astype(int).to_numpy()
    visit = np.arange(len(index))
    tables = []
    for contrast, group in ((0, patient), (1, visit)):
        for fold in range(count):
            part = np.where(
                group % count == fold, "test", np.where(group % count == (fold + 1) % count, "validation", "train")
            )
            tables.append(index[["case_id", "patient_id"]].assign(fold=fold, part=part, contrast=contrast))
    kept = np.where(patient % count == 1, "validation", "train")
    tables.append(index[["case_id", "patient_id"]].assign(fold=FINAL, part=kept, contrast=0))
    return pd.concat(tables, ignore_index=True)


def toy(folder: Path, **kwargs: int) -> tuple[Prepared, Fold]:
    """Return prepared cases with a single split, and the split."""
    features, _, index = table(**kwargs)
    prepared = write(folder, features, index, single_split(index))
    return prepared, prepared.folds()[0]
