"""`ai4diag compare`: what its words name, what it prints, and what it refuses."""

from __future__ import annotations

import dataclasses
import json

import pandas as pd
import pytest
from click.testing import CliRunner

from ai4diag.cli import cli
from ai4diag.errors import DataError, UsageError
from ai4diag.pipelines import stages
from ai4diag.pipelines.compare import compare
from ai4diag.pipelines.workspace import Workspace
from tests.conftest import build_workspace
from tests.pipelines.test_tracked import evaluate, quiet, train

PLAN = "task: tabular\nclasses: [benign, malignant]\nevaluate: {primary: auroc, interval: {resamples: 100}}\n"
CHANGES = ["train.epochs=3", "evaluate.interval.resamples=100"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A workspace with one run, trained once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        root = build_workspace(tmp_path_factory.mktemp("compare") / "workspace", "breast-mass")
        pipeline = dataclasses.replace(Workspace(root).pipeline("breast-mass", overrides=CHANGES), variant="")
        stages.prepare(pipeline, notify=quiet)
        train(pipeline)
        return pipeline, evaluate(pipeline)


@pytest.fixture
def pipeline(trained):
    return trained[0]


@pytest.fixture
def vendor(trained, monkeypatch):
    """The run, and a file of another model on the same cases, of which it does not answer three."""
    pipeline, run = trained
    monkeypatch.chdir(pipeline.workspace.root)
    table = pd.read_parquet(pipeline.out / "predictions.parquet")
    table = table[table["part"] == "test"].iloc[3:]
    table["score"] = table["score"].where(table.index % 5 > 0, 0.5)
    table[["case_id", "patient_id", "truth", "score"]].to_csv("vendor.csv", index=False)
    (pipeline.workspace.root / "plan.yaml").write_text(PLAN)
    return run


def test_a_run_by_id_by_pipeline_and_by_the_words_of_its_variant_is_the_same_run(pipeline, vendor):
    words = "breast-mass --set  train.epochs=3 --set evaluate.interval.resamples=100"
    found = compare(["breast-mass", vendor[:6], words], lambda: pipeline.workspace)
    assert [item.run_id for item in found.named] == [vendor] * 3
    assert [item.verdict.kind for item in found.found.comparisons] == ["identical"] * 2
    assert len(found.found.comparisons[0].pairs) >= 14
    assert json.loads(json.dumps(found.as_dict()["sides"]))[1]["run_id"] == vendor


def test_a_file_is_scored_under_the_plan_of_the_run_and_says_what_is_not_known(pipeline, vendor):
    found = compare(["vendor.csv", "breast-mass"], lambda: pipeline.workspace).found
    assert (found.primary, found.classes) == ("auroc", ("benign", "malignant"))
    assert found.left_out == {"A": 0, "B": 3}
    assert found.comparisons[0].pairs[0].difference.value > 0
    text = " ".join(found.notes)
    assert "What A learned from is not known" in text
    assert "operating point: A (undefined: validation predictions are missing" in text


def test_the_command_prints_the_verdict_and_writes_a_page(pipeline, vendor):
    done = CliRunner().invoke(cli, ["compare", "breast-mass", "vendor.csv", "--margin", "0.5", "--out", "page.html"])
    assert done.exit_code == 0, done.output
    assert "168 test cases of 168 patients, answered by all of them" in done.output
    assert "differ by less than the margin 0.5" in done.output
    assert "DeLong: B - A " in done.output
    page = (pipeline.workspace.root / "page.html").read_text()
    assert page.count("<svg") == 1
    assert "differ by less than the margin 0.5" in page
    assert "http" not in page.replace("http-equiv", "")
    printed = CliRunner().invoke(cli, ["compare", "breast-mass", "vendor.csv", "--json"])
    content = json.loads(printed.output)
    assert content["comparisons"][0]["verdict"]["kind"] in ("worse", "no difference shown", "borderline")
    assert content["margin"] is None


def test_files_alone_need_a_plan_but_no_workspace(vendor, pipeline):
    def nowhere():
        raise AssertionError("no workspace is needed")

    with pytest.raises(UsageError, match="--plan"):
        compare(["vendor.csv", "vendor.csv"], nowhere)
    found = compare(["vendor.csv", "vendor.csv"], nowhere, plan=pipeline.workspace.root / "plan.yaml")
    assert found.found.comparisons[0].verdict.kind == "identical"


def test_mistakes_are_named(pipeline, vendor):
    here = lambda: pipeline.workspace  # noqa: E731
    for words, kind, said in (
        (["breast-mass"], UsageError, "expected two or more"),
        (["breast-mass", "breast-mess"], UsageError, "Did you mean 'breast-mass'"),
        (["breast-mass", "breast-mass --quick"], UsageError, "ai4diag run breast-mass --quick"),
        (["breast-mass", "breast-mass 'x"], UsageError, "No closing quotation"),
        (["breast-mass", "nothing.csv"], DataError, "does not exist"),
    ):
        with pytest.raises(kind, match=said):
            compare(words, here)
    plan = pipeline.workspace.root / "plan.yaml"
    plan.write_text(PLAN.replace("[benign, malignant]", "[malignant, benign]"))
    with pytest.raises(UsageError, match="expected binary of malignant, benign"):
        compare(["breast-mass", "vendor.csv"], here, plan=plan)
    table = pd.read_csv("vendor.csv")
    table.assign(truth=1 - table["truth"]).to_csv("vendor.csv", index=False)
    with pytest.raises(DataError, match="do not agree on the truth of 168 of 168 cases"):
        compare(["breast-mass", "vendor.csv"], here)
