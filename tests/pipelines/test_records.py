"""What a run leaves behind: its record, and its line in the ledger of looks at the test part."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import shutil

import pandas as pd
import pytest

from ai4diag.errors import DataError, UsageError
from ai4diag.evaluation.evaluate import evaluate as estimate
from ai4diag.evaluation.report import render
from ai4diag.pipelines import looks, records, stages
from ai4diag.pipelines.workspace import Workspace
from tests.pipelines.test_tracked import evaluate


@pytest.fixture
def pipeline(done):
    return done


@pytest.fixture
def run(evaluated):
    return evaluated[1]


def test_the_record_alone_gives_the_same_estimates_and_the_same_report(pipeline, run):
    found = records.find(pipeline.workspace, run[:6])
    assert found == records.find(pipeline.workspace, "breast-mass")
    again = estimate(
        found.predictions(), task="tabular", target="binary", classes=found.facts["classes"], plan=found.plan
    )
    assert [str(item) for item in again.estimates] == [str(item) for item in found.estimates()]
    assert render(again, found.context()) == (pipeline.out / "report.html").read_text()
    assert found.facts["words"] == "breast-mass --set train.epochs=3 --set evaluate.interval.resamples=100"
    assert found.facts["trained"]["git_commit"] == found.facts["evaluated"]["git_commit"]
    assert len(found.facts["trained"]["git_commit"]) == 40
    assert set(found.facts["model"]) == {path.name for path in (pipeline.out / "model").iterdir()}


def test_a_changed_byte_is_found_when_the_record_is_opened(pipeline, run):
    folder = records.find(pipeline.workspace, run).folder
    for name in ("estimates.json", "context.json", "predictions.parquet"):
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(before[:-2] + bytes([before[-2] ^ 1]) + before[-1:])
        with pytest.raises(DataError, match=f"{name} is damaged"):
            records.find(pipeline.workspace, run)
        (folder / name).unlink()
        with pytest.raises(DataError, match=f"{name} is damaged: found nothing"):
            records.find(pipeline.workspace, run)
        (folder / name).write_bytes(before)
    assert records.find(pipeline.workspace, run).run_id == run


def test_verdicts_stay_with_the_estimates_they_are_about(pipeline, run):
    records.find(pipeline.workspace, run).add_verdict({"verdict": "holds"})
    assert evaluate(pipeline) == run
    assert records.find(pipeline.workspace, run).verdicts() == [{"verdict": "holds"}]
    predictions = pd.read_parquet(pipeline.out / "predictions.parquet")
    predictions["score"] = 1 - predictions["score"]
    stages_facts = stages.prediction_facts(pipeline, stages.open_prepared(pipeline))
    from ai4diag.evaluation.predictions import write_predictions

    write_predictions(pipeline.out / "predictions.parquet", predictions, stages_facts)
    assert evaluate(pipeline) == run
    assert records.find(pipeline.workspace, run).verdicts() == []


def test_the_whole_id_names_a_run_although_others_begin_with_it(pipeline, run):
    folder = pipeline.workspace.root / records.FOLDER
    shutil.copytree(folder / run, folder / f"{run}2")
    assert records.find(pipeline.workspace, run).folder.name == run
    with pytest.raises(UsageError, match="Several runs begin"):
        records.find(pipeline.workspace, run[:8])


def test_a_record_of_another_time_is_one_clear_error(pipeline, run):
    path = pipeline.workspace.root / records.FOLDER / run / "record.json"
    facts = json.loads(path.read_text())
    for content, message in (
        ({name: value for name, value in facts.items() if name != "look"}, "has no look"),
        (facts | {"format": 0}, "has format 0, this version reads 1"),
        ([], "has format none"),
    ):
        path.write_text(json.dumps(content))
        with pytest.raises(DataError, match=message):
            records.find(pipeline.workspace, run)


def test_an_evaluation_without_the_model_names_the_stage_to_run(pipeline, run):
    before = records.find(pipeline.workspace, run)
    shutil.rmtree(pipeline.out / "model")
    with pytest.raises(DataError, match="Run `ai4diag train"):
        evaluate(pipeline)
    assert records.find(pipeline.workspace, run) == before


def test_verdicts_survive_an_evaluation_that_ended_between_two_renames(pipeline, run):
    record = records.find(pipeline.workspace, run)
    record.add_verdict({"verdict": "holds"})
    record.folder.rename(record.folder.with_name(f".{run}.old"))
    with pytest.raises(UsageError, match="has no record"):
        records.find(pipeline.workspace, "breast-mass")
    assert evaluate(pipeline) == run
    assert records.find(pipeline.workspace, run).verdicts() == [{"verdict": "holds"}]


def test_what_cannot_be_found_is_said_with_what_to_do(pipeline):
    (pipeline.out / "run.json").unlink()
    for word, message in (
        ("breast-mass", "no tracked run"),
        ("breast-mess", "Did you mean 'breast-mass'"),
        ("abc", "no run record 'abc'"),
    ):
        with pytest.raises(UsageError, match=message):
            records.find(pipeline.workspace, word)


def test_a_look_is_counted_once_per_model_whoever_repeats_it(pipeline, run):
    (line,) = looks.looks(pipeline)
    assert (line.run, line.variant) == (run, "full")
    assert records.find(pipeline.workspace, run).facts["look"] == 1
    table = pd.read_parquet(pipeline.out / "predictions.parquet")
    other = _with(pipeline, train={"epochs": 4})
    assert [looks.look(item, table, 1) for item in (pipeline, other, pipeline, other)] == [1, 2, 1, 2]
    assert looks.look(_with(pipeline, evaluate={"minimum_n": 3}), table, 1) == 1  # another plan is no other model
    assert looks.look(_with(pipeline, train={"seed": 8}), table, 1) == 3
    assert looks.look(dataclasses.replace(pipeline, seeds=2), table, 1) == 4
    assert looks.look(pipeline, table, 2) == 5  # training makes other numbers
    fewer = table.drop(table.index[table["part"] == "test"][0])
    assert looks.look(other, fewer, 1) == 1  # another test part
    assert looks.look(other, fewer.sample(frac=1, random_state=1), 1) == 1
    assert len(looks.looks(pipeline)) == 6


def test_a_damaged_ledger_is_refused(pipeline):
    (pipeline.folder / "looks.csv").write_text("one,two\n1,2\n")
    with pytest.raises(DataError, match=r"looks\.csv is not a ledger"):
        looks.looks(pipeline)


def _look(root, seed):
    own = Workspace(root).pipeline("breast-mass", overrides=[f"train.seed={seed}"])
    looks.look(own, pd.DataFrame({"case_id": ["a"], "part": ["test"]}), 1)


def test_no_look_is_lost_when_several_processes_write(make_workspace):
    root = make_workspace("breast-mass")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_look, args=(root, seed)) for seed in range(20, 32)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len(looks.looks(Workspace(root).pipeline("breast-mass"))) == 12


def _with(pipeline, **blocks):
    recipe = pipeline.recipe
    changed = {name: getattr(recipe, name).model_copy(update=update) for name, update in blocks.items()}
    return dataclasses.replace(pipeline, recipe=recipe.model_copy(update=changed))
