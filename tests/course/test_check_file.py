"""`ai4diag course check`: what it reads, what it says, how it ends."""

from __future__ import annotations

import hashlib
import json
import linecache
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ai4diag.course import check_file, lessons, sandbox, watch
from ai4diag.course.answering import ask, read
from ai4diag.course.checking import check
from ai4diag.course.exercise import Exercise
from ai4diag.errors import DataError, UsageError
from tests.course.tiny import COUNT, DOUBLE, TRIPLE, needs_isolation, states, unmet

ALL = (DOUBLE, TRIPLE, COUNT)


def command(school, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `ai4diag course check` of the copy that has the tiny lesson."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "ai4diag", "course", "check", *words],
        cwd=school.workspace.root,
        env=os.environ | {"PYTHONPATH": str(school.package.parent)},
        capture_output=True,
        text=True,
    )


def test_a_solution_is_solved_and_cells_that_raise_do_not_stop_the_rest(school):
    needs_isolation()
    (found,) = school.check(
        school.hand_in("solution", DOUBLE, "1 / 0", "!git log", "%matplotlib inline", TRIPLE, COUNT)
    )
    assert states(found) == {"m00.double": True, "m00.triple": True, "m00.count": True}
    assert found.solved
    assert found.cells == (("2", "ZeroDivisionError: division by zero"),)
    assert found.state == "judged"
    assert found.reason == ""


def test_a_blank_notebook_and_a_typed_in_answer_solve_nothing(school):
    needs_isolation()
    typed = "double = triple = lambda value: 84"
    blank, number = school.check(school.hand_in("blank", "..."), school.hand_in("typed", typed, "count = 9"))
    assert set(states(blank).values()) == set(states(number).values()) == {False}
    assert unmet(blank) == ["`double` is defined ", "`triple` is defined ", "`count` is defined "]
    assert [text.split(" [")[0] for text in unmet(number)] == ["each is right", "each is right", "it is 10 9"]


@pytest.mark.slow
def test_the_command_says_what_is_solved_and_ends_with_0_or_10(school, tmp_path):
    needs_isolation()
    good, bad = school.hand_in("good", *ALL), school.hand_in("bad", DOUBLE, "1 / 0")
    solved = command(school, "--json", str(good))
    assert solved.returncode == 0, solved.stderr
    said = json.loads(solved.stdout)
    assert (said["isolation"], said["solved"]) == ("bubblewrap", True)
    folder = tmp_path / "class"
    folder.mkdir()
    for path in (good, bad):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "broken.ipynb").write_text("{")
    done = command(school, str(folder), "--seconds", "40", "--jobs", "2")
    assert done.returncode == 10
    assert re.search(r"class/good\.ipynb +m00\.double +solved +2/2\n", done.stdout)
    assert re.search(r"class/bad\.ipynb +m00\.triple +not solved +0/1\n", done.stdout)
    assert re.search(r"class/broken\.ipynb +- +refused +-\n", done.stdout)
    assert "broken.ipynb: refused" in done.stdout
    assert "cell 2 raised ZeroDivisionError" in done.stdout
    assert "✗ m00.triple: `triple` is defined" in done.stdout
    assert done.stdout.rstrip().endswith("isolation: bubblewrap")
    assert [line for line in done.stderr.splitlines() if line.startswith("3/3 ")] != []
    assert "2 of 3 notebooks not solved" in done.stderr


@pytest.mark.slow
def test_forty_notebooks_of_a_class_are_checked_together(school, tmp_path):
    needs_isolation()
    for number in range(39):
        text = school.hand_in("learner", *ALL[: number % 4]).read_text()
        (tmp_path / f"learner-{number:02}.ipynb").write_text(text)
    (tmp_path / "broken.ipynb").write_text("{")
    broken, *rest = school.check(*check_file.notebooks([tmp_path]), seconds=120, jobs=os.cpu_count() or 1)
    assert broken.state == "refused"
    assert [sum(states(found).values()) for found in rest] == [number % 4 for number in range(39)]
    assert [found.path.name for found in rest] == [f"learner-{number:02}.ipynb" for number in range(39)]


