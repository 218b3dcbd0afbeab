"""`ai4diag data list | show | get`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ai4diag.cli import show
from ai4diag.cli.context import workspace
from ai4diag.cli.progress import Progress


def mirror() -> str | None:
    """Return the offline mirror: `AI4DIAG_MIRROR`, a folder (as seen from the current one) or an address."""
    found = os.environ.get("AI4DIAG_MIRROR") or None
    return found if found is None or "://" in found else str(Path(found).absolute())


@click.command("list")
@show.json_option
def list_(as_json: bool) -> None:
    """List the data sets and whether their files are here."""
    from ai4diag.data.catalogue import state

    here = workspace()
    cards = [here.catalogue.card(name) for name in here.catalogue.names()]
    lines = [
        {
            "name": card.name,
            "task": card.task,
            "licence": card.licence.id,
            "commercial": card.licence.commercial,
            "state": state(card, here.data),
            "title": card.title,
        }
        for card in cards
    ]
    if as_json:
        show.data(lines)
    else:
        words = [
            [*list(line.values())[:3], "yes" if line["commercial"] else "no", line["state"], line["title"]]
            for line in lines
        ]
        show.table(words, ["name", "task", "licence", "commercial use", "files", "title"])


@click.command("show")
@click.argument("name")
@show.json_option
def show_(name: str, as_json: bool) -> None:
    """Show the card of a data set."""
    card = workspace().catalogue.card(name)
    values = card.model_dump(mode="json", exclude_none=True)
    if as_json:
        show.data(values)
        return
    click.echo(f"{card.name}: {card.title}\n\n{card.description}\n")
    click.echo(f"citation   {card.citation}")
    click.echo(
        f"licence    {card.licence.id}, commercial use {'allowed' if card.licence.commercial else 'not allowed'}"
    )
    click.echo(f"           {card.licence.attribution}")
    click.echo(f"terms      {card.terms}")
    click.echo(f"origin     {card.origin.page}")
    if card.by_hand:
        click.echo(f"by hand    {card.by_hand}")
    if card.classes:
        click.echo(f"classes    {', '.join(card.classes)}")
    for pitfall in card.pitfalls:
        click.echo(f"pitfall    {pitfall}")


@click.command("get")
@click.argument("name")
def get(name: str) -> None:
    """Bring the files of a data set here and verify them; AI4DIAG_MIRROR names an offline mirror."""
    from ai4diag.data import catalogue

    here = workspace()
    folder = catalogue.get(here.catalogue.card(name), here.data, mirror(), Progress(f"get {name}"))
    click.echo(show.relative(folder))


COMMANDS = (list_, show_, get)
