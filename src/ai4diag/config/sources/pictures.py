"""Pictures with a label each: a folder per class, or a table that names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import model_validator

from ai4diag.config.base import Settings
from ai4diag.config.sources.arrays import Labels
from ai4diag.config.sources.common import TAKEN, RelativePath
from ai4diag.config.sources.table import Scalar


class PictureLabels(Settings):
    """Where the truth stands in the table of cases."""

    column: str | None = None
    """Column that holds the class of each case."""
    values: Mapping[str, Scalar] = {}
    """For each class, how `column` writes it; the class names themselves when not given."""
    columns: Mapping[str, str] = {}
    """For each class, the column that says with 1 or 0 whether it holds (`multilabel`)."""

    @model_validator(mode="after")
    def _one_form(self) -> PictureLabels:
        if (self.column is None) == (not self.columns):
            raise ValueError("give either column or columns")
        return self


class Pictures(Settings):
    """How to read PNG, JPEG, TIFF or BMP files with one label, or several, each."""

    folder: RelativePath
    """Folder of the files; the path below it, without ending, names the case."""
    labels: Labels
    """`binary`, `multiclass`, `multilabel` (any of the classes, or none), or `ordinal` (the classes have an order)."""
    folders: Mapping[str, RelativePath] = {}
    """For each class, its folder below `folder`; or give `cases`."""
    cases: RelativePath | None = None
    """CSV with one line per picture."""
    path: str = "image"
    """Column of `cases` with the path of the file below `folder`."""
    truth: PictureLabels | None = None
    """Where the truth stands in `cases`."""
    site: str = "unknown"
    """Site of every case, or with `site_column` of none."""
    site_column: str | None = None
    """Column of `cases` that holds the site."""
    attributes: tuple[str, ...] = ()
    """Columns of `cases` to keep in the index, so that estimates can be repeated per subgroup."""
    channels: tuple[str, ...] = ("grey",)
    """One (grey) or three (red, green, blue)."""

    @property
    def dimensions(self) -> Literal[2]:
        """Pictures have two."""
        return 2

    @model_validator(mode="after")
    def _is_consistent(self) -> Pictures:
        if bool(self.folders) == (self.cases is not None):
            raise ValueError("give either folders or cases")
        if (self.cases is None) != (self.truth is None):
            raise ValueError("truth says where labels stand in cases: give both or none")
        if self.cases is None and (self.attributes or self.site_column):
            raise ValueError("attributes and site_column are columns of cases, which is not given")
        several = self.truth is not None and bool(self.truth.columns)
        if several != (self.labels == "multilabel"):
            raise ValueError("multilabel needs truth.columns, and the other kinds truth.column or folders")
        if taken := TAKEN.intersection(self.attributes):
            raise ValueError(f"attribute '{min(taken)}' cannot have this name, which is in use")
        if len(self.channels) not in (1, 3):
            raise ValueError("channels must be one (grey) or three (red, green, blue)")
        return self
