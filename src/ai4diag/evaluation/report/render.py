"""From an evaluation and its context to the page: the template says where things stand, this module what they say."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from ai4diag.evaluation.report import charts, sections
from ai4diag.evaluation.report.charts import Chart
from ai4diag.evaluation.report.context import ReportContext
from ai4diag.evaluation.report.summary import summary
from ai4diag.evaluation.targets import shown_as

if TYPE_CHECKING:
    from ai4diag.evaluation.evaluate import Evaluation

LEGEND = (
    ("truth", "truth, found"),
    ("predicted", "predicted, right"),
    ("truth wrong", "truth, missed or of another class"),
    ("predicted wrong", "predicted, false or of another class"),
    ("ignored", "ignored"),
)


def render(evaluation: Evaluation, context: ReportContext, curves: Sequence[Chart] | None = None) -> str:
    """Return the report as one HTML file that needs nothing else.

    Args:
        evaluation: what `ai4diag.evaluation.evaluate.evaluate` returned.
        context: everything else that the report says.
        curves: what `sections.curves` returned, for whoever needs the plots too; None: they are drawn here.

    The same arguments give the same bytes. All texts are escaped.
    """
    headline = evaluation.estimates[0]
    level = sections.level(context)
    test = [item for item in evaluation.estimates if item.part == "test" and item.subgroup == "all"]
    subgroups = sections.subgroups(evaluation)
    contrast = sections.contrast(evaluation, context)
    cases = sections.cases(evaluation, context)
    curves = sections.curves(evaluation) if curves is None else curves
    operating = sections.operating(evaluation)
    training = None if context.training is None else charts.training(context.training)
    present = {"curves": curves, "operating": operating, "subgroups": subgroups, "contrast": contrast, "cases": cases}
    present["training"] = training
    return _template().render(
        css=Markup(_resource("report.css") + _page_heads(context)),  # noqa: S704 - our own file, and escaped texts
        context=context,
        contents=[(key, title) for key, title in sections.CONTENTS if present.get(key, True)],
        plain=summary(evaluation, context, level),
        gate=sections.gate(evaluation, context),
        how=sections.how(headline, context, level),
        estimates=charts.estimate_table(f"Estimates on the test part, {level:.0%} intervals", test),
        by_class=sections.by_class(evaluation, level),
        other_parts=sections.other_parts(evaluation),
        notes=evaluation.notes,
        charts=curves,
        operating=operating,
        subgroups=subgroups,
        contrast=contrast,
        cases=cases,
        legend=getattr(shown_as(evaluation.target), "LEGEND", LEGEND),
        data=sections.data(context),
        training=training,
        hashes=sections.hashes(context),
        recipe=sections.recipe(context),
    )


def _page_heads(context: ReportContext) -> str:
    """Return what stands on every printed page: which pipeline, which version, which page."""
    name = f"{context.pipeline or context.outside} {context.variant}".strip()
    heads = {
        "top-left": _css_text(name),
        "top-right": _css_text(f"ai4diag {context.version}"),
        "bottom-left": _css_text("Evidence, not approval"),
        "bottom-right": 'counter(page) " / " counter(pages)',
    }
    return "@page {" + " ".join(f"@{place} {{ content: {text}; }}" for place, text in heads.items()) + "}\n"


def _css_text(text: str) -> str:
    """Return a string of CSS in which everything but letters and digits is escaped, so that no text ends it.

    >>> print(_css_text("a<b"))
    "a\\3c b"
    """
    return '"' + "".join(c if c.isascii() and c.isalnum() else f"\\{ord(c):x} " for c in text) + '"'


@lru_cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False, keep_trailing_newline=True)
    return environment.from_string(_resource("template.html"))


def _resource(name: str) -> str:
    return files("ai4diag.evaluation.report").joinpath(name).read_text("utf-8")
