"""The board: who is stuck, in order; damaged and hostile lines are counted and left out."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from ai4diag.course import board
from ai4diag.errors import UsageError

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
KNOWN = {"m01": ["m01.change", "m01.quiz"], "m04": ["m04.dice", "m04.ppv", "m04.quiz"]}


def line(minutes_ago: float, exercise: str, met: int, total: int = 3, **more: object) -> str:
    """Return a line as `check` writes it."""
    time = (NOW - timedelta(minutes=minutes_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return json.dumps({"who": "x", "exercise": exercise, "met": met, "total": total, "hint": 0, "time": time} | more)


def write(folder, name: str, *lines: str):
    """Write a learner's file."""
    (folder / f"{name}.jsonl").write_text("".join(f"{item}\n" for item in lines))


def states(folder) -> dict[str, tuple[str, int]]:
    """Return what the board says of each learner."""
    return {learner.name: learner.state(NOW) for learner in board.read(folder, KNOWN, NOW)}


def test_stuck_is_more_than_eight_minutes_after_a_first_attempt_without_success_since(tmp_path):
    write(tmp_path, "eight", line(8, "m04.dice", 1))
    write(tmp_path, "nine", line(9, "m04.dice", 1), line(1, "m04.dice", 2))
    write(tmp_path, "solved", line(30, "m04.dice", 1), line(2, "m04.dice", 3))
    write(tmp_path, "next", line(30, "m01.quiz", 1), line(20, "m01.quiz", 3), line(3, "m04.dice", 0))
    write(tmp_path, "elsewhere", line(30, "m04.dice", 1), line(5, "m01.quiz", 3), line(4, "m04.dice", 1))
    write(tmp_path, "again", line(40, "m01.quiz", 3), line(20, "m01.quiz", 1))
    write(tmp_path, "gone", line(150, "m04.dice", 1))
    write(tmp_path, "silent")
    assert states(tmp_path) == {
        "again": ("working", 0),  # solved it before: trying it once more is no trouble
        "eight": ("working", 8),
        "elsewhere": ("working", 4),
        "gone": ("away", 0),
        "next": ("working", 3),
        "nine": ("stuck", 9),
        "silent": ("away", 0),
        "solved": ("working", 0),
    }


def test_the_longest_stuck_stands_first(tmp_path):
    write(tmp_path, "a-working", line(1, "m04.dice", 1))
    write(tmp_path, "b-ten", line(10, "m04.dice", 1))
    write(tmp_path, "c-forty", line(40, "m04.dice", 1))
    page = board.render(board.read(tmp_path, KNOWN, NOW), KNOWN, NOW)
    table = page[page.index("<tbody>") :]
    assert table.index("c-forty") < table.index("b-ten") < table.index("a-working")
    assert "Stuck: 2 of 3" in page
    assert "m01" not in table  # nobody tried it


def test_the_lesson_that_was_tried_last_stands_first(tmp_path):
    write(tmp_path, "ada", line(50, "m04.dice", 3), line(1, "m01.quiz", 1))
    page = board.render(board.read(tmp_path, KNOWN, NOW), KNOWN, NOW)
    assert page.index("Lesson m01") < page.index("Lesson m04")


def test_attempts_are_counted_until_the_first_success(tmp_path):
    write(tmp_path, "ada", line(9, "m04.dice", 1, hint=2), line(8, "m04.dice", 3), line(7, "m04.dice", 3))
    write(tmp_path, "grace", line(3, "m04.dice", 2), line(2, "m04.dice", 1))
    page = board.render(board.read(tmp_path, KNOWN, NOW), KNOWN, NOW)
    assert "solved<small>2 attempts, hint 2</small>" in page
    assert "2 of 3<small>2 attempts</small>" in page
    assert page.count("not tried") == 4


DAMAGED = [
    "{",
    "[]",
    "null",
    "7",
    '"text"',
    "\x00\x01",
    "[" * 1900,
    "x" * 3000,
    line(5, "m04.dice", 4),
    line(5, "m04.dice", -1),
    line(5, "m04.dice", 1, total=0),
    line(5, "m04.dice", 1, total=10**9),
    line(5, "m04.dice", 1, total="3"),
    line(5, "m04.dice", True),
    line(5, "m04.dice", 1, hint=9),
    line(5, "m04.dice", 1, time="yesterday"),
    line(5, "m04.dice", 1, time=None),
    line(-60, "m04.dice", 1),
    line(5, "m99.dice", 1),
    line(5, "<script>alert(1)</script>", 1),
    json.dumps({"exercise": ["m04.dice"], "met": 1, "total": 3, "hint": 0, "time": "2026-11-23T09:00:00Z"}),
    json.dumps({"exercise": {}, "met": 1, "total": 3, "hint": 0, "time": "2026-11-23T09:00:00Z"}),
]


@pytest.mark.parametrize("bad", DAMAGED, ids=range(len(DAMAGED)))
def test_a_line_that_cannot_be_one_is_counted_and_left_out(tmp_path, bad):
    write(tmp_path, "ada", line(9, "m04.dice", 1), bad, line(3, "m04.ppv", 3))
    (learner,) = board.read(tmp_path, KNOWN, NOW)
    assert [item.exercise for item in learner.attempts] == ["m04.dice", "m04.ppv"]
    assert learner.damaged == 1
    assert "1 line could not be read" in board.render([learner], KNOWN, NOW)


def test_files_with_other_names_links_and_pipes_are_not_read(tmp_path):
    write(tmp_path, "ada", line(9, "m04.dice", 1))
    (tmp_path / "<b>.jsonl").write_text(line(9, "m04.dice", 1))
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "ada.jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    found = board.read(tmp_path, KNOWN, NOW)
    assert {learner.name: len(learner.attempts) for learner in found} == {"ada": 1, "folder": 0, "link": 0, "pipe": 0}
    assert "<b>" not in board.render(found, KNOWN, NOW)


def test_of_a_huge_file_the_end_is_read(tmp_path):
    (tmp_path / "ada.jsonl").write_text("x" * 5_000_000 + "\n" + line(9, "m04.dice", 1) + "\n")
    (learner,) = board.read(tmp_path, KNOWN, NOW)
    assert len(learner.attempts) == 1


def test_a_line_that_names_somebody_else_counts_for_the_owner_of_the_file(tmp_path):
    write(tmp_path, "eve", line(9, "m04.dice", 3, who="ada"))
    assert [learner.name for learner in board.read(tmp_path, KNOWN, NOW)] == ["eve"]


def test_a_folder_without_progress_is_said(tmp_path):
    with pytest.raises(UsageError, match="has no progress"):
        board.read(tmp_path, KNOWN, NOW)
    with pytest.raises(UsageError, match="is no folder"):
        board.read(tmp_path / "none", KNOWN, NOW)


def test_every_exercise_of_the_curriculum_has_a_column():
    assert all(name.startswith(f"{lesson}.") for lesson, names in board.known().items() for name in names)
    assert len(board.known()["m01"]) >= 2
