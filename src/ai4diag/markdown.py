"""Reading what people wrote in Markdown, such as a pipeline's page."""

from __future__ import annotations

import re


def section(markdown: str, title: str) -> str:
    """Return the text below the heading `## <title>`, up to the next heading; empty when there is none."""
    found = re.search(rf"^## {re.escape(title)}[ \t]*\n(.*?)(?=^#|\Z)", markdown, flags=re.DOTALL | re.MULTILINE)
    return found.group(1).strip() if found else ""


def paragraphs(markdown: str) -> tuple[str, ...]:
    """Return paragraphs and list items as plain text, one each, without emphasis, code marks, links and tables."""
    found = []
    for block in re.split(r"\n\s*\n|\n(?=[-*] )", markdown):
        text = " ".join(line.strip() for line in block.splitlines())
        text = re.sub(r"^[-*] ", "", text)
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
        text = re.sub(r"(\*\*|\*|`)(\S(?:.*?\S)?)\1", r"\2", text)
        if text and not text.startswith("|"):
            found.append(text)
    return tuple(found)
