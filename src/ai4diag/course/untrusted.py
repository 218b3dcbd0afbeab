"""Files and texts that somebody else made: opened without being led elsewhere, shown without doing anything."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ai4diag.errors import ConfigError


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file that is a file, whatever happens to its name meanwhile.

    Raises:
        ConfigError: it is a link, a folder, a pipe, or cannot be read.
    """
    try:
        with open(path, "rb", opener=_no_link) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise ConfigError("it is no file.")
            yield stream
    except OSError as error:
        raise ConfigError("it is a link." if path.is_symlink() else f"it cannot be read: {error.strerror}.") from None


def clean(text: str, longest: int = 400) -> str:
    """Return a text so that a terminal shows it and does nothing else."""
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[: longest + 1])
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
