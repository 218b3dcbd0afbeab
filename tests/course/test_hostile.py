"""Notebooks that want something else than to learn: each solves nothing, reaches nothing, and stops nobody else."""

from __future__ import annotations

import errno
import json
import os
import socket
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest

from ai4diag.course.check_file import LARGEST
from tests.course.tiny import COUNT, DOUBLE, TRIPLE, needs_isolation, notebook, states, unmet

NOTHING = {"m00.double": False, "m00.triple": False, "m00.count": False}


@pytest.fixture(autouse=True)
def _isolated():
    needs_isolation()


def answers(value: str) -> str:
    """Return a cell that answers everything with one expression."""
    return f"double = triple = lambda value: {value}\ncount = ({value})"


def test_objects_that_equal_everything_solve_nothing(school):
    lie = "class Lie(int):\n    __eq__ = lambda s, o: True\n    __hash__ = int.__hash__\n    __len__ = lambda s: 8"
    (found,) = school.check(school.hand_in("equal", lie, answers("Lie(1)")))
    assert states(found) == NOTHING
    assert all("made of plain values" in text for text in unmet(found))


def test_a_secret_in_the_environment_is_not_there(school, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_TRAINER", "hunter2")
    look = (
        "import os, pathlib\nseen = str(dict(os.environ))\nfor path in pathlib.Path('/proc').glob('[0-9]*/environ'):\n"
    )
    look += "    seen += path.read_text()\n"
    raised = "raise RuntimeError('SECRET' in seen, 'hunter' in seen, len(seen) > 100, os.environ['HOME'])"
    (found,) = school.check(school.hand_in("environment", look, raised))
    assert found.cells == (("2", "RuntimeError: (False, False, True, '/home/learner')"),)


@pytest.mark.slow
def test_an_endless_loop_is_ended_and_what_it_had_solved_is_not_lost_to_others(school):
    begin = time.monotonic()
    loop, good = school.hand_in("loop", DOUBLE, "while True: pass"), school.hand_in("good", DOUBLE, TRIPLE, COUNT)
    found, beside = school.check(loop, good, seconds=12)
    assert states(found) == NOTHING
    assert found.reason == "it took longer than 12 s"
    assert beside.solved
    assert time.monotonic() - begin < 60


@pytest.mark.slow
def test_an_answer_that_never_ends_keeps_the_earlier_ones(school):
    (found,) = school.check(
        school.hand_in("late", DOUBLE, "def triple(value):\n    while True: pass", COUNT), seconds=8
    )
    assert states(found) == {**NOTHING, "m00.double": True}


def test_a_process_in_the_background_ends_with_its_notebook(school):
    mark = f"ai4diag-test-{os.getpid()}"
    stay = f"import subprocess\nsubprocess.Popen(['bash', '-c', 'exec -a {mark} sleep 300'], start_new_session=True)"
    (found,) = school.check(school.hand_in("background", stay, "import time; time.sleep(0.5)", DOUBLE, TRIPLE, COUNT))
    assert found.solved
    assert [item.pid for item in psutil.process_iter(["cmdline"]) if mark in (item.info["cmdline"] or [])] == []


@pytest.mark.slow
def test_too_many_processes_are_ended(school):
    fork = "import os, time\nfor _ in range(400):\n    if os.fork() == 0:\n        time.sleep(60)\ntime.sleep(30)"
    (found,) = school.check(school.hand_in("fork", fork, DOUBLE), memory_gib=64)
    assert states(found) == NOTHING
    assert "processes" in found.reason


@pytest.mark.slow
def test_too_much_memory_is_noticed(school):
    (found,) = school.check(school.hand_in("memory", "rows = [bytes([1]) * 10**8 for _ in range(100)]"), memory_gib=1)
    assert states(found) == NOTHING
    assert found.reason == "it took more than 1 GiB of memory"


def test_nothing_outside_of_its_folder_can_be_read_or_written(school, tmp_path):
    (tmp_path / "planted").write_text("secret")
    home = Path.home()
    raw = school.workspace.data / "toy" / "north.csv"
    before = raw.read_bytes()
    tried = f"""
import os, pathlib
lines = []
def tries(what):
    try:
        what()
        lines.append("done")
    except OSError as error:
        lines.append(type(error).__name__)
here = pathlib.Path.cwd().parent
tries(lambda: open({str(tmp_path / "planted")!r}).read())
tries(lambda: open({str(tmp_path / "new")!r}, "w"))
tries(lambda: open({str(home / ".ai4diag-test-planted")!r}, "w"))
tries(lambda: open("/usr/planted", "w"))
tries(lambda: open({str(school.package / "planted.py")!r}, "w"))
tries(lambda: open(here / "data/toy/north.csv", "a"))
tries(lambda: os.listdir({str(school.handed_in)!r}))
tries(lambda: open({str(school.workspace.root / "params.yaml")!r}))
tries(lambda: open(here / "data/toy/north.csv").read())
tries(lambda: open(here / "mine.txt", "w"))
raise RuntimeError(" ".join(lines))
"""
    (found,) = school.check(school.hand_in("writes", tried))
    assert found.cells[0][1].split()[-2:] == ["done", "done"]  # its data can be read, its own folder be written to
    refused = found.cells[0][1].removeprefix("RuntimeError: ").split()[:-2]
    assert set(refused) <= {"FileNotFoundError", "OSError", "PermissionError"}
    assert len(refused) == 8
    assert not (tmp_path / "new").exists()
    assert not (home / ".ai4diag-test-planted").exists()
    assert not (school.package / "planted.py").exists()
    assert raw.read_bytes() == before


def test_there_is_no_network_not_even_to_this_machine(school):
    with socket.create_server(("127.0.0.1", 0)) as server:
        called: list[object] = []
        threading.Thread(target=lambda: called.append(server.accept()), daemon=True).start()
        port = server.getsockname()[1]
        code = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 3)"
        (found,) = school.check(school.hand_in("network", code))
        assert "ConnectionRefusedError" in found.cells[0][1]
        assert called == []
        with socket.create_connection(("127.0.0.1", port), 3):  # the listener would have heard
            time.sleep(0.2)
        assert len(called) == 1


