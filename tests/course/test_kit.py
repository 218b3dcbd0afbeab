"""`course reset` keeps what was there; `course catch-up` brings what a lesson needs."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

import pytest

from ai4diag.course import kit
from ai4diag.course.lesson import find
from ai4diag.course.place import lacking
from ai4diag.errors import UsageError
from ai4diag.pipelines.workspace import Workspace
from tests.conftest import ROOT

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def place(make_workspace):
    """A workspace with the first lesson and its source."""
    root = make_workspace("breast-mass")
    bring(root, "m01")
    return root


def bring(root, lesson):
    """Put a lesson and its source into a workspace."""
    for folder in ("curriculum", "notebooks"):
        (root / folder).mkdir(exist_ok=True)
        for path in (ROOT / folder).glob(f"{lesson}_*"):
            shutil.copy(path, root / folder)


def notebook(root):
    """The learner's notebook of the first lesson."""
    return next((root / "notebooks").glob("m01_*.ipynb"))


def test_a_reset_puts_the_lesson_back_and_keeps_what_was_there(place):
    fresh = notebook(place).read_text()
    notebook(place).write_text(fresh.replace("Story", "My story"))
    (place / "notebooks" / "work" / "m01").mkdir(parents=True)
    (place / "notebooks" / "work" / "m01" / "mine.csv").write_text("1")
    done = kit.reset(place, "m01", NOW)
    assert notebook(place).read_text() == fresh
    assert "My story" in done.kept[0].read_text()
    assert (done.kept[1] / "mine.csv").read_text() == "1"
    assert {path.parent for path in done.kept} == {place / kit.KEPT}
    assert find(place, "m01")[0] == done.notebook


def test_a_second_reset_in_the_same_second_loses_nothing(place):
    kit.reset(place, "m01", NOW)
    kit.reset(place, "m01", NOW)
    assert len(list((place / kit.KEPT).iterdir())) == 2


def test_without_a_notebook_a_reset_brings_one(place):
    path = notebook(place)
    path.unlink()
    assert kit.reset(place, "m01").notebook == path
    assert path.is_file()


def test_an_unknown_lesson_is_named(place):
    with pytest.raises(UsageError, match="m99"):
        kit.reset(place, "m99")


def test_a_course_pack_resets_from_its_originals(place):
    text = notebook(place).read_text()
    shutil.rmtree(place / "curriculum")
    (place / kit.ORIGINALS / "learner").mkdir(parents=True)
    shutil.copy(notebook(place), place / kit.ORIGINALS / "learner")
    notebook(place).write_text("{}")
    kit.reset(place, "m01", NOW)
    assert notebook(place).read_text() == text


def test_catching_up_brings_the_data(place):
    workspace = Workspace(place)
    header = find(place, "m01")[1]
    assert lacking(workspace, header) == [f"data set {name}" for name in header.data]
    said = []
    kit.catch_up(workspace, ["m01"], say=said.append)
    assert lacking(workspace, header) == []
    assert said == [f"data set {name}" for name in sorted(header.data)]


def test_catching_up_with_several_lessons_does_everything_once(place, mirror):
    bring(place, "m03")
    workspace = Workspace(place)
    said = []
    kit.catch_up(workspace, ["m01", "m03", "m01"], str(mirror), say=said.append)
    assert all(lacking(workspace, find(place, lesson)[1]) == [] for lesson in ("m01", "m03"))
    assert len(set(said)) == len(said)
    solved = [path.name for path in (place / kit.SOLVED).iterdir()]
    assert solved == [notebook(place).name]  # of the lesson before; nobody asked for the solution of m03


def test_a_copy_that_jupyterlab_made_is_nobodys_lesson(place):
    shutil.copy(notebook(place), notebook(place).with_stem(f"{notebook(place).stem}-Copy1"))
    assert find(place, "m01")[0].name == "m01_first_result.ipynb"
