"""Reports as a reader meets them: in a real browser, by eye, by keyboard, on a small screen, on paper, offline."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.browser.samples import SAMPLES
from tests.browser.seen import CROWDED, CUT, FIGURES, OUTSIDE, TINY, UNREACHED

pytestmark = pytest.mark.slow
PAPER = 680
"""Pixels of 1/96 inch between the margins of a printed page: 210 mm less 2 x 15 mm."""
NARROW = 320
"""Width that WCAG 1.4.10 asks for: a window of 1280 pixels at 400 % zoom."""


@pytest.fixture(params=SAMPLES)
def report(request, sample):
    return sample(request.param)


def test_axe_finds_nothing_closed_or_open(report, show):
    seen = show(report)
    assert seen.violations() == []
    seen.page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    assert seen.violations() == []


def test_the_page_is_alone_and_silent(report, show):
    seen = show(report)
    seen.page.wait_for_load_state("networkidle")
    assert seen.asked == [seen.address, *[url for url in seen.asked if url.startswith("data:")]]
    assert seen.left() == []
    assert seen.complaints == []


@pytest.mark.parametrize("width", [1280, NARROW])
def test_nothing_is_wider_than_the_window(report, show, width):
    seen = show(report, width)
    seen.page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    assert not seen.scrolls_sideways()
    assert seen.measure(OUTSIDE) == []
    assert seen.measure(UNREACHED) == []
    assert seen.measure(TINY, 7) == []


def test_words_of_plots_are_neither_cut_nor_on_each_other(report, show):
    assert show(report).measure(CROWDED) == []


def test_the_keyboard_reaches_everything_in_order(report, show):
    seen = show(report)
    way = seen.walk()
    expected = seen.page.evaluate(
        "() => [...document.querySelectorAll('a[href], summary, [tabindex]')].flatMap("
        "(e, i) => e.tagName !== 'SUMMARY' && e.closest('details') ? [] : [i])"
    )
    assert [item["position"] for item in way] == expected
    assert way[0]["text"] == "Skip to the report"
    assert [item["text"] for item in way if not (item["outlined"] and item["shown"])] == []


def test_the_skip_link_and_the_numbers_open_by_keyboard(report, show):
    seen = show(report)
    seen.page.keyboard.press("Tab")
    seen.page.keyboard.press("Enter")
    assert seen.page.evaluate("location.hash") == "#main"
    after = seen.walk(1)
    assert seen.page.evaluate("document.activeElement.closest('main') !== null"), after
    for position in range(seen.page.locator("details").count()):
        details = seen.page.locator("details").nth(position)
        details.locator("summary").focus()
        seen.page.keyboard.press("Enter")
        assert details.evaluate("item => item.open")
        seen.page.keyboard.press("Tab")
        assert details.evaluate("item => item.contains(document.activeElement)"), "its table has no focus"
        seen.page.keyboard.press("Shift+Tab")
        seen.page.keyboard.press("Enter")
        assert not details.evaluate("item => item.open")


def test_every_plot_has_words_and_numbers(report, show):
    figures = show(report).measure(FIGURES)
    assert len([item for item in figures if not item["picture"]]) >= 2
    for item in figures:
        assert item["role"] == "img"
        assert len(item["said"]) > 20
        assert item["picture"] or item["numbers"] >= 1


def test_it_prints_whole(report, show):
    seen = show(report, PAPER, 1000)
    seen.page.emulate_media(media="print")
    assert seen.measure(CUT) == []
    assert seen.measure(OUTSIDE) == []
    hidden = seen.page.evaluate(
        "() => [...document.querySelectorAll('table')].filter(t => !t.getBoundingClientRect().height).length"
    )
    assert hidden == 0  # what is folded on the screen is unfolded on paper
    paper = seen.page.pdf(prefer_css_page_size=True)
    assert paper.startswith(b"%PDF")
    pages = len(re.findall(rb"/Type\s*/Page\b", paper))
    assert 3 <= pages <= 40
    assert re.search(rb"/MediaBox\s*\[0 0 59[45]", paper)  # A4, as the page asks


def broken(report: Path, tmp_path: Path, *changes: tuple[str, str]) -> Path:
    text = report.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "broken.html"
    path.write_text(text, encoding="utf-8")
    return path


TITLE = "<h3>Source and licence</h3>"
DOT = '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">'


@pytest.mark.parametrize(
    ("rule", "old", "new"),
    [
        ("color-contrast", "--quiet: #565f67", "--quiet: #b8bec3"),
        ("svg-img-alt", ' aria-labelledby="roc-title roc-desc"><title id="roc-title">ROC curve</title>', ">"),
        ("html-has-lang", '<html lang="en">', "<html>"),
        ("heading-order", TITLE, TITLE.replace("h3", "h5")),
        ("image-alt", TITLE, TITLE + DOT),
        ("scrollable-region-focusable", 'class="scroll" tabindex="0"', 'class="scroll" style="width: 9em"'),
    ],
)
def test_axe_would_find_what_is_broken(sample, show, tmp_path, rule, old, new):
    changes = [(old, new)]
    if rule == "svg-img-alt":
        text = sample("binary").read_text(encoding="utf-8")
        desc = re.search(r'<desc id="roc-desc">.*?</desc>', text)
        assert desc
        changes.append((desc[0], ""))
    found = show(broken(sample("binary"), tmp_path, *changes)).violations()
    assert rule in {line.split(":")[0] for line in found}


def test_what_leaves_the_page_or_sticks_out_is_seen(sample, show, tmp_path):
    address = "http://127.0.0.1:9/track.gif"
    image = ("</main>", f'<img alt="" src="{address}"></main>')
    blocked = show(broken(sample("binary"), tmp_path, image))
    assert any("Content Security Policy" in text for text in blocked.complaints)
    policy = ('<meta http-equiv="Content-Security-Policy"', '<meta name="no-policy"')
    assert address in show(broken(sample("binary"), tmp_path, image, policy)).left()
    wide = show(
        broken(sample("binary"), tmp_path, ("</main>", '<p style="width: 2000px; max-width: none">!</p></main>'))
    )
    assert wide.scrolls_sideways()
    assert wide.measure(OUTSIDE)


def test_a_focus_that_nobody_sees_is_seen(sample, show, tmp_path):
    rule = "outline: 3px solid var(--accent); outline-offset: 2px;"
    way = show(broken(sample("binary"), tmp_path, (rule, "outline: none;"))).walk()
    assert not any(item["outlined"] for item in way)
