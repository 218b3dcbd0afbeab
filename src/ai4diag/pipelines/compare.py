"""Compare runs, pipelines and foreign predictions on the cases that all of them answered."""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai4diag.errors import UsageError
from ai4diag.evaluation.targets import target_of
from ai4diag.pipelines import records
from ai4diag.pipelines.external import Asked, Plan, read_plan

if TYPE_CHECKING:
    import pandas as pd

    from ai4diag.evaluation.paired import Comparisons
    from ai4diag.pipelines.workspace import Workspace

SUFFIXES = (".csv", ".parquet", ".pq", ".json")
"""A word that ends like this is a file of predictions, as is a folder with a / in its name; any other names a run."""


@dataclass(frozen=True)
class Named:
    """What one word of the command stands for.

    Attributes:
        label: the letter that stands for it in tables and verdicts.
        word: as it was given.
        what: a run with its pipeline and day, or a file.
        run_id: empty for a file.
    """

    label: str
    word: str
    what: str
    run_id: str = ""


@dataclass(frozen=True)
class Compared:
    """Who was compared, and what came out."""

    named: list[Named]
    found: Comparisons

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"sides": [vars(item) for item in self.named], **self.found.as_dict()}

    def page(self) -> str:
        """Return the comparison as one HTML file."""
        from ai4diag.evaluation.report.compare import render_comparison

        return render_comparison(self.found, [(item.label, item.what) for item in self.named])


def compare(
    words: Sequence[str],
    workspace: Callable[[], Workspace],
    *,
    plan: Path | None = None,
    margin: float = math.nan,
) -> Compared:
    """Compare what the words name with the first of them.

    Args:
        words: first characters of a run's id; a pipeline or a variant in one word, such as `breast-mass --quick`, whose
            latest run is taken; or a file of predictions.
        workspace: gives the workspace; not asked where all words are files.
        plan: `task` and `evaluate` for all of them; without it, those of the first run among them.
        margin: the largest difference of the headline that does not matter; NaN: none.

    Raises:
        UsageError: fewer than two words, too many, an unknown word, or only files and no plan.
        DataError: a file is wrong, no case is common to all, or the truth of a case differs.
        ConfigError: the plan is wrong.
    """
    from ai4diag.evaluation.paired import Side
    from ai4diag.evaluation.paired import compare as compare_sides

    if not 2 <= len(words) <= len(string.ascii_uppercase):
        most = len(string.ascii_uppercase)
        raise UsageError(
            f"Found {len(words)} to compare; expected two or more, at most {most}.", "Name runs, pipelines or files."
        )
    found = [None if _is_file(word) else records.find(workspace(), word) for word in words]
    runs = [item for item in found if item]
    asked = read_plan(plan) if plan else _plan_of(runs)
    known = asked.plan.evaluate
    sides, named, notes, classes = [], [], [], asked.plan.classes
    for label, word, record in zip(string.ascii_uppercase, words, found, strict=False):
        answers = _answers(word, record, asked)
        classes = classes or answers.classes
        if answers.target != asked.target or answers.classes != classes:
            raise UsageError(
                f"{word} predicts {answers.target} of {', '.join(answers.classes)}; expected {asked.target} of "
                f"{', '.join(classes)}.",
                "Only models that answer the same question can be compared.",
            )
        sides.append(Side(label, answers.table, record.plan if record else known))
        named.append(_named(label, word, record))
        notes += [f"{label}: {note}" for note in answers.notes]
    comparisons = compare_sides(sides, target=asked.target, classes=classes or (), plan=known, margin=margin)
    comparisons.notes.extend([*notes, *_notes(named, found, runs)])
    return Compared(named, comparisons)


@dataclass(frozen=True)
class _Answers:
    """Predictions, what they are of, and what to mind."""

    table: pd.DataFrame
    target: str
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


def _is_file(word: str) -> bool:
    """Whether a word names predictions instead of a run or a pipeline."""
    return Path(word).suffix.lower() in SUFFIXES or ("/" in word and Path(word).is_dir())


def _plan_of(runs: Sequence[records.Record]) -> Asked:
    """Return the plan of the first run."""
    if not runs:
        raise UsageError(
            "Files of predictions do not say how to score them.", "Give --plan with `task` and `evaluate`."
        )
    facts = runs[0].facts
    known = {name: facts[name] for name in ("task", "target")}
    plan = Plan(**known, classes=tuple(facts["classes"]), evaluate=runs[0].plan)
    return Asked(plan, Path(f"the plan of run {runs[0].run_id[:8]}"))


def _answers(word: str, record: records.Record | None, asked: Asked) -> _Answers:
    if record is not None:
        facts = record.facts
        return _Answers(record.predictions(), target_of(facts), tuple(facts["classes"]))
    from ai4diag.pipelines.foreign import read

    foreign = read(Path(word), asked)
    return _Answers(foreign.table, asked.target, foreign.classes, foreign.notes)


def _named(label: str, word: str, record: records.Record | None) -> Named:
    if record is None:
        return Named(label, word, f"file {word}")
    day = str(record.facts["created"])[:10]
    return Named(label, word, f"run {record.run_id[:8]} of {record.facts['words']}, {day}", record.run_id)


def _notes(named: Sequence[Named], found: Sequence[records.Record | None], runs: Sequence[records.Record]) -> list[str]:
    """Return what only the records know."""
    notes = []
    data = {str(run.facts["recipe"]["data"].get("dataset")) for run in runs}
    if len(data) > 1:
        notes.append(
            f"The runs are of different data sets ({', '.join(sorted(data))}); cases are matched by name alone."
        )
    files = [item.label for item, record in zip(named, found, strict=True) if record is None]
    if files:
        notes.append(f"What {', '.join(files)} learned from is not known: whether it has seen these patients before.")
    notes.append(
        "To choose a model by this comparison makes its estimate on these cases too good; test the chosen one anew."
    )
    return notes
