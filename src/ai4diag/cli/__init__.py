"""The command `ai4diag`: verbs, their errors and exit codes. Nothing heavy is imported until a verb runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ai4diag import __version__
from ai4diag.cli import (
    compare,
    course,
    course_badge,
    course_kit,
    data,
    evidence,
    folders,
    lab,
    machine,
    plan,
    predict,
    registry,
    runs,
    stages,
    verify,
)
from ai4diag.errors import Ai4diagError, UsageError, did_you_mean

INTERRUPTED = 130
UNEXPECTED = 1

EXAMPLES = """
\b
Examples:
  ai4diag demo                          two pipelines end to end, on embedded data
  ai4diag run breast-mass               prepare, train, evaluate, package
  ai4diag run blood-cells --quick       the recipe's small variant
  ai4diag run breast-mass --set train.epochs=3
  ai4diag new my-model --task tabular --dataset wdbc
  ai4diag runs list
  ai4diag compare breast-mass other-model.csv
"""


class Verbs(click.Group):
    """A group that answers a typing error with the nearest verb, and ends well when its reader has read enough."""

    def invoke(self, context: click.Context) -> Any:
        """Run the verb; a closed pipe is no error."""
        try:
            return super().invoke(context)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def resolve_command(self, context: click.Context, words: list[str]) -> Any:
        """Find the verb, or say which one was probably meant."""
        if words and self.get_command(context, words[0]) is None:
            raise UsageError(f"There is no command '{words[0]}'. {did_you_mean(words[0], self.commands)}")
        return super().resolve_command(context, words)


@click.group(
    cls=Verbs, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120}
)
@click.version_option(__version__, prog_name="ai4diag")
def cli() -> None:
    """Train, evaluate and hand over medical prediction and detection models.

    A pipeline is a folder; a task knows how; every run ends in evidence.
    """


GROUPS: dict[str, tuple[str, tuple[click.Command, ...]]] = {
    "course": (
        "Teach and learn: lessons, checks, progress, packs, badges.",
        (
            *course.COMMANDS,
            *course_kit.COMMANDS,
            Verbs("badge", commands=course_badge.COMMANDS, help="Say, signed, that lessons were completed."),
        ),
    ),
    "data": ("List, show and get data sets.", data.COMMANDS),
    "evidence": ("Make and check evidence packs.", evidence.EVIDENCE),
    "keys": ("Make and show the keys that packs are signed with.", evidence.KEYS),
    "runs": ("List and show tracked runs, and put them side by side.", runs.COMMANDS),
}
for _command in (
    *stages.COMMANDS,
    *verify.COMMANDS,
    *compare.COMMANDS,
    *predict.COMMANDS,
    *plan.COMMANDS,
    *folders.COMMANDS,
    *machine.COMMANDS,
    *registry.COMMANDS,
    *runs.TOP_COMMANDS,
    *lab.COMMANDS,
):
    cli.add_command(_command)
for _name, (_help, _commands) in GROUPS.items():
    cli.add_command(Verbs(_name, commands=_commands, help=_help))


def main(arguments: list[str] | None = None) -> None:
    """Run the command and end with its exit code (docs/reference/exit-codes.md)."""
    # Threads that wait for each other sleep instead of spinning: on a shared machine a training step took twice the
    # processor time and three times the wall time otherwise (docs/LOG.md, 2026-11-22). Read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(_guarded(lambda: cli.main(arguments, prog_name="ai4diag", standalone_mode=False)))


def _guarded(call: Callable[[], Any]) -> int:
    try:
        call()
    except Ai4diagError as error:
        click.echo(f"error: {error.message}", err=True)
        if error.cure:
            click.echo(f"       {error.cure}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("\ninterrupted; run the same command again to go on from the latest checkpoint", err=True)
        return INTERRUPTED
    except OSError as error:
        where = f" {Path(error.filename)}" if isinstance(error.filename, str) else ""
        click.echo(f"error: the machine refused: {error.strerror or error}{where}", err=True)
        click.echo("       Check free disk space and permissions.", err=True)
        return 7
    except Exception as error:
        if os.environ.get("AI4DIAG_DEBUG"):
            raise
        click.echo(f"error: unexpected {type(error).__name__}: {error}", err=True)
        click.echo("       This is a fault of ai4diag. Set AI4DIAG_DEBUG=1 to see where it happened.", err=True)
        return UNEXPECTED
    return 0
