"""`ai4diag course badge keys | issue | verify`: signed statements that lessons were completed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ai4diag.cli import show
from ai4diag.cli.context import workspace
from ai4diag.cli.evidence import default_folder, refuse_repository

if TYPE_CHECKING:
    from ai4diag.course.badge import Completed
    from ai4diag.course.check_file import Checked

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("keys")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the keys.")
def keys(out: Path | None) -> None:
    """Make the key pair of an issuer (Ed25519); hand the public key to whoever shall check badges."""
    from ai4diag.course import badge

    folder = out if out is not None else default_folder()
    refuse_repository(folder)
    private, public = badge.make_keys(folder)
    click.echo(f"private key  {private}\npublic key   {public}")


@click.command("issue")
@click.argument("name", metavar="BADGE", type=click.Choice(["Explorer", "Builder", "Steward"], case_sensitive=False))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--learner", required=True, help="The learner's name, as it shall stand there.")
@click.option("--issuer", required=True, help="Your organisation.")
@click.option("--country", help="Its country.")
@click.option("--key", type=FILE, help="Your private key; default: the one that `badge keys` made.")
@click.option("--out", type=FILE, required=True, help="The badge, an SVG file.")
def issue(name: str, folder: Path, learner: str, issuer: str, country: str | None, key: Path | None, out: Path) -> None:
    """Check the notebooks in FOLDER of the lessons that count for BADGE, and sign that they were completed."""
    from ai4diag.course import badge
    from ai4diag.files import write_bytes

    completed = _completed(name, folder)
    private = key if key is not None else default_folder() / badge.PRIVATE
    said = {"country": country} if country else {}
    picture = badge.issue(name, completed, learner=learner, issuer=issuer, key=private, **said)  # type: ignore[arg-type]
    write_bytes(out, picture)
    click.echo(f"{out}: {name}, completed by {learner}")


@click.command("verify")
@click.argument("file", type=FILE)
@click.option("--public-key", type=FILE, required=True, help="The issuer's public key.")
@show.json_option
def verify(file: Path, public_key: Path, as_json: bool) -> None:
    """Check a badge with the issuer's public key; no network is needed."""
    from ai4diag.course import badge
    from ai4diag.course.untrusted import clean

    said = badge.verify(file, public_key)
    if as_json:
        show.data(vars(said))
        return
    text = f"{said.name} by {said.learner}; issued by {said.issuer}, {said.issued}\n{said.description}"
    for line in f"{text}\nchecked notebooks and exercises  {said.evidence}".split("\n"):
        click.echo(clean(line))
    show.message("This is what is signed; the picture could be painted over.")


def _completed(name: str, folder: Path) -> list[Completed]:
    """Check one notebook for each lesson of a badge.

    Raises:
        UsageError: there is no such folder, or a lesson has no notebook there, or two.
        NotSolvedError: an exercise is not solved.
    """
    from ai4diag.course import check_file
    from ai4diag.course import lesson as headers
    from ai4diag.course.badge import Completed
    from ai4diag.course.untrusted import clean
    from ai4diag.errors import NotSolvedError, UsageError

    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder.", "Name the folder of the learner's notebooks.")
    here = workspace()
    all_lessons = [headers.in_notebook(path) for path in headers.notebooks(here.root).values()]
    wanted = {item.id: item for item in all_lessons if item.badge.lower() == name.lower()}
    found: dict[str, list[Path]] = {lesson: sorted(folder.glob(f"{lesson}_*.ipynb")) for lesson in wanted}
    wrong = [lesson for lesson, paths in found.items() if len(paths) != 1]
    if wrong or not wanted:
        raise UsageError(
            f"{folder} has not exactly one notebook of each lesson: {', '.join(wrong) or 'there are no lessons'}.",
            f"{name} needs {', '.join(wanted)}.",
        )
    paths = {lesson: paths[0] for lesson, paths in found.items()}
    allowed = check_file.Allowed(jobs=os.cpu_count() or 1)
    results: list[Checked] = check_file.check(
        list(paths.values()), here, allowed, lambda item: show.message(item.lesson)
    )
    for (lesson, path), result in zip(paths.items(), results, strict=True):
        if result.lesson != lesson or not result.solved:
            name, why = clean(str(path), 4096), f"it is of lesson {result.lesson}" if result.solved else result.reason
            raise NotSolvedError(
                f"{name} is not solved" + (f": {why}." if why else "."), f"See: ai4diag course check {name}"
            )
    return [
        Completed(wanted[item.lesson], item.sha256, tuple(exercise.id for exercise in item.exercises))
        for item in results
    ]


COMMANDS = (keys, issue, verify)
