"""The report's plots: each with a text alternative and its numbers as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from ai4diag.evaluation.report import words
from ai4diag.evaluation.report.context import Training
from ai4diag.evaluation.report.svg import ACCENT, DASHES, GREY, INK, drawing, inline_svg
from ai4diag.types import Estimate

MOST_ROWS = 40
"""Rows of a curve's table; a longer curve is thinned evenly, and the table says so."""
DRAWN = 6
"""Most curves in one plot; of more classes the poorest are drawn."""
MOST_LETTERS = 40
"""Of a name in a plot; the table has it whole."""
LEGEND_POINTS, HANDLE_POINTS, LETTER_POINTS, ROW_INCHES = 296, 42, 4.9, 0.19
"""Room for a legend, what its line and gap take, a letter of 9 points, and a row."""
MOST_POINTS = 1000
"""Points of a drawn curve."""
REFERENCE: Any = {"color": GREY, "linewidth": 1, "linestyle": (0, (4, 3))}
"""How a line to compare with is drawn."""
Numbers = Sequence[float] | npt.NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """A table; the first column names the row.

    Attributes:
        caption: what it shows.
        columns: headings.
        rows: texts, one per column.
        text_columns: positions of the columns that hold words; the others hold numbers and are aligned to the right.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: frozenset[int] = field(default=frozenset({0}))


@dataclass(frozen=True)
class Chart:
    """A plot.

    Attributes:
        key: prefix of its ids, unique in the report.
        title: its name.
        svg: the picture.
        reading: one or two sentences that say what to see.
        table: the numbers that are drawn.
        wide: whether it needs the whole width of the page.
    """

    key: str
    title: str
    svg: Markup
    reading: str
    table: Table
    wide: bool = False


@dataclass(frozen=True)
class Line:
    """A curve with its name in the legend; an empty name leaves it out."""

    name: str
    x: Numbers
    y: Numbers


def _thin(length: int, most: int) -> npt.NDArray[np.int64]:
    """Return at most `most` positions of `length`, evenly spread, first and last among them."""
    return np.unique(np.linspace(0, length - 1, min(length, most)).round().astype(np.int64))


def _draw(axes: Axes, line: Line, position: int = 0, *, step: bool = False) -> None:
    kept = _thin(len(line.x), MOST_POINTS)
    x, y = np.asarray(line.x, np.float64)[kept], np.asarray(line.y, np.float64)[kept]
    colour = (ACCENT, INK, GREY)[position % 3]
    style = DASHES[position % len(DASHES)]
    axes.plot(
        x,
        y,
        color=colour,
        linestyle=style,
        label=words.short(line.name, MOST_LETTERS),
        drawstyle="steps-post" if step else "default",
    )


def _unit_square(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), xlabel=x_label, ylabel=y_label)


def curve_table(caption: str, columns: tuple[str, ...], *values: Numbers) -> Table:
    """Return the points of a curve as a table, thinned to 40 rows."""
    length = len(values[0])
    kept = _thin(length, MOST_ROWS) if length else np.empty(0, np.int64)
    if length > len(kept):
        caption = f"{caption} ({len(kept)} of {length} points, evenly spread)"
    rows = tuple(tuple(_cell(values_of[i]) for values_of in values) for i in kept)
    return Table(caption, columns, rows, frozenset())


def _cell(value: float) -> str:
    if math.isinf(value):
        return "above all" if value > 0 else "below all"
    return str(int(value)) if isinstance(value, (int, np.integer)) else words.number(float(value))


def roc(curve: Line, thresholds: Numbers, point: tuple[float, float] | None, area: str) -> Chart:
    """Return the ROC curve; `point` is false positive rate and sensitivity at the operating point."""
    with drawing() as (figure, axes):
        axes.plot([0, 1], [0, 1], label="chance", **REFERENCE)
        _draw(axes, curve)
        _mark(axes, point)
        legend(axes)
        _unit_square(axes, "1 - specificity", "sensitivity")
        reading = f"The further the line keeps to the upper left, the better. {area}."
        if point is not None:
            reading += f" At the operating point the sensitivity is {point[1]:.3f}, the specificity {1 - point[0]:.3f}."
        svg = inline_svg(figure, "roc", "ROC curve", f"Sensitivity against 1 - specificity. {reading}")
    columns = ("Threshold", "1 - specificity", "Sensitivity")
    return Chart("roc", "ROC curve", svg, reading, curve_table("ROC curve", columns, thresholds, curve.x, curve.y))


def precision_recall(
    curve: Line, thresholds: Numbers, share: float, point: tuple[float, float] | None, area: str
) -> Chart:
    """Return the precision-recall curve; `share` is that of the positives, `point` sensitivity and PPV."""
    with drawing() as (figure, axes):
        axes.axhline(share, label="chance", **REFERENCE)
        _draw(axes, curve)
        _mark(axes, point)
        legend(axes)
        _unit_square(axes, "sensitivity (recall)", "PPV (precision)")
        reading = f"The further the line keeps to the upper right, the better. {area}; chance is {share:.3f}."
        svg = inline_svg(figure, "pr", "Precision-recall curve", f"PPV against sensitivity. {reading}")
    columns = ("Threshold", "Sensitivity", "PPV")
    table = curve_table("Precision-recall curve", columns, thresholds, curve.x, curve.y)
    return Chart("pr", "Precision-recall curve", svg, reading, table)


def legend(axes: Axes) -> None:
    """Write the names of the lines above the plot, in as many columns as fit; the figure grows by the rows it takes."""
    labels = axes.get_legend_handles_labels()[1]
    if not labels:
        return
    columns = next((n for n in (4, 3, 2) if _legend_points(labels, n) <= LEGEND_POINTS), 1)
    rows = -(-len(labels) // columns)
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.set_figheight(figure.get_figheight() + ROW_INCHES * (rows - 1))
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0.2, columnspacing=1.2, borderpad=0
    )


def _legend_points(labels: Sequence[str], columns: int) -> float:
    """Return how wide a legend is: names run down its columns, each as wide as its longest name."""
    shares = [part for part in np.array_split(np.array([len(label) for label in labels]), columns) if len(part)]
    return sum(HANDLE_POINTS + LETTER_POINTS * int(part.max()) for part in shares)


def _mark(axes: Axes, point: tuple[float, float] | None) -> None:
    if point is not None and not any(math.isnan(value) for value in point):
        ring: Any = {"markerfacecolor": "white", "markeredgecolor": INK, "markeredgewidth": 1.6, "linestyle": "none"}
        axes.plot([point[0]], [point[1]], marker="o", markersize=7, label="operating point", clip_on=False, **ring)


def reliability(score: Numbers, observed: Numbers, n: Sequence[int], *, recalibrated: bool = False) -> Chart:
    """Return the reliability diagram: mean score and share of positives of each bin."""
    key, title = ("recalibrated", "Reliability, recalibrated") if recalibrated else ("reliability", "Reliability")
    with drawing() as (figure, axes):
        axes.plot([0, 1], [0, 1], label="ideal", **REFERENCE)
        axes.plot(score, observed, color=ACCENT, linewidth=1.2)
        sizes = 14 + 120 * np.asarray(n, np.float64) / max(n)
        axes.scatter(score, observed, s=sizes, color=ACCENT, edgecolor="white", linewidth=0.8, zorder=3, clip_on=False)
        legend(axes)
        _unit_square(axes, "mean score of the bin", "share that is positive")
        reading = (
            "On the dashed line a score is a probability; below it the scores are too high. Larger dots: more cases."
        )
        reading += " Recalibrated on the validation part." if recalibrated else ""
        description = f"Share of positives against mean score in {words.counted(len(n), 'bin')}. {reading}"
        svg = inline_svg(figure, key, title, description)
    columns = ("Mean score", "Share positive", "Cases")
    counts = [int(value) for value in n]
    table = curve_table(title, columns, score, observed, counts)
    return Chart(key, title, svg, reading, table)


def decision(threshold: Numbers, model: Numbers, treat_all: Numbers, treat_none: Numbers) -> Chart:
    """Return the decision curve: net benefit at each threshold probability."""
    with drawing() as (figure, axes):
        names = ("by the model", "treat all", "treat none")
        for position, (label, values) in enumerate(zip(names, (model, treat_all, treat_none), strict=True)):
            _draw(axes, Line(label, threshold, values), position)
        top = max(float(np.nanmax(np.append(model, treat_all))), 0.01)
        axes.set(xlim=(0, 1), ylim=(-0.25 * top, 1.1 * top), xlabel="threshold probability", ylabel="net benefit")
        legend(axes)
        better = [t for t, m, a in zip(threshold, model, treat_all, strict=True) if m > max(a, 0) + 1e-12]
        reading = "The highest line is the best policy for whoever would act from that probability on. "
        span = f" of {len(threshold)} thresholds, from {min(better):.2f} to {max(better):.2f}" if better else ""
        reading += f"That is the model at {len(better)}{span}." if better else "That is nowhere the model."
        svg = inline_svg(figure, "decision", "Decision curve", f"Net benefit per case. {reading}")
    columns = ("Threshold", "By the model", "Treat all", "Treat none")
    table = curve_table("Net benefit per case", columns, threshold, model, treat_all, treat_none)
    return Chart("decision", "Decision curve", svg, reading, table)


def froc(curves: Sequence[Line], at: Numbers, values: Sequence[Numbers]) -> Chart:
    """Return the FROC curves; the table gives each one's sensitivity, `values`, at the rates `at`.

    The first curve is that of all classes; of more than six the first and the poorest five are drawn.
    """
    poorest = sorted(range(1, len(curves)), key=lambda k: float(np.mean(values[k])))[: DRAWN - 1]
    shown = [curves[k] for k in sorted([0, *poorest])]
    with drawing() as (figure, axes):
        low, high = min(at), max(at)
        for position, curve in enumerate(shown):
            x = np.append(np.clip(np.asarray(curve.x, np.float64), low / 2, None), high * 2)
            _draw(axes, Line(curve.name, x, np.append(curve.y, curve.y[-1])), position)
        axes.set_xscale("log", base=2)
        axes.set(
            xlim=(low / 1.2, high * 1.2), ylim=(-0.01, 1.02), xlabel="false alarms per image", ylabel="sensitivity"
        )
        axes.xaxis.set_major_locator(FixedLocator(list(at)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([f"{rate:g}" if rate >= 1 else f"1/{1 / rate:g}" for rate in at])
        legend(axes)
        reading = "The higher and the further left, the more is found at fewer false alarms. A hit needs an IoU of 0.1."
        reading += _left_out(len(shown), len(curves))
        svg = inline_svg(figure, "froc", "FROC curve", f"Sensitivity against false alarms per image. {reading}")
    columns = ("False alarms per image", *(curve.name for curve in curves))
    return Chart("froc", "FROC curve", svg, reading, curve_table("Sensitivity", columns, at, *values))


def precision_recall_per_class(curves: Sequence[Line]) -> Chart:
    """Return interpolated precision against recall at IoU 0.5, one line per class; all have the same recall levels."""
    area = [float(np.mean(curve.y)) for curve in curves]
    shown = [curves[k] for k in sorted(sorted(range(len(curves)), key=area.__getitem__)[:DRAWN])]
    with drawing() as (figure, axes):
        for position, curve in enumerate(shown):
            _draw(axes, curve, position)
        _unit_square(axes, "sensitivity (recall)", "precision")
        legend(axes)
        reading = (
            "The further a line keeps to the upper right, the better its class is found. A hit needs an IoU of 0.5."
        )
        reading += _left_out(len(shown), len(curves))
        svg = inline_svg(figure, "pr", "Precision-recall per class", f"Precision against sensitivity. {reading}")
    columns = ("Sensitivity", *(curve.name for curve in curves))
    table = curve_table("Precision", columns, curves[0].x, *(curve.y for curve in curves))
    return Chart("pr", "Precision-recall per class", svg, reading, table)


def _left_out(shown: int, every: int) -> str:
    """Return that not every curve is drawn; empty where all are."""
    return f" Drawn are the {shown} poorest of {every} curves; the numbers have all." if shown < every else ""


def roc_per_class(curves: Sequence[Line], drawn: Sequence[bool]) -> Chart:
    """Return one ROC curve per class, each against all other cases; `drawn` says which are in the plot."""
    with drawing() as (figure, axes):
        axes.plot([0, 1], [0, 1], label="chance", **REFERENCE)
        shown = [curve for curve, wanted in zip(curves, drawn, strict=True) if wanted]
        for position, curve in enumerate(shown):
            _draw(axes, curve, position)
        _unit_square(axes, "1 - specificity", "sensitivity")
        legend(axes)
        reading = "The further a line keeps to the upper left, the better its class is told from all others."
        if len(shown) < len(curves):
            reading += f" Drawn are the {len(shown)} of {len(curves)} classes with the smallest areas."
        svg = inline_svg(figure, "roc", "ROC curve per class", f"Sensitivity against 1 - specificity. {reading}")
    rates = (0.01, 0.05, 0.1, 0.2, 0.5)
    rows = tuple(
        (curve.name, *(words.number(float(np.interp(rate, curve.x, curve.y))) for rate in rates)) for curve in curves
    )
    columns = ("Class", *(f"at specificity {1 - rate:g}" for rate in rates))
    return Chart("roc", "ROC curve per class", svg, reading, Table("Sensitivity", columns, rows))


def forest(overall: Estimate, groups: Sequence[Estimate]) -> Chart:
    """Return the forest plot of the headline estimate in subgroups; masked ones are said, not drawn."""
    names = [words.group(estimate.subgroup) for estimate in groups]
    label = words.name(overall.name)
    with drawing(9.4, 0.75 + 0.3 * (len(groups) + 1)) as (figure, axes):
        for row, estimate in enumerate([overall, *groups]):
            y = len(groups) - row
            if math.isnan(estimate.value):
                axes.annotate(
                    "masked or undefined", (0.01, y), xycoords=("axes fraction", "data"), va="center", color=GREY
                )
                continue
            colour = INK if row == 0 else ACCENT
            if not math.isnan(estimate.low):
                axes.plot([estimate.low, estimate.high], [y, y], color=colour, linewidth=2)
            axes.plot(estimate.value, y, marker="D" if row == 0 else "o", color=colour, markersize=6)
        if not math.isnan(overall.value):
            axes.axvline(overall.value, zorder=0, **REFERENCE)
        axes.set_yticks(range(len(groups) + 1), [words.short(n, MOST_LETTERS) for n in reversed(["all", *names])])
        axes.set(ylim=(-0.6, len(groups) + 0.6), xlabel=label)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        shown = sum(not math.isnan(estimate.value) for estimate in groups)
        reading = f"Diamond and dashed line: all cases. {shown} of {words.counted(len(groups), 'subgroup')} shown."
        svg = inline_svg(figure, "forest", f"{label} in subgroups", reading)
    return Chart(
        "forest", f"{label} in subgroups", svg, reading, estimate_table("Subgroups", groups, by_group=True), True
    )


def training(history: Training) -> Chart | None:
    """Return training loss and validation score per epoch, one above the other; None when neither is known."""
    series = [("training loss", np.asarray(history.loss)), ("validation score", np.asarray(history.score))]
    series = [(label, values) for label, values in series if not np.isnan(values).all()]
    if not series:
        return None
    said = []
    with drawing(9.4, 1.5 * len(series) + 0.5) as (figure, first):
        first.remove()
        panels = figure.subplots(len(series), 1, sharex=True, squeeze=False)[:, 0]
        for panel, (label, values) in zip(panels, series, strict=True):
            known = np.flatnonzero(~np.isnan(values))
            kept = known[_thin(len(known), MOST_POINTS)]
            panel.plot(np.asarray(history.epochs)[kept], values[kept], color=ACCENT, linewidth=1.5)
            panel.set_ylabel(label)
            panel.margins(x=0.01)
            said.append(f"{label} from {values[known[0]]:.4g} to {values[known[-1]]:.4g}")
        panels[-1].set_xlabel("epoch")
        reading = f"{words.counted(max(history.epochs), 'epoch')}: {'; '.join(said)}."
        if history.others:
            reading += f" {words.counted(history.others, 'other training')}, of the folds, not shown."
        svg = inline_svg(figure, "training", "Training of the kept model", reading)
    columns = ("Epoch", *(label.capitalize() for label, _ in series))
    table = curve_table("Training", columns, history.epochs, *(values for _, values in series))
    return Chart("training", "Training of the kept model", svg, reading, table, wide=True)


def estimate_table(caption: str, estimates: Sequence[Estimate], *, by_group: bool = False) -> Table:
    """Return estimates with intervals, cases, patients and notes; rows are named by estimate or by subgroup."""
    first = "Subgroup" if by_group else "Estimate"
    columns = (first, "Value", "Interval", "Cases", "Patients", "Note")
    rows = tuple(
        (
            words.group(item.subgroup) if by_group else words.name(item.name),
            words.number(item.value),
            words.limits(item),
            f"{item.n:,}",
            f"{item.n_patients:,}",
            "; ".join(text for text in ("" if by_group else words.meaning(item.name), item.note) if text),
        )
        for item in estimates
    )
    return Table(caption, columns, rows, frozenset({0, 5}))
