"""From volumes with boxes to prepared cases.

Every volume is read once, brought into canonical orientation, resampled, made grey and appended to one flat file; never
more than one is held in memory. Boxes are in voxels of the volume in canonical orientation and at its own spacing,
whose sides the index holds (`size_0` to `size_2`); the packed grid may be another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.card import Card
from ai4diag.config.detection import DetectionRecipe, Grey
from ai4diag.data.catalogue import verify
from ai4diag.data.check_images import double_findings, part_findings
from ai4diag.data.check_table import duplicate_findings
from ai4diag.data.divide import box_strata, divide, official_parts, training_rows
from ai4diag.data.identify import image_index
from ai4diag.data.leaks.copies import small_volume
from ai4diag.data.leaks.gate import gate
from ai4diag.data.leaks.scan import Divided, scan_small
from ai4diag.data.prepared import write_prepared
from ai4diag.data.problems import stop_on_errors
from ai4diag.data.scan_cases import BoxSource, ScanBoxes, ScanCase, read_scan_cases
from ai4diag.data.volume import Volume, read_volume
from ai4diag.data.volume_store import VolumeWriter, packing, volume_table
from ai4diag.errors import DataError
from ai4diag.types import Finding

Preprocess = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]
EDGES = [f"{edge}_{axis}" for edge in ("min", "max") for axis in range(3)]
SIZES = ["size_0", "size_1", "size_2"]
MOST_VOXELS = 2**31
"""Voxels of a packed volume; a CT of the whole body in voxels of 1 mm has a quarter. More means a wrong spacing."""


def prepare_scans(
    raw: Path, card: Card, recipe: DetectionRecipe, folder: Path, preprocess: Preprocess | None = None
) -> None:
    """Read, validate, split and pack volumes with boxes; write prepared cases to `folder`.

    Args:
        raw: folder of the data set; its files are verified against their checksums first.
        card: what the data set shall be.
        recipe: how volumes are packed, and how cases are divided.
        folder: where the prepared cases go.
        preprocess: applied to each packed volume, uint8 `(channels, i, j, k)`; must keep shape and type.

    Raises:
        DataError: a file is missing, damaged or not what the card says, or the split leaks; all errors are named.
    """
    if card.scans is None:
        raise DataError(f"{card.name} has no volumes.", "Choose a data set of volumes with boxes.")
    verify(card, raw)
    cases, index, parts, findings = _chosen(raw, card, recipe)
    source = BoxSource(raw, card, [case.name for case in cases])
    findings += source.findings
    folder.mkdir(parents=True, exist_ok=True)
    with packing(folder, "volumes", np.uint8) as writer:
        packed = _Packed(card, recipe, writer, preprocess)
        for number, case in enumerate(cases):
            packed.add(number, case, source)
        findings += packed.findings
        stop_on_errors(findings, card.name)
        names, boxes = [case.name for case in cases], packed.box_table()
        findings += duplicate_findings(names, packed.content, "volumes") + double_findings(names, boxes)
        index[SIZES] = np.array(packed.sizes, np.int64)
        split, noticed = divide(index, box_strata(index, boxes, len(card.classes)), packed.content, card, recipe, parts)
        findings += noticed + part_findings(split, index, boxes, card.classes)
        store = writer.store()
        small = np.stack([small_volume(store[row].mean(axis=0)) for row in range(len(store))])
        findings += scan_small(small, Divided(index, split, packed.content))
        findings = gate(findings, recipe.data.waive, card.name)
        facts = {
            "task": "detection",
            "dataset": card.name,
            "card_sha256": card.sha256,
            "classes": list(card.classes),
            "channels": list(card.scans.channels),
            "image_size": store.shape[:, 1:].max(axis=0).tolist(),
            "packing": packing_facts(recipe, preprocess is not None),
            "statistics": _statistics(boxes, packed.spacings, training_rows(split), card),
        }
        write_prepared(
            folder,
            facts=facts,
            index=index,
            split=split,
            findings=findings,
            arrays={"volumes": store.flat},
            tables={"boxes": boxes, "volumes": volume_table(store, np.array(packed.affines))},
        )


def _chosen(
    raw: Path, card: Card, recipe: DetectionRecipe
) -> tuple[list[ScanCase], pd.DataFrame, pd.Series | None, list[Finding]]:
    """Return the cases that the split takes, their index, their parts where the split is the official one, findings."""
    assert card.scans is not None
    cases, findings = read_scan_cases(raw, card.scans)
    stop_on_errors(findings, card.name)
    index, noticed = image_index([case.name for case in cases], card, raw)
    findings += noticed
    kept, parts, noticed = official_parts(index["case_id"], card, raw, recipe.data.split)
    findings += noticed
    cases = [cases[row] for row in np.flatnonzero(kept)]
    return cases, index[kept].reset_index(drop=True), parts, findings


def packing_facts(recipe: DetectionRecipe, preprocessed: bool) -> dict[str, Any]:
    """Return how volumes are packed, as a model remembers it for new files."""
    grey = recipe.data.grey.model_dump(mode="json")
    spacing = recipe.data.spacing_mm
    return {"spacing_mm": None if spacing is None else list(spacing), "grey": grey, "preprocess": preprocessed}


class _Packed:
    """What was packed so far."""

    def __init__(
        self, card: Card, recipe: DetectionRecipe, writer: VolumeWriter, preprocess: Preprocess | None
    ) -> None:
        assert card.scans is not None
        self._channels, self._data, self._writer = len(card.scans.channels), recipe.data, writer
        self._classes, self._preprocess = card.classes, preprocess
        self.findings: list[Finding] = []
        self.content: list[str] = []
        self.sizes: list[tuple[int, ...]] = []
        self.spacings: list[tuple[float, ...]] = []
        self.affines: list[npt.NDArray[np.float64]] = []
        self._boxes: list[pd.DataFrame] = []

    def add(self, number: int, case: ScanCase, source: BoxSource) -> None:
        """Read, pack and box one case; what is wrong with it becomes a finding."""
        try:
            volume = read_volume(case.image, channels=self._channels)
            canonical = volume.canonical()
            found = source.of(case, volume, canonical)
            array, affine = pack(canonical, self._data.grey, self._data.spacing_mm)
        except DataError as error:
            self.findings.append(Finding("error", "unreadable", case.name, error.message, "a volume", error.cure or ""))
            return
        if self._preprocess is not None:
            array = preprocessed(array, self._preprocess, case.name)
        self.content.append(
            hashlib.sha256(repr(canonical.array.shape).encode() + canonical.array.tobytes()).hexdigest()
        )
        sides = canonical.array.shape[1:]
        self.sizes.append(sides)
        self.spacings.append(canonical.spacing_mm)
        self.affines.append(affine)
        self._writer.add(array)
        table, noticed = _inside(number, case.name, sides, found, self._classes)
        self._boxes.append(table)
        self.findings += noticed

    def box_table(self) -> pd.DataFrame:
        """Return all boxes: case, label, min_0 .. max_2, ignore."""
        return pd.concat(self._boxes, ignore_index=True).astype({"case": np.int64, "label": np.int64, "ignore": bool})


def pack(
    volume: Volume, grey: Grey, spacing_mm: tuple[float, ...] | None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """Return a volume in canonical orientation as it is packed, uint8 `(channels, *sides)`, and that grid's affine.

    Raises:
        DataError: black and white are the same value, or the packed grid would have more than `MOST_VOXELS`.
    """
    sides = np.array(volume.array.shape[1:])
    wanted = sides
    if spacing_mm is not None:
        wanted = np.maximum(1, np.round(sides * volume.spacing_mm / np.array(spacing_mm)))
        if np.prod(wanted) > max(MOST_VOXELS, np.prod(sides, dtype=np.float64)):
            own, new = (" x ".join(f"{length:g}" for length in spacing) for spacing in (volume.spacing_mm, spacing_mm))
            raise DataError(
                f"{volume.name}: voxels of {own} mm would become {np.prod(wanted):.3g} of {new} mm.",
                "Look at the spacing of the file, which may be in another unit, and at data.spacing_mm.",
            )
        wanted = wanted.astype(int)
    array = _greyed(volume, grey)
    for axis, side in enumerate(wanted.tolist(), start=1):
        array = _resampled(array, axis, side)
    step = np.diag([*(sides / wanted), 1.0])
    step[:3, 3] = (sides / wanted - 1) / 2
    return np.rint(array).astype(np.uint8), volume.affine @ step


def _greyed(volume: Volume, grey: Grey) -> npt.NDArray[np.float32]:
    """Return the voxels between black, 0, and white, 255."""
    array = volume.array.astype(np.float32)
    for channel, values in enumerate(array):
        if grey.values is not None:
            black, white = grey.values
        else:
            black, white = np.percentile(values, grey.percentiles or (0, 100)).tolist()
        if not white > black:
            raise DataError(
                f"{volume.name}, channel {channel + 1}: black and white are both {black:g}; nothing can be seen in it.",
                "Look at the file: it is empty or constant.",
            )
        array[channel] = np.clip((values - black) * (255 / (white - black)), 0, 255)
    return array


def preprocessed(array: npt.NDArray[np.uint8], preprocess: Preprocess, name: str) -> npt.NDArray[np.uint8]:
    """Apply a hook that must keep shape and type.

    Raises:
        DataError: it does not.
    """
    result = preprocess(array)
    if result.shape != array.shape or result.dtype != np.uint8:
        raise DataError(
            f"preprocess returned {result.dtype} {result.shape} for {name}, expected uint8 {array.shape}.",
            "Keep shape and type; sizes are set by data.spacing_mm.",
        )
    return result


def _resampled(array: npt.NDArray[np.float32], axis: int, side: int) -> npt.NDArray[np.float32]:
    """Resample one axis to another number of voxels over the same length, linearly between middles of voxels."""
    before = array.shape[axis]
    if side == before:
        return array
    place = np.clip((np.arange(side) + 0.5) * before / side - 0.5, 0, before - 1)
    low = np.minimum(place.astype(int), max(before - 2, 0))
    share = (place - low).astype(np.float32).reshape([-1 if one == axis else 1 for one in range(array.ndim)])
    first, second = np.take(array, low, axis), np.take(array, np.minimum(low + 1, before - 1), axis)
    result: npt.NDArray[np.float32] = first + (second - first) * share
    return result


def _inside(
    number: int, name: str, sides: tuple[int, ...], found: ScanBoxes, classes: tuple[str, ...]
) -> tuple[pd.DataFrame, list[Finding]]:
    """Return the boxes of a case as lines of the table, cut off at the volume, and what was dropped or cut."""
    limits = np.tile(np.array(sides, np.float64), 2)
    inside = np.clip(found.boxes, 0, limits)
    gone: npt.NDArray[np.bool_] = np.any(inside[:, 3:] <= inside[:, :3], axis=1)
    cut = ~gone & np.any(np.abs(inside - found.boxes) > 0.5, axis=1)
    findings = []
    for row in np.flatnonzero((gone | cut) & ~found.ignore):
        code, cure = ("box-outside", "It was dropped") if gone[row] else ("box-clipped", "It was cut off")
        where = f"{name}, {classes[found.labels[row]]} {row + 1}"
        shown = " x ".join(f"{low:.1f} to {high:.1f}" for low, high in found.boxes[row].reshape(2, 3).T)
        expected = f"a box inside {' x '.join(map(str, sides))} voxels"
        findings.append(Finding("warning", code, where, shown, expected, f"{cure}; correct the annotation."))
    table = pd.DataFrame(inside[~gone].astype(np.float32), columns=EDGES)
    table.insert(0, "label", found.labels[~gone])
    table.insert(0, "case", number)
    table["ignore"] = found.ignore[~gone]
    return table, findings


def _statistics(
    boxes: pd.DataFrame, spacings: list[tuple[float, ...]], rows: npt.NDArray[np.int64], card: Card
) -> dict[str, Any]:
    """Describe the training part: boxes of each class, and their median sides in millimetres."""
    train = boxes[boxes["case"].isin(rows)]
    counts, median = {}, {}
    for number, name in enumerate(card.classes):
        lines = train[train["label"] == number]
        counts[name] = len(lines)
        if len(lines):
            edges = lines[EDGES].to_numpy(np.float64)
            sides = (edges[:, 3:] - edges[:, :3]) * np.array(spacings)[lines["case"].to_numpy()]
            median[name] = np.median(sides, axis=0).round(2).tolist()
    return {"part": "train", "cases": len(rows), "boxes": counts, "median_box_mm": median}
