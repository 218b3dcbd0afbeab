"""Runs that are verified in a clean checkout of their commit, on breast-mass in a git repository of its own."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from ai4diag.cli import _guarded, cli
from ai4diag.data import catalogue
from ai4diag.errors import CannotVerifyError, DataError, MachineError, VerifyError
from ai4diag.pipelines import records, stages, tracked
from ai4diag.pipelines.checkout import FOLDER, LOCK, clean_checkout, head
from ai4diag.pipelines.rerun import link_loose_file
from ai4diag.pipelines.verify import _origin, _packages, _predictions, _tolerance, verify_here, verify_run
from ai4diag.pipelines.workspace import Workspace
from ai4diag.tracking.query import list_runs, show_run
from tests.conftest import build_workspace, git

RECIPE = Path("pipelines") / "breast-mass" / "pipeline.yaml"


def quiet(*said):
    """An observer that looks away."""


def run(pipeline):
    """Run a pipeline with tracking; return the id of its run."""
    stages.prepare(pipeline, notify=quiet)
    with tracked.training(pipeline) as tracker:
        stages.train(pipeline, notify=quiet, tracker=tracker)
    with tracked.evaluation(pipeline) as tracker:
        stages.evaluate(pipeline, tracker=tracker)
    return tracker.run_id


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A workspace whose breast-mass was run and committed; its raw file is one that cannot be made again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        root = build_workspace(tmp_path_factory.mktemp("made") / "workspace", "breast-mass")
        workspace = Workspace(root)
        catalogue.get(workspace.catalogue.card("wdbc"), workspace.data)
        card = root / "datasets" / "wdbc.yaml"
        card.write_text(card.read_text().replace("embedded: breast_cancer\n", ""))
        recipe = (root / RECIPE).read_text()
        assert "train: {epochs: 40}" in recipe
        (root / RECIPE).write_text(recipe.replace("train: {epochs: 40}", "train: {epochs: 3}"))
        git(root, "commit", "--quiet", "--all", "--message", "small")
        run(workspace.pipeline("breast-mass", quick=True))
        return root


@pytest.fixture
def workspace(made, tmp_path, monkeypatch):
    """A copy of it to spoil; runs are tracked in the copy."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = tmp_path / "workspace"
    shutil.copytree(made, root)
    return Workspace(root)


@pytest.fixture
def record(workspace):
    return records.find(workspace, tracked.run_id(workspace.pipeline("breast-mass", quick=True)))


def with_facts(record, **facts):
    """Return a record with other facts."""
    return dataclasses.replace(record, facts={**record.facts, **facts})


