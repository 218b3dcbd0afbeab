"""Volumes of a card paired with their boxes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.card import Card
from ai4diag.config.sources.scans import LabelMaps, Scans, Spheres, VoxelBoxes
from ai4diag.data.scan_boxes import boxes_of_labels, boxes_of_spheres, moved_boxes
from ai4diag.data.volume import Volume, read_volume, same_grid, volumes_in
from ai4diag.errors import DataError, did_you_mean
from ai4diag.types import Finding

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ScanCase:
    """A volume, and the label map that belongs to it, if boxes come from those."""

    name: str
    image: Path
    labels: Path | None = None


@dataclass(frozen=True)
class ScanBoxes:
    """Boxes of one volume `(n, 6)`, as `ai4diag.data.scan_boxes` has them, class numbers and which to ignore `(n,)`."""

    boxes: Floats
    labels: npt.NDArray[np.int64]
    ignore: npt.NDArray[np.bool_]


def read_scan_cases(raw: Path, scans: Scans) -> tuple[list[ScanCase], list[Finding]]:
    """List the volumes of all folders, each with its label map; one without the other is an error.

    Raises:
        DataError: a folder is missing or holds no volumes, a name does not match its pattern, or a case is there twice.
    """
    images = volumes_in([raw / folder for folder in scans.folders], scans.pattern)
    if scans.label_maps is None:
        return [ScanCase(name, path) for name, path in images.items()], []
    maps = volumes_in([raw / scans.label_maps.folder], scans.label_maps.pattern)
    findings = []
    for name in sorted(images.keys() ^ maps.keys()):
        has, lacks = ("image", "label map") if name in images else ("label map", "image")
        where = str((images.get(name) or maps[name]).relative_to(raw))
        code = f"{has.replace(' ', '-')}-without-{lacks.replace(' ', '-')}"
        found, cure = f"no {lacks} named {name}", f"Add the {lacks}, or remove the {has}."
        findings.append(Finding("error", code, where, found, "one of each", cure))
    return [ScanCase(name, images[name], maps[name]) for name in images if name in maps], findings


class BoxSource:
    """Where the boxes of a card come from.

    Args:
        raw: folder of the data set.
        card: with `scans`.
        names: the cases.

    Raises:
        DataError: a table is missing, lacks a column, or holds what is no number or no class.
    """

    def __init__(self, raw: Path, card: Card, names: list[str]) -> None:
        assert card.scans is not None
        self.findings: list[Finding] = []
        self._scans, self._classes = card.scans, card.classes
        source = self._scans.spheres or self._scans.voxel_boxes
        self._lines: dict[str, pd.DataFrame] = {}
        if source is not None:
            table = _read_table(raw, source, card.classes)
            self._lines = {str(name): lines for name, lines in table.groupby("case", sort=False)}
            if strange := sorted(self._lines.keys() - set(names)):
                found = f"boxes of {len(strange)} cases that are not there, such as {strange[0]}"
                cure = "Nothing to do if only a part of the data set is wanted."
                self.findings.append(Finding("warning", "box-without-image", source.path, found, "their volumes", cure))

    def of(self, case: ScanCase, volume: Volume, canonical: Volume) -> ScanBoxes:
        """Return the boxes of a case.

        Args:
            case: which.
            volume: as its file has it.
            canonical: the same in canonical orientation.

        Raises:
            DataError: its label map cannot be read, lies elsewhere, or holds numbers that the card does not know.
        """
        if case.labels is not None and self._scans.label_maps is not None:
            return self._from_labels(self._scans.label_maps, case.labels, volume)
        lines = self._lines.get(case.name)
        if lines is None:
            return ScanBoxes(np.zeros((0, 6)), np.zeros(0, np.int64), np.zeros(0, bool))
        numbers = lines[[f"number_{column}" for column in range(6 if self._scans.voxel_boxes else 4)]].to_numpy()
        if self._scans.voxel_boxes is not None:
            boxes = moved_boxes(numbers, volume.affine, canonical.affine)
        else:
            boxes = boxes_of_spheres(numbers[:, :3], numbers[:, 3], canonical.affine)
        return ScanBoxes(boxes, lines["label"].to_numpy(np.int64), lines["ignore"].to_numpy(bool))

    def _from_labels(self, maps: LabelMaps, path: Path, volume: Volume) -> ScanBoxes:
        labels = read_volume(path)
        if differs := same_grid(volume, labels):
            raise DataError(f"{path} is not on the grid of its image: {differs}.", "Resample it to the image's grid.")
        array = replace(labels, affine=volume.affine).canonical().array[0]  # the same axes, also close to 45 degrees
        whole = array.astype(np.int64)
        strange = sorted(set(np.unique(array).tolist()) - {0, *maps.numbers.values(), *maps.unlabelled})
        if strange:
            raise DataError(
                f"{path} holds the number {strange[0]:g}; expected 0, {', '.join(map(str, maps.numbers.values()))}.",
                "Correct the label map, or the card's numbers.",
            )
        found = [
            boxes_of_labels(whole, maps.numbers[name], each=maps.each, least_voxels=maps.least_voxels)
            for name in self._classes
        ]
        classes = np.repeat(np.arange(len(found)), [len(boxes) for boxes in found])
        return ScanBoxes(np.concatenate(found), classes, np.zeros(len(classes), bool))


def _read_table(raw: Path, source: Spheres | VoxelBoxes, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return case, label, ignore and number_0, ...: x, y, z in RAS+ and diameter, or low and high edges."""
    if isinstance(source, VoxelBoxes):
        return _lines(raw / source.path, source, [*source.low, *source.high], classes)
    columns = [*source.centre, source.diameter_mm]
    table = _lines(raw / source.path, source, columns, classes)
    bad = np.flatnonzero(table["number_3"] <= 0)
    if len(bad):
        found = f"{raw / source.path}, line {bad[0] + 2}: found diameter {table['number_3'][bad[0]]:g} mm"
        raise DataError(f"{found}, expected one above 0.", "Correct the table.")
    if source.ignored is not None:
        others = _lines(raw / source.ignored, source.model_copy(update={"label": None}), columns, classes[:1])
        others["number_3"] = others["number_3"].where(others["number_3"] > 0, source.unknown_diameter_mm)
        others = pd.concat([others.assign(label=number, ignore=True) for number in range(len(classes))])
        table = pd.concat([table, others], ignore_index=True)
    if source.system == "LPS":
        table[["number_0", "number_1"]] *= -1
    return table


