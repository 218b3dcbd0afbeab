"""What most verbs start from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ai4diag.pipelines.workspace import Workspace


def workspace() -> Workspace:
    """Return the workspace around the current folder."""
    from ai4diag.pipelines.workspace import Workspace

    return Workspace.find(Path.cwd())
