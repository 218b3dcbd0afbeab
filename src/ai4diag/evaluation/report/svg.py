"""Matplotlib figures as SVG that lives inside an HTML page: small, the same bytes every time, readable aloud."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from markupsafe import Markup
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

REFERENCE = re.compile(r"(?:^|url\()#([^)]+)\)?$")
"""What an attribute that refers to an id looks like: `#id` or `url(#id)`."""
LONG_DECIMAL = re.compile(r"(\d\.\d\d)\d+")


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
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    drawn = ElementTree.fromstring(stream.getvalue())  # noqa: S314 - what matplotlib has just written
    for part in list(drawn):
        if _local(part.tag) == "metadata" or [_local(item.tag) for item in part] == ["style"]:
            drawn.remove(part)  # the page has its own styles, and dates change
    used = {name for item in drawn.iter() for value in item.attrib.values() for name in REFERENCE.findall(value)}
    for item in drawn.iter():
        item.tag = _local(item.tag)
        item.text, item.tail = (text and text.strip() for text in (item.text, item.tail))
        item.attrib = {_local(name): _attribute(name, value, key, used) for name, value in item.attrib.items()}
        item.attrib = {name: value for name, value in item.attrib.items() if value}
    svg = ElementTree.Element("svg", {"viewBox": drawn.attrib["viewBox"], "role": "img"})
    svg.set("aria-labelledby", f"{key}-title {key}-desc")
    for tag, text in (("title", title), ("desc", description)):
        ElementTree.SubElement(svg, tag, {"id": f"{key}-{tag}"}).text = text
    svg.extend(drawn)
    return Markup(ElementTree.tostring(svg, encoding="unicode"))  # noqa: S704 - the serialiser escapes


def _local(name: Any) -> str:
    return str(name).rpartition("}")[2]


def _attribute(name: str, value: str, key: str, used: set[str]) -> str:
    """Return an attribute shortened and with its reference renamed; empty when it is an id that nothing refers to."""
    if name == "id":
        return f"{key}-{value}" if value in used else ""
    if name in ("d", "transform", "x", "y"):
        return LONG_DECIMAL.sub(r"\1", value)
    return REFERENCE.sub(lambda found: found.group().replace("#", f"#{key}-"), value)
