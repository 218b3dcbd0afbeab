"""What the report on foreign predictions says beside the estimates: above all, what is not known."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from ai4diag import __version__
from ai4diag.evaluation.evaluate import Evaluation
from ai4diag.evaluation.gate import check_gate
from ai4diag.evaluation.report import DatasetFacts, PartLine, ReportContext
from ai4diag.evaluation.truth import truth_columns
from ai4diag.files import sha256_file
from ai4diag.pipelines.external import Asked
from ai4diag.pipelines.external_pictures import pictures
from ai4diag.pipelines.foreign import Foreign
from ai4diag.types import Finding

NO_PATIENTS = Finding(
    "warning",
    "no-patient-ids",
    "all cases",
    "no patients",
    "which cases are of one patient",
    "Name `patients` or `patient_pattern` in the plan; every case counts as a patient of its own.",
)
MOST_HASHES = 20
"""Files that are listed with their hash; of more, the first."""


def external_context(path: Path, asked: Asked, foreign: Foreign, evaluation: Evaluation) -> ReportContext:
    """Gather what `render` needs beside the evaluation of foreign predictions."""
    plan = asked.plan
    files = [asked.path, *foreign.files]
    return ReportContext(
        title=f"Predictions of another model: {path.name}",
        pipeline="",
        task=plan.task,
        target=asked.target,
        primary=plan.evaluate.primary,
        classes=foreign.classes,
        recipe=plan.model_dump(mode="json"),
        dataset=DatasetFacts(
            name=path.name,
            title=f"Cases of {path.name}",
            description="The cases are those that were handed in with the predictions; there is no dataset card.",
            terms="Those of whoever handed the cases in; they are not known here.",
        ),
        limits=(
            "The predictions were made elsewhere. What the model is, what it learned from and how its threshold was "
            "chosen is not known here.",
        ),
        parts=tuple(_parts(foreign.table, asked.target, foreign.classes)),
        findings=() if foreign.patients_known else (NO_PATIENTS,),
        gate=dict(plan.evaluate.accept),
        unmet=tuple(check_gate(evaluation.estimates, plan.evaluate.accept)),
        hashes={str(file.name): sha256_file(file) for file in files[:MOST_HASHES]},
        version=__version__,
        checked=_checked(foreign, len(files)),
        not_checked=_not_checked(foreign, asked),
        outside=path.name,
        **pictures(asked, foreign),
    )


def _checked(foreign: Foreign, files: int) -> tuple[str, ...]:
    return (
        f"{files} files were read whole, each number within what its column may hold, each case once.",
        "Truth and predictions are of the same cases"
        + ("." if not foreign.notes else ", but for what is noted beside the estimates."),
    )


def _not_checked(foreign: Foreign, asked: Asked) -> tuple[str, ...]:
    lines = [
        "Whether the model has learned from these cases or these patients: its training data are not known, nor is "
        "how the cases were chosen and split. If it has seen them, the estimates are too good.",
        "Whether these predictions are what the model answers: it was not run here.",
        "How the truth was found, and whether whoever found it knew the predictions.",
    ]
    if not foreign.patients_known:
        lines.append("Which cases are of one patient: every case counts as one, and intervals may be too narrow.")
    if "validation" not in set(foreign.table["part"]) and asked.plan.evaluate.operating_point.threshold is not None:
        lines.append(
            "Where the threshold of the plan comes from: it must have been fixed before these cases were seen."
        )
    if not asked.plan.evaluate.subgroups:
        lines.append("Subgroups: the plan names none.")
    lines.append("Whether anybody decides better with the model: that needs a study with its users.")
    return tuple(lines)


def _parts(table: pd.DataFrame, target: str, classes: tuple[str, ...]) -> list[PartLine]:
    """Return cases, patients and cases (or boxes, or voxels) of each class, by part and site."""
    counts = _counts(table, target, classes)
    lines = []
    site = table["site"].fillna("").astype(str) if "site" in table else pd.Series("", index=table.index)
    for key, rows in table.assign(site=site).groupby(["part", "site"], sort=True).indices.items():
        part, place = cast(tuple[str, str], key)
        own = table.iloc[rows]
        total = tuple(int(value) for value in counts[rows].sum(axis=0))
        lines.append(PartLine(str(part), str(place), own["case_id"].nunique(), own["patient_id"].nunique(), total))
    return lines


def _counts(table: pd.DataFrame, target: str, classes: tuple[str, ...]) -> np.ndarray:
    """Return `(lines, classes)`: how often each case shows each class."""
    counts = np.zeros((len(table), len(classes)), np.int64)
    columns = list(truth_columns(target, classes))
    if target == "multilabel":
        return table[columns].to_numpy(np.int64)
    for row, values in enumerate(table[columns].itertuples(index=False)):
        if target == "masks":
            runs = np.asarray(values[2])
            np.add.at(counts[row], runs[0::2][runs[0::2] > 0] - 1, runs[1::2][runs[0::2] > 0])
        elif target == "boxes":
            np.add.at(counts[row], np.asarray(values[0], np.int64)[~np.asarray(values[1], bool)], 1)
        else:
            counts[row, int(values[-1])] = 1
    return counts
