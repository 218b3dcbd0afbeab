"""What `ai4diag run` says when DVC or a stage cannot go on, and what becomes of a stage when `run` is ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ai4diag.errors import ConfigError, DataError, GateError, MachineError
from ai4diag.pipelines.reproduce import reproduce
from ai4diag.pipelines.workspace import Workspace
from tests.conftest import ROOT


@pytest.fixture
def pipeline(make_workspace):
    return Workspace(make_workspace("breast-mass")).pipeline("breast-mass")


def say(pipeline, words):
    """Make the prepare stage this shell command instead, under the name that DVC shows."""
    stages, before = (ROOT / "dvc.yaml").read_text(), "ai4diag prepare ${key}"
    assert before in stages
    (pipeline.workspace.root / "dvc.yaml").write_text(stages.replace(before, f"'{words} # {before}'"))


@pytest.mark.parametrize("name", ["dvc.yaml", "dvc.lock", "params.yaml"])
def test_a_file_that_dvc_cannot_read_is_named(pipeline, name):
    (pipeline.workspace.root / name).write_text("{{")
    with pytest.raises(ConfigError, match=rf"{name}.*corrupted"):
        reproduce(pipeline)


def test_an_input_that_is_missing_is_named(pipeline):
    (pipeline.folder / "pipeline.py").unlink()
    with pytest.raises(ConfigError, match=r"No such file.*pipeline\.py"):
        reproduce(pipeline)


@pytest.mark.parametrize("name", [".git", ".dvc"])
def test_outside_a_repository_the_cure_is_to_clone_it(pipeline, name):
    (pipeline.workspace.root / name).rename(pipeline.workspace.root / "elsewhere")
    with pytest.raises(MachineError, match="Clone the repository"):
        reproduce(pipeline)


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        ("exit 4", DataError, "prepare of breast-mass failed; its message stands above"),
        ("exit 5", GateError, "prepare of breast-mass failed"),
        ("kill -9 $$", MachineError, "ended from outside .SIGKILL."),
        ("exit 137", MachineError, "ended from outside .SIGKILL."),
        ("exit 130", KeyboardInterrupt, ""),
    ],
)
def test_the_error_is_of_the_kind_that_the_stage_ended_with(pipeline, words, kind, said):
    say(pipeline, words)
    with pytest.raises(kind, match=said or None):
        reproduce(pipeline)


def test_stages_get_the_mirror_and_the_commands_of_this_environment(pipeline):
    say(pipeline, 'echo "$AI4DIAG_MIRROR" > seen; command -v ai4diag >> seen; exit 4')
    with pytest.raises(DataError):
        reproduce(pipeline, mirror="/some/mirror")
    seen = (pipeline.workspace.root / "seen").read_text().splitlines()
    assert seen[0] == "/some/mirror"
    assert Path(seen[1]).parent == Path(sys.executable).parent


def test_a_second_process_at_the_same_pipeline_is_refused_and_named(pipeline):
    with pipeline.alone(), pytest.raises(MachineError, match="prepare of breast-mass failed"):
        reproduce(pipeline)


def test_who_ends_run_ends_its_stage(pipeline):
    say(pipeline, "sleep 60")
    root = pipeline.workspace.root
    run = subprocess.Popen([sys.executable, "-m", "ai4diag", "run", "breast-mass"], cwd=root, stderr=subprocess.PIPE)
    stage = _wait_for(lambda: [child for child in _children(run.pid) if "sleep" in child.name()])[0]
    run.send_signal(signal.SIGTERM)
    assert run.wait(20) == 128 + signal.SIGTERM
    assert _wait_for(lambda: not stage.is_running() or stage.status() == psutil.STATUS_ZOMBIE)
    say(pipeline, "exit 4")
    with pytest.raises(DataError):  # and not: another process is at work
        reproduce(pipeline)


def _children(pid):
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _wait_for(condition, seconds=40):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("waited in vain")
