"""A pipeline or a variant of it, named by the words of its command."""

from __future__ import annotations

import shlex
from pathlib import Path

from ai4diag.errors import UsageError
from ai4diag.pipelines.workspace import Pipeline, Workspace

FORM = "Name it as `ai4diag run` does: NAME [--quick] [--folds N] [--seeds N] [--set KEY=VALUE]."


def pipeline_of(words: str, folder: Path | str = ".") -> Pipeline:
    """Return the pipeline that `ai4diag run <words>` would run.

    Args:
        words: `hippocampus`, `hippocampus --quick`, `breast-mass --set train.epochs=3`.
        folder: a folder of the workspace.

    Raises:
        UsageError: the words are no such command, or there is no such pipeline.
        ConfigError: its recipe is wrong.
    """
    try:
        name, *options = shlex.split(words)
    except ValueError:
        raise UsageError(f"{words!r} names no pipeline.", FORM) from None
    quick, folds, seeds, overrides = False, 0, 1, []
    left = iter(options)
    for option in left:
        value = "" if option == "--quick" else next(left, "")
        if option == "--quick":
            quick = True
        elif option == "--set" and value:
            overrides.append(value)
        elif option == "--folds" and value.isdecimal():
            folds = int(value)
        elif option == "--seeds" and value.isdecimal():
            seeds = int(value)
        else:
            raise UsageError(f"{words!r}: '{' '.join([option, value]).strip()}' is no option of a variant.", FORM)
    return Workspace.find(Path(folder)).pipeline(name, quick=quick, folds=folds, seeds=seeds, overrides=overrides)