def test_huge_output_is_not_kept(school):
    printed = "for _ in range(300):\n    print('x' * 10**6)"
    (found,) = school.check(school.hand_in("output", printed, DOUBLE, TRIPLE, COUNT))
    assert found.solved


def test_a_huge_answer_is_refused(school):
    (found,) = school.check(school.hand_in("answer", "double = lambda value: 'x' * 10**6", TRIPLE, "count = 10**9"))
    assert states(found) == {"m00.double": False, "m00.triple": True, "m00.count": False}
    assert any("8,0" in text for text in unmet(found))


def test_a_judge_that_is_made_to_take_all_memory_fails_this_answer_alone(school):
    (found,) = school.check(school.hand_in("judge", DOUBLE, "count = 10**13", TRIPLE))
    assert states(found) == {**NOTHING, "m00.double": True, "m00.triple": True}
    assert any("can be judged" in text for text in unmet(found))


FORGED = """
import os
for fd in range(3, 30):
    try:
        os.write(fd, b{lines!r})
    except OSError:
        pass
"""


@pytest.mark.parametrize(
    "lines",
    [
        "ready - -\\nanswer m00.double []\\nanswer m00.triple 3\\nanswer m00.count true\\ndone - -\\n",
        "missing m00.double -\\nmissing m00.triple\\nmissing m00.count nothing\\ndone - -\\n",
        "solved m00.double true\\nmet m00.triple 1\\nanswer m00.count " + "[" * 3000 + "\\ndone - -\\n",
        "\\n \\n  \\nanswer\\nanswer \\n\\xff\\xfe\\ndone - -\\n",
        "answer m00.double " + "9" * 5000 + "\\nanswer m00.triple NaN\\nanswer m00.count 1e999\\ndone - -\\n",
    ],
    ids=["early", "missing", "unknown kinds", "no lines", "numbers"],
)
def test_forged_results_are_judged_like_any_other(school, lines):
    (found,) = school.check(school.hand_in("forged", FORGED.replace("{lines!r}", f"'{lines}'")))
    assert states(found) == NOTHING


