"""From volumes with label maps to prepared cases for segmentation.

Every volume is read twice: once to look at it, so that the plan can choose a spacing and the sizes are known, and once
to pack it. Never more than one is held in memory. What is added to the files of every task:

grids.parquet       side_*, affine_*: the grid of each file in canonical orientation, uncropped and not resampled
truth.parquet       runs (`ai4diag.masks`) of each label map as it was drawn, on that grid
foreground.npy      int32 (n, 3): up to 2,000 voxels of each class of each case, drawn at random, on the packed grid
foreground.parquet  case, label (class number), start, count: where the voxels of a case and class lie in it
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.card import Card
from ai4diag.config.segmentation import SegmentationRecipe
from ai4diag.config.sources.volumes import Volumes
from ai4diag.data import grid
from ai4diag.data.catalogue import verify
from ai4diag.data.check_table import duplicate_findings
from ai4diag.data.divide import divide, official_parts, training_rows
from ai4diag.data.identify import image_index
from ai4diag.data.leaks.gate import gate
from ai4diag.data.leaks.scan import Divided, scan_small
from ai4diag.data.prepared import write_prepared
from ai4diag.data.problems import absent_findings, stop_on_errors
from ai4diag.data.volume_cases import Look, VolumeCase, look_at_all, pair_volumes, read_image, read_label
from ai4diag.data.volume_plan import plan_spacing
from ai4diag.data.volume_store import AFFINE, SIDES, packing, volume_table
from ai4diag.errors import DataError
from ai4diag.masks import encode

Array = npt.NDArray[Any]
MOST_FOREGROUND = 2000


def prepare_volumes(raw: Path, card: Card, recipe: SegmentationRecipe, folder: Path) -> None:
    """Read, validate, split, resample and pack volumes; write prepared cases to `folder`.

    Args:
        raw: folder of the data set; its files are verified against their checksums first.
        card: what the data set shall be.
        recipe: spacing, and how cases are divided.
        folder: where the prepared cases go.

    Raises:
        DataError: a file is missing, damaged or not what the card says, or the split leaks; all errors are named.
    """
    volumes = card.volumes
    if volumes is None:
        raise DataError(f"{card.name} has no volumes.", "Choose a data set for segmentation.")
    verify(card, raw)
    cases, findings = pair_volumes(raw, volumes)
    index, noticed = image_index([case.name for case in cases], card, raw)
    findings += noticed
    kept, parts, noticed = official_parts(index["case_id"], card, raw, recipe.data.split)
    cases, index = [cases[row] for row in np.flatnonzero(kept)], index[kept].reset_index(drop=True)
    findings += noticed
    cases, looks, noticed = look_at_all(cases, volumes, crop=recipe.data.crop)
    findings += noticed
    stop_on_errors(findings, card.name)
    content = [seen.content for seen in looks]
    counts = np.array([seen.counts for seen in looks])
    strata = np.column_stack([counts, pd.get_dummies(index["site"]).to_numpy(np.float64)])
    split, noticed = divide(index, strata, content, card, recipe, parts)
    findings += noticed + duplicate_findings([case.name for case in cases], content, volumes.folder)
    findings += absent_findings(split, index, counts > 0, card.classes, "no voxel of class {name}")
    for axis in range(3):
        index[f"size_{axis}"] = np.array([seen.sides[axis] for seen in looks], np.int64)
    findings += scan_small(np.stack([seen.small for seen in looks]), Divided(index, split, content))
    findings = gate(findings, recipe.data.waive, card.name)
    train = training_rows(split)
    grids = _Grids(looks, recipe.data.spacing_mm or _spacing(looks, train))
    facts = {
        "task": "segmentation",
        "dataset": card.name,
        "card_sha256": card.sha256,
        "classes": list(card.classes),
        "numbers": list(volumes.numbers.values()),
        "channels": list(volumes.channels),
        "spacing_mm": list(grids.spacing_mm),
        "fingerprint": _fingerprint(looks, grids, train, counts, volumes),
    }
    _pack(folder, cases, volumes, grids, {"facts": facts, "index": index, "split": split, "findings": findings})


def _pack(folder: Path, cases: Sequence[VolumeCase], volumes: Volumes, grids: _Grids, known: Mapping[str, Any]) -> None:
    """Pack every case and write what is known of them; `known` holds facts, index, split and findings."""
    folder.mkdir(parents=True, exist_ok=True)
    with packing(folder, "volumes", grids.dtype) as images, packing(folder, "masks", np.uint8) as masks:
        truth, foreground = [], _Foreground()
        for row, case in enumerate(cases):
            label = read_label(case, volumes).array
            image, mask = _packed(read_image(case, volumes).array, label, grids, row)
            images.add(image)
            masks.add(mask)
            truth.append(encode(label[0]))
            foreground.add(row, mask[0], len(volumes.numbers))
        write_prepared(
            folder,
            **known,
            arrays={"volumes": images.flat(), "masks": masks.flat(), "foreground": foreground.array()},
            tables={
                "volumes": volume_table(images.store(), np.array(grids.affines), masks.store()),
                "grids": grid_table(grids.own_sides, grids.own),
                "truth": pd.DataFrame({"runs": truth}),
                "foreground": foreground.table(),
            },
        )


def grid_table(sides: Sequence[Sequence[int]], affines: Sequence[npt.NDArray[np.float64]]) -> pd.DataFrame:
    """Return `grids.parquet`: sides and affines `(4, 4)` of the files in canonical orientation."""
    table = pd.DataFrame(np.array(sides, np.int64), columns=list(SIDES))
    table[AFFINE] = np.array(affines)[:, :3].reshape(len(affines), 12)
    return table


class _Grids:
    """The packed grid of every case."""

    def __init__(self, looks: Sequence[Look], spacing_mm: Sequence[float]) -> None:
        self.spacing_mm = tuple(float(value) for value in spacing_mm)
        self.own = [seen.affine for seen in looks]
        self.own_sides = [seen.sides for seen in looks]
        self.affines: list[npt.NDArray[np.float64]] = []
        self.sides: list[tuple[int, ...]] = []
        self.changed = False
        for seen in looks:
            affine, sides = seen.affine, seen.sides
            if seen.box is not None:
                affine, cut = grid.moved(affine, seen.box), tuple(part.stop - part.start for part in seen.box)
                sides = (cut[0], cut[1], cut[2])
            new, packed = grid.finer(affine, sides, self.spacing_mm)
            self.changed |= not np.array_equal(new, affine)
            self.affines.append(new)
            self.sides.append(packed)
        kinds = {seen.dtype for seen in looks}
        whole = kinds <= {np.dtype(np.uint8), np.dtype(np.int16)} and not self.changed
        self.dtype: np.dtype[Any] = np.result_type(*kinds) if whole else np.dtype(np.float32)

    def places(self, row: int) -> list[npt.NDArray[np.float64]]:
        """Return where the packed voxels of a case lie on its own grid."""
        return grid.places(self.affines[row], self.sides[row], self.own[row])


def _packed(image: Array, label: npt.NDArray[np.uint8], grids: _Grids, row: int) -> tuple[Array, npt.NDArray[np.uint8]]:
    """Return image and label map of a case on its packed grid."""
    where = grids.places(row)
    return grid.linear(image, where).astype(grids.dtype), grid.labels(label, where, int(label.max()) + 1)


class _Foreground:
    """Some voxels of each class of each case, so that a patch can be cut around one without searching for it."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, int, int, int]] = []
        self._voxels: list[npt.NDArray[np.int32]] = []
        self._total = 0

    def add(self, row: int, mask: npt.NDArray[np.uint8], n_classes: int) -> None:
        for label in range(1, n_classes + 1):
            voxels = np.argwhere(mask == label).astype(np.int32)
            if len(voxels) > MOST_FOREGROUND:
                chosen = np.random.default_rng((row, label)).choice(len(voxels), MOST_FOREGROUND, replace=False)
                voxels = voxels[np.sort(chosen)]
            self._lines.append((row, label, self._total, len(voxels)))
            self._voxels.append(voxels)
            self._total += len(voxels)

    def array(self) -> npt.NDArray[np.int32]:
        return np.concatenate(self._voxels)

    def table(self) -> pd.DataFrame:
        return pd.DataFrame(self._lines, columns=["case", "label", "start", "count"]).astype(np.int64)


