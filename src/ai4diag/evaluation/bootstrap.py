"""Confidence intervals by resampling whole patients.

A resample is a vector that says how often each unit (patient) was drawn; a case weighs what its patient weighs. A
statistic is a function of such weights, for many resamples at once, so that nothing is copied, sorted or matched again.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 14.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ai4diag.config.plan import Interval

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint32]
Statistic = Callable[[Floats], Floats]
"""Weights of the cases `(B, cases)` to values `(B, S)`, NaN where undefined."""

FEW_UNITS = 50
"""Below this number of units an interval is too narrow more often than it says."""
MOST_UNDEFINED = 0.1
"""Share of resamples that may be undefined before the interval is."""
ROUNDING = 1e-12
ALL_AGREE = "no interval: all resamples agree"
AT_THE_END = "no interval: log odds of 0 and 1 are infinite"
BLOCK = 4_000_000
"""Resamples x cases that are held at once: 32 MB of weights."""
LARGE = 3_000_000
"""Weights from which they are laid out row by row for the compiled loops; sums over cases differ in their last bit."""
ONE_BY_ONE, GROUPS = 20_000, 2000
"""Units that BCa leaves out one by one at most, and the groups in which it leaves out more."""
AT_ONCE = 250_000
"""Draws that are held at once: 2 MB, which stay near the processor. Any number gives the same draws."""
WORTH_COMPILING = 20_000_000
"""Resamples x units from which numba counts; the counts are the same."""


@dataclass(frozen=True)
class Intervals:
    """Values with their limits, one entry per statistic.

    Attributes:
        value, low, high: `(S,)`, NaN where undefined.
        undefined: `(S,)`, number of resamples in which the statistic was undefined; they are left out of the limits.
        notes: `(S,)`, what to mind about each; empty where nothing.
        n_units: number of sampling units.
        stratified: how the units were stratified; empty when they were not.
    """

    value: Floats
    low: Floats
    high: Floats
    undefined: Ints
    notes: tuple[str, ...]
    n_units: int
    stratified: str


def intervals(
    statistic: Statistic,
    unit: npt.ArrayLike,
    plan: Interval,
    presence: npt.NDArray[np.bool_] | None = None,
    shares: Sequence[bool] | None = None,
) -> Intervals:
    """Return the statistic with its confidence interval by a bootstrap of whole units.

    Args:
        statistic: function of the weights of the cases.
        unit: `(cases,)`, which unit each case belongs to (any labels).
        plan: level, number of resamples, seed, method (`percentile`, `bca` or `logit`).
        presence: bool `(cases, classes)`, which classes a case shows; needed to stratify where a class would vanish.
        shares: `(S,)`, which statistics lie within 0..1 by definition; None: none. `logit` is for these alone, the
            others get percentiles.

    The interval is NaN, and the note says why, with fewer than two units, when the value itself is undefined, when more
    than a tenth of the resamples are undefined, and when all resamples agree (nothing found, everything right): the
    bootstrap cannot tell how sure that is, and an interval of no width would pass every release gate.
    """
    _, codes = np.unique(np.asarray(unit), return_inverse=True)
    n_units = int(codes.max()) + 1 if len(codes) else 0
    strata, stratified = stratify(codes, n_units, presence, plan.resamples)
    value = statistic(np.ones((1, len(codes))))[0]
    if n_units < 2:
        empty = np.full(len(value), np.nan)
        note = "no interval: fewer than two patients"
        return Intervals(value, empty, empty, np.zeros(len(value), np.int64), (note,) * len(value), n_units, "")
    blocks = resamples(strata, plan, len(codes))
    drawn = np.concatenate([np.array(statistic(_of_cases(weights, codes))) for weights in blocks])
    undefined = np.isnan(drawn).sum(axis=0)
    left_out = _leave_one_out(statistic, codes, n_units) if plan.method == "bca" else None
    limits = np.full((2, len(value)), np.nan)
    notes = []
    for s in range(len(value)):
        usable = drawn[~np.isnan(drawn[:, s]), s]
        reason = _no_interval(float(value[s]), usable, int(undefined[s]), plan)
        if not reason:
            on_logit = plan.method == "logit" and shares is not None and shares[s]
            jackknife = None if left_out is None else left_out[:, s]
            limits[:, s] = (
                _logit_limits(float(value[s]), usable, plan.level, n_units)
                if on_logit
                else _quantiles(float(value[s]), usable, plan.level, jackknife)
            )
            if np.isnan(limits[:, s]).any():
                reason = AT_THE_END if on_logit else "no interval: every resample lies on one side of the value"
        notes.append(reason or _caveat(int(undefined[s]), plan, n_units))
    return Intervals(value, limits[0], limits[1], undefined, tuple(notes), n_units, stratified)


def in_words(plan: Interval) -> str:
    """Return level and method for a note.

    >>> in_words(Interval(method="logit"))
    '95% logit bootstrap (percentile for differences and what can lie outside 0..1)'
    """
    beside = " (percentile for differences and what can lie outside 0..1)" if plan.method == "logit" else ""
    return f"{plan.level:.0%} {plan.method} bootstrap{beside}"


def _quantiles(value: float, drawn: Floats, level: float, left_out: Floats | None) -> Floats:
    """Return limits at quantiles of the resamples, which are corrected (BCa) where values without a unit are given."""
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if left_out is not None:
        tails = _bca_tails(tails, value, drawn, left_out)
    limits: Floats = np.full(2, np.nan) if np.isnan(tails).any() else np.quantile(drawn, tails)
    return limits


def _logit_limits(value: float, drawn: Floats, level: float, n_units: int) -> Floats:
    """Return limits that are symmetric on the scale of log odds, where a share near 0 or 1 has room to both sides.

    logit(value) +- t s: s is the standard deviation of the resamples' log odds, times sqrt(n / (n - 1)) because
    resamples of n units vary less than samples do; t is the quantile of Student's distribution with n - 1 degrees of
    freedom. Resamples of 0 or 1 count like the nearest other. NaN for a value of 0 or 1. Sources: Pepe, The Statistical
    Evaluation of Medical Tests, 2003, chapter 5 (log odds); Hesterberg, The American Statistician 69:371, 2015 (the
    bootstrap is too narrow in small samples).
    """
    from scipy.special import expit, logit, stdtrit

    inside = drawn[(drawn > 0) & (drawn < 1)]
    if not 0 < value < 1 or not len(inside):
        return np.full(2, np.nan)
    spread = np.std(logit(np.clip(drawn, inside.min(), inside.max())), ddof=1) * np.sqrt(n_units / (n_units - 1))
    limits: Floats = expit(logit(value) + np.array([-1, 1]) * stdtrit(n_units - 1, (1 + level) / 2) * spread)
    return limits


def _of_cases(weights: Floats, codes: Ints) -> Floats:
    alone = len(codes) == weights.shape[1] and (codes == np.arange(len(codes))).all()
    if alone:
        return weights
    return np.take(weights, codes, axis=1) if weights.size > LARGE else weights[:, codes]


def _no_interval(value: float, usable: Floats, undefined: int, plan: Interval) -> str:
    """Return why there is no interval; empty where there is one."""
    if np.isnan(value):
        return "undefined"
    if undefined > MOST_UNDEFINED * plan.resamples:
        return f"no interval: undefined in {undefined} of {plan.resamples} resamples"
    if np.ptp(usable) < ROUNDING:
        return ALL_AGREE
    return ""


def _caveat(undefined: int, plan: Interval, n_units: int) -> str:
    notes = [f"undefined in {undefined} of {plan.resamples} resamples"] if undefined else []
    if n_units < FEW_UNITS:
        notes.append(f"fewer than {FEW_UNITS} patients")
    return "; ".join(notes)


def resamples(strata: Ints, plan: Interval, n_cases: int) -> Iterator[Floats]:
    """Yield blocks of weights `(B, units)`: how often each unit is drawn, from a generator seeded by the plan.

    Each stratum is resampled to its own size. The same strata, seed and number of cases give the same weights. A block
    of large data is overwritten by the next.
    """
    generator = np.random.default_rng(plan.seed)
    compiled = plan.resamples * len(strata) > WORTH_COMPILING
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    rows = max(1, BLOCK // max(n_cases, 1))
    words = np.zeros(0, np.uint32)
    held = np.empty((min(rows, plan.resamples), len(strata))) if compiled else None
    for first in range(0, plan.resamples, rows):
        size = min(rows, plan.resamples - first)
        weights = np.zeros((size, len(strata))) if held is None else held[:size]
        for units in members:
            columns = units if len(members) > 1 else slice(None)
            for part in np.array_split(weights, math.ceil(size * len(units) / AT_ONCE)):
                if compiled:
                    words = _draw(generator.bit_generator, words, units, part)
                    continue
                chosen = generator.integers(0, len(units), (len(part), len(units)))
                chosen += np.arange(len(part))[:, None] * len(units)  # each row counts in a range of its own
                part[:, columns] = np.bincount(chosen.reshape(-1), minlength=chosen.size).reshape(chosen.shape)
        yield weights


def _draw(source: np.random.BitGenerator, words: Words, units: Ints, weights: Floats) -> Words:
    """Fill the columns `units` of weights with counts of what `Generator.integers` draws; return the words left over.

    Args:
        source: gives 64 random bits at a time, of which numpy uses the lower 32 first.
        words: what earlier draws left of them.
        units: columns of the stratum, as many draws per row.
        weights: `(B, columns)`, in place.
    """
    from ai4diag.evaluation import kernels

    if len(units) == 1:
        weights[:, units] = 1  # numpy draws nothing where there is no choice
        return words
    missing, spare = len(weights) * len(units) - len(words), 128 + (len(weights) * len(units) ** 2 >> 31)
    while True:
        if missing > 0:
            words = np.concatenate([words, source.random_raw((missing + spare) // 2).view(np.uint32)])
        used = kernels.draw(words, units, weights)
        if used >= 0:
            return words[used:]
        missing = spare


def stratify(codes: Ints, n_units: int, presence: npt.NDArray[np.bool_] | None, n_resamples: int) -> tuple[Ints, str]:
    """Return the stratum of each unit `(units,)`, and how it was made.

    A class that m of n units show is missing from a resample with probability (1 - m/n)^n. Where at least one of the
    resamples is expected to lack a class, the units are stratified by which of these scarce classes they show;
    otherwise all units are one stratum, as stratifying makes an interval conditional on the prevalence.
    """
    none = np.zeros(n_units, np.int64)
    if presence is None or n_units < 2:
        return none, ""
    shows = np.zeros((n_units, presence.shape[1]), bool)
    np.logical_or.at(shows, codes, presence)
    count = shows.sum(axis=0)
    scarce = (count > 0) & (n_resamples * (1 - count / n_units) ** n_units >= 1)
    if not scarce.any():
        return none, ""
    strata: Ints = np.unique(shows[:, scarce], axis=0, return_inverse=True)[1].reshape(-1)
    return strata, f"stratified by the presence of {int(scarce.sum())} scarce class(es), {strata.max() + 1} strata"


def _leave_one_out(statistic: Statistic, codes: Ints, n_units: int) -> Floats:
    """Return the statistic without each unit, `(units, S)`; of very many units, without each of 2,000 groups.

    The acceleration is the skewness of these values over 6 times the root of their number, which groups leave the same:
    sums of k units are less skew by the root of k.
    """
    groups = np.arange(n_units) % (n_units if n_units <= ONE_BY_ONE else GROUPS)
    n_groups = int(groups.max()) + 1
    rows = max(1, BLOCK // max(len(codes), 1))
    blocks = []
    for first in range(0, n_groups, rows):
        left_out = np.arange(first, min(first + rows, n_groups))
        blocks.append(statistic(_of_cases((groups != left_out[:, None]).astype(np.float64), codes)))
    return np.concatenate(blocks)


def _bca_tails(tails: Floats, value: float, drawn: Floats, left_out: Floats) -> Floats:
    """Return the corrected tail probabilities: bias from the resamples, acceleration from leaving out one unit.

    Resamples equal to the value, apart from rounding, count half below it. NaN when every resample lies on one side of
    the value.
    """
    from scipy.special import ndtr, ndtri

    equal = np.abs(drawn - value) <= ROUNDING * max(1.0, abs(value))
    below = (((drawn < value) & ~equal).sum() + 0.5 * equal.sum()) / len(drawn)
    if below in (0, 1):
        return np.full(2, np.nan)
    pull = np.nanmean(left_out) - left_out[~np.isnan(left_out)]
    spread = (pull**2).sum() ** 1.5
    acceleration = (pull**3).sum() / (6 * spread) if spread > 0 else 0.0
    bias = ndtri(below)
    shifted = bias + ndtri(tails)
    corrected: Floats = ndtr(bias + shifted / (1 - acceleration * shifted))
    return corrected
