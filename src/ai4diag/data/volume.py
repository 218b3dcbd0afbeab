"""A volume: an array that knows where each voxel lies in the patient.

**Convention.** The array is `(channels, i, j, k)`. The affine maps a voxel index (i, j, k), meaning the *centre* of the
voxel, to millimetres in RAS+ (x grows to the right of the patient, y to the front, z to the head), as NIfTI
has it. Readers of other formats convert on the way in (DICOM and NRRD count x and y the other way).

`canonical` exchanges and reverses axes until they point as nearly as possible to the right, the front and the head;
no voxel is interpolated. `back` undoes it for an array of any content, such as a predicted mask.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from ai4diag.data.readers import READERS
from ai4diag.errors import DataError, did_you_mean

Array = npt.NDArray[Any]
MOST_SHEAR = 1e-2
"""Largest cosine between two axes that still counts as a right angle (0.6 degrees)."""


@dataclass(frozen=True)
class Volume:
    """Voxels and their place in the patient; a volume with a broken geometry cannot be made.

    Attributes:
        array: `(channels, i, j, k)`, numbers.
        affine: float64 `(4, 4)`, from voxel index to millimetres, RAS+.
        header: what the format's own writer needs to write the same geometry again; opaque to everybody else.
        name: file or folder it was read from, for messages.

    Raises:
        DataError: the array has no four axes or an empty one, or the affine is no placement of voxels in space.
    """

    array: Array
    affine: npt.NDArray[np.float64]
    header: Any = field(default=None, repr=False, compare=False)
    name: str = "volume"

    def __post_init__(self) -> None:
        if self.array.ndim != 4 or min(self.array.shape) < 1:
            raise DataError(f"{self.name} has shape {self.array.shape}; expected (channels, i, j, k), none empty.")
        object.__setattr__(self, "affine", _checked(self.affine, self.name))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels along each axis of the array, in millimetres."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def orientation(self) -> str:
        """Where the axes point, as three letters out of R/L, A/P and S/I: `RAS` is canonical."""
        axes, signs = _nearest(self.affine)
        return "".join("RAS"[axis] if sign > 0 else "LPI"[axis] for axis, sign in zip(axes, signs, strict=True))

    def canonical(self) -> Volume:
        """Return the volume with axes in the order right, front, head, none reversed; the header is kept."""
        axes, signs = _nearest(self.affine)
        order = np.argsort(axes)
        array = _flip(self.array, signs).transpose(0, *(1 + order))
        flips = np.eye(4)
        for axis in np.flatnonzero(signs < 0):
            flips[axis, axis], flips[axis, 3] = -1, self.array.shape[1 + axis] - 1
        affine = self.affine @ flips
        affine[:, :3] = affine[:, order]
        return Volume(np.ascontiguousarray(array), affine, self.header, self.name)

    def back(self, array: Array) -> Array:
        """Bring an array `(any, ...)` from the canonical orientation of this volume to its own.

        Args:
            array: `(channels, i, j, k)`, the sides of `self.canonical()`; the number of channels is free.

        Raises:
            DataError: the sides are not those of this volume.
        """
        axes, signs = _nearest(self.affine)
        found: Array = _flip(array.transpose(0, *(1 + axes)), signs)
        if found.shape[1:] != self.array.shape[1:]:
            raise DataError(
                f"An array of sides {array.shape[1:]} is not in the canonical orientation of {self.name}, which has "
                f"sides {self.array.shape[1:]} in its own.",
                "Resample it to the grid of the volume first.",
            )
        return np.ascontiguousarray(found)


def read_volume(path: Path, *, channels: int | None = 1) -> Volume:
    """Read a volume from a file, or from a folder that holds one volume.

    Args:
        path: its ending says the format (`ai4diag.data.readers.READERS`); a folder is read as a DICOM series.
        channels: how many the volume must have; None takes what there is. A file with a fourth axis, such as a film,
            is refused unless its length is this number.

    Returns:
        The volume in the orientation of the file, with finite voxels.

    Raises:
        DataError: no such file or format, or it is damaged, has no geometry, other channels, or voxels that are not
            finite.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist.")
    ending = _ending(path)
    module, _, name = READERS[ending].partition(":")
    volume: Volume = getattr(import_module(module), name)(path)
    if channels is not None and volume.array.shape[0] != channels:
        raise DataError(
            f"{path} has {volume.array.shape[0]} channels (a fourth axis); expected {channels}.",
            "Take one volume out of the film, or say on the card which channels there are.",
        )
    wrong = int((~np.isfinite(volume.array)).sum()) if volume.array.dtype.kind == "f" else 0
    if wrong:
        first = tuple(int(at) for at in np.argwhere(~np.isfinite(volume.array))[0][1:])
        raise DataError(
            f"{path} has {wrong} voxels that are not finite, the first at {first}.",
            "Find out what they stand for, and write the file with a number in their place.",
        )
    return volume


def same_grid(one: Volume, other: Volume) -> str:
    """Say in what two volumes differ, sides or place; empty when voxels of equal index lie in one place.

    Places count as the same when no corner is off by more than a tenth of the smallest spacing.
    """
    if one.array.shape[1:] != other.array.shape[1:]:
        return f"sides {one.array.shape[1:]} and {other.array.shape[1:]}"
    off = moved_mm(one.affine, other.affine, one.array.shape[1:])
    if off > 0.1 * min(*one.spacing_mm, *other.spacing_mm):
        return f"places that differ by up to {off:.3g} mm"
    return ""