def _lines(path: Path, source: Spheres | VoxelBoxes, columns: list[str], classes: tuple[str, ...]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}.", "Look at the card.") from None
    wanted = [source.case, *columns, *([source.label] if source.label else [])]
    if missing := [name for name in wanted if name not in table.columns]:
        raise DataError(f"{path} has no column '{missing[0]}'. {did_you_mean(missing[0], map(str, table.columns))}")
    found = pd.DataFrame({"case": table[source.case].str.strip()})
    for number, name in enumerate(columns):
        found[f"number_{number}"] = pd.to_numeric(table[name], errors="coerce")
        bad = ~np.isfinite(found[f"number_{number}"].to_numpy(np.float64))
        if bad.any():
            line = int(np.flatnonzero(bad)[0])
            raise DataError(f"{path}, line {line + 2}, column '{name}': {table[name][line]!r} is no number.")
    named = table[source.label] if source.label else pd.Series([classes[0]] * len(table), dtype=str)
    if unknown := sorted(set(named) - set(classes)):
        raise DataError(f"{path}: class '{unknown[0]}'. {did_you_mean(unknown[0], classes)}", "Correct it or the card.")
    if source.label is None and len(classes) > 1:
        raise DataError(f"{path}: the card has {len(classes)} classes, and no column says which.", "Name it: `label`.")
    return found.assign(label=[classes.index(name) for name in named], ignore=False)
