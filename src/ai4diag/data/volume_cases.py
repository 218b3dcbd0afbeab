"""Volumes paired with their label maps, each looked at once before anything is packed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ai4diag.config.sources.volumes import Volumes
from ai4diag.data.grid import filled
from ai4diag.data.leaks.copies import small_volume
from ai4diag.data.volume import Volume, read_volume, same_grid, volumes_in
from ai4diag.errors import DataError
from ai4diag.types import Finding

Box = tuple[slice, ...]


@dataclass(frozen=True)
class VolumeCase:
    """A volume and its label map."""

    name: str
    image: Path
    label: Path


@dataclass(frozen=True)
class Look:
    """What one look at a case showed; all axes in canonical orientation.

    Attributes:
        affine, sides: grid of the file.
        box: the part that is not empty; None where cutting it out does not pay.
        dtype: of the voxels.
        largest: the largest voxel.
        counts: int64 `(classes,)`, voxels of each class.
        content: hash of voxels and sides.
        small: the voxels, channels averaged, made small to compare cases (`leaks.copies`).
    """

    affine: npt.NDArray[np.float64]
    sides: tuple[int, int, int]
    box: Box | None
    dtype: np.dtype[np.generic]
    largest: float
    counts: npt.NDArray[np.int64]
    content: str
    small: npt.NDArray[np.float32]


def pair_volumes(raw: Path, volumes: Volumes) -> tuple[list[VolumeCase], list[Finding]]:
    """Pair images with label maps by name; what has no partner is left out with a warning.

    Raises:
        DataError: a folder is missing, a case is there twice, or nothing can be paired.
    """
    images = volumes_in([raw / volumes.folder], volumes.image_pattern, others="left")
    labels = volumes_in([raw / volumes.labels], volumes.label_pattern, others="left")
    findings = []
    for name in sorted(images.keys() ^ labels.keys()):
        has, lacks = ("image", "label map") if name in images else ("label map", "image")
        where = str((images.get(name) or labels[name]).relative_to(raw))
        code = "image-without-label" if name in images else "label-without-image"
        cure = f"It was left out; add the {lacks}, or remove the {has}."
        findings.append(Finding("warning", code, where, f"no {lacks} of this name", "one of each", cure))
    cases = [VolumeCase(name, images[name], labels[name]) for name in sorted(images.keys() & labels.keys())]
    if not cases:
        raise DataError(
            f"{raw}: no image in '{volumes.folder}' ({len(images)} files) has a label map in '{volumes.labels}' "
            f"({len(labels)} files).",
            "Look at volumes.image_pattern and volumes.label_pattern of the card.",
        )
    return cases, findings


def read_image(case: VolumeCase, volumes: Volumes) -> Volume:
    """Read the image of a case, in canonical orientation."""
    return read_volume(case.image, channels=len(volumes.channels)).canonical()


def read_label(case: VolumeCase, volumes: Volumes) -> Volume:
    """Read the label map of a case as class numbers: 0 is the background, then the classes of the card in order.

    Raises:
        DataError: a voxel holds no whole number, or a number that the card does not know.
    """
    label = read_volume(case.label).canonical()
    known = {0: 0, **dict.fromkeys(volumes.unlabelled, 0)}
    known |= {number: position for position, number in enumerate(volumes.numbers.values(), start=1)}
    found = np.unique(label.array)
    strange = [float(value) for value in found if float(value) not in known]
    if strange:
        expected = ", ".join(f"{number} ({name})" for name, number in volumes.numbers.items())
        raise DataError(
            f"{case.label} has voxels of value {strange[0]:g}; expected 0, {expected}.",
            "Correct the label map, or name the number in volumes.numbers or volumes.unlabelled of the card.",
        )
    mask = np.zeros(label.array.shape, np.uint8)
    for value in found:
        mask[label.array == value] = known[int(value)]
    return Volume(mask, label.affine, label.header, label.name)


def look(case: VolumeCase, volumes: Volumes, *, crop: bool) -> Look:
    """Read a case once and say what is in it.

    Raises:
        DataError: a file is damaged, or image and label map do not lie on one grid.
    """
    image, label = read_image(case, volumes), read_label(case, volumes)
    difference = same_grid(image, label)
    if difference:
        raise DataError(
            f"{case.name}: image and label map have {difference}.",
            "The label map was made on another grid: resample it to the image, or take the original.",
        )
    i, j, k = image.array.shape[1:]
    voxels = np.ascontiguousarray(image.array)
    return Look(
        affine=image.affine,
        sides=(i, j, k),
        box=filled(voxels) if crop else None,
        dtype=voxels.dtype,
        largest=float(voxels.max()),
        counts=np.bincount(label.array.ravel(), minlength=len(volumes.numbers) + 1)[1:].astype(np.int64),
        content=hashlib.sha256(repr(voxels.shape).encode() + voxels.astype(np.float32).tobytes()).hexdigest(),
        small=small_volume(voxels.mean(axis=0)),
    )


def look_at_all(
    cases: list[VolumeCase], volumes: Volumes, *, crop: bool
) -> tuple[list[VolumeCase], list[Look], list[Finding]]:
    """Look at every case; one that cannot be used becomes an error."""
    used, looks, findings = [], [], []
    for case in cases:
        try:
            looks.append(look(case, volumes, crop=crop))
            used.append(case)
        except DataError as error:
            findings.append(Finding("error", "unreadable", case.name, error.message, "a usable volume", error.cure))
    empty = [case.name for case, seen in zip(used, looks, strict=True) if not seen.counts.any()]
    if empty:
        found = f"{len(empty)} cases without a voxel of any class, such as {empty[0]}"
        cure = "Right if nothing is there to be found; else label them. Their Dice is undefined or 0."
        findings.append(Finding("warning", "empty-label", volumes.labels, found, "a structure in each case", cure))
    largest = [abs(seen.largest) for seen in looks if seen.largest]
    if largest and max(largest) > 100 * min(largest):
        found = f"brightest voxels from {min(largest):g} to {max(largest):g}"
        cure = "Right for MR; then leave model.intensities at `volume`, which scales each case by itself."
        findings.append(Finding("info", "intensity-scales", volumes.folder, found, "one scale", cure))
    return used, looks, findings