def moved_mm(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64], sides: tuple[int, ...]) -> float:
    """Return the largest distance in mm between the places that two affines give to one corner voxel."""
    corners = np.array(np.meshgrid(*((0, side - 1) for side in sides), indexing="ij")).reshape(3, -1)
    difference = (one - other) @ np.vstack([corners, np.ones(corners.shape[1])])
    return float(np.linalg.norm(difference[:3], axis=0).max())


def write_nifti(path: Path, array: Array, like: Volume) -> None:
    """Write voxels as NIfTI in the geometry of another volume, atomically; equal content gives equal bytes.

    Args:
        path: ends in `.nii` or `.nii.gz`.
        array: `(channels, i, j, k)` or `(i, j, k)` in the orientation of `like`.
        like: gives affine, and where it was read from NIfTI, its kind, units and codes; none of its texts.

    Raises:
        DataError: the sides are not those of `like`, or the ending is another.
    """
    from ai4diag.data.readers.nifti import write

    array = array if array.ndim == 4 else array[None]
    if array.ndim != 4 or array.shape[1:] != like.array.shape[1:]:
        raise DataError(f"{path}: an array of shape {array.shape} does not fit sides {like.array.shape[1:]}.")
    if not path.name.endswith((".nii", ".nii.gz")):
        raise DataError(f"{path} does not end in .nii or .nii.gz.")
    write(path, array, like.affine, like.header)


def stem(path: Path) -> str:
    """Return the name of a file without the ending of its format: `a.nii.gz` is `a`; a folder's name stays."""
    ending = next(
        (end for end in sorted(READERS, key=len, reverse=True) if end and path.name.lower().endswith(end)), ""
    )
    return path.name[: len(path.name) - len(ending)] if ending and not path.is_dir() else path.name


def volumes_in(
    folders: Sequence[Path], pattern: str, *, others: Literal["refused", "left"] = "refused"
) -> dict[str, Path]:
    """Return the volumes in some folders by case, folder after folder, sorted in each: files, and DICOM series.

    A folder that holds `.dcm` files is one series, named by the folder; a `.dcm` file is one slice, and no volume.

    Args:
        folders: which must exist.
        pattern: regular expression that the name without its ending matches; its one group is the case.
        others: what happens to volumes whose name does not match.

    Raises:
        DataError: a folder is missing, there are no volumes, a name does not match, or a case is there twice.
    """
    endings = tuple(ending for ending in READERS if ending not in ("/", ".dcm"))
    found: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            there = [path.name for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
            cure = f"Look at the folders that the card names. {did_you_mean(folder.name, there)}"
            raise DataError(f"{folder} does not exist.", cure.strip())
        for path in sorted(folder.iterdir()):
            is_file = path.is_file() and path.name.lower().endswith(endings)
            if path.name.startswith(".") or not (is_file or _is_series(path)):
                continue
            name = re.fullmatch(pattern, stem(path))
            if name is None and others == "refused":
                raise DataError(f"{path}: the name does not match the pattern {pattern!r}.", "Correct the card.")
            if name is None:
                continue
            if name.group(1) in found:
                raise DataError(
                    f"{path} and {found[name.group(1)]} are the same case '{name.group(1)}' twice.", "Keep one of them."
                )
            found[name.group(1)] = path
    if not found and others == "refused":
        raise DataError(f"{', '.join(map(str, folders))}: no volumes.", f"Expected files that end in {endings}.")
    return found


def _is_series(path: Path) -> bool:
    """Whether a path is a folder that holds files called `.dcm`, in whatever letters."""
    return path.is_dir() and any(file.suffix.lower() == ".dcm" for file in path.iterdir())


def _ending(path: Path) -> str:
    """Return the key of READERS for a path; folders have the key "/"."""
    if path.is_dir():
        if "/" in READERS:
            return "/"
        raise DataError(f"{path} is a folder; expected a file.")
    for ending in sorted(READERS, key=len, reverse=True):
        if path.name.lower().endswith(ending):
            return ending
    known = [ending for ending in READERS if ending != "/"]
    raise DataError(f"{path}: no reader for '{path.suffix}'. {did_you_mean(path.suffix, known)}")


def _checked(affine: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    """Return the affine as float64 when it places voxels in space."""
    matrix = np.array(affine, np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or (matrix[3] != (0, 0, 0, 1)).any():
        raise DataError(
            f"{name} has no affine from voxels to millimetres: found {matrix.tolist()}.",
            "Write it again with the scanner's geometry; distances and volumes are wrong without it.",
        )
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    if (spacing <= 0).any():
        raise DataError(f"{name} has spacing {spacing.tolist()} mm; expected numbers above 0.", "Correct its header.")
    cosines = (matrix[:3, :3] / spacing).T @ (matrix[:3, :3] / spacing) - np.eye(3)
    if np.abs(cosines).max() > MOST_SHEAR:
        angle = float(np.degrees(np.arccos(np.abs(cosines).max())))
        raise DataError(
            f"{name} has axes at {angle:.3g} degrees; expected 90: the affine is singular or sheared.",
            "Resample it to a grid with right angles (a tilted gantry is the usual reason).",
        )
    return matrix


def _nearest(affine: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return for each array axis the nearest world axis (0 right, 1 front, 2 head) and its sign; each axis once."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    world, array = linear_sum_assignment(-np.abs(np.round(directions, 9)))
    axes = np.empty(3, np.int64)
    axes[array] = world
    signs = np.where(directions[axes, np.arange(3)] < 0, -1, 1).astype(np.int64)
    return axes, signs


def _flip(array: Array, signs: npt.NDArray[np.int64]) -> Array:
    found: Array = np.flip(array, axis=tuple(1 + int(axis) for axis in np.flatnonzero(signs < 0)))
    return found
