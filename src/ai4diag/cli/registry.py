"""`ai4diag promote | demote | models`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ai4diag.cli import show
from ai4diag.cli.context import workspace

if TYPE_CHECKING:
    from ai4diag.tracking.registry import Event, Model

ALIASES = click.Choice(["staging", "production"])


@click.command("promote")
@click.argument("run")
@click.option("--to", "alias", type=ALIASES, required=True, help="The alias it gets.")
@click.option("--by", required=True, metavar="NAME", help="Who answers for it.")
@click.option("--pack", type=click.Path(path_type=Path), help="Its evidence pack; by default where `build` puts it.")
@click.option("--public-key", type=click.Path(path_type=Path), help="The pack must be signed with this key.")
@click.option("--reason", default="", metavar="TEXT", help="Why.")
def promote(run: str, alias: Any, by: str, pack: Path | None, public_key: Path | None, reason: str) -> None:
    """Make a run `staging` or `production`: its evidence pack must verify, its release gate hold.

    RUN is a pipeline's name, which means its latest run, or the first characters of a run's id.
    """
    from ai4diag.pipelines import registry

    event = registry.promote(workspace(), run, alias, by=by, pack=pack, public_key=public_key, reason=reason)
    click.echo(_line(event))


@click.command("demote")
@click.argument("pipeline")
@click.option("--from", "alias", type=ALIASES, required=True, help="The alias it loses.")
@click.option("--by", required=True, metavar="NAME", help="Who answers for it.")
@click.option("--reason", required=True, metavar="TEXT", help="Why.")
def demote(pipeline: str, alias: Any, by: str, reason: str) -> None:
    """Take `staging` or `production` away; version and history stay."""
    from ai4diag.pipelines import registry

    click.echo(_line(registry.demote(workspace(), pipeline, alias, by=by, reason=reason)))


@click.command("models")
@click.argument("pipeline", required=False, default="")
@show.json_option
def models(pipeline: str, as_json: bool) -> None:
    """List promoted models; of one pipeline with its history."""
    from ai4diag.pipelines import registry

    found = registry.models(workspace(), pipeline)
    if as_json:
        show.data([item.as_dict() for item in found])
    elif not found:
        show.message("No model was promoted yet: ai4diag promote RUN --to staging --by NAME")
    else:
        show.table([_summary(item) for item in found], ["model", "versions", "staging", "production", "last decision"])
        for event in found[0].events if pipeline else ():
            click.echo(_line(event))


def _summary(item: Model) -> list[str]:
    places = [f"version {item.aliases[alias]}" if alias in item.aliases else "-" for alias in ("staging", "production")]
    last = item.events[-1] if item.events else None
    return [item.name, str(len(item.versions)), *places, f"{last.at}, {last.by}" if last else "-"]


def _line(event: Event) -> str:
    way = "to" if event.what == "promoted" else "from"
    words = [
        f"{event.at}  version {event.version} (run {event.run[:8]}) {event.what} {way} {event.alias} by {event.by}"
    ]
    if event.reason:
        words.append(event.reason)
    if event.evidence:
        words.append(
            f"evidence {event.evidence[:12]}, {f'signed by {event.signed_by}' if event.signed_by else 'not signed'}"
        )
    return "; ".join(words)


COMMANDS = (promote, demote, models)
