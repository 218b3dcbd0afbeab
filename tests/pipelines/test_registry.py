"""Who may be staging or production, and what is written down about it."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
from click.testing import CliRunner

from ai4diag.cli import cli
from ai4diag.errors import Ai4diagError, GateError, UsageError, VerifyError
from ai4diag.pipelines import evidence, records, registry
from ai4diag.pipelines.workspace import Workspace
from ai4diag.tracking.store import connect, locate, quietly
from tests.pipelines.test_tracked import evaluate


@pytest.fixture(scope="module")
def packed(evaluated):
    """The evidence pack of the run."""
    return evidence.build_pack(Workspace(evaluated[0]), evaluated[1])


@pytest.fixture
def pipeline(packed, done):
    """A workspace of its own, with the pack in its usual place and a store whose registry is empty."""
    return done


@pytest.fixture
def run(evaluated):
    return evaluated[1]


def holder(pipeline, alias):
    """The run that MLflow's own client finds under an alias."""
    with quietly():
        return connect(locate(pipeline.workspace.root)).get_model_version_by_alias(pipeline.name, alias).run_id


def changed(pipeline, **plan):
    """The same pipeline under another plan of evaluation, which is another run."""
    recipe = pipeline.recipe
    asked = recipe.evaluate.model_copy(update=plan)
    return dataclasses.replace(pipeline, recipe=recipe.model_copy(update={"evaluate": asked}))


def test_promotion_replacement_and_demotion_are_all_written_down(pipeline, run):
    here = pipeline.workspace
    event = registry.promote(here, run[:6], "staging", by=" A. Person ", reason="first")
    assert (event.version, event.by, event.reason, event.signed_by) == ("1", "A. Person", "first", "")
    assert holder(pipeline, "staging") == run

    second = evaluate(changed(pipeline, minimum_n=3))
    evidence.build_pack(here, second)
    registry.promote(here, second, "staging", by="B. Person")
    assert holder(pipeline, "staging") == second
    registry.promote(here, second, "production", by="B. Person")
    gone = registry.demote(here, "breast-mass", "staging", by="C. Person", reason="missed a case")
    (model,) = registry.models(here)
    assert model.versions == {"1": run, "2": second}
    assert model.aliases == {"production": "2"}
    told = [(item.what, item.alias, item.version, item.by, item.reason) for item in model.events]
    assert told == [
        ("promoted", "staging", "1", "A. Person", "first"),
        ("demoted", "staging", "1", "B. Person", "replaced by version 2"),
        ("promoted", "staging", "2", "B. Person", ""),
        ("promoted", "production", "2", "B. Person", ""),
        ("demoted", "staging", "2", "C. Person", "missed a case"),
    ]
    assert model.events[-1] == gone
    assert len({item.evidence for item in model.events if item.what == "promoted"}) == 2


@pytest.mark.slow
def test_without_sound_evidence_nothing_is_promoted(pipeline, run):
    here = pipeline.workspace
    record = records.find(here, run)
    usual = evidence.usual_folder(here, record)
    other = evaluate(changed(pipeline, minimum_n=3))
    with pytest.raises(UsageError, match="no evidence pack"):
        registry.promote(here, other, "staging", by="A")
    with pytest.raises(VerifyError, match=f"is of run {run}"):
        registry.promote(here, other, "staging", by="A", pack=usual)
    forged = usual.with_name("forged")
    shutil.copytree(usual, forged)
    estimates = json.loads((forged / "estimates.json").read_text())
    estimates[0]["value"] = 0.999
    (forged / "estimates.json").write_text(json.dumps(estimates))
    with pytest.raises(VerifyError, match=r"estimates\.json"):
        registry.promote(here, run, "staging", by="A", pack=forged)
    assert registry.models(here) == []
    with pytest.raises(UsageError, match="Nobody is named"):
        registry.promote(here, run, "staging", by="  ")
    registry.promote(here, run, "staging", by="A", pack=usual.with_suffix(".zip"))  # the zip will do


def test_numbers_that_did_not_come_out_again_are_not_promoted(pipeline, run):
    record = records.find(pipeline.workspace, run)
    record.add_verdict({"verdict": "does not hold", "reason": "auroc (test, all): value was 0.9, is 0.8"})
    with pytest.raises(VerifyError, match=r"its numbers did not hold: auroc .*, is 0\.8\."):
        registry.promote(pipeline.workspace, run, "staging", by="A")
    record.add_verdict({"verdict": "holds", "reason": ""})
    registry.promote(pipeline.workspace, run, "staging", by="A")
    with pytest.raises(UsageError, match="Shorten"):
        registry.demote(pipeline.workspace, "breast-mass", "staging", by="A", reason="x" * 6000)


def test_a_store_that_fails_midway_leaves_alias_and_history_as_they_were(pipeline, run, monkeypatch):
    """Whatever call to MLflow fails, a promotion is either whole or nothing."""
    from mlflow.tracking import MlflowClient

    here = pipeline.workspace
    failing = ("get_run", "create_model_version", "set_registered_model_tag", "set_registered_model_alias")

    def away(*words, **named):
        raise ConnectionError("the server went away")

    for name in failing:
        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, name, away)
            with pytest.raises(Ai4diagError, match="the server went away"):
                registry.promote(here, run, "staging", by="A")
        assert all(not model.events and not model.aliases for model in registry.models(here)), name
        assert name != "get_run" or registry.models(here) == []
    event = registry.promote(here, run, "staging", by="A")
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "delete_registered_model_alias", away)
        with pytest.raises(Ai4diagError, match="the server went away"):
            registry.demote(here, "breast-mass", "staging", by="A", reason="enough")
    (model,) = registry.models(here)
    assert model.events == (event,)
    assert model.aliases == {"staging": event.version}


def test_without_a_gate_that_holds_nothing_is_promoted(pipeline):
    here = pipeline.workspace
    for plan, message in (({"accept": {}}, "asks for no lower limit"), ({"accept": {"auroc_low": 0.9999}}, "0.9999")):
        found = evaluate(changed(pipeline, **plan))
        with pytest.raises(GateError, match=message):
            registry.promote(here, found, "production", by="A")
    assert registry.models(here) == []


@pytest.mark.slow
def test_the_command_says_what_it_did(pipeline, run, monkeypatch):
    monkeypatch.chdir(pipeline.workspace.root)

    def said(*words):
        done = CliRunner().invoke(cli, list(words), catch_exceptions=False)
        assert done.exit_code == 0
        return done.output

    assert "No model was promoted yet" in said("models")
    assert f"version 1 (run {run[:8]}) promoted to staging by A" in said("promote", run, "--to", "staging", "--by", "A")
    assert "version 1 " in said("models")
    assert json.loads(said("models", "--json"))[0]["aliases"] == {"staging": "1"}
    words = ("demote", "breast-mass", "--from", "staging", "--by", "A", "--reason", "enough")
    assert "demoted from staging by A; enough" in said(*words)
    with pytest.raises(UsageError, match="No version of breast-mass is staging"):
        CliRunner().invoke(cli, list(words), catch_exceptions=False)
    with pytest.raises(UsageError, match="Did you mean 'breast-mass'"):
        CliRunner().invoke(cli, ["models", "breast-mess"], catch_exceptions=False)
