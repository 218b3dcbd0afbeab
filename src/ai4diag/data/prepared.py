"""Prepared cases: few, large, checksummed files that training and evaluation read.

    prepared.json     format, task, dataset, classes, features with units, statistics, sha256 of every file below
    index.parquet     one line per case: case_id, patient_id, site, attributes (tabular: `truth` as well)
    split.csv         case_id, patient_id, fold, part: which case is train, validation or test in which fold
    findings.json     what validation noticed
    features.npy      tabular: float64 (cases, features), raw units, NaN where missing
    images.npy        images: uint8 (cases, channels, *spatial), memory-mapped
    signals.npy       time series: (cases, channels, samples), float32, physical unit; `scales.npy` belongs to it
    volumes.*         volumes of different sizes, and their masks: see ai4diag.data.volume_store
    boxes.parquet     detection: case (row of the index), label (class number), min_0.., max_0.., ignore

Boxes are in the pixels of the original image (see `ai4diag.types`). The index holds the size of the original image in
array-axis order (`size_0` rows, `size_1` columns); packed images may be smaller or larger.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.data.volume_store import VolumeStore, masks_of, volumes_of
from ai4diag.errors import DataError
from ai4diag.files import atomic_path, read_json, read_parquet, sha256_file, write_json
from ai4diag.types import PARTS, USUAL_TARGET, Finding

FORMAT = 1
FINAL = -1
"""Fold number of the model that is kept when the others only estimate (cross-validation)."""


@dataclass(frozen=True)
class Fold:
    """Rows of the index (int64, sorted) that are train, validation and test in one fold."""

    number: int
    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]
    contrast: bool = False


@dataclass(frozen=True)
class Prepared:
    """Prepared cases, opened from their folder; every file is verified against its hash first.

    Attributes:
        folder: where the files are.
        facts: `prepared.json` as a dict: task, dataset, classes, features, statistics, channels, ...
        index: one line per case, row number = case number.
        split: long table of case_id, patient_id, fold, part, contrast.
    """

    folder: Path
    facts: Mapping[str, Any]
    index: pd.DataFrame
    split: pd.DataFrame
    findings: tuple[Finding, ...] = field(default=())

    @classmethod
    def open(cls, folder: Path) -> Prepared:
        """Open and verify.

        Raises:
            DataError: a file is missing or its content differs from its recorded hash.
        """
        facts = read_json(folder / "prepared.json")
        if facts.get("format") != FORMAT:
            raise DataError(
                f"{folder} has format {facts.get('format')}, this version reads {FORMAT}.", "Run prepare again."
            )
        for name, expected in facts["files"].items():
            path = folder / name
            if not path.is_file():
                raise DataError(f"{path} is missing.", "Run prepare again.")
            if (found := sha256_file(path)) != expected:
                raise DataError(
                    f"{path} is damaged: sha256 {found[:12]}..., expected {expected[:12]}....", "Run prepare again."
                )
        return cls(
            folder=folder,
            facts=facts,
            index=read_parquet(folder / "index.parquet"),
            split=pd.read_csv(
                folder / "split.csv",
                dtype={"case_id": str, "patient_id": str},
                keep_default_na=False,  # a patient may be called NA
            ),
            findings=tuple(Finding(**item) for item in read_json(folder / "findings.json")),
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; the position is the class number."""
        return tuple(self.facts["classes"])

    @property
    def target(self) -> str:
        """What is to be predicted (`ai4diag.evaluation.targets`); a task with one usual target need not name it."""
        return str(self.facts.get("target") or USUAL_TARGET[self.facts["task"]])

    @cached_property
    def features(self) -> npt.NDArray[np.float64]:
        """Tabular features `(cases, features)` in raw units, NaN where missing."""
        array: npt.NDArray[np.float64] = np.load(self.folder / "features.npy", allow_pickle=False)
        return array

    @cached_property
    def images(self) -> npt.NDArray[np.uint8]:
        """Packed images `(cases, channels, *spatial)`, memory-mapped and read-only."""
        array: npt.NDArray[np.uint8] = np.load(self.folder / "images.npy", mmap_mode="r", allow_pickle=False)
        return array

    @cached_property
    def signals(self) -> npt.NDArray[Any]:
        """Packed signals `(cases, channels, samples)`, memory-mapped and read-only."""
        array: npt.NDArray[Any] = np.load(self.folder / "signals.npy", mmap_mode="r", allow_pickle=False)
        return array

    @cached_property
    def scales(self) -> npt.NDArray[np.float32]:
        """Typical spread of each channel in the record that a case is from `(cases, channels)`, in its unit."""
        array: npt.NDArray[np.float32] = np.load(self.folder / "scales.npy", allow_pickle=False)
        return array

    @cached_property
    def volume_table(self) -> pd.DataFrame:
        """Where each volume lies in the flat files, its size and its affine."""
        return read_parquet(self.folder / "volumes.parquet")

    @cached_property
    def volumes(self) -> VolumeStore:
        """Packed volumes, each `(channels, *spatial)`, memory-mapped and read-only."""
        flat = np.load(self.folder / "volumes.npy", mmap_mode="r", allow_pickle=False)
        return volumes_of(flat, self.volume_table)

    @cached_property
    def masks(self) -> VolumeStore:
        """Packed masks, uint8 class numbers, each `(1, *spatial)`, memory-mapped and read-only."""
        flat = np.load(self.folder / "masks.npy", mmap_mode="r", allow_pickle=False)
        return masks_of(flat, self.volume_table)

    @cached_property
    def boxes(self) -> pd.DataFrame:
        """Truth boxes: case, label, min_*, max_*, ignore; in pixels of the original image."""
        return read_parquet(self.folder / "boxes.parquet")

    def folds(self) -> list[Fold]:
        """Return the folds in order; the last is the one whose model is kept, contrast folds come first."""
        row_of = {case: row for row, case in enumerate(self.index["case_id"])}
        folds = []
        for (contrast, number), lines in self.split.groupby(["contrast", "fold"], sort=True):
            rows = lines["case_id"].map(row_of).to_numpy(np.int64)
            part = lines["part"].to_numpy()
            train, validation, test = (np.sort(rows[part == name]) for name in PARTS)
            folds.append(Fold(int(str(number)), train, validation, test, bool(contrast)))
        return sorted(folds, key=lambda fold: (not fold.contrast, fold.number == FINAL, fold.number))


