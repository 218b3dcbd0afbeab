"""Pipelines of images with labels of every kind, from raw files to a bundle that is asked about new ones."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from ai4diag.evaluation.predictions import read_predictions
from ai4diag.files import sha256_file
from ai4diag.pipelines import stages
from ai4diag.pipelines.new import new_pipeline
from ai4diag.pipelines.predict import model_of, predict
from ai4diag.pipelines.workspace import Workspace
from ai4diag.tracking import NoTracker
from tests.tasks.classification.cases import CLASSES, images_of

PRIMARY = {
    "binary": "auroc",
    "multiclass": "auroc_macro",
    "multilabel": "auroc_macro",
    "ordinal": "kappa_quadratic",
}


def add_data(root, labels, size=(8, 8)):
    """Write a card and an `.npz` with MedMNIST's keys to the workspace."""
    rng = np.random.default_rng(4)
    content = {}
    for part, count in (("train", 96), ("val", 36), ("test", 48)):
        images, shows = images_of(labels, count, size, 1, rng)
        truth = shows.astype(np.uint8) if labels == "multilabel" else shows.argmax(axis=1).astype(np.uint8)[:, None]
        content |= {f"{part}_images": images[:, 0], f"{part}_labels": truth}
    folder = root / "data" / "toy"
    folder.mkdir(parents=True)
    np.savez(folder / "toy.npz", **content)
    card = {
        "name": "toy",
        "title": "Toy images",
        "description": "For tests.",
        "task": "classification",
        "origin": {"page": "https://example.org"},
        "citation": "none",
        "licence": {"id": "CC0-1.0", "commercial": True, "attribution": "none"},
        "terms": "none",
        "files": [{"path": "toy.npz", "sha256": sha256_file(folder / "toy.npz")}],
        "classes": CLASSES[labels],
        "arrays": {"files": {"SIZE": "toy.npz"}, "labels": labels, "dimensions": len(size)},
        "official_split": {"source": "toy", "arrays": True},
    }
    (root / "datasets" / "toy.yaml").write_text(json.dumps(card).replace('"SIZE"', "28"))


@pytest.mark.parametrize(
    ("labels", "size"), [("binary", (8, 8)), ("multiclass", (6, 6, 6)), ("multilabel", (8, 8)), ("ordinal", (8, 8))]
)
def test_a_new_pipeline_goes_from_raw_files_to_a_bundle(make_workspace, tmp_path, labels, size):
    root = make_workspace("chest-xray")
    add_data(root, labels, size)
    new_pipeline(Workspace(root), "toy-model", "classification", "toy")
    small = ["model.width=4", "model.blocks=1", "train.epochs=6", "train.batch_size=16", "train.warmup_epochs=0"]
    small += ["train.learning_rate=0.01", "train.augment=[shift]", "train.ema=0", "evaluate.interval.resamples=100"]
    pipeline = dataclasses.replace(Workspace(root).pipeline("toy-model", overrides=small), variant="")
    assert pipeline.recipe.evaluate.primary == PRIMARY[labels]
    prepared = stages.prepare(pipeline, notify=lambda name, fields: None)
    assert prepared.target == labels
    stages.train(pipeline, notify=lambda name, fields: None, tracker=NoTracker())
    table, facts = read_predictions(pipeline.out / "predictions.parquet")
    assert facts.get("target", "binary") == labels
    assert table["part"].value_counts().to_dict() == {"test": 48, "validation": 36}
    evaluation = stages.evaluate(pipeline, tracker=NoTracker())
    headline = evaluation.estimates[0]
    assert (headline.name, headline.n) == (PRIMARY[labels], 48)
    assert headline.value > 0.8
    html = (pipeline.out / "report.html").read_text()
    assert all(name in html for name in CLASSES[labels])
    stages.package(pipeline)
    np.savez(tmp_path / "new.npz", images=prepared.images[:5, 0])
    written = predict(model_of(pipeline), [tmp_path / "new.npz"], tmp_path / "answers", lambda name, fields: None)
    answers = pd.read_csv(written[0])
    assert len(answers) == 5
    scores = [name for name in answers if name.startswith("score")]
    assert len(scores) == (1 if labels == "binary" else len(CLASSES[labels]))
    assert answers[scores].to_numpy().min() >= 0


def test_parts_of_the_data_table_count_findings(make_workspace):
    from ai4diag.pipelines.report_context import _class_counts

    root = make_workspace("chest-xray")
    add_data(root, "multilabel")
    new_pipeline(Workspace(root), "toy-model", "classification", "toy")
    prepared = stages.prepare(Workspace(root).pipeline("toy-model"), notify=lambda name, fields: None)
    stored = np.load(root / "data" / "toy" / "toy.npz")
    expected = sum(stored[f"{part}_labels"].sum(axis=0) for part in ("train", "val", "test"))
    assert _class_counts(prepared).sum(axis=0).tolist() == expected.tolist()
