"""How often a test part has been looked at: `pipelines/<name>/looks.csv`, in git, one line per model tested on it.

A test part flatters a little more with every model that is chosen after seeing how it did there. A look is a model
(recipe, data, hooks, seeds), whatever variant it is of; the same model tested again, here or on another machine, is the
same look. Lines are only ever added.
"""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from ai4diag.errors import DataError
from ai4diag.files import exclusive, sha256_file, sha256_json, write_text
from ai4diag.pipelines.workspace import Pipeline

FILE = "looks.csv"
DIGITS = 12


@dataclass(frozen=True)
class Look:
    """One line of the ledger.

    Attributes:
        test_part: hash of the cases of the test part.
        model: hash of what decides what the model becomes: recipe, data, hooks, seeds, version of the numbers.
        first: UTC date of the first look.
        run: MLflow's id of the run that looked first; empty when it was not tracked.
        variant: `full`, `quick`, `folds5`, `set-1a2b3c4d`, ...
    """

    test_part: str
    model: str
    first: str
    run: str
    variant: str


def look(pipeline: Pipeline, predictions: pd.DataFrame, numerics: int, run: str = "") -> int:
    """Write down that the model of these predictions was tested, unless it was before; return which look it is, from 1.

    Args:
        pipeline: the pipeline, or a variant of it.
        predictions: its table of predictions.
        numerics: version of the numbers that training makes (`numerics.yaml`).
        run: MLflow's id of the run.

    Raises:
        DataError: the ledger cannot be read.
    """
    part, model = part_hash(predictions), model_hash(pipeline, numerics)
    with exclusive(pipeline.folder / "out" / ".looks.lock", f"the ledger of {pipeline.name}", wait=True):
        known = looks(pipeline)
        here = [line.model for line in known if line.test_part == part]
        if model not in here:
            line = Look(part, model, f"{datetime.now(UTC):%Y-%m-%d}", run, pipeline.variant or "full")
            write_text(pipeline.folder / FILE, _text([*known, line]))
            here.append(model)
        return here.index(model) + 1


def looks(pipeline: Pipeline) -> list[Look]:
    """Return the lines of the ledger in order; empty when nothing was tested yet.

    Raises:
        DataError: it cannot be read.
    """
    path = pipeline.folder / FILE
    if not path.is_file():
        return []
    try:
        return [Look(**line) for line in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))]
    except (TypeError, ValueError) as error:
        raise DataError(f"{path} is not a ledger of looks: {error}.", "Restore it from git.") from None


def part_hash(predictions: pd.DataFrame) -> str:
    """Return a hash of the cases of the test part, in any order."""
    cases = predictions.loc[predictions["part"] == "test", "case_id"].astype(str)
    return sha256_json(sorted(cases.unique().tolist()))[:DIGITS]


def model_hash(pipeline: Pipeline, numerics: int) -> str:
    """Return a hash of everything that decides what the model becomes; waivers and plans of evaluation do not."""
    recipe, hooks = pipeline.recipe, pipeline.folder / "pipeline.py"
    parts: dict[str, Any] = {"task": True, "data": set(type(recipe.data).model_fields) - {"waive"}, "model": True}
    parts["train"] = set(type(recipe.train).model_fields) - {"deterministic"}  # it ends trainings, it changes none
    return sha256_json(
        {
            "recipe": recipe.model_dump(mode="json", include=parts, exclude_defaults=True),  # a new setting is no look
            "hooks": sha256_file(hooks) if hooks.is_file() else None,
            "numerics": numerics,
            "seeds": pipeline.seeds,
        }
    )[:DIGITS]


def _text(lines: list[Look]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(Look.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(line) for line in lines)
    return stream.getvalue()
