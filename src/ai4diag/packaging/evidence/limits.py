"""A folder or a zip from somebody else: refused before anything large, linked, hidden or misplaced is read.

Nothing is trusted: names, sizes and counts are looked at first, and whatever is read is read up to its stated size.
"""

from __future__ import annotations

import os
import stat
import unicodedata
import zipfile
from collections.abc import Iterable
from pathlib import Path

from ai4diag.errors import VerifyError

MOST_FILES = 500
MOST_BYTES = 1 << 30
"""Bytes of all files together."""
MOST_TEXT = 64 << 20
"""Bytes of a file that is read as text."""
MOST_RATIO = 200
"""Unpacked over packed size of an entry."""
FREE_RATIO = 1 << 20
"""Bytes that may be unpacked whatever the ratio."""
BLOCK = 1 << 20
MOST_ROWS, MOST_VALUES, MOST_VOXELS, MOST_RESAMPLES = 20_000_000, 500_000_000, 1 << 30, 1_000_000
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of every entry of a zip that is written here."""
FORBIDDEN = frozenset('\\:*?"<>|')


def refuse_name(name: str) -> None:
    """Refuse a path that could lead out of its folder, or that another system reads differently.

    Raises:
        VerifyError: the path is named.
    """
    parts = name.split("/")
    wrong = (
        not name
        or len(name) > 200
        or any(part in ("", ".", "..") or part != part.strip() or part.endswith(".") for part in parts)
        or any(character in FORBIDDEN or not character.isprintable() for character in name)
        or any(part.lower().startswith(".git") for part in parts)
    )
    if wrong:
        raise VerifyError(f"{name[:200]!r} is no name that a pack may hold.", "Get the pack again.")


def refuse_collisions(names: Iterable[str]) -> None:
    """Refuse two names that are one on a system that does not tell case or accents apart.

    Raises:
        VerifyError: both names are given.
    """
    seen: dict[str, str] = {}
    for name in names:
        key = unicodedata.normalize("NFKC", name).casefold()
        if key in seen:
            raise VerifyError(f"'{seen[key]}' and '{name}' are one name on some systems.", "Get the pack again.")
        seen[key] = name


def files_in(folder: Path) -> dict[str, int]:
    """Return every file of a folder with its size, links not followed.

    Raises:
        VerifyError: a link, a device, an empty folder, a name that may not be, or too much.
    """
    found: dict[str, int] = {}
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        with os.scandir(here) as entries:
            inside = sorted(entries, key=lambda entry: entry.name)
        if not inside:
            raise VerifyError(f"{_shown(here, folder)} is an empty folder.", "Remove it, or get the pack again.")
        for entry in inside:
            name = Path(entry.path).relative_to(folder).as_posix()
            refuse_name(name)
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                waiting.append(Path(entry.path))
            elif stat.S_ISREG(mode):
                found[name] = entry.stat(follow_symlinks=False).st_size
            else:
                kind = "a link" if stat.S_ISLNK(mode) else "no plain file"
                raise VerifyError(f"{name} is {kind}; a pack holds plain files only.", "Get the pack again.")
            _refuse_much(len(found), sum(found.values()))
    refuse_collisions(found)
    return found


def _shown(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path != folder else folder.name


def _refuse_much(files: int, size: int) -> None:
    if files > MOST_FILES or size > MOST_BYTES:
        raise VerifyError(
            f"This is too large for a pack: {files} files, {size:,} bytes; at most {MOST_FILES} and {MOST_BYTES:,}.",
            "Get the pack again.",
        )


def write_zip(folder: Path, path: Path) -> None:
    """Write a folder as a zip whose bytes depend on names and contents alone: sorted, one date, stored as they are."""
    from ai4diag.files import atomic_path

    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files_in(folder)):
            entry = zipfile.ZipInfo(f"{folder.name}/{name}", EPOCH)
            entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, (folder / name).read_bytes())


def unpack(path: Path, target: Path) -> Path:
    """Unpack a zip into an empty folder and return the folder of the pack in it.

    Raises:
        VerifyError: it is no zip, is damaged, or holds what a pack may not hold; nothing is written outside `target`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _refuse_entries(entries)
            for entry in entries:
                _copy(archive, entry, target / entry.filename)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise VerifyError(f"{path.name} is not a zip that can be read: {error}.", "Get the pack again.") from None
    if (target / "manifest.json").is_file():
        return target
    folders = [item for item in target.iterdir() if item.is_dir()]
    if len(folders) != 1 or len(list(target.iterdir())) != 1:
        raise VerifyError(f"{path.name} does not hold one evidence pack.", "Get the pack again.")
    return folders[0]


def _refuse_entries(entries: list[zipfile.ZipInfo]) -> None:
    _refuse_much(len(entries), sum(entry.file_size for entry in entries))
    for entry in entries:
        if entry.filename != entry.orig_filename:
            raise VerifyError(f"{entry.orig_filename[:200]!r} is no name that a pack may hold.", "Get the pack again.")
        refuse_name(entry.filename)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise VerifyError(f"{entry.filename} is a link or no plain file.", "Get the pack again.")
        if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise VerifyError(f"{entry.filename} is encrypted, or packed in an unusual way.", "Get the pack again.")
        if entry.file_size > FREE_RATIO + MOST_RATIO * entry.compress_size:
            raise VerifyError(
                f"{entry.filename} would unpack {entry.compress_size:,} bytes to {entry.file_size:,}.",
                "This looks like a bomb; do not use it.",
            )
    refuse_collisions(entry.filename for entry in entries)


def _copy(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, path.open("xb") as stream:
        left = entry.file_size
        while block := source.read(min(BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                raise VerifyError(f"{entry.filename} is larger than it says.", "This looks like a bomb; do not use it.")
            stream.write(block)


def read_text(path: Path) -> str:
    """Read a text of limited size.

    Raises:
        VerifyError: it is missing, too large, or not UTF-8.
    """
    if not path.is_file():
        raise VerifyError(f"{path.name} is missing from the pack.", "Get the pack again.")
    if path.stat().st_size > MOST_TEXT:
        raise VerifyError(f"{path.name} is too large: {path.stat().st_size:,} bytes.", "Get the pack again.")
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise VerifyError(f"{path.name} is not UTF-8 text.", "Get the pack again.") from None


def refuse_large_table(path: Path) -> None:
    """Refuse a Parquet file that would need far more memory than a table of predictions does; reads its footer only.

    Raises:
        VerifyError: it is missing, damaged, or too large.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            facts = file.metadata
            groups = [facts.row_group(group) for group in range(facts.num_row_groups)]
            values = sum(group.column(number).num_values for group in groups for number in range(group.num_columns))
            size = sum(group.total_byte_size for group in groups)
            rows = facts.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        raise VerifyError(f"{path.name} cannot be read: {error}.", "Get the pack again.") from None
    if rows > MOST_ROWS or values > MOST_VALUES or size > 4 * MOST_BYTES:
        raise VerifyError(f"{path.name} is too large: {rows:,} lines, {values:,} values.", "Get the pack again.")
