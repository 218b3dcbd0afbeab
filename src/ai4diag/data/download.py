"""Fetch one file from a folder or over HTTP: verified, resumable, whole or absent.

While a file is on its way it lives beside its target as `.<name>.<first digits of its checksum>.part`. A transfer that
breaks leaves that part behind, and the next attempt asks the server for the rest (HTTP Range). Only a file with the
right checksum gets its own name.
"""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from ai4diag.errors import DataError, MachineError
from ai4diag.files import checksum_file

Notify = Callable[[str, dict[str, object]], None]

TIMEOUT_SECONDS = 30
ATTEMPTS = 3
"""Attempts per address before the next source is tried; each goes on where the one before broke off."""
LARGEST_FILE_BYTES = 64 * 2**30
_BLOCK = 1 << 20


def fetch(sources: list[str], checksum: str, target: Path) -> str:
    """Fetch a file from the first source that has it with the right content.

    Args:
        sources: folders' files as paths, or `http(s)://` addresses, in the order to try.
        checksum: what the content must hash to: a SHA-256, or an MD5 with `md5:` before it.
        target: where it shall be; its folder is made.

    Returns:
        The source that served.

    Raises:
        DataError: no source gave the right content; every source is named with what happened.
        MachineError: the target cannot be written.
    """
    part = target.parent / f".{target.name}.{checksum.removeprefix('md5:')[:12]}.part"
    tried = []
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for source in sources:
            try:
                _fetch_once(source, checksum, part)
            except _SourceError as problem:
                tried.append(f"{source}: {problem}")
                continue
            part.replace(target)
            return source
    except OSError as error:
        raise MachineError(
            f"Cannot write {target}: {error.strerror or error}.",
            "Check free disk space and the permissions of the folder.",
        ) from error
    list_of_tries = "; ".join(tried) if tried else "the card names no source"
    raise DataError(
        f"{target.name} could not be had ({shown(checksum)}). Tried: {list_of_tries}.",
        "Set AI4DIAG_MIRROR to a folder or address that holds the data, or connect to the internet.",
    )


def shown(checksum: str) -> str:
    """Return the beginning of a checksum with its kind.

    >>> shown("md5:28209eda62fecd6e"), shown("0747417630782adf")
    ('md5 28209eda62fe...', 'sha256 074741763078...')
    """
    kind, _, digest = checksum.rpartition(":")
    return f"{kind or 'sha256'} {digest[:12]}..."


class _SourceError(Exception):
    """A source did not give the file; the text says why."""


def _fetch_once(source: str, checksum: str, part: Path) -> None:
    if source.startswith(("http://", "https://")):
        _download(source, checksum, part)
    elif "://" in source:
        raise _SourceError("only http and https addresses are read")
    else:
        _copy(Path(source), part)
    found = checksum_file(part, checksum)
    if found != checksum:
        part.unlink()
        raise _SourceError(f"wrong content, {shown(found)}, refused")


def _copy(source: Path, part: Path) -> None:
    if not source.is_file():
        raise _SourceError("no such file")
    try:
        with source.open("rb") as stream, part.open("wb") as sink:
            while block := stream.read(_BLOCK):
                sink.write(block)
            _flush(sink.fileno())
    except PermissionError as error:
        if error.filename == str(source):
            raise _SourceError("not readable") from None
        raise


def _download(address: str, checksum: str, part: Path) -> None:
    """Download in up to `ATTEMPTS` attempts, each going on where the last one broke off."""
    problem = ""
    for _ in range(ATTEMPTS):
        resumed = part.exists() and part.stat().st_size > 0
        try:
            _transfer(address, part)
        except _BrokenError as error:
            problem = str(error)
            continue
        if (
            resumed and checksum_file(part, checksum) != checksum
        ):  # the part belonged to other content: once more from the start
            part.unlink()
            problem = "the resumed file had the wrong content"
            continue
        return
    raise _SourceError(f"{problem} ({ATTEMPTS} attempts)")


class _BrokenError(Exception):
    """The transfer broke off; what has arrived is kept."""


def _transfer(address: str, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"User-Agent": "ai4diag"})  # noqa: S310 - scheme checked above
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            part.unlink()
            raise _BrokenError("the server has no more than the part that was kept") from None
        if error.code >= 500:
            raise _BrokenError(f"HTTP {error.code} {error.reason}") from None
        raise _SourceError(f"HTTP {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise _SourceError(f"not reachable ({error.reason})") from None
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(f"broke off ({_words(error)})") from None
    with response:
        goes_on = have and response.status == http.HTTPStatus.PARTIAL_CONTENT
        if goes_on and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink()
            raise _BrokenError("the server resumed at another place")
        _receive(response, part, "ab" if goes_on else "wb")


def _receive(response: http.client.HTTPResponse, part: Path, mode: str) -> None:
    declared = response.headers.get("Content-Length")
    expected = int(declared) if declared and declared.isdigit() else None
    if expected is not None and expected > LARGEST_FILE_BYTES:
        raise _SourceError(f"{expected} bytes are more than the limit of {LARGEST_FILE_BYTES}")
    received = 0
    with part.open(mode) as sink:
        while True:
            try:
                block = response.read(_BLOCK)
            except (OSError, http.client.HTTPException) as error:
                raise _BrokenError(f"broke off after {received} bytes ({_words(error)})") from None
            if not block:
                break
            received += len(block)
            if received > LARGEST_FILE_BYTES:
                raise _SourceError(f"more than the limit of {LARGEST_FILE_BYTES} bytes")
            sink.write(block)
        _flush(sink.fileno())
    if expected is not None and received < expected:
        raise _BrokenError(f"broke off after {received} of {expected} bytes")


def _flush(handle: int) -> None:
    os.fsync(handle)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
