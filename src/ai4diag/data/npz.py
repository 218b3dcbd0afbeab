"""Arrays of an `.npz`, read in blocks, so that a file of many gigabytes needs no more memory than one block.

Nothing is unpickled: an array of objects is refused.
"""

from __future__ import annotations

import lzma
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ai4diag.errors import DataError

BLOCK_BYTES = 1 << 24
"""Bytes that are read at once, at least one row of the first axis."""
BROKEN = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError),
    *(ValueError, TypeError, SyntaxError, tokenize.TokenError),
)
"""What the standard library raises of a damaged archive (`RuntimeError` of one with a password), numpy of a header."""


@dataclass(frozen=True)
class Header:
    """What an array says of itself before its content."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def headers(path: Path) -> dict[str, Header]:
    """Return the name and header of every array in the file.

    Raises:
        DataError: the file is no `.npz`, or holds something else than plain arrays.
    """
    found = {}
    with _refusals(path), zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as stream:
                found[name.removesuffix(".npy")] = _header(stream, path, name)
    return found


def blocks(path: Path, name: str) -> Iterator[npt.NDArray[Any]]:
    """Yield an array in pieces along its first axis.

    Raises:
        DataError: there is no such array, it is damaged, or it is shorter than its header says.
    """
    with _refusals(path), zipfile.ZipFile(path) as archive:
        if f"{name}.npy" not in archive.namelist():
            known = ", ".join(item.removesuffix(".npy") for item in archive.namelist())
            raise DataError(f"{path.name} has no array '{name}'.", f"It has: {known}.")
        with archive.open(f"{name}.npy") as stream:
            header = _header(stream, path, name)
            row = int(np.prod(header.shape[1:], dtype=np.int64)) * header.dtype.itemsize
            at_once = max(1, BLOCK_BYTES // max(row, 1))
            for start in range(0, header.shape[0], at_once):
                count = min(at_once, header.shape[0] - start)
                content = stream.read(count * row)
                if len(content) != count * row:
                    raise DataError(f"{path.name}: the array '{name}' ends early.", "Fetch the file again.")
                yield np.frombuffer(content, header.dtype).reshape(count, *header.shape[1:])


def read(path: Path, name: str) -> npt.NDArray[Any]:
    """Return a whole array; errors as `blocks` raises them."""
    pieces = list(blocks(path, name))
    return np.concatenate(pieces) if pieces else np.empty(headers(path)[name].shape, headers(path)[name].dtype)


def _header(stream: IO[bytes], path: Path, name: str) -> Header:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, turned, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, turned, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise DataError(f"{path.name}: '{name}' has format {version}; expected 1.0 or 2.0.", "Save it with numpy.")
    if dtype.hasobject or not shape or (turned and len(shape) > 1):
        what = "objects" if dtype.hasobject else "no axis" if not shape else "Fortran order"
        raise DataError(
            f"{path.name}: '{name}' has {what}; expected plain numbers in C order.",
            "Save it with numpy.savez_compressed from np.ascontiguousarray of a numeric array.",
        )
    return Header(tuple(int(side) for side in shape), dtype)


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Turn what the standard library says of a bad file into an error that names it."""
    try:
        yield
    except BROKEN as error:
        raise DataError(f"{path} is no readable .npz file: {error}.", "Fetch or save the file again.") from None
