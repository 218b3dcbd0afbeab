"""`ai4diag new | check`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ai4diag.cli import show
from ai4diag.cli.context import workspace
from ai4diag.cli.data import mirror
from ai4diag.errors import ConfigError


@click.command("new")
@click.argument("name")
@click.option("--task", required=True, help="Kind of problem, as the card of the data set has it.")
@click.option("--dataset", required=True, help="Name of a dataset card: see `ai4diag data list`.")
def new(name: str, task: str, dataset: str) -> None:
    """Write the folder of a new pipeline and its line in params.yaml."""
    from ai4diag.pipelines.new import new_pipeline

    folder = new_pipeline(workspace(), name, task, dataset)
    click.echo(show.relative(folder))
    show.message(f"Next: read pipeline.yaml, fill in README.md, then `ai4diag check {name}` and `ai4diag run {name}`.")


@click.command("check")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@show.json_option
def check(names: Sequence[str], as_json: bool) -> None:
    """Check the contract of pipelines on a few cases, in seconds."""
    import dataclasses

    from ai4diag.pipelines.check import check as contract

    here = workspace()
    results = {name: contract(here.pipeline(name), mirror=mirror()) for name in names}
    if as_json:
        show.data({name: [dataclasses.asdict(item) for item in found] for name, found in results.items()})
    else:
        for name, found in results.items():
            click.echo(name)
            for item in found:
                mark = "ok  " if item.passed else "FAIL"
                click.echo(f"  {mark} {item.name}: {item.detail} ({item.seconds:.1f} s)")
    failed = [name for name, found in results.items() if not all(item.passed for item in found)]
    if failed:
        raise ConfigError(f"The contract does not hold for {', '.join(failed)}.", "The lines marked FAIL say why.")


COMMANDS = (new, check)
