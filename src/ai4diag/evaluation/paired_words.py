"""What a difference between two models says, in words that claim no more than its interval does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ai4diag.evaluation.bootstrap import ALL_AGREE, FEW_UNITS
from ai4diag.types import Estimate

if TYPE_CHECKING:
    from ai4diag.evaluation.paired import Comparison

Bools = npt.NDArray[np.bool_]
HIGHER = (
    "auroc", "auprc", "accuracy", "exact_match", "balanced_accuracy", "f1", "sensitivity", "specificity", "ppv", "npv",
    "kappa", "c_index", "map_", "froc_", "dice", "iou", "surface_dice",
)  # fmt: skip
"""Beginnings of the names of estimates of which more is better."""
LOWER = ("brier", "log_loss", "ece", "mae", "hd95_mm", "assd_mm", "volume_error")
"""Of which less is better. Any other name, such as a calibration slope, is best at some value in between."""
OUTSIDE = "the interval leaves out the difference itself: resamples shift this estimate"
"""What to mind of an estimate that is biased in resamples, such as a calibration error of few cases."""
UNLIKE = "not the same pairs of case and class"
"""What to mind of a mean over what is defined, where the two models leave out different cases."""
HARDLY_ANY = 10
"""Fewer patients than these say next to nothing about the next one."""


@dataclass(frozen=True)
class Verdict:
    """What the headline says.

    Attributes:
        kind: `better`, `worse`, `not worse`, `equivalent`, `no difference shown`, `borderline`, `differs`, `identical`
            or `undefined`; all of the other model, seen from the reference.
        text: one or two sentences.
    """

    kind: str
    text: str


def direction(name: str) -> int:
    """Return 1 where more is better, -1 where less is, 0 where neither or where the name is not known.

    >>> direction("auroc"), direction("brier_at_365_days"), direction("calibration_slope")
    (1, -1, 0)
    """
    if name.startswith(LOWER):
        return -1
    return 1 if name.startswith(HIGHER) else 0


def minding(value: float, low: float, high: float, note: str, one: Bools | None, other: Bools | None) -> str:
    """Return the note of a difference, with what else to mind about it.

    Args:
        value, low, high: the difference.
        note: of its interval.
        one, other: which cases (and classes) the mean of each leaves out; None for what is no such mean.
    """
    found = [note, OUTSIDE if value < low or value > high else ""]
    if one is not None and other is not None and not np.array_equal(one, other):
        found.append(f"{UNLIKE}: {one.sum()} and {other.sum()} are left out")
    return "; ".join(text for text in found if text)


def judge(
    name: str,
    difference: Estimate,
    labels: tuple[str, str],
    margin: float = math.nan,
    *,
    identical: bool = False,
    test: tuple[float, float] | None = None,
) -> Verdict:
    """Return what a difference says.

    Args:
        name: of the estimate.
        difference: other minus reference.
        labels: of the reference and of the other.
        margin: the largest difference that does not matter; NaN when none was named.
        identical: whether both gave the same answer to every case.
        test: limits of the same difference by another method, DeLong's.
    """
    a, b = labels
    value = difference.value
    if identical and value == 0:
        return Verdict("identical", f"{a} and {b} gave the same answer to every one of {difference.n} cases.")
    if math.isnan(value):
        return Verdict("undefined", f"Nothing can be said: {name} is undefined for {a}, for {b} or for both.")
    unlike = next((f" But these are {part}." for part in difference.note.split("; ") if part.startswith(UNLIKE)), "")
    if math.isnan(difference.low):
        if ALL_AGREE in difference.note and value == 0:
            start = f"{a} and {b} have the same {name} in every resample: these cases cannot tell them apart."
            return Verdict("undefined", f"{start} That does not show that they are equal.{unlike}")
        how = f"{b} has {_size(abs(value))} {'more' if value > 0 else 'less'} {name} than {a}"
        return Verdict("undefined", f"{how}; how sure that is cannot be said ({difference.note}).")
    if not difference.low <= value <= difference.high:
        how = f"{b} minus {a} is {_signed(value)}, its interval [{_signed(difference.low)}, {_signed(difference.high)}]"
        return Verdict("borderline", f"Not settled: {how} leaves that out; resamples shift {name}.")
    way = direction(name)
    if not way:
        return _without_direction(name, difference, labels)
    gain = _Gain(name, way, way * value, *sorted((way * difference.low, way * difference.high)))
    limits = tuple(sorted(way * limit for limit in test)) if test else None
    verdict = _by_interval(gain, labels, limits)
    verdict = verdict if math.isnan(margin) else _with_margin(verdict, gain, labels, margin, limits)
    return Verdict(verdict.kind, verdict.text + unlike + _few(difference.n_patients))


def _few(patients: int) -> str:
    """Return what to mind of a verdict that rests on few patients."""
    if patients >= FEW_UNITS:
        return ""
    weak = "this is a hint at most" if patients < HARDLY_ANY else "the interval tends to be too narrow"
    return f" Only {patients} patients: {weak}."


@dataclass(frozen=True)
class _Gain:
    """How much better the other model is than the reference; more is better, whatever the estimate."""

    name: str
    way: int
    value: float
    low: float
    high: float


def _by_interval(gain: _Gain, labels: tuple[str, str], test: tuple[float, ...] | None) -> Verdict:
    a, b = labels
    apart = gain.low > 0 or gain.high < 0
    if test and not math.isnan(test[0]) and apart != (test[0] > 0 or test[1] < 0):
        one, two = ("leaves out 0", "contains it") if apart else ("contains 0", "leaves it out")
        return Verdict(
            "borderline",
            f"Not settled: the bootstrap interval of the difference {one}, DeLong's {two}. {_may_be(gain, b)}",
        )
    if not apart:
        return Verdict(
            "no difference shown",
            f"No difference in {gain.name} between {a} and {b} is shown; that does not show that they are equal: "
            f"{_may_be(gain, b)}",
        )
    kind = "better" if gain.low > 0 else "worse"
    ends = (gain.low, gain.high) if gain.low > 0 else (-gain.high, -gain.low)
    size = f"{_size(abs(gain.value))} [{_size(ends[0])}, {_size(ends[1])}]"
    less = "; less is better" if gain.way < 0 else ""
    return Verdict(kind, f"{b} is {kind} than {a} by {size} ({gain.name}{less}).")


def _may_be(gain: _Gain, label: str, what: str = "one") -> str:
    """Return what an interval that contains 0, or touches it, does not exclude; `what` stands for a difference."""
    better, worse = max(gain.high, 0.0), max(-gain.low, 0.0)
    if _size(better) == _size(worse):
        return f"{what} of up to {_size(better)} in either direction is not excluded."
    ways = [f"{word} by up to {_size(size)}" for word, size in (("better", better), ("worse", worse)) if size]
    return f"{label} may be {' or '.join(ways)}."


def _with_margin(
    verdict: Verdict, gain: _Gain, labels: tuple[str, str], margin: float, test: tuple[float, ...] | None
) -> Verdict:
    """Add what the interval says about the largest difference that does not matter: of two intervals, both must."""
    a, b = labels
    words = f"the margin {margin:g}"
    both = [(gain.low, gain.high), *([(test[0], test[1])] if test and not math.isnan(test[0]) else [])]
    low, high = min(one for one, _ in both), max(one for _, one in both)
    if low > -margin and high < margin:
        kind = "equivalent"
        text = f"{a} and {b} differ by less than {words} in either direction."
        if verdict.kind == "no difference shown":
            return Verdict(kind, f"{text} {_may_be(gain, b, 'A difference')}")
    elif low > -margin:
        kind = "better" if verdict.kind == "better" else "not worse"
        how = "better" if low >= margin else "not worse"
        text = f"{b} is {how} than {a} by more than {words}."
    elif high < -margin:
        kind, text = "worse", f"{b} is worse than {a} by more than {words}."
    else:
        kind = verdict.kind
        text = f"That {b} is worse than {a} by more than {words} is not excluded."
    return Verdict(kind, f"{text} {verdict.text}" if kind in ("equivalent", "not worse") else f"{verdict.text} {text}")


def _without_direction(name: str, difference: Estimate, labels: tuple[str, str]) -> Verdict:
    """Say how far apart they are, where neither more nor less is better."""
    limits = f"{_signed(difference.value)} [{_signed(difference.low)}, {_signed(difference.high)}]"
    a, b = labels
    if difference.low > 0 or difference.high < 0:
        return Verdict("differs", f"{b} minus {a} is {limits}; of {name} neither more nor less is better by itself.")
    return Verdict("no difference shown", f"No difference in {name} is shown: {b} minus {a} is {limits}.")


def delong_text(comparison: Comparison) -> str:
    """Return what DeLong's test says; empty where it was not made or says nothing more than the verdict."""
    test, a, b = comparison.delong, comparison.reference, comparison.other
    if test is None or comparison.verdict.kind == "identical":
        return ""
    name = "DeLong, the cases of a patient together (Obuchowski)" if test.clustered else "DeLong"
    if math.isnan(test.p):
        return f"{name}: undefined, because the scores rank the cases alike or too few patients show a class."
    return f"{name}: {b} - {a} {_signed(test.value)} [{_signed(test.low)}, {_signed(test.high)}], {_p(test.p)}"


