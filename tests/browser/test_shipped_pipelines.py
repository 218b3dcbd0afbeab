"""The reports of the shipped pipelines, made from what their runs left in `out/`; of those that never ran, none."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai4diag.evaluation.evaluate import evaluate
from ai4diag.evaluation.gate import check_gate
from ai4diag.evaluation.predictions import read_predictions
from ai4diag.evaluation.report import render
from ai4diag.pipelines.report_context import report_context
from ai4diag.pipelines.stages import open_prepared
from ai4diag.pipelines.workspace import Workspace
from tests.browser.seen import CROWDED, CUT, OUTSIDE, TINY
from tests.conftest import ROOT

pytestmark = pytest.mark.slow
RAN = sorted(path.parents[1].name for path in ROOT.glob("pipelines/*/out/predictions.parquet"))
NARROW, PAPER = 320, 680


@pytest.fixture(scope="module", params=RAN or ["none"])
def shipped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not RAN:
        pytest.skip("no pipeline has run here: ai4diag run NAME")
    pipeline = Workspace.find(ROOT).pipeline(request.param)
    table, facts = read_predictions(pipeline.out / "predictions.parquet")
    fewer = pipeline.recipe.evaluate.interval.model_copy(update={"resamples": 100})
    plan = pipeline.recipe.evaluate.model_copy(update={"interval": fewer})
    about = {"task": facts["task"], "target": facts.get("target"), "classes": facts["classes"]}
    found = evaluate(table, plan=plan, **about)
    context = report_context(pipeline, open_prepared(pipeline), check_gate(found.estimates, plan.accept), 1)
    path = tmp_path_factory.mktemp("shipped") / f"{request.param}.html"
    path.write_text(render(found, context), encoding="utf-8")
    return path


def test_it_is_readable_on_every_screen_and_on_paper(shipped, show):
    seen = show(shipped)
    assert seen.violations() == []
    assert seen.measure(CROWDED) == []
    assert not seen.scrolls_sideways()
    seen.page.set_viewport_size({"width": NARROW, "height": 720})
    assert not seen.scrolls_sideways()
    assert seen.measure(OUTSIDE) == []
    assert seen.measure(TINY, 7) == []
    seen.page.set_viewport_size({"width": PAPER, "height": 720})
    seen.page.emulate_media(media="print")
    assert seen.measure(CUT) == []
    assert seen.left() == []
    assert seen.complaints == []
