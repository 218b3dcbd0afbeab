"""Arrays in one file: images of one size and their labels, as the MedMNIST collection keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ai4diag.config.base import Settings
from ai4diag.config.sources.common import RelativePath

Labels = Literal["binary", "multiclass", "multilabel", "ordinal"]
"""What the truth of a case is: one of two classes, one of several, any of several, one of several in an order."""


class Arrays(Settings):
    """How to read an `.npz` with the arrays `<part>_images` and `<part>_labels`, part being train, val and test.

    Images are uint8 `(cases, *sides)`, or `(cases, *sides, 3)` where there are three channels; labels are whole numbers
    `(cases, 1)`, positions in `classes`, or `(cases, classes)` of 0 and 1 where several may hold.
    """

    files: Annotated[Mapping[int, RelativePath], Field(min_length=1)]
    """The file of each size: side of the images in pixels, and its path. The smallest is the one that is usual."""
    labels: Labels
    """`binary`, `multiclass`, `multilabel` (any of the classes, or none), or `ordinal` (the classes have an order)."""
    channels: tuple[str, ...] = ("grey",)
    """One (grey) or three (red, green, blue)."""
    dimensions: Literal[2, 3] = 2
    """2 for pictures, 3 for volumes, in the order of the array's axes."""
    site: str = "unknown"
    """Site of every case."""

    @model_validator(mode="after")
    def _is_image(self) -> Arrays:
        if len(self.channels) not in (1, 3):
            raise ValueError("channels must be one (grey) or three (red, green, blue)")
        return self
