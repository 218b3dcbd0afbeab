"""Score predictions that somebody else's model made: a table, COCO detections, or predicted label maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import field_validator

from ai4diag.config.base import Settings, parse, read_yaml
from ai4diag.config.plan import Evaluate
from ai4diag.config.recipe import load_recipe
from ai4diag.errors import ConfigError
from ai4diag.evaluation.targets import target_of
from ai4diag.files import read_json, write_json, write_text

if TYPE_CHECKING:
    from ai4diag.evaluation.evaluate import Evaluation
    from ai4diag.evaluation.report import ReportContext
    from ai4diag.pipelines.foreign import Foreign

USUAL_CLASSES = {"binary": ("negative", "positive"), "time_to_event": ("without event", "with event")}
"""What stands for the classes of a target where the plan names none."""


class Plan(Settings):
    """`task:` and the `evaluate:` block of a pipeline, and where truth and patients of foreign predictions are."""

    task: str
    """Which task's question was answered."""
    target: str | None = None
    """What was predicted, where it is not what the task usually predicts."""
    classes: tuple[str, ...] | None = None
    """Class names; of two, the negative class first. Of label maps, the first has number 1."""
    evaluate: Evaluate
    """As in a pipeline."""
    truth: str | None = None
    """COCO file, folder of label maps, or table with the truth, as seen from the plan's folder."""
    patients: str | None = None
    """CSV with case_id, patient_id and any attributes, as seen from the plan's folder."""
    patient_pattern: str | None = None
    """Regular expression that finds the patient in the name of a case: its one group."""
    images: str | None = None
    """Folder of the images, or of the volumes below label maps, for the pictures of the report."""
    missing: Literal["wrong", "leave_out", "refuse"] | None = None
    """What a case without a prediction counts as; None: as wrong (boxes, masks), or the table is refused."""
    extra: Literal["leave_out", "refuse"] = "refuse"
    """What happens to predictions of cases that have no truth."""

    @field_validator("classes")
    @classmethod
    def _each_class_once(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is not None and (not names or len(set(names)) < len(names)):
            raise ValueError("name each class once")
        return names


@dataclass(frozen=True)
class Asked:
    """A plan, read.

    Attributes:
        plan: its settings.
        path: the file.
    """

    plan: Plan
    path: Path

    @property
    def target(self) -> str:
        """What was predicted."""
        return target_of({"task": self.plan.task, "target": self.plan.target})

    def classes(self, known: Mapping[str, Any] | None = None) -> tuple[str, ...]:
        """Return the class names: those of the plan, else what the predictions say of themselves, else the usual ones.

        Raises:
            ConfigError: nobody names them.
        """
        found = self.plan.classes or tuple((known or {}).get("classes", ())) or USUAL_CLASSES.get(self.target, ())
        if not found:
            raise ConfigError(f"{self.path}: the classes are not known.", "Name them in the plan: classes: [a, b].")
        return found

    def beside(self, name: str) -> Path:
        """Return a path that the plan names, seen from its folder."""
        return self.path.parent / name


def read_plan(path: Path) -> Asked:
    """Read a plan; a pipeline.yaml is one as well, with the classes of its prepared cases if there are any.

    Raises:
        ConfigError: the file is missing, or names the key that is wrong.
    """
    values = read_yaml(path)
    if not isinstance(values, dict) or "data" not in values:
        return Asked(parse(Plan, values, str(path)), path)
    recipe = load_recipe(path)
    prepared = path.parent / "out" / "prepared" / "prepared.json"
    facts = read_json(prepared) if prepared.is_file() else {}
    known = {"target": facts.get("target"), "classes": facts.get("classes")}
    return Asked(Plan(task=recipe.task, evaluate=recipe.evaluate, **known), path)


@dataclass(frozen=True)
class External:
    """Foreign predictions, scored.

    Attributes:
        evaluation: what they say.
        foreign: the table that was scored.
        context: what the report says beside the estimates.
    """

    evaluation: Evaluation
    foreign: Foreign
    context: ReportContext

    def write(self, folder: Path) -> None:
        """Write `estimates.json` and `report.html`."""
        from ai4diag.evaluation.report import render

        write_json(folder / "estimates.json", [item.as_dict() for item in self.evaluation.estimates])
        write_text(folder / "report.html", render(self.evaluation, self.context))


def evaluate_external(predictions: Path, plan: Path) -> External:
    """Score foreign predictions under a plan.

    Args:
        predictions: CSV or Parquet; COCO JSON; or a folder of label maps.
        plan: YAML file with `task` and `evaluate`, and `truth` where the predictions lack it; or a pipeline.yaml.

    Raises:
        DataError: a file is wrong; it is named with the column and line, the place in the list, or the case.
        ConfigError: the plan is malformed.
    """
    from ai4diag.evaluation.evaluate import evaluate
    from ai4diag.pipelines.external_context import external_context
    from ai4diag.pipelines.foreign import read

    asked = read_plan(plan)
    foreign = read(predictions, asked)
    found = evaluate(
        foreign.table, task=asked.plan.task, target=asked.target, classes=foreign.classes, plan=asked.plan.evaluate
    )
    found = replace(found, notes=[*found.notes, *foreign.notes])
    return External(found, foreign, external_context(predictions, asked, foreign, found))
