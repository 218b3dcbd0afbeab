"""What the blocks share: paths, identifiers, names that are in use."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator

from ai4diag.config.base import Settings

TAKEN = {"case_id", "patient_id", "site", "truth", "score", "fold", "part", "size_0", "size_1", "size_2"}
TAKEN |= {"event", "time_days", "survival", "survival_days", "horizons_days", "risk_group"}
TAKEN |= {"boxes", "labels", "scores", "truth_boxes", "truth_labels", "truth_ignore"}
"""Columns of prepared cases and predictions; no attribute may have their names."""


def _inside(path: str) -> str:
    """Return `path` when it stays inside the folder it is relative to."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or re.search(r"[\\:\x00-\x1f]", path):
        raise ValueError(f"'{path}' must be a relative path with forward slashes that stays inside its folder")
    return path


def one_group(text: str) -> str:
    """Return `text` when it is a regular expression with exactly one group."""
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise ValueError(f"'{text}' is not a regular expression: {error}") from None
    if groups != 1:
        raise ValueError(f"'{text}' must have exactly one group, the part to keep")
    return text


RelativePath = Annotated[str, AfterValidator(_inside)]


class Identifier(Settings):
    """Where an identifier stands."""

    column: str
    pattern: Annotated[str, AfterValidator(one_group)] | None = None
    """Regular expression that the whole cell matches; its one group is the identifier."""
