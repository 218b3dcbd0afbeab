"""Who a case belongs to: case_id, patient_id, site and attributes of every case."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from ai4diag.config.card import Card
from ai4diag.config.sources.common import Identifier
from ai4diag.errors import DataError, did_you_mean
from ai4diag.types import Finding


def identifiers(cells: pd.Series, identifier: Identifier, where: str) -> pd.Series:
    """Return the identifiers that stand in a column.

    Args:
        cells: text as the file has it.
        identifier: the column, and the pattern of which to keep the one group.
        where: file, named in errors.

    Raises:
        DataError: a cell is empty, begins like a spreadsheet formula, or does not match the pattern.
    """
    text = cells.fillna("").astype(str).str.strip()
    bad = text[(text == "") | text.str.match(r"[=+@]")]
    if len(bad):
        raise DataError(
            f"{where}, row {bad.index[0] + 1}, column '{identifier.column}': found {bad.iloc[0]!r}, expected an "
            f"identifier ({len(bad)} such rows).",
            "Correct the file; an identifier is neither empty nor a formula.",
        )
    if identifier.pattern is None:
        return text
    found = text.str.extract(re.compile(f"^(?:{identifier.pattern})$"), expand=False)
    if found.isna().any():
        first = found.index[found.isna()][0]
        raise DataError(
            f"{where}, row {first + 1}, column '{identifier.column}': {text[first]!r} does not match the pattern "
            f"{identifier.pattern!r}.",
            "Correct the cell, or the card's pattern.",
        )
    return found


def finish_index(index: pd.DataFrame, card: Card, where: str) -> list[Finding]:
    """Check case names, and give every case a patient when none are known.

    Args:
        index: with case_id and site; patient_id is added in place when absent.
        card: says whether patients are known.
        where: file, named in findings.

    Raises:
        DataError: a case name stands twice.
    """
    twice = index["case_id"][index["case_id"].duplicated()]
    if len(twice):
        raise DataError(
            f"{where}: the case '{twice.iloc[0]}' stands twice ({len(twice)} such rows).",
            "Give each case its own name.",
        )
    if "patient_id" in index.columns:
        return []
    index.insert(1, "patient_id", index["case_id"])
    return [
        Finding(
            "info",
            "no-patient-ids",
            where,
            f"no patient identifiers; each of the {len(index)} cases counts as a patient",
            "a patient identifier per case",
            "Ask the provider; until then results may flatter, because a patient can be in two parts.",
        )
    ]


def image_index(names: list[str], card: Card, raw: Path) -> tuple[pd.DataFrame, list[Finding]]:
    """Return the index of image cases: case_id, patient_id, site and attributes, in the order of `names`.

    Raises:
        DataError: the card's table of cases lacks a column or a case.
    """
    images = card.images or card.volumes or card.scans
    assert images is not None
    index = pd.DataFrame({"case_id": names})
    where = images.folder
    if images.cases is None:
        index["site"] = images.site
        return index, finish_index(index, card, where)
    where = images.cases
    table = _cases_table(raw / images.cases)
    wanted = [*images.attributes, *([card.patient.column] if card.patient else [])]
    missing = [name for name in ["case_id", *wanted] if name not in table.columns]
    if missing:
        raise DataError(f"{where} has no column '{missing[0]}'. {did_you_mean(missing[0], map(str, table.columns))}")
    if card.patient is None and "patient_id" in table.columns:
        raise DataError(
            f"{where} has a column 'patient_id', which the card does not use: a patient could be in two parts.",
            "Add `patient: {column: patient_id}` to the card.",
        )
    table = table.set_index("case_id")
    absent = [name for name in names if name not in table.index]
    if absent or table.index.has_duplicates:
        problem = f"no line for the image '{absent[0]}'" if absent else "a case twice"
        raise DataError(f"{where} has {problem}.", "Give each image exactly one line.")
    rows = table.loc[names].reset_index()
    if card.patient is not None:
        index["patient_id"] = identifiers(rows[card.patient.column], card.patient, where)
    index["site"] = rows["site"] if "site" in rows.columns else images.site
    for name in images.attributes:
        index[name] = rows[name].mask(rows[name] == "")
    findings = finish_index(index, card, where)
    surplus = sorted(set(table.index) - set(names))
    if surplus:
        found = f"{len(surplus)} cases without an image, such as {surplus[0]}"
        findings.append(Finding("warning", "case-without-image", where, found, "an image for each case", "Add them."))
    return index, findings


def _cases_table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}.", "Look at images.cases of the card.") from None
