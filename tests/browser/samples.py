"""A report of every target from small made-up predictions, with what is hard to lay out: long names, many classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ai4diag.config.plan import Evaluate
from ai4diag.evaluation.evaluate import evaluate
from ai4diag.evaluation.report import DatasetFacts, PartLine, ReportContext, Training, render
from ai4diag.masks import encode
from ai4diag.types import Finding

FINDINGS = (
    "atelectasis", "cardiomegaly", "consolidation", "oedema", "effusion", "emphysema", "fibrosis", "hernia",
    "infiltration", "mass", "nodule", "pleural thickening of any cause", "pneumonia", "pneumothorax",
)  # fmt: skip
"""Fourteen, as in the large public sets of chest radiographs."""
DAYS, HORIZONS = np.array([180.0, 365.0, 730.0, 1096.0]), np.array([365.0, 1096.0])


def report(table: pd.DataFrame, task: str, target: str, classes: Sequence[str], primary: str, **change: Any) -> str:
    """Return the report of a table of predictions.

    Args:
        table: the predictions.
        task, target, classes: what was predicted.
        primary: name of the headline estimate.
        change: fields of the context; `plan` holds further fields of the plan.
    """
    settings = {"primary": primary, "interval": {"resamples": 100}, "subgroups": ("site",), "minimum_n": 5}
    plan = Evaluate.model_validate({**settings, **change.pop("plan", {})})
    found = evaluate(table, task=task, target=target, classes=classes, plan=plan)
    tested = table[table["part"] == "test"]
    parts = [
        PartLine(part, site, len(rows), rows["patient_id"].nunique(), tuple(len(rows) + k for k in range(len(classes))))
        for part in ("train", "test")
        for site, rows in tested.groupby("site")
    ]
    waived = Finding(
        "warning", "duplicate-across-parts", "images", "2 pictures are alike", "none", "Keep one.", ("a", "b"),
        "both show the same phantom, which is no patient",
    )  # fmt: skip
    facts: dict[str, Any] = {
        "title": f"What does this {target} model know about a patient it has never seen?",
        "pipeline": f"sample-{target}",
        "task": task,
        "target": target,
        "primary": primary,
        "classes": tuple(classes),
        "recipe": {
            "task": task,
            "data": {"split": {"by": "patient_id"}},
            "train": {"parts": ["train"], "epochs": 30},
            "evaluate": plan.model_dump(mode="json"),
        },
        "dataset": DatasetFacts(
            "sample", "Sample", "Made up for a test.", "https://example.org/a/page/with/a/rather/long/address.html",
            "Nobody: Nothing. Journal of Made-up Data, 2020.", "CC0-1.0", pitfalls=("It is made up.",),
        ),
        "purpose": ("Question. What is the matter? For tests.",),
        "limits": ("It is made up.",),
        "parts": tuple(parts),
        "findings": (Finding("info", "odd", "row 3", "an age of 200", "at most 110 years", "Correct it."), waived),
        "training": Training(tuple(range(1, 31)), tuple(1 / n for n in range(1, 31)), tuple(n / 40 for n in range(30))),
        "gate": dict(plan.accept),
        "hashes": {"recipe": "ab" * 32, "predictions (predictions.parquet)": "cd" * 32},
        "version": "0.0",
        "checked": ("Something.",),
        "not_checked": ("Everything else.",),
        "look": 3,
    }  # fmt: skip
    return render(found, ReportContext(**{**facts, **change}))


def _frame(count: int, sites: Sequence[str] = ("north", "south"), seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    number = np.arange(count)
    return pd.DataFrame(
        {
            "case_id": [f"visit-{n:04d}" for n in number],
            "patient_id": [f"p{n // 2:04d}" for n in number],
            "site": rng.choice(np.array(sites, object), count),
            "fold": 0,
            "part": np.where(number % 6 < 2, "validation", "test"),
        }
    )


def _picture(case_id: str) -> tuple[np.ndarray, tuple[float, float]]:
    rng = np.random.default_rng(sum(map(ord, case_id)))
    return rng.integers(0, 256, (48, 64, 3), dtype=np.uint8), (0.5, 0.5)


def binary() -> str:
    """Two classes, with pictures, long names of cases, and a release gate that is not met."""
    table = _frame(150, ("Universitätsklinikum Nord, Abteilung für Radiologie", "south", "east"))
    rng = np.random.default_rng(2)
    table["case_id"] += "-" + "0123456789abcdef" * 4
    table["truth"] = rng.integers(0, 2, len(table))
    table["score"] = np.clip(0.3 + 0.35 * table["truth"] + rng.normal(0, 0.2, len(table)), 0.01, 0.99)
    change: dict[str, Any] = {
        "unmet": ("auroc_low: 0.8 is below 0.99",),
        "plan": {"accept": {"auroc_low": 0.99}, "prevalence": 0.01},
    }
    change["plan"]["recalibrate"] = "platt"
    return report(table, "classification", "binary", ("benign", "malignant"), "auroc", picture=_picture, **change)


def _steps(target: str, classes: Sequence[str], primary: str) -> str:
    table = _frame(240)
    rng = np.random.default_rng(3)
    table["truth"] = rng.integers(0, len(classes), len(table))
    score = rng.random((len(table), len(classes))) + 1.2 * np.eye(len(classes))[table["truth"]]
    score /= score.sum(axis=1, keepdims=True)
    table = table.assign(**{f"score_{name}": score[:, k] for k, name in enumerate(classes)})
    return report(table, "classification", target, classes, primary, picture=_picture)


def multiclass() -> str:
    """Twelve classes with names of four digits."""
    return _steps("multiclass", [str(1000 + 7 * k) for k in range(12)], "auroc_macro")


def ordinal() -> str:
    """Five grades."""
    return _steps("ordinal", ["none", "mild", "moderate", "severe", "proliferative"], "kappa_quadratic")


def multilabel() -> str:
    """Fourteen findings and twenty sites."""
    table = _frame(600, [f"hospital {n}" for n in range(20)])
    rng = np.random.default_rng(4)
    shows = rng.random((len(table), len(FINDINGS))) < 0.25
    for k, name in enumerate(FINDINGS):
        table[f"truth_{name}"] = shows[:, k].astype(int)
        table[f"score_{name}"] = np.clip(0.35 * shows[:, k] + 0.6 * rng.random(len(table)), 0, 1)
    return report(table, "classification", "multilabel", FINDINGS, "auroc_macro", picture=_picture)


def _boxes(dimensions: int, classes: Sequence[str], side: int, **change: Any) -> str:
    table = _frame(30)
    rng = np.random.default_rng(5)
    lines = []
    for _ in range(len(table)):
        low = rng.uniform(0, 0.7 * side, (5, dimensions))
        truth = np.hstack([low, low + rng.uniform(0.1 * side, 0.25 * side, (5, dimensions))])
        labels, kept = rng.integers(0, len(classes), 5), rng.random(5) < 0.8
        boxes = np.vstack([truth[kept], [[1.0] * dimensions + [0.1 * side] * dimensions]])
        called = np.append(labels[kept], 0)
        lines.append(
            {f"size_{axis}": side for axis in range(dimensions)}
            | {"truth_boxes": truth.ravel(), "truth_labels": labels, "truth_ignore": np.arange(5) == 4}
            | {"boxes": boxes.ravel(), "labels": called, "scores": rng.uniform(0.2, 1, len(boxes))}
        )
    table = pd.concat([table, pd.DataFrame(lines)], axis=1)
    return report(table, "detection", "boxes", classes, "map_50", **change)


def boxes() -> str:
    """Boxes in images, of eight classes."""
    names = ["red cell", "platelet", *(f"white cell with a long name, type {n}" for n in range(6))]
    return _boxes(2, names, 100, picture=_picture)


def boxes_in_volumes() -> str:
    """Boxes in volumes."""

    def scan(case_id: str) -> tuple[np.ndarray, tuple[float, ...], tuple[float, ...]]:
        volume, _ = _picture(case_id)
        return np.repeat(volume[:40, :40, :1], 20, axis=2), (1.0, 1.0, 0.5), (1.0, 1.0, 2.0)

    return _boxes(3, ["nodule"], 40, scan=scan)


def masks() -> str:
    """Label maps of five structures."""
    classes = ["left hippocampus, anterior part", "left hippocampus, posterior part", "tail", "amygdala", "rest"]
    table = _frame(24)
    rng = np.random.default_rng(6)
    lines = []
    for _ in range(len(table)):
        truth, answer = np.zeros((24, 20, 16), np.uint8), np.zeros((24, 20, 16), np.uint8)
        for label in range(1, 6):
            at, shift = 4 * (label - 1) + 2, int(rng.integers(0, 2))
            truth[at : at + 3, 4:12, 4:12] = label
            answer[at : at + 3, 4 + shift : 12 + shift, 4:12] = label
        spacing = np.array([1.0, 1.0, 1.5])
        lines.append({"truth_runs": encode(truth), "runs": encode(answer), "spacing_mm": spacing})
        lines[-1]["shape"] = np.array(truth.shape)
    table = pd.concat([table, pd.DataFrame(lines)], axis=1)

    def volume(case_id: str) -> np.ndarray:
        return np.random.default_rng(len(case_id)).integers(0, 256, (24, 20, 16), dtype=np.uint8)

    return report(table, "segmentation", "masks", classes, "dice", volume=volume)


def time_to_event() -> str:
    """Deaths within three years."""
    table = _frame(240)
    rng = np.random.default_rng(7)
    risk = rng.normal(0, 1, len(table))
    ends = rng.exponential(1200 * np.exp(-risk))
    stays = rng.uniform(300, 1500, len(table))
    survival = np.exp(-DAYS[None] / (1200 * np.exp(-risk[:, None])))
    table = table.assign(time_days=np.minimum(ends, stays), event=(ends <= stays).astype(int), score=risk)
    table["survival"] = list(survival)
    table["survival_days"], table["horizons_days"] = [DAYS] * len(table), [HORIZONS] * len(table)
    return report(table, "tabular", "time_to_event", ("alive", "died"), "c_index")


def foreign() -> str:
    """Predictions that were made elsewhere: hardly anything is known of the model, and nothing of the sites."""
    table = _frame(40)
    table["truth"] = np.arange(40) % 2
    table["score"] = np.random.default_rng(8).random(40)
    unknown = dict.fromkeys(("purpose", "limits", "parts", "findings", "checked", "not_checked"), ())
    facts = {"training": None, "hashes": {}, "look": 0, "outside": "vendor.csv", "dataset": DatasetFacts("", "vendor")}
    recipe = {"task": "tabular", "evaluate": {"interval": {"level": 0.95, "unit": "patient_id"}}}
    return report(table, "tabular", "binary", ("no", "yes"), "auroc", **unknown, **facts, recipe=recipe)


SAMPLES = {
    "binary": binary,
    "multiclass": multiclass,
    "ordinal": ordinal,
    "multilabel": multilabel,
    "boxes": boxes,
    "boxes in volumes": boxes_in_volumes,
    "masks": masks,
    "time_to_event": time_to_event,
    "foreign": foreign,
}
"""What makes the report of each target, and that of foreign predictions."""
