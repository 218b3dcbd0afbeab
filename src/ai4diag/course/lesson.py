"""What a lesson says of itself: the header of its source, kept in each notebook that is built from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from ai4diag.config.base import Settings, parse
from ai4diag.errors import ConfigError, UsageError, did_you_mean

LARGEST_NOTEBOOK = 20_000_000
"""Bytes from which a notebook is not read."""
Badge = Literal["Explorer", "Builder", "Steward"]


class Lesson(Settings):
    """The header of a lesson."""

    id: str = Field(pattern=r"^m\d\d$")
    """`m04`."""
    title: str
    badge: Badge
    """The badge that it counts for."""
    ambitions: tuple[Literal["services", "skills", "collaboration"], ...]
    """What of the partnership's ambitions it serves."""
    minutes: int = Field(gt=0)
    """How long it takes in class."""
    sections: dict[str, int]
    """Each section's heading and its minutes; they add up to `minutes`."""
    needs: tuple[str, ...] = ()
    """Lessons that come before it."""
    gpu: Literal["no", "optional"] = "no"
    objectives: tuple[str, ...] = Field(min_length=3)
    """What the learner can do afterwards; each begins with an observable verb."""
    data: tuple[str, ...] = ()
    """Dataset cards that it uses."""
    pipelines: tuple[str, ...] = ()
    """Shipped pipelines that it uses."""
    runs: tuple[str, ...] = ()
    """Runs that must be there before it, as words of `ai4diag run`: `hippocampus --quick`."""

    @model_validator(mode="after")
    def _adds_up(self) -> Lesson:
        if sum(self.sections.values()) != self.minutes:
            raise ValueError(f"minutes is {self.minutes}, the sections add up to {sum(self.sections.values())}")
        return self


def in_notebook(path: Path) -> Lesson:
    """Read the header from a notebook.

    Raises:
        ConfigError: it is no notebook of a lesson.
    """
    return parse(Lesson, _metadata(path), str(path))


def notebooks(root: Path) -> dict[str, Path]:
    """Return the learner's notebooks of a workspace: lesson to file, in order; copies (`-Copy1`) are left out.

    Raises:
        ConfigError: two notebooks are of one lesson.
    """
    found: dict[str, Path] = {}
    for path in sorted((root / "notebooks").glob("m[0-9][0-9]_*.ipynb")):
        lesson = path.name[:3]
        if "-" in path.name:  # a copy that JupyterLab made: m04_metrics-Copy1.ipynb
            continue
        if lesson in found:
            raise ConfigError(f"{found[lesson]} and {path} are both of lesson {lesson}.", "Keep one of them there.")
        found[lesson] = path
    return found


def find(root: Path, lesson: str) -> tuple[Path, Lesson]:
    """Return the notebook and the header of a lesson.

    Raises:
        UsageError: the workspace has none of this id.
        ConfigError: the notebook is damaged.
    """
    known = notebooks(root)
    if lesson not in known:
        raise UsageError(f"{root / 'notebooks'} has no lesson '{lesson}'. {did_you_mean(lesson, known)}")
    return known[lesson], in_notebook(known[lesson])


def _metadata(path: Path) -> Any:
    try:
        if path.stat().st_size > LARGEST_NOTEBOOK:
            raise ConfigError(f"{path} is larger than {LARGEST_NOTEBOOK:,} bytes.", "Clear its outputs and save it.")
        return json.loads(path.read_text(encoding="utf-8"))["metadata"]["ai4diag"]
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist.") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ConfigError(
            f"{path} is not the notebook of a lesson: its metadata has no `ai4diag`.",
            "`ai4diag course reset` puts the lesson's own notebook back.",
        ) from None
