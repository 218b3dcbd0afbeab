"""Official splits: which part each case has in the split that the publisher or a benchmark gave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.card import Card
from ai4diag.config.recipe import Split
from ai4diag.errors import ConfigError, DataError
from ai4diag.types import PARTS, Finding


def official_parts(card: Card, raw: Path, settings: Split) -> dict[str, str] | None:
    """Return the part of each case by case_id, or None when the recipe does not ask for the official split.

    Raises:
        ConfigError: asked for, but the card has none.
        DataError: a file of the split is malformed, or lists a case twice.
    """
    if settings.test != "official":
        return None
    official = card.official_split
    if official is None:
        raise ConfigError(
            f"split.test is official, but the card {card.name} has no official_split.", "Give a fraction, or folds."
        )
    if official.lists is not None:
        lines = [(name, part) for part, path in official.lists.items() for name in _lines(raw / path)]
    else:
        lines = _table(raw / str(official.table))
    parts: dict[str, str] = {}
    for case, part in lines:
        if case in parts:
            raise DataError(
                f"The official split of {card.name} lists '{case}' twice ({parts[case]}, {part}).",
                "Correct the list: a case is in one part.",
            )
        parts[case] = part
    return parts


def left_out(case_ids: pd.Series, parts: dict[str, str], card: Card) -> tuple[npt.NDArray[np.bool_], list[Finding]]:
    """Say which cases the official split holds.

    Args:
        case_ids: all cases that were read.
        parts: part by case_id.
        card: the data set.

    Returns:
        Whether each case is kept, and an `info` finding that counts the others.

    Raises:
        DataError: the split lists a case that was not read.
    """
    unknown = sorted(set(parts) - set(case_ids))
    if unknown:
        raise DataError(
            f"The official split of {card.name} lists '{unknown[0]}', which does not exist ({len(unknown)} such).",
            "Use the split that belongs to these files.",
        )
    kept = case_ids.isin(list(parts)).to_numpy(bool)
    if kept.all():
        return kept, []
    found = f"{int((~kept).sum())} of {len(kept)} cases are not in the official split and are left out"
    expected = f"{len(parts)} cases in the split"
    return kept, [
        Finding("info", "not-in-official-split", "official split", found, expected, "Nothing to do: the split says so.")
    ]


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.", "Fetch the data set again.") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _table(path: Path) -> list[tuple[str, str]]:
    header, *lines = _lines(path) or [""]
    if header != "case_id,part":
        raise DataError(f"{path} begins with {header!r}, expected 'case_id,part'.", "Fetch the data set again.")
    pairs = []
    for number, line in enumerate(lines, start=2):
        case, _, part = line.rpartition(",")
        if part not in PARTS or not case:
            raise DataError(f"{path}, line {number}: {line!r}, expected a case and one of {', '.join(PARTS)}.")
        pairs.append((case, part))
    return pairs
