"""A course pack works where there is no network: it installs, and its first lesson is solved there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig

import pytest

from ai4diag.course.lesson import in_notebook, notebooks
from ai4diag.course.pack import make_pack, start_page
from ai4diag.data import catalogue
from ai4diag.errors import UsageError
from ai4diag.pipelines.workspace import Workspace
from tests.conftest import ROOT

pytestmark = pytest.mark.xdist_group("pack")  # one process, or the pack is made twice


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    """The quick variant of a pack: one lesson."""
    here = Workspace(ROOT)
    catalogue.get(here.catalogue.card("wdbc"), here.data)
    folder = tmp_path_factory.mktemp("stick") / "pack"
    said = make_pack(here, folder, ["m01"])
    assert said["lessons"] == ["m01"]
    return folder


def offline(folder, *words, where="."):
    """Run words in a sandbox that sees the system read-only, the pack, and no network."""
    if shutil.which("bwrap") is None:
        if os.environ.get("CI"):
            pytest.fail("bubblewrap is missing: without it nothing shows that a pack needs no network")
        pytest.skip("bubblewrap is missing")
    sandbox = ["bwrap", "--unshare-net", "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    places = ["--tmpfs", "/tmp", "--tmpfs", "/var/tmp", "--bind", str(folder), str(folder)]
    hidden = [word for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PYTHONPATH") for word in ("--unsetenv", name)]
    command = [*sandbox, *places, *hidden, "--setenv", "HOME", "/tmp", "--chdir", str(folder / where), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def base_python():
    """The interpreter below the virtual environment."""
    return f"{sys.base_prefix}/bin/python3"


@pytest.mark.slow
def test_it_installs_and_solves_a_lesson_without_a_network(pack):
    installed = offline(pack, base_python(), "install.py")
    assert installed.returncode == 0, installed.stdout + installed.stderr
    assert "ai4diag lab" in installed.stdout
    found = offline(pack, "../.venv/bin/ai4diag", "course", "list", "--json", where="classroom")
    assert [(lesson["id"], lesson["lacking"]) for lesson in json.loads(found.stdout)] == [("m01", [])]
    solution = next((pack / "classroom" / "originals" / "solution").glob("m01_*.ipynb"))
    checked = offline(pack, "../.venv/bin/ai4diag", "course", "check", str(solution), "--json", where="classroom")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.slow
def test_a_damaged_file_is_named(pack, tmp_path):
    copy = tmp_path / "pack"
    copy.mkdir()
    for path in pack.glob("[!.]*"):
        if path.is_dir():
            (copy / path.name).symlink_to(path)
        else:
            shutil.copy(path, copy)
    (copy / "START.html").write_text("<p>something else</p>")
    done = subprocess.run([base_python(), str(copy / "install.py")], capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "START.html" in done.stderr
    assert not (copy / ".venv").exists()


@pytest.mark.slow
def test_another_python_is_told_so(pack, tmp_path):
    shutil.copy(pack / "install.py", tmp_path)
    said = json.loads((pack / "pack.json").read_text())
    (tmp_path / "pack.json").write_text(json.dumps(said | {"made_on": {"python": "3.1", "platform": "linux-x86_64"}}))
    done = subprocess.run([base_python(), str(tmp_path / "install.py")], capture_output=True, text=True, check=False)
    assert done.returncode == 7
    assert "3.1" in done.stderr


def test_the_first_page_lists_the_lessons_and_needs_nothing_from_elsewhere():
    lessons = [in_notebook(path) for path in notebooks(ROOT).values()]
    page = start_page(lessons, {"python": "3.11", "platform": "linux-x86_64"})
    assert all(f'<th scope="row">{lesson.id}</th>' in page for lesson in lessons)
    assert "http" not in page


def test_a_pack_is_never_written_over_something(tmp_path):
    with pytest.raises(UsageError, match="exists"):
        make_pack(Workspace(ROOT), tmp_path)


def test_a_pack_is_made_in_a_checkout(make_workspace, tmp_path):
    with pytest.raises(UsageError, match="curriculum"):
        make_pack(Workspace(make_workspace("breast-mass")), tmp_path / "pack")


@pytest.fixture
def stick(tmp_path):
    """A pack that holds next to nothing."""
    shutil.copy(ROOT / "src/ai4diag/course/install.py", tmp_path)
    made_on = {"python": f"{sys.version_info[0]}.{sys.version_info[1]}", "platform": sysconfig.get_platform()}
    (tmp_path / "pack.json").write_text(json.dumps({"made_on": made_on, "wheels": 1}))
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "a.whl").write_text("a")
    (tmp_path / "SHA256SUMS").write_text(f"{hashlib.sha256(b'a').hexdigest()}  wheels/a.whl\n")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "text"),
    [("wheels/a.whl", "b"), ("wheels/b.whl", "b"), ("SHA256SUMS", ""), ("SHA256SUMS", None), ("wheels/a.whl", None)],
    ids=["damaged", "foreign", "emptied", "no sums", "missing"],
)
def test_what_is_not_as_it_was_made_is_not_installed(stick, file, text):
    (stick / file).unlink(missing_ok=True)
    if text is not None:
        (stick / file).write_text(text)
    done = subprocess.run([base_python(), str(stick / "install.py")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (4, "")
    assert "Copy the pack again" in done.stderr
    assert not (stick / ".venv").exists()