def worktrees(root):
    words = ["git", "-C", str(root), "worktree", "list", "--porcelain"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.count("worktree ")


def clean(root):
    return worktrees(root) == 1 and not list((root / FOLDER).glob("*/"))


def test_a_run_holds_also_after_its_recipe_was_changed(made, workspace, record):
    root, said = workspace.root, []
    commit = head(root)
    (root / RECIPE).write_text((root / RECIPE).read_text().replace("train: {epochs: 3}", "train: {epochs: 30}"))
    git(root, "commit", "--quiet", "--all", "--message", "another recipe")
    (root / RECIPE).write_text("not even a recipe")
    ledger = (root / "pipelines" / "breast-mass" / "looks.csv").read_text()

    verdict, kept = verify_run(workspace, record, mirror=None, say=said.append)
    assert (verdict.verdict, verdict.reason, verdict.differences) == ("holds", "", ())
    assert verdict.identical == verdict.compared == len(record.estimates()) > 10
    assert verdict.predictions_identical
    assert verdict.weights_identical
    assert verdict.commit == verdict.machine["git_commit"] == commit
    assert verdict.machine["git_dirty"] == "false"
    assert verdict.notes == verdict.not_deterministic == ()
    assert any("epoch 3/3" in line for line in said)

    assert records.find(workspace, record.run_id).verdicts() == [verdict.as_dict()]
    assert "in mlruns" in kept
    tags = show_run(root, record.run_id).tags
    assert (tags["verified"], tags["verified_at"]) == ("holds", verdict.when)
    stored = next((made / "mlruns" / "artifacts").rglob("verification.json"))
    assert json.loads(stored.read_text()) == [verdict.as_dict()]

    assert (root / "pipelines" / "breast-mass" / "looks.csv").read_text() == ledger
    assert [run.run_id for run in list_runs(root)] == [record.run_id]
    assert clean(root)


@pytest.mark.parametrize(
    ("evaluated", "trained", "reason"),
    [
        ({"git_dirty": "true"}, {}, "At its training and its evaluation the checkout differed"),
        ({}, {"git_dirty": "true"}, "At its training the checkout differed"),
        ({"git_commit": "none: git is not installed"}, {}, "without a git commit"),
        ({"git_commit": "4" * 40}, {"git_dirty": "false"}, "444444444444 is not in this repository"),
    ],
)
def test_a_run_that_is_in_no_commit_cannot_be_verified(workspace, record, evaluated, trained, reason):
    bound = record.facts["evaluated"]
    facts = {"evaluated": bound | evaluated, "trained": record.facts["trained"] | trained if trained else {}}
    verdict, _ = verify_run(workspace, with_facts(record, **facts), mirror=None, say=quiet)
    assert verdict.verdict == "cannot be verified"
    assert reason in verdict.reason
    assert record.verdicts() == [verdict.as_dict()]
    assert show_run(workspace.root, record.run_id).tags["verified"] == "cannot be verified"


def test_a_raw_file_that_was_changed_is_named(made, workspace, record):
    raw = workspace.data / "wdbc" / "wdbc.csv"
    raw.write_text(raw.read_text().replace("malignant", "benign", 1))
    verdict, _ = verify_run(workspace, record, mirror=None, say=quiet)
    assert verdict.verdict == "cannot be verified"
    assert "wdbc.csv could not be had" in verdict.reason
    assert f"Here, {raw} is not what its card says" in verdict.reason
    kept = (made / "mlruns" / "artifacts").rglob("verification.json")
    assert "wdbc.csv" not in next(kept).read_text()  # a server may be shared; reasons may name cases
    assert clean(workspace.root)


def test_files_that_no_commit_holds(workspace, tmp_path):
    """Initial weights of a recipe, for instance."""
    tree, root = tmp_path / "tree", workspace.root
    (root / "weights").mkdir()
    (root / "weights" / "first.safetensors").write_bytes(b"first")
    assert link_loose_file(tree, root, "weights/first.safetensors") == hashlib.sha256(b"first").hexdigest()
    assert (tree / "weights" / "first.safetensors").read_bytes() == b"first"
    assert link_loose_file(tree, root, "weights/first.safetensors") == ""  # it is there now, as if committed
    assert link_loose_file(tree, root, str(tmp_path / "elsewhere.safetensors")) == ""
    assert link_loose_file(tree, root, "../elsewhere.safetensors") == ""
    with pytest.raises(CannotVerifyError, match=r"second\.safetensors, which the recipe names, is neither"):
        link_loose_file(tree, root, "weights/second.safetensors")


def test_a_record_that_was_changed_is_damaged(workspace, record):
    path = record.folder / "estimates.json"
    path.write_text(path.read_text().replace("0.9", "0.99", 1))
    with pytest.raises(DataError, match=r"estimates\.json is damaged"):
        records.find(workspace, record.run_id)


def test_predictions_are_compared_to_the_bit(record, tmp_path):
    table = record.predictions()
    path = tmp_path / "predictions.parquet"
    table.to_parquet(path, index=False)  # other bytes, the same values
    assert _predictions(record.folder, tmp_path) == []
    changed = table.assign(score=table["score"].where(table.index != 3, table["score"] + 2**-40))
    changed.to_parquet(path, index=False)
    (said,) = _predictions(record.folder, tmp_path)
    assert said == f"predictions: score differs in 1 of {len(table)} lines, by 9.1e-13 at most"
    table.iloc[1:].to_parquet(path, index=False)
    assert "had" in _predictions(record.folder, tmp_path)[0]
    table.assign(site=[None, *table["site"][1:]]).to_parquet(path, index=False)
    assert _predictions(record.folder, tmp_path) == [f"predictions: site differs in 1 of {len(table)} lines"]
    nothing = pd.DataFrame({"score": [float("nan"), 0.0]})
    for name, frame in {"a": nothing, "b": nothing * -1}.items():
        (tmp_path / name).mkdir()
        frame.to_parquet(tmp_path / name / "predictions.parquet")
    assert "1 of 2 lines" in _predictions(tmp_path / "a", tmp_path / "b")[0]  # -0.0 is not 0.0, NaN is NaN


def test_a_record_cannot_ask_for_a_larger_tolerance_than_its_recipe(workspace, record):
    facts, root = record.facts, workspace.root

    def asking(tolerance, words=""):
        plan = facts["recipe"]["evaluate"] | {"tolerance": tolerance}
        changed = {"recipe": facts["recipe"] | {"evaluate": plan}, "words": f"{facts['words']}{words}"}
        return _tolerance({**facts, **changed}, root)

    usual = workspace.pipeline("breast-mass").recipe.evaluate.tolerance
    assert asking(0.9) == asking(usual) == usual
    assert asking(usual / 2) == usual / 2
    assert asking(0.9, " --set evaluate.tolerance=0.5") == 0.5  # that is what ran, and the verdict's title says so
    (root / RECIPE).write_text("of another time")
    assert asking(usual) == usual


def test_where_a_run_comes_from_is_said_when_it_was_not_one_place():
    commit = "a" * 40
    assert _origin({"trained": {"git_commit": commit, "processes": "1"}}, commit) == []
    assert _origin({"trained": {"git_commit": "b" * 40, "processes": "2"}}, commit) == [
        "trained at bbbbbbbb and evaluated at aaaaaaaa, where both were run again",
        "trained by 2 processes together, and again by one",
    ]
    assert "a commit that was not recorded" in _origin({"trained": {}}, commit)[0]


def test_packages_that_differ_are_named():
    before = "numpy==2.3.1\npandas==2.2.3\ntorch==2.8.0\n"
    assert _packages(before, before) == []
    assert _packages(before, "numpy==2.3.2\npandas==2.2.3\nextra==1\n") == [
        "3 packages differ from those of the run: extra none -> 1, numpy 2.3.1 -> 2.3.2, torch 2.8.0 -> none"
    ]
    many = "".join(f"package{number}==1\n" for number in range(9))
    assert _packages(before, many)[0].endswith("and 7 more")


def test_a_checkout_is_removed_whatever_happens(workspace):
    root = workspace.root
    commit = head(root)
    with pytest.raises(KeyboardInterrupt), clean_checkout(root, commit) as (tree, _):
        with clean_checkout(root, commit) as (other, _):  # two at once, and neither takes the other for a leftover
            assert other != tree
            assert (other / RECIPE).read_text() == (tree / RECIPE).read_text()
        assert worktrees(root) == 2
        raise KeyboardInterrupt
    assert clean(root)
    with pytest.raises(SystemExit, match="143"), clean_checkout(root, commit):
        signal.raise_signal(signal.SIGTERM)
    assert clean(root)

    leftover = root / FOLDER / "checkout-left"
    git(root, "worktree", "add", "--quiet", "--detach", str(leftover / leftover.name), commit)
    (leftover / LOCK).touch()
    with clean_checkout(root, commit):
        assert not leftover.exists()
        assert worktrees(root) == 2


def test_worktrees_and_the_index_of_the_user_are_left_alone(workspace, tmp_path, monkeypatch):
    """In a hook of git, with a worktree of the user's on a disk that is away, and one that git was killed in adding."""
    root = workspace.root
    away = tmp_path / "with spaces" / "away"
    git(root, "worktree", "add", "--quiet", "--detach", str(away))
    away.rename(away.with_name("on a shelf"))
    torn = root / FOLDER / "checkout-torn"
    torn.mkdir(parents=True)
    notes = root / ".git" / "worktrees" / torn.name
    notes.mkdir()
    (notes / "locked").write_text("initializing")
    index = (root / ".git" / "index").read_bytes()
    with monkeypatch.context() as patch:
        patch.setenv("GIT_DIR", str(root / ".git"))
        patch.setenv("GIT_INDEX_FILE", str(root / ".git" / "index"))
        with clean_checkout(root, head(root)) as (tree, _):
            assert (tree / RECIPE).is_file()
        patch.setenv("PATH", str(tmp_path))
        with pytest.raises(MachineError, match="git is not installed"):
            verify_here(workspace.pipeline("breast-mass"))
    assert (root / ".git" / "index").read_bytes() == index
    assert [path.name for path in (root / ".git" / "worktrees").iterdir()] == ["away"]
    assert not list((root / FOLDER).glob("*/"))
    away.with_name("on a shelf").rename(away)
    assert head(away) == head(root)


def test_a_workspace_in_a_folder_of_its_repository_whose_name_has_spaces(tmp_path):
    root = tmp_path / "many things" / "my workspace"
    root.mkdir(parents=True)
    (root / "ai4diag.txt").write_text("here")
    git(root.parent, "init", "--quiet")
    git(root.parent, "add", "--all")
    git(root.parent, "commit", "--quiet", "--message", "all")
    with clean_checkout(root, head(root)) as (tree, _):
        assert (tree / "ai4diag.txt").read_text() == "here"
    assert clean(root)


def test_committed_numbers_and_what_is_in_out(workspace, monkeypatch, capsys):
    """`--here` runs nothing: the estimates of the variant stand for those of the pipeline."""
    root = workspace.root
    pipeline = workspace.pipeline("breast-mass")
    with pytest.raises(DataError, match="commit its estimates"):
        verify_here(pipeline)
    shutil.copy(pipeline.out / "quick" / "estimates.json", pipeline.out)
    git(root, "add", "--force", "pipelines/breast-mass/out/estimates.json")
    git(root, "commit", "--quiet", "--message", "numbers")
    monkeypatch.chdir(root)
    cli.main(["verify", "--here", "breast-mass"], standalone_mode=False)
    count = len(stages.read_estimates(pipeline.out / "estimates.json"))
    assert f"breast-mass: holds; {count} of {count} estimates identical" in capsys.readouterr().out

    numbers = json.loads((pipeline.out / "estimates.json").read_text())
    numbers[0]["value"] -= 0.05
    (pipeline.out / "estimates.json").write_text(json.dumps(numbers))
    with pytest.raises(VerifyError, match="breast-mass were not reproduced"):
        cli.main(["verify", "--here", "breast-mass"], standalone_mode=False)
    said = capsys.readouterr().out
    assert f"does not hold; {count - 1} of {count} estimates identical" in said
    assert "auroc (test, all): value was" in said
    for words in (["--here", "--quick", "breast-mass"], ["--here", "abcd"], ["abcd"], ["breast-mass", "--folds", "3"]):
        assert _guarded(lambda words=words: cli.main(["verify", *words], standalone_mode=False)) == 2


def test_the_command_ends_with_nine_where_nothing_can_be_said(workspace, record, monkeypatch, capsys):
    shutil.rmtree(workspace.data)
    monkeypatch.chdir(workspace.root)
    monkeypatch.setenv("AI4DIAG_MIRROR", "nowhere")
    with pytest.raises(CannotVerifyError) as caught:
        cli.main(["verify", record.run_id[:6]], standalone_mode=False)
    assert caught.value.exit_code == 9
    assert (
        "breast-mass --quick): cannot be verified\n  prepare of breast-mass --quick failed there"
        in capsys.readouterr().out
    )


@pytest.mark.slow
def test_a_story_that_is_better_than_the_run_does_not_hold(workspace, record):
    """Somebody who also mends the hashes is caught by the run itself."""
    path = record.folder / "estimates.json"
    numbers = json.loads(path.read_text())
    numbers[0]["value"] = numbers[0]["high"] = 1.0
    numbers[0]["value"] -= 2 * record.plan.tolerance + abs(1 - numbers[0]["value"])
    path.write_text(json.dumps(numbers))
    facts = json.loads((record.folder / "record.json").read_text())
    facts["files"]["estimates.json"] = stages.sha256_file(path)
    facts["model"] = dict.fromkeys(facts["model"], "0" * 64)
    (record.folder / "record.json").write_text(json.dumps(facts))
    verdict, _ = verify_run(workspace, records.find(workspace, record.run_id), mirror=None, say=quiet)
    assert verdict.verdict == "does not hold"
    assert "auroc (test, all)" in verdict.reason
    assert verdict.identical < verdict.compared
    assert verdict.predictions_identical
    assert not verdict.weights_identical


@pytest.mark.slow
def test_other_vector_instructions_give_other_bits_within_the_tolerance(workspace, record, monkeypatch):
    """As on another kind of processor."""
    import torch

    if torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        pytest.skip("torch has but one kind of instructions here")
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    verdict, _ = verify_run(workspace, record, mirror=None, say=quiet)
    assert verdict.verdict == "holds"
    assert f"vectors was {record.facts['trained']['vectors']}, is DEFAULT" in verdict.notes
    assert verdict.predictions_identical == (verdict.notes[0].startswith("vectors"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_verification_that_is_ended_leaves_nothing(workspace, record, number):
    root = workspace.root
    words = [sys.executable, "-m", "ai4diag", "verify", record.run_id]
    # a shell that starts tests in the background has them ignore SIGINT, and they would pass that on
    heeds = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = subprocess.Popen(words, cwd=root, stderr=subprocess.PIPE, text=True, env=dict(os.environ), **heeds)
    assert process.stderr is not None
    assert "prepare" in process.stderr.readline()  # done there, and the training has begun
    assert worktrees(root) == 2
    process.send_signal(number)
    process.stderr.read()
    process.wait(60)
    if number == signal.SIGKILL:  # the next one clears up, once the stage that lives on has ended
        assert worktrees(root) == 2
        (base,) = (root / FOLDER).glob("*/")
        deadline = time.monotonic() + 60
        while base.exists() and time.monotonic() < deadline:
            with clean_checkout(root, head(root)):
                time.sleep(0.5)
    else:
        assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert clean(root)
    assert records.find(workspace, record.run_id).verdicts() == []


@pytest.mark.slow
def test_committed_numbers_are_made_again_from_what_is_committed(workspace, monkeypatch, capsys):
    root = workspace.root
    (root / RECIPE).write_text((root / RECIPE).read_text().replace("epochs: 300", "epochs: 5"))
    pipeline = workspace.pipeline("breast-mass")
    run(pipeline)
    digest = hashlib.md5((pipeline.out / "predictions.parquet").read_bytes()).hexdigest()
    out = {"path": "pipelines/breast-mass/out/predictions.parquet", "md5": digest}
    (root / "dvc.lock").write_text(json.dumps({"stages": {"train@breast-mass": {"outs": [out]}}}))
    git(root, "add", "--force", "dvc.lock", "pipelines/breast-mass/out/estimates.json")
    git(root, "commit", "--quiet", "--all", "--message", "numbers")
    (root / RECIPE).write_text((root / RECIPE).read_text().replace("epochs: 5", "epochs: 1"))
    monkeypatch.chdir(root)
    cli.main(["verify", "breast-mass"], standalone_mode=False)
    said = capsys.readouterr().out
    assert "breast-mass: holds; " in said
    assert "predictions     identical to the bit\n" in said
    assert clean(root)


@pytest.mark.slow
def test_a_run_is_made_again_on_as_many_threads_as_it_had(workspace, record, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    facts = {**record.facts, "trained": {**record.facts["trained"], "threads": "1"}}
    verdict, _ = verify_run(workspace, dataclasses.replace(record, facts=facts), mirror=None, say=quiet)
    assert verdict.verdict == "holds"
    assert verdict.machine["threads"] == "1"
