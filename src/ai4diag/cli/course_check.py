"""`ai4diag course check`: notebooks of learners, judged outside of their code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ai4diag.cli import show
from ai4diag.cli.context import workspace

if TYPE_CHECKING:
    from ai4diag.course.check_file import Checked

WIDEST = 60
"""Characters of a file's name that are shown: its last ones."""


@click.command("check")
@click.argument("words", metavar="FILE|FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--seconds", type=click.FloatRange(1), default=300.0, show_default=True, help="Limit for each notebook.")
@click.option("--memory-gib", type=click.FloatRange(0.25), default=4.0, show_default=True, help="Limit for each.")
@click.option("--jobs", type=click.IntRange(1), default=None, help="Notebooks at the same time; default: one per core.")
@click.option("--unsafe", is_flag=True, help="Check others' notebooks even where nothing isolates them.")
@show.json_option
def check(
    words: tuple[Path, ...], seconds: float, memory_gib: float, jobs: int | None, unsafe: bool, as_json: bool
) -> None:
    """Run notebooks in a sandbox and judge their answers on fresh cases, outside of it.

    Ends with 0 when every exercise of every notebook is solved, else with 10.
    """
    from ai4diag.course import check_file, sandbox
    from ai4diag.errors import NotSolvedError, UsageError

    paths = check_file.notebooks(words)
    isolation = sandbox.isolation()
    if isolation == sandbox.NONE:
        if not unsafe and (len(paths) > 1 or any(word.is_dir() for word in words)):
            raise UsageError(
                "Nothing isolates notebooks on this machine: bubblewrap is missing or cannot be used.",
                "Check one notebook of your own, or install bubblewrap (Linux), or add --unsafe if you trust them all.",
            )
        show.message("isolation: none; check only your own notebooks")
    allowed = check_file.Allowed(seconds, memory_gib, jobs or os.cpu_count() or 1)
    with _Line(len(paths)) as line:
        results = check_file.check(paths, workspace(), allowed, line.heard)
    solved = all(item.solved for item in results)
    if as_json:
        show.data({"isolation": isolation, "solved": solved, "notebooks": [item.data() for item in results]})
    else:
        _show(results)
        click.echo(f"isolation: {isolation}" + ("; check only your own notebooks" * (isolation == sandbox.NONE)))
    if not solved:
        unsolved = sum(not item.solved for item in results)
        raise NotSolvedError(f"{unsolved} of {len(results)} notebooks not solved.")


class _Line:
    """A bar on a terminal, a line per notebook elsewhere; on stderr."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self.bar: Any = None

    def __enter__(self) -> _Line:
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=self.total, leave=False, dynamic_ncols=True, unit=" notebook")
        return self

    def __exit__(self, *raised: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def heard(self, result: Checked) -> None:
        """Say that a notebook was checked."""
        self.done += 1
        if self.bar is not None:
            self.bar.update()
        else:
            show.message(f"{self.done}/{self.total} {_name(result)}: {_state(result)} ({result.seconds:.0f} s)")


def _show(results: Sequence[Checked]) -> None:
    """Print notebook by exercise, then what is not met."""
    lines = []
    for result in results:
        lines += [
            (_name(result), item.id, "solved" if item.solved else "not solved", _met(item.expectations))
            for item in result.exercises
        ] or [(_name(result), result.lesson or "-", result.state, "-")]
    show.table(lines, ["notebook", "exercise", "state", "met"])
    for result in results:
        said = [f"  {result.reason}"] if result.reason else []
        said += [f"  cell {number} raised {error}" for number, error in result.cells]
        for item in result.exercises:
            said += [f"  ✗ {item.id}: {line.name}{_detail(line)}" for line in item.expectations if not line.met]
        if said:
            click.echo("\n".join(["", f"{_name(result)}: {_state(result)}", *said]))
    click.echo("")


def _name(result: Checked) -> str:
    from ai4diag.course.untrusted import clean

    name = clean(show.relative(result.path), 4096)
    return name if len(name) <= WIDEST else "…" + name[1 - WIDEST :]


def _state(result: Checked) -> str:
    if result.state != "judged":
        return result.state
    return f"{sum(item.solved for item in result.exercises)} of {len(result.exercises)} exercises solved"


def _met(expectations: Sequence[Any]) -> str:
    return f"{sum(item.met for item in expectations)}/{len(expectations)}"


def _detail(line: Any) -> str:
    words = [f"found {line.found}"] * bool(line.found) + [f"expected {line.expected}"] * bool(line.expected)
    return f" ({'; '.join(words)})" if words else ""
