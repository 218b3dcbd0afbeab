"""The words of ai4diag as types: part, finding, estimate, and the convention for boxes.

**Boxes.** Everywhere in ai4diag an array of boxes is float32 of shape `(n, 2 * D)`, D = 2 or 3, in *array-axis order*
(row, column; or plane, row, column), all minima first: `[min_0, min_1, max_0, max_1]`. Coordinates are continuous
edges: pixel i covers [i, i + 1), so that the size is `max - min`, with no +1 anywhere. Readers convert on the way in
(Pascal VOC gives x before y), displays convert on the way out. Units are pixels (voxels) of the image that the box
belongs to; predictions are always in the pixels of the original image.
"""

from __future__ import annotations

import html
import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

Part = Literal["train", "validation", "test"]
Level = Literal["error", "warning", "info"]
USUAL_TARGET = {
    "tabular": "binary",
    "timeseries": "binary",
    "classification": "binary",
    "segmentation": "masks",
    "detection": "boxes",
}
"""What a task predicts where prepared cases and predictions do not name their `target`."""
PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Finding:
    """One thing that validation noticed.

    Attributes:
        level: `error` stops the pipeline, `warning` goes to the report, `info` is kept for the record.
        code: short stable name, such as `zero-coded-missing`.
        where: file, row, column, site, case: as exact as known.
        found: what is there.
        expected: what should be there.
        cure: what the reader can do about it.
        cases: ids of all cases concerned, where the finding is about certain cases; `found` names the first.
        waived: the reason for which `data.waive` lets this pass although it would stop the pipeline; its level is then
            `warning`. Empty: nobody waived it.
    """

    level: Level
    code: str
    where: str
    found: str
    expected: str
    cure: str
    cases: tuple[str, ...] = ()
    waived: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "cases", tuple(self.cases))  # JSON has lists only

    def __str__(self) -> str:
        return f"{self.where}: found {self.found}; expected {self.expected}. {self.cure}"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields in order, ready for JSON; `cases` and `waived` only where they say something."""
        return {name: value for name, value in asdict(self).items() if value or name not in ("cases", "waived")}


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty; a bare number is never shown.

    Attributes:
        name: `auroc`, `map_50`, ... (docs/reference/estimates.md).
        value: the point estimate; NaN when it is undefined.
        low, high: limits of the confidence interval; NaN when undefined.
        n: cases it rests on.
        n_patients: patients (or other sampling units) it rests on.
        part: `test`, `validation`, or `contrast` (a split that is wrong on purpose, to show by how much).
        subgroup: `all`, or `attribute=value`.
        note: why it is undefined or masked, or what to mind; empty otherwise.
    """

    name: str
    value: float
    low: float
    high: float
    n: int
    n_patients: int
    part: str = "test"
    subgroup: str = "all"
    note: str = ""

    def __str__(self) -> str:
        if math.isnan(self.value):
            return f"{self.name} undefined ({self.note or 'too little data'}; n = {self.n})"
        limits = f"[{self.low:.3f}, {self.high:.3f}]" if not math.isnan(self.low) else "[no interval]"
        return f"{self.name} {self.value:.3f} {limits} (n = {self.n}, patients = {self.n_patients})"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Show itself in a notebook: value, interval and counts, as HTML and as text."""
        name, rest = html.escape(str(self)).split(" ", 1)
        usual = (self.part, self.subgroup) == ("test", "all")
        remarks = [] if usual else [f"{self.part} part, {self.subgroup}"]
        small = html.escape("; ".join([*remarks, *([self.note] if self.note else [])]))
        shown = f"<strong>{name}</strong> {rest}" + (f" <small>{small}</small>" if small else "")
        return {"text/plain": str(self), "text/html": shown}

    def as_dict(self) -> dict[str, Any]:
        """Return the fields in order, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Estimate:
        """Read what `as_dict` wrote; null numbers become NaN again."""
        numbers = {key: math.nan if fields[key] is None else float(fields[key]) for key in ("value", "low", "high")}
        return cls(**{**fields, **numbers})
