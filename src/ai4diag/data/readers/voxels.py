"""What readers of volumes with a text header share: voxels from bytes, never more than the header claims."""

from __future__ import annotations

import bz2
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ai4diag.errors import DataError

MOST_BYTES = 2**35
"""No volume of a patient has more (32 GiB); a header that claims more is damaged or hostile."""
MOST_HEADER = 2**20
"""Bytes of a text header."""
FLIP_XY = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From LPS+, in which DICOM, ITK and most NRRD files count, to RAS+."""


def read_voxels(path: Path, start: int, shape: tuple[int, ...], dtype: np.dtype[Any], packed: str) -> npt.NDArray[Any]:
    """Read the voxels of a file.

    Args:
        path: the file.
        start: first byte of the voxels; negative: they are the last bytes of the file, and raw.
        shape: sides, the first axis fastest.
        dtype: of the file, with its byte order.
        packed: `raw`, `gzip`, `zlib` or `bzip2`.

    Returns:
        An array of this shape, in the byte order of the machine; float64 becomes float32.

    Raises:
        DataError: the file holds fewer or more bytes than the header claims, or is damaged.
    """
    claimed = math.prod(shape) * dtype.itemsize
    if min(shape) < 1 or claimed > MOST_BYTES:
        raise DataError(f"{path.name} claims voxels of sides {shape}, {claimed} bytes.", "Get the file again.")
    size = path.stat().st_size
    begin = size - claimed if start < 0 else start
    held = max(size - max(begin, 0), 0)
    if packed == "raw" and held != claimed:
        raise DataError(
            f"{path.name} is damaged: it holds {held} bytes of voxels; its header claims {claimed}.",
            "Get the file again.",
        )
    with path.open("rb") as file:
        file.seek(max(begin, 0))
        content = file.read()
    try:
        content = content if packed == "raw" else _unpack(content, packed, claimed)
    except (zlib.error, OSError, EOFError, ValueError) as error:
        raise DataError(f"{path.name} is damaged: {error}.", "Get the file again.") from None
    if len(content) != claimed:
        more = "more than" if len(content) > claimed else f"{len(content)} of"
        raise DataError(
            f"{path.name} is damaged: it holds {more} the {claimed} bytes of voxels that its header claims."
        )
    array = np.frombuffer(content, dtype).reshape(shape, order="F")
    target = np.dtype(np.float32) if dtype.kind == "f" else dtype.newbyteorder("=")
    return array.astype(target)


def _unpack(content: bytes, packed: str, claimed: int) -> bytes:
    """Unpack one byte more than is claimed at most, so that a small file cannot fill the memory."""
    if packed == "bzip2":
        return bz2.BZ2Decompressor().decompress(content, claimed + 1)
    inflate = zlib.decompressobj(31 if packed == "gzip" else 15)
    found = inflate.decompress(content, claimed + 1)
    if len(found) <= claimed and not inflate.eof:
        raise ValueError("its packed voxels break off")
    return found


def beside(path: Path, name: str) -> Path:
    """Return the file of voxels that a header names, which must lie in the folder of the header.

    Raises:
        DataError: the name leads elsewhere, or there is no such file.
    """
    found = path.parent / name
    if Path(name).name != name or name in ("", ".", "..") or "\\" in name or "\0" in name or found.is_symlink():
        raise DataError(
            f"{path.name} takes its voxels from '{name[:100]}'; expected the name of a file beside it.",
            "Put both into one folder and correct the header.",
        )
    if not found.is_file():
        raise DataError(f"{path.name} takes its voxels from '{name}', which is missing.", "Put it beside the header.")
    return found


def numbers(path: Path, key: str, text: str, count: int) -> npt.NDArray[np.float64]:
    """Return `count` finite numbers out of a header's text.

    Raises:
        DataError: there are others.
    """
    try:
        values = np.array([float(word) for word in text.split()])
    except ValueError:
        values = np.array([np.nan])
    if len(values) != count or not np.isfinite(values).all():
        raise DataError(f"{path.name}: {key} is '{text[:100]}'; expected {count} numbers.", "Correct the header.")
    return values