def _p(value: float) -> str:
    return "p < 0.0001" if value < 1e-4 else f"p = {value:.2g}"


def line(reference: Estimate, other: Estimate, difference: Estimate) -> list[str]:
    """Return the cells of a line of the table: name, subgroup, both values, difference, interval, note."""
    values = [f"{item.value:.3f}" if not math.isnan(item.value) else "-" for item in (reference, other)]
    if math.isnan(difference.value):
        note = reference.note if math.isnan(reference.value) else other.note
        return [reference.name, reference.subgroup, *values, "-", "-", note]
    known = not math.isnan(difference.low)
    limits = f"[{_signed(difference.low)}, {_signed(difference.high)}]" if known else "-"
    note = difference.note.removeprefix("no interval: ")
    return [reference.name, reference.subgroup, *values, _signed(difference.value), limits, note]


def _size(value: float) -> str:
    """Return a number with three decimals, or one figure where that would be 0.

    >>> _size(0.01234), _size(0.00012), _size(0.0)
    ('0.012', '0.0001', '0')
    """
    return "0" if value == 0 else f"{value:.3f}" if abs(value) >= 0.0005 else f"{value:.1g}"


def _signed(value: float) -> str:
    return "0" if value == 0 else f"{value:+.3f}" if abs(value) >= 0.0005 else f"{value:+.1g}"