def test_files_and_folders_are_named_once_and_in_order(tmp_path):
    for name in ("b.ipynb", "a.ipynb", ".hidden.ipynb", "notes.txt"):
        (tmp_path / name).write_text("")
    a, b = tmp_path / "a.ipynb", tmp_path / "b.ipynb"
    assert check_file.notebooks([tmp_path]) == [a, b]
    assert check_file.notebooks([b, tmp_path]) == [b, a]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="has no notebook"):
        check_file.notebooks([tmp_path / "empty"])
    with pytest.raises(UsageError, match="does not exist"):
        check_file.notebooks([tmp_path / "no.ipynb"])


@pytest.fixture
def plain_path(tmp_path):
    """A PATH with Python, git and bash, and without bubblewrap."""
    for name in ("git", "bash"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    return f"{tmp_path}:{Path(sys.executable).parent}"


@pytest.mark.slow
def test_without_isolation_a_folder_is_refused_and_one_file_is_checked_with_a_warning(school, plain_path):
    good = school.hand_in("good", *ALL)
    secret = "import os\nassert 'SECRET_OF_THE_TRAINER' not in os.environ"
    alone = school.hand_in("alone", secret, *ALL)

    def plain(*words: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "PYTHONPATH": str(school.package.parent),
            "PATH": plain_path,
            "SECRET_OF_THE_TRAINER": "x",
        }
        command = [sys.executable, "-P", "-m", "ai4diag", "course", "check", *words]
        return subprocess.run(command, cwd=school.workspace.root, env=environment, capture_output=True, text=True)

    refused = plain(str(school.handed_in))
    assert refused.returncode == 2
    assert "bubblewrap is missing" in refused.stderr
    assert plain(str(good), str(alone)).returncode == 2
    done = plain(str(alone), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "isolation: none; check only your own notebooks" in done.stderr
    said = json.loads(done.stdout)
    assert said["isolation"] == "none"
    assert said["notebooks"][0]["cells"] == []


def test_a_python_that_cannot_be_shown_without_the_home_folder_is_no_isolation(monkeypatch):
    needs_isolation()
    assert sandbox.bubblewrap.__wrapped__()
    monkeypatch.setattr(Path, "home", lambda: Path(sys.prefix) / "lib" / "somebody")
    assert sandbox.bubblewrap.__wrapped__() == ""


@pytest.mark.slow
def test_a_plain_process_is_limited_in_time_and_ends_with_what_it_started(school, monkeypatch, plain_path):
    mark = f"ai4diag-plain-{os.getpid()}"
    stay = f"import subprocess\nsubprocess.Popen(['bash', '-c', 'exec -a {mark} sleep 300'])\nwhile True: pass"
    monkeypatch.setenv("PATH", plain_path)
    (found,) = school.check(school.hand_in("loop", stay), seconds=8)
    assert found.reason == "it took longer than 8 s"
    assert marked(mark) == []


@pytest.mark.slow
def test_ctrl_c_leaves_no_process_and_no_folder(school, tmp_path):
    needs_isolation()
    mark = f"ai4diag-ctrl-c-{os.getpid()}"
    stay = f"import subprocess\nsubprocess.Popen(['bash', '-c', 'exec -a {mark} sleep 300'], start_new_session=True)"
    path = school.hand_in("stay", stay, "import time\ntime.sleep(300)")
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "ai4diag", "course", "check", str(path)],
        cwd=school.workspace.root,
        env=os.environ | {"PYTHONPATH": str(school.package.parent), "TMPDIR": str(tmp_path)},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wait_for(lambda: marked(mark))
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    wait_for(lambda: not marked(mark))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_killed_check_leaves_no_process_and_no_folder(school, tmp_path):
    needs_isolation()
    mark = f"ai4diag-kill-{os.getpid()}"
    stay = f"import subprocess, time\nsubprocess.Popen(['bash', '-c', 'exec -a {mark} sleep 300'])\ntime.sleep(300)"
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "ai4diag", "course", "check", str(school.hand_in("stay", stay))],
        cwd=school.workspace.root,
        env=os.environ | {"PYTHONPATH": str(school.package.parent), "TMPDIR": str(tmp_path)},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    wait_for(lambda: marked(mark))
    process.kill()
    process.wait()
    wait_for(lambda: not marked(mark))
    wait_for(lambda: list(tmp_path.iterdir()) == [])


