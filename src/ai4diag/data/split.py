"""Division of cases into train, validation and test: by patient, stratified, written down, checked for leaks.

What must not be separated forms a *group*: all cases of one patient (`split.by`), and all cases with equal content,
because a copy in the test part is a case the model has seen. Groups are dealt to the parts so that every part gets its
share of every stratum (class, site). The same settings and cases give the same split on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.data import Split
from ai4diag.data.prepared import FINAL
from ai4diag.errors import ConfigError, DataError, did_you_mean
from ai4diag.types import PARTS, Finding

Ints = npt.NDArray[np.int64]
COLUMNS = ["case_id", "patient_id", "fold", "part", "contrast"]


def make_split(
    index: pd.DataFrame,
    strata: npt.NDArray[np.float64],
    content: Sequence[str],
    settings: Split,
    official: pd.Series | None = None,
) -> pd.DataFrame:
    """Divide the cases.

    Args:
        index: one line per case: case_id, patient_id and the columns that `settings` names.
        strata: `(cases, strata)`, how much of each stratum a case holds: one-hot classes, counts of boxes.
        content: hash of each case's content; equal ones stay together, except in the contrast folds.
        settings: the recipe's `data.split`.
        official: part of each case, when `settings.test` is `official`.

    Returns:
        Lines of case_id, patient_id, fold, part, contrast, as `data.prepared` describes them.

    Raises:
        ConfigError: `by` or `contrast` is no column, or `official` is asked for and the card has none.
        DataError: there are fewer groups than parts.
    """
    groups = merge_groups(_units(index, settings.by), content)
    if settings.test == "official":
        if official is None:
            raise ConfigError("split.test is official, but the card has no official_split.", "Give a fraction.")
        lines = _lines(index, _official(official, groups, strata, settings), fold=0)
        if settings.contrast is None:
            return lines
        share = float((official == "test").mean())  # as much to learn from, and to test on
        shares = {"test": share, **_rest(1 - share, settings)}
        wrong = _deal(_units(index, settings.contrast), strata, shares, settings.seed)
        return pd.concat([lines, _lines(index, wrong, fold=0, contrast=True)], ignore_index=True)
    if settings.test != "folds":
        parts = _deal(groups, strata, {"test": settings.test, **_rest(1 - settings.test, settings)}, settings.seed)
        return _lines(index, parts, fold=0)
    tables = _folds(index, groups, strata, settings, contrast=False)
    final = _deal(groups, strata, _rest(1.0, settings), settings.seed)
    tables.append(_lines(index, final, fold=FINAL))
    if settings.contrast is not None:
        tables += _folds(index, _units(index, settings.contrast), strata, settings, contrast=True)
    return pd.concat(tables, ignore_index=True)


def merge_groups(units: Ints, content: Sequence[str]) -> Ints:
    """Join the groups that share equal content.

    Args:
        units: `(cases,)`, number of the group of each case.
        content: hash of the content of each case.

    Returns:
        `(cases,)`, numbers from 0 in order of first appearance.

    >>> merge_groups(np.array([0, 0, 1, 2]), ["a", "b", "b", "c"]).tolist()
    [0, 0, 0, 1]
    """
    parent = list(range(int(units.max(initial=-1)) + 1))

    def root(unit: int) -> int:
        while parent[unit] != unit:
            parent[unit] = parent[parent[unit]]
            unit = parent[unit]
        return unit

    first: dict[str, int] = {}
    for unit, key in zip(units.tolist(), content, strict=True):
        parent[root(unit)] = root(first.setdefault(key, unit))
    return pd.factorize(np.array([root(unit) for unit in units.tolist()], np.int64))[0].astype(np.int64)


def deal(
    groups: Ints, strata: npt.NDArray[np.float64], shares: Sequence[float], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Deal whole groups to parts so that each part gets its share of each stratum.

    Groups are shuffled, then taken from the most uneven to the most even; each goes to the part whose shortfall it
    fills best, measured as the sum over strata of squared relative deviations from the wanted share. With groups of
    one case and one-hot strata every part ends within one case of its share. The last groups go to parts that would
    else stay empty.

    Args:
        groups: `(cases,)` numbers from 0.
        strata: `(cases, strata)`, not negative.
        shares: wanted fraction of each part, positive, with the sum 1.
        rng: source of the shuffle.

    Returns:
        `(cases,)`, the part of each case.
    """
    count = int(groups.max(initial=-1)) + 1
    weights = np.column_stack([np.ones(len(groups)), strata])
    weights = weights[:, weights.sum(axis=0) > 0]
    held = np.zeros((count, weights.shape[1]))
    np.add.at(held, groups, weights)
    held /= held.sum(axis=0)
    order = rng.permutation(count)
    order = order[np.argsort(-held[order].max(axis=1).round(12), kind="stable")]
    wanted = np.asarray(shares, np.float64)
    filled = np.zeros((len(wanted), held.shape[1]))
    part_of = np.zeros(count, np.int64)
    for left, group in zip(range(count, 0, -1), order, strict=True):
        fullness = filled / wanted[:, None] - 1
        cost = (2 * held[group] * fullness + held[group] ** 2 / wanted[:, None]).sum(axis=1)
        empty = filled[:, 0] == 0
        if empty.sum() >= left:
            cost[~empty] = np.inf
        part = int(np.argmin(cost.round(12)))  # rounded, so that ties break alike on every machine
        part_of[group] = part
        filled[part] += held[group]
    return part_of[groups]


