"""What the report shows of label maps: volumes, the worst and the typical cases, and a line per case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ai4diag.evaluation.report import charts, words
from ai4diag.evaluation.report.charts import Chart, Table
from ai4diag.evaluation.report.context import ReportContext
from ai4diag.evaluation.report.frequencies import Dots, known, lowest, of_hundred
from ai4diag.evaluation.report.parts import Section
from ai4diag.evaluation.report.planes import volume_picture
from ai4diag.evaluation.report.svg import ACCENT, GREY, INK, drawing, inline_svg

if TYPE_CHECKING:
    from ai4diag.evaluation.evaluate import Evaluation

TRUTH = "Voxels"
"""What the classes of a case are called."""
COUNTED = "{name} voxels"
"""Heading of the number of voxels of a class."""
YES = "A share of at least {at:.3g} counts as a yes."
"""What the operating point means; label maps have none."""
MOST_LINES = 200
"""Lines of the table of cases, and of the table of volumes."""
LEGEND = (("truth", "outline of the truth"), ("predicted", "outline of the answer"))
"""What the lines of the pictures mean."""


def answers(evaluation: Evaluation) -> tuple[str, ...]:
    """Return how near the outlines are, how right the volumes, and how poor the poorest structure and case."""
    found = []
    near, volume = (known(evaluation, name) for name in ("surface_dice_2_mm", "volume_difference"))
    if near is not None and evaluation.primary != near.name:
        found.append(f"Of 100 points on the outlines of reader and model, {of_hundred(near)} are at most 2 mm apart.")
    if volume is not None:
        limits = "no interval" if np.isnan(volume.low) else f"from {_larger(volume.low)} to {_larger(volume.high)}"
        found.append(f"On average, the volume of the answer is {_larger(volume.value)} than the true one ({limits}).")
    poorest = lowest(evaluation, "dice")
    if poorest is not None and len(evaluation.classes) > 1:
        label, item = poorest
        limits = "no interval" if np.isnan(item.low) else words.limits(item)
        found.append(f"The poorest structure is {label}: Dice {words.number(item.value)} ({limits}).")
    each = [(float(np.nanmean(case["dice"])), str(case["case_id"])) for case in _defined(evaluation)]
    if each:
        value, case = min(each)
        found.append(f"The poorest of {words.counted(len(each), 'case')} has a mean Dice of {value:.3f} ({case}).")
    return tuple(found)


def _defined(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return the cases of which at least one structure has a Dice."""
    return [case for case in evaluation.curves["per_case"] if not np.isnan(case["dice"]).all()]


def _larger(share: float) -> str:
    """Return a relative difference in words.

    >>> _larger(0.022), _larger(-0.1)
    ('2.2 % larger', '10.0 % smaller')
    """
    return f"{100 * abs(share):.1f} % {'smaller' if share < 0 else 'larger'}"


def pictured(evaluation: Evaluation) -> tuple[Dots, ...]:
    """Return nothing: no single share says how good this is."""
    return ()


def never(evaluation: Evaluation) -> tuple[str, ...]:
    """Return that the mean hides single cases."""
    return ("That every outline may be used unseen: a mean over cases hides the poor ones, which are shown below.",)


