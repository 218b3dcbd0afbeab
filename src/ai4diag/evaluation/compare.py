"""Whether a reproduction gave the same estimates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ai4diag.types import Estimate

FIELDS = ("value", "low", "high", "n", "n_patients")


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same.

    Attributes:
        name: the estimate, with part and subgroup.
        what: `missing`, `extra`, or the field that differs.
        committed, found: the two numbers; NaN for a missing or an extra estimate.
    """

    name: str
    what: str
    committed: float = math.nan
    found: float = math.nan

    def __str__(self) -> str:
        if self.what in ("missing", "extra"):
            return f"{self.name} is {self.what}"
        return f"{self.name}: {self.what} was {self.committed:.6g}, is {self.found:.6g}"


def compare_estimates(
    committed: Sequence[Estimate], found: Sequence[Estimate], tolerance: float = 0.0
) -> list[Difference]:
    """Return the differences: estimates missing or extra, numbers further apart than `tolerance`, other counts.

    Two undefined numbers are equal; an undefined and a defined one are not. Counts must be equal.
    """
    before, after = ({(item.name, item.part, item.subgroup): item for item in items} for items in (committed, found))
    differences = []
    for key in [*before, *(key for key in after if key not in before)]:
        name = f"{key[0]} ({key[1]}, {key[2]})"
        if key not in after or key not in before:
            differences.append(Difference(name, "missing" if key in before else "extra"))
            continue
        for field in FIELDS:
            old, new = float(getattr(before[key], field)), float(getattr(after[key], field))
            allowed = 0.0 if field.startswith("n") else tolerance
            both_undefined = math.isnan(old) and math.isnan(new)
            if not (both_undefined or abs(old - new) <= allowed):
                differences.append(Difference(name, field, old, new))
    return differences
