"""The four stages on the embedded breast-mass data, in a workspace of their own."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ai4diag.errors import ConfigError, DataError, GateError, UsageError, VerifyError
from ai4diag.evaluation.predictions import read_predictions
from ai4diag.packaging.bundle import load_bundle, verify_bundle, write_bundle
from ai4diag.pipelines import stages
from ai4diag.pipelines.check import check
from ai4diag.pipelines.new import new_pipeline
from ai4diag.pipelines.workspace import Workspace
from ai4diag.tracking import NoTracker

SMALL = ["train.epochs=8", "evaluate.interval.resamples=200"]


def quiet(name, fields):
    """An observer that looks away."""


def run(pipeline):
    stages.prepare(pipeline, notify=quiet)
    stages.train(pipeline, notify=quiet, tracker=NoTracker())
    return stages.evaluate(pipeline, tracker=NoTracker())


@pytest.fixture
def pipeline(make_workspace):
    """breast-mass under its own name, small, in a workspace of its own."""
    root = make_workspace("breast-mass")
    small = Workspace(root).pipeline("breast-mass", overrides=SMALL)
    return dataclasses.replace(small, variant="")


def test_the_way_of_the_data(pipeline):
    evaluation = run(pipeline)
    out = pipeline.out
    table, facts = read_predictions(out / "predictions.parquet")
    assert facts["task"] == "tabular"

    test = table[table.part == "test"]
    by_name = {item.name: item for item in evaluation.estimates if item.part == "test" and item.subgroup == "all"}
    assert by_name["auroc"].value == pytest.approx(roc_auc_score(test.truth, test.score), abs=1e-12)
    assert by_name["auprc"].value == pytest.approx(average_precision_score(test.truth, test.score), abs=1e-12)
    assert by_name["auroc"].low <= by_name["auroc"].value <= by_name["auroc"].high
    assert by_name["auroc"].n == len(test)

    stored = json.loads((out / "estimates.json").read_text())
    keys = ["name", "value", "low", "high", "n", "n_patients", "part", "subgroup"]
    assert all(list(item)[: len(keys)] == keys for item in stored)
    assert stored[0]["name"] == pipeline.recipe.evaluate.primary
    assert not (out / "checkpoint").exists()

    bundle = stages.package(pipeline)
    again = load_bundle(bundle)
    prepared = stages.open_prepared(pipeline)
    rows = prepared.folds()[-1].test
    assert np.array_equal(again.predict(prepared, rows)["score"], test.score)


def test_same_recipe_same_bytes(pipeline):
    run(pipeline)
    names = ["predictions.parquet", "history.json", "estimates.json", "report.html", "model/model.safetensors"]
    first = {name: (pipeline.out / name).read_bytes() for name in names}
    shutil.rmtree(pipeline.out)
    run(pipeline)
    for name in names:
        assert (pipeline.out / name).read_bytes() == first[name], name


def test_evaluate_imports_no_torch(pipeline):
    run(pipeline)
    script = (
        "import sys; from ai4diag.pipelines import stages; from ai4diag.pipelines.workspace import Workspace\n"
        "from ai4diag.tracking import NoTracker; from pathlib import Path\n"
        "stages.evaluate(Workspace(Path('.')).pipeline('breast-mass'), tracker=NoTracker())\n"
        "print([name for name in ('torch', 'monai', 'mlflow', 'lightgbm') if name in sys.modules])"
    )
    root = pipeline.workspace.root
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_gate_that_is_not_met_packages_nothing_and_takes_the_old_bundle_away(pipeline):
    run(pipeline)
    assert stages.package(pipeline).is_dir()
    plan = pipeline.recipe.evaluate.model_copy(update={"accept": {"auroc_low": 1.01}})
    strict = dataclasses.replace(pipeline, recipe=pipeline.recipe.model_copy(update={"evaluate": plan}))
    with pytest.raises(GateError, match="auroc_low"):
        stages.package(strict)
    assert not (pipeline.out / "bundle").exists()


def test_a_bundle_is_whole_or_absent_wherever_its_making_is_killed(pipeline, tmp_path):
    """A process per system call that changes a folder, killed at that call; the bundle that is replaced was whole."""
    run(pipeline)
    bundle = stages.package(pipeline)
    parts = {"model": pipeline.out / "model", "readme": pipeline.folder / "README.md"}
    parts |= {"estimates": pipeline.out / "estimates.json", "metadata": {"task": "tabular"}}

    def write_until(kill_at):
        calls = 0

        def count(event, arguments):
            nonlocal calls
            if event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir"):
                calls += 1
                if calls == kill_at:
                    os._exit(9)

        child = os.fork()
        if child == 0:
            sys.addaudithook(count)
            write_bundle(bundle, **parts)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    for kill_at in range(1, 100):
        ended = write_until(kill_at)
        if ended == 0 or bundle.exists():
            assert verify_bundle(bundle)["task"] == "tabular"
        if ended == 0:
            break
    assert ended == 0
    assert kill_at > 8
    assert sorted(path.name for path in pipeline.out.glob(".bundle*")) == []


def test_estimates_of_an_earlier_model_are_never_packaged_with_a_new_one(pipeline):
    run(pipeline)
    stages.train(pipeline, notify=quiet, tracker=NoTracker())
    with pytest.raises(DataError, match="ai4diag evaluate breast-mass"):
        stages.package(pipeline)


@pytest.mark.parametrize("content", ["{", "[{}]", '{"a": 1}', "[3]", "\xff"])
def test_estimates_that_are_damaged_are_named(pipeline, content):
    path = pipeline.out / "estimates.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"estimates\.json does not hold a list of estimates"):
        stages.package(pipeline)


def test_a_model_that_is_missing_names_the_stage_to_run(pipeline):
    run(pipeline)
    shutil.rmtree(pipeline.out / "model")
    for stage in (lambda: stages.evaluate(pipeline, tracker=NoTracker()), lambda: stages.package(pipeline)):
        with pytest.raises(DataError, match="ai4diag train breast-mass"):
            stage()


def test_every_change_to_a_bundle_is_noticed(pipeline):
    run(pipeline)
    bundle = stages.package(pipeline)
    assert verify_bundle(bundle)["task"] == "tabular"
    for path in sorted(p for p in bundle.rglob("*") if p.is_file() and p.name != "manifest.json"):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(VerifyError, match=path.name):
            verify_bundle(bundle)
        path.write_bytes(content)
    (bundle / "extra.pkl").write_bytes(b"")
    with pytest.raises(VerifyError, match=r"extra\.pkl"):
        verify_bundle(bundle)
    (bundle / "extra.pkl").unlink()
    (bundle / "link").symlink_to("/etc/hostname")
    with pytest.raises(VerifyError, match="link"):
        load_bundle(bundle)


def test_damaged_prepared_cases_stop_training(pipeline):
    stages.prepare(pipeline, notify=quiet)
    path = pipeline.out / "prepared" / "features.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"features\.npy is damaged"):
        stages.train(pipeline, notify=quiet, tracker=NoTracker())


def test_stages_out_of_order_name_the_one_to_run(pipeline):
    with pytest.raises(DataError, match="ai4diag prepare breast-mass"):
        stages.train(pipeline, notify=quiet, tracker=NoTracker())
    with pytest.raises(DataError, match="ai4diag train breast-mass"):
        stages.evaluate(pipeline, tracker=NoTracker())
    with pytest.raises(DataError, match="ai4diag evaluate breast-mass"):
        stages.package(pipeline)


def test_a_killed_training_goes_on_where_it_was(pipeline):
    """The second process resumes after the last checkpoint and ends with the bits of an undisturbed one."""
    stages.prepare(pipeline, notify=quiet)
    stages.train(pipeline, notify=quiet, tracker=NoTracker())
    undisturbed = (pipeline.out / "model" / "model.safetensors").read_bytes()

    class KilledError(Exception):
        pass

    def killer(name, fields):
        if name == "epoch" and fields["epoch"] == 5:
            raise KilledError

    import ai4diag.training.loop as loop

    every_epoch, loop.fit.__kwdefaults__["checkpoint_seconds"] = loop.fit.__kwdefaults__["checkpoint_seconds"], 0.0
    try:
        with pytest.raises(KilledError):
            stages.train(pipeline, notify=killer, tracker=NoTracker())
    finally:
        loop.fit.__kwdefaults__["checkpoint_seconds"] = every_epoch
    events = []
    stages.train(pipeline, notify=lambda name, fields: events.append((name, fields)), tracker=NoTracker())
    assert dict(events)["resumed"]["epoch"] == 4
    assert (pipeline.out / "model" / "model.safetensors").read_bytes() == undisturbed


def test_a_new_pipeline_passes_its_contract(pipeline):
    workspace = pipeline.workspace
    before = (workspace.root / "params.yaml").read_text()
    new_pipeline(workspace, "second-opinion", "tabular", "wdbc")
    after = (workspace.root / "params.yaml").read_text()
    assert after.replace(before.rstrip(), "").strip() == "second-opinion: {task: tabular, dataset: wdbc}"
    found = check(Workspace(workspace.root).pipeline("second-opinion"))
    assert [item.detail for item in found if not item.passed] == []


def test_a_recipe_and_params_that_disagree_are_named(pipeline):
    path = pipeline.workspace.root / "params.yaml"
    path.write_text(path.read_text().replace("dataset: wdbc", "dataset: bccd"))
    with pytest.raises(ConfigError, match=r"params\.yaml says"):
        Workspace(pipeline.workspace.root).pipeline("breast-mass")


def test_a_hook_replaces_the_default_and_a_broken_one_is_named(pipeline):
    path = pipeline.folder / "pipeline.py"
    path.write_text("def preprocess(table):\n    return table.assign(mean_radius=table['mean radius'] * 0)\n")
    assert list(pipeline.hooks()) == ["preprocess"]
    path.write_text("from math import sqrt\n\ndef _own(x):\n    return x\n\ndef preproces(table):\n    return table\n")
    with pytest.raises(ConfigError, match="Did you mean 'preprocess'"):
        stages.prepare(pipeline, notify=quiet)
    path.write_text("\ndef preprocess(table):\n    return table['no such column']\n")
    with pytest.raises(ConfigError, match=r"pipeline\.py, line 3: preprocess raised KeyError: 'no such column'"):
        stages.prepare(pipeline, notify=quiet)
    path.write_text("def preprocess(table:\n")
    with pytest.raises(ConfigError, match=r"pipeline\.py cannot be imported: SyntaxError"):
        pipeline.hooks()


def test_external_predictions_are_scored_under_a_plan(tmp_path):
    from ai4diag.pipelines.external import evaluate_external

    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, 80)
    score = np.clip(truth * 0.3 + rng.random(80) * 0.7, 0, 1)
    names = [f"c{i}" for i in range(80)]
    table = pd.DataFrame({"case_id": names, "patient_id": names, "truth": truth, "score": score})
    table.to_csv(tmp_path / "vendor.csv", index=False)
    (tmp_path / "plan.yaml").write_text(
        "task: tabular\nevaluate: {primary: auroc, operating_point: {threshold: 0.5}}\n"
    )
    estimates = evaluate_external(tmp_path / "vendor.csv", tmp_path / "plan.yaml").evaluation.estimates
    assert estimates[0].name == "auroc"
    assert estimates[0].value == pytest.approx(roc_auc_score(truth, score))
    table.drop(columns="truth").to_csv(tmp_path / "vendor.csv", index=False)
    with pytest.raises(DataError, match="truth"):
        evaluate_external(tmp_path / "vendor.csv", tmp_path / "plan.yaml")


def test_a_workspace_is_found_from_below_and_nowhere_else(pipeline, tmp_path):
    assert Workspace.find(pipeline.folder).root == pipeline.workspace.root
    with pytest.raises(UsageError, match="not inside"):
        Workspace.find(tmp_path)
