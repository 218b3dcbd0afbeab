"""Rows of a table that are nearly equal: one patient entered twice, with a value rounded or corrected."""

from __future__ import annotations

from collections.abc import Iterator
from math import comb, log

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from ai4diag.data.leaks.copies import FEW, RIVALS, Ints, Pair, nearest

Floats64 = npt.NDArray[np.float64]

CHANCE = 0.001
"""Two rows are one where fewer pairs than this, in the whole table, are expected to be as close by chance."""
LEAST_COLUMNS = 4
"""Fewer columns that vary cannot tell a copy from a similar patient."""
SMALL_STEP = 0.1
"""Values closer than this agree, in standard deviations of the column's ranks."""
MOST_AGREE = 0.75
"""Share of the columns in which a copy agrees."""
FINE, MOSTLY = 20, 0.5
"""Columns with so many values are measured on a scale, where a value can be changed a little; this share of columns
must be, else distances between rows say nothing, and no pair is certain."""
RIVAL, STANDS_OUT = 3, 4.0
"""By so much must a pair be less likely than the one with the so many-th most equal row, as a logarithm: columns that
go together, as the answers to a questionnaire do, make many rows more equal than chance."""
DRAWS = 16
"""Random halves of the columns in which equal rows are looked for."""
MOST_EQUAL = 8
"""So many rows that are equal in half of the columns say nothing about two of them."""


def near_rows(features: Floats64, patients: Ints, rows: Ints) -> list[Pair]:
    """Find rows of different patients that are closer to one another than chance allows.

    Two ways: all values a little changed (`_close`), or few values changed in any way (`_mostly_equal`).

    Args:
        features: `(rows, columns)`, NaN where missing.
        patients: `(rows,)`, numbers; rows of one patient are not compared.
        rows: those for which a near copy is looked for, among all.

    Returns:
        Each pair once, the most similar first; `similarity` is the share of the columns that agree, `gap` the negative
        logarithm of the pairs expected by chance. Rows that are equal are left out: that is another finding.
    """
    varied = [column for column in features.T if len(np.unique(column[~np.isnan(column)])) > 1]
    if len(features) < FEW or len(varied) < LEAST_COLUMNS or not len(rows):
        return []
    ranks = np.column_stack([_ranks(column) for column in varied])
    values = np.column_stack(varied)
    pairs: dict[tuple[int, int], Pair] = {}
    fine = np.mean([len(np.unique(column[~np.isnan(column)])) >= FINE for column in varied])
    sure = bool(fine >= MOSTLY)
    close = _close(ranks, patients, rows) if sure else ()
    for one, two, expected in [*close, *_mostly_equal(values, patients, rows)]:
        agreeing = float((np.abs(ranks[one] - ranks[two]) <= SMALL_STEP).mean())
        if expected >= CHANCE or agreeing < MOST_AGREE or np.array_equal(values[one], values[two], True):
            continue
        known = pairs.get((one, two))
        pair = Pair(one, two, agreeing, -log(max(expected, 1e-30)), "", sure)
        if known is None or pair.gap > known.gap:
            pairs[one, two] = pair
    return sorted(pairs.values(), key=lambda pair: (-pair.similarity, pair.first, pair.second))


def _close(ranks: Floats64, patients: Ints, rows: Ints) -> Iterator[tuple[int, int, float]]:
    """Yield pairs whose distance is small beside that to other rows, and how many such chance makes.

    Where rows lie at random, the ratio of the distance of the nearest to that of the k-th neighbour, to the power of
    the dimension, is the smallest of k - 1 even random numbers; the dimension is estimated from the other distances
    (Levina and Bickel, NIPS 2004), whose logarithms are exponential: without the largest of four their mean is 0.64.
    """
    square = np.einsum("nv,nv->n", ranks, ranks)
    placed = np.column_stack([ranks, -square / 2]).astype(np.float32)  # a b - b b / 2 is largest for the nearest b
    plain = np.column_stack([ranks, np.ones(len(ranks))]).astype(np.float32)
    others, _ = nearest([placed], patients, rows, asked=plain)
    if others.shape[1] < RIVALS:
        return
    gaps = ranks[rows][:, None, :] - ranks[others]
    distance = np.sqrt(np.einsum("nkv,nkv->nk", gaps, gaps))
    order = np.argsort(distance, axis=1, kind="stable")
    others, distance = np.take_along_axis(others, order, 1), np.take_along_axis(distance, order, 1)
    ratio = np.where(distance[:, -1:] > 1e-6, distance / np.maximum(distance[:, -1:], 1e-12), 1.0)
    typical = -float(np.log(np.clip(ratio[:, 1:-1], 1e-9, 1)).mean())
    dimension = float(np.clip(0.64 / max(typical, 1e-3), 1, 50))
    expected = (1 - (1 - ratio**dimension) ** (RIVALS - 1)) * len(rows)
    for number, place in np.argwhere(expected[:, :-1] < CHANCE).tolist():
        one, two = sorted((int(rows[number]), int(others[number, place])))
        if patients[one] != patients[two]:
            yield one, two, float(expected[number, place])


def _mostly_equal(values: Floats64, patients: Ints, rows: Ints) -> Iterator[tuple[int, int, float]]:
    """Yield pairs that are equal in most columns, and how many such chance makes if columns were independent.

    That they are not is told by the rivals: a pair that hardly stands out from those of its rows is left out.
    """
    count, width = values.shape
    codes, weights = np.zeros((count, width), np.int64), np.zeros((count, width))
    for column in range(width):
        _, code, often = np.unique(values[:, column], return_inverse=True, return_counts=True)
        codes[:, column], weights[:, column] = code, np.log(often[code] / count)
    wanted = np.zeros(count, bool)
    wanted[rows] = True
    pairs: set[tuple[int, int]] = set()
    rng = np.random.default_rng(0)
    for _ in range(DRAWS):
        key = codes[:, rng.permutation(width)[: max(2, width // 2)]] @ rng.integers(1, 2**40, max(2, width // 2))
        order = np.argsort(key, kind="stable")
        starts = np.flatnonzero(np.diff(key[order], prepend=key[order[0]] - 1))
        for start, length in zip(starts, np.diff(starts, append=count), strict=True):
            if 2 <= length <= MOST_EQUAL and wanted[group := order[start : start + length]].any():
                pairs |= {(int(a), int(b)) for a in group for b in group if a < b and patients[a] != patients[b]}
    for one, two in sorted(pair for pair in pairs if wanted[list(pair)].any()):
        equal = codes[one] == codes[two]
        ways = log(comb(width, int(equal.sum()))) + log(count * (count - 1) / 2)
        likely = weights[one][equal].sum()
        expected = float(np.exp(min(50.0, ways + likely)))
        if expected < CHANCE and all(
            _rival(codes, weights, row, patients) - likely >= STANDS_OUT for row in (one, two)
        ):
            yield one, two, expected


def _rival(codes: Ints, weights: Floats64, row: int, patients: Ints) -> float:
    """Return the logarithm of how likely a row of another patient is as equal to this one as its rival is."""
    others = patients != patients[row]
    likely = ((codes[others] == codes[row]) * weights[row]).sum(axis=1)
    return float(np.sort(likely)[min(RIVAL, len(likely)) - 1]) if len(likely) else 0.0


def _ranks(column: Floats64) -> Floats64:
    """Return ranks with mean 0 and standard deviation 1; a missing value stands in the middle."""
    there = ~np.isnan(column)
    found = np.zeros(len(column))
    own = rankdata(column[there])
    found[there] = (own - own.mean()) / max(float(own.std()), 1e-12)
    return found
