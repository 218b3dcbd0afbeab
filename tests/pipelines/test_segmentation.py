"""A segmentation pipeline from raw files to a bundle that answers a new file, in a workspace of its own."""

import json
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from ai4diag.cli import main
from ai4diag.errors import UsageError
from ai4diag.evaluation.predictions import read_predictions
from ai4diag.files import read_json
from ai4diag.masks import decode
from ai4diag.pipelines import members, stages
from ai4diag.pipelines.plan import plan_of
from ai4diag.pipelines.predict import model_of, one_view, predict
from ai4diag.pipelines.workspace import Workspace
from ai4diag.tracking import NoTracker
from tests.data.volume_helpers import toy_volumes

RECIPE = """
task: segmentation
data: {dataset: toy, split: {test: 0.3, validation: 0.3}}
model: {patch: [16, 16, 16], width: 8, stages: 2, flips: [0]}
train: {epochs: 12, batch_size: 2, learning_rate: 0.01, validate_every: 12, augment: {flip: [0.5, 0, 0], rotate: 5}}
evaluate: {primary: dice, interval: {resamples: 100}, accept: {}}
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    root = tmp_path_factory.mktemp("workspace")
    raw, card = toy_volumes(root / "source", 10)
    (root / "datasets").mkdir()
    shutil.copy(card.folder / "toy.yaml", root / "datasets")
    shutil.copytree(raw, root / "mirror" / "toy")
    (root / "pipelines" / "toy").mkdir(parents=True)
    (root / "pipelines" / "toy" / "pipeline.yaml").write_text(RECIPE)
    (root / "pipelines" / "toy" / "README.md").write_text("# toy: where is the ball?\n\n## Intended use\n\nTests.\n")
    (root / "params.yaml").write_text("pipelines:\n  toy: {task: segmentation, dataset: toy}\n")
    return Workspace(root)


@pytest.fixture(scope="module")
def pipeline(workspace):
    found = workspace.pipeline("toy")
    stages.prepare(found, mirror=str(workspace.root / "mirror"), notify=lambda name, fields: None)
    return found


def test_the_plan_is_printed_before_training(pipeline, monkeypatch, capsys):
    monkeypatch.chdir(pipeline.workspace.root)
    for words in (["plan", "toy"], ["plan", "toy", "--json"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
    page, _, machine = capsys.readouterr().out.partition("{")
    assert "16 x 16 x 16 voxels  (recipe)" in page
    assert json.loads("{" + machine)["plan"] == json.loads(json.dumps(plan_of(pipeline).plan))


def test_other_tasks_have_no_plan(repository):
    with pytest.raises(UsageError, match="no plan"):
        plan_of(Workspace(repository).pipeline("breast-mass"))


def test_from_raw_files_to_a_bundle_that_answers_new_files(pipeline, tmp_path, monkeypatch):
    stages.train(pipeline, notify=lambda name, fields: None, tracker=NoTracker())
    evaluation = stages.evaluate(pipeline, tracker=NoTracker())
    assert evaluation.estimates[0].name == "dice"
    assert evaluation.estimates[0].value > 0.6
    html = (pipeline.out / "report.html").read_text()
    assert html.count('<svg class="overlay"') == 3  # the three test cases
    assert "ball voxels" in html
    stages.package(pipeline)
    assert read_json(pipeline.out / "bundle" / "model" / "model.json")["plan"]["patch"] == [16, 16, 16]
    path = pipeline.workspace.data / "toy" / "images" / "v02.nii.gz"
    monkeypatch.chdir(pipeline.workspace.root)
    with pytest.raises(SystemExit) as ended:
        main(["predict", "toy", str(path), "--out", str(tmp_path)])
    assert ended.value.code == 0
    found, given = nib.load(tmp_path / "v02.nii.gz"), nib.load(path)
    np.testing.assert_allclose(found.affine, given.affine)
    truth = np.asarray(nib.load(str(path).replace("images", "labels")).dataobj)
    both = ((np.asarray(found.dataobj) == 5) & (truth == 5)).sum()
    assert 2 * both / ((np.asarray(found.dataobj) == 5).sum() + (truth == 5).sum()) > 0.7
    assert {file.name for file in tmp_path.iterdir()} == {"predictions.csv", "v02.nii.gz", "predictions.json"}


def test_seeds_vote_and_without_augmentation_each_case_is_looked_at_once(workspace, tmp_path):
    several = workspace.pipeline("toy", seeds=2, overrides=["train.epochs=2"])
    stages.prepare(several, mirror=str(workspace.root / "mirror"), notify=lambda name, fields: None)
    stages.train(several, notify=lambda name, fields: None, tracker=NoTracker())
    evaluation = stages.evaluate(several, tracker=NoTracker())
    assert any("seed 7:" in note and "seed 8:" in note for note in evaluation.notes)
    table, _ = read_predictions(several.out / "predictions.parquet")
    each = pd.read_parquet(several.out / members.SEEDS)
    one, two = (each[each["seed"] == seed].reset_index(drop=True) for seed in (7, 8))
    differ = 0
    for line, left, right in zip(table.itertuples(), one["runs"], two["runs"], strict=True):
        joined, first, second = (decode(runs, line.shape) for runs in (line.runs, left, right))
        differ += int((first != second).sum())
        assert np.array_equal(joined, np.minimum(first, second))  # of two that disagree the background wins
    assert differ

    model, passes = model_of(several), []
    path = workspace.data / "toy" / "images" / "v02.nii.gz"
    for learner in model.learners:
        learner.network.register_forward_hook(lambda *_: passes.append(1))
    predict(model, [path], tmp_path / "twice", lambda name, fields: None)
    twice = len(passes)
    predict(one_view(model), [path], tmp_path / "once", lambda name, fields: None)
    assert twice == 2 * (len(passes) - twice) > 0