def write_prepared(
    folder: Path,
    *,
    facts: Mapping[str, Any],
    index: pd.DataFrame,
    split: pd.DataFrame,
    findings: list[Finding],
    arrays: Mapping[str, npt.NDArray[Any]],
    tables: Mapping[str, pd.DataFrame],
) -> None:
    """Write prepared cases; `prepared.json` comes last, so that a folder without it is known to be unfinished.

    Args:
        folder: where to write; other files in it are left alone.
        facts: what `prepared.json` shall hold beside `format` and `files`.
        index: one line per case, with case_id, patient_id and site.
        split: case_id, patient_id, fold, part, contrast.
        findings: what validation noticed.
        arrays: name (without `.npy`) to array; a numpy memory map is written in blocks.
        tables: name (without `.parquet`) to table.
    """
    (folder / "prepared.json").unlink(missing_ok=True)
    for name, table in {"index": index, **tables}.items():
        with atomic_path(folder / f"{name}.parquet") as path:
            table.to_parquet(path, index=False)
    with atomic_path(folder / "split.csv") as path:
        split.to_csv(path, index=False, lineterminator="\n")
    write_json(folder / "findings.json", [finding.as_dict() for finding in findings])
    for name, array in arrays.items():
        with atomic_path(folder / f"{name}.npy") as path, path.open("wb") as stream:
            np.lib.format.write_array(stream, array, allow_pickle=False)
    names = ["index.parquet", "split.csv", "findings.json"]
    names += [f"{name}.npy" for name in arrays] + [f"{name}.parquet" for name in tables]
    hashes = {name: sha256_file(folder / name) for name in sorted(names)}
    write_json(folder / "prepared.json", {"format": FORMAT, **json.loads(json.dumps(facts)), "files": hashes})
