"""New rows for a model that is trained: CSV, Excel or Parquet with the columns that it learned from.

A model keeps how its table is read (`reading`): how the card's file writes levels and missing values, where zero means
missing, plausible ranges, and which other columns the card knows. A header may give a unit, as `age [years]`; another
unit than that of the model is refused, never converted.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.card import Card
from ai4diag.config.sources.common import Identifier
from ai4diag.config.sources.table import Column, Table, canonical
from ai4diag.data.identify import identifiers
from ai4diag.data.prepared import Prepared, write_prepared
from ai4diag.data.problems import ReadError, stop_on_errors
from ai4diag.data.split import COLUMNS
from ai4diag.data.tables import RawTable, levels, numbers, read_header, read_table
from ai4diag.errors import DataError, did_you_mean
from ai4diag.types import Finding

Floats = npt.NDArray[np.float64]
OWN = ("case_id", "patient_id", "site")
"""Columns that a new table may have whatever the model."""
MOSTLY = 0.5
"""Share of values outside a column's range from which another unit is suspected, and the file refused."""
FEW = 8
"""So many names of columns are listed in an error."""
_UNIT = re.compile(r"(?P<name>.*\S)\s*\[(?P<unit>[^\]]*)\]")


def reading(card: Card, table: Table, columns: Sequence[Column]) -> dict[str, Any]:
    """Return what a model must keep, so that new tables can be read as the card's table was.

    Args:
        card, table: where the columns come from.
        columns: those that the model sees.
    """
    seen = {column.name for column in columns}
    return {
        "missing": list(table.missing),
        "case": None if card.case is None else card.case.model_dump(mode="json"),
        "others": [column.name for column in table.columns if column.name not in seen],
        "columns": {
            column.name: column.model_dump(
                mode="json", include={"levels", "zero_is_missing", "range"}, exclude_defaults=True
            )
            for column in columns
        },
    }


def gather_table(
    inputs: Sequence[Path], folder: Path, features: Sequence[Mapping[str, Any]], known: Mapping[str, Any]
) -> Prepared:
    """Read new rows.

    Args:
        inputs: tables with a header; columns in any order.
        folder: where the prepared cases are written.
        features: the entries of `prepared.json` that the model learned from, in its order.
        known: what `reading` returned; empty for a model that was trained before it was kept.

    Returns:
        Prepared cases without truth. `case_id` is that of the table, under this name or the card's, else file and line;
        `remark` says which values are implausible.

    Raises:
        DataError: a file cannot be read, lacks a column, has one too many or in another unit, or holds a value or level
            that the model does not know; all such places are named.
    """
    pieces, values = [], []
    findings: list[Finding] = []
    for path in inputs:
        try:
            names, wrong = _header(path, features, known)
            findings += wrong
            if wrong:
                continue
            found, noticed = _read(path, names)
        except ReadError as error:
            findings.append(error.finding)
            continue
        columns = [_column(found, feature, known) for feature in features]
        findings += noticed + [finding for _, _, several in columns for finding in several]
        values.append(np.column_stack([column for column, _, _ in columns]))
        remarks = ["; ".join(text for text in texts if text) for texts in zip(*(r for _, r, _ in columns), strict=True)]
        pieces.append(pd.DataFrame({"case_id": _names(found, path, known), "remark": remarks}))
    stop_on_errors(findings, ", ".join(path.name for path in inputs))
    facts = {"task": "tabular", "dataset": "", "classes": [], "features": [dict(item) for item in features]}
    write_prepared(
        folder,
        facts=facts,
        index=_index(pieces),
        split=pd.DataFrame(columns=COLUMNS),
        findings=[finding for finding in findings if finding.level != "error"],
        arrays={"features": np.concatenate(values)},
        tables={},
    )
    return Prepared.open(folder)


