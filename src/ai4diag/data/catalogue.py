"""The catalogue: which data sets there are, and how their files come to this machine.

Files are looked for in this order: embedded (inside scikit-learn, or generated), the folder of the card, an offline
mirror, the original address. When all are there, `SHA256SUMS` is written beside them as the last file; a folder
without it is known to be incomplete. `sha256sum -c SHA256SUMS` checks a folder by hand.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from ai4diag.config.card import Card, File, load_card
from ai4diag.data.download import fetch, shown
from ai4diag.errors import ConfigError, DataError, MachineError, did_you_mean
from ai4diag.files import checksum_file, sha256_file, write_text

SUMS = "SHA256SUMS"
State = Literal["present", "incomplete", "absent"]
Notify = Callable[[str, dict[str, Any]], None]


class Catalogue:
    """The cards in a folder.

    Args:
        folder: where `<name>.yaml` are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def names(self) -> list[str]:
        """Return the names of all data sets, sorted."""
        return sorted(path.stem for path in self.folder.glob("*.yaml"))

    def card(self, name: str) -> Card:
        """Read the card of that name.

        Raises:
            ConfigError: there is none, and the nearest name is given; or the card is malformed.
        """
        if name not in self.names():
            raise ConfigError(f"{self.folder} has no card '{name}'. {did_you_mean(name, self.names())}")
        return load_card(self.folder / f"{name}.yaml")


def state(card: Card, data_folder: Path) -> State:
    """Say whether the files of a data set are there, from their names alone; `verify` looks at their content."""
    folder = Path(data_folder) / card.name
    if not folder.is_dir():
        return "absent"
    if not (folder / SUMS).is_file():
        return "incomplete"
    there = all((folder / path).is_file() for path in _sums(folder))
    return "present" if there else "incomplete"


def get(
    card: Card,
    data_folder: Path,
    mirror: str | None = None,
    notify: Notify | None = None,
    *,
    size: int | None = None,
) -> Path:
    """Bring the files of a data set to `data_folder/<name>`; files that are there already are verified and kept.

    Args:
        card: what to bring.
        data_folder: holds one folder per data set.
        mirror: folder or `http(s)://` address laid out as `<card.mirror>/<path>`.
        notify: called as `notify("file", {"path", "source", "done", "total"})` after each file.
        size: which files, where the card has them in several sizes; None: the smallest.

    Returns:
        The folder of the data set.

    Raises:
        DataError: a file could not be had from any source; all that was tried is named.
        MachineError: the folder cannot be written.
    """
    folder = Path(data_folder) / card.name
    if card.embedded is not None:
        if state(card, data_folder) == "absent" or not _is_whole(card, data_folder):
            _make_embedded(card, folder)
        return folder
    if card.by_hand:
        return _by_hand(card, data_folder)
    files = card.files_of(size)
    for number, file in enumerate(files, start=1):
        source = _get_file(card, file, folder, mirror)
        if notify is not None:
            notify("file", {"path": file.path, "source": source, "done": number, "total": len(files)})
    sums = {file.path: file.sha256 or sha256_file(folder / file.path) for file in files}
    if len(files) < len(card.all_files()) and (folder / SUMS).is_file():  # files of another size were fetched before
        sums = {path: digest for path, digest in _sums(folder).items() if (folder / path).is_file()} | sums
    _write_sums(folder, sums)
    return folder


def verify(card: Card, raw_folder: Path, *, size: int | None = None) -> None:
    """Compare every raw file with its checksum: the card's, or for generated files the one recorded beside them.

    Args:
        card: what the files shall be.
        raw_folder: where they are.
        size: as for `get`.

    Raises:
        DataError: a file is missing or differs; the first is named.
    """
    raw_folder = Path(raw_folder)
    if not raw_folder.is_dir():
        raise DataError(f"{raw_folder} does not exist.", f"Run `ai4diag data get {card.name}`.")
    sums = {file.path: file.checksum for file in card.files_of(size) if file.checksum is not None}
    if not sums:
        sums = _sums(raw_folder)
    for path, expected in sums.items():
        if not (raw_folder / path).is_file():
            raise DataError(f"{raw_folder / path} is missing.", f"Run `ai4diag data get {card.name}`.")
        found = checksum_file(raw_folder / path, expected)
        if found != expected:
            raise _differs(raw_folder / path, found, expected)


