"""The pages of the documentation, and what stands in them."""

from __future__ import annotations

import re
import runpy
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.conftest import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
RUN = "<!-- run -->"
FILE = r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```$"
"""A block that the commands of its page find as a file."""


@dataclass(frozen=True)
class Block:
    """A `console` block.

    Attributes:
        page: where it stands.
        runs: whether `<!-- run -->` stands before it.
        steps: each command as words, without what is set before it, and the lines that it is shown to print.
    """

    page: Path
    runs: bool
    steps: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {' '.join(self.steps[0][0])}"


@cache
def generator():
    """The names that docs/generate.py defines."""
    return runpy.run_path(str(ROOT / "docs" / "generate.py"))


@cache
def blocks() -> tuple[Block, ...]:
    """Return every `console` block of every page."""
    found = []
    for page in PAGES:
        pattern = rf"^({re.escape(RUN)}\n)?```console\n(.*?)```$"
        for mark, body in re.findall(pattern, page.read_text(), re.DOTALL | re.MULTILINE):
            steps: list[tuple[tuple[str, ...], list[str]]] = []
            for line in body.replace("\\\n", " ").splitlines():
                if line.startswith("$ "):
                    steps.append((_words(line[2:]), []))
                else:
                    steps[-1][1].append(line)
            found.append(Block(page, bool(mark), tuple((words, tuple(lines)) for words, lines in steps)))
    return tuple(found)


def lines(page: Path) -> list[str]:
    """Return the commands of a page as they stand there, without comments behind them."""
    bodies = re.findall(r"^```console\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    shown = [line[2:] for body in bodies for line in re.sub(r"\\\n\s*", "", body).splitlines() if line.startswith("$ ")]
    return [re.sub(r"\s+# .*$", "", line).strip() for line in shown]


def files(page: Path) -> dict[str, str]:
    """Return the files that a page shows, by name."""
    return dict(re.findall(FILE, page.read_text(), re.DOTALL | re.MULTILINE))


def _words(line: str) -> tuple[str, ...]:
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"[A-Z0-9_]+=.*", words[0]):
        words = words[1:]
    return tuple(words)


def tables(page: Path, heading: str = "") -> list[list[str]]:
    """Return the cells of every table line below a `## heading` (or of the whole page), heads and rules left out."""
    text = page.read_text()
    if heading:
        text = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.DOTALL | re.MULTILINE).group(1)
    lines = text.splitlines()
    rules = {number for number, line in enumerate(lines) if re.fullmatch(r"\|[-|]+\|", line)}
    rows = [line for number, line in enumerate(lines) if line.startswith("|") and not {number, number + 1} & rules]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def python(page: Path) -> list[str]:
    """Return the `python` blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def code(cell: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)
