"""`ai4diag compare`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ai4diag.cli import show
from ai4diag.cli.context import workspace
from ai4diag.errors import UsageError
from ai4diag.files import write_text

if TYPE_CHECKING:
    from ai4diag.pipelines.compare import Compared


@click.command("compare")
@click.argument("words", nargs=-1, required=True, metavar="A B...")
@click.option(
    "--plan", type=click.Path(path_type=Path), help="YAML with `task` and `evaluate`; needed for files alone."
)
@click.option("--margin", type=click.FloatRange(0, min_open=True), help="Largest difference that does not matter.")
@click.option("--out", type=click.Path(path_type=Path), help="Write a page (HTML) as well.")
@show.json_option
def compare(words: Sequence[str], plan: Path | None, margin: float | None, out: Path | None, as_json: bool) -> None:
    """Say whether B is better than A, on the cases that both answered.

    Each word is a run (the first characters of its id), a pipeline or, in quotes, a variant ("breast-mass --quick"),
    whose latest run is taken, or predictions of another model: a CSV, Parquet or COCO JSON file, or a folder of label
    maps, with a / in its name. All others are compared with the first. For settings side by side see
    `ai4diag runs compare`.
    """
    from ai4diag.pipelines.compare import compare as run

    if margin is not None and not math.isfinite(margin):
        raise UsageError(f"A margin is a number above 0, found {margin:g}.", "Leave it out where there is none.")
    found = run(words, workspace, plan=plan, margin=math.nan if margin is None else margin)
    if out is not None:
        write_text(out, found.page())
    if as_json:
        show.data(found.as_dict())
        return
    _print(found)
    if out is not None:
        show.message(f"page: {show.relative(out)}")


def _print(compared: Compared) -> None:
    from ai4diag.evaluation.paired_words import delong_text, line

    found = compared.found
    for item in compared.named:
        click.echo(f"{item.label}  {item.what}")
    click.echo(f"{found.cases} test cases of {found.patients} patients, answered by all of them")
    for comparison in found.comparisons:
        a, b = comparison.reference, comparison.other
        click.echo(f"\n{comparison.verdict.text}")
        if said := delong_text(comparison):
            click.echo(said)
        click.echo("")
        lines = [line(pair.reference, pair.other, pair.difference) for pair in comparison.pairs]
        show.table(lines, ["estimate", "of", a, b, f"{b} - {a}", "interval", ""])
    click.echo("")
    for note in found.notes:
        click.echo(f"- {note}")


COMMANDS = (compare,)
