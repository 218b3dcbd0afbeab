"""Natural frequencies: shares as so many of 100, with their interval, which readers of all professions understand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from ai4diag.evaluation.report import words
from ai4diag.types import Estimate

if TYPE_CHECKING:
    from ai4diag.evaluation.evaluate import Evaluation


STEP, ROWS = 8, 4
"""Units of a picture between two dots, and rows of dots."""


@dataclass(frozen=True)
class Dots:
    """A share as dots, of 100 so many full; `text` says the same."""

    svg: Markup
    text: str


def dots(estimate: Estimate | None, text: str) -> tuple[Dots, ...]:
    """Return a share as 100 dots with a text that has `{}` for the number; nothing where the share is undefined.

    All dots are full, or none, only where the share is exactly so.
    """
    if estimate is None:
        return ()
    full = round(100 * estimate.value)
    if 0 < estimate.value < 1:
        full = min(max(full, 1), 99)
    places = [f"M{STEP * (n // ROWS) + STEP // 2} {STEP * (n % ROWS) + STEP // 2}h0" for n in range(100)]
    yes, no = "".join(places[:full]), "".join(places[full:])
    svg = Markup(
        '<svg class="dots" viewBox="0 0 {} {}" aria-hidden="true"><path class="yes" d="{}"/><path class="no" d="{}"/>'
        '<path class="hole" d="{}"/></svg>'
    ).format(STEP * 100 // ROWS, STEP * ROWS, yes, no, no)
    return (Dots(svg, text.format(full)),)


def known(evaluation: Evaluation, name: str, subgroup: str = "all") -> Estimate | None:
    """Return an estimate of the test part that is defined, else None."""
    for item in evaluation.estimates:
        if (item.name, item.part, item.subgroup) == (name, "test", subgroup) and not math.isnan(item.value):
            return item
    return None


def of_hundred(estimate: Estimate, tested: int = 0) -> str:
    """Return a share as `about 81 (between 74 and 87)`, or `all` and `none` where it is exactly so.

    Args:
        estimate: a share between 0 and 1.
        tested: on how many it rests; 0 leaves that out.

    >>> of_hundred(Estimate("sensitivity", 0.809, 0.737, 0.873, 254, 254), 131)
    'about 81 (between 74 and 87; tested on 131)'
    """
    shown = [estimate.value, estimate.low, estimate.high]
    has_limits = not math.isnan(estimate.low) and not math.isnan(estimate.high)
    texts = words.of_hundred(*shown if has_limits else shown[:1])
    value = {0.0: "none", 1.0: "all"}.get(estimate.value, f"about {texts[0]}".replace("about more", "more"))
    limits = f"between {texts[1]} and {texts[2]}" if has_limits else "no interval"
    return f"{value} ({limits}{f'; tested on {tested:,}' if tested else ''})"


def frequency(share: float) -> str:
    """Return a share as a small number of cases.

    >>> frequency(0.01), frequency(0.0005), frequency(0.125)
    ('1 of 100', '5 of 10,000', '125 of 1,000')
    """
    for whole in (100, 1000, 10_000):
        if share * whole >= 1 and abs(share * whole - round(share * whole)) < 1e-9 * whole:
            return f"{round(share * whole)} of {whole:,}"
    return f"{100 * share:.3g} of 100"


def complement(estimate: Estimate) -> Estimate:
    """Return one minus a share, with its interval."""
    return Estimate(
        estimate.name,
        1 - estimate.value,
        1 - estimate.high,
        1 - estimate.low,
        estimate.n,
        estimate.n_patients,
        estimate.part,
        estimate.subgroup,
        estimate.note,
    )


def lowest(evaluation: Evaluation, name: str) -> tuple[str, Estimate] | None:
    """Return the class with the lowest estimate of a name, and the estimate; None where no class has one."""
    found = [(label, known(evaluation, name, f"class={label}")) for label in evaluation.classes]
    defined = [(label, item) for label, item in found if item is not None]
    return min(defined, key=lambda pair: pair[1].value) if defined else None
