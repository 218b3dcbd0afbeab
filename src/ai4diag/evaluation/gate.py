"""The release gate: lower limits that must hold before a model may leave."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ai4diag.errors import did_you_mean
from ai4diag.types import Estimate


def check_gate(estimates: Sequence[Estimate], accept: Mapping[str, float]) -> list[str]:
    """Return what is not met, in words; empty when everything is.

    Args:
        estimates: those of a run; only the whole test part counts.
        accept: `<estimate>_low` to the value that the lower limit must reach.

    Never met: a lower limit that is undefined, or an estimate that does not exist.
    """
    known = {item.name: item for item in estimates if item.part == "test" and item.subgroup == "all"}
    unmet = []
    for key, wanted in accept.items():
        name = key.removesuffix("_low")
        if name not in known:
            unmet.append(f"{key}: there is no estimate '{name}'. {did_you_mean(name, known)}")
        elif math.isnan(known[name].low):
            unmet.append(f"{key}: undefined ({known[name].note or 'no interval'}), asked for at least {wanted:g}")
        elif known[name].low < wanted:
            unmet.append(f"{key}: {known[name].low:.4f} is below {wanted:g}")
    return unmet
