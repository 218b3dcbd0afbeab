"""Signals: WFDB records, what their annotations or a table of records say, and whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from ai4diag.config.base import Settings
from ai4diag.config.sources.common import TAKEN, RelativePath

OWN = {"record", "time_s", "lead"}
"""Columns that the index of signals has anyway."""


class RecordAttribute(Settings):
    """A column of the table of records that is kept, to tell subgroups apart."""

    column: str
    """Name of the column, and of the attribute."""
    levels: Mapping[str, str | int | float] = {}
    """Name of each level, and how the file writes it; none: the cells are words."""
    bands: tuple[float, ...] = ()
    """Limits that cut a number into bands, in increasing order."""

    @model_validator(mode="after")
    def _one_meaning(self) -> RecordAttribute:
        if self.levels and self.bands:
            raise ValueError("give levels or bands, not both")
        if list(self.bands) != sorted(set(self.bands)):
            raise ValueError("bands must increase")
        if self.column in TAKEN | OWN:
            raise ValueError(f"attribute '{self.column}' cannot have this name, which is in use")
        return self


class RecordTable(Settings):
    """A CSV with one line per record."""

    path: RelativePath
    columns: Annotated[Mapping[int, str], Field(min_length=1)]
    """Sampling rate in Hz to the column that holds the path of the record at that rate, without ending."""
    attributes: tuple[RecordAttribute, ...] = ()
    site: str | None = None
    """Column that holds the site of each record."""


class CodeGroups(Settings):
    """A CSV that says to which class a code belongs; its first column is the code."""

    path: RelativePath
    column: str
    """The column that names the class; codes without one, or of another class, say nothing."""


class RecordLabels(Settings):
    """The truth of a whole record, from a column of the table of records."""

    column: str
    """Column that holds one value, or a Python dictionary of codes such as `{'NORM': 100.0}`."""
    values: Mapping[str, tuple[str | int | float, ...]] = {}
    """For each class, how the file writes it, or the codes that mean it."""
    groups: CodeGroups | None = None
    """The table that assigns codes to classes, instead of `values`."""
    multilabel: bool = False
    """Whether a record may be of several classes, or of none."""
    leave_out_unlabelled: bool = False
    """Leave out records without any class; else they are an error, or in multilabel of no class."""

    @model_validator(mode="after")
    def _one_way(self) -> RecordLabels:
        if bool(self.values) == (self.groups is not None):
            raise ValueError("give either values or groups")
        return self


class Signals(Settings):
    """How to read WFDB records: `<record>.hea` with its signal file, and annotations beside it."""

    records: tuple[RelativePath, ...] = ()
    """Paths of the records, without ending."""
    table: RecordTable | None = None
    """The table of records, instead of `records`."""
    channels: Annotated[tuple[str | int, ...], Field(min_length=1)]
    """Which signals of a record, by name or position from 0; a position may be another lead in another record."""
    unit: str = "mV"
    """Physical unit; a record in another one is an error."""
    annotation: Annotated[str, Field(pattern=r"^[A-Za-z0-9]+$")] | None = None
    """Ending of the annotation files."""
    symbols: Mapping[str, tuple[str, ...]] = {}
    """For each class, the annotation symbols of its beats. With two classes, the second is the positive one."""
    other_beats: tuple[str, ...] = ()
    """Symbols of beats that are no case, but count for the intervals between beats."""
    no_beats: tuple[str, ...] = ()
    """Symbols that mark something else, such as a change of rhythm."""
    labels: RecordLabels | None = None
    """The truth of whole records, instead of `symbols`."""
    same_patient: Mapping[str, str] = {}
    """Record to another record of the same patient."""
    site: str = "unknown"
    """Site of every record, when the table does not say."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Signals:
        if bool(self.records) == (self.table is not None):
            raise ValueError("give either records or table")
        if bool(self.symbols) == (self.labels is not None):
            raise ValueError("give either symbols or labels")
        if self.symbols and self.annotation is None:
            raise ValueError("symbols stand in annotation files: give annotation, their ending")
        if self.labels is not None and self.table is None:
            raise ValueError("labels are a column of table, which is not given")
        used = [symbol for symbols in self.symbols.values() for symbol in symbols]
        used += [*self.other_beats, *self.no_beats]
        twice = sorted({symbol for symbol in used if used.count(symbol) > 1})
        if twice:
            raise ValueError(f"symbol '{twice[0]}' is given twice")
        if len(set(self.records)) < len(self.records) or len(set(self.channels)) < len(self.channels):
            raise ValueError("a record or a channel is given twice")
        return self
