"""Files that are whole or absent: atomic writes, locks, hashes, strict JSON."""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai4diag.errors import DataError, MachineError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; on success it is flushed to disk and renamed to `path`.

    Whoever reads `path` sees the old content or the new one, never a part. On an error nothing is left behind.

    Raises:
        MachineError: the folder cannot be written to, or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _cannot_write(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        _fsync_folder(path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def exclusive(path: Path, what: str, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock for as long as the context lasts; the system releases it when the process dies, however it dies.

    Args:
        path: the lock file; it stays, because removing it would let two processes in.
        what: what is being worked on, for the error.
        wait: wait for the other process instead of raising; for work of milliseconds.

    Raises:
        MachineError: another process holds the lock, or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+", encoding="ascii")
    except OSError as error:
        raise _cannot_write(path, error) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            stream.seek(0)
            other = stream.read().strip()
            raise MachineError(
                f"Process {other} is at work on {what}.", f"Wait until it has ended, or end it: kill {other}"
            ) from None
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def put_folder(making: Path, folder: Path) -> None:
    """Put a finished folder in the place of another, which goes as a whole; between two renames it is `.<name>.old`."""
    before = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(before, ignore_errors=True)
    if folder.exists():
        folder.replace(before)
    making.replace(folder)
    shutil.rmtree(before, ignore_errors=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` atomically as UTF-8."""
    write_bytes(path, content.encode("utf-8"))


def write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that must not exist yet; from its first moment nobody else can read a private one.

    Raises:
        OSError: it exists, or cannot be written.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as stream:
        os.fchmod(handle, mode)
        stream.write(content)
        stream.flush()
        os.fsync(handle)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically: two-space indent, keys in the order given, NaN and infinities as null."""
    write_text(path, to_json(content) + "\n")


def to_json(content: Any) -> str:
    """Return strict JSON text; NaN and infinities become null, because JSON has no word for them."""
    return json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False)


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        DataError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not valid JSON: {error}.", "Make it again with the stage that writes it.") from None


def read_arrow(path: Path) -> pa.Table:
    """Read a Parquet file, page checksums verified.

    On this thread alone: Arrow's own threads can be caught in the middle of something when the process ends, and then
    abort it (apache/arrow#34314).

    Raises:
        OSError, pyarrow.ArrowException: it cannot be read, or is damaged.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True) as file:
        return file.read(use_threads=False)


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a table that ai4diag wrote, as `read_arrow` does."""
    table: pd.DataFrame = read_arrow(path).to_pandas(use_threads=False)
    return table


def sha256_bytes(content: bytes) -> str:
    """Return the SHA-256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, read in blocks."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def checksum_file(path: Path, like: str) -> str:
    """Return the checksum of a file in the form of another: its SHA-256, or `md5:` and its MD5."""
    if not like.startswith("md5:"):
        return sha256_file(path)
    with Path(path).open("rb") as stream:
        return "md5:" + hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def sha256_json(content: Any) -> str:
    """Return the SHA-256 of the canonical JSON (sorted keys, no spaces) of `content`."""
    text = json.dumps(_finite(content), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return sha256_bytes(text.encode("utf-8"))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _finite(value.tolist())
    return value


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _cannot_write(path: Path, error: OSError) -> MachineError:
    return MachineError(
        f"Cannot write {path}: {error.strerror or error}.",
        "Check free disk space and the permissions of the folder; the earlier file is untouched.",
    )
