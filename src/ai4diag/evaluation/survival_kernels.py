"""The concordance of many resamples, compiled by numba on first use and cached on disk.

Import this module inside the function that needs it: importing numba takes about half a second. The numpy path beside
its caller (`survival.Outcomes.concordance`) gives the same numbers.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def concordance(weights, factor, rank, event, ends, upto):  # type: ignore[no-untyped-def]
    """Walk from the longest to the shortest time, with the scores met so far in a binary indexed tree.

    Args:
        weights: float64 `(B, n)`, columns by rising time, of equal times events before the others.
        factor: float64 `(B or 1, n)`, further weight of a pair, by its earlier case; one row stands for all.
        rank: int64 `(n,)`, dense rank of the score from 1.
        event: bool `(n,)`.
        ends: int64 `(groups,)`, last column of each distinct time plus one, rising.
        upto: number of distinct times whose events count.

    Returns:
        two float64 `(B,)`: weight of the pairs that are ordered rightly (ties half), and of all comparable pairs.
    """
    draws, n = weights.shape
    size = rank.max() if n else 0
    right, pairs = np.zeros(draws), np.zeros(draws)
    tree, equal = np.zeros(size + 1), np.zeros(size + 1)
    for b in range(draws):
        tree[:] = 0
        equal[:] = 0
        total = 0.0
        own = factor[b] if len(factor) > 1 else factor[0]
        for group in range(len(ends) - 1, -1, -1):
            first = ends[group - 1] if group else 0
            for kind in range(3):  # who was only seen longer, then the events against these, then the events themselves
                for i in range(first, ends[group]):
                    weight = weights[b, i]
                    if weight == 0 or event[i] != (kind > 0):
                        continue
                    if kind == 1:
                        if group < upto:
                            below, at = 0.0, rank[i] - 1
                            while at > 0:
                                below += tree[at]
                                at -= at & -at
                            right[b] += weight * own[i] * (below + equal[rank[i]] / 2)
                            pairs[b] += weight * own[i] * total
                        continue
                    at = rank[i]
                    equal[at] += weight
                    total += weight
                    while at <= size:
                        tree[at] += weight
                        at += at & -at
    return right, pairs
