"""New files answered by a trained model, on the embedded breast-mass data."""

import dataclasses
import hashlib
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from ai4diag.cli import cli
from ai4diag.errors import DataError, UsageError, VerifyError
from ai4diag.evaluation.predictions import read_predictions
from ai4diag.packaging.bundle import sign_bundle
from ai4diag.packaging.evidence import signing
from ai4diag.pipelines import stages
from ai4diag.pipelines.predict import fingerprint, model_in, model_of, one_view, predict
from ai4diag.pipelines.workspace import Workspace
from ai4diag.tasks.deliver import write_csv
from ai4diag.tracking import NoTracker
from tests.conftest import build_workspace

SMALL = ["train.epochs=8", "evaluate.interval.resamples=100", "evaluate.accept={}"]


def quiet(name, fields):
    """An observer that looks away."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small breast-mass with a bundle, and the file it was made from."""
    root = build_workspace(tmp_path_factory.mktemp("predict") / "workspace", "breast-mass")
    pipeline = Workspace(root).pipeline("breast-mass", overrides=SMALL)
    stages.prepare(pipeline, notify=quiet)
    stages.train(pipeline, notify=quiet, tracker=NoTracker())
    stages.evaluate(pipeline, tracker=NoTracker())
    stages.package(pipeline)
    (raw,) = (root / "data" / "wdbc").glob("*.csv")
    return pipeline, raw


def test_a_file_gets_the_scores_that_its_cases_got_in_the_test_part(trained, tmp_path):
    pipeline, raw = trained
    heard = []
    predict(model_of(pipeline), [raw], tmp_path / "out", lambda name, fields: heard.append((name, fields)))
    answers = pd.read_csv(tmp_path / "out" / "predictions.csv", dtype={"case_id": str})
    known, _ = read_predictions(pipeline.out / "predictions.parquet")
    assert heard[-1] == ("file", {"done": len(answers), "total": len(answers)})
    raw_row = known["case_id"].str.extract(r"(\d+)$")[0].astype(int) - 1
    assert np.allclose(answers["score"].to_numpy()[raw_row], known["score"], atol=1e-6)


def test_the_record_says_which_model_answered_about_what(trained, tmp_path):
    pipeline, raw = trained
    *_, record = predict(model_in(pipeline.out / "bundle"), [raw], tmp_path, quiet)
    said = json.loads(record.read_text())
    assert said["from_verified_bundle"] is True
    assert said["models"] == [json.loads((pipeline.out / "model" / "model.json").read_text())["files"]]
    assert said["inputs"][0]["name"] == raw.name
    assert "not for clinical use" in said["use"]


def test_a_damaged_bundle_does_not_answer(trained, tmp_path):
    pipeline, _ = trained
    bundle = shutil.copytree(pipeline.out / "bundle", tmp_path / "bundle")
    (bundle / "README.md").write_text("changed", encoding="utf-8")
    with pytest.raises(VerifyError, match=r"README\.md"):
        model_in(bundle)


def test_a_signed_bundle_answers_whoever_gives_its_key_and_no_other(trained, tmp_path):
    pipeline, raw = trained
    for name in ("mine", "other"):
        signing.make_keys(tmp_path / name)
    signed = tmp_path / "signed"
    sign_bundle(pipeline.out / "bundle", signed, tmp_path / "mine" / signing.PRIVATE, lambda: "")
    call = ["predict", str(signed), str(raw), "--out", str(tmp_path / "out"), "--public-key"]
    wrong = CliRunner().invoke(cli, [*call, str(tmp_path / "other" / signing.PUBLIC)])
    assert isinstance(wrong.exception, VerifyError)
    assert not (tmp_path / "out").exists()
    right = CliRunner().invoke(cli, [*call, str(tmp_path / "mine" / signing.PUBLIC)])
    assert right.exception is None
    assert (tmp_path / "out" / "predictions.csv").is_file()
    pipeline_named = CliRunner().invoke(cli, ["predict", "breast-mass", str(raw), "--public-key", "key.pem"])
    assert isinstance(pipeline_named.exception, UsageError)


