"""`ai4diag lab`: JupyterLab for the workspace."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ai4diag.cli import show


@click.command("lab")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Where to listen on 127.0.0.1; by default 8888 or the next free one."
)
@click.option("--no-browser", is_flag=True, help="Open no browser; the address is printed.")
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="A folder of the workspace; by default the current one.",
)
def lab(port: int | None, no_browser: bool, folder: Path) -> None:
    """Start JupyterLab for the workspace, on this machine only; Ctrl-C ends it.

    Its launcher has tiles for the lessons, the latest report, and MLflow.
    """
    from ai4diag.jupyter.start import start

    ready = start(folder, port, not no_browser)
    show.message(f"JupyterLab for {ready.folder}. Starting takes some seconds. Ctrl-C ends it.")
    os.chdir(ready.folder)
    os.execve(ready.command[0], ready.command, ready.environ)  # noqa: S606 - fixed words, no shell


COMMANDS = (lab,)
