"""Images with boxes."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from ai4diag.config.base import Settings
from ai4diag.config.sources.common import TAKEN, RelativePath


class Images(Settings):
    """How to read images with boxes."""

    folder: RelativePath
    """Folder of the images; the file name without its ending is the case."""
    annotations: RelativePath
    """Folder of the annotations, one file per image with the same name; for COCO, the JSON file."""
    format: Literal["voc", "coco", "yolo"] = "voc"
    """Of the annotations: Pascal VOC (XML), COCO (one JSON file), or YOLO (text, with `names`)."""
    names: RelativePath | None = None
    """YOLO only: the `data.yaml` that names the classes."""
    channels: tuple[str, ...] = ("red", "green", "blue")
    cases: RelativePath | None = None
    """CSV with one line per case: case_id, and any of patient_id, site and attributes."""
    attributes: tuple[str, ...] = ()
    """Columns of `cases` to keep in the index."""
    site: str = "unknown"
    """Site of every case, when `cases` does not say."""

    @model_validator(mode="after")
    def _attributes_need_cases(self) -> Images:
        if self.attributes and self.cases is None:
            raise ValueError("attributes are columns of cases, which is not given")
        if taken := TAKEN.intersection(self.attributes):
            raise ValueError(f"attribute '{min(taken)}' cannot have this name, which is in use")
        if (self.names is not None) != (self.format == "yolo"):
            raise ValueError("names is the data.yaml of format yolo, which needs it; the other formats have none")
        if len(self.channels) not in (1, 3):
            raise ValueError("channels must be one (grey) or three (red, green, blue)")
        return self
