"""Objects that show themselves in a notebook: HTML without script or network, and a text that says the same."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape


class Shown(ABC):
    """Something with an HTML form and a text form; a notebook keeps both."""

    @abstractmethod
    def __str__(self) -> str: ...

    @abstractmethod
    def html(self) -> str:
        """Return a fragment of HTML that needs neither script nor network."""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"text/plain": str(self), "text/html": self.html()}


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of as many cells each as lines in which the cells stand below each other.

    >>> columns([("case", "site"), ("a-1", "north")])
    ['case  site', 'a-1   north']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def code_marked(text: str) -> Markup:
    """Return a sentence as HTML, with what stands between backticks as code.

    >>> code_marked("`time` < 3 leaks")
    Markup('<code>time</code> &lt; 3 leaks')
    """
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


def html_table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with a caption; the first cell of each row is its heading. `header` may be empty.

    Cells are text, unless they are `Markup`.
    """
    top = f"<caption><strong>{escape(caption)}</strong></caption>"
    head = "".join(f'<th scope="col" style="text-align:left">{escape(name)}</th>' for name in header)
    head = f"<thead><tr>{head}</tr></thead>" if head else ""
    body = "".join(
        f'<tr><th scope="row" style="text-align:left">{escape(row[0])}</th>'
        + "".join(f'<td style="text-align:left">{escape(cell)}</td>' for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return f"<table>{top}{head}<tbody>{body}</tbody></table>"
