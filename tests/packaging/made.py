"""Runs of every target with names that must not leave, as a pack is made from them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ai4diag.config.recipe import load_recipe
from ai4diag.evaluation.evaluate import evaluate
from ai4diag.evaluation.gate import check_gate
from ai4diag.evaluation.report import DatasetFacts, PartLine, ReportContext
from ai4diag.masks import encode
from ai4diag.packaging.evidence.pack import Source
from ai4diag.tracking.record import environment
from ai4diag.types import Finding
from tests.conftest import ROOT

SECRETS = ("ZZCASE", "ZZPAT", "ZZSITE", "ZZNOTE", "ZZTRAIN", "/zz/home/ZZUSER", "ZZHOST", "ZZDISK")
"""What a pack must not hold in any byte."""
RUN = "0123456789abcdef0123456789abcdef"
TARGETS = {
    "binary": ("breast-mass", ("benign", "malignant"), "auroc"),
    "multiclass": ("chest-xray", ("cyst", "stone", "tumour"), "auroc_macro"),
    "ordinal": ("chest-xray", ("none", "mild", "severe"), "kappa_quadratic"),
    "multilabel": ("ecg-superclasses", ("mi", "sttc"), "auroc_macro"),
    "masks": ("hippocampus", ("anterior", "posterior"), "dice"),
    "boxes": ("smear-demo", ("red cell", "white cell"), "map_50"),
    "time_to_event": ("breast-cancer-survival", ("censored", "died"), "c_index"),
}


def patients(n: int) -> pd.DataFrame:
    """Two cases of each patient; names that do not sort as they were admitted; a free text and an age."""
    draw = np.random.default_rng(5)
    who = np.repeat(draw.permutation(n), 2)
    return pd.DataFrame(
        {
            "case_id": [f"ZZCASE-{draw.integers(10**6)}-{k}" for k in range(2 * n)],
            "patient_id": [f"ZZPAT {patient}" for patient in who],
            "site": ["ZZSITE-A" if patient % 3 else "ZZSITE-B" for patient in who],
            "note": [f"ZZNOTE seen by Dr. {patient}" for patient in who],
            "age_years": 30.0 + who,
            "sex": ["female" if patient % 2 else "male" for patient in who],
            "fold": 0,
            "part": ["validation" if patient % 4 == 0 else "test" for patient in who],
        }
    )


def predictions(target: str, n: int = 24) -> pd.DataFrame:
    """Predictions of a target, good but not perfect."""
    table, classes = patients(n), TARGETS[target][1]
    draw, size = np.random.default_rng(6), 2 * n
    truth = np.arange(size) % len(classes)
    if target == "binary":
        return table.assign(truth=truth, score=np.clip(0.5 * truth + draw.uniform(0, 0.6, size), 0, 1))
    if target in ("multiclass", "ordinal"):
        chance = np.eye(len(classes))[truth] + draw.uniform(0, 1.6, (size, len(classes)))
        chance /= chance.sum(axis=1, keepdims=True)
        return table.assign(truth=truth, **{f"score_{name}": chance[:, k] for k, name in enumerate(classes)})
    if target == "multilabel":
        for k, name in enumerate(classes):
            there = (np.arange(size) // (k + 1)) % 2
            table[f"truth_{name}"] = there
            table[f"score_{name}"] = np.clip(0.4 * there + draw.uniform(0, 0.6, size), 0, 1)
        return table
    if target == "time_to_event":
        risk = draw.normal(size=size)
        days = np.round(1000 * np.exp(-0.7 * risk + 0.5 * draw.normal(size=size)))
        curves = [np.exp(-np.array([100.0, 500.0, 1000.0]) / (2000 * np.exp(-one))).tolist() for one in risk]
        times = {"survival_days": [[100.0, 500.0, 1000.0]] * size, "horizons_days": [[500.0]] * size}
        event = (draw.uniform(size=size) < 0.6).astype(int)
        return table.assign(time_days=days, event=event, score=risk, survival=curves, **times)
    return table.assign(**(_masks(draw, size) if target == "masks" else _boxes(draw, size)))


def _masks(draw: np.random.Generator, size: int) -> dict:
    truth = np.zeros((6, 6, 6), np.uint8)
    truth[1:3, 1:5, 1:5], truth[3:5, 1:5, 1:5] = 1, 2
    answers = [np.roll(truth, int(draw.integers(0, 2)), axis=int(draw.integers(3))) for _ in range(size)]
    return {
        "truth_runs": [encode(truth).tolist()] * size,
        "runs": [encode(answer).tolist() for answer in answers],
        "shape": [[6, 6, 6]] * size,
        "spacing_mm": [[1.0, 1.0, 2.0]] * size,
    }


def _boxes(draw: np.random.Generator, size: int) -> dict:
    shift = draw.integers(0, 4, size)
    return {
        "size_0": 64,
        "size_1": 64,
        "truth_boxes": [[10.0, 10.0, 20.0, 20.0, 30.0, 30.0, 44.0, 44.0]] * size,
        "truth_labels": [[0, 1]] * size,
        "truth_ignore": [[False, False]] * size,
        "boxes": [[10.0 + s, 10.0, 20.0 + s, 20.0, 30.0, 30.0, 44.0 + s, 44.0, 50.0, 2.0, 60.0, 9.0] for s in shift],
        "labels": [[0, 1, 0]] * size,
        "scores": [[0.9, 0.8 - 0.1 * s, 0.3] for s in shift.tolist()],
    }


def source(target: str, subgroups: tuple[str, ...] = (), n: int = 24, **changes) -> Source:
    """A run of this target, as it was kept on a machine whose folders and user are named ZZ."""
    pipeline, classes, primary = TARGETS[target]
    recipe = load_recipe(ROOT / "pipelines" / pipeline / "pipeline.yaml")
    plan = recipe.evaluate.model_validate(
        {"primary": primary, "interval": {"resamples": 100}, "subgroups": subgroups, "accept": {f"{primary}_low": 0.2}}
    )
    recipe = recipe.model_copy(update={"evaluate": plan})
    table = predictions(target, n)
    found = evaluate(table, task=recipe.task, target=target, classes=classes, plan=plan)
    plain = recipe.model_dump(mode="json", exclude={"quick"})
    context = ReportContext(
        title="Toy run",
        pipeline=pipeline,
        task=recipe.task,
        target=target,
        primary=primary,
        classes=classes,
        recipe=plain,
        dataset=DatasetFacts("toy", "Toy cases", licence="CC0-1.0"),
        purpose=("To be checked.",),
        limits=("It is a toy.",),
        parts=(
            PartLine("train", "ZZSITE-A", 50, 25, (30, *(20 // (len(classes) - 1) for _ in classes[1:]))),
            *(_line(table, "test", site, len(classes)) for site in ("ZZSITE-A", "ZZSITE-B")),
        ),
        findings=(
            Finding(
                "warning", "look-alike", "images/ZZTRAIN-7.png", "ZZTRAIN-7 is ZZPAT 3", "every field once", "Ask."
            ),
            Finding("warning", "look-alike", "images/ZZTRAIN-8.png", "ZZTRAIN-8", "every field once", "Ask."),
        ),
        gate=dict(plan.accept),
        unmet=tuple(check_gate(found.estimates, plan.accept)),
        hashes={"predictions (predictions.parquet)": "ab" * 32, "data set card": "cd" * 32},
        version="0.1.0",
        checked=("No patient is in two parts of a fold.",),
        not_checked=("Other places.",),
        look=2,
    )
    bound = {"git_commit": "f" * 40, "git_dirty": "false", "version": "0.1.0", "seed": "7", "host": "ZZHOST"}
    record = {
        "format": 1,
        "run_id": RUN,
        "pipeline": pipeline,
        "variant": "full",
        "words": f"{pipeline} --set data.folder=/zz/home/ZZUSER/scans --set data.other=/mnt/ZZDISK/ward-3",
        "task": recipe.task,
        "target": target,
        "classes": list(classes),
        "primary": primary,
        "recipe": plain,
        "created": "2026-11-22T19:34:49+00:00",
        "trained": dict(bound),
        "evaluated": dict(bound),
        "look": 2,
        "model": {"model.safetensors": "12" * 32},
        "files": {"predictions.parquet": "34" * 32},
        "somebody": "ZZPAT 1",
    }
    facts = {
        "record": record,
        "context": context,
        "plan": plan,
        "predictions": table,
        "estimates": found.estimates,
        "verdicts": (
            {
                "verdict": "holds",
                "reason": "",
                "when": "2026-11-22T20:00:00+00:00",
                "commit": "f" * 40,
                "compared": 3,
                "identical": 3,
                "tolerance": 0.01,
                "predictions_identical": True,
                "differences": [],
                "not_deterministic": ["read /zz/home/ZZUSER/scans"],
                "machine": {"python": "3.11", "host": "ZZHOST"},
                "version": "0.1.0",
            },
        ),
        "readme": "# toy: Toy run\n\n## Intended use\n\nTo be checked.\n\n## Limits\n\nIt is a toy.\n",
        "card": {"name": "toy", "title": "Toy cases", "licence": {"id": "CC0-1.0", "attribution": ""}},
        "environment": environment(),
        "paths": {"/zz/home/ZZUSER": "~"},
        "machine": ("ZZHOST", "ZZUSER"),
    }
    return Source(**(facts | changes))


def _line(table: pd.DataFrame, part: str, site: str, n_classes: int) -> PartLine:
    rows = table[(table["part"] == part) & (table["site"] == site)]
    label = next((name for name in ("truth", "event") if name in rows), None)
    counts = tuple(0 if label is None else int((rows[label] == number).sum()) for number in range(n_classes))
    return PartLine(part, site, len(rows), int(rows["patient_id"].nunique()), counts)
