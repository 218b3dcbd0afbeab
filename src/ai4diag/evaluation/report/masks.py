"""What the report shows of label maps: volumes, the worst and the typical cases, and a line per case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ai4diag.evaluation.report import charts, words
from ai4diag.evaluation.report.charts import Chart, Table
from ai4diag.evaluation.report.context import ReportContext
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
LEGEND = (("truth", "outline of the truth"), ("predicted", "outline of the answer"))
"""What the lines of the pictures mean."""


def curves(evaluation: Evaluation) -> list[Chart]:
    """Return the plot of predicted over true volumes."""
    cases = evaluation.curves["per_case"]
    if not cases:
        return []
    most = max(max(*case["truth_ml"], *case["predicted_ml"]) for case in cases)
    rows = []
    with drawing() as (figure, axes):
        axes.plot([0, most], [0, most], label="equal", **charts.REFERENCE)
        for k, name in enumerate(evaluation.classes):
            truth, found = ([case[key][k] for case in cases] for key in ("truth_ml", "predicted_ml"))
            style: Any = {"color": (ACCENT, INK, GREY)[k % 3], "marker": "osD^v"[k % 5], "markersize": 4.5}
            axes.plot(truth, found, linestyle="none", label=name, clip_on=False, **style)
            rows += [
                (name, str(c["case_id"]), f"{t:.3f}", f"{f:.3f}") for c, t, f in zip(cases, truth, found, strict=True)
            ]
        axes.set(xlabel="volume of the truth (ml)", ylabel="volume of the answer (ml)", xlim=(0, None), ylim=(0, None))
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0.2, borderpad=0)
        reading = "Points on the line have the right volume; above it the answer is too large."
        svg = inline_svg(figure, "volumes", "Volumes", f"Volume of the answer against that of the truth. {reading}")
    columns = ("Class", "Case", "Truth (ml)", "Answer (ml)")
    return [Chart("volumes", "Volumes", svg, reading, Table("Volumes", columns, tuple(rows), frozenset({0, 1})))]


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
    names = evaluation.classes
    columns = ["Case"]
    for name in names:
        columns += [f"Dice {name}", f"HD95 {name} (mm)", f"truth {name} (ml)", f"answer {name} (ml)"]
    rows = []
    for case in evaluation.curves["per_case"]:
        row = [str(case["case_id"])]
        for k in range(len(names)):
            row += [words.number(case["dice"][k]), _tenths(case["hd95_mm"][k])]
            row += [f"{case['truth_ml'][k]:.3f}", f"{case['predicted_ml'][k]:.3f}"]
        rows.append(tuple(row))
    return Table("Every test case, the smallest Dice first", tuple(columns), tuple(rows))


def _tenths(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:.1f}"
