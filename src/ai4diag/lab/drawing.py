"""Pictures of cases: PNG of bounded size, with what they show in words."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_BYTES = 390_000
"""A picture is drawn coarser until it is no larger than this."""
DPI = (110, 90, 72, 56, 44)
"""Dots per inch that are tried, finest first."""
INCH_PX = 96
"""CSS pixels of an inch: the size at which a picture is shown, however fine it is."""
TRUTH, ANSWER, IGNORED = "#ffe14d", "#7df9ff", "#ffffff"
"""Colours of outlines; those of the report. The lines differ too: solid, dashed, dotted."""
LINES: dict[str, dict[str, Any]] = {
    "truth": {"color": TRUTH, "linestyle": "-"},
    "model's answer": {"color": ANSWER, "linestyle": (0, (4, 2.6))},
    "to ignore": {"color": IGNORED, "linestyle": (0, (1, 1.5))},
}
"""How each kind of outline is drawn."""
DARK = "#3a3a3a"
"""Ground of a legend, on which all three colours are seen."""


@dataclass(frozen=True)
class Picture:
    """A picture and what it shows.

    Attributes:
        png: the file.
        width_px: how wide it is shown, in CSS pixels.
        alt: what is to be seen, for those who do not see it.
        caption: how to read it.
    """

    png: bytes
    width_px: int
    alt: str
    caption: str

    def html(self) -> str:
        """Return the picture with its caption."""
        data = base64.b64encode(self.png).decode("ascii")
        return (
            f'<figure style="margin:0.5em 0"><img alt="{escape(self.alt, quote=True)}" width="{self.width_px}" '
            f'style="max-width:100%;height:auto" src="data:image/png;base64,{data}"/>'
            f"<figcaption>{escape(self.caption)}</figcaption></figure>"
        )


def figure(width_in: float, height_in: float) -> Figure:
    """Return an empty figure that no backend knows of, so that nothing is left open."""
    from matplotlib.figure import Figure as Empty

    return Empty(figsize=(width_in, height_in), facecolor="white", layout="constrained")


def picture(drawn: Figure, alt: str, caption: str) -> Picture:
    """Return a figure as a picture of at most `MOST_BYTES`."""
    content = b""
    for dpi in DPI:
        stream = io.BytesIO()
        drawn.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
        content = stream.getvalue()
        if len(content) <= MOST_BYTES:
            break
    return Picture(content, round(drawn.get_figwidth() * INCH_PX), alt, caption)


def legend(drawn: Figure, kinds: list[str], classes: list[str]) -> None:
    """Write below a figure what each line is, and what each number stands for.

    Args:
        drawn: the figure.
        kinds: keys of `LINES`.
        classes: names of the classes; none are written where there is only one.
    """
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], linewidth=1.8, label=kind, **LINES[kind]) for kind in kinds]
    if len(classes) > 1:
        handles += [Line2D([], [], linestyle="", label=f"{k} {name}") for k, name in enumerate(classes, start=1)]
    if handles:
        drawn.legend(
            handles=handles,
            loc="outside lower center",
            ncols=min(6, len(handles)),
            facecolor=DARK,
            labelcolor="white",
            fontsize=8,
        )


def cased(width: float) -> list[Any]:
    """Return path effects that put a dark casing under a line or word, so that it is seen on any image."""
    from matplotlib.patheffects import Normal, Stroke

    return [Stroke(linewidth=width + 1.6, foreground="black", alpha=0.6), Normal()]
