"""Run a pipeline again as it is in a commit: its code, its recipe, its card, data by hash.

The stages are commands of their own, with the code of the commit where the workspace holds the library's code (else
with the installed library). They track nothing, and what they write, the ledger of looks included, is thrown away with
the checkout.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ai4diag.config.base import read_yaml
from ai4diag.config.card import load_card
from ai4diag.data import catalogue
from ai4diag.errors import Ai4diagError, CannotVerifyError, DataError, MachineError
from ai4diag.files import sha256_file
from ai4diag.tracking import SWITCH

Say = Callable[[str], None]
STAGES = ("prepare", "train", "evaluate")
PATIENCE_S = 10.0
"""How long a stage that is told to end may take."""


def rerun(
    tree: Path, words: str, dataset: str, *, data: Path, mirror: str | None, lock: int, say: Say, threads: str = ""
) -> None:
    """Prepare, train and evaluate in a clean checkout.

    Args:
        tree: the workspace in the checkout.
        words: how a command names the pipeline: `breast-mass --quick`.
        dataset: name of its data set.
        data: raw files on this machine; each is compared with the checksum on the card of the commit before it is read.
        mirror: offline mirror, for files that are missing or differ.
        lock: handle that the commands hold for as long as they live.
        say: told each line that they print.
        threads: how many threads torch had; other numbers of threads add up in another order. Not a number: unknown.

    Raises:
        CannotVerifyError: a stage failed; the reason is its own.
    """
    link_raw_files(tree, dataset, data)
    environ = _environment(tree, mirror, threads)
    _check_code(tree, environ)
    for stage in STAGES:
        code, lines = _command(["ai4diag", stage, *shlex.split(words)], tree, environ, lock, say)
        if code:
            reason = _reason(lines) or f"it ended with exit code {code}"
            if stage == "prepare":
                reason += _of_our_files(tree, dataset, data)
            raise CannotVerifyError(f"{stage} of {words} failed there: {reason}".replace(f"{tree}{os.sep}", ""))


def link_raw_files(tree: Path, dataset: str, data: Path) -> None:
    """Give the checkout the raw files of a data set: linked, or copied where the disk cannot link.

    Sets that are generated are left out: the code of the commit makes them.
    """
    card = tree / "datasets" / f"{dataset}.yaml"
    if not card.is_file() or read_yaml(card).get("embedded"):
        return
    source = data / dataset
    for path in sorted(source.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            target = tree / "data" / dataset / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(path, target)


def link_loose_file(tree: Path, root: Path, name: str) -> str:
    """Give the checkout a file that no commit and no card holds, such as initial weights; return its SHA-256.

    Empty where the commit holds it, or where it lies outside the workspace and is found anyhow.

    Args:
        tree: the workspace in the checkout.
        root: the workspace.
        name: the file, relative to both.

    Raises:
        CannotVerifyError: it is not here.
    """
    source, target = root / name, tree / name
    if target.exists() or not source.resolve().is_relative_to(root.resolve()):
        return ""
    if not source.is_file():
        raise CannotVerifyError(f"{name}, which the recipe names, is neither in the commit nor in {root}.", "Bring it.")
    target.parent.mkdir(parents=True, exist_ok=True)
    _link(source, target)
    return sha256_file(source)


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path.resolve(), target)
    except OSError:  # another disk, or one that cannot
        shutil.copyfile(path, target)


def _of_our_files(tree: Path, dataset: str, data: Path) -> str:
    """Say which raw file of this machine is not what the card of the commit says; empty when all are."""
    try:
        card = load_card(tree / "datasets" / f"{dataset}.yaml")
        if card.embedded is None and (data / dataset).is_dir():
            catalogue.verify(card, data / dataset)
    except DataError as error:
        return f" Here, {error.message}"
    except Ai4diagError:  # the card has a form of another time; the stage has said enough
        return ""
    return ""


def _environment(tree: Path, mirror: str | None, threads: str) -> dict[str, str]:
    """Return the environment of the stages: tracking off, the checkout's code first, as many threads as the run had."""
    dropped = ("MLFLOW_TRACKING_URI", "AI4DIAG_MIRROR")  # code that does not know the switch tracks in the checkout
    environ = {name: value for name, value in os.environ.items() if name not in dropped and name[:4] != "GIT_"}
    paths = [str(tree / "src")] if _has_code(tree) else []
    paths += [path for path in [environ.get("PYTHONPATH", "")] if path]
    environ |= {"OMP_NUM_THREADS": threads} if threads.isdecimal() else {}
    environ |= {SWITCH: "off"} | ({"AI4DIAG_MIRROR": mirror} if mirror else {})
    return environ | ({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})


def _has_code(tree: Path) -> bool:
    return (tree / "src" / "ai4diag" / "__init__.py").is_file()


def _check_code(tree: Path, environ: dict[str, str]) -> None:
    """Refuse when Python would import another ai4diag than that of the commit."""
    if not _has_code(tree):
        return
    words = [sys.executable, "-P", "-c", "import ai4diag; print(ai4diag.__file__)"]
    found = subprocess.run(words, cwd=tree, env=environ, capture_output=True, text=True, check=False)  # noqa: S603
    if not Path(found.stdout.strip()).is_relative_to(tree):
        raise MachineError(
            f"Python imports ai4diag from {found.stdout.strip() or found.stderr.strip()[-200:]}, not from {tree}.",
            "Unset what puts another ai4diag first (PYTHONPATH, a .pth file).",
        )


def _command(words: list[str], tree: Path, environ: dict[str, str], lock: int, say: Say) -> tuple[int, list[str]]:
    """Run a command of the library in the checkout; return its exit code and what it printed."""
    lines = []
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and words of our own
        [sys.executable, "-P", "-m", *words],
        cwd=tree,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C reaches us alone; what we started is ended below
        pass_fds=(lock,),
    )
    with _ended(process):
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            say(lines[-1])
        return process.wait(), lines


@contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[None]:
    """See to it that a process and all that it started are gone, whatever happens meanwhile."""
    try:
        yield
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    finally:
        if process.stdout is not None:
            process.stdout.close()


def _reason(lines: list[str]) -> str:
    """Return the last error among the lines that a command printed, with its cure, in one line."""
    starts = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    return " ".join(line.strip() for line in lines[starts[-1] :]).removeprefix("error: ") if starts else ""
