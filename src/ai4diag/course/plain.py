"""Plain values: what an answer may be made of when it leaves the learner's process.

None, true and false, integers, numbers, texts, and lists and mappings of them. Nothing that has a class of its own, so
that nothing of the learner's runs where answers are judged. NaN and infinity are kept.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

LARGEST = 5_000_000
"""Characters of JSON that an answer may take."""
DEEPEST = 12
"""Levels of lists in lists."""


class NotPlainError(ValueError):
    """A value cannot leave as a plain one."""


def plain(value: Any, level: int = 0) -> Any:
    """Return a value as a plain one: arrays become nested lists, numpy's numbers and texts Python's, tuples lists.

    Raises:
        NotPlainError: it holds something else; its kind is named.
    """
    if level > DEEPEST:
        raise NotPlainError(f"lists within lists, more than {DEEPEST} levels deep")
    kind = type(value)  # not isinstance: a subclass may lie about itself
    if value is None or kind in (bool, int, float, str):
        return value
    if issubclass(kind, np.bool_ | np.integer | np.floating | np.str_ | np.ndarray) and kind.__module__ == "numpy":
        return plain(value.tolist(), level + 1)
    if kind in (list, tuple):
        return [plain(item, level + 1) for item in value]
    if kind in (set, frozenset):
        return sorted((plain(item, level + 1) for item in value), key=repr)
    if kind is dict:
        if not all(type(key) in (str, int) for key in value):
            raise NotPlainError("a mapping whose keys are not texts")
        return {str(key): plain(item, level + 1) for key, item in value.items()}
    raise NotPlainError(f"a {kind.__module__}.{kind.__qualname__}")


def encode(value: Any) -> str:
    """Return a value as JSON.

    Raises:
        NotPlainError: it is not plain, or takes more than `LARGEST` characters.
    """
    text = json.dumps(plain(value))
    if len(text) > LARGEST:
        raise NotPlainError(f"an answer of {len(text):,} characters; at most {LARGEST:,} are read")
    return text


def decode(text: str) -> Any:
    """Read what `encode` wrote, or what somebody forged.

    Raises:
        NotPlainError: it is too large, too deep, or no JSON.
    """
    if len(text) > LARGEST:
        raise NotPlainError(f"an answer of {len(text):,} characters; at most {LARGEST:,} are read")
    try:
        return plain(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise NotPlainError(f"no readable JSON: {error}") from None
