"""What every lesson must have: objectives, minutes, story, exercises, quiz, trainer's notes; and no leaks."""

from __future__ import annotations

import json
import re

import pytest

from ai4diag.course import build, lessons
from ai4diag.course.quiz import Quiz
from ai4diag.course.source import solution_lines, sources
from ai4diag.pipelines.workspace import Workspace
from tests.conftest import ROOT

WORDS = """
add answer ask assign build calculate calibrate check choose compare compute convert count decide describe detect
divide draw estimate evaluate explain export find fine-tune fit flag hand identify interpret justify label link list
locate make mark measure name open overlay plan plot predict prepare prevent publish pull quantify rank read record
recognise refuse remove report reproduce resample resume run score segment select set share show sign split spot
state test track train trace use verify window write
"""
VERBS = frozenset(WORDS.split())
SOURCES = sources(ROOT / "curriculum")
LEARNER = [ROOT / "notebooks" / f"{source.path.stem}.ipynb" for source in SOURCES]
NETWORK = re.compile(r"https?://|\bpip install|\bwget\b|\bcurl\b|urlopen|\brequests\.|urlretrieve")


@pytest.fixture(scope="module")
def built():
    """Every notebook of the curriculum, as its source gives it."""
    return build.build(ROOT)


def every_lesson(test):
    """Run a test once for each lesson."""
    return pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.lesson.id)(test)


def headings(source):
    """Return the headings of the second level, in order."""
    text = "\n".join(cell.text for cell in source.cells if cell.kind == "markdown" and "trainer" not in cell.tags)
    return re.findall(r"^## (.+)$", text, flags=re.MULTILINE)


def code(text):
    """Return the code of a notebook, one text per cell."""
    return ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]


def test_the_curriculum_has_twelve_lessons_in_order():
    assert [source.lesson.id for source in SOURCES] == [f"m{number:02}" for number in range(1, 13)]
    assert lessons.known() == [source.lesson.id for source in SOURCES]


def test_helpers_beside_the_lessons_are_no_lessons(tmp_path, monkeypatch):
    for name in ("m01.py", "m01_helpers.py", "quiz.py", "m1.py", "m123.py"):
        (tmp_path / name).write_text("")
    (tmp_path / "m02").mkdir()
    (tmp_path / "m02" / "__init__.py").write_text("")
    monkeypatch.setattr(lessons, "__path__", [str(tmp_path)])
    assert lessons.known() == ["m01", "m02"]


def test_prerequisites_come_before():
    for source in SOURCES:
        assert all(need < source.lesson.id for need in source.lesson.needs), source.path


@every_lesson
def test_objectives_begin_with_an_observable_verb(source):
    wrong = [text for text in source.lesson.objectives if text.split()[0].lower() not in VERBS]
    assert wrong == []


@every_lesson
def test_sections_are_those_that_the_header_gives_minutes_for(source):
    assert headings(source) == list(source.lesson.sections)
    assert {"Story", "Key points", "Quiz"} <= set(headings(source))
    talk = {title: minutes for title, minutes in source.lesson.sections.items() if minutes > 50}
    assert talk == {}, "a break each 50 minutes: no section is longer"


@every_lesson
def test_there_are_three_exercises_each_with_two_hints_and_a_worked_smaller_case(source):
    *exercises, quiz = lessons.exercises(source.lesson.id)
    assert len(exercises) >= 3
    for exercise in exercises:
        assert exercise.id.startswith(f"{source.lesson.id}.")
        assert len(set(exercise.hints)) == 2
        assert all(len(hint) >= 20 for hint in exercise.hints), exercise.id
        assert len(exercise.worked) >= 60, exercise.id
        assert exercise.title
        assert exercise.names
    assert isinstance(quiz, Quiz)


@every_lesson
def test_the_quiz_has_five_questions_with_one_right_answer_and_a_reason(source):
    quiz = lessons.exercises(source.lesson.id)[-1]
    assert len(quiz.questions) == 5
    for question in quiz.questions:
        assert len(set(question.options)) >= 3
        assert question.right in "abcdef"[: len(question.options)]
        assert len(question.why) >= 20
    assert len({question.right for question in quiz.questions}) >= 3, "the letter gives the answer away"


@every_lesson
def test_the_trainer_learns_of_two_misconceptions(source):
    notes = "\n".join(cell.text for cell in source.cells if "trainer" in cell.tags)
    assert notes.count("**Misconception:**") >= 2


@every_lesson
def test_no_cell_reaches_for_the_network(source):
    for cell in source.cells:
        if cell.kind == "code":
            assert not NETWORK.search(cell.text), cell.text


@every_lesson
def test_the_committed_notebook_is_what_the_source_gives(source, built):
    path = ROOT / "notebooks" / f"{source.path.stem}.ipynb"
    assert path.read_text(encoding="utf-8") == built[path], "run `ai4diag course build`"


@every_lesson
def test_no_learner_sees_a_solution_or_a_note_for_trainers(source, built):
    text = built[ROOT / "notebooks" / f"{source.path.stem}.ipynb"]
    seen = {line.strip() for cell in code(text) for line in cell.splitlines()}
    hidden = [line for cell in source.cells if cell.kind == "code" for line in solution_lines(cell.text)]
    shown_anyway = {  # a line that also stands outside of solutions says nothing
        line.strip()
        for cell in source.cells
        if cell.kind == "code" and not cell.exercise
        for line in cell.text.splitlines()
    }
    assert hidden, "a lesson without solutions"
    assert [line for line in hidden if line in seen - shown_anyway and len(line) > 12] == []
    assert "Misconception" not in text
    assert "# ---" not in text


@every_lesson
def test_the_solution_has_what_the_learner_lacks(source, built):
    text = "\n".join(code(built[ROOT / "build/course/solutions" / f"{source.path.stem}.ipynb"]))
    for cell in source.cells:
        if cell.kind == "code":
            assert all(line in text for line in solution_lines(cell.text))
    assert "your answer" not in text


def test_what_a_lesson_uses_exists():
    workspace = Workspace(ROOT)
    for source in SOURCES:
        for name in source.lesson.data:
            workspace.catalogue.card(name)
        for name in source.lesson.pipelines:
            workspace.pipeline(name, quick=True)
        for run in source.lesson.runs:
            assert run.split()[0] in source.lesson.pipelines, f"{source.path}: {run}"


def test_the_same_source_gives_the_same_bytes(built):
    assert build.build(ROOT) == built
