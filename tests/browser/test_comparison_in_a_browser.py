"""The page of a comparison as a reader meets it: by eye, by keyboard, on a small screen, offline."""

from __future__ import annotations

import pytest

from ai4diag.config.plan import Evaluate, Interval
from ai4diag.evaluation.paired import Side, compare
from ai4diag.evaluation.report.compare import render_comparison
from tests.browser.seen import CROWDED, OUTSIDE, TINY, UNREACHED
from tests.evaluation.test_evaluate import tabular
from tests.evaluation.test_paired import noisy

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Three models on patients of two sites; a name that would be HTML if it were not escaped."""
    plan = Evaluate(primary="auroc", interval=Interval(resamples=100), subgroups=("site", "sex"))
    table = tabular(n=160)
    sides = [Side("A", table, plan), Side("B", noisy(table), plan), Side("C", noisy(table, 3), plan)]
    found = compare(sides, target="binary", classes=["healthy", "ill"], plan=plan, margin=0.05)
    path = tmp_path_factory.mktemp("comparison") / "page.html"
    named = [("A", "run 4f2a91bc of heart"), ("B", "file <script>alert(1)</script>.csv"), ("C", "file c.csv")]
    path.write_text(render_comparison(found, named), encoding="utf-8")
    return path


def test_axe_finds_nothing_and_nothing_is_asked_for(page, show):
    seen = show(page)
    seen.page.wait_for_load_state("networkidle")
    assert seen.violations() == []
    assert seen.left() == []
    assert seen.complaints == []
    assert "<script>alert(1)</script>.csv" in seen.page.inner_text("dl")


@pytest.mark.parametrize("width", [1280, 320])
def test_nothing_is_wider_than_the_window(page, show, width):
    seen = show(page, width)
    assert not seen.scrolls_sideways()
    assert seen.measure(OUTSIDE) == []
    assert seen.measure(UNREACHED) == []
    assert seen.measure(TINY, 7) == []
    assert seen.measure(CROWDED) == []


def test_the_keyboard_reaches_everything(page, show):
    way = show(page).walk()
    assert way[0]["text"] == "Skip to the comparison"
    assert [item["text"] for item in way if not (item["outlined"] and item["shown"])] == []
