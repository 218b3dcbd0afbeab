"""Data, cases, plans, runs and reports in a notebook, where they show themselves.

from ai4diag import lab

lab.dataset("wdbc")                   # what its card says, whether it is here
lab.cases("breast-mass --quick")      # the prepared cases of a pipeline, or of a variant of it
lab.case("breast-mass", "wdbc-001")   # one of them, with truth and the model's answer
lab.plan("hippocampus")               # how a segmentation configures itself

run = lab.execute("breast-mass", quick=True, changes=["train.epochs=5"])  # run it, with a bar for each stage
run = lab.run("breast-mass")          # its latest run, or one by the first characters of its id
run = lab.run("breast-mass --quick")  # the latest run of a variant
run["auroc"]                          # an estimate
run.report                            # the report, in the page
lab.runs("breast-mass")               # the newest runs
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ai4diag.lab.bar import progress
from ai4diag.lab.shown import Report, Run, Runs
from ai4diag.pipelines import records
from ai4diag.pipelines.workspace import Workspace
from ai4diag.types import Estimate

if TYPE_CHECKING:
    from ai4diag.lab.case_table import Cases
    from ai4diag.lab.data_set import Dataset
    from ai4diag.lab.one_case import Case
    from ai4diag.lab.planned import Plan

__all__ = [
    "Estimate",
    "Report",
    "Run",
    "Runs",
    "case",
    "cases",
    "dataset",
    "execute",
    "plan",
    "progress",
    "run",
    "runs",
]


def dataset(name: str, folder: Path | str = ".") -> Dataset:
    """Return a data set: its card, whether its files are here, and what was counted when it was prepared.

    Args:
        name: of its card, such as `wdbc`.
        folder: a folder of the workspace.

    Raises:
        ConfigError: there is no such card; the nearest is named.
    """
    from ai4diag.lab.data_set import Dataset

    workspace = Workspace.find(Path(folder))
    return Dataset(workspace.catalogue.card(name), workspace)


def cases(words: str, folder: Path | str = ".") -> Cases:
    """Return the prepared cases of a pipeline or a variant of it.

    Args:
        words: as a command names it: `hippocampus`, `hippocampus --quick`.
        folder: a folder of the workspace.

    Raises:
        UsageError: there is no such pipeline.
        DataError: nothing is prepared yet, or a file is damaged; the command to run is named.
    """
    from ai4diag.lab.case_table import Cases
    from ai4diag.lab.named import pipeline_of

    return Cases.of(pipeline_of(words, folder))


def case(words: str, case_id: str | int | None = None, folder: Path | str = ".") -> Case:
    """Return one prepared case, which shows itself with its truth and, if there is one, the model's answer.

    Args:
        words: the pipeline or variant, as for `cases`.
        case_id: which; its name, or its number from 0. None: the first of the test part that the model was asked
            about, else the first.
        folder: a folder of the workspace.

    Raises:
        UsageError: there is no such pipeline or case.
        DataError: nothing is prepared yet, or a file is damaged; the command to run is named.
    """
    found = cases(words, folder)
    return found.usual if case_id is None else found[case_id]


def plan(words: str, folder: Path | str = ".") -> Plan:
    """Return how a segmentation configures itself, as `ai4diag plan` prints it.

    Args:
        words: the pipeline or variant, as for `cases`.
        folder: a folder of the workspace.

    Raises:
        UsageError: there is no such pipeline, or it is of a task that plans nothing.
        DataError: nothing is prepared yet.
    """
    from ai4diag.lab.named import pipeline_of
    from ai4diag.lab.planned import Plan
    from ai4diag.pipelines.plan import plan_of

    pipeline = pipeline_of(words, folder)
    return Plan(pipeline.words, plan_of(pipeline))


def execute(
    words: str,
    *,
    quick: bool = False,
    changes: Sequence[str] = (),
    folds: int = 0,
    seeds: int = 1,
    folder: Path | str = ".",
) -> Run:
    """Run a pipeline or a variant of it as `ai4diag run` does, with a bar for each stage, and return the run.

    It runs in a process of its own. Interrupting the kernel stops it too; the next call goes on from the latest
    checkpoint. A release gate that is not met is no error: the run says so.

    Args:
        words: `breast-mass`, or with the words of a variant: `breast-mass --quick`.
        quick: the recipe's small variant.
        changes: settings to change, such as `train.epochs=5`.
        folds: cross-validate with so many folds; 0: as the recipe says.
        seeds: train with so many seeds.
        folder: a folder of the workspace.

    Raises:
        Ai4diagError: a stage failed; of the kind and with the words of the command.
        KeyboardInterrupt: the kernel was interrupted.
    """
    from ai4diag.lab.execution import execute as run_it
    from ai4diag.lab.named import pipeline_of

    options = ["--quick"] * quick + [f"--folds {folds}"] * bool(folds) + [f"--seeds {seeds}"] * (seeds > 1)
    asked = " ".join([words, *options, *(f"--set {shlex.quote(change)}" for change in changes)])
    return run_it(pipeline_of(asked, folder))


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
