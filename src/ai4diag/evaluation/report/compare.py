"""A comparison as one HTML file that opens offline: verdicts, the differences with their intervals, what to mind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ai4diag.evaluation.paired_words import delong_text, line
from ai4diag.evaluation.report import words
from ai4diag.evaluation.report.svg import ACCENT, GREY, INK, drawing, inline_svg

if TYPE_CHECKING:
    from ai4diag.evaluation.paired import Comparison, Comparisons, Pair


def render_comparison(found: Comparisons, sides: Sequence[tuple[str, str]]) -> str:
    """Return the page.

    Args:
        found: what `ai4diag.evaluation.paired.compare` returned.
        sides: label of each model, and what it is.

    The same arguments give the same bytes. All texts are escaped.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(_resource("compare.html")).render(
        css=Markup(_resource("report.css")),  # noqa: S704 - our own file
        sides=sides,
        cases=found.cases,
        patients=found.patients,
        comparisons=[_section(item, found.primary) for item in found.comparisons],
        notes=found.notes,
    )


def _section(item: Comparison, primary: str) -> dict[str, Any]:
    a, b = item.reference, item.other
    return {
        "key": f"{b.lower()}-{a.lower()}",
        "title": f"{b} beside {a}",
        "verdict": item.verdict.text,
        "delong": delong_text(item),
        "caption": f"Estimates of {a} and {b}, and {b} minus {a} with its interval",
        "columns": ("Estimate", "Of", a, b, f"{b} \N{MINUS SIGN} {a}", "Interval", "Note"),
        "rows": [_row(pair) for pair in item.pairs],
        **_forest(item, primary),
    }


def _row(pair: Pair) -> list[str]:
    name, group, *cells = line(pair.reference, pair.other, pair.difference)
    return [words.name(name), words.group(group), *cells]


def _forest(item: Comparison, primary: str) -> dict[str, Any]:
    """Draw the difference of the headline: of all cases, then in classes and subgroups."""
    pairs = [pair for pair in item.pairs if pair.reference.name == primary and not math.isnan(pair.difference.low)]
    if not pairs:
        return {"svg": "", "reading": ""}
    what = f"{item.other} minus {item.reference}"
    with drawing(9.4, 0.75 + 0.3 * len(pairs)) as (figure, axes):
        for y, pair in enumerate(reversed(pairs)):
            colour = INK if pair.reference.subgroup == "all" else ACCENT
            axes.plot([pair.difference.low, pair.difference.high], [y, y], color=colour, linewidth=2)
            axes.plot(pair.difference.value, y, marker="o", color=colour, markersize=6)
        axes.axvline(0, color=GREY, linestyle=(0, (6, 2)), linewidth=1, zorder=0)
        axes.set_yticks(range(len(pairs)), [words.group(pair.reference.subgroup) for pair in reversed(pairs)])
        axes.set(ylim=(-0.6, len(pairs) - 0.4), xlabel=f"{words.name(primary)}: {what}")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        title = f"Difference of {words.name(primary)}, {what}"
        reading = f"{title}, with its interval. Dashed line: no difference. {_span(pairs[0])}"
        svg = inline_svg(figure, f"forest-{item.other.lower()}", title, reading)
    return {"svg": svg, "reading": reading}


def _span(pair: Pair) -> str:
    limits = pair.difference
    return f"{pair.reference.subgroup}: {limits.value:+.3f} [{limits.low:+.3f}, {limits.high:+.3f}]."


def _resource(name: str) -> str:
    return files("ai4diag.evaluation.report").joinpath(name).read_text("utf-8")
