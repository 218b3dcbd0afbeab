"""Folders and zips from somebody else: what is refused before it is read."""

from __future__ import annotations

import stat
import struct
import zipfile

import pytest

from ai4diag.errors import VerifyError
from ai4diag.packaging.evidence import limits


@pytest.fixture
def target(tmp_path):
    made = tmp_path / "target"
    made.mkdir()
    return made


def packed(path, entries, compression=zipfile.ZIP_STORED):
    """Write a zip of these entries: names or infos, and contents."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for entry, content in entries:
            archive.writestr(entry, content)
    return path


def test_a_folder_comes_back_as_it_was_and_its_zip_always_has_the_same_bytes(tmp_path, target):
    folder = tmp_path / "pack"
    (folder / "deep").mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    (folder / "deep" / "b").write_bytes(bytes(range(256)))
    limits.write_zip(folder, tmp_path / "one.zip")
    (folder / "deep" / "b").touch()
    limits.write_zip(folder, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    found = limits.unpack(tmp_path / "one.zip", target)
    assert found == target / "pack"
    assert limits.files_in(found) == limits.files_in(folder) == {"deep/b": 256, "manifest.json": 2}
    assert (found / "deep" / "b").read_bytes() == bytes(range(256))


@pytest.mark.parametrize(
    "name",
    [
        *("../out", "a/../../out", "/etc/x", "a//b", "./a", "a/.", "C:/x", "a\\b", "a:b", "a\x07b", "a\u202eb"),
        *("a/.git/config", ".GitAttributes", "a ", "a.", "", "x" * 201),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(name):
    with pytest.raises(VerifyError, match="no name that a pack may hold"):
        limits.refuse_name(name)


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil"])
def test_nothing_is_written_outside_of_the_folder(tmp_path, target, name):
    path = packed(tmp_path / "slip.zip", [("pack/manifest.json", "{}"), (name, "evil")])
    with pytest.raises(VerifyError, match="no name that a pack may hold"):
        limits.unpack(path, target)
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize(("one", "other"), [("A.txt", "a.txt"), ("stra\u00dfe", "strasse"), ("\u00e9", "e\u0301")])
def test_names_that_are_one_elsewhere_are_refused(tmp_path, target, one, other):
    path = packed(tmp_path / "twice.zip", [(one, "1"), (other, "2")])
    with pytest.raises(VerifyError, match="one name on some systems"):
        limits.unpack(path, target)


def test_an_entry_that_is_there_twice_is_refused(tmp_path, target):
    with pytest.warns(UserWarning, match="Duplicate"):
        path = packed(tmp_path / "twice.zip", [("manifest.json", "1"), ("manifest.json", "2")])
    with pytest.raises(VerifyError, match="one name on some systems"):
        limits.unpack(path, target)


def test_a_link_in_a_zip_is_refused(tmp_path, target):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(VerifyError, match="is a link"):
        limits.unpack(packed(tmp_path / "link.zip", [(link, "/etc/passwd")]), target)


def test_a_bomb_is_refused_by_its_stated_size(tmp_path, target):
    path = packed(tmp_path / "bomb.zip", [("zeros", bytes(5 << 20))], zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10_000
    with pytest.raises(VerifyError, match="bomb"):
        limits.unpack(path, target)
    assert not list(target.iterdir())


def test_a_bomb_that_states_a_small_size_is_not_unpacked(tmp_path, target):
    path = packed(tmp_path / "liar.zip", [("zeros", bytes(5 << 20))], zipfile.ZIP_DEFLATED)
    content = path.read_bytes()
    true, small = struct.pack("<I", 5 << 20), struct.pack("<I", 100)
    assert content.count(true) == 2  # local header and directory
    path.write_bytes(content.replace(true, small))
    with pytest.raises(VerifyError):
        limits.unpack(path, target)
    assert sum(item.stat().st_size for item in target.rglob("*") if item.is_file()) <= 100


def test_too_many_and_too_much_is_refused(tmp_path, target, monkeypatch):
    path = packed(tmp_path / "many.zip", [(f"f{k}", "x") for k in range(limits.MOST_FILES + 1)])
    with pytest.raises(VerifyError, match="too large for a pack"):
        limits.unpack(path, target)
    monkeypatch.setattr(limits, "MOST_BYTES", 10)
    with pytest.raises(VerifyError, match="too large for a pack"):
        limits.unpack(packed(tmp_path / "much.zip", [("a", "x" * 11)]), target)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(50)])
def test_what_is_no_zip_is_refused(tmp_path, target, content):
    (tmp_path / "no.zip").write_bytes(content)
    with pytest.raises(VerifyError, match=r"no\.zip"):
        limits.unpack(tmp_path / "no.zip", target)


def test_a_flipped_bit_in_a_zip_is_found(tmp_path, target):
    path = packed(tmp_path / "flip.zip", [("a", "content " * 50)])
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    with pytest.raises(VerifyError, match="CRC"):
        limits.unpack(path, target)


def test_a_zip_of_two_folders_is_refused(tmp_path, target):
    path = packed(tmp_path / "two.zip", [("a/manifest.json", "{}"), ("b/manifest.json", "{}")])
    with pytest.raises(VerifyError, match="one evidence pack"):
        limits.unpack(path, target)


def test_links_and_pipes_and_empty_folders_are_refused(tmp_path):
    import os

    for number, make in enumerate(
        (
            lambda path: (path / "x").symlink_to("/etc/passwd"),
            lambda path: (path / "x").symlink_to(path, target_is_directory=True),
            lambda path: os.mkfifo(path / "x"),
            lambda path: (path / "x").mkdir(),
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "a").write_text("a")
        make(folder)
        with pytest.raises(VerifyError, match=r"a link|no plain file|empty folder"):
            limits.files_in(folder)


def test_a_table_is_refused_by_its_footer(tmp_path, monkeypatch):
    import pandas as pd

    path = tmp_path / "table.parquet"
    pd.DataFrame({"a": range(100)}).to_parquet(path)
    limits.refuse_large_table(path)
    monkeypatch.setattr(limits, "MOST_ROWS", 99)
    with pytest.raises(VerifyError, match="100 lines"):
        limits.refuse_large_table(path)
    path.write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(VerifyError, match="cannot be read"):
        limits.refuse_large_table(path)
