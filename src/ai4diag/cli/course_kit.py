"""`ai4diag course catch-up | reset | pack`: bring lessons into place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ai4diag.cli import show
from ai4diag.cli.context import workspace
from ai4diag.cli.data import mirror


@click.command("catch-up")
@click.argument("lessons", metavar="LESSON...", nargs=-1, required=True)
def catch_up(lessons: tuple[str, ...]) -> None:
    """Put in place what each LESSON and those before it need: data, finished runs, solved notebooks.

    What is there already stays; your own notebooks are not touched.
    """
    from ai4diag.course import kit

    kit.catch_up(workspace(), lessons, mirror(), show.message)
    for lesson in lessons:
        click.echo(f"{lesson}: all that it needs is in place.")


@click.command("reset")
@click.argument("lesson")
def reset(lesson: str) -> None:
    """Begin LESSON anew; your notebook and what it wrote are kept in `notebooks/work/kept/`."""
    from ai4diag.course import kit

    done = kit.reset(workspace().root, lesson)
    for path in done.kept:
        click.echo(f"kept  {show.relative(path)}")
    click.echo(f"new   {show.relative(done.notebook)}")


@click.command("pack")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option("--lesson", "lessons", multiple=True, help="Only this lesson and those it needs; may be repeated.")
def pack(out: Path, lessons: Sequence[str]) -> None:
    """Write a folder from which a room of learners works without a network.

    It is for machines like this one: same system, same version of Python.
    """
    from ai4diag.course.pack import make_pack

    said = make_pack(workspace(), out.absolute(), lessons, show.message)
    size, made_on = said["bytes"] / 1e6, said["made_on"]
    click.echo(f"{out}: {len(said['lessons'])} lessons, {said['wheels']} packages, {size:,.0f} MB")
    click.echo(f"for Python {made_on['python']} on {made_on['platform']}; open START.html")


COMMANDS = (catch_up, reset, pack)