def curves(evaluation: Evaluation) -> list[Chart]:
    """Return the plot of predicted over true volumes."""
    cases = evaluation.curves["per_case"]
    if not cases:
        return []
    drawn = cases[: _most(charts.MOST_POINTS, evaluation)]
    most = max(max(*case["truth_ml"], *case["predicted_ml"]) for case in cases)
    rows = []
    with drawing() as (figure, axes):
        axes.plot([0, most], [0, most], label="equal", **charts.REFERENCE)
        for k, name in enumerate(evaluation.classes):
            truth, found = ([case[key][k] for case in drawn] for key in ("truth_ml", "predicted_ml"))
            style: Any = {"color": (ACCENT, INK, GREY)[k % 3], "marker": "osD^v"[k % 5], "markersize": 4.5}
            axes.plot(
                truth, found, linestyle="none", label=words.short(name, charts.MOST_LETTERS), clip_on=False, **style
            )
            lines = list(zip(drawn, truth, found, strict=True))[: _most(MOST_LINES, evaluation)]
            rows += [(name, str(case["case_id"]), f"{t:.3f}", f"{f:.3f}") for case, t, f in lines]
        axes.set(xlabel="volume of the truth (ml)", ylabel="volume of the answer (ml)", xlim=(0, None), ylim=(0, None))
        charts.legend(axes)
        reading = "Points on the line have the right volume; above it the answer is too large."
        if len(drawn) < len(cases):
            reading += f" Drawn are the {len(drawn)} of {len(cases):,} cases with the smallest mean Dice."
        svg = inline_svg(figure, "volumes", "Volumes", f"Volume of the answer against that of the truth. {reading}")
    columns = ("Class", "Case", "Truth (ml)", "Answer (ml)")
    caption = (
        "Volumes" if len(rows) == len(cases) * len(evaluation.classes) else "Volumes: cases with the smallest Dice"
    )
    return [Chart("volumes", "Volumes", svg, reading, Table(caption, columns, tuple(rows), frozenset({0, 1})))]


def _most(lines: int, evaluation: Evaluation) -> int:
    """Return how many cases are shown, so that cases times classes are at most so many lines."""
    return max(lines // len(evaluation.classes), 1)


def confusion(evaluation: Evaluation) -> Table | None:
    """Return None: label maps have no operating point; `cases` shows what was called what."""
    return None


def _voxels(evaluation: Evaluation) -> Table:
    """Return how many voxels of each class were called what, in all cases together."""
    names = ("background", *evaluation.classes)
    rows = tuple(
        (name, *(f"{n:,}" for n in line)) for name, line in zip(names, evaluation.curves["confusion"], strict=True)
    )
    return Table("Voxels by truth and answer", ("Truth", *(f"called {name}" for name in names)), rows)


def cases(evaluation: Evaluation, context: ReportContext) -> Section | None:
    """Return the worst and typical cases as pictures, and a table of all."""
    known = evaluation.curves
    if not known.get("per_case"):
        return None
    groups = []
    for key, title in (("worst", "Smallest Dice"), ("typical", "Typical")):
        pictures = tuple(
            volume_picture(
                case,
                evaluation.classes,
                None if context.volume is None else context.volume(str(case["case_id"])),
                f"{key}{number}",
            )
            for number, case in enumerate(known.get(key) or [])
        )
        groups += [(title, pictures)] if pictures else []
    sentence = (
        "Test cases with the smallest mean Dice, then such with a middling one. Each is cut three times through the "
        "middle of the truth (or, without one, of the answer), and seen from below, from the front, and from the left: "
        "the patient's right is on the left of the first two pictures, the face on the left of the third. Voxels have "
        "their size in millimetres."
    )
    return Section((sentence,), (_per_case(evaluation), _voxels(evaluation)), pictures=tuple(groups))


def _per_case(evaluation: Evaluation) -> Table:
    """Return a line per case and structure, the cases with the smallest mean Dice first, at most 200 lines."""
    cases, classes = evaluation.curves["per_case"], evaluation.classes
    shown = cases[: _most(MOST_LINES, evaluation)]
    rows = tuple(
        (
            str(case["case_id"]),
            name,
            words.number(case["dice"][k]),
            _tenths(case["hd95_mm"][k]),
            f"{case['truth_ml'][k]:.3f}",
            f"{case['predicted_ml'][k]:.3f}",
        )
        for case in shown
        for k, name in enumerate(classes)
    )
    caption = "Every test case, the smallest mean Dice first"
    if len(shown) < len(cases):
        caption = f"The {len(shown)} of {len(cases):,} test cases with the smallest mean Dice"
    columns = ("Case", "Structure", "Dice", "HD95 (mm)", "Truth (ml)", "Answer (ml)")
    return Table(caption, columns, rows, frozenset({0, 1}))


def _tenths(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:.1f}"