def _spacing(looks: Sequence[Look], train: npt.NDArray[np.int64]) -> tuple[float, float, float]:
    spacings = np.array([np.linalg.norm(looks[row].affine[:3, :3], axis=0) for row in train])
    return plan_spacing(spacings, np.array([looks[row].sides for row in train]))


def _fingerprint(
    looks: Sequence[Look],
    grids: _Grids,
    train: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    volumes: Volumes,
) -> Mapping[str, Any]:
    """Describe the training cases: the fields of `volume_plan.Fingerprint`."""
    spacings = np.array([np.linalg.norm(looks[row].affine[:3, :3], axis=0) for row in train])
    packed = np.array([grids.sides[row] for row in train])
    voxels = float(np.array([np.prod(looks[row].sides) for row in train], np.float64).sum())
    return {
        "cases": len(train),
        "spacing_mm": np.median(spacings, axis=0).round(4).tolist(),
        "finest_mm": np.percentile(spacings, 10, axis=0).round(4).tolist(),
        "sides": np.median([looks[row].sides for row in train], axis=0).tolist(),
        "packed_mm": list(grids.spacing_mm),
        "packed_sides": np.median(packed, axis=0).tolist(),
        "most_sides": packed.max(axis=0).tolist(),
        "channels": list(volumes.channels),
        "classes": list(volumes.numbers),
        "shares": (counts[train].sum(axis=0) / voxels).round(6).tolist(),
    }
