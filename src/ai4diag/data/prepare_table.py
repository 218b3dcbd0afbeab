"""From a table to prepared cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.card import Card
from ai4diag.config.sources.table import Column
from ai4diag.config.tabular import TabularRecipe
from ai4diag.data.catalogue import verify
from ai4diag.data.check_table import class_findings, duplicate_findings, missingness_findings
from ai4diag.data.divide import divide, official_parts, training_rows
from ai4diag.data.gather_table import reading
from ai4diag.data.leaks.gate import gate
from ai4diag.data.leaks.scan import Divided, scan_table
from ai4diag.data.prepared import write_prepared
from ai4diag.data.table_cases import TableCases, read_table_cases
from ai4diag.data.table_features import Preprocess, feature_columns, feature_matrix, feature_statistics
from ai4diag.errors import DataError
from ai4diag.types import Finding

CHANCE_COPIES = 0.01
"""Other rows that a row may equal by chance before equal rows are no longer taken for copies."""

CURVE_POINTS = 61
"""Points of a predicted survival curve from time 0, where it is 1, to the last horizon, both included."""


def prepare_table(
    raw: Path, card: Card, recipe: TabularRecipe, folder: Path, preprocess: Preprocess | None = None
) -> None:
    """Read, validate and split a table; write prepared cases to `folder`.

    Args:
        raw: folder of the data set; its files are verified against their checksums first.
        card: what the data set shall be.
        recipe: which columns to drop, and how cases are divided.
        folder: where the prepared cases go.
        preprocess: gets the features as a table (numbers as float, categories as level names; no truth) and returns
            the features to use, row by row the same cases. New columns must be numbers. It must look at one row at a
            time: statistics over rows would carry the test part into training.

    Raises:
        DataError: a file is missing, damaged or not what the card says, or the split leaks; all errors are named.
        ConfigError: `data.drop` names a column that is none.
    """
    if card.table is None:
        raise DataError(f"{card.name} has no table.", "Choose a tabular data set.")
    verify(card, raw)
    columns = feature_columns(card, card.table, recipe.data.drop)
    cases, findings = read_table_cases(raw, card, card.table, recipe.data.drop)
    kept, parts, noticed = official_parts(cases.index["case_id"], card, raw, recipe.data.split)
    cases = cases.keep(kept)
    findings += noticed + [_post_outcome(column) for column in columns if column.post_outcome]
    ids = cases.index["case_id"].tolist()
    content, noticed = _content(cases, ids)
    findings += noticed
    split, noticed = divide(cases.index, _strata(cases.index), content, card, recipe, parts)
    truth = cases.index["truth"].to_numpy(np.int64)
    findings += noticed + class_findings(split, dict(zip(ids, truth.tolist(), strict=True)), card.classes)
    described, features = feature_matrix(cases, columns, preprocess)
    train = training_rows(split)
    findings += missingness_findings(features[train], described, truth[train])
    divided = Divided(cases.index, split, content, truth)
    time_days = cases.index["time_days"].to_numpy(np.float64) if "time_days" in cases.index else None
    chance = content is ids  # then equal rows are no copies
    leaks = scan_table(features, described, divided, train, time_days=time_days, equal_by_chance=chance)
    findings += _new(findings, leaks)
    findings = gate(findings, recipe.data.waive, card.name)
    index = cases.index
    folder.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {
        "task": "tabular",
        "dataset": card.name,
        "card_sha256": card.sha256,
        "classes": list(card.classes),
        "features": described,
        "reading": reading(card, card.table, columns) | ({} if preprocess is None else {"preprocessed": True}),
        "statistics": feature_statistics(features[train], described, truth[train], card.classes),
    }
    if card.table.time is not None:
        facts |= {"target": "time_to_event", **_horizons(recipe)}
        index = cases.index.rename(columns={"truth": "event"})
    write_prepared(
        folder,
        facts=facts,
        index=index,
        split=split,
        findings=findings,
        arrays={"features": features},
        tables={},
    )


def _horizons(recipe: TabularRecipe) -> dict[str, Any]:
    """Return the horizons, and the times at which survival is predicted: evenly up to the last horizon, and these."""
    horizons = sorted(map(float, recipe.data.horizons_days))
    even = np.linspace(0, horizons[-1], CURVE_POINTS)[1:]
    return {"horizons_days": horizons, "survival_days": np.unique([*even, *horizons]).tolist()}


def _content(cases: TableCases, ids: list[str]) -> tuple[list[str], list[Finding]]:
    """Return what tells copies of a row, and the copies that there are.

    Equal rows are copies where that is no chance. A table of a few categories has equal rows of different patients;
    keeping those in one part would test a model on nothing but what it has never seen.
    """
    chance = cases.chance_copies()
    if chance < CHANCE_COPIES:
        content = cases.content()
        return content, duplicate_findings(ids, content, "rows")
    found = f"so few different values that a row equals {chance:.2g} others by chance"
    cure = "Equal rows are not taken for copies; make sure that no row was entered twice."
    return ids, [Finding("info", "rows-alike", "rows", found, f"fewer than {CHANCE_COPIES:g}", cure)]


def _new(known: list[Finding], found: list[Finding]) -> list[Finding]:
    """Return what was found of no column of which the same is known from the card."""
    told = {(finding.code, finding.where) for finding in known}
    return [finding for finding in found if (finding.code, finding.where) not in told]


def _post_outcome(column: Column) -> Finding:
    return Finding(
        "error",
        "post-outcome-column",
        f"column '{column.name}'",
        "a column that is known only after the outcome",
        "columns that are known when the prediction is made",
        f"Add it to data.drop: [{column.name}]. {column.note}".strip(),
    )


def _strata(index: pd.DataFrame) -> npt.NDArray[np.float64]:
    """One-hot of class, and of class within site."""
    joint = index["site"].astype(str) + "/" + index["truth"].astype(str)
    blocks = [pd.get_dummies(column).to_numpy(np.float64) for column in (index["truth"], joint)]
    return np.column_stack(blocks)
