"""A course pack: one folder from which a room of learners works without a network.

START.html     where to begin
install.py     makes .venv from the wheels
pack.json      for which Python and machine it is, which lessons it has
SHA256SUMS     of everything else, but for what learners change
wheels/        every package; those that have only a source are built
classroom/     the workspace: notebooks, pipelines, cards, data, finished runs; learners write here
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from ai4diag import __version__
from ai4diag.course import classroom, kit
from ai4diag.course import lesson as headers
from ai4diag.course.lesson import Lesson
from ai4diag.course.place import lacking
from ai4diag.data import catalogue
from ai4diag.errors import DataError, MachineError, UsageError
from ai4diag.files import put_folder, sha256_file, write_json, write_text
from ai4diag.pipelines.workspace import Workspace

BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE")
NEEDED = (*BUILT_FROM, "constraints.txt", "curriculum", "docs")
Say = Callable[[str], None]


def make_pack(
    source: Workspace, folder: Path, lessons: Sequence[str] = (), say: Say = lambda _: None
) -> dict[str, Any]:
    """Write a course pack for machines like this one.

    Args:
        source: a checkout in which everything that the lessons need is in place.
        folder: where; must not exist.
        lessons: which lessons, with those that they need; empty: all.
        say: hears what is being done.

    Returns:
        What `pack.json` says: lessons, number of wheels, `made_on`, and the bytes of the pack.

    Raises:
        UsageError: the folder exists, or this is no checkout of the repository.
        DataError: something that a lesson needs is not in place.
        MachineError: pip cannot get or build a package.
    """
    if folder.exists():
        raise UsageError(f"{folder} exists.", "Name a new folder.")
    missing = [name for name in NEEDED if not (source.root / name).exists()]
    if missing:
        raise UsageError(f"{source.root} has no {', '.join(missing)}.", "Make packs in a checkout of the repository.")
    chosen = _chosen(source, lessons)
    making = folder.with_name(f".{folder.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    try:
        said = _fill(source, making, chosen, say)
        put_folder(making, folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return said | {"bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())}


def _fill(source: Workspace, making: Path, chosen: Sequence[Lesson], say: Say) -> dict[str, Any]:
    """Write everything into the folder; return what `pack.json` says."""
    say("classroom")
    _classroom(source, making / "classroom", chosen)
    say("documentation")
    _docs(source.root, making / "docs")
    say("packages")
    _wheels(source.root, making / "wheels")
    shutil.copy(str(files("ai4diag.course") / "install.py"), making / "install.py")
    made_on = {"python": f"{sys.version_info[0]}.{sys.version_info[1]}", "platform": sysconfig.get_platform()}
    said: dict[str, Any] = {
        "ai4diag": __version__,
        "made_on": made_on,
        "lessons": [item.id for item in chosen],
        "wheels": len(list((making / "wheels").iterdir())),
    }
    write_json(making / "pack.json", said)
    write_text(making / "START.html", start_page(chosen, made_on))
    say("checksums")
    write_text(making / "SHA256SUMS", _sums(making))
    return said


def start_page(chosen: Sequence[Lesson], made_on: dict[str, str]) -> str:
    """Return START.html: what to do, one step after the other, and the lessons of the pack."""
    from jinja2 import Environment, StrictUndefined

    text = (files("ai4diag.course") / "start.html").read_text(encoding="utf-8")
    page = Environment(undefined=StrictUndefined, autoescape=True).from_string(text)
    return page.render(lessons=chosen, made_on=made_on, version=__version__)


def _chosen(source: Workspace, lessons: Sequence[str]) -> list[Lesson]:
    names = lessons or list(headers.notebooks(source.root))
    chosen = {header.id: header for name in names for header in kit.before(source.root, name)}
    for header in chosen.values():
        found = lacking(source, header)
        if found:
            raise DataError(
                f"Lesson {header.id} lacks {found[0]}" + (f" and {len(found) - 1} more." if found[1:] else "."),
                f"Run `ai4diag course catch-up {header.id}` first.",
            )
    return [chosen[name] for name in sorted(chosen)]


def _classroom(source: Workspace, folder: Path, chosen: Sequence[Lesson]) -> None:
    """Make the workspace: data are copied and verified, notebooks stand in place and once more as originals."""
    together = {
        what: tuple(dict.fromkeys(name for header in chosen for name in getattr(header, what)))
        for what in ("pipelines", "runs")
    }
    made = classroom.build_workspace(folder, source, pipelines=together["pipelines"], runs=together["runs"])
    for name in dict.fromkeys(name for header in chosen for name in header.data):
        shutil.copytree(source.data / name, made.data / name)
        catalogue.get(made.catalogue.card(name), made.data)  # verifies what is there
    for header in chosen:
        for copy, places in (("learner", ("notebooks", "originals/learner")), ("solution", ("originals/solution",))):
            name, text = kit.original(source.root, header.id, "learner" if copy == "learner" else "solution")
            for place in places:
                (folder / place).mkdir(parents=True, exist_ok=True)
                write_text(folder / place / name, text)


def _docs(root: Path, folder: Path) -> None:
    """Build the documentation."""
    command = [sys.executable, "-m", "sphinx", "--quiet", "-b", "html", "-d", str(folder / ".doctrees")]
    done = subprocess.run([*command, str(root / "docs"), str(folder)], capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise MachineError(
            f"The documentation cannot be built: {done.stderr.strip()[-600:]}",
            'Is Sphinx there? pip install "ai4diag[docs]"',
        )
    shutil.rmtree(folder / ".doctrees")


def _wheels(root: Path, folder: Path) -> None:
    """Collect every package as a wheel; what has only a source is built here.

    The package itself is built from a copy, so that nothing is left in the checkout, and nothing old gets in.
    """
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "ai4diag"
        shutil.copytree(root / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        for file in BUILT_FROM:
            shutil.copy(root / file, copy / file)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
        asked = ["--wheel-dir", str(folder), "--constraint", str(root / "constraints.txt"), f"{copy}[lab]"]
        done = subprocess.run([*command, *asked], capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if done.returncode:
        raise MachineError(f"pip cannot collect the packages: {done.stderr.strip()[-600:]}", "Is there a network?")


def _sums(folder: Path) -> str:
    """Return the checksums of what learners do not change: all but their notebooks, runs and git's files."""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    fixed = ("wheels/", "docs/", "classroom/data/", "classroom/originals/", "install.py", "pack.json", "START.html")
    return "".join(f"{sha256_file(folder / path)}  {path}\n" for path in paths if path.startswith(fixed))
