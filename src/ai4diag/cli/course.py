"""`ai4diag course`: the skills curriculum."""

from __future__ import annotations

from typing import Any

import click

from ai4diag.cli import show
from ai4diag.cli.context import workspace
from ai4diag.cli.course_check import check
from ai4diag.cli.course_progress import board, forget, share


@click.command("list")
@show.json_option
def list_(as_json: bool) -> None:
    """List the lessons, their minutes, and whether what they need is in place."""
    from ai4diag.course import lesson as headers
    from ai4diag.course.place import lacking

    here = workspace()
    found = [headers.in_notebook(path) for path in headers.notebooks(here.root).values()]
    if as_json:
        show.data([item.model_dump(mode="json") | {"lacking": lacking(here, item)} for item in found])
        return
    show.table(
        [(item.id, item.title, item.minutes, item.badge, _state(lacking(here, item), item.id)) for item in found],
        ["lesson", "title", "minutes", "badge", "ready"],
    )


def _state(lacking: list[str], lesson: str) -> str:
    return f"no: ai4diag course catch-up {lesson}" if lacking else "yes"


@click.command("build")
@click.option("--check", is_flag=True, help="Write nothing; fail if a learner's notebook differs from its source.")
def build(check: bool) -> None:
    """Build the notebooks from `curriculum/`: learner's copies, solutions, trainer's copies."""
    from ai4diag.course import build as building
    from ai4diag.errors import VerifyError

    root = workspace().root
    if not check:
        for path in building.write(root):
            click.echo(show.relative(path))
        return
    learner = {path: text for path, text in building.build(root).items() if path.parent == root / "notebooks"}
    differ = [path.name for path, text in learner.items() if not path.is_file() or path.read_text("utf-8") != text]
    if differ:
        raise VerifyError(f"Not what their source gives: {', '.join(differ)}.", "Run `ai4diag course build`.")


COMMANDS: tuple[Any, ...] = (list_, check, share, forget, board, build)