@pytest.mark.slow
def test_endless_results_are_ended(school):
    flood = "import os\nwhile True:\n    for fd in range(3, 12):\n"
    flood += "        try:\n            os.write(fd, b'answer ' * 10**4)\n        except OSError:\n            pass"
    (found,) = school.check(school.hand_in("flood", flood))
    assert states(found) == NOTHING
    assert "longer than" in found.reason


def test_a_forged_file_in_the_workspace_is_nothing_to_the_judge(school):
    forged = "import json, pathlib\nfor name in ('result.json', 'given.json', '../result.json', '../../result.json'):\n"
    forged += "    try:\n        pathlib.Path(name).write_text(json.dumps({'solved': True, 'state': 'judged'}))\n"
    forged += "    except OSError:\n        pass"
    (found,) = school.check(school.hand_in("file", forged))
    assert states(found) == NOTHING


def test_what_is_given_is_not_there_before_the_cells_have_run(school):
    look = "import sys, os\nfolder = os.path.dirname(sys.argv[3])\nraise RuntimeError(os.listdir(folder))"
    (found,) = school.check(school.hand_in("given", look, DOUBLE, TRIPLE, COUNT))
    assert found.cells == (("1", "RuntimeError: []"),)
    assert found.solved


def test_another_learner_is_not_there(school):
    first = school.hand_in("first", "open('/tmp/left', 'w').write('solution')", DOUBLE, TRIPLE, COUNT)
    look = "import os, sys\nabove = os.path.dirname(os.path.dirname(os.path.dirname(sys.argv[3])))\n"
    look += "raise RuntimeError(os.path.exists('/tmp/left'), os.listdir('.'), sorted(os.listdir(above)))"
    found, second = school.check(first, school.hand_in("second", look), jobs=1)
    assert found.solved
    assert second.cells == (("1", "RuntimeError: (False, ['m00_notebook.ipynb'], ['lessons', 'n0001'])"),)


def test_a_notebook_that_ends_its_own_kernel(school):
    (found,) = school.check(school.hand_in("exit", DOUBLE, "import os\nos._exit(0)", TRIPLE))
    assert states(found) == NOTHING
    assert found.reason == "it ended its own kernel before its last cell had run"


def test_overridden_builtins_and_json_harm_only_their_owner(school):
    override = "import json, builtins\njson.dumps = lambda *a, **k: '[1'\nbuiltins.len = lambda x: 10\n"
    override += "builtins.isinstance = lambda *a: True\nbuiltins.repr = lambda x: 1/0"
    bad, good = school.hand_in("override", override, DOUBLE), school.hand_in("good", DOUBLE, TRIPLE, COUNT)
    found, beside = school.check(bad, good)
    assert states(found) == NOTHING
    assert beside.solved


def test_what_it_says_does_nothing_to_the_terminal(school):
    (found,) = school.check(
        school.hand_in("escape", "raise ValueError('\\x1b[31m\\u202e red \\x07')", "count = '\\x1b]0;x'")
    )
    told = json.dumps([found.cells, unmet(found)], ensure_ascii=False)
    assert all(letter.isprintable() for letter in told)
    assert "red" in told


