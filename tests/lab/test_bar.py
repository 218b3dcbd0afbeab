"""Bars: what they say while something runs, and what stays when it has ended."""

from __future__ import annotations

import pytest

from ai4diag import lab
from ai4diag.lab.bar import Bar
from tests.lab.test_shown import Page


def test_a_bar_says_how_far_it_is_in_words_and_to_a_reader_of_the_page(capsys):
    bar = Bar("train", total=40)
    bar.update(10, note="loss 0.5")
    assert str(bar).startswith("train: 10 of 40 (25 %), loss 0.5, 0:00 left")
    html = bar.html()
    assert "".join(Page(html).texts).strip() == str(bar)
    assert 'role="progressbar"' in html
    assert 'aria-valuenow="25"' in html
    assert "width:25%" in html
    bar.update(40)
    bar.end()
    assert str(bar) == "train: done, 40 of 40, loss 0.5 in 0:00"
    assert 'aria-valuenow="100"' in bar.html()
    bar.end("failed")
    assert "done" in str(bar)  # what ended has ended
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "train: 0 of 40 (0 %), running",
        "train: done, 40 of 40, loss 0.5 in 0:00",
    ]  # no line for each step


def test_steps_of_before_an_interruption_are_not_timed():
    bar = Bar("train")
    bar._begin -= 1000.0
    bar.update(90, total=100)
    bar.update(91)
    assert bar.left_s == pytest.approx(0, abs=0.1)


def test_a_bar_without_a_total_counts(capsys):
    bar = Bar("read")
    bar.update(7)
    assert str(bar) == "read: 7, running"
    assert "aria-valuenow" not in bar.html()
    bar.end()


def test_progress_hands_on_every_item_and_says_where_it_stopped(capsys):
    assert list(lab.progress(range(3), "look")) == [0, 1, 2]
    assert "look: done, 3 of 3" in capsys.readouterr().err
    assert list(lab.progress(iter("ab"), "spell")) == ["a", "b"]
    assert "spell: done, 2 in" in capsys.readouterr().err
    with pytest.raises(KeyboardInterrupt):
        for number in lab.progress(range(5), "look"):
            if number == 2:
                raise KeyboardInterrupt
    assert "look: stopped at 2 of 5" in capsys.readouterr().err


def test_markup_in_a_text_is_text():
    assert "<b>" not in Bar("<b>", 3).html()