def test_a_bundle_of_an_earlier_training_does_not_answer(trained, tmp_path):
    pipeline, _ = trained
    assert model_of(pipeline).packaged
    shutil.copytree(pipeline.out, tmp_path / "out")
    try:
        again = pipeline.recipe.train.model_copy(update={"epochs": 2})
        recipe = pipeline.recipe.model_copy(update={"train": again})
        stages.train(dataclasses.replace(pipeline, recipe=recipe), notify=quiet, tracker=NoTracker())
        model = model_of(pipeline)
        assert not model.packaged
        assert model.weights == (json.loads((pipeline.out / "model" / "model.json").read_text())["files"],)
    finally:
        shutil.rmtree(pipeline.out)
        shutil.copytree(tmp_path / "out", pipeline.out)


def test_what_cannot_be_read_is_named_and_nothing_is_written(trained, tmp_path):
    pipeline, raw = trained
    with pytest.raises(DataError, match=r"nothing\.csv does not exist"):
        predict(model_of(pipeline), [raw, tmp_path / "nothing.csv"], tmp_path / "out", quiet)
    other = tmp_path / raw.name
    other.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(DataError):
        predict(model_of(pipeline), [other], tmp_path / "out", quiet)
    with pytest.raises(UsageError, match="Two inputs are called"):
        predict(model_of(pipeline), [raw, other], tmp_path / "out", quiet)
    with pytest.raises(UsageError, match="would replace it"):
        predict(model_of(pipeline), [other], tmp_path, quiet)
    assert sorted(path.name for path in tmp_path.iterdir()) == [raw.name]
    assert not (tmp_path / "out").exists()


def test_the_fingerprint_of_a_header_is_that_of_its_data_too(tmp_path):
    header, data, other = (tmp_path / name for name in ("100.hea", "100.dat", "101.dat"))
    for path in (header, data, other):
        path.write_text(path.name)
    before = fingerprint(header)
    other.write_text("changed")
    assert fingerprint(header) == before
    data.write_text("changed")
    assert fingerprint(header) != before
    assert fingerprint(data) == hashlib.sha256(b"changed").hexdigest()


def test_a_csv_holds_no_formula_and_no_word_for_what_is_missing(tmp_path):
    table = pd.DataFrame({"case_id": ["=1+1", "-2", "c"], "remark": ["", None, float("nan")], "score": [0.5, 1e-9, 1]})
    assert write_csv(table, tmp_path).read_text() == "case_id,remark,score\n'=1+1,,0.5\n'-2,,1e-09\nc,,1\n"


def test_a_table_has_no_views_to_leave_out(trained):
    with pytest.raises(UsageError, match="once anyway"):
        one_view(model_of(trained[0]))


def test_seeds_answer_together(trained, tmp_path):
    pipeline, raw = trained
    several = pipeline.workspace.pipeline(
        "breast-mass",
        seeds=2,
        overrides=["model={network: mlp}", "train.epochs=2", "evaluate.accept={}", "evaluate.interval.resamples=100"],
    )
    stages.prepare(several, notify=quiet)
    stages.train(several, notify=quiet, tracker=NoTracker())
    model = model_of(several)
    assert len(model.learners) == 2
    predict(model, [raw], tmp_path / "both", quiet)
    each = []
    for learner, weights in zip(model.learners, model.weights, strict=True):
        alone = type(model)(model.task, (learner,), (weights,))
        predict(alone, [raw], tmp_path / "one", quiet)
        each.append(pd.read_csv(tmp_path / "one" / "predictions.csv")["score"])
    both = pd.read_csv(tmp_path / "both" / "predictions.csv")["score"]
    assert not np.allclose(each[0], each[1], atol=1e-3)
    assert np.allclose(both, (each[0] + each[1]) / 2, atol=2e-6)


def test_the_verb_takes_a_bundle_and_prints_what_it_wrote(trained, tmp_path):
    pipeline, raw = trained
    arguments = ["predict", str(pipeline.out / "bundle"), str(raw), "--out", str(tmp_path / "out")]
    with pytest.raises(UsageError, match="--seeds and --set are for pipelines"):
        CliRunner().invoke(cli, [*arguments, "--seeds", "2"], catch_exceptions=False)
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "predictions.csv" in result.output
    assert "predictions.json" in result.output
