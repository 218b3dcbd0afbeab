"""Write what is made from the code: reference pages, and the headlines in README.md. `python docs/generate.py`.

A test compares.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ai4diag.cli import cli
from ai4diag.config.base import Settings
from ai4diag.config.card import Card
from ai4diag.config.recipe import RECIPES
from ai4diag.files import read_json
from ai4diag.types import Estimate

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "reference"


def commands() -> str:
    """Return the page of all commands, from their `--help`."""
    pages = ["# Commands\n\nMade from `--help` by `python docs/generate.py`.\n"]
    for words, command in _verbs(cli, ("ai4diag",)):
        settings = {**cli.context_settings, "max_content_width": 100}
        context = click.Context(command, info_name=" ".join(words), terminal_width=100, **settings)
        pages.append(f"## {' '.join(words)}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(pages)


def recipe() -> str:
    """Return the page of all settings of `pipeline.yaml`."""
    head = (
        "# pipeline.yaml\n\nMade from `src/ai4diag/config` by `python docs/generate.py`. An unknown key is an error "
        "that names the nearest known one; YAML is read as YAML 1.2 (`1e-3` is a number).\n"
    )
    return head + "".join(_tables(list(RECIPES.values())))


def cards() -> str:
    """Return the page of all settings of a dataset card."""
    head = "# Dataset cards\n\nMade from `src/ai4diag/config/card.py` by `python docs/generate.py`.\n"
    return head + "".join(_tables([Card]))


def readme(text: str) -> str:
    """Return README.md with the headline of every pipeline's estimates.json as the last cell of its line."""

    def line(found: re.Match[str]) -> str:
        path = ROOT / "pipelines" / found["name"] / "out" / "estimates.json"
        headline = str(Estimate.from_dict(read_json(path)[0])) if path.is_file() else ""
        return f"{found['start']}| {headline} |".replace("|  |", "| |")

    return re.sub(r"^(?P<start>\| \[`(?P<name>[\w-]+)`\].*)\|[^|\n]*\|$", line, text, flags=re.MULTILINE)


PAGES = {"commands.md": commands, "pipeline.md": recipe, "cards.md": cards}


def _verbs(group: click.Group, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name in sorted(group.commands):
        command = group.commands[name]
        if isinstance(command, click.Group):
            yield from _verbs(command, (*words, name))
        else:
            yield (*words, name), command


def _tables(kinds: list[type[Settings]]) -> Iterator[str]:
    """Yield one table per settings class, each class once, in the order in which they are met."""
    waiting, seen = list(kinds), set()
    while waiting:
        kind = waiting.pop(0)
        if kind in seen:
            continue
        seen.add(kind)
        waiting += [found for field in kind.model_fields.values() for found in _settings(field.annotation)]
        doc = (kind.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
        yield f"\n## {kind.__name__}\n\n{' '.join(doc.split())}\n\n"
        yield "| key | value | default | meaning |\n|---|---|---|---|\n"
        for name, field in kind.model_fields.items():
            meaning = " ".join((field.description or "").split()).replace("|", "\\|")
            yield f"| `{name}` | {_words(field.annotation)}{_limits(field)} | {_default(field)} | {meaning} |\n"


def _settings(annotation: Any) -> Iterator[type[Settings]]:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _settings(part)


def _words(annotation: Any) -> str:
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _words(parts[0])
    if origin is typing.Literal:
        return ", ".join(f"`{str(part).lower() if isinstance(part, bool) else part}`" for part in parts)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_words(part) for part in parts if part is not type(None))
    if origin is tuple:
        return f"list of {_words(parts[0])}"
    if origin is not None:
        return f"mapping of {_words(parts[0])} to {_words(parts[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    return names.get(annotation, str(getattr(annotation, "__name__", annotation)))


def _limits(field: FieldInfo) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [f"{sign} {getattr(m, key):g}" for m in field.metadata for key, sign in signs.items() if hasattr(m, key)]
    return f", {', '.join(found)}" if found else ""


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    if isinstance(field.default, Settings):
        return "its defaults"
    return f"`{field.default}`" if field.default not in (None, "", (), {}) else "none"


if __name__ == "__main__":
    for page, make in PAGES.items():
        (FOLDER / page).write_text(make(), encoding="utf-8")
    start = ROOT / "README.md"
    start.write_text(readme(start.read_text(encoding="utf-8")), encoding="utf-8")
