"""Foreign label maps as NIfTI or another volume format: a folder of answers, and one of truth with the same names.

Answer and truth are brought to the same orientation and must then lie in the same place; spacing is that of the truth.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.data.volume import Volume, read_volume, same_grid, volumes_in
from ai4diag.errors import DataError
from ai4diag.masks import encode
from ai4diag.pipelines.external import Asked
from ai4diag.pipelines.foreign import (
    Foreign,
    extra,
    left_out,
    named,
    need_target,
    refuse_missing,
    refuse_none,
    truth_path,
    unknown_patients,
    who,
)


def read(path: Path, asked: Asked) -> Foreign:
    """Read a folder of predicted label maps; the plan's `truth` is the folder of the true ones.

    Number k of a map is the k-th class of the plan, 0 the background.

    Raises:
        DataError: a file is damaged, a map has another shape or place than its truth or numbers that are no class, or
            cases are without truth or answer.
        ConfigError: the plan names no truth or no classes, or asks for something else than masks.
    """
    need_target(asked, "masks", path)
    classes = asked.classes()
    beside = truth_path(asked, "a folder of label maps with the same names as the predicted ones")
    truth, answers = (volumes_in([folder], r"(.+)") for folder in (beside, path))
    notes = extra([case for case in answers if case not in truth], asked, path)
    absent = [case for case in truth if case not in answers]
    if absent and asked.plan.missing == "refuse":
        refuse_missing(absent, path)
    if absent and asked.plan.missing == "leave_out":
        refuse_none(len(truth) - len(absent), path)
        truth = {case: file for case, file in truth.items() if case in answers}
        notes.append(left_out(absent))
    elif absent:
        notes.append(f"No predicted map, which counts as an empty one, for {named(absent)}.")
    lines = [_line(file, answers.get(case), len(classes)) for case, file in truth.items()]
    known, is_known = who(list(truth), asked)
    table = pd.concat([known, pd.DataFrame(lines)], axis=1)
    files = [*truth.values(), *(answers[case] for case in truth if case in answers)]
    return Foreign(table, classes, (*notes, *unknown_patients(is_known)), is_known, tuple(files))


def _line(truth_file: Path, answer_file: Path | None, n_classes: int) -> dict[str, Any]:
    """Return the columns that the target needs, of one case."""
    truth = read_volume(truth_file).canonical()
    wanted = _labels(truth, n_classes)
    found = np.zeros_like(wanted)
    if answer_file is not None:
        answer = read_volume(answer_file).canonical()
        if differs := same_grid(answer, truth):
            raise DataError(
                f"{answer_file} and {truth_file} have {differs}.", "Resample the answer to the grid of the truth."
            )
        found = _labels(answer, n_classes)
    return {
        "truth_runs": encode(wanted),
        "runs": encode(found),
        "shape": list(wanted.shape),
        "spacing_mm": list(truth.spacing_mm),
    }


def _labels(volume: Volume, n_classes: int) -> npt.NDArray[np.uint8]:
    """Return the class numbers of a map, `(i, j, k)`."""
    values = volume.array[0]
    wrong = (values != np.rint(values)) | (values < 0) | (values > n_classes)
    if wrong.any():
        at = tuple(int(index) for index in np.argwhere(wrong)[0])
        raise DataError(
            f"{volume.name}: {int(wrong.sum())} voxels hold no class, the first {float(values[at]):g} at {at} (right, "
            f"front, head); expected whole numbers from 0 to {n_classes}.",
            "A map holds class numbers, not probabilities; name all classes in the plan, in their order.",
        )
    return np.ascontiguousarray(values.astype(np.uint8))
