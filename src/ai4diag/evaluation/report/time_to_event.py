"""What the report shows of a time to event."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ai4diag.evaluation.report import words
from ai4diag.evaluation.report.charts import REFERENCE, Chart, Table, curve_table, legend
from ai4diag.evaluation.report.context import ReportContext
from ai4diag.evaluation.report.frequencies import Dots
from ai4diag.evaluation.report.parts import Section, plain
from ai4diag.evaluation.report.svg import ACCENT, DASHES, GREY, INK, drawing, inline_svg

if TYPE_CHECKING:
    from ai4diag.evaluation.evaluate import Evaluation

TRUTH = "Observation ended"
"""What the classes of a case are called."""
COUNTED = "{name}"
"""Heading of the number of cases of a class."""
YES = (
    "There is no operating point: the answer is a risk and a curve, not yes or no. The table compares the risk groups: "
    "thirds of the risks of the training part, or of these cases where the predictions name none."
)
"""What the operating point means."""
ERRORS = 10
"""Worst cases that are shown in a table."""
COLOURS = (GREY, ACCENT, INK)
NAMES = {1: "low", 2: "middle", 3: "high"}
DAYS_PER_YEAR = 365.25


def answers(evaluation: Evaluation) -> tuple[str, ...]:
    """Return how many of 100 at the highest and the lowest risk had the event by the last horizon that is known."""
    known, event = evaluation.curves, evaluation.classes[-1]
    groups = known["groups"]
    ends = [groups[-1], groups[0]] if len(groups) > 1 else groups
    for position in reversed(range(len(known["horizons"]))):
        if any(math.isnan(group["observed"][position]) for group in ends):
            continue
        day = words.span(known["horizons"][position])
        return tuple(
            f"Of 100 cases at {_name(group)}, {_seen(group['observed'][position])} {event} within {day} "
            f"({_expected(group, position)}{group['cases']:,} such cases were followed)."
            for group in ends
        )
    return ()


def _seen(survival: float) -> str:
    share = words.of_hundred(1 - survival)[0]
    return "none" if survival == 1 else share if share[0].isalpha() else f"about {share}"


def _expected(group: Mapping[str, Any], position: int) -> str:
    """Return the interval of what was observed, and what the model expected, where they are known."""
    low, high, predicted = (100 * (1 - group[key][position]) for key in ("high_at", "low_at", "predicted"))
    limits = "" if math.isnan(low) or math.isnan(high) or low == high else f"between {low:.0f} and {high:.0f}; "
    return limits + ("" if math.isnan(predicted) else f"the model expected {predicted:.0f}; ")


def pictured(evaluation: Evaluation) -> tuple[Dots, ...]:
    """Return nothing: no single share says how good this is."""
    return ()


def never(evaluation: Evaluation) -> tuple[str, ...]:
    """Return that a risk is not a date, and where predicted risks are off as a whole."""
    found = ["When it happens to one patient: the model gives risks, no dates."]
    for item in evaluation.estimates:
        base, day = words.horizon(item.name)
        whole = base == "observed_to_predicted" and item.part == "test" and item.subgroup == "all"
        if whole and (item.low > 1 or item.high < 1):
            much = "high" if item.high < 1 else "low"
            found.append(
                f"That the predicted risks within {words.span(day)} are right: they are too {much} "
                f"(observed over predicted {words.number(item.value)}, {words.limits(item)})."
            )
    return tuple(found)


def curves(evaluation: Evaluation) -> list[Chart]:
    """Return the plots of the curves that are defined."""
    known = evaluation.curves
    found = [_kaplan_meier(known, evaluation.classes[-1])]
    if known["horizons"]:
        found += _calibration(known, evaluation.classes[-1])
        found += _brier(known["brier"])
    return found


def confusion(evaluation: Evaluation) -> Table | None:
    """Return the risk groups: cases, events, observed and predicted share with the event at each horizon."""
    known, event = evaluation.curves, evaluation.classes[-1]
    at = [words.span(day) for day in known["horizons"]]
    columns = ("Risk group", "Cases", event.capitalize(), *(f"{event} within {day}: observed, predicted" for day in at))
    rows = tuple(
        (
            _name(group),
            f"{group['cases']:,}",
            f"{group['events']:,}",
            *(
                f"{_share(observed)}, {_share(predicted)}"
                for observed, predicted in zip(group["observed"], group["predicted"], strict=True)
            ),
        )
        for group in known["groups"]
    )
    return Table("Risk groups; observed by Kaplan-Meier", columns, rows)


def cases(evaluation: Evaluation, context: ReportContext) -> Section | None:
    """Return the events that the model thought least likely; None without events."""
    worst = evaluation.curves["worst"][:ERRORS]
    if not worst:
        return None
    sentence = f"Cases that {evaluation.classes[-1]} although the model thought it least likely by then."
    names = [name for name in worst[0] if name not in ("case_id", "fold")]
    names = ["case_id", *(n for n in names if any(str(line[n]) != str(line["case_id"]) for line in worst))]
    titles = {"case_id": "Case", "time_days": "Event after (days)", "survival": "Predicted to be without it by then"}
    columns = tuple(titles.get(name, name.replace("_id", "").replace("_", " ").capitalize()) for name in names)
    rows = tuple(
        tuple(words.number(line[n]) if n in ("score", "survival") else plain(line[n]) for n in names) for line in worst
    )
    numeric = {i for i, name in enumerate(names) if all(isinstance(line[name], (int, float)) for line in worst)}
    return Section((sentence,), (Table("Least expected first", columns, rows, frozenset(range(len(names))) - numeric),))


def _name(group: Mapping[str, Any]) -> str:
    return f"{NAMES.get(group['group'], str(group['group']))} risk"


def _share(survival: float) -> str:
    return "unknown" if math.isnan(survival) else f"{100 * (1 - survival):.0f} %"


def _kaplan_meier(known: Mapping[str, Any], event: str) -> Chart:
    """Return the Kaplan-Meier curves of the risk groups, with their 95 % bands and the numbers at risk."""
    groups, ticks = known["groups"], known["ticks"]
    with drawing(4.6, 4.4) as (figure, whole):
        whole.remove()
        axes, below = figure.subplots(2, 1, height_ratios=(5, len(groups) / 3), sharex=True)
        for position, group in enumerate(groups):
            line: Any = {"color": COLOURS[position % 3], "where": "post"}
            days = np.asarray(group["days"]) / DAYS_PER_YEAR
            axes.fill_between(
                days, group["low"], group["high"], step="post", color=line["color"], alpha=0.13, linewidth=0
            )
            axes.step(days, group["survival"], linestyle=DASHES[position % len(DASHES)], label=_name(group), **line)
        axes.set(xlim=(0, _whole(ticks[-1] / DAYS_PER_YEAR)), ylim=(0, 1.02), ylabel=f"share that has not {event}")
        legend(axes)
        _numbers_at_risk(below, groups, np.asarray(ticks) / DAYS_PER_YEAR)
        test = known["log_rank"]
        said = "The groups could not be compared."
        if not math.isnan(test["p"]):
            p = "below 0.001" if test["p"] < 0.001 else f"{test['p']:.3f}"
            said = f"Log-rank test that all groups are alike: chi square {test['chi_square']:.1f}, p {p}."
        reading = (
            "The further apart the lines, the better the model tells who is at risk; bands are 95 % intervals at each "
            f"time. {said}"
        )
        svg = inline_svg(figure, "km", "Survival by risk group", f"Kaplan-Meier curves. {reading}")
    columns = ("At risk", *(f"{day / DAYS_PER_YEAR:.1f} years" for day in ticks))
    rows = tuple((_name(group), *(f"{n:,}" for n in group["at_risk"])) for group in groups)
    return Chart("km", "Survival by risk group", svg, reading, Table("Numbers at risk", columns, rows))


def _numbers_at_risk(axes: Any, groups: Sequence[Mapping[str, Any]], years: Any) -> None:
    """Write how many cases of each group are at risk below the curves."""
    for position, group in enumerate(groups):
        for year, count in zip(years, group["at_risk"], strict=True):
            place = {0.0: "left", years[-1]: "right"}.get(year, "center")
            axes.text(year, -position, f"{count}", ha=place, va="center", color=COLOURS[position % 3])
    axes.set(ylim=(0.6 - len(groups), 0.6), xlabel="years; numbers at risk above")
    axes.set_yticks([-position for position in range(len(groups))], [NAMES.get(g["group"], "") for g in groups])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _calibration(known: Mapping[str, Any], event: str) -> list[Chart]:
    """Return observed against predicted share with the event, by risk group and horizon; empty when none is known."""
    points = [
        (words.span(day), _name(group), *(1 - group[key][i] for key in ("predicted", "observed", "high_at", "low_at")))
        for i, day in enumerate(known["horizons"])
        for group in known["groups"]
    ]
    points = [point for point in points if not any(math.isnan(value) for value in point[2:4])]
    if not points:
        return []
    with drawing() as (figure, axes):
        top = 1.08 * max(max(v for v in point[2:] if not math.isnan(v)) for point in points)
        axes.plot([0, top], [0, top], label="ideal", **REFERENCE)
        for position, day in enumerate(dict.fromkeys(point[0] for point in points)):
            own = [point for point in points if point[0] == day]
            style: Any = {"color": COLOURS[position % 3], "marker": "osD"[position % 3], "markersize": 5}
            x, y = ([point[i] for point in own] for i in (2, 3))
            axes.plot(x, y, linestyle="none", label=day, **style)
            for _, _, predicted, _, low, high in own:
                if not math.isnan(low):
                    axes.plot([predicted] * 2, [low, high], color=style["color"], linewidth=0.9)
        axes.set(xlim=(0, top), ylim=(0, top), xlabel="mean predicted", ylabel="observed (Kaplan-Meier)")
        legend(axes)
        reading = (
            f"Share that {event}, by risk group and time. On the dashed line the predicted share is what was seen; "
            "below it the predicted risks are too high. Bars: 95 % intervals."
        )
        svg = inline_svg(figure, "calibration", "Predicted and observed", reading)
    rows = tuple((day, name, *(words.number(value) for value in values)) for day, name, *values in points)
    columns = ("Within", "Group", "Predicted", "Observed", "From", "To")
    table = Table(f"Share that {event}", columns, rows, frozenset({0, 1}))
    return [Chart("calibration", "Predicted and observed", svg, reading, table)]


def _brier(known: Mapping[str, Sequence[float]]) -> list[Chart]:
    """Return the Brier score over time of the model and of no model; empty where it is not defined."""
    days, model, nobody = (np.asarray(known[key]) for key in ("days", "model", "nobody"))
    kept = ~np.isnan(model) & ~np.isnan(nobody)
    if not kept.any():
        return []
    days, model, nobody = days[kept], model[kept], nobody[kept]
    with drawing() as (figure, axes):
        years = days / DAYS_PER_YEAR
        axes.plot(years, nobody, label="no model", color=GREY, linestyle=DASHES[1])
        axes.plot(years, model, label="model", color=ACCENT)
        axes.set(xlim=(0, _whole(years[-1])), ylim=(0, None), xlabel="years", ylabel="Brier score")
        legend(axes)
        alone = float(np.trapezoid(nobody, days))
        gain = 1 - float(np.trapezoid(model, days)) / alone if alone > 0 else math.nan
        reading = (
            "Mean squared error of the predicted survival, the lower the better. No model: everybody is given the "
            f"Kaplan-Meier curve of the same cases.{_gained(gain)}"
        )
        svg = inline_svg(figure, "brier", "Error over time", reading)
    table = curve_table("Brier score", ("Day", "Model", "No model"), days, model, nobody)
    return [Chart("brier", "Error over time", svg, reading, table)]


def _gained(gain: float) -> str:
    if math.isnan(gain):
        return ""
    return f" Over the whole time the model's error is {100 * abs(gain):.0f} % {'lower' if gain >= 0 else 'higher'}."


def _whole(years: float) -> float:
    """Return whole years where a few hours are missing, as in 1,826 days, so that the axis shows the last one."""
    return round(years) if round(years) and abs(years - round(years)) < 0.01 else years