def test_files_that_are_no_notebooks_are_refused(school, tmp_path):
    good = school.hand_in("good", DOUBLE, TRIPLE, COUNT)
    content = {
        "empty": b"",
        "no json": b"import os",
        "binary": bytes(range(256)),
        "list": b"[]",
        "deep": b"[" * 10**6,
        "deeper": b'{"a":' * 10**5,
        "other": json.dumps(notebook() | {"metadata": {}}).encode(),
        "path": json.dumps(notebook() | {"metadata": {"ai4diag": {"id": "../m00"}}}).encode(),
        "cells": json.dumps(notebook() | {"cells": {"a": 1}}).encode(),
        "source": json.dumps(notebook() | {"cells": [{"cell_type": "code", "source": [1]}]}).encode(),
        "many": json.dumps(notebook(*["pass"] * 3000)).encode(),
    }
    for name, text in content.items():
        (tmp_path / f"{name}.ipynb").write_bytes(text)
    with (tmp_path / "large.ipynb").open("wb") as stream:
        stream.truncate(100_000_000)
    (tmp_path / "link.ipynb").symlink_to(good)
    (tmp_path / "folder.ipynb").mkdir()
    os.mkfifo(tmp_path / "pipe.ipynb")
    paths = sorted(tmp_path.iterdir())
    *refused, beside = school.check(*paths, good)
    assert [item.path for item in refused if item.state != "refused"] == []
    assert len(refused) == len(content) + 4
    assert {item.path.stem: item.reason for item in refused}["link"] == "it is a link."
    assert f"{LARGEST:,}" in {item.path.stem: item.reason for item in refused}["large"]
    assert beside.solved


def test_a_header_that_asks_for_other_folders_gets_the_lessons_own(school):
    made = notebook("import os\nraise RuntimeError(sorted(os.listdir('../pipelines')), sorted(os.listdir('../data')))")
    made["metadata"]["ai4diag"] = {**made["metadata"]["ai4diag"], "data": ["../../.."], "pipelines": ["../../../etc"]}
    path = school.handed_in / "header.ipynb"
    path.write_text(json.dumps(made))
    (found,) = school.check(path)
    assert found.cells == (("1", "RuntimeError: ([], ['toy'])"),)


@pytest.mark.slow
def test_what_it_wrote_is_removed_however_deep_and_locked(school, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    locked = "import os\nos.makedirs('/tmp/locked/in')\nos.chmod('/tmp/locked', 0)"
    deep = "for _ in range(3000):\n    os.mkdir('d')\n    os.chdir('d')\nimport time\ntime.sleep(30)"
    (found,) = school.check(school.hand_in("deep", locked, deep))
    assert "into which nobody can look" in found.reason  # there it could fill the disk
    assert list(tmp_path.iterdir()) == []


CALLS = {
    "memory of no process": "os.memfd_create('x')",
    "shared memory": "called('shmget', 0, 10**9, 0o1600)",
    "the trainer's keys": "called('keyctl', 0, -3, 0)",
    "a folder in memory": "called('mount', b'x', b'/tmp', b'tmpfs', 0, None)",
    "another user": "called('unshare', 0x10000000)",
}
CALL = """
import ctypes, os
from ai4diag.course.runner import KERNELS, REFUSED
def called(name, *words):
    library = ctypes.CDLL(None, use_errno=True)
    if library.syscall(REFUSED[name][KERNELS[os.uname().machine][2]], *words) < 0:
        raise OSError(ctypes.get_errno(), name)
said = []
for call in {calls!r}:
    try:
        said.append(str(eval(call)))
    except OSError as error:
        said.append(error.strerror and str(error.errno))
raise RuntimeError(' '.join(said))
"""


def test_the_kernel_refuses_memory_that_nobody_counts_and_the_keys_of_the_session(school):
    (found,) = school.check(school.hand_in("calls", CALL.replace("{calls!r}", repr(list(CALLS.values())))))
    assert found.cells == (("1", "RuntimeError: " + " ".join([str(errno.ENOSYS)] * len(CALLS))),)


FILL = """
import os, time
for number in range(9):
    file = os.open('f', os.O_CREAT | os.O_WRONLY)
    os.unlink('f')
    os.posix_fallocate(file, 0, 10**9)
time.sleep(30)
"""


@pytest.mark.slow
def test_deleted_files_that_are_still_open_count(school):
    (found,) = school.check(school.hand_in("fill", FILL))
    assert states(found) == NOTHING
    assert found.reason == "it wrote more than 8 GiB"
