"""Tables: columns with units, ranges and levels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ai4diag.config.base import Settings
from ai4diag.config.sources.common import TAKEN, Identifier, RelativePath

Scalar = str | int | float


def canonical(cell: str) -> str:
    """Return what a cell means as a level: `1`, `1.0` and ` 1` are the same.

    >>> canonical("1.0") == canonical(" 1")
    True
    """
    try:
        return repr(float(cell))
    except ValueError:
        return cell.strip()


def _one_meaning(where: str, written: Iterable[Scalar]) -> None:
    """Refuse a word of the file that stands for two levels or classes."""
    seen: set[str] = set()
    for value in written:
        meant = canonical(str(value))
        if meant in seen:
            raise ValueError(f"{where}: '{value}' stands for two levels; the file must tell them apart")
        seen.add(meant)


class Column(Settings):
    """One column of a table."""

    name: str
    kind: Literal["number", "category", "text"] = "number"
    unit: str = ""
    """Unit of a number as it stands in the file; `1` when it has none."""
    range: tuple[float, float] | None = None
    """Smallest and largest plausible value; others are reported and kept."""
    levels: Mapping[str, Scalar] = {}
    """Name of each level of a category, and how the file writes it."""
    zero_is_missing: bool = False
    """The file writes 0 where nothing was measured."""
    post_outcome: bool = False
    """Known only after the outcome: a model that sees it will not work on new patients."""
    attribute: bool = False
    """Kept in the index, so that estimates can be repeated per subgroup. A number also needs `bands`."""
    bands: tuple[float, ...] = ()
    """Limits of the bands that a number becomes as an attribute, named `<name>_band`."""
    note: str = ""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Column:
        if (self.kind == "category") != bool(self.levels):
            raise ValueError(f"column '{self.name}': levels belong to a category, and every category needs them")
        if self.kind != "number" and (self.range or self.bands or self.zero_is_missing or self.unit):
            raise ValueError(f"column '{self.name}': unit, range, bands and zero_is_missing belong to a number")
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError(f"column '{self.name}': range must be the smallest, then the largest value")
        if self.kind == "number" and not self.unit:
            raise ValueError(f"column '{self.name}': a number needs a unit; write '1' when it has none")
        if self.attribute and not (self.levels or self.bands):
            raise ValueError(f"column '{self.name}': an attribute is a category, or a number with bands")
        if self.attribute and self.name in TAKEN:
            raise ValueError(f"column '{self.name}': an attribute cannot have this name, which is in use")
        _one_meaning(f"column '{self.name}'", self.levels.values())
        if list(self.bands) != sorted(set(self.bands)):
            raise ValueError(f"column '{self.name}': bands must increase")
        return self


class Label(Settings):
    """The column that holds the truth."""

    column: str
    values: Mapping[str, tuple[Scalar, ...]]
    """For each class, how the file writes it."""

    @model_validator(mode="after")
    def _one_class_each(self) -> Label:
        _one_meaning("label.values", [value for values in self.values.values() for value in values])
        return self


DAYS = {"d": 1.0, "days": 1.0, "weeks": 7.0, "months": 365.25 / 12, "years": 365.25}
"""Units that the time of a time to event may have, in days."""


class Lookup(Settings):
    """A second table (CSV) that says what a code stands for."""

    path: RelativePath
    key: str
    """Its column of codes, each once."""
    value: str
    """Its column of what they stand for."""


class Site(Identifier):
    """Where the site of a row stands; the name of a column alone will do."""

    lookup: Lookup | None = None
    """What the code that was found stands for; None: it is the site."""

    @model_validator(mode="before")
    @classmethod
    def _accept_a_word(cls, values: Any) -> Any:
        return {"column": values} if isinstance(values, str) else values


class TableFile(Settings):
    """A file of the table, and the site it comes from."""

    path: RelativePath
    site: str = "unknown"


class Table(Settings):
    """How to read a table: one or more files with the same columns."""

    files: Annotated[tuple[TableFile, ...], Field(min_length=1)]
    header: bool = True
    """Whether the first line names the columns; without it, `columns` gives their order. ARFF names its own."""
    missing: tuple[str, ...] = ("",)
    """How the file writes a missing value."""
    columns: Annotated[tuple[Column, ...], Field(min_length=1)]
    label: Label
    time: str | None = None
    """Column of the time from the start to the end of observation, for time to event: `label` then says how it ended,
    first class without the event (censored), second class with it. Its unit is d, days, weeks, months or years."""
    site: Site | None = None
    """Where the site of each row stands, instead of one site per file."""

    @property
    def roles(self) -> frozenset[str]:
        """Columns that say what happened and where, which no model sees."""
        return frozenset(
            {self.label.column, *([self.time] if self.time else []), *([self.site.column] if self.site else [])}
        )
