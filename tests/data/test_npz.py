"""Arrays read in blocks, against numpy; and files that are damaged or hostile."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from ai4diag.data import npz
from ai4diag.errors import DataError


@pytest.mark.parametrize("compressed", [False, True])
def test_blocks_are_what_numpy_reads(tmp_path: Path, compressed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    arrays = {
        "images": rng.integers(0, 256, (7, 4, 5), np.uint8),
        "labels": rng.integers(0, 9, (7, 1)),
        "none": np.empty((0, 3)),
    }
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", **arrays)
    assert {name: item.shape for name, item in npz.headers(tmp_path / "a.npz").items()} == {
        name: array.shape for name, array in arrays.items()
    }
    monkeypatch.setattr(npz, "BLOCK_BYTES", 45)  # two images and a bit
    pieces = list(npz.blocks(tmp_path / "a.npz", "images"))
    assert [len(piece) for piece in pieces] == [2, 2, 2, 1]
    for name, array in arrays.items():
        found = npz.read(tmp_path / "a.npz", name)
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


def test_objects_are_refused_and_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="has objects"):
        npz.headers(tmp_path / "a.npz")
    with pytest.raises(DataError, match="has objects"):
        npz.read(tmp_path / "a.npz", "images")


def test_fortran_order_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.asfortranarray(np.ones((3, 4))))
    with pytest.raises(DataError, match="Fortran order"):
        npz.headers(tmp_path / "a.npz")


def test_an_array_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.ones(3), labels=np.ones(3))
    with pytest.raises(DataError, match=r"no array 'masks'.*images, labels"):
        npz.read(tmp_path / "a.npz", "masks")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"no zip at all")
    with pytest.raises(DataError, match=r"a\.npz is no readable"):
        npz.headers(path)
    np.savez(path, images=np.arange(4000, dtype=np.uint8))
    content = bytearray(path.read_bytes())
    content[2000] ^= 1  # the zip's own checksum notices
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"a\.npz"):
        npz.read(path, "images")
    header = (
        b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|u1', 'fortran_order': False, 'shape': (900,), }".ljust(117) + b"\n"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", header + b"abc")
    with pytest.raises(DataError, match="ends early"):
        npz.read(path, "images")


@pytest.mark.parametrize(
    "text",
    [
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (3,), ",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (3,), b'x': 1}",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (3 3,)}",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999,), }",
    ],
)
def test_a_damaged_header_is_a_clear_error_and_nothing_else(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00v\x00" + text.ljust(117) + b"\nabc")
    with pytest.raises(DataError, match=r"a\.npz"):
        npz.read(path, "images")


def test_an_archive_with_a_password_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=np.arange(40, dtype=np.uint8))
    content = bytearray(path.read_bytes())
    content[6] |= 1  # the flag in front of the member, and that in the list of members
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"a\.npz is no readable"):
        npz.headers(path)
