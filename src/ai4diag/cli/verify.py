"""`ai4diag verify`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ai4diag.cli import show
from ai4diag.cli.context import workspace
from ai4diag.cli.data import mirror
from ai4diag.cli.stages import Variant, variant_options
from ai4diag.errors import CannotVerifyError, UsageError, VerifyError

if TYPE_CHECKING:
    from ai4diag.pipelines.verify import Verdict
    from ai4diag.pipelines.workspace import Workspace


@click.command("verify")
@click.argument("what", nargs=-1, required=True, metavar="RUN|NAME...")
@click.option("--here", is_flag=True, help="Only compare what is in out/ with the committed estimates; run nothing.")
@variant_options
@show.json_option
def verify(what: Sequence[str], here: bool, variant: Variant, as_json: bool) -> None:
    """Run again in a clean checkout: do the numbers hold?

    RUN is the beginning of a run's id: its commit is checked out, and its estimates are compared. NAME is a pipeline:
    those committed at HEAD are compared; with --quick, --folds, --seeds or --set, the latest run of that variant.
    """
    from ai4diag.pipelines.verify import CANNOT, DOES_NOT

    there = workspace()
    if here and (variant["quick"] or variant["folds"] or variant["seeds"] > 1 or variant["overrides"]):
        raise UsageError("--here compares committed estimates, and variants have none.", "Leave out --here.")
    verdicts = []
    for word in what:
        verdict, kept = _verified(there, word, here, variant)
        verdicts.append(verdict)
        if not as_json:
            _print(verdict, kept)
    if as_json:
        show.data([verdict.as_dict() for verdict in verdicts])
    if failed := [verdict.subject for verdict in verdicts if verdict.verdict == DOES_NOT]:
        raise VerifyError(f"The estimates of {', '.join(failed)} were not reproduced.")
    if unknown := [verdict.subject for verdict in verdicts if verdict.verdict == CANNOT]:
        raise CannotVerifyError(f"Whether the estimates of {', '.join(unknown)} hold could not be found out.")


def _verified(there: Workspace, word: str, here: bool, variant: Variant) -> tuple[Verdict, str]:
    """Return the verdict on a run or a pipeline, and where it is kept."""
    from ai4diag.pipelines import records
    from ai4diag.pipelines.tracked import run_id
    from ai4diag.pipelines.verify import verify_committed, verify_here, verify_run

    def say(line: str) -> None:
        show.message(f"  {line}")

    if word in there.table | there.waiting:
        pipeline = there.pipeline(word, **variant)
        if here:
            return verify_here(pipeline), ""
        if not pipeline.variant:
            return verify_committed(pipeline, mirror=mirror(), say=say), ""
        word = run_id(pipeline)
        if not word:
            raise UsageError(f"{pipeline.words} has no tracked run.", f"Run `ai4diag run {pipeline.words}` first.")
    elif here:
        raise UsageError(f"--here is for pipelines, and {word} is none.", "Leave out --here.")
    return verify_run(there, records.find(there, word), mirror=mirror(), say=say)


def _print(verdict: Verdict, kept: str) -> None:
    """Print a verdict and what is behind it."""
    counts = f"; {verdict.identical} of {verdict.compared} estimates identical, tolerance {verdict.tolerance}"
    click.echo(f"{verdict.subject}: {verdict.verdict}{counts if verdict.compared else ''}")
    for difference in verdict.differences or ([verdict.reason] if verdict.reason else []):
        click.echo(f"  {difference}")
    same = {"predictions": verdict.predictions_identical, "model": verdict.weights_identical}
    for name, identical in same.items():
        if identical is not None:
            click.echo(f"  {name:16}{'identical to the bit' if identical else 'not identical'}")
    for note in verdict.notes:
        click.echo(f"  {note}")
    if verdict.machine:
        none = "nothing that torch knows of"
        click.echo(f"  not deterministic: {'; '.join(verdict.not_deterministic) or none}")
    if verdict.commit:
        click.echo(f"  {'commit':16}{verdict.commit}")
    if kept:
        click.echo(f"  {'kept':16}{kept}")


COMMANDS = (verify,)
