"""Runs, estimates and reports in a notebook, where they show themselves.

from ai4diag import lab

run = lab.run("breast-mass")          # its latest run, or one by the first characters of its id
run = lab.run("breast-mass --quick")  # the latest run of a variant
run["auroc"]                          # an estimate
run.report                            # the report, in the page
lab.runs("breast-mass")               # the newest runs
"""

from __future__ import annotations

from pathlib import Path

from ai4diag.lab.shown import Report, Run, Runs
from ai4diag.pipelines import records
from ai4diag.pipelines.workspace import Workspace

__all__ = ["Report", "Run", "Runs", "run", "runs"]


def run(word: str, folder: Path | str = ".") -> Run:
    """Return a run.

    Args:
        word: the name of its pipeline, for the latest one; with the words of a variant, such as `breast-mass --quick`;
            or the first characters of the run's id.
        folder: a folder of the workspace.

    Raises:
        UsageError: there is no such run, or it has no record.
        DataError: its record is damaged.
    """
    return Run(records.find(Workspace.find(Path(folder)), word))


def runs(pipeline: str = "", folder: Path | str = ".", limit: int = 20) -> Runs:
    """Return the newest runs, newest first.

    Args:
        pipeline: only those of this one; empty: all.
        folder: a folder of the workspace.
        limit: at most so many.

    Raises:
        MachineError: the store cannot be read.
    """
    from ai4diag.tracking.query import list_runs

    return Runs(tuple(list_runs(Workspace.find(Path(folder)).root, pipeline, limit)))
