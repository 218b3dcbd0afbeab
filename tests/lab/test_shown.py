"""Runs, estimates and reports as a notebook asks for them."""

from __future__ import annotations

import math
from html.parser import HTMLParser

import pytest

from ai4diag import lab
from ai4diag.errors import UsageError
from ai4diag.lab import Report
from ai4diag.lab.shown import LARGEST
from ai4diag.types import Estimate
from tests.pipelines.test_tracked import pipeline

__all__ = ["pipeline"]  # the fixture


class Page(HTMLParser):
    """The texts of a fragment, and its frames; every element must be closed."""

    def __init__(self, content):
        super().__init__()
        self.open, self.texts, self.frames, self.images = [], [], [], 0
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_startendtag(self, tag, attrs):
        assert tag == "img"
        assert dict(attrs)["alt"]
        assert dict(attrs)["src"].startswith("data:image/png;base64,")
        self.images += 1

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "iframe":
            self.frames.append(dict(attrs))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def shown(item):
    bundle = item._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}
    return bundle["text/plain"], Page(bundle["text/html"])


def test_an_estimate_shows_value_interval_and_counts_in_both_forms():
    text, page = shown(Estimate("auroc", 0.9, 0.8, 0.95, 100, 90))
    assert text == "".join(page.texts) == "auroc 0.900 [0.800, 0.950] (n = 100, patients = 90)"
    _, page = shown(Estimate("auroc", math.nan, math.nan, math.nan, 3, 3, subgroup="site=<b>", note="masked"))
    assert "".join(page.texts) == "auroc undefined (masked; n = 3) test part, site=<b>; masked"


def test_a_run_shows_what_it_reached_and_how_sure_that_is(evaluated, done):
    pipeline, run_id = done, evaluated[1]
    run = lab.run("breast-mass", pipeline.folder)
    assert run.record == lab.run(run_id[:5], pipeline.folder).record
    text, page = shown(run)
    for sentence in (str(run.headline), "Look at this test part: number 1", f"ai4diag verify {run_id[:8]}"):
        assert sentence in text
    assert {f"Run {run_id[:8]} of breast-mass", "number 1", "auroc", "met"} < set(page.texts)
    assert str(run["auroc"]) == str(run.headline)
    with pytest.raises(UsageError, match="Did you mean 'auroc'"):
        run["aurok"]
    table = run.table()
    assert len(table) == len(run.estimates)
    assert table["value"].iloc[0] == run.headline.value
    assert len(run.predictions) == len(run.predictions["case_id"].unique())

    text, page = shown(run.report)
    assert text.startswith("Report of breast-mass: auroc")
    (frame,) = page.frames
    assert frame["srcdoc"] == (pipeline.out / "report.html").read_text()
    assert frame["sandbox"] == ""
    assert frame["title"] == text

    found = lab.runs("breast-mass", pipeline.folder)
    text, page = shown(found)
    assert len(found) == 1
    assert run_id[:8] in text
    assert run_id[:8] in page.texts


def test_nothing_that_a_name_holds_becomes_markup():
    report = Report('"><script>', "<script>alert(1)</script>", Estimate("auroc", 0.9, 0.8, 1, 9, 9))
    _, page = shown(report)
    (frame,) = page.frames
    assert frame["srcdoc"] == "<script>alert(1)</script>"  # as text of an attribute, in a frame that runs nothing
    assert frame["sandbox"] == ""


def test_a_report_too_large_for_a_notebook_is_named_instead():
    headline = Estimate("auroc", 0.9, 0.8, 1, 9, 9)
    text, page = shown(Report("large", "x" * (LARGEST + 1), headline, "some/<folder>/report.html"))
    assert page.frames == []
    assert "".join(page.texts) == f"{text}. 16 MB are too much for a notebook; open the file some/<folder>/report.html"


def test_no_runs_are_said(pipeline):
    text, page = shown(lab.runs("breast-mass", pipeline.folder))
    assert text == "No runs yet." == page.texts[0]
