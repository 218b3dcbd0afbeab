"""`ai4diag run` is `dvc repro`: what is up to date is not run again, and an edit runs what it must."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def call(root, *words):
    done = subprocess.run([sys.executable, "-m", *words], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def changed(root):
    """Return the stages that DVC would run."""
    return set(json.loads(call(root, "dvc", "status", "--json").stdout))


def test_an_edit_of_evaluate_runs_only_evaluate(make_workspace):
    root = make_workspace("breast-mass")
    done = call(root, "ai4diag", "run", "breast-mass")
    assert done.stdout.startswith("breast-mass: auroc 0.9")
    assert "MLflow run" in done.stdout
    assert (root / "pipelines/breast-mass/out/bundle/manifest.json").is_file()
    assert changed(root) == set()
    again = call(root, "ai4diag", "run", "breast-mass")
    assert again.stdout == done.stdout
    assert "train breast-mass" not in again.stderr

    recipe = root / "pipelines" / "breast-mass" / "pipeline.yaml"
    text = recipe.read_text()
    assert "level: 0.95" in text
    recipe.write_text(text.replace("level: 0.95", "level: 0.9"))
    assert changed(root) == {"evaluate@breast-mass"}
    third = call(root, "ai4diag", "run", "breast-mass")
    assert "evaluate breast-mass" in third.stderr
    assert "train breast-mass" not in third.stderr

    runs = json.loads(call(root, "ai4diag", "runs", "list", "--json").stdout)
    assert [run["status"] for run in runs] == ["FINISHED", "FINISHED"]
    assert runs[1]["headline"]["low"] < runs[0]["headline"]["low"]
