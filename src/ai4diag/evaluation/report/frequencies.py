"""Natural frequencies: shares as so many of 100, with their interval, which readers of all professions understand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ai4diag.evaluation.report import words
from ai4diag.types import Estimate

if TYPE_CHECKING:
    from ai4diag.evaluation.evaluate import Evaluation


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
