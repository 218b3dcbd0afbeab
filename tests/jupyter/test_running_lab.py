"""A lab that runs: who gets in, what is open to other users of the machine, and what is left when it ends."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import ROOT
from tests.jupyter.running import Lab, alive, words

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("lab")]  # two that start in the same second want one port
pytest.importorskip("jupyterlab")
PAGES = ("ai4diag/lessons", "ai4diag/report", "ai4diag/mlflow", "ai4diag-mlflow/health", "api/contents", "api/kernels")
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
PEEK = "import os, socket, sys; os.setuid(65534); socket.socket(socket.AF_UNIX).connect(sys.argv[1])"


@pytest.fixture(scope="module")
def workspace(evaluated: tuple[Path, str]) -> Path:
    """A workspace with one evaluated run and the notebook of a lesson."""
    root = evaluated[0]
    (root / "notebooks").mkdir(exist_ok=True)
    notebook = ROOT / "notebooks" / "m01_first_result.ipynb"
    (root / "notebooks" / notebook.name).write_bytes(notebook.read_bytes())
    return root


@pytest.fixture(scope="module")
def lab(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A running lab."""
    with Lab(workspace, tmp_path_factory.mktemp("home")) as running:
        yield running


def kernel(lab: Lab, path: str = "notebooks/m01_first_result.ipynb") -> dict[str, Any]:
    """Start a kernel for a notebook, and return what its connection file says."""
    asked = {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}}
    status, _, content = lab.ask("api/sessions", data=asked, method="POST")
    assert status == 201, content
    (file,) = lab.home.rglob(f"kernel-{json.loads(content)['kernel']['id']}.json")
    assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0
    return {"file": str(file), **json.loads(file.read_text())}


def run(found: dict[str, Any], code: str) -> str:
    """Run code in a kernel and return what it printed."""
    from jupyter_client.blocking import BlockingKernelClient

    client = BlockingKernelClient(connection_file=found["file"])
    client.load_connection_file()
    client.start_channels(hb=False)  # a busy machine is late, and counts as dead
    printed: list[str] = []
    try:
        client.wait_for_ready(timeout=60)
        client.execute_interactive(
            code, timeout=60, output_hook=lambda message: printed.append(message["content"].get("text", ""))
        )
    finally:
        client.stop_channels()
    return "".join(printed).strip()


