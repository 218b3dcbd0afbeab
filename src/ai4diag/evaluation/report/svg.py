"""Matplotlib figures as SVG that lives inside an HTML page: small, the same bytes every time, readable aloud."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ACCENT = "#0b5c78"
INK = "#1c2126"
GREY = "#646d75"
LINE = "#d5dadf"
DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)), (0, (1, 1)))
"""Line styles that stay apart in grey scale."""

STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ai4diag",
    "text.parse_math": False,
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "legend.frameon": False,
    "legend.handlelength": 2.8,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "butt",
}


@contextmanager
def drawing(width: float = 4.6, height: float = 3.5) -> Iterator[tuple[Figure, Axes]]:
    """Give a figure with one pair of axes in the report's style; size in inches of 72 SVG units."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.add_subplot()


def inline_svg(figure: Figure, key: str, title: str, description: str) -> Markup:
    """Return a figure as an `<svg>` element for an HTML page; call it inside `drawing`.

    Args:
        figure: what to draw.
        key: prefix that makes its ids unique in the page.
        title: its name, read aloud first.
        description: its text alternative.
    """
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"\s*<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    view = re.search(r'viewBox="([^"]+)"', text)
    box = view.group(1) if view else "0 0 1 1"
    body = text[text.index(">") + 1 : text.rindex("</svg>")]
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL).replace("xlink:href", "href")
    used = set(re.findall(r"#([\w-]+)[\")]", body))
    body = re.sub(r' id="([\w-]+)"', lambda m: f' id="{key}-{m.group(1)}"' if m.group(1) in used else "", body)
    body = re.sub(r'(href="#|url\(#)', rf"\g<1>{key}-", body)
    body = re.sub(r' (?:d|transform|x|y)="[^"]*"', lambda m: re.sub(r"(\d\.\d\d)\d+", r"\1", m.group()), body)
    body = "\n".join(line.strip() for line in body.splitlines() if line.strip())
    head = (
        f'<svg viewBox="{box}" role="img" aria-labelledby="{key}-title {key}-desc">'
        f'<title id="{key}-title">{escape(title)}</title><desc id="{key}-desc">{escape(description)}</desc>\n'
    )
    return Markup(head + body + "\n</svg>")  # noqa: S704 - matplotlib escapes the texts that it draws
