"""Folds and seeds as a variant: every model kept, answers joined, the spread said."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ai4diag.cli.stages import _headline as show_headline
from ai4diag.errors import DataError, UsageError
from ai4diag.evaluation.predictions import read_predictions
from ai4diag.masks import decode, encode
from ai4diag.pipelines import members, stages
from ai4diag.pipelines.predict import model_of
from ai4diag.pipelines.workspace import Workspace
from ai4diag.tasks import task
from ai4diag.tracking import NoTracker

SMALL = ["train.epochs=4", "evaluate.interval.resamples=100", "model={network: mlp, hidden: [8]}"]


def quiet(name, fields):
    """An observer that looks away."""


def test_variants_have_names_of_their_own(make_workspace):
    here = Workspace(make_workspace("breast-mass"))
    plain, both = here.pipeline("breast-mass"), here.pipeline("breast-mass", folds=4, seeds=3, quick=True)
    assert (plain.variant, both.variant) == ("", "quick-folds4-seeds3")
    assert both.words == "breast-mass --quick --folds 4 --seeds 3"
    assert both.out != plain.out
    assert (both.recipe.data.split.test, both.recipe.data.split.folds) == ("folds", 4)
    assert members.seeds(plain) == [7]
    assert members.seeds(both) == [9, 8, 7]
    assert not members.keeps_all(plain)
    assert members.keeps_all(both)


def test_folds_and_seeds_from_end_to_end(make_workspace, capsys):
    pipeline = Workspace(make_workspace("breast-mass")).pipeline("breast-mass", folds=3, seeds=2, overrides=SMALL)
    stages.prepare(pipeline, notify=quiet)
    stages.train(pipeline, notify=quiet, tracker=NoTracker())
    evaluation = stages.evaluate(pipeline, tracker=NoTracker())

    each = pd.read_parquet(pipeline.out / members.SEEDS)
    table, _ = read_predictions(pipeline.out / "predictions.parquet")
    assert list(each["seed"].unique()) == [8, 7]
    own = each[each.seed == 7].reset_index(drop=True)
    other = each[each.seed == 8].reset_index(drop=True)
    assert list(own.case_id) == list(other.case_id) == list(table.case_id)
    assert not np.array_equal(own.score, other.score)
    assert np.allclose(table.score, (own.score + other.score) / 2, rtol=0, atol=1e-15)
    assert set(table.loc[table.part == "test", "fold"]) == {0, 1, 2}

    values = [roc_auc_score(*rows.loc[rows.part == "test", ["truth", "score"]].T.to_numpy()) for rows in (own, other)]
    said = next(note for note in evaluation.notes if "seed alone" in note)
    assert f"auroc {np.mean(values):.3f} on average, from {min(values):.3f} to {max(values):.3f}" in said
    assert f"seed 7: {values[0]:.3f}" in said
    printed = members.spreads(pipeline)
    assert list(printed) == ["2 seeds", "3 folds"]
    assert printed["2 seeds"] == (
        f"{np.mean(values):.3f} on average, from {min(values):.3f} to {max(values):.3f} "
        f"({values[0]:.3f}, {values[1]:.3f})"
    )
    joined = table[table.part == "test"]
    each = [roc_auc_score(rows.truth, rows.score) for _, rows in joined.groupby("fold")]
    assert printed["3 folds"].startswith(f"{np.mean(each):.3f} on average, from {min(each):.3f}")
    show_headline(pipeline)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"breast-mass ({pipeline.variant}): auroc {evaluation.estimates[0].value:.3f} [")
    assert lines[1:3] == [f"  2 seeds     {printed['2 seeds']}", f"  3 folds     {printed['3 folds']}"]
    assert "2 trainings that differ" in (pipeline.out / "report.html").read_text()
    assert evaluation.estimates[0].value == pytest.approx(
        roc_auc_score(*table.loc[table.part == "test", ["truth", "score"]].T.to_numpy()), abs=1e-12
    )

    folders = members.folders(pipeline)
    assert len(folders) == 8
    prepared = stages.open_prepared(pipeline)
    fold = next(fold for fold in prepared.folds() if fold.number == 1)
    learner = task("tabular").load(members.folder(pipeline, 8, fold))
    rows = other[(other.fold == 1) & (other.part == "test")]
    assert np.array_equal(learner.predict(prepared, fold.test)["score"], rows.score)
    kept = (pipeline.out / "model" / "model.safetensors").read_bytes()
    final = members.folder(pipeline, 7, prepared.folds()[-1])
    assert kept == (final / "model.safetensors").read_bytes()
    history = json.loads((pipeline.out / "history.json").read_text())
    assert [(item["seed"], item["fold"]) for item in history] == [
        (seed, fold) for seed in (8, 7) for fold in (0, 1, 2, -1)
    ]


def test_a_spread_in_words():
    assert members.said([0.5, 0.25, float("nan")]) == (
        "0.375 on average, from 0.250 to 0.500, undefined in 1 (0.500, 0.250, nan)"
    )
    assert members.said([float("nan")]) == "undefined"
    assert members.said([0.5] * 11) == "0.500 on average, from 0.500 to 0.500"


def test_label_maps_of_seeds_are_joined_voxel_by_voxel():
    maps = {9: [0, 0, 1, 2], 8: [0, 1, 1, 2], 7: [1, 1, 1, 0]}
    tables = {seed: pd.DataFrame({"case_id": ["a"], "runs": [encode(np.array(map_))]}) for seed, map_ in maps.items()}
    table = members.joined(tables, ["runs"], 2)
    assert decode(table["runs"][0], (4,)).tolist() == [0, 1, 1, 2]
    assert table["case_id"].tolist() == ["a"]


class KilledError(Exception):
    """Ends a training from outside."""


def killed_at_the_second_fold(name, fields):
    """An observer in whose presence a training does not get far."""
    if name == "fold" and fields["fold"] == 2:
        raise KilledError


def test_models_of_a_killed_training_do_not_answer_for_all(make_workspace):
    here = Workspace(make_workspace("breast-mass"))
    alone = "model={network: mlp, hidden: [300, 80]}"  # too large to be trained together
    pipeline = here.pipeline("breast-mass", seeds=2, overrides=[*SMALL[:2], alone, "train.epochs=1"])
    stages.prepare(pipeline, notify=quiet)
    with pytest.raises(KilledError):
        stages.train(pipeline, notify=killed_at_the_second_fold, tracker=NoTracker())
    with pytest.raises(DataError, match="ai4diag train breast-mass --seeds 2"):
        model_of(pipeline)
    stages.train(pipeline, notify=quiet, tracker=NoTracker())
    first = model_of(pipeline).weights
    assert len(first) == 2
    assert not (pipeline.out / "checkpoint").exists()
    with pytest.raises(KilledError):
        stages.train(pipeline, notify=killed_at_the_second_fold, tracker=NoTracker())
    assert model_of(pipeline).weights == first  # those that the estimates are of


def test_without_folds_seeds_or_predictions_there_is_no_spread(make_workspace):
    pipeline = Workspace(make_workspace("breast-mass")).pipeline("breast-mass", overrides=SMALL)
    assert members.spreads(pipeline) == {}  # nothing is trained
    stages.prepare(pipeline, notify=quiet)
    stages.train(pipeline, notify=quiet, tracker=NoTracker())
    assert members.spreads(pipeline) == {}


def test_several_seeds_have_no_bundle(make_workspace):
    pipeline = Workspace(make_workspace("breast-mass")).pipeline("breast-mass", seeds=2)
    with pytest.raises(UsageError, match="a bundle holds one model"):
        stages.package(pipeline)
