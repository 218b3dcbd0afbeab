"""The source of a lesson: one `py:percent` file in `curriculum/`, read into cells.

Its YAML header has the lesson's own block under `jupyter: ai4diag:`. Tags of cells:

    exercise:m04.dice   the cell in which the learner answers; its check follows by itself
    quiz                stands for the questions, the learner's cell and its check; its own text is dropped
    trainer             only in the trainer's copy

In a code cell, `# --- solution` begins what the learner does not see, `# --- learner` what the learner sees instead
(as comments: one leading `# ` is taken away), `# --- end` ends both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jupytext

from ai4diag.config.base import parse
from ai4diag.course.lesson import Lesson
from ai4diag.errors import ConfigError

MARK = re.compile(r"^(?P<indent>\s*)# --- (?P<word>solution|learner|end)\s*$")
BLANK = "...  # your answer"


@dataclass(frozen=True)
class Cell:
    """A cell of the source.

    Attributes:
        kind: `code` or `markdown`.
        text: as written.
        tags: as written.
    """

    kind: Literal["code", "markdown"]
    text: str
    tags: tuple[str, ...] = ()

    @property
    def exercise(self) -> str:
        """Id of the exercise that is answered here; empty when there is none."""
        return next((tag.partition(":")[2] for tag in self.tags if tag.startswith("exercise:")), "")


@dataclass(frozen=True)
class Source:
    """A lesson's source.

    Attributes:
        path: the file.
        lesson: its header.
        cells: its cells.
    """

    path: Path
    lesson: Lesson
    cells: tuple[Cell, ...]


def read_source(path: Path) -> Source:
    """Read a lesson's source.

    Raises:
        ConfigError: the header is missing or wrong, or a solution has no end.
    """
    notebook = jupytext.read(path, fmt="py:percent")
    header = notebook.metadata.get("ai4diag")
    if header is None:
        raise ConfigError(f"{path} has no header of a lesson.", "Begin it with `# jupyter:` and `#   ai4diag:`.")
    lesson = parse(Lesson, header, str(path))
    if not path.name.startswith(f"{lesson.id}_"):
        raise ConfigError(f"{path}: the header says lesson {lesson.id}, the file's name another.")
    cells = tuple(
        Cell(cell.cell_type, cell.source, tuple(cell.metadata.get("tags", ())))
        for cell in notebook.cells
        if cell.cell_type in ("code", "markdown")
    )
    for number, cell in enumerate(cells, 1):
        _check_marks(cell, f"{path}, cell {number}")
    return Source(path, lesson, cells)


def sources(folder: Path) -> list[Source]:
    """Read all lessons of a folder, in order."""
    return [read_source(path) for path in sorted(folder.glob("m[0-9][0-9]_*.py"))]


def for_learner(text: str) -> str:
    """Return a code cell without its solutions."""
    return "\n".join(line for block in _blocks(text) for line in _seen(block))


def for_trainer(text: str) -> str:
    """Return a code cell with its solutions and without marks."""
    return "\n".join(line for word, lines, _ in _blocks(text) if word != "learner" for line in lines)


def solution_lines(text: str) -> list[str]:
    """Return the lines of a cell's solutions, stripped; comments and blank lines left out."""
    lines = (line.strip() for word, block, _ in _blocks(text) if word == "solution" for line in block)
    return [line for line in lines if line and not line.startswith("#")]


Block = tuple[str, list[str], str]


def _blocks(text: str) -> Iterator[Block]:
    """Yield (word, lines, indent): word is empty for plain text, else `solution` or `learner`."""
    word, lines, indent, has_learner = "", [], "", False
    for line in text.splitlines():
        mark = MARK.match(line)
        if mark is None:
            lines.append(line)
            continue
        yield word, lines, indent
        if mark["word"] == "end" and not has_learner:
            yield "learner", [f"{mark['indent']}# {BLANK}"], mark["indent"]
        has_learner = mark["word"] == "learner"
        word, lines, indent = ("" if mark["word"] == "end" else mark["word"]), [], mark["indent"]
    yield word, lines, indent


def _seen(block: Block) -> Iterator[str]:
    word, lines, indent = block
    if word == "solution":
        return
    for line in lines:
        yield line.replace(f"{indent}# ", indent, 1) if word == "learner" and line.startswith(f"{indent}# ") else line


def _check_marks(cell: Cell, where: str) -> None:
    words = [mark["word"] for line in cell.text.splitlines() if (mark := MARK.match(line))]
    said = " ".join(words)
    if not re.fullmatch(r"((solution( learner)? end)( |$))*", said):
        raise ConfigError(
            f"{where}: marks come as `solution`, perhaps `learner`, `end`; found: {said}.", "Put them in that order."
        )
    if words and not cell.exercise:
        raise ConfigError(f"{where}: a solution in a cell without a tag.", 'Give it tags=["exercise:m04.dice"].')
