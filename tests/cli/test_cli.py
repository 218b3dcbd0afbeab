"""The command: words, exit codes, and what it does not import."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ai4diag import cli, errors
from ai4diag.cli import data
from ai4diag.cli.machine import examine


def call(*words, cwd=None, env=None):
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "ai4diag", *words], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )


def verbs(group=cli.cli, path=()):
    """Yield every command with its words."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from verbs(command, (*path, name))
        else:
            yield (*path, name), command


def test_help_starts_fast_because_nothing_heavy_is_imported(repository):
    script = (
        "import sys; from ai4diag.cli import main\ntry: main(['--help'])\nexcept SystemExit: print(sorted(sys.modules))"
    )
    out = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=repository
    ).stdout
    loaded = set(re.findall(r"'(\w+)'", out.splitlines()[-1]))
    assert not loaded & {"torch", "monai", "mlflow", "pandas", "numpy", "pydantic", "dvc", "sklearn", "numba", "tqdm"}
    assert "Examples:" in out


@pytest.mark.parametrize("words", [words for words, _ in verbs()], ids=" ".join)
def test_every_command_explains_itself(words):
    from click.testing import CliRunner

    result = CliRunner().invoke(cli.cli, [*words, "--help"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()[2].strip()) > 20


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["rn", "breast-mass"], 2, "Did you mean 'run'?"),
        (["data", "lst"], 2, "Did you mean 'list'?"),
        (["run", "brest-mass"], 2, "Did you mean 'breast-mass'?"),
        (["run", "breast-mass", "--quik"], 2, "--quick"),
        (["data", "show", "bcd"], 3, "Did you mean 'bccd'?"),
        (["train", "breast-mass", "--set", "train.epoch=3"], 3, "Did you mean 'epochs'?"),
        (["train", "breast-mass", "--set", "nonsense"], 3, "key=value"),
        (["evaluate", "breast-mass", "--set", "evaluate.minimum_n=3"], 4, "ai4diag prepare breast-mass"),
        (["new", "Bad Name", "--task", "tabular", "--dataset", "wdbc"], 2, "small letters"),
        (["new", "breast-mass", "--task", "tabular", "--dataset", "wdbc"], 2, "already"),
        (["new", "other", "--task", "tabular", "--dataset", "bccd"], 2, "for the task detection"),
        (["evaluate"], 2, "Name a pipeline"),
        (["evaluate", "breast-mass", "--predictions", "x.csv", "--plan", "y.yaml"], 2, "not both"),
        (["run", "breast-mass", "brest-mass"], 2, "Did you mean 'breast-mass'?"),
        (["runs", "list", "brest-mass"], 2, "Did you mean 'breast-mass'?"),
        (["runs", "list", "--limit", "0"], 2, "x>=1"),
        (["ui", "brest-mass"], 2, "Did you mean 'breast-mass'?"),
        (["ui", "--port", "99999"], 2, "65535"),
        (["package", "breast-mass", "--quick", "--set", "train.seed=3"], 4, "breast-mass --quick --set train.seed=3"),
    ],
)
def test_a_mistake_gets_its_code_one_clear_sentence_and_no_traceback(repository, words, code, said):
    done = call(*words, cwd=repository)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_outside_a_workspace_it_says_so(tmp_path):
    done = call("data", "list", cwd=tmp_path)
    assert done.returncode == 2
    assert "not inside an ai4diag workspace" in done.stderr


def test_json_goes_to_stdout_and_parses(repository):
    cards = json.loads(call("data", "list", "--json", cwd=repository).stdout)
    assert {"wdbc", "bccd"} <= {card["name"] for card in cards}
    card = json.loads(call("data", "show", "bccd", "--json", cwd=repository).stdout)
    assert card["classes"] == ["RBC", "WBC", "Platelets"]


def test_a_mirror_named_as_seen_from_a_subfolder_is_found_from_there(tmp_path, monkeypatch):
    monkeypatch.setenv("AI4DIAG_MIRROR", "../mirror")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert Path(data.mirror()).resolve() == tmp_path / "mirror"
    monkeypatch.setenv("AI4DIAG_MIRROR", "https://example.org/data")
    assert data.mirror() == "https://example.org/data"
    monkeypatch.setenv("AI4DIAG_MIRROR", "")
    assert data.mirror() is None


def test_doctor_names_a_params_file_that_is_wrong(tmp_path):
    (tmp_path / "pipelines").mkdir()
    for wrong in ("pipelines: {breast-mass: }", "pipelines: {1: {task: a, dataset: b}}", "pipelines: ["):
        (tmp_path / "params.yaml").write_text(wrong)
        (found,) = [item for item in examine(tmp_path) if item.name == "workspace"]
        assert found.level == "fault"
        assert "params.yaml" in found.found


def test_output_into_a_closed_pipe_is_no_error(repository):
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{sys.executable} -m ai4diag data show bccd | head -n 1"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("bccd: ")
    assert done.stderr == ""


def test_every_exit_code_is_documented(repository):
    text = (repository / "docs" / "reference" / "exit-codes.md").read_text()
    documented = {int(code): name for code, name in re.findall(r"^\| (\d+) \| `?(\w*)`? *\|", text, re.MULTILINE)}
    for kind in errors.Ai4diagError.__subclasses__():
        assert documented[kind.exit_code] == kind.__name__
    assert {0, cli.UNEXPECTED, cli.INTERRUPTED} <= documented.keys()
