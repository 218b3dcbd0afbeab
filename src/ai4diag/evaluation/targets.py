"""What a model can be asked for, and the modules that score it and show it.

A target needs two modules: one that scores (`Scoring`), one that the report asks (`Showing`). Nothing else in
evaluation tells one target from another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from ai4diag.errors import ConfigError, did_you_mean
from ai4diag.types import USUAL_TARGET

if TYPE_CHECKING:
    import pandas as pd

    from ai4diag.config.plan import OperatingPoint
    from ai4diag.evaluation.classification import Threshold
    from ai4diag.evaluation.evaluate import Evaluation, Scores
    from ai4diag.evaluation.report.charts import Chart, Table
    from ai4diag.evaluation.report.context import ReportContext
    from ai4diag.evaluation.report.frequencies import Dots
    from ai4diag.evaluation.report.parts import Section

TARGETS = {
    "binary": ("ai4diag.evaluation.binary_scores", "ai4diag.evaluation.report.binary"),
    "multiclass": ("ai4diag.evaluation.multiclass_scores", "ai4diag.evaluation.report.multiclass"),
    "ordinal": ("ai4diag.evaluation.ordinal_scores", "ai4diag.evaluation.report.multiclass"),
    "multilabel": ("ai4diag.evaluation.multilabel_scores", "ai4diag.evaluation.report.multilabel"),
    "time_to_event": ("ai4diag.evaluation.survival_scores", "ai4diag.evaluation.report.time_to_event"),
    "masks": ("ai4diag.evaluation.mask_scores", "ai4diag.evaluation.report.masks"),
    "boxes": ("ai4diag.evaluation.detection_scores", "ai4diag.evaluation.report.boxes"),
}


class Scoring(Protocol):
    """What a module that scores a target offers."""

    def check(self, table: pd.DataFrame, classes: Sequence[str], where: str) -> None:
        """Refuse a table of predictions that lacks columns of this target, or holds in them what it must not.

        `classes` may be empty where they are not known. Raises a DataError that names the column and the first line.
        """

    def choose_threshold(
        self, validation: pd.DataFrame, test: pd.DataFrame, classes: Sequence[str], rule: OperatingPoint
    ) -> Threshold:
        """Fix the operating point; arguments as `ai4diag.evaluation.classification.fold_thresholds` has them."""

    def scores(self, rows: pd.DataFrame, classes: Sequence[str], thresholds: Threshold) -> Scores:
        """Return the cases, ready to be weighted."""


class Showing(Protocol):
    """What a module that shows a target in the report offers."""

    TRUTH: str
    """What the classes of a case are called."""
    COUNTED: str
    """Heading of the column that counts a class, with `{name}`."""
    YES: str
    """What the operating point means, with `{at}`."""

    def answers(self, evaluation: Evaluation) -> tuple[str, ...]:
        """Return what a user meets, in natural frequencies, for the plain-language summary; nothing where undefined."""

    def pictured(self, evaluation: Evaluation) -> tuple[Dots, ...]:
        """Return shares as dots, of 100 so many full, at most two; nothing where no share says how good it is."""

    def never(self, evaluation: Evaluation) -> tuple[str, ...]:
        """Return what must not be concluded, one sentence each, beginning as the object of `conclude`."""

    def curves(self, evaluation: Evaluation) -> list[Chart]:
        """Return the plots of the curves that are defined."""

    def confusion(self, evaluation: Evaluation) -> Table | None:
        """Return what was called what at the operating point."""

    def cases(self, evaluation: Evaluation, context: ReportContext) -> Section | None:
        """Return the worst and the typical cases."""


def target_of(facts: Mapping[str, Any]) -> str:
    """Return the target that prepared cases or predictions are of: what they name, or the usual one of their task.

    Raises:
        ConfigError: there is no such task or target.
    """
    if facts.get("target") is None:
        task = str(facts.get("task"))
        if task not in USUAL_TARGET:
            raise ConfigError(f"There is no task '{task}'. {did_you_mean(task, USUAL_TARGET)}")
        return USUAL_TARGET[task]
    return _known(str(facts["target"]))


def scored_by(target: str) -> Scoring:
    """Return the module that scores a target."""
    return cast(Scoring, import_module(TARGETS[_known(target)][0]))


def shown_as(target: str) -> Showing:
    """Return the module that shows a target in the report."""
    return cast(Showing, import_module(TARGETS[_known(target)][1]))


def _known(target: str) -> str:
    if target not in TARGETS:
        raise ConfigError(f"There is no target '{target}'. {did_you_mean(target, TARGETS)}")
    return target
