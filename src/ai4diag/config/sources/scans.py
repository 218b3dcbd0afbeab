"""Volumes with boxes: derived from label maps, or given in a table in millimetres or in voxels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ai4diag.config.base import Settings
from ai4diag.config.sources.common import TAKEN, RelativePath, one_group


class LabelMaps(Settings):
    """Boxes around what label maps show."""

    folder: RelativePath
    """Folder of the label maps: whole numbers on the grid of the volume."""
    numbers: Mapping[str, Annotated[int, Field(ge=1)]]
    """For each class of the card, in order, its number in the label maps; 0 is the background."""
    unlabelled: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Further numbers of the label maps that count as background."""
    each: Literal["class", "component"]
    """One box around all voxels of a class, or one around each of its connected parts (voxels that share a face)."""
    least_voxels: int = Field(default=1, ge=1)
    """Connected parts of fewer voxels are specks, and no box reaches out to them."""
    pattern: Annotated[str, AfterValidator(one_group)] = "(.+)"
    """Regular expression that the name of a label map matches; its one group is the case."""


class Spheres(Settings):
    """Boxes around spheres, given by middle and diameter in millimetres, as LUNA16 has them."""

    path: RelativePath
    """CSV with one line per sphere."""
    case: str
    """Column that names the case."""
    centre: tuple[str, str, str]
    """Columns of the middle in millimetres, x, y, z."""
    system: Literal["LPS", "RAS"]
    """Where x and y grow to: left and back (DICOM, ITK), or right and front (NIfTI). z grows to the head."""
    diameter_mm: str
    """Column of the diameter in millimetres."""
    label: str | None = None
    """Column of the class; None: all are of the card's only class."""
    ignored: RelativePath | None = None
    """A second CSV with the same columns: what is neither right nor wrong to find."""
    unknown_diameter_mm: float = Field(default=10, gt=0)
    """Diameter of what is ignored and has no positive one."""


class VoxelBoxes(Settings):
    """Boxes in voxels of the file, edges continuous: voxel i covers i to i + 1."""

    path: RelativePath
    """CSV with one line per box."""
    case: str
    """Column that names the case."""
    low: tuple[str, str, str]
    """Columns of the lower edges along the first, second and third axis of the file."""
    high: tuple[str, str, str]
    """Columns of the upper edges."""
    label: str | None = None
    """Column of the class; None: all are of the card's only class."""


class Scans(Settings):
    """How to read volumes with boxes."""

    folders: Annotated[tuple[RelativePath, ...], Field(min_length=1)]
    """Folders of the volumes; the file name without its ending is the case."""
    channels: tuple[str, ...] = ("intensity",)
    """What is measured, in the order of the fourth axis of the files; a volume of three axes has one."""
    pattern: Annotated[str, AfterValidator(one_group)] = "(.+)"
    """Regular expression that the name of a volume matches; its one group is the case."""
    label_maps: LabelMaps | None = None
    spheres: Spheres | None = None
    voxel_boxes: VoxelBoxes | None = None
    cases: RelativePath | None = None
    """CSV with one line per case: case_id, and any of patient_id, site and attributes."""
    attributes: tuple[str, ...] = ()
    """Columns of `cases` to keep in the index."""
    site: str = "unknown"
    """Site of every case, when `cases` does not say."""

    @property
    def folder(self) -> str:
        """The folders in words."""
        return ", ".join(self.folders)

    @model_validator(mode="after")
    def _is_consistent(self) -> Scans:
        if sum(given is not None for given in (self.label_maps, self.spheres, self.voxel_boxes)) != 1:
            raise ValueError("boxes come from label_maps, from spheres or from voxel_boxes: give exactly one")
        if self.attributes and self.cases is None:
            raise ValueError("attributes are columns of cases, which is not given")
        if taken := TAKEN.intersection(self.attributes):
            raise ValueError(f"attribute '{min(taken)}' cannot have this name, which is in use")
        if not self.channels:
            raise ValueError("channels must name at least one")
        return self
