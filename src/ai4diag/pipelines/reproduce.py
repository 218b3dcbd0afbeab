"""The stages of a pipeline through DVC: what is out of date runs, each stage as a command of its own."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import psutil

from ai4diag.errors import ConfigError, DataError, MachineError, kind_of_exit_code
from ai4diag.pipelines.workspace import Pipeline

STAGES = ("prepare", "train", "evaluate", "package")
INTERRUPTED = (130, -signal.SIGINT)


def reproduce(pipeline: Pipeline, *, mirror: str | None = None) -> None:
    """Run the stages of the pipeline that are out of date.

    DVC is called as a library, not as a command: the command, told to be quiet about stages that are up to date, is
    quiet about its own errors too, and ends with one exit code whatever happened.

    Args:
        pipeline: the pipeline itself, not a variant.
        mirror: offline mirror of the data sets.

    Raises:
        Ai4diagError: a stage failed, which has said why; the error is of the kind that the stage ended with.
        ConfigError: DVC cannot read `dvc.yaml` or `dvc.lock`.
        DataError: the data must be brought by hand; what to fetch is said.
        MachineError: DVC cannot work here: no DVC or git repository, or another process is at work.
        KeyboardInterrupt: the stage was interrupted; it has been waited for.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    if pipeline.name in pipeline.workspace.waiting:
        raise _waits(pipeline)

    logging.getLogger("dvc").setLevel(logging.CRITICAL)  # what goes wrong is raised as well
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {"PATH": path, **({"AI4DIAG_MIRROR": mirror} if mirror else {})}
    targets = [f"{stage}@{pipeline.name}" for stage in STAGES]
    try:
        with _termination_is_passed_on(), contextlib.chdir(pipeline.workspace.root), Repo() as repo:
            repo.reproduce(targets, single_item=True, run_env=environment)
    except DvcException as error:
        raise _meaning(pipeline, error) from error


def _waits(pipeline: Pipeline) -> DataError:
    card = pipeline.workspace.catalogue.card(pipeline.recipe.data.dataset)
    return DataError(
        f"{pipeline.name} waits for its data: {card.name} must be brought by hand. {card.by_hand}",
        f"Then move its line in params.yaml from `waiting` to `pipelines`. `ai4diag run {pipeline.name} --quick` needs "
        "none of this.",
    )


@contextlib.contextmanager
def _termination_is_passed_on() -> Iterator[None]:
    """A signal to end (`kill`, a container that stops) reaches the stage too, which would go on alone otherwise."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.send_signal(number)
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _meaning(pipeline: Pipeline, error: Exception) -> BaseException:
    """Return what an error of DVC means here."""
    from dvc.exceptions import NotDvcRepoError
    from dvc.lock import LockError
    from dvc.scm import SCMError

    chain = [error, *([error.__cause__] if error.__cause__ else [])]
    said = " ".join(" ".join(str(link).split()).rstrip(".:") + "." for link in chain)
    again = f"`ai4diag run {pipeline.name}` goes on from there."
    stage = re.search(r"ai4diag (\w+) \S+, exited with (-?\d+)", said)
    if stage:
        return _of_stage(pipeline, stage[1], int(stage[2]), again)
    if isinstance(error, (NotDvcRepoError, SCMError)):
        return MachineError(f"DVC cannot work in {pipeline.workspace.root}: {said}", "Clone the repository with git.")
    if any(isinstance(link, LockError) for link in chain):
        return MachineError(f"Another process is at work on {pipeline.name}: {said}", f"When it has ended, {again}")
    if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError):
        return MachineError(f"DVC cannot run {pipeline.name}: {said}", "Check free disk space and permissions.")
    return ConfigError(f"DVC cannot run {pipeline.name}: {said}", f"After mending it, {again}")


def _of_stage(pipeline: Pipeline, stage: str, code: int, again: str) -> BaseException:
    """Return the error of a stage that ended with an exit code, or through a signal."""
    if code in INTERRUPTED:
        return KeyboardInterrupt()
    number = -code if code < 0 else code - 128
    if number in signal.valid_signals():
        name = signal.Signals(number).name
        return MachineError(
            f"{stage} of {pipeline.name} was ended from outside ({name}); the system does so when memory runs out.",
            f"`ai4diag run {pipeline.name}` goes on from the latest checkpoint.",
        )
    return kind_of_exit_code(code)(
        f"{stage} of {pipeline.name} failed; its message stands above.", f"After mending it, {again}"
    )
