"""Every command of the documentation is executed, page by page, in a clone of the repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ai4diag.course.classroom import copy_run, link_data
from ai4diag.course.place import finished
from ai4diag.pipelines.workspace import Workspace
from tests.conftest import ROOT, git
from tests.docs.pages import PAGES, lines
from tests.docs.plays import INSTALL, PLAYS, Play

RUNS = ("hippocampus --quick", "chest-xray --quick")
"""Finished runs of the repository that pages build on."""
QUICK, OTHER = "breast-mass --quick", "breast-mass --quick --set train.epochs=9"
"""Two runs that are made in the clone: `$RUN` and `$OTHER` in plays."""
LONGEST_S = 300
SPOKEN = {str(page.relative_to(ROOT)): lines(page) for page in PAGES if lines(page)}


@pytest.fixture(scope="module")
def school(tmp_path_factory, mirror):
    """A clone of the repository with its data and some finished runs, and runs of breast-mass of its own."""
    here = Workspace(ROOT)
    missing = [run for run in RUNS if not finished(here, run)]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"no finished run: ai4diag run {missing[0]}")
    root = tmp_path_factory.mktemp("school") / "ai4diag"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(root)], check=True)
    clone = Workspace(root)
    for folder in sorted(here.data.iterdir()):
        link_data(here, clone, folder.name)
    for run in RUNS:
        shutil.rmtree(clone.pipeline(run.split()[0], quick="--quick" in run).out, ignore_errors=True)
        copy_run(here, clone, run)
    git(root, "checkout", "--quiet", "--", "pipelines")
    for words in ("breast-mass", QUICK, OTHER):
        execute(f"ai4diag run {words}", root, surroundings(root, mirror))
    return root


@pytest.fixture
def workspace(school, tmp_path):
    """A copy of it, to spoil."""
    shutil.copytree(school, tmp_path / "ai4diag", symlinks=True)
    return tmp_path / "ai4diag"


@pytest.mark.slow
@pytest.mark.parametrize("page", SPOKEN)
def test_the_commands_of_a_page_run(page, workspace, mirror):
    play = PLAYS.get(page, Play())
    environment = surroundings(workspace, mirror)
    play.setup(workspace)
    for line in play.before:
        execute(line, workspace, environment)
    for line in SPOKEN[page]:
        if line in play.elsewhere:
            continue
        if line in play.serves:
            serve(line, workspace, environment)
        elif exported := re.fullmatch(r"export ((?:\w+=\S+ ?)+)", line):
            environment |= dict(item.split("=", 1) for item in exported[1].split())
        else:
            execute(replaced(line, play), workspace, environment, play.codes.get(line, 0))


@pytest.mark.parametrize("page", PLAYS)
def test_what_is_played_stands_on_its_page(page):
    play, said = PLAYS[page], SPOKEN[page]
    assert {*play.codes, *play.serves} <= set(said)
    assert play.elsewhere is INSTALL or set(play.elsewhere) - set(INSTALL) <= set(said)
    assert [part for part in play.instead if not any(part in line for line in said)] == []


def test_what_is_run_elsewhere_is_run_there():
    for play in PLAYS.values():
        for elsewhere in play.elsewhere.values():
            assert elsewhere.words in (ROOT / elsewhere.place).read_text(), elsewhere


def replaced(line, play):
    """A command with its replacements."""
    for part, by in play.instead.items():
        line = line.replace(part, by)
    return line


def execute(line, root, environment, code=0):
    """Run a line as a shell does, and expect its exit code."""
    done = subprocess.run(
        ["bash", "-c", line], cwd=root, env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False
    )
    assert done.returncode == code, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def serve(line, root, environment):
    """Start what serves a page, get the page that it names, end it with Ctrl-C."""
    log = root / "served.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            line.split(),
            cwd=root,
            env=environment | {"BROWSER": "true"},
            stdout=file,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    try:
        assert answered(log, process), f"{line}\n{log.read_text()[-3000:]}"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130), log.read_text()[-3000:]
    finally:
        process.kill()


def answered(log: Path, process: subprocess.Popen[bytes]) -> bool:
    """Whether the address that a command prints answers within two minutes."""
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        found = re.search(r"https?://127\.0\.0\.1:\d+[^\s#]*", log.read_text())
        if found:
            try:
                with urllib.request.urlopen(found[0], timeout=5) as page:
                    return page.status == 200
            except (urllib.error.URLError, OSError):
                pass
        time.sleep(0.5)
    return False


def surroundings(root, mirror):
    """The environment of a user: a home of their own, the mirror, and two runs by name."""
    home = root.parent / "home"
    home.mkdir(exist_ok=True)
    run, other = (newest(root, words) for words in (QUICK, OTHER))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "AI4DIAG_", "OMP_"))}
    return kept | {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "AI4DIAG_MIRROR": str(mirror),
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.org",
        "RUN": run,
        "OTHER": other,
    }


def newest(root, words):
    """The id of the newest run of these words; empty when there is none."""
    facts = [json.loads(path.read_text()) for path in (root / "mlruns" / "records").glob("*/record.json")]
    found = [item for item in facts if item["words"] == words]
    return max(found, key=lambda item: item["created"])["run_id"] if found else ""
