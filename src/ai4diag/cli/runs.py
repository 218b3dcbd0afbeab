"""`ai4diag runs list | show | compare` and `ai4diag ui`."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING

import click

from ai4diag.cli import show
from ai4diag.cli.context import workspace
from ai4diag.errors import MachineError, UsageError, did_you_mean

if TYPE_CHECKING:
    from ai4diag.tracking.query import RunSummary
    from ai4diag.types import Estimate


@click.command("list")
@click.argument("pipeline", required=False, default="")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@show.json_option
def list_(pipeline: str, limit: int, as_json: bool) -> None:
    """List the newest runs, of one pipeline or of all."""
    from ai4diag.tracking.query import list_runs

    here = workspace()
    found = list_runs(here.root, pipeline, limit)
    if pipeline and not found and pipeline not in here.table:
        raise UsageError(f"There is no pipeline '{pipeline}', and no run of one. {did_you_mean(pipeline, here.table)}")
    if as_json:
        show.data([item.as_dict() for item in found])
    elif found:
        show.table(
            [_line(item) for item in found], ["run", "pipeline", "variant", "status", "started (UTC)", "headline"]
        )
    else:
        show.message(f"No runs yet. `ai4diag {f'run {pipeline}' if pipeline else 'demo'}` makes some.")


@click.command("show")
@click.argument("run")
@show.json_option
def show_(run: str, as_json: bool) -> None:
    """Show a run, named by the first characters of its id."""
    from ai4diag.tracking.query import show_run

    found = show_run(workspace().root, run)
    if as_json:
        show.data(found.as_dict())
        return
    click.echo(f"{found.run_id}  {found.pipeline} ({found.variant})  {found.status}, {found.seconds:.0f} s")
    for title, values in (("estimates", found.estimates), ("bound to", found.tags), ("recipe", found.params)):
        click.echo(f"\n{title}")
        for name, value in values.items():
            click.echo(f"  {value}" if title == "estimates" else f"  {name:32} {value}")


@click.command("compare")
@click.argument("names", nargs=-1, required=True, metavar="RUN RUN...")
@show.json_option
def compare(names: Sequence[str], as_json: bool) -> None:
    """Put runs side by side: settings that differ, and all estimates.

    Whether one is better than another, on the same cases, says `ai4diag compare`.
    """
    from ai4diag.tracking.query import compare_runs

    found = compare_runs(workspace().root, names)
    if as_json:
        show.data(found.as_dict())
        return
    header = ["", *(item.run_id[:8] for item in found.runs)]
    estimates = [[name, *(_interval(value) for value in values)] for name, values in found.estimates.items()]
    differing = [
        [name, *("-" if value is None else value for value in values)]
        for name, values in {**found.params, **found.tags}.items()
    ]
    show.table([["pipeline", *(item.pipeline for item in found.runs)], *estimates, *differing], header)


@click.command("ui")
@click.argument("pipeline", required=False, default="")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Where to listen on 127.0.0.1; by default 5000 or the next that is free.",
)
def ui(pipeline: str, port: int | None) -> None:
    """Start MLflow's page on this machine only; Ctrl-C ends it."""
    from ai4diag.tracking.ui import ui as prepare

    here = workspace()
    if pipeline and pipeline not in here.table:
        raise UsageError(f"There is no pipeline '{pipeline}'. {did_you_mean(pipeline, here.table)}")
    page = prepare(here.root, pipeline, port)
    click.echo(page.url)
    if page.command:
        show.message("Starting takes some seconds. Ctrl-C ends it.")
        code = _serve(page.command, page.environ)
        if code > 0:
            raise MachineError(f"MLflow's server ended with code {code}.", "Its message stands above.")


def _serve(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a server until it ends or is ended, and return its exit code; 0 when we ended it.

    It has a process group of its own: Ctrl-C would reach the server twice otherwise, and twice means at once.
    """

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    server = subprocess.Popen(command, env=environ, process_group=0)  # noqa: S603 - fixed words, no shell
    try:
        return server.wait()
    except KeyboardInterrupt:
        server.terminate()
        server.wait()
        return 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _line(item: RunSummary) -> list[str]:
    headline = str(item.headline) if item.headline else ""
    return [item.run_id[:8], item.pipeline, item.variant, item.status, f"{item.started:%Y-%m-%d %H:%M}", headline]


def _interval(estimate: Estimate | None) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]" if estimate else "-"


COMMANDS = (list_, show_, compare)
TOP_COMMANDS = (ui,)