def headers(browser: urllib.request.OpenerDirector, asked: urllib.request.Request) -> Any:
    """Return the headers of an answer, whatever its status."""
    try:
        answer = browser.open(asked, timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.headers


@pytest.mark.parametrize("path", PAGES)
def test_nobody_gets_in_without_the_token(lab: Lab, path: str) -> None:
    for token in ("", "0" * 48):
        status, headers, content = lab.ask(path, token=token)
        assert status == 403 or (status == 302 and "/login" in headers["location"])
        assert b"breast" not in content


def test_a_page_of_another_site_reads_nothing_with_the_cookie_of_a_browser(lab: Lab) -> None:
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    browser.open(lab.url, timeout=60).close()
    for path in ("api/contents", "ai4diag/lessons", "ai4diag/report"):
        with browser.open(f"{lab.root}/{path}", timeout=60) as answer:
            assert answer.status == 200  # the cookie lets in
        asked = urllib.request.Request(f"{lab.root}/{path}", headers={"Origin": "https://elsewhere.example.org"})
        assert "Access-Control-Allow-Origin" not in headers(browser, asked)
    assert lab.ask("api/contents", Host="elsewhere.example.org")[0] == 403


def test_the_report_comes_with_a_policy_under_which_nothing_runs(lab: Lab, evaluated: tuple[Path, str]) -> None:
    root, run_id = evaluated
    status, headers, content = lab.ask("ai4diag/report")
    assert status == 200
    assert content == (root / "mlruns" / "records" / run_id / "report.html").read_bytes()
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert "script-src" not in policy
    assert policy["sandbox"] == ""
    assert headers["cache-control"] == "no-store"


def test_our_pages_allow_scripts_by_a_number_that_holds_once(lab: Lab) -> None:
    policies = {lab.ask("ai4diag/mlflow")[1]["content-security-policy"] for _ in range(2)}
    assert len(policies) == 2
    assert all("default-src 'none'" in policy and "unsafe" not in policy for policy in policies)


def test_the_lessons_page_links_to_the_notebook(lab: Lab) -> None:
    status, _, content = lab.ask("ai4diag/lessons")
    assert status == 200
    assert b"/tree/notebooks/m01_first_result.ipynb" in content
    assert "✓ ready" in content.decode()


def test_hidden_files_are_not_shown(lab: Lab, workspace: Path) -> None:
    _, _, content = lab.ask("api/contents")
    names = {item["name"] for item in json.loads(content)["content"]}
    assert "pipelines" in names
    assert not [name for name in names if name.startswith(".")]
    assert (workspace / ".gitignore").is_file()
    assert lab.ask("api/contents/.gitignore")[0] == 404


def test_a_kernel_works_in_the_folder_of_its_notebook_and_its_messages_are_encrypted(lab: Lab, workspace: Path) -> None:
    found = kernel(lab)
    assert run(found, "import os; print(os.getcwd())") == str(workspace / "notebooks")
    assert run(found, "import subprocess; print(subprocess.getoutput('ai4diag --version'))").startswith("ai4diag")
    assert len(found["curve_secretkey"]) == 40


def test_mlflow_answers_through_the_lab_only_and_in_one_process(lab: Lab) -> None:
    assert lab.ask("ai4diag-mlflow/health")[2] == b"OK"
    _, _, content = lab.ask("ai4diag-mlflow/api/2.0/mlflow/experiments/get-by-name?experiment_name=breast-mass")
    assert json.loads(content)["experiment"]["name"] == "breast-mass"
    (server,) = lab.mlflow()
    assert not server.net_connections("inet")
    socket = Path(server.cmdline()[server.cmdline().index("--uds") + 1])
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    if os.geteuid() == 0:
        done = subprocess.run([sys.executable, "-c", PEEK, str(socket)], capture_output=True, text=True)
        assert "PermissionError" in done.stderr


def test_only_loopback_is_listened_on(lab: Lab) -> None:
    listening = {
        connection.laddr.ip
        for one in lab.processes()
        for connection in one.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_nothing_secret_stands_in_a_command_line_or_in_a_file_for_others(lab: Lab) -> None:
    assert not [one for one in lab.processes() if lab.token in " ".join(words(one))]
    runtime = lab.home / ".local" / "share" / "jupyter" / "runtime"
    assert stat.S_IMODE(runtime.stat().st_mode) & 0o077 == 0
    secret = [path for path in lab.home.rglob("*") if path.is_file() and lab.token.encode() in path.read_bytes()]
    assert {path.parent for path in secret} <= {runtime, lab.home}  # lab.txt is this test's own


def test_two_users_have_a_port_and_a_token_each(lab: Lab, workspace: Path, tmp_path: Path) -> None:
    with Lab(workspace, tmp_path / "home") as other:
        assert other.port != lab.port
        assert other.token != lab.token
        assert other.ask("api/contents")[0] == 200
        assert other.ask("api/contents", token=lab.token)[0] == 403
        assert other.ask("ai4diag-mlflow/health")[2] == b"OK"
        assert other.mlflow()[0].cmdline() != (lab.mlflow() or other.processes())[0].cmdline()


def test_settings_of_a_user_open_the_lab_to_nobody(workspace: Path, tmp_path: Path) -> None:
    settings = tmp_path / "home" / ".jupyter" / "jupyter_server_config.py"
    settings.parent.mkdir(parents=True)
    settings.write_text('c.ServerApp.token = c.IdentityProvider.token = ""\nc.ServerApp.disable_check_xsrf = True\n')
    with Lab(workspace, tmp_path / "home") as lab:  # its address is printed with a token
        for path in PAGES:
            assert lab.ask(path, token="")[0] in (302, 403)
        assert lab.ask("api/contents")[0] == 200
        assert lab.ask("login", token="")[0] == 200
        assert lab.ask("login", token="", data={}, method="POST")[0] == 403  # no number against forged requests


def test_a_workspace_without_runs_says_how_to_make_one(make_workspace: Any, tmp_path: Path) -> None:
    with Lab(make_workspace("breast-mass"), tmp_path / "home") as lab:
        for path, words in {
            "report": b"No report yet",
            "mlflow": b"No training runs yet",
            "lessons": b"No lessons here",
        }.items():
            status, _, content = lab.ask(f"ai4diag/{path}")
            assert status == 200
            assert words in content
        assert not lab.mlflow()
        assert b"MLflow is starting" in lab.ask("ai4diag/mlflow?anyway=1")[2]
        assert lab.ask("ai4diag-mlflow/health")[2] == b"OK"


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=lambda one: one.name
)
def test_however_it_ends_no_process_is_left(workspace: Path, tmp_path: Path, number: signal.Signals) -> None:
    with Lab(workspace, tmp_path / "home") as lab:
        found = kernel(lab)
        assert run(found, "print(1 + 1)") == "2"
        assert lab.ask("ai4diag-mlflow/health")[0] == 200
        assert lab.ask("api/terminals", data={}, method="POST")[0] == 200
        begun = lab.processes()
        assert len(begun) >= 4  # server, kernel, MLflow, terminal
        (server,) = lab.mlflow()
        socket = Path(server.cmdline()[server.cmdline().index("--uds") + 1])
        lab.end(number)
        assert alive(begun) == []
        assert not socket.parent.exists()


def test_a_plain_jupyter_lab_shows_the_tiles_where_the_extension_is_on(workspace: Path, tmp_path: Path) -> None:
    on = {"ServerApp": {"jpserver_extensions": {"ai4diag.jupyter": True, "ai4diag.course.page": True}}}
    for folder, titles in {workspace: ["Latest report", "Lessons", "MLflow"], tmp_path: []}.items():
        home = tmp_path / f"home-{folder.name}"
        (home / ".jupyter" / "jupyter_server_config.d").mkdir(parents=True)
        (home / ".jupyter" / "jupyter_server_config.d" / "ai4diag.json").write_text(json.dumps(on))
        root = ("--allow-root",) if os.geteuid() == 0 else ()
        with Lab(folder, home, "--ServerApp.ip=127.0.0.1", *root, command=("-m", "jupyterlab")) as plain:
            found = json.loads(plain.ask("server-proxy/servers-info")[2])["server_processes"]
            shown = [item["launcher_entry"]["title"] for item in found if item["launcher_entry"]["enabled"]]
            assert sorted(shown) == titles
            assert plain.ask("ai4diag/report")[0] == 200
