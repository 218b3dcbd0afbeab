"""What the pages say, and how `ai4diag lab` is started, without a server."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ai4diag.course import page
from ai4diag.errors import DataError, MachineError, UsageError
from ai4diag.files import sha256_bytes
from ai4diag.jupyter import reports
from ai4diag.jupyter.start import CONFIG, layout, start
from ai4diag.pipelines import records
from ai4diag.pipelines.workspace import Workspace
from ai4diag.tracking.reader import newest_experiment
from ai4diag.tracking.store import connect, locate, quietly
from tests.conftest import ROOT


def keep(root: Path, run: str, created: str, report: str = "<p>report</p>") -> Path:
    folder = root / "mlruns" / "records" / run
    folder.mkdir(parents=True)
    (folder / "report.html").write_text(report)
    facts = {"created": created, "words": "breast-mass", "files": {"report.html": sha256_bytes(report.encode())}}
    (folder / "record.json").write_text(json.dumps(facts))
    return folder


def test_the_report_of_the_newest_run_is_shown(tmp_path: Path) -> None:
    assert reports.newest(tmp_path) is None
    keep(tmp_path, "b", "2026-11-22T10:00:00+00:00", "first")
    keep(tmp_path, "a", "2026-11-22T10:00:01+00:00", "second")
    assert reports.newest(tmp_path) == "second"
    keep(tmp_path, ".c.part", "2026-11-22T10:00:02+00:00", "not whole yet")
    assert reports.newest(tmp_path) == "second"


def test_records_are_where_and_what_evaluation_keeps(evaluated: tuple[Path, str]) -> None:
    root, run = evaluated
    assert reports.RECORDS == records.FOLDER
    assert reports.newest(root) == (root / records.FOLDER / run / "report.html").read_text()


def test_a_report_that_was_exchanged_is_not_shown(tmp_path: Path) -> None:
    (keep(tmp_path, "a", "2026-11-22T10:00:00+00:00") / "report.html").write_text("<script>alert(1)</script>")
    with pytest.raises(DataError, match="not the report that was kept"):
        reports.newest(tmp_path)


@pytest.mark.parametrize("content", ["[]", "{", '{"created": "2026"}', '{"created": "", "words": "", "files": []}'])
def test_a_damaged_record_is_an_error_that_names_it(tmp_path: Path, content: str) -> None:
    (keep(tmp_path, "a", "2026-11-22T10:00:00+00:00") / "record.json").write_text(content)
    with pytest.raises(DataError, match=r"record\.json"):
        reports.newest(tmp_path)


def test_mlflow_opens_on_the_experiment_that_ran_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = locate(tmp_path)
    assert newest_experiment(store) == ""
    with quietly():
        client = connect(store)
        first, second = client.create_experiment("one"), client.create_experiment("two")
        assert newest_experiment(store) == ""
        client.create_run(second, start_time=1000)
        assert newest_experiment(store) == second
        run = client.create_run(first, start_time=2000).info.run_id
        assert newest_experiment(store) == first
        client.delete_run(run)
        assert newest_experiment(store) == second


def test_each_lesson_has_a_line_with_its_minutes_badge_and_state(repository: Path, make_workspace) -> None:
    workspace = Workspace(make_workspace("breast-mass"))
    (workspace.root / "notebooks").mkdir()
    shutil.copy(repository / "notebooks" / "m01_first_result.ipynb", workspace.root / "notebooks")
    (row,) = page.table_rows(workspace, "/lab/tree")
    assert 'href="/lab/tree/notebooks/m01_first_result.ipynb"' in row
    assert ">60<" in row
    assert ">Explorer<" in row
    assert "✗ not yet: <code>ai4diag course catch-up m01</code>" in row
    assert "data set wdbc" in row


def test_a_damaged_notebook_spoils_its_own_line_only(repository: Path, make_workspace) -> None:
    folder = (workspace := Workspace(make_workspace("breast-mass"))).root / "notebooks"
    folder.mkdir()
    shutil.copy(repository / "notebooks" / "m01_first_result.ipynb", folder)
    (folder / "m02_<img src=x>.ipynb").write_text("{}")
    good, bad = page.table_rows(workspace, "/lab/tree")
    assert "First result" in good
    assert "is not the notebook of a lesson" in bad
    assert "<img" not in bad


def test_a_lesson_whose_pipeline_is_not_here_can_still_be_opened(repository: Path, make_workspace) -> None:
    folder = (workspace := Workspace(make_workspace("breast-mass"))).root / "notebooks"
    folder.mkdir()
    (notebook,) = (repository / "notebooks").glob("m06_*.ipynb")
    shutil.copy(notebook, folder)
    (row,) = page.table_rows(workspace, "/lab/tree")
    assert f'href="/lab/tree/notebooks/{notebook.name}"' in row
    assert "✗ not here: There is no pipeline" in row


def test_the_command_binds_loopback_and_names_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "/own")
    monkeypatch.setenv("PATH", "/usr/bin")
    found = start(ROOT / "docs", browser=False)
    assert found.folder == ROOT
    assert "--ServerApp.ip=127.0.0.1" in found.command
    assert "--ServerApp.allow_origin=" in found.command
    assert not [word for word in found.command if "token" in word or "password" in word]
    assert found.environ["JUPYTER_CONFIG_PATH"] == os.pathsep.join([str(CONFIG), "/own"])
    assert found.environ["PATH"].split(os.pathsep) == [str(Path(sys.executable).parent), "/usr/bin"]
    assert "--no-browser" not in start(ROOT).command
    assert layout(ROOT) != layout(ROOT / "docs")
    assert re.fullmatch(r"[a-zA-Z0-9\-_]+", layout(ROOT))  # what JupyterLab's address allows


def test_a_taken_port_and_a_folder_outside_are_errors(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(MachineError, match=r"is taken.*ai4diag lab --port"):
            start(ROOT, port=taken.getsockname()[1])
    with pytest.raises(UsageError, match="not inside an ai4diag workspace"):
        start(tmp_path)


def test_without_the_extra_the_command_says_what_to_install() -> None:
    # None in sys.modules is how Python says that a module cannot be imported
    code = "import sys; sys.modules['jupyterlab'] = None; from ai4diag.cli import main; main(['lab', '--no-browser'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == MachineError.exit_code
    assert "jupyterlab is not installed: the extra `lab` is missing." in done.stderr
    assert "pip install 'ai4diag[lab]'" in done.stderr


def test_the_extension_brings_no_pandas_no_torch_no_mlflow() -> None:
    modules = "ai4diag.jupyter.pages, ai4diag.jupyter.saving, ai4diag.course.page, ai4diag.tracking.ui"
    code = f"import sys, {modules}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pandas", "torch", "mlflow", "scipy"} & set(loaded)
