"""`ai4diag doctor`: what this machine has, what it lacks, and the cure."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import click

from ai4diag.cli import show
from ai4diag.errors import Ai4diagError, MachineError

NEEDED_GIB = 5
CONFLICTING = ("torchvision", "timm", "ultralytics", "nnunetv2")


@dataclass(frozen=True)
class Symptom:
    """One thing that was looked at.

    Attributes:
        name: what was looked at.
        level: `ok`, `note` (works, with a limit) or `fault`.
        found: what is there.
        cure: what to do; empty when nothing is wrong.
    """

    name: str
    level: str
    found: str
    cure: str = ""


@click.command("doctor")
@show.json_option
def doctor(as_json: bool) -> None:
    """Look at this machine and name each fault with its cure."""
    symptoms = examine(Path.cwd())
    if as_json:
        show.data([dataclasses.asdict(symptom) for symptom in symptoms])
    else:
        for symptom in symptoms:
            click.echo(f"{symptom.level:5}  {symptom.name:12} {symptom.found}")
            if symptom.cure:
                click.echo(f"{'':19} {symptom.cure}")
    if any(symptom.level == "fault" for symptom in symptoms):
        raise MachineError("This machine has faults.", "Follow the cures above, then run `ai4diag doctor` again.")


def examine(folder: Path) -> list[Symptom]:
    """Look at interpreter, packages, tools, disk, workspace, mirror and GPU."""
    return [_python(), *_packages(), _git(), _disk(folder), *_workspace(folder), _mirror(), _device()]


def _python() -> Symptom:
    return Symptom("python", "ok", ".".join(map(str, sys.version_info[:3])))


def _packages() -> list[Symptom]:
    symptoms = []
    for name in ("torch", "monai", "mlflow", "dvc", "lightgbm"):
        try:
            symptoms.append(Symptom(name, "ok", metadata.version(name)))
        except metadata.PackageNotFoundError:
            symptoms.append(Symptom(name, "fault", "not installed", "Run `make install`."))
    for name in CONFLICTING:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        cure = "Without a matching build it breaks mlflow.pytorch and torchmetrics: `pip uninstall torchvision`."
        symptoms.append(Symptom(name, "note", f"{version} is installed", cure))
    return symptoms


def _git() -> Symptom:
    if shutil.which("git") is None:
        return Symptom("git", "fault", "not found", "Install git; DVC and the run record need it.")
    return Symptom("git", "ok", str(shutil.which("git")))


def _disk(folder: Path) -> Symptom:
    free = shutil.disk_usage(folder).free / 2**30
    if free < NEEDED_GIB:
        return Symptom("disk", "fault", f"{free:.1f} GiB free", f"Free at least {NEEDED_GIB} GiB.")
    return Symptom("disk", "ok", f"{free:.0f} GiB free")


def _workspace(folder: Path) -> list[Symptom]:
    from ai4diag.pipelines.workspace import Workspace

    try:
        here = Workspace.find(folder)
        names = list(here.table)
    except Ai4diagError as error:
        return [Symptom("workspace", "fault", error.message, error.cure)]
    symptoms = [Symptom("workspace", "ok", f"{here.root}, {len(names)} pipelines")]
    for name in ("data", "mlruns", "pipelines"):
        path = here.root / name
        if path.exists() and not os.access(path, os.W_OK):
            symptoms.append(Symptom(name, "fault", f"{path} cannot be written", "Give yourself write permission."))
    for name in names:
        try:
            here.pipeline(name)
        except Ai4diagError as error:
            symptoms.append(Symptom(name, "fault", error.message, error.cure))
    return symptoms


def _mirror() -> Symptom:
    mirror = os.environ.get("AI4DIAG_MIRROR", "")
    if not mirror:
        return Symptom("mirror", "note", "AI4DIAG_MIRROR is not set", "Data sets come from their original addresses.")
    if "://" not in mirror and not Path(mirror).is_dir():
        return Symptom("mirror", "fault", f"AI4DIAG_MIRROR={mirror} is not a folder", "Correct or unset it.")
    return Symptom("mirror", "ok", mirror)


def _device() -> Symptom:
    import torch

    if torch.cuda.is_available():
        return Symptom("device", "ok", torch.cuda.get_device_name(0))
    return Symptom("device", "ok", f"CPU, {torch.get_num_threads()} threads (no GPU that torch can use)")


COMMANDS = (doctor,)
