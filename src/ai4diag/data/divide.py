"""The split of a data set: the official one that its card names, or one that is made; both are checked for leaks."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.card import Card, OfficialFolds, OfficialSplit
from ai4diag.config.data import Split
from ai4diag.config.recipe import Recipe
from ai4diag.data.split import leaks, make_split
from ai4diag.errors import ConfigError, DataError
from ai4diag.types import PARTS, Finding


def official_parts(
    case_ids: pd.Series, card: Card, raw: Path, settings: Split
) -> tuple[npt.NDArray[np.bool_], pd.Series | None, list[Finding]]:
    """Look up the official split, when the recipe asks for it.

    Args:
        case_ids: all cases that were read.
        card: names the files of the split.
        raw: folder of the data set, which holds them.
        settings: the recipe's `data.split`.

    Returns:
        Which cases are kept; their parts, or None when another split is asked for; an `info` finding that counts the
        cases that the split leaves out.

    Raises:
        ConfigError: asked for, but the card has none.
        DataError: a file of the split is malformed, lists a case twice, or lists one that does not exist.
    """
    if settings.test != "official":
        return np.ones(len(case_ids), bool), None, []
    if card.official_split is None:
        raise ConfigError(
            f"split.test is official, but the card {card.name} has no official_split.", "Give a fraction, or folds."
        )
    part_of = _read(card.official_split, card.name, raw, card.scans.pattern if card.scans is not None else "(.+)")
    unknown = sorted(set(part_of) - set(case_ids))
    if unknown:
        raise DataError(
            f"The official split of {card.name} lists '{unknown[0]}', which does not exist ({len(unknown)} such).",
            "Use the split that belongs to these files.",
        )
    kept = case_ids.isin(list(part_of)).to_numpy(bool)
    parts = case_ids[kept].map(part_of).reset_index(drop=True)
    if kept.all():
        return kept, parts, []
    found = f"{int((~kept).sum())} of {len(kept)} cases are not in the official split and are left out"
    cure = "Nothing to do: the split says so."
    expected = f"{len(part_of)} cases in the split"
    return kept, parts, [Finding("info", "not-in-official-split", "official split", found, expected, cure)]


def divide(
    index: pd.DataFrame,
    strata: npt.NDArray[np.float64],
    content: list[str],
    card: Card,
    recipe: Recipe,
    parts: pd.Series | None,
) -> tuple[pd.DataFrame, list[Finding]]:
    """Make the split and look for leaks in it; arguments as `split.make_split` has them."""
    split = make_split(index, strata, content, recipe.data.split, parts)
    declared = card.official_split.known_duplicates if card.official_split is not None and parts is not None else 0
    known = len(index) if declared == "uncounted" else declared
    findings = leaks(split, dict(zip(index["case_id"], content, strict=True)), known)
    if declared == "uncounted":
        cure = "The official split has them and nobody had counted: write known_duplicates to the card. They flatter."
        findings = [replace(item, cure=cure) if item.code == "content-leak" else item for item in findings]
    return split, findings


def box_strata(index: pd.DataFrame, boxes: pd.DataFrame, classes: int) -> npt.NDArray[np.float64]:
    """Return boxes of each class, and site, per case: what every part shall have its share of."""
    counts = np.zeros((len(index), classes))
    np.add.at(counts, (boxes["case"].to_numpy(), boxes["label"].to_numpy()), 1)
    sites = pd.get_dummies(index["site"]).to_numpy(np.float64)
    return np.column_stack([counts, sites])


def training_rows(split: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return the training rows of the fold whose model is kept: FINAL in cross-validation, else the only one."""
    kept = split[(split["contrast"] == 0) & (split["fold"] == split["fold"].min())]
    return np.flatnonzero(kept["part"].to_numpy() == "train")


def _read(official: OfficialSplit, name: str, raw: Path, pattern: str) -> dict[str, str]:
    """Return the part of each case; `pattern` finds the case in the name of a volume."""
    if official.lists is not None:
        lines = [(case, str(part)) for part, path in official.lists.items() for case in _lines(raw / path)]
    elif official.folds is not None:
        lines = _folds(raw / official.folds.path, official.folds)
    elif official.folders is not None:
        lines = [(case, str(part)) for part, names in official.folders.items() for case in _inside(raw, names, pattern)]
    else:
        lines = _table(raw / str(official.table), official)
    parts: dict[str, str] = {}
    for case, part in lines:
        if case in parts:
            raise DataError(
                f"The official split of {name} lists '{case}' twice ({parts[case]}, {part}).",
                "Correct the list: a case is in one part.",
            )
        parts[case] = part
    return parts


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.", "Fetch the data set again.") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _inside(raw: Path, folders: tuple[str, ...], pattern: str) -> list[str]:
    """Return the cases whose volumes lie in some folders."""
    from ai4diag.data.volume import volumes_in

    return list(volumes_in([raw / folder for folder in folders], pattern))


def _folds(path: Path, folds: OfficialFolds) -> list[tuple[str, str]]:
    """Return case and part of each line, from the number of its fold; a number may be written as `9` or `9.0`."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        cases, numbers = table[folds.case], table[folds.column].astype(float)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path} has no folds: {error}.", "Look at official_split.folds of the card.") from None
    part_of = dict.fromkeys(folds.test, "test") | dict.fromkeys(folds.validation, "validation")
    return [(case.strip(), part_of.get(int(number), "train")) for case, number in zip(cases, numbers, strict=True)]


def _table(path: Path, official: OfficialSplit) -> list[tuple[str, str]]:
    rows = list(csv.reader(_lines(path)))
    header = rows[0] if rows else []
    if missing := [name for name in (official.case, official.part) if name not in header]:
        raise DataError(
            f"{path} begins with {','.join(header)!r}; expected a column '{missing[0]}'.",
            "Fetch the data set again, or look at official_split of the card.",
        )
    case, part = header.index(official.case), header.index(official.part)
    pairs: list[tuple[str, str]] = []
    for number, cells in enumerate(rows[1:], start=2):
        if len(cells) != len(header) or cells[part] not in PARTS or not cells[case]:
            raise DataError(f"{path}, line {number}: {cells!r}, expected a case and one of {', '.join(PARTS)}.")
        pairs.append((cells[case], cells[part]))
    return pairs
