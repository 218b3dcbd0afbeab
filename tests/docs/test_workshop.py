"""The schedules for workshops fit the lessons."""

from __future__ import annotations

import itertools
import re
from collections import Counter

import pytest

from ai4diag.course.lesson import in_notebook, notebooks
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "how-to" / "run-a-workshop.md"
LESSONS = {name: in_notebook(path) for name, path in notebooks(ROOT).items()}
SCHEDULES = {
    title: re.findall(r"^\| (\d\d):(\d\d) \| (\d+) \| (.+) \|$", text, flags=re.MULTILINE)
    for title, text in re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)
}


def test_there_are_four():
    assert [title.split(":")[0] for title in SCHEDULES] == ["One day", "Two days", "Two days", "Four days"]


@pytest.mark.parametrize("title", SCHEDULES)
def test_each_line_begins_when_the_one_before_ends(title):
    rows = [(int(hour) * 60 + int(minute), int(length), what) for hour, minute, length, what in SCHEDULES[title]]
    for (begin, length, what), (following, _, _) in itertools.pairwise(rows):
        assert what == "end" or begin + length == following


@pytest.mark.parametrize("title", SCHEDULES)
def test_each_lesson_has_its_minutes_and_comes_after_what_it_needs(title):
    minutes: Counter[str] = Counter()
    order = []
    for _, _, length, what in SCHEDULES[title]:
        if re.fullmatch(r"m\d\d", what):
            minutes[what] += int(length)
            order.append(what)
    for lesson, total in minutes.items():
        assert total == LESSONS[lesson].minutes, lesson
        early = [need for need in LESSONS[lesson].needs if need not in order[: order.index(lesson)]]
        assert early == [], f"{lesson} before {early}"


@pytest.mark.parametrize("title", SCHEDULES)
def test_nobody_sits_longer_than_fifty_minutes(title):
    assert max(int(length) for _, _, length, what in SCHEDULES[title] if what.startswith("m")) <= 50


def test_four_days_have_everything():
    taught = {what for _, _, _, what in SCHEDULES["Four days: everything"] if re.fullmatch(r"m\d\d", what)}
    assert taught == set(LESSONS)
