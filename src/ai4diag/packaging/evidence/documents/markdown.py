"""Text in Markdown: what comes from elsewhere is shown as it is, and never read as markup."""

from __future__ import annotations

import re

SPECIAL = re.compile(r"([\\`*\[\]|]|(?<!\w)_|_(?!\w))")


def plain(text: str) -> str:
    """Return foreign text for a table cell or a paragraph: markup shown as characters, paragraphs as line breaks.

    >>> plain("a|b <i> [x](y)")
    'a\\\\|b &lt;i> \\\\[x\\\\](y)'
    """
    shown = SPECIAL.sub(r"\\\1", text.strip().replace("&", "&amp;").replace("<", "&lt;"))
    return re.sub(r"\s*\n\s*", "<br>", shown)


def cell(text: str) -> str:
    """Return our own text, with quotations and names in it, for a table cell."""
    return plain(text)


def table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Return a table as lines; the cells are Markdown already."""
    return [
        f"| {' | '.join(columns)} |",
        f"|{'---|' * len(columns)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
