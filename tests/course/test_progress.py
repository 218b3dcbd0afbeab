"""Progress is off until it is turned on, says little, survives many writers, and can be forgotten."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import re
from pathlib import Path

import pytest

from ai4diag.course import progress
from ai4diag.course.checking import check
from ai4diag.course.exercise import Expectation
from ai4diag.errors import UsageError

ONE_OF_TWO = (Expectation("a", True), Expectation("b", False))


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A workspace's folder."""
    root = tmp_path / "workspace"
    (root / "notebooks").mkdir(parents=True)
    (root / "pipelines").mkdir()
    (root / "params.yaml").write_text("pipelines: {}\n")
    monkeypatch.chdir(root / "notebooks")
    return root


def everything(folder: Path) -> list[str]:
    """Return all files of a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def lines(path: Path) -> list[dict[str, object]]:
    """Return what was written."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_nothing_is_written_unless_it_is_turned_on(root):
    before = everything(root)
    check("m01.quiz", names={"quiz": {1: "a"}})
    assert progress.note(root, "m01.quiz", ONE_OF_TWO, 0) == ""
    assert everything(root) == before


def test_a_check_writes_one_line_of_six_values_and_nothing_of_the_learners_cells(root, tmp_path):
    sharing = progress.share(root, "ada", tmp_path / "class")
    check("m01.quiz", names={"quiz": {1: "my secret text"}}, hint=2)
    check("m01.quiz", names={})
    first, second = lines(sharing.file)
    assert sharing.file == tmp_path / "class" / "ada.jsonl"
    assert set(first) == {"who", "exercise", "met", "total", "hint", "time"}
    assert (first["who"], first["exercise"], first["met"], first["total"], first["hint"]) == (
        "ada",
        "m01.quiz",
        0,
        5,
        2,
    )
    assert (second["met"], second["hint"]) == (0, 0)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", str(first["time"]))
    assert "secret" not in sharing.file.read_text()


def test_a_drawn_pseudonym_tells_nothing_of_the_user(root, monkeypatch):
    monkeypatch.setenv("USER", "augusta")
    drawn = progress.share(root)
    assert re.fullmatch(r"learner-[0-9a-f]{6}", drawn.pseudonym)
    assert progress.share(root) == drawn
    assert drawn.folder == root / "notebooks" / "work" / "progress"


def test_forget_deletes_the_line_and_the_wish(root, tmp_path):
    before = everything(tmp_path)
    progress.share(root, "ada", tmp_path / "class")
    progress.note(root, "m01.quiz", ONE_OF_TWO, 0)
    progress.forget(root)
    assert everything(tmp_path) == before
    assert progress.note(root, "m01.quiz", ONE_OF_TWO, 0) == ""
    assert everything(tmp_path) == before
    assert progress.forget(root) is None


def test_another_name_takes_the_file_of_the_first_away(root, tmp_path):
    progress.share(root, "ada", tmp_path / "class")
    progress.share(root, "grace", tmp_path / "class")
    assert everything(tmp_path / "class") == ["grace.jsonl"]


def test_a_name_that_somebody_has_and_one_that_is_a_path_are_refused(root, tmp_path):
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "ada.jsonl").write_text("")
    for name in ("ada", "../ada", "a b", "-x", "a" * 33, "é"):
        with pytest.raises(UsageError):
            progress.share(root, name, tmp_path / "class")
    assert progress.sharing(root) is None


def test_a_check_goes_on_where_the_line_cannot_be_written(root, tmp_path):
    sharing = progress.share(root, "ada", tmp_path / "class")
    sharing.file.unlink()
    sharing.file.symlink_to(tmp_path / "elsewhere")
    with pytest.warns(UserWarning, match="Progress was not written"):
        verdict = check("m01.quiz", names={"quiz": {}})
    assert not verdict.met
    assert not (tmp_path / "elsewhere").exists()


def write_many(root: Path, number: int) -> None:
    """Write 200 lines, each with the writer's number."""
    for _ in range(200):
        progress.note(root, f"m01.{'x' * 20}{number}", ONE_OF_TWO, 0)


def test_lines_of_several_processes_stay_whole(root):
    sharing = progress.share(root, "ada")
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(root, number)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = [line["exercise"] for line in lines(sharing.file)]
    assert {name: found.count(name) for name in found} == {f"m01.{'x' * 20}{number}": 200 for number in range(4)}


def test_somebody_elses_lock_does_not_stop_a_check(root):
    sharing = progress.share(root, "ada")
    with sharing.file.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert progress.note(root, "m01.quiz", ONE_OF_TWO, 0) == ""
    assert len(lines(sharing.file)) == 1


def test_what_was_forgotten_does_not_come_back(root, monkeypatch):
    sharing = progress.share(root, "ada")
    progress.forget(root)
    monkeypatch.setattr(progress, "sharing", lambda root: sharing)  # a check that had looked a moment before
    assert "ai4diag course share" in progress.note(root, "m01.quiz", ONE_OF_TWO, 0)
    assert not sharing.file.exists()


def test_a_pipe_in_the_place_of_the_file_does_not_stop_a_check(root):
    sharing = progress.share(root, "ada")
    sharing.file.unlink()
    os.mkfifo(sharing.file)
    assert "was not written" in progress.note(root, "m01.quiz", ONE_OF_TWO, 0)


def test_a_file_that_was_collected_is_made_anew_by_share(root):
    sharing = progress.share(root, "ada")
    sharing.file.unlink()
    assert progress.share(root) == sharing
    assert progress.note(root, "m01.quiz", ONE_OF_TWO, 0) == ""
    assert len(lines(sharing.file)) == 1


def test_settings_that_name_another_file_delete_nothing(root, tmp_path):
    (tmp_path / "diary.jsonl").write_text("mine")
    (root / progress.SETTINGS).parent.mkdir(parents=True)
    (root / progress.SETTINGS).write_text(json.dumps({"pseudonym": "../diary", "folder": str(tmp_path / "class")}))
    assert progress.forget(root) is None
    assert (tmp_path / "diary.jsonl").read_text() == "mine"
