"""The board as a trainer meets it: on a projector, on a telephone, by keyboard, on paper, in grey."""

from __future__ import annotations

import pytest

from ai4diag.course import board
from tests.browser.seen import CUT, OUTSIDE, UNREACHED
from tests.course.test_board import NOW, line, write

pytestmark = pytest.mark.slow
NAMES = ("dice", "sensitivity", "worth", "interval", "read", "quiz")
KNOWN = {lesson: [f"{lesson}.{name}" for name in NAMES] for lesson in ("m01", "m04")}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Thirty learners, four of them stuck, damaged lines, a name as long as may be."""
    folder = tmp_path_factory.mktemp("class")
    for number in range(25):
        tried = [line(60 - 2 * step, KNOWN["m01"][step], 3, hint=step % 4) for step in range(min(6, number // 4))]
        write(folder, f"learner-{number:02}", *tried, line(2, "m04.dice", number % 3))
    for number, name in enumerate(["ada", "grace", "W" * 32, "Emmy_Noether-1882"]):
        tried = [line(12 + number - step, "m04.worth", 1) for step in range(9)]
        write(folder, name, line(50, "m01.dice", 3), *tried, "{")
    path = folder / "board.html"
    path.write_text(board.render(board.read(folder, KNOWN, NOW), KNOWN, NOW), encoding="utf-8")
    return path


def test_axe_finds_nothing_and_nothing_is_asked_for(page, show):
    seen = show(page)
    seen.page.wait_for_load_state("networkidle")
    assert seen.violations() == []
    assert seen.left() == []
    assert seen.complaints == []


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (320, 640)])
def test_nothing_is_wider_than_the_window_and_who_is_stuck_is_seen_at_once(page, show, width, height):
    seen = show(page, width, height)
    assert not seen.scrolls_sideways()
    assert seen.measure(OUTSIDE) == []
    assert seen.measure(UNREACHED) == []
    stuck = seen.page.locator("#stuck li")
    assert stuck.count() == 4
    assert stuck.first.inner_text().startswith("Emmy_Noether-1882: 15 min at m04.worth, 9 attempts")
    assert stuck.first.bounding_box()["y"] < height
    size = seen.page.evaluate("() => parseFloat(getComputedStyle(document.querySelector('#stuck li')).fontSize)")
    assert size >= 16


def test_the_keyboard_reaches_everything(page, show):
    way = show(page).walk()
    assert way[0]["text"] == "Skip to the board"
    assert len([item for item in way if item["text"].startswith("Table: lesson")]) == 2
    assert [item["text"] for item in way if not (item["outlined"] and item["shown"])] == []


def test_each_cell_says_in_words_what_its_colour_says(page, show):
    seen = show(page)
    words = {"done": "solved", "open": " of ", "none": "not tried"}
    for kind, word in words.items():
        cells = seen.page.locator(f"td.{kind}").all_inner_texts()
        assert len(cells) > 4
        assert [text for text in cells if word not in text] == []
    edge = "kind => getComputedStyle(document.querySelector('td.' + kind)).borderLeftStyle"
    edges = {kind: seen.page.evaluate(edge, kind) for kind in ("done", "open")}
    assert edges == {"done": "solid", "open": "dashed"}


def test_paper_shows_whole_tables(page, show):
    seen = show(page, 1040)  # A4 across, at 96 pixels an inch, less its margins
    seen.page.emulate_media(media="print")
    assert seen.measure(CUT) == []
    assert seen.page.pdf(prefer_css_page_size=True)[:5] == b"%PDF-"
