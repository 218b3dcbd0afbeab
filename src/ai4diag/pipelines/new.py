"""A new pipeline: the folder, and its line in params.yaml."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

from ai4diag.config.recipe import RECIPES
from ai4diag.errors import UsageError, did_you_mean
from ai4diag.files import write_text
from ai4diag.pipelines.workspace import Workspace

RECIPE = """\
# Every setting: docs/reference/pipeline.md. An unknown key is an error that names the nearest known one.
task: {task}
data:
  dataset: {dataset}
  split: {{by: patient_id, test: {test}, validation: 0.15, seed: 7}}
{model}
evaluate:
  primary: {primary}
  interval: {{level: 0.95, resamples: 2000, unit: patient_id, method: logit}}
  subgroups: [site]
  accept: {{}}            # release gate on the lower limit, for example {{{primary}_low: 0.80}}
quick:
  train: {{epochs: {quick}}}
"""

SCANS = """\
model:
  network: anchor_free           # or retinanet
  width: 12
  stages: 3
  side: 10                       # of typical boxes, in packed voxels; stride: 2 for those below ten
  flips: false                   # [0] answers for right and left mirrored as well, where flip_0 taught it
train:
  epochs: 60
  batch_size: 2
  learning_rate: 0.004
  warmup_epochs: 1
  ema: 0.99
  gradient_clip: 5
  augment: [shift, intensity]    # flip_0 mirrors right and left, where that is true
  seed: 7"""
"""For detection in volumes."""

MODELS = {
    "tabular": """\
model:
  network: logistic_regression   # or mlp, gradient_boosting
train:
  epochs: 200
  batch_size: 64
  learning_rate: 0.02
  patience: 30
  seed: 7""",
    "time_to_event": """\
model:
  network: cox                   # or cox_mlp
  l2: 10
train:
  epochs: 30                     # Newton steps, at most
  seed: 7""",
    "detection": """\
model:
  network: anchor_free           # or retinanet
train:
  epochs: 60
  batch_size: 8
  learning_rate: 0.002
  augment: [flip, intensity]
  seed: 7""",
    "classification": """\
model:
  network: small_resnet          # or resnet, densenet, efficientnet
  balanced: true
  untouched: 0.25
train:
  epochs: 30
  batch_size: 128
  learning_rate: 0.003
  weight_decay: 0.05
  warmup_epochs: 2
  ema: 0.99
  gradient_clip: 5
  augment: [flip, rotate, scale, shift, intensity]
  validate_every: 5
  seed: 7""",
    "segmentation": """\
model:
  network: unet                  # what is not set here, `ai4diag plan` shows
train:
  epochs: 100
  batch_size: 2
  learning_rate: 0.002
  weight_decay: 0.02
  warmup_epochs: 1
  ema: 0.99
  gradient_clip: 5
  augment: [rotate, scale, gamma, contrast, noise]
  validate_every: 10
  seed: 7""",
    "timeseries": """\
model:
  network: resnet1d
train:
  epochs: 10
  batch_size: 64
  learning_rate: 0.002
  augment: [scale, wander, noise, shift]
  seed: 7""",
}
WINDOW = "  window: {around: beat, before_s: 0.3, after_s: 0.5}\n"
"""What a data set with annotated beats needs in `data`."""
PRIMARY = {
    "tabular": "auroc",
    "time_to_event": "c_index",
    "detection": "map_50",
    "classification": "auroc",
    "timeseries": "auroc",
    "segmentation": "dice",
}
PRIMARY_OF = {"multiclass": "auroc_macro", "multilabel": "auroc_macro", "ordinal": "kappa_quadratic"}
"""Headline of labels that are not of two classes."""
QUICK = {"tabular": 40, "detection": 5, "classification": 3, "timeseries": 2, "segmentation": 5}

README = """\
# {name}

{title}. {description}

## Intended use

*Not written yet: who asks which question about whom, and what happens with the answer.*

## Trained on

{dataset}: {citation} Licence {licence}.

## Limits

*Not written yet: on whom it was not tested, and how it fails.*

Not for clinical use without the manufacturer's own approval.
"""

HOOKS = '''"""Named functions that replace the task's defaults: see docs/reference/hooks.md. None so far."""
'''


def new_pipeline(workspace: Workspace, name: str, task: str, dataset: str) -> Path:
    """Write `pipelines/<name>/` and the line in `params.yaml`; return the folder.

    Raises:
        UsageError: the name is taken or not a plain name, or the task or data set does not exist or does not fit.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UsageError(f"'{name}' is not a name for a pipeline.", "Use small letters, digits and hyphens: my-model.")
    folder = workspace.root / "pipelines" / name
    if name in workspace.table or folder.exists():
        raise UsageError(f"There is a pipeline '{name}' already, in {folder}.", "Choose another name.")
    if task not in RECIPES:
        raise UsageError(f"There is no task '{task}'. {did_you_mean(task, RECIPES)}")
    if dataset not in workspace.catalogue.names():
        raise UsageError(
            f"There is no data set '{dataset}'. {did_you_mean(dataset, workspace.catalogue.names())}",
            "A new one needs a card: see docs/how-to/add-a-dataset.md.",
        )
    card = workspace.catalogue.card(dataset)
    if card.task != task:
        raise UsageError(f"The data set '{dataset}' is for the task {card.task}, not {task}.")
    labels = card.arrays or card.pictures
    kind = "time_to_event" if card.table is not None and card.table.time is not None else task
    recipe = RECIPE.format(
        task=task,
        dataset=dataset,
        test="official" if card.official_split else 0.2,
        model=(WINDOW if card.signals is not None and card.signals.symbols else "")
        + (SCANS if card.scans is not None else MODELS[kind]),
        primary=PRIMARY_OF.get(labels.labels, PRIMARY[kind]) if labels is not None else PRIMARY[kind],
        quick=QUICK[task],
    )
    readme = README.format(
        name=name,
        title=card.title.rstrip("."),
        description=card.description.strip(),
        dataset=dataset,
        citation=card.citation.rstrip(".") + ".",
        licence=card.licence.id,
    )
    write_text(folder / "pipeline.yaml", recipe)
    write_text(folder / "README.md", readme)
    write_text(folder / "pipeline.py", HOOKS)
    _add_line(workspace.root / "params.yaml", name, task, dataset)
    return folder


def _add_line(path: Path, name: str, task: str, dataset: str) -> None:
    """Add the pipeline to params.yaml; comments and order stay."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap

    yaml = YAML()
    yaml.width = 120
    values = yaml.load(path.read_text(encoding="utf-8"))
    line = CommentedMap(task=task, dataset=dataset)
    line.fa.set_flow_style()
    values["pipelines"][name] = line
    text = StringIO()
    yaml.dump(values, text)
    write_text(path, text.getvalue())
