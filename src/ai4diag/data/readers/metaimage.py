"""MetaImage: `.mha` in one file, `.mhd` with the voxels beside it (LUNA16 has these). Raw or zlib.

Each row of `TransformMatrix` is the direction of an axis of the array, `Offset` the middle of the first voxel, both in
LPS+ millimetres, as ITK reads and writes them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ai4diag.data.readers.voxels import FLIP_XY, MOST_HEADER, beside, numbers, read_voxels
from ai4diag.data.volume import Volume
from ai4diag.errors import DataError

TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}


def read(path: Path) -> Volume:
    """Read one MetaImage.

    Raises:
        DataError: the header is damaged, has no geometry, names voxels outside its folder, or claims others than
            there are; or the format is one that is not read here (text, lists of files, more than three axes).
    """
    header, end = _header(path)
    axes = header.get("NDims", "3")
    if header.get("ObjectType", "Image") != "Image" or axes != "3":
        raise DataError(f"{path.name} is a MetaImage {header.get('ObjectType', 'Image')} of {axes} axes; expected 3.")
    for key in ("DimSize", "ElementType", "ElementDataFile"):
        if key not in header:
            raise DataError(f"{path.name} has no {key}.", "Get the file again.")
    sides = numbers(path, "DimSize", header["DimSize"], 3)
    kind, channels = header["ElementType"], header.get("ElementNumberOfChannels", "1")
    number = channels.isdigit() and len(channels) < 10 and int(channels) > 0
    if kind not in TYPES or not number or (sides != sides.round()).any():
        raise DataError(
            f"{path.name} has {channels[:20]} channels of {kind}, sides {header['DimSize']}.", "Convert it."
        )
    if _yes(header, "BinaryData", True) is False or header.get("HeaderSize", "0") not in ("0", "-1"):
        raise DataError(f"{path.name} holds text or another header before its voxels.", "Write it again as .mha.")
    order = ">" if _yes(header, "BinaryDataByteOrderMSB", _yes(header, "ElementByteOrderMSB", False)) else "<"
    packed = "zlib" if _yes(header, "CompressedData", False) else "raw"
    if packed == "zlib" and header.get("HeaderSize") == "-1":
        raise DataError(f"{path.name} has packed voxels at an unknown place.", "Write it again as .mha.")
    data = header["ElementDataFile"]
    shape = (int(channels), *(int(side) for side in sides))
    local = data.upper() == "LOCAL"
    if not local and (data.upper().startswith("LIST") or "%" in data):
        raise DataError(f"{path.name} takes its voxels from a list of files.", "Write it again as .mha.")
    start = -1 if header.get("HeaderSize") == "-1" else end if local else 0
    array = read_voxels(path if local else beside(path, data), start, shape, np.dtype(order + TYPES[kind]), packed)
    return Volume(np.ascontiguousarray(array), _affine(path, header), None, str(path))


def _header(path: Path) -> tuple[dict[str, str], int]:
    """Return the keys of the header, and the byte after it."""
    with path.open("rb") as file:
        start = file.read(MOST_HEADER)
    header: dict[str, str] = {}
    place = 0
    while "ElementDataFile" not in header:
        end = start.find(b"\n", place)
        line = start[place : end if end >= 0 else len(start)]
        key, sign, value = line.partition(b"=")
        if not sign or len(line) > 10_000 or not line.isascii():
            raise DataError(f"{path.name} is no MetaImage: its header ends without ElementDataFile.", "Get it again.")
        header[key.decode().strip()] = value.decode().strip()
        place = end + 1 if end >= 0 else len(start)
    return header, place


def _yes(header: dict[str, str], key: str, default: bool) -> bool:
    return header[key].lower() in ("true", "t", "1", "yes") if key in header else default


def _affine(path: Path, header: dict[str, str]) -> np.ndarray:
    """Return the geometry in RAS+; a header without spacing or place is refused."""
    found = {}
    for key, names, count in (
        ("spacing", ("ElementSpacing",), 3),
        ("place of the first voxel", ("Offset", "Position", "Origin"), 3),
        ("directions", ("TransformMatrix", "Orientation", "Rotation"), 9),
    ):
        name = next((name for name in names if name in header), None)
        if name is None:
            raise DataError(
                f"{path.name} does not say the {key} of its voxels ({names[0]}).", "Write it again with it."
            )
        found[key] = numbers(path, name, header[name], count)
    affine = np.eye(4)
    affine[:3, :3] = found["directions"].reshape(3, 3).T * found["spacing"]
    affine[:3, 3] = found["place of the first voxel"]
    return np.asarray(FLIP_XY @ affine)
