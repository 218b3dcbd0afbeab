"""`pipeline.yaml` as a frozen typed object.

The order of the blocks is the way of the data: `data` (what `prepare` reads), `model` and `train` (what `train`
reads), `evaluate` (what `evaluate` and `package` read), `quick` (what changes in the small variant).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ai4diag.config.base import Settings, parse, parse_yaml, read_yaml
from ai4diag.config.networks import DetectionModel, TabularModel
from ai4diag.errors import ConfigError, did_you_mean

Fraction = Annotated[float, Field(gt=0, lt=1)]


class Split(Settings):
    """How cases are divided into train, validation and test. No unit of `by` is ever in two parts."""

    by: str = "patient_id"
    """Column that holds together what must not be separated."""
    test: Fraction | Literal["official", "folds"] = 0.2
    """A fraction; `official` for the split that the dataset card names; `folds` for cross-validation."""
    validation: Fraction = 0.15
    """Fraction of what is not test. Ignored where the official split has a validation part."""
    folds: int = Field(default=5, ge=2)
    """Number of folds when `test: folds`."""
    seed: int = 7
    """Decides which groups go to which part; the same seed gives the same split on every machine."""
    contrast: str | None = None
    """A wrong grouping to evaluate beside the right one, so that the report can show by how much it flatters."""

    @model_validator(mode="after")
    def _contrast_needs_folds(self) -> Split:
        if self.contrast is not None and self.test != "folds":
            raise ValueError("contrast needs test: folds")
        return self


class Data(Settings):
    """Which cases, and how they are divided."""

    dataset: str
    """Name of a dataset card: `datasets/<name>.yaml`."""
    split: Split = Split()
    """How the cases are divided."""


class TabularData(Data):
    """Which rows and columns, and how the rows are divided."""

    drop: tuple[str, ...] = ()
    """Columns of the card that the model must not see."""


class DetectionData(Data):
    """Which images, in which size, and how they are divided."""

    image_size: tuple[int, ...] | None = None
    """Size in pixels to which images are resampled when packed, in array-axis order (rows, columns); None keeps it."""


class Train(Settings):
    """The training loop. For gradient boosting, `epochs` are boosting rounds and `patience` counts rounds."""

    epochs: int = Field(default=50, ge=1)
    """Passes over the training part, at most."""
    batch_size: int = Field(default=32, ge=1)
    """Cases per step of a network. An epoch is divided into nearly equal batches of at most this size."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Largest step size of AdamW."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """AdamW's decay: a step takes the share `learning_rate * weight_decay` off each weight; biases are left out."""
    schedule: Literal["constant", "cosine", "one_cycle"] = "cosine"
    """The learning rate stays; falls to 0 along half a cosine; or rises over 30 % of the steps and then falls."""
    warmup_epochs: float = Field(default=0, ge=0)
    """Epochs over which the learning rate is ramped up, whatever the schedule."""
    ema: float = Field(default=0, ge=0, lt=1)
    """Decay per step of the averaged weights that are evaluated and kept; 0 switches averaging off."""
    gradient_clip: float = Field(default=0, ge=0)
    """Largest norm of the gradient; 0 switches clipping off."""
    patience: int | None = Field(default=None, ge=1)
    """Epochs without improvement on validation after which training stops and the best weights are kept."""
    validate_every: int = Field(default=1, ge=1)
    """Epochs between two looks at validation."""
    augment: tuple[str, ...] = ()
    """Names of the random changes of training images that the task knows; a table knows none."""
    parts: tuple[Literal["train", "validation"], ...] = ("train",)
    """Parts to learn from. `[train, validation]` once the recipe is fixed; then nothing is chosen on validation."""
    precision: Literal["auto", "float32"] = "auto"
    """`auto` uses bfloat16 autocast on a GPU that has it."""
    seed: int = 7
    """Decides initial weights, order and augmentation: on a CPU, the same seed gives the same bits."""

    @model_validator(mode="after")
    def _patience_needs_validation(self) -> Train:
        if "train" not in self.parts:
            raise ValueError("parts must contain train")
        if self.patience is not None and "validation" in self.parts:
            raise ValueError("patience chooses on validation, so parts cannot contain validation")
        return self


class Interval(Settings):
    """Bootstrap of whole units."""

    level: Fraction = 0.95
    """Confidence level."""
    resamples: int = Field(default=2000, ge=100)
    """Number of bootstrap resamples."""
    unit: str = "patient_id"
    """Column of the unit that is drawn whole, with all its cases."""
    method: Literal["percentile", "bca"] = "percentile"
    """`bca` corrects for bias and skewness (Efron and Tibshirani 1993, chapter 14)."""
    seed: int = 7
    """Decides which units are drawn."""


