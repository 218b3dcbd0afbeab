"""Volumes with masks: a folder of images, a folder of label maps, paired by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from ai4diag.config.base import Settings
from ai4diag.config.sources.common import TAKEN, RelativePath, one_group


class Volumes(Settings):
    """How to read volumes (NIfTI and what else `ai4diag.data.readers` knows) and their label maps."""

    folder: RelativePath
    """Folder of the images; the file name without its ending is the case."""
    labels: RelativePath
    """Folder of the label maps: whole numbers on the grid of the image."""
    numbers: Mapping[str, Annotated[int, Field(ge=1)]]
    """For each class of the card, in order, its number in the label maps; 0 is the background."""
    unlabelled: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Further numbers of the label maps that count as background."""
    channels: tuple[str, ...] = ("intensity",)
    """What is measured, in the order of the fourth axis of the files; a volume of three axes has one."""
    image_pattern: Annotated[str, AfterValidator(one_group)] = "(.+)"
    """Regular expression that the name of an image matches; its one group is the case."""
    label_pattern: Annotated[str, AfterValidator(one_group)] = "(.+)"
    """The same for label maps."""
    cases: RelativePath | None = None
    """CSV with one line per case: case_id, and any of patient_id, site and attributes."""
    attributes: tuple[str, ...] = ()
    """Columns of `cases` to keep in the index."""
    site: str = "unknown"
    """Site of every case, when `cases` does not say."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Volumes:
        if self.attributes and self.cases is None:
            raise ValueError("attributes are columns of cases, which is not given")
        if taken := TAKEN.intersection(self.attributes):
            raise ValueError(f"attribute '{min(taken)}' cannot have this name, which is in use")
        if not self.channels:
            raise ValueError("channels must name at least one")
        used = [*self.numbers.values(), *self.unlabelled]
        twice = sorted({number for number in used if used.count(number) > 1})
        if twice:
            raise ValueError(f"numbers: {twice[0]} stands for two classes")
        return self
