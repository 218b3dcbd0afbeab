import getpass
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ai4diag.tracking import record


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    out = tmp_path / "pipelines" / "demo" / "out"
    out.mkdir(parents=True)
    (out / "estimates.json").write_text("[]")
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\n")
    (tmp_path / "params.yaml").write_text("pipelines: [demo]\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_a_clean_checkout_is_bound_to_its_commit(repository: Path) -> None:
    assert record.git_state(repository) == {"git_commit": git(repository, "rev-parse", "HEAD"), "git_dirty": "false"}


@pytest.mark.parametrize("name", ["params.yaml", "pipelines/demo/new.py"])
def test_a_changed_or_new_file_makes_it_dirty(repository: Path, name: str) -> None:
    git(repository, "config", "status.showUntrackedFiles", "no")  # a habit of some; a new hook still counts
    (repository / name).write_text("changed")
    assert record.git_state(repository)["git_dirty"] == "true"


def test_what_the_run_itself_writes_does_not_make_it_dirty(repository: Path) -> None:
    (repository / "dvc.lock").write_text("changed")
    (repository / "pipelines/demo/out/estimates.json").write_text("changed")
    assert record.git_state(repository)["git_dirty"] == "false"


def test_without_a_repository_it_says_so(tmp_path: Path) -> None:
    assert record.git_state(tmp_path) == {
        "git_commit": "none: not a git repository with a commit",
        "git_dirty": "unknown",
    }


def test_without_git_it_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert record.git_state(repository) == {"git_commit": "none: git is not installed", "git_dirty": "unknown"}


def test_the_binding_names_data_lock_environment_and_seed(repository: Path) -> None:
    tags = record.binding(repository, data_sha256="d" * 64, seed=11)
    lock = hashlib.sha256((repository / "dvc.lock").read_bytes()).hexdigest()
    assert tags["ai4diag.data_sha256"] == "d" * 64
    assert tags["ai4diag.dvc_lock_sha256"] == lock
    assert tags["ai4diag.seed"] == "11"
    assert tags["ai4diag.environment_sha256"] == hashlib.sha256(record.environment().encode()).hexdigest()
    assert tags["ai4diag.python"] == ".".join(map(str, sys.version_info[:3]))
    assert int(tags["ai4diag.cpus"]) >= 1


def test_the_environment_lists_what_pip_lists() -> None:
    command = [sys.executable, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    lines = dict(line.split("==") for line in record.environment().splitlines())
    assert {"mlflow", "numpy", "ai4diag"} <= lines.keys()
    assert {name.lower().replace("_", "-").replace(".", "-"): version for name, version in
            ((item["name"], item["version"]) for item in listed)} == lines  # fmt: skip


def test_no_tag_names_a_person_or_a_place(repository: Path) -> None:
    text = json.dumps({**record.binding(repository, data_sha256="d", seed=1), **record.process()})
    for private in (str(Path.home()), str(repository), os.uname().nodename, "Test", "test@example.org"):
        assert private not in text
    assert getpass.getuser() not in json.loads(text).values()


def test_torch_is_never_imported_to_ask_for_a_gpu() -> None:
    program = (
        "import sys; from ai4diag.tracking import record; "
        "assert {record.machine()[name] for name in ('gpu', 'vectors', 'threads')} == {'torch not loaded'}; "
        "assert 'torch' not in sys.modules; "
        "assert 'mlflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_birth_is_that_of_one_process() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        born = record.birth(child.pid)
        assert born
        assert born == record.birth(child.pid)
        assert born != record.birth(os.getpid())
    finally:
        child.kill()
        # a killed child that nobody has waited for is still in the process table, and is dead all the same
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert record.birth(child.pid) == ""
        child.communicate()
    assert record.birth(child.pid) == ""
