"""A DICOM series of single slices (CT, MR, PET) as one volume.

Slices are put in order by where they lie, never by file name or number. A series that has a gap, a slice twice, slices
of different geometry, or that is two series, is refused, because a volume of it would be wrong without a sign of it.

Only the elements of `GEOMETRY` and the pixels are read: names, numbers and dates of patients never leave the file, and
messages name files only.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ai4diag.data.readers.voxels import FLIP_XY, MOST_BYTES
from ai4diag.data.volume import Volume
from ai4diag.errors import DataError

ENCODING = ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
"""How pixels are stored; every slice says all of it."""
GEOMETRY = (
    "SeriesInstanceUID",
    "Rows",
    "Columns",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    *ENCODING,
    "RescaleSlope",
    "RescaleIntercept",
)
"""All elements that are read, beside the transfer syntax and the pixels."""
TOLERANCE = 0.02
"""Share of the distance between slices by which one distance may differ; scanners round positions."""
MOST_INTERCEPT = 2**30
"""With a larger one, voxels become real numbers: as whole ones, the sum might not fit."""
_OTHERS = (".txt", ".md", ".json", ".csv", ".xml", ".html", ".pdf", ".yaml", ".yml")
_DEFLATED = "1.2.840.10008.1.2.1.99"
_AGAIN = "Export the series again."


@dataclass(frozen=True)
class Slice:
    """Where one slice lies: LPS+ millimetres, directions of growing column and row numbers."""

    path: Path
    series: str
    shape: tuple[int, int]
    position: npt.NDArray[np.float64]
    along_row: npt.NDArray[np.float64]
    along_column: npt.NDArray[np.float64]
    spacing_mm: tuple[float, float]
    thickness_mm: float
    slope: float
    intercept: float
    bits: int

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """Direction at right angles to the slice."""
        return np.cross(self.along_row, self.along_column)


def read(path: Path) -> Volume:
    """Read the series in a folder, or one slice; voxels are `(1, column, row, slice)`, rescaled to their unit.

    Files that begin with a dot, DICOMDIR, and texts such as licences are passed over.

    Raises:
        DataError: no series, several, one with gaps, slices twice or of different geometry, pixels that are damaged or
            packed in a way that no installed decoder reads; files are named.
    """
    files = sorted(file for file in path.iterdir() if _may_be_slice(file)) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path} holds no DICOM files.", "Give the folder of one series.")
    slices = [_geometry(file) for file in files]
    _refuse_mixed(path, slices)
    ordered, affine = _in_order(path, slices)
    rows, columns = ordered[0].shape
    if rows * columns * len(ordered) * 4 > MOST_BYTES:
        raise DataError(f"{path.name} claims {len(ordered)} slices of {rows} x {columns}.", "Get the series again.")
    whole = all(one.slope == 1 and one.intercept == int(one.intercept) for one in ordered)
    whole = whole and max(abs(one.intercept) for one in ordered) < MOST_INTERCEPT
    planes = [_pixels(one) for one in ordered]
    wide = np.int32 if max(plane.dtype.itemsize for plane in planes) <= 2 else np.int64
    if whole:
        voxels = np.stack([plane.astype(wide) + int(one.intercept) for plane, one in zip(planes, ordered, strict=True)])
        low, high = voxels.min(), voxels.max()
        voxels = voxels.astype(np.int16) if low >= -(2**15) and high < 2**15 else voxels
    else:
        scaled = [plane * np.float64(one.slope) + one.intercept for plane, one in zip(planes, ordered, strict=True)]
        voxels = np.stack(scaled).astype(np.float32)
    return Volume(np.ascontiguousarray(voxels.transpose(2, 1, 0)[None]), FLIP_XY @ affine, None, str(path))


def _may_be_slice(file: Path) -> bool:
    name = file.name.lower()
    known = (
        name.startswith((".", "license", "licence", "readme")) or name == "dicomdir" or file.suffix.lower() in _OTHERS
    )
    return file.is_file() and not known


@contextmanager
def _silent() -> Iterator[None]:
    """Keep to itself what pydicom warns and logs about, because it quotes values of the header."""
    logger = logging.getLogger("pydicom")
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


def _read(file: Path, pixels: bool) -> Any:
    """Return the elements of `GEOMETRY`, and the pixels if wanted."""
    from pydicom import dcmread

    tags = [*GEOMETRY, *(("PixelData",) if pixels else ())]
    with _silent():
        try:
            found = dcmread(file, stop_before_pixels=not pixels, specific_tags=list(tags))
            syntax = found.file_meta.TransferSyntaxUID
            if not syntax.is_transfer_syntax:
                raise ValueError
        except Exception as error:  # whatever a damaged header leads to; its words may quote the header
            kind = type(error).__name__
            raise DataError(f"{file.name} is no DICOM file, or a damaged one ({kind}).", "Get it again.") from None
    if syntax == _DEFLATED:
        raise DataError(f"{file.name} is deflated as a whole.", "Convert it, for example with dcmconv +te.")
    return found


def _geometry(file: Path) -> Slice:
    """Read where a slice lies.

    Raises:
        DataError: something is missing, or is not what a single grey slice has.
    """
    found = _read(file, pixels=False)
    with _silent():
        try:
            frames = int(found.get("NumberOfFrames") or 1)
            kind = int(found.SamplesPerPixel), str(found.PhotometricInterpretation)
            shape = int(found.Rows), int(found.Columns)
            position = np.array([float(value) for value in found.ImagePositionPatient])
            directions = np.array([float(value) for value in found.ImageOrientationPatient])
            spacing = float(found.PixelSpacing[0]), float(found.PixelSpacing[1])
            thickness = float(found.get("SpacingBetweenSlices") or found.get("SliceThickness") or 0)
            slope, intercept = found.get("RescaleSlope"), found.get("RescaleIntercept")
            scale = 1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept)
            bits, *_ = (int(found[name].value) for name in ENCODING)
            series = str(found.SeriesInstanceUID)
        except Exception:  # any kind of missing or damaged element
            raise DataError(
                f"{file.name} lacks an element that says where its pixels lie, or has a damaged one.",
                "Take the images of the series only, without reports and scouts, or export them again.",
            ) from None
    if frames != 1:
        raise DataError(
            f"{file.name} holds {frames} frames; expected one slice a file.", "Convert it to single frames."
        )
    if kind != (1, "MONOCHROME2"):
        raise DataError(
            f"{file.name} has {kind[0]} values a pixel, {kind[1][:16]}; expected 1, MONOCHROME2.", "Convert it."
        )
    numbers = [*position, *directions, *spacing, thickness, *scale]
    lengths = np.linalg.norm(directions.reshape(2, -1), axis=1) if len(directions) == 6 else np.zeros(2)
    right = len(position) == 3 and len(directions) == 6 and abs(directions[:3] @ directions[3:]) < 1e-3
    if not np.isfinite(numbers).all() or not right or (abs(lengths - 1) > 1e-3).any() or min(*spacing, *shape) <= 0:
        raise DataError(f"{file.name} has a place, directions or a spacing that cannot be.", _AGAIN)
    return Slice(file, series, shape, position, directions[:3], directions[3:], spacing, thickness, *scale, bits=bits)


def _refuse_mixed(path: Path, slices: Sequence[Slice]) -> None:
    """Refuse files that are not slices of one series with one geometry."""
    first = slices[0]
    series = Counter(one.series for one in slices)
    if len(series) > 1:
        example = [next(one.path.name for one in slices if one.series == name) for name in list(series)[:3]]
        raise DataError(
            f"{path.name} holds {len(series)} series of {sorted(series.values())} files, such as {', '.join(example)}.",
            "Put each series into a folder of its own.",
        )
    for one in slices[1:]:
        directions = np.abs(np.r_[one.along_row - first.along_row, one.along_column - first.along_column]).max()
        for what, same in (
            ("size", one.shape == first.shape),
            ("pixel spacing", np.allclose(one.spacing_mm, first.spacing_mm, rtol=1e-4)),
            ("orientation", directions < 1e-3),
        ):
            if not same:
                raise DataError(f"{one.path.name} and {first.path.name} of one series differ in their {what}.", _AGAIN)


def _in_order(path: Path, slices: Sequence[Slice]) -> tuple[list[Slice], npt.NDArray[np.float64]]:
    """Return the slices along their normal, and the affine from (column, row, slice) to LPS+ millimetres.

    Raises:
        DataError: a slice is there twice, one is missing, distances differ, or slices lie not on one line.
    """
    first = slices[0]
    ordered = sorted(slices, key=lambda one: float(one.position @ first.normal))
    places = np.array([float(one.position @ first.normal) for one in ordered])
    if len(ordered) > 1:
        step = _distance(path, ordered, np.diff(places))
        line = (ordered[-1].position - ordered[0].position) / (len(ordered) - 1)
        expected = ordered[0].position + np.arange(len(ordered))[:, None] * line
        off = np.linalg.norm(np.array([one.position for one in ordered]) - expected, axis=1)
        if off.max() > 0.1 * min(*first.spacing_mm, step):
            name = ordered[int(off.argmax())].path.name
            raise DataError(f"{name} lies {off.max():.3g} mm beside the line of the other slices.", _AGAIN)
    elif first.thickness_mm > 0:
        line = first.normal * first.thickness_mm
    else:
        raise DataError(f"{first.path.name} is a single slice without thickness.", "Give the whole series.")
    affine = np.eye(4)
    affine[:3, 0] = first.along_row * first.spacing_mm[1]
    affine[:3, 1] = first.along_column * first.spacing_mm[0]
    affine[:3, 2] = line
    affine[:3, 3] = ordered[0].position
    return ordered, affine


def _distance(path: Path, ordered: Sequence[Slice], steps: npt.NDArray[np.float64]) -> float:
    """Return the one distance between slices."""
    usual = float(np.median(steps))
    for number, step in enumerate(steps):
        before, after = ordered[number].path.name, ordered[number + 1].path.name
        if step < 1e-3 or step < TOLERANCE * usual:
            raise DataError(
                f"{before} and {after} lie in the same place, {step:.3g} mm apart.",
                "Keep one; two series, or two times of one, do not make one volume.",
            )
        if abs(step - usual) > max(TOLERANCE * usual, 1e-3):
            missing = step / usual - 1
            if missing > 0.5 and abs(missing - round(missing)) < 0.1:
                noun = "slice is" if round(missing) == 1 else "slices are"
                raise DataError(
                    f"{path.name}: {round(missing)} {noun} missing between {before} and {after} "
                    f"({step:.4g} mm apart; the others {usual:.4g} mm).",
                    "Get the missing files; a gap would shorten what lies in it.",
                )
            raise DataError(
                f"{path.name}: {before} and {after} are {step:.4g} mm apart, most others {usual:.4g} mm.",
                "Resample the series to one distance with a tool that knows each place.",
            )
    return usual


def _pixels(one: Slice) -> npt.NDArray[Any]:
    """Return the stored values `(rows, columns)`.

    Raises:
        DataError: the pixels are damaged, or no installed decoder reads how they are packed.
    """
    found = _read(one.path, pixels=True)
    syntax = found.file_meta.TransferSyntaxUID
    with _silent():
        content = found.get("PixelData")
    if not isinstance(content, bytes):
        raise DataError(f"{one.path.name} has no pixels.", _AGAIN)
    if syntax.is_compressed:
        _refuse_without_decoder(one, syntax)
    else:
        claimed, held = math.prod(one.shape) * (one.bits // 8), len(content)
        if not claimed <= held <= claimed + 1:  # an odd length is filled up
            raise DataError(
                f"{one.path.name} is damaged: it holds {held} bytes of pixels; its header claims {claimed}.", _AGAIN
            )
    with _silent():
        try:
            pixels = np.asarray(found.pixel_array)
        except Exception as error:  # whatever a decoder raises
            raise DataError(f"{one.path.name} has damaged pixels ({type(error).__name__}).", _AGAIN) from None
    if pixels.shape != one.shape:
        raise DataError(f"{one.path.name} has pixels {pixels.shape}; its header says {one.shape}.", _AGAIN)
    return pixels


def _refuse_without_decoder(one: Slice, syntax: Any) -> None:
    from pydicom.pixels import get_decoder

    try:
        decoder = get_decoder(syntax)
        available, needs = decoder.is_available, ", ".join(decoder.missing_dependencies)
    except NotImplementedError:
        available, needs = False, ""
    if not available:
        raise DataError(
            f"{one.path.name} is packed as {syntax.name}, which no installed decoder reads.",
            f"Install one of: {needs}." if needs else "Convert it to Explicit VR Little Endian.",
        )