def _index(pieces: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the cases of all files; every case counts as a patient."""
    index = pd.concat(pieces, ignore_index=True)
    twice = index["case_id"][index["case_id"].duplicated()]
    if len(twice):
        raise DataError(f"The case '{twice.iloc[0]}' stands twice ({len(twice)} such rows).", "Name each case once.")
    return index.assign(patient_id=index["case_id"], site="")


def _header(
    path: Path, features: Sequence[Mapping[str, Any]], known: Mapping[str, Any]
) -> tuple[dict[str, str], list[Finding]]:
    """Return the columns to read, by the model's own names, as the file writes them; and what is wrong with them."""
    written = read_header(path)
    unit_of = {str(item["name"]): str(item.get("unit") or "") for item in features}
    allowed = {*unit_of, *OWN, *known.get("others", ())}
    findings, names = [], {}
    for cell in written:
        name, unit = cell, None
        if cell not in allowed and (match := _UNIT.fullmatch(cell)) is not None:
            name, unit = match["name"], match["unit"].strip()
        if name not in allowed:
            cure = f"Remove the column, or correct its name. {_near(name, unit_of)}"
            expected = "only columns that the model knows"
            findings.append(Finding("error", "unknown-column", path.name, f"a column '{cell}'", expected, cure))
        elif unit is not None and unit != unit_of.get(name, unit):
            cure = "Convert the values, then correct the unit in the header; nothing is converted here."
            expected, where = (
                f"the unit '{unit_of[name]}', from which the model learned",
                f"{path.name}, column '{name}'",
            )
            findings.append(Finding("error", "other-unit", where, f"'{unit}'", expected, cure))
        names[name] = cell
    for name, unit in unit_of.items():
        if name not in names:
            what = f"a column '{name}'" + (f" in {unit}" if unit not in ("", "1") else "")
            near = _near(name, [cell for cell in written if cell not in allowed])
            cure = f"Add it; leave cells empty where it was not measured. {near}"
            findings.append(Finding("error", "column-missing", path.name, "no such column", what, cure))
    return {name: names[name] for name in names if name in {*unit_of, *OWN, _case(known)}}, findings


def _read(path: Path, names: Mapping[str, str]) -> tuple[RawTable, list[Finding]]:
    """Return the cells under the model's own names of columns, and what was mended."""
    table, noticed = read_table(path, list(names.values()), header=True)
    cells = table.cells.set_axis(list(names), axis=1)
    mended = [finding for finding in noticed if finding.code != "unknown-column"]
    return RawTable(table.name, cells, table.lines, table.separator), mended


def _near(name: str, known: Collection[str]) -> str:
    """Return the nearest known name; of few names all, where none is near."""
    said = did_you_mean(name, known)
    return said if len(known) <= FEW or not said.startswith("Known") else ""


def _column(
    table: RawTable, feature: Mapping[str, Any], known: Mapping[str, Any]
) -> tuple[Floats, list[str], list[Finding]]:
    """Return a column as numbers or level numbers, a remark on each implausible value, and what was noticed."""
    name, detail = str(feature["name"]), known.get("columns", {}).get(str(feature["name"]), {})
    missing = tuple(known.get("missing", ("",)))
    if feature["kind"] == "category":
        codes, findings = levels(table, name, _written(feature["levels"], detail.get("levels", {})), missing)
        return codes, [""] * len(codes), findings
    values, findings = numbers(table, Column(name=name, unit=str(feature["unit"])), missing)
    if detail.get("zero_is_missing"):
        values[values == 0] = np.nan
    low, high = detail.get("range") or (-np.inf, np.inf)
    outside = (values < low) | (values > high)
    span = f"{low:g} to {high:g} {feature['unit']}".removesuffix(" 1")
    if len(values) and outside.mean() > MOSTLY:
        found = f"{int(outside.sum())} of {len(values)} values outside {span}"
        cure = "Are they in another unit? Convert them."
        findings.append(Finding("error", "out-of-range", f"{table.name}, column '{name}'", found, span, cure))
    remarks = [f"{name} {v:g} is outside {span}" if out else "" for v, out in zip(values, outside, strict=True)]
    return values, remarks, findings


def _written(names: Sequence[str], codes: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return how each level may be written: as the card's file does, and by its name where that means nothing else."""
    taken = {canonical(str(code)) for code in codes.values()}
    return {
        name: ((codes[name],) if name in codes else ())
        + ((name,) if name not in codes or canonical(name) not in taken else ())
        for name in names
    }


def _case(known: Mapping[str, Any]) -> str:
    return str((known.get("case") or {}).get("column", "case_id"))


def _names(table: RawTable, path: Path, known: Mapping[str, Any]) -> list[str]:
    """Return the name of each case: that of the table, else file and line."""
    if "case_id" in table.cells:
        return identifiers(table.cells["case_id"], Identifier(column="case_id"), table.name).tolist()
    if _case(known) in table.cells:
        identifier = Identifier(**known["case"])
        return identifiers(table.cells[identifier.column], identifier, table.name).tolist()
    return [f"{path.stem}-line-{line}" for line in table.lines]