class OperatingPoint(Settings):
    """Rule that fixes the decision threshold on validation predictions; exactly one of the fields."""

    youden: Literal[True] | None = None
    """Largest sensitivity + specificity."""
    accuracy: Literal[True] | None = None
    """Largest accuracy."""
    sensitivity: Fraction | None = None
    """Highest threshold with at least this sensitivity."""
    specificity: Fraction | None = None
    """Lowest threshold with at least this specificity."""
    threshold: Fraction | None = None
    """A threshold that was fixed before any data was seen."""

    @model_validator(mode="before")
    @classmethod
    def _accept_a_word(cls, values: Any) -> Any:
        return {values: True} if isinstance(values, str) else values

    @model_validator(mode="after")
    def _exactly_one(self) -> OperatingPoint:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("give exactly one of youden, accuracy, sensitivity, specificity, threshold")
        return self


class Evaluate(Settings):
    """What is estimated from the predictions, and what must hold before the model may leave."""

    primary: str
    """Name of the headline estimate."""
    interval: Interval = Interval()
    """How confidence intervals are made."""
    subgroups: tuple[str, ...] = ()
    """Attributes by which the estimates are repeated."""
    minimum_n: int = Field(default=10, ge=1)
    """Subgroups with fewer patients are masked."""
    operating_point: OperatingPoint = OperatingPoint(youden=True)
    """Rule that fixes the decision threshold; one of its words alone (`youden`) will do."""
    accept: Mapping[str, float] = {}
    """Release gate: `<estimate>_low: value` asks that the lower limit of the interval is at least `value`."""
    tolerance: float = Field(default=0.01, ge=0)
    """Largest absolute difference at which a reproduced estimate counts as the same on another machine."""

    @model_validator(mode="after")
    def _gate_on_lower_limits(self) -> Evaluate:
        for name in self.accept:
            if not name.endswith("_low"):
                raise ValueError(f"accept: '{name}' must end in _low: the gate is on the interval's lower limit")
        return self


class TabularRecipe(Settings):
    """Rows of a table with two classes."""

    task: Literal["tabular"]
    """The kind of problem; it decides what the other blocks may hold."""
    data: TabularData
    """Which cases, and how they are divided: what `prepare` reads."""
    model: TabularModel
    """What is trained; `network` names the kind, and the other keys belong to it."""
    train: Train = Train()
    """How it is trained."""
    evaluate: Evaluate
    """What is estimated from the predictions, and the release gate."""
    quick: Mapping[str, Any] = {}
    """Settings laid over the others by `--quick`: the small variant, for trying out."""

    @model_validator(mode="after")
    def _operating_point_is_unseen(self) -> TabularRecipe:
        if "validation" in self.train.parts and self.evaluate.operating_point.threshold is None:
            raise ValueError(
                "train.parts holds validation, so evaluate.operating_point cannot be fixed on it; "
                "give a threshold, for example {threshold: 0.5}"
            )
        return self


class DetectionRecipe(Settings):
    """Images with boxes around what is to be found."""

    task: Literal["detection"]
    """The kind of problem; it decides what the other blocks may hold."""
    data: DetectionData
    """Which cases, and how they are divided: what `prepare` reads."""
    model: DetectionModel
    """What is trained; `network` names the kind, and the other keys belong to it."""
    train: Train = Train()
    """How it is trained."""
    evaluate: Evaluate
    """What is estimated from the predictions, and the release gate."""
    quick: Mapping[str, Any] = {}
    """Settings laid over the others by `--quick`: the small variant, for trying out."""


Recipe = TabularRecipe | DetectionRecipe
RECIPES: dict[str, type[TabularRecipe] | type[DetectionRecipe]] = {
    "tabular": TabularRecipe,
    "detection": DetectionRecipe,
}


def load_recipe(path: Path, *, quick: bool = False, overrides: Sequence[str] = ()) -> Recipe:
    """Read `pipeline.yaml`.

    Args:
        path: the file.
        quick: apply the `quick` block, the recipe's small variant.
        overrides: `train.epochs=3` and the like, applied last; values are read as YAML.

    Raises:
        ConfigError: names the file, the key, what was found and the nearest known key.
    """
    values = read_yaml(path)
    where = str(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{where} holds no settings.", "See docs/reference/pipeline.md.")
    task = values.get("task")
    if not isinstance(task, str) or task not in RECIPES:
        raise ConfigError(f"{where}: task: found {task!r}. {did_you_mean(str(task), RECIPES)}")
    small = values.get("quick") or {}
    if quick and isinstance(small, dict):  # what is no mapping is refused with the rest
        values = merge(values, small)
    for assignment in overrides:
        key, sign, text = assignment.partition("=")
        if not sign or not key:
            raise ConfigError(f"--set {assignment}: expected key=value.", "For example: --set train.epochs=3")
        change: Any = parse_yaml(text, f"--set {assignment}")
        for name in reversed(key.split(".")):
            change = {name: change}
        values = merge(values, change)
        where = f"{path} with --set {assignment}"
    return parse(RECIPES[task], values, where)


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `change` laid over it; mappings are merged, anything else is replaced.

    A block that names another `network` is replaced whole, because its settings belong to the old one.
    """
    if "network" in change and change["network"] != base.get("network"):
        return dict(change)
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged
