"""The report: one HTML file that says what was asked, on whom, how well it went, and how sure that is.

It opens offline, needs no script, and is a pure function of its inputs: no date, no run, no path, the same bytes for
the same predictions. Every plot has its text alternative and its numbers as a table.
"""

from ai4diag.evaluation.report.context import DatasetFacts, PartLine, ReportContext, Training
from ai4diag.evaluation.report.render import render

__all__ = ["DatasetFacts", "PartLine", "ReportContext", "Training", "render"]
