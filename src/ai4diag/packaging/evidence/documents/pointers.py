"""Pointers from a document into the pack, and whether they lead anywhere.

A pointer is a Markdown link. What follows `#` is a JSON pointer (RFC 6901) into a `.json` or `.yaml` file, the anchor
of a heading in a `.md` file, an `id` in an `.html` file; a file without it is meant as a whole.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from ai4diag.config.base import read_yaml
from ai4diag.errors import ConfigError, DataError
from ai4diag.files import read_json
from ai4diag.packaging.evidence import contents

MODEL_CARD = "model-card.md"
RECORD, CONTEXT, ESTIMATES, REPORT = contents.RECORD, contents.CONTEXT, contents.ESTIMATES, contents.REPORT
PAGE, CARD, VERIFICATION, SUPPLIED = contents.README, contents.CARD, contents.VERDICTS, contents.SUPPLIED
PREDICTIONS, PLAN, ENVIRONMENT, SBOM = contents.PREDICTIONS, contents.PLAN, contents.ENVIRONMENT, contents.SBOM
MANIFEST, TO_SUPPLY = contents.MANIFEST, contents.TO_SUPPLY
LINK = re.compile(r"(?<!\\)\[((?:[^\[\]\\]|\\.)*)\]\(([^()\s]+)\)")


@dataclass(frozen=True)
class Pointer:
    """A place in the pack.

    Attributes:
        file: path in the pack, with forward slashes.
        at: keys of a JSON pointer, or one heading or id; empty for the whole file.
    """

    file: str
    at: tuple[str | int, ...] = ()

    @property
    def fragment(self) -> str:
        """What follows the file in an address, with its `#`; empty for the whole file."""
        if not self.at:
            return ""
        if self.file.endswith((".json", ".yaml")):
            keys = (str(key).replace("~", "~0").replace("/", "~1") for key in self.at)
            return "#" + quote("".join(f"/{key}" for key in keys), safe="/~")
        return "#" + (anchor(str(self.at[0])) if self.file.endswith(".md") else quote(str(self.at[0])))

    def link(self, document: str) -> str:
        """Return the pointer as a Markdown link for a document at this path in the pack.

        >>> Pointer("record.json", ("recipe", "data")).link("checklists/claim.md")
        '[record.json /recipe/data](../record.json#/recipe/data)'
        """
        place = (
            "".join(f"/{key}" for key in self.at) if self.file.endswith((".json", ".yaml")) else self.at and self.at[0]
        )
        name = f"{self.file} {place}" if self.at else self.file
        path = posixpath.relpath(self.file, posixpath.dirname(document) or ".")
        return f"[{name}]({path}{self.fragment})"


def anchor(heading: str) -> str:
    """Return the anchor that GitHub and Hugging Face give a heading.

    >>> anchor("How it was evaluated"), anchor("1. General description")
    ('how-it-was-evaluated', '1-general-description')
    """
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def links(markdown: str) -> Iterator[tuple[str, str]]:
    """Yield text and address of every link to a file of the pack; addresses of the web are left out."""
    for found in LINK.finditer(re.sub(r"(?s)\A---\n.*?\n---\n", "", markdown)):
        if "://" not in found[2] and not found[2].startswith("mailto:"):
            yield found[1], found[2]


def broken(folder: Path, documents: Mapping[str, str]) -> list[str]:
    """Return the pointers that lead nowhere, one sentence each.

    Args:
        folder: the pack.
        documents: path in the pack to Markdown, as `documents` returns them.
    """
    found = []
    for document, text in documents.items():
        for _, address in links(text):
            why = _lost(folder, document, address)
            if why:
                found.append(f"{document} points to {address}: {why}.")
    return found


def _lost(folder: Path, document: str, address: str) -> str:
    """Return why an address leads nowhere; empty when it does not."""
    name, _, fragment = address.partition("#")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(document), name)) if name else document
    if path.startswith(("../", "/")):
        return "it leaves the pack"
    file, place = folder / path, unquote(fragment)
    if not file.is_file():
        return f"there is no {path}"
    if not place:
        return ""
    if path.endswith((".json", ".yaml")):
        try:
            content = read_json(file) if path.endswith(".json") else read_yaml(file)
        except (DataError, ConfigError) as error:
            return str(error)
        return _nothing_at(content, place)
    text = file.read_text(encoding="utf-8")
    known = anchors(text) if path.endswith(".md") else set(re.findall(r'\bid="([^"]+)"', text))
    return "" if place in known else f"{path} has no {place}"


def anchors(markdown: str) -> set[str]:
    """Return the anchors of all headings; a heading that comes again gets a number, as GitHub does."""
    found: set[str] = set()
    plain = re.sub(r"(?ms)^```.*?^```", "", markdown)
    for heading in re.findall(r"(?m)^#{1,6} +(.+?) *$", plain):
        name = base = anchor(re.sub(r"[*`]", "", heading))
        count = 0
        while name in found:
            count += 1
            name = f"{base}-{count}"
        found.add(name)
    return found


def _nothing_at(content: Any, place: str) -> str:
    if not place.startswith("/"):
        return f"{place} is no JSON pointer"
    for key in (part.replace("~1", "/").replace("~0", "~") for part in place[1:].split("/")):
        if isinstance(content, Mapping) and key in content:
            content = content[key]
        elif isinstance(content, list) and key.isdigit() and int(key) < len(content):
            content = content[int(key)]
        else:
            return f"nothing is at {place}"
    return "it is empty" if content is None or content == "" else ""
