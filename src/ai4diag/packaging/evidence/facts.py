"""What the documents of an evidence pack are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ai4diag.evaluation.evaluate import Evaluation
from ai4diag.evaluation.report import ReportContext


@dataclass(frozen=True)
class PackFacts:
    """A run, as the documents see it; the same facts give the same documents.

    Attributes:
        record: `record.json` of the run (`ai4diag.pipelines.records`).
        context: what its report says beside the estimates, without pictures.
        evaluation: estimates and curves, computed anew from the predictions in the pack.
        verdicts: what verifications of the run found, newest last.
        readme: the pipeline's README.md.
        card: the dataset card as plain values.
        environment: installed packages, `name==version`, one per line.
        plots: titles of the plots that the report has.
        supplied: answers that only people can give, by key; a key that is missing is marked as to be supplied.
    """

    record: Mapping[str, Any]
    context: ReportContext
    evaluation: Evaluation
    verdicts: tuple[Mapping[str, Any], ...] = ()
    readme: str = ""
    card: Mapping[str, Any] = field(default_factory=dict)
    environment: str = ""
    plots: tuple[str, ...] = ()
    supplied: Mapping[str, str] = field(default_factory=dict)