def leaks(split: pd.DataFrame, content: dict[str, str], known_duplicates: int = 0) -> list[Finding]:
    """Find patients, and equal contents, that stand in two parts of one fold; contrast folds leak on purpose.

    Args:
        split: lines of the split.
        content: hash of the content by case_id.
        known_duplicates: so many groups of equal content across parts are a warning: the official split has them.

    Returns:
        Errors `patient-leak` and `content-leak`, one for each patient or content, that name the cases; or warnings
        for the known ones.
    """
    findings = []
    lines = split[split["contrast"] == 0].assign(content=lambda table: table["case_id"].map(content))
    for column, code in (("patient_id", "patient-leak"), ("content", "content-leak")):
        for fold, part in lines.groupby("fold", sort=True):
            spread = part.groupby(column)["part"].nunique()
            units = list(spread[spread > 1].index)
            if not units:
                continue
            known = column == "content" and len(units) <= known_duplicates
            own = part[part[column].isin(units)]
            findings += [
                _leak(cases, column, str(unit), code, int(str(fold)), known) for unit, cases in own.groupby(column)
            ]
    return findings


def _leak(cases: pd.DataFrame, column: str, unit: str, code: str, fold: int, known: bool) -> Finding:
    parts = cases.groupby("part")["case_id"].agg(lambda ids: ", ".join(ids[:3]) + (", ..." if len(ids) > 3 else ""))
    named = " and ".join(f"{ids} in {name}" for name, ids in parts.items())
    noun = f"patient {unit}" if column == "patient_id" else "equal content"
    return Finding(
        level="warning" if known else "error",
        code=code,
        where="split" if fold == 0 else f"split, fold {fold}",
        found=f"{noun} in two parts: {named}",
        expected="every patient and every content in one part only",
        cure="The card declares these duplicates of the official split; they flatter slightly."
        if known
        else "Split by patient_id, or correct the identifiers; remove or group the copies.",
        cases=tuple(cases["case_id"]),
    )


def _units(index: pd.DataFrame, column: str) -> Ints:
    if column not in index.columns:
        raise ConfigError(f"split: there is no column '{column}'. {did_you_mean(column, map(str, index.columns))}")
    return pd.factorize(index[column])[0].astype(np.int64)


def _rest(rest: float, settings: Split) -> dict[str, float]:
    return {"train": rest * (1 - settings.validation), "validation": rest * settings.validation}


def _deal(groups: Ints, strata: npt.NDArray[np.float64], shares: dict[str, float], seed: int) -> npt.NDArray[np.str_]:
    count = int(groups.max(initial=-1)) + 1
    if count < len(shares):
        raise DataError(
            f"{count} groups cannot fill {len(shares)} parts ({', '.join(shares)}).",
            "Take more cases, or a split with fewer parts.",
        )
    dealt = deal(groups, strata, list(shares.values()), np.random.default_rng(seed))
    return np.array(list(shares))[dealt]


def _folds(
    index: pd.DataFrame, groups: Ints, strata: npt.NDArray[np.float64], settings: Split, *, contrast: bool
) -> list[pd.DataFrame]:
    count = int(groups.max(initial=-1)) + 1
    if count <= settings.folds:
        raise DataError(f"{count} groups are too few for {settings.folds} folds.", "Lower split.folds.")
    shares = [1 / settings.folds] * settings.folds
    fold_of = deal(groups, strata, shares, np.random.default_rng(settings.seed))
    tables = []
    for fold in range(settings.folds):
        rest = fold_of != fold
        parts = np.full(len(index), "test", dtype="<U10")
        inner = pd.factorize(groups[rest])[0].astype(np.int64)
        parts[rest] = _deal(inner, strata[rest], _rest(1.0, settings), settings.seed + 1 + fold)
        tables.append(_lines(index, parts, fold=fold, contrast=contrast))
    return tables


def _official(
    official: pd.Series, groups: Ints, strata: npt.NDArray[np.float64], settings: Split
) -> npt.NDArray[np.str_]:
    parts = official.to_numpy(dtype="<U10").copy()
    if not (parts == "validation").any():
        learn = parts == "train"
        inner = pd.factorize(groups[learn])[0].astype(np.int64)
        parts[learn] = _deal(inner, strata[learn], _rest(1.0, settings), settings.seed)
    return parts


def _lines(index: pd.DataFrame, parts: npt.NDArray[np.str_], *, fold: int, contrast: bool = False) -> pd.DataFrame:
    assert set(parts) <= set(PARTS)
    table = index[["case_id", "patient_id"]].assign(fold=fold, part=parts, contrast=int(contrast))
    return table[COLUMNS].reset_index(drop=True)
