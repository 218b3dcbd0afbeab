"""New volumes for a trained model, and its answers as label maps in the geometry of the files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.data import grid
from ai4diag.data.prepare_volumes import grid_table
from ai4diag.data.prepared import Prepared, write_prepared
from ai4diag.data.split import COLUMNS
from ai4diag.data.volume import Volume, read_volume, stem, write_nifti
from ai4diag.data.volume_store import SIDES, affines_of, packing, volume_table
from ai4diag.errors import DataError
from ai4diag.files import read_parquet
from ai4diag.masks import decode


def gather_volumes(
    inputs: Sequence[Path],
    folder: Path,
    *,
    classes: Sequence[str],
    numbers: Sequence[int],
    channels: Sequence[str],
    spacing_mm: Sequence[float],
    crop: bool,
) -> Prepared:
    """Read volumes and pack them as `prepare_volumes` packs those of a data set; their truth is not known.

    Args:
        inputs: files or DICOM folders, one case each.
        folder: where the prepared cases go.
        classes, numbers: class names, and how label maps write them.
        channels: names; each file must have as many.
        spacing_mm: of the packed volumes.
        crop: whether empty margins are cut off.

    Returns:
        Prepared cases; the index holds `path`, the file that each came from.

    Raises:
        DataError: a file cannot be read, has other channels, shows nothing, or has the name of another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = _names(inputs)
    own: list[tuple[Sequence[int], npt.NDArray[np.float64]]] = []
    affines = []
    with packing(folder, "volumes", np.float32) as packed:
        for path in inputs:
            volume = read_volume(path, channels=len(channels)).canonical()
            _refuse_blank(volume)
            affine, sides = _packed_grid(volume, spacing_mm, crop)
            packed.add(grid.linear(volume.array, grid.places(affine, sides, volume.affine)))
            own.append((volume.array.shape[1:], volume.affine))
            affines.append(affine)
        paths = [str(path.resolve()) for path in inputs]
        write_prepared(
            folder,
            facts={
                "task": "segmentation",
                "dataset": "new files",
                "classes": list(classes),
                "numbers": list(numbers),
                "channels": list(channels),
                "spacing_mm": list(spacing_mm),
            },
            index=pd.DataFrame({"case_id": names, "patient_id": names, "site": "unknown", "path": paths}),
            split=pd.DataFrame(columns=COLUMNS),
            findings=[],
            arrays={"volumes": packed.flat()},
            tables={
                "volumes": volume_table(packed.store(), np.array(affines)),
                "grids": grid_table([sides for sides, _ in own], [affine for _, affine in own]),
            },
        )
    return Prepared.open(folder)


def _names(inputs: Sequence[Path]) -> list[str]:
    """Return the case that each file is, when all differ."""
    names = [stem(path) for path in inputs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"Two files are called '{twice[0]}'.", "Rename one: answers are named after their file.")
    return names


def _refuse_blank(volume: Volume) -> None:
    """Refuse a volume of one value: a network finds structures in it all the same."""
    if volume.array.min() == volume.array.max():
        found = f"{volume.name} holds the value {volume.array.flat[0]:g} in every voxel; expected an image."
        raise DataError(found, "Get the file again, or leave it out.")


def _packed_grid(
    volume: Volume, spacing_mm: Sequence[float], crop: bool
) -> tuple[npt.NDArray[np.float64], tuple[int, ...]]:
    """Return affine and sides of the packed grid of a volume in canonical orientation."""
    box = grid.filled(volume.array) if crop else None
    affine, sides = volume.affine, volume.array.shape[1:]
    if box is not None:
        affine, sides = grid.moved(affine, box), tuple(part.stop - part.start for part in box)
    return grid.finer(affine, sides, spacing_mm)


def write_label_maps(runs: Iterable[Any], prepared: Prepared, folder: Path) -> tuple[pd.DataFrame, list[Path]]:
    """Write `<case>.nii.gz` for each gathered case: orientation, sides and affine of its own file, numbers of the card.

    Args:
        runs: label map of each case (`ai4diag.masks`), in canonical orientation.
        prepared: what `gather_volumes` returned.
        folder: where to write.

    Returns:
        Volume of each class in ml, one line per case (`case_id`, `file`, `<class>_ml`), and the files.
    """
    grids = read_parquet(prepared.folder / "grids.parquet")
    sides, affines = grids[list(SIDES)].to_numpy(np.int64), affines_of(grids)
    written: npt.NDArray[np.int64] = np.array([0, *prepared.facts["numbers"]], np.int64)
    kind = np.min_scalar_type(int(written.max()))
    lines, files = [], []
    for row, (line, found) in enumerate(zip(prepared.index.itertuples(index=False), runs, strict=True)):
        mask = decode(found, sides[row].tolist(), len(written))
        like = read_volume(Path(str(line.path)), channels=len(prepared.facts["channels"]))
        path = folder / f"{line.case_id}.nii.gz"
        write_nifti(path, like.back(written[mask].astype(kind)[None]), like)
        voxel_ml = abs(float(np.linalg.det(affines[row][:3, :3]))) / 1000
        counts = np.bincount(mask.ravel(), minlength=len(written))[1:]
        volumes = {f"{name}_ml": n * voxel_ml for name, n in zip(prepared.classes, counts.tolist(), strict=True)}
        lines.append({"case_id": line.case_id, "file": path.name, **volumes})
        files.append(path)
    return pd.DataFrame(lines), files