def test_a_full_disk_is_told_and_nothing_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "LEAST_FREE_GIB", 10**9)
    limits = watch.Limits(seconds=60, memory_gib=4, bytes_said=1)
    reason = watch.watch(
        ["sleep", "50"],
        environment=dict(os.environ),
        cwd=tmp_path,
        written=tmp_path,
        hear=bool,
        limits=limits,
    )
    assert reason == watch.NO_SPACE


def marked(mark: str) -> list[int]:
    """Return the processes of a name."""
    return [item.pid for item in psutil.process_iter(["cmdline"]) if mark in (item.info["cmdline"] or [])]


def wait_for(holds, seconds: float = 40) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


class Sum(Exercise):
    """Two names."""

    id, title, names = "m00.sum", "sum", ("a", "b")
    hints, worked = ("", ""), ""

    def answer(self, given, names):
        return names["a"] + names["b"]

    def judge(self, given, answer, expect, root):
        expect.equal("the sum", answer, 3)


@pytest.mark.parametrize(
    ("kind", "text", "met"),
    [
        ("answer", "3", True),
        ("answer", "4", False),
        ("answer", "true", False),
        ("answer", "[", False),
        ("answer", "[" * 100_000, False),
        ("answer", "9" * 5000, False),
        ("missing", "a", False),
        ("missing", "", False),
        ("missing", "c", False),
        ("error", "", False),
        ("not-plain", "", False),
        ("solved", "3", False),
        ("", "", False),
    ],
)
def test_only_a_right_answer_meets_everything_whatever_arrives(kind, text, met):
    found = read(Sum(), {}, kind, text, Path())
    assert found
    assert all(item.met for item in found) is met


def test_ask_says_what_is_missing_raised_or_not_plain():
    assert ask(Sum(), {"a": 1, "b": 2}, "{}") == ("answer", "3")
    assert ask(Sum(), {"b": 2}, "{}") == ("missing", "a")
    assert ask(Sum(), {"a": 1, "b": "x"}, "{}")[0] == "error"
    assert ask(Sum(), {"a": object(), "b": 2}, "{}")[0] == "error"
    assert ask(Sum(), {"a": 1j, "b": 2}, "{}") == ("not-plain", "a builtins.complex")


def raises(text):
    """Return a function of these lines, as a notebook has it."""
    names = {}
    path = f"/tmp/cell-{abs(hash(text))}.py"
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
    exec(compile(text, path, "exec"), names)
    return names["f"]


class Call(Sum):
    """A function that is called."""

    names = ("f",)

    def answer(self, given, names):
        return names["f"](-1)


def test_an_error_is_told_with_the_line_that_raised_it():
    kind, text = ask(Call(), {"f": raises("def f(age):\n    assert age >= 0\n")}, "{}")
    assert (kind, text) == ("error", "AssertionError in `assert age >= 0`: it says no more")
    kind, text = ask(Call(), {"f": raises("import numpy as np\ndef f(age):\n    return np.zeros(age)\n")}, "{}")
    assert text == "ValueError in `return np.zeros(age)`: negative dimensions are not allowed"
    kind, text = ask(Call(), {"f": raises("import json\ndef f(age):\n    return json.loads('[' * 3)\n")}, "{}")
    assert text.startswith("JSONDecodeError in `return json.loads('[' * 3)`: Expecting value")


def test_what_was_run_is_known_by_its_hash(school):
    needs_isolation()
    path = school.hand_in("hash", DOUBLE)
    (found,) = school.check(path)
    assert found.sha256 == found.data()["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_data_that_are_missing_are_told_with_the_cure(tmp_path, monkeypatch):
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "params.yaml").write_text("pipelines: {}\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"m02\.\w+ cannot be judged: .* ai4diag course catch-up m02"):
        for exercise in lessons.exercises("m02"):
            check(exercise.id, names=dict.fromkeys(exercise.names))
