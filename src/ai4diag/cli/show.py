"""What commands print: data to stdout, messages to stderr."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ai4diag.files import to_json


def json_option(command: Any) -> Any:
    """Add `--json` to a read command."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def data(content: Any) -> None:
    """Print JSON to stdout."""
    click.echo(to_json(content))


def message(text: str) -> None:
    """Print a message to stderr."""
    click.echo(text, err=True)


def table(lines: Sequence[Sequence[Any]], header: Sequence[str]) -> None:
    """Print aligned columns to stdout; numbers to the right."""
    texts = [[str(cell) for cell in line] for line in (header, *lines)]
    widths = [max(len(line[column]) for line in texts) for column in range(len(header))]
    numeric = [all(isinstance(line[column], (int, float)) for line in lines) for column in range(len(header))]
    for line in texts:
        cells = [c.rjust(w) if right else c.ljust(w) for c, w, right in zip(line, widths, numeric, strict=True)]
        click.echo("  ".join(cells).rstrip())


def relative(path: Path) -> str:
    """Return a path as seen from the current folder, when it lies below it."""
    path = Path(path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