def _by_hand(card: Card, data_folder: Path) -> Path:
    """Return the folder of a set that people lay out themselves; what is there first is recorded, and kept to.

    Raises:
        DataError: nothing is there: what to fetch is said; or files are gone since they were recorded.
    """
    folder = Path(data_folder) / card.name
    there = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS and path.name[0] != ".")
    if not there:
        raise DataError(f"{card.name} is not on this machine: {folder} holds no files.", card.by_hand)
    found = state(card, data_folder)
    if found == "incomplete" and (folder / SUMS).is_file():
        lost = sorted(path for path in _sums(folder) if not (folder / path).is_file())
        raise DataError(
            f"{folder / lost[0]} is gone ({len(lost)} such files).",
            f"Bring it back; if fewer are wanted on purpose, delete {folder / SUMS}.",
        )
    if found == "incomplete":
        _write_sums(folder, {path.relative_to(folder).as_posix(): sha256_file(path) for path in there})
    return folder


def _get_file(card: Card, file: File, folder: Path, mirror: str | None) -> str:
    target, checksum = folder / file.path, str(file.checksum)
    if target.is_file() and checksum_file(target, checksum) == checksum:
        return "present"
    return fetch(_sources(card, file, mirror), checksum, target)


def _sources(card: Card, file: File, mirror: str | None) -> list[str]:
    if file.beside_card:
        return [str(card.folder / file.path)]
    inside = quote(file.path)
    sources = []
    if mirror:
        path = inside if mirror.startswith(("http://", "https://")) else file.path
        sources.append(f"{mirror.rstrip('/')}/{card.mirror or card.name}/{path}")
    if file.url is not None:
        return [*sources, file.url]
    return sources + [f"{base.rstrip('/')}/{inside}" for base in card.downloads]


def _is_whole(card: Card, data_folder: Path) -> bool:
    if state(card, data_folder) != "present":
        return False
    folder = Path(data_folder) / card.name
    return all(sha256_file(folder / path) == digest for path, digest in _sums(folder).items())


def _make_embedded(card: Card, folder: Path) -> None:
    """Make the files in a hidden folder and rename it, so that the data set appears whole."""
    from ai4diag.data import embedded

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise MachineError(f"Cannot write {folder}: {error.strerror}.", "Check the permissions.") from error
    try:
        paths = embedded.MAKERS[str(card.embedded)](making)
        sums = {path: sha256_file(making / path) for path in paths}
        for file in card.files:
            if file.sha256 is not None and sums.get(file.path) != file.sha256:
                raise _differs(folder / file.path, sums.get(file.path, "nothing"), file.sha256)
        _write_sums(making, sums)
        making.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        making.replace(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _write_sums(folder: Path, sums: dict[str, str]) -> None:
    """Write the checksums, unless they stand there already: data that many share may be read-only."""
    path, text = folder / SUMS, "".join(f"{digest}  {path}\n" for path, digest in sorted(sums.items()))
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _sums(folder: Path) -> dict[str, str]:
    path = folder / SUMS
    if not path.is_file():
        raise DataError(f"{path} is missing: the data set is incomplete.", f"Run `ai4diag data get {folder.name}`.")
    lines = path.read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _differs(path: Path, found: str, expected: str) -> DataError:
    return DataError(
        f"{path} is not what its card says: {shown(found)}, expected {shown(expected)}.",
        "Delete it and run `ai4diag data get` again; if it was changed on purpose, write a card of its own.",
    )
