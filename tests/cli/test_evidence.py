"""`ai4diag evidence` and `ai4diag keys`, as a user and as a third party meet them."""

from __future__ import annotations

import dataclasses
import json
import stat

import pytest

from ai4diag import cli
from ai4diag.cli.evidence import PASSWORD
from ai4diag.packaging.evidence.pack import build
from ai4diag.packaging.evidence.signing import PRIVATE, PUBLIC
from tests.conftest import git
from tests.packaging.made import source


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """Run the command in an empty folder; return exit code, output and messages."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv(PASSWORD, raising=False)

    def run(*words):
        with pytest.raises(SystemExit) as end:
            cli.main([str(word) for word in words])
        said = capsys.readouterr()
        return end.value.code, said.out, said.err

    return run


def test_keys_are_made_in_the_users_own_folder_and_shown(call, tmp_path):
    code, out, _ = call("keys", "make")
    folder = tmp_path / "config" / "ai4diag" / "keys"
    assert code == 0, out
    assert str(folder / PRIVATE) in out
    assert stat.S_IMODE((folder / PRIVATE).stat().st_mode) == 0o600
    assert call("keys", "show")[1].splitlines()[-1] == out.splitlines()[-1]
    assert call("keys", "show", folder / PUBLIC)[1].splitlines()[-1] == out.splitlines()[-1]
    code, _, err = call("keys", "make")
    assert code == 2
    assert "never overwritten" in err


def test_a_key_is_not_made_where_git_would_take_it_in(call, tmp_path):
    repository = tmp_path / "repository"
    repository.mkdir()
    git(repository, "init", "--quiet")
    code, _, err = call("keys", "make", "--out", repository / "deep" / "keys")
    assert code == 2
    assert "would take the key in" in err
    assert not (repository / "deep").exists()
    (repository / ".git" / "HEAD").rename(repository / "head")  # git then says nothing of it, as for another's folder
    assert call("keys", "make", "--out", repository / "deep" / "keys")[0] == 2
    (repository / "head").rename(repository / ".git" / "HEAD")
    (repository / ".gitignore").write_text("/private/\n")
    assert call("keys", "make", "--out", repository / "private")[0] == 0


def test_a_password_comes_from_the_environment_and_never_from_the_words(call, tmp_path, monkeypatch):
    monkeypatch.setenv(PASSWORD, "correct horse")
    code, out, _ = call("keys", "make", "--out", tmp_path / "keys")
    assert code == 0, out
    assert "with a password" in out
    assert "horse" not in out
    assert b"ENCRYPTED" in (tmp_path / "keys" / PRIVATE).read_bytes()
    assert call("keys", "make", "--password", "horse")[0] == 2  # it takes no value


def test_a_third_party_needs_the_pack_and_the_public_key_alone(call, tmp_path):
    call("keys", "make")
    call("keys", "make", "--out", tmp_path / "other")
    keys = tmp_path / "config" / "ai4diag" / "keys"
    made = build(tmp_path / "toy", source("ordinal"), private_key=keys / PRIVATE)

    code, out, _ = call("evidence", "verify", made.archive, "--public-key", keys / PUBLIC)
    assert code == 0, out
    assert "The pack holds." in out
    assert made.signed_by in out

    code, out, err = call("evidence", "verify", made.archive, "--public-key", tmp_path / "other" / PUBLIC)
    assert code == 6
    assert "unknown key" in out
    assert "Do not rely on it" in err

    report = made.folder / "report.html"
    report.write_text(report.read_text().replace("0.371", "0.971"))
    code, out, err = call("evidence", "verify", made.folder, "--json")
    assert code == 6
    verdict = json.loads(out)
    assert not verdict["ok"]
    assert "report.html was changed" in " ".join(verdict["problems"])
    assert "found 0.971, regenerated 0.371" in " ".join(verdict["problems"])

    assert call("evidence", "verify", tmp_path / "nothing")[0] == 6
    assert call("evidence", "verify", made.folder, "--public-key", tmp_path / "nothing")[0] == 4


def test_what_has_no_record_cannot_be_packed(call, make_workspace, monkeypatch):
    monkeypatch.chdir(make_workspace("breast-mass"))
    code, _, err = call("evidence", "build", "breast-mass")
    assert code == 2
    assert "has no tracked run" in err
    assert call("evidence", "build", "breast-masss")[0] == 2


@pytest.mark.slow
def test_a_run_of_the_stages_becomes_a_pack_that_holds(call, make_workspace, monkeypatch, tmp_path):
    """The real stages in a workspace of their own, then every step that a user takes."""
    from ai4diag.pipelines import stages, tracked
    from ai4diag.pipelines.workspace import Workspace

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = make_workspace("breast-mass")
    small = Workspace(root).pipeline("breast-mass", overrides=["train.epochs=20", "evaluate.interval.resamples=100"])
    small = dataclasses.replace(small, variant="")

    def quiet(name, fields):
        """An observer that looks away."""

    stages.prepare(small, notify=quiet)
    with tracked.training(small) as tracker:
        stages.train(small, notify=quiet, tracker=tracker)
    with tracked.evaluation(small) as tracker:
        stages.evaluate(small, tracker=tracker)
    monkeypatch.chdir(root)
    call("keys", "make")
    keys = tmp_path / "config" / "ai4diag" / "keys"
    code, out, err = call("evidence", "build", tracker.run_id[:8], "--key", keys / PRIVATE)
    assert code == 0, err
    folder = root / "mlruns" / "packs" / f"breast-mass-{tracker.run_id[:8]}"
    assert out.splitlines() == [f"mlruns/packs/{folder.name}", f"mlruns/packs/{folder.name}.zip"]
    assert "to supply" in err

    answers = tmp_path / "answers.yaml"
    text = (folder / "to-supply.yaml").read_text()
    answers.write_text(text.replace(': ""', ': "A toy, made in a test."', 1))
    code, _, err = call("evidence", "build", "breast-mass", "--supplied", answers, "--key", keys / PRIVATE)
    assert code == 0, err
    assert "A toy, made in a test." in " ".join(path.read_text() for path in folder.rglob("*.md"))
    names = {str(value) for value in (root / "pipelines").glob("*/out/prepared/*")}
    for item in folder.rglob("*"):
        if item.is_file():
            content = item.read_bytes()
            assert b"wdbc-0" not in content, item  # the cases of this data set are called wdbc-001, ...
            assert str(root).encode() not in content, item
    assert names
    code, out, _ = call("evidence", "verify", f"{folder}.zip", "--public-key", keys / PUBLIC)
    assert code == 0, out
    assert "to the last bit" in out
    assert "The pack holds." in out
