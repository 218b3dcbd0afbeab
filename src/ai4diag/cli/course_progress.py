"""`ai4diag course share`, `forget`, `board`: progress that learners choose to show."""

from __future__ import annotations

from pathlib import Path

import click

from ai4diag.cli import show
from ai4diag.cli.context import workspace


@click.command("share")
@click.option("--as", "pseudonym", default="", help="Name to be shown under; drawn when not given. Not your own name.")
@click.option("--to", "folder", type=click.Path(path_type=Path, file_okay=False), help="Folder that the trainer reads.")
def share(pseudonym: str, folder: Path | None) -> None:
    """Show your progress: from now on each check adds a line to a file of yours."""
    from ai4diag.course import progress

    found = progress.share(workspace().root, pseudonym, folder)
    click.echo(f"{found.pseudonym}: each check adds a line to {show.relative(found.file)}")
    click.echo("It has the exercise, what was met, the hint and the time; nothing of your cells.")
    click.echo("To stop it and delete the file: ai4diag course forget")


@click.command("forget")
def forget() -> None:
    """Stop showing your progress, and delete what was written."""
    from ai4diag.course import progress

    found = progress.forget(workspace().root)
    click.echo(f"{show.relative(found.file)} is deleted." if found else "Nothing was shared.")


@click.command("board")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("board.html"), show_default=True)
def board(folder: Path, out: Path) -> None:
    """Make one page of the progress in a folder: learners by exercises, who is stuck first."""
    from datetime import UTC, datetime

    from ai4diag.course import board as boards
    from ai4diag.files import write_text

    now, known = datetime.now(UTC), boards.known()
    learners = boards.read(folder, known, now)
    write_text(out, boards.render(learners, known, now))
    stuck = [learner.name for learner in learners if learner.state(now)[0] == "stuck"]
    click.echo(f"{show.relative(out)}: {len(learners)} learners; stuck: {', '.join(stuck) or 'nobody'}")
