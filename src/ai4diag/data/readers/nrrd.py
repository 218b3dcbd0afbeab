"""NRRD: `.nrrd` in one file, `.nhdr` with the voxels beside it. Raw, gzip or bzip2; three axes in space.

Geometry is `space directions` and `space origin` in one of the three patient spaces. pynrrd reads the header; the
voxels are read here, because pynrrd follows any path that a header names and unpacks without a limit.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from ai4diag.data.readers.voxels import MOST_HEADER, beside, read_voxels
from ai4diag.data.volume import Volume
from ai4diag.errors import DataError

SPACES = {
    "right-anterior-superior": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "ras": (1, 1, 1),
    "las": (-1, 1, 1),
    "lps": (-1, -1, 1),
}
"""Spaces of the patient, and the signs that turn them into RAS+."""
TYPES = {
    "i1": "signed char, int8, int8_t",
    "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "float",
    "f8": "double",
}
"""numpy's name of each type, and those of the NRRD definition (section 5)."""
PACKED = {"raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}


def read(path: Path) -> Volume:
    """Read one NRRD file; an axis that lies not in space becomes the channels.

    Raises:
        DataError: the header is damaged, has no place in the patient or another unit than mm, names voxels outside its
            folder, or claims others than there are; or the encoding is text.
    """
    header, end = _header(path)
    sizes = [int(side) for side in header["sizes"]]
    packed = PACKED.get(str(header["encoding"]).lower())
    if packed is None:
        raise DataError(f"{path.name} holds voxels as {header['encoding']}.", "Write it again as raw or gzip.")
    directions, spatial = _directions(path, header, len(sizes))
    others = [axis for axis in range(len(sizes)) if axis not in spatial]
    if len(spatial) != 3 or len(others) > 1:
        raise DataError(f"{path.name} has {len(sizes)} axes, {len(spatial)} of them in space; expected 3 and one more.")
    if any(int(header.get(key, 0)) for key in ("line skip", "byte skip", "lineskip", "byteskip")):
        raise DataError(f"{path.name} skips bytes before its voxels.", "Write it again as one .nrrd.")
    data = header.get("data file", header.get("datafile"))
    dtype = _type(path, header)
    source, start = (path, end) if data is None else (beside(path, str(data)), 0)
    array = read_voxels(source, start, tuple(sizes), dtype, packed)
    array = array.transpose(*others, *spatial)
    signs = np.array(SPACES[str(header["space"]).lower()])
    affine = np.eye(4)
    affine[:3, :3] = directions[spatial].T * signs[:, None]
    affine[:3, 3] = np.asarray(header["space origin"], np.float64) * signs
    return Volume(np.ascontiguousarray(array if others else array[None]), affine, None, str(path))


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the header as pynrrd reads it, and the byte after it."""
    import nrrd

    with path.open("rb") as file:
        start = file.read(MOST_HEADER)
    ends = [(start.find(gap), len(gap)) for gap in (b"\n\n", b"\r\n\r\n") if gap in start]
    place = sum(min(ends)) if ends else len(start)
    if not start.startswith(b"NRRD") or (not ends and place == MOST_HEADER):
        raise DataError(f"{path.name} is no NRRD file.", "Get the file again.")
    try:
        with np.errstate(invalid="ignore"):  # a size that is no number, which is refused below
            header = dict(nrrd.read_header(io.BytesIO(start[:place])))
        missing = [key for key in ("type", "sizes", "encoding") if key not in header]
        if missing or len(header["sizes"]) != int(header["dimension"]):
            raise ValueError
    except (nrrd.NRRDError, ValueError, KeyError, IndexError, TypeError, AssertionError):  # their words may name people
        raise DataError(f"{path.name} has a damaged NRRD header.", "Get the file again.") from None
    return header, place


def _type(path: Path, header: dict[str, Any]) -> np.dtype[Any]:
    name = str(header["type"])
    found = next((code for code, names in TYPES.items() if name in names.split(", ")), None)
    if found is None:
        raise DataError(f"{path.name} has voxels of type {name[:50]}; expected whole or real numbers.", "Convert it.")
    return np.dtype(found).newbyteorder(">" if str(header.get("endian", "little")).lower() == "big" else "<")


def _directions(path: Path, header: dict[str, Any], axes: int) -> tuple[np.ndarray, list[int]]:
    """Return the direction of each axis `(axes, 3)` in mm, NaN for one that lies not in space, and those that do."""
    space = str(header.get("space", "")).lower()
    if space not in SPACES or header.get("space directions") is None or header.get("space origin") is None:
        found = f"space '{space}'" if space else "no space"
        raise DataError(
            f"{path.name} does not say where its voxels lie: {found}; expected {', '.join(list(SPACES)[:3])} with "
            "'space directions' and 'space origin'.",
            "Write it again with the scanner's geometry.",
        )
    units = {str(unit).strip('"').lower() for unit in header.get("space units", [])}
    if units - {"mm", "millimeter", "millimetre", "millimeters", ""}:
        raise DataError(f"{path.name} is measured in {', '.join(sorted(units))}; expected mm.", "Write it again in mm.")
    try:
        rows = [[np.nan] * 3 if row is None else list(row) for row in header["space directions"]]
        directions = np.array(rows, np.float64).reshape(axes, 3)
        if np.asarray(header["space origin"], np.float64).shape != (3,):
            raise ValueError
    except (ValueError, TypeError):
        raise DataError(f"{path.name} has damaged space directions or origin.", "Get the file again.") from None
    return directions, [axis for axis in range(axes) if np.isfinite(directions[axis]).all()]
