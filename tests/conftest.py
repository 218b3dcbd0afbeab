"""What several test folders share: the repository, an offline mirror, and a workspace of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository():
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def mirror():
    """The offline mirror of the data sets; tests that need it are skipped, by name, where it is not."""
    found = os.environ.get("AI4DIAG_MIRROR") or str(ROOT.parent / "shared" / "data")
    if "://" not in found and not Path(found).is_dir():
        pytest.skip("no offline mirror: set AI4DIAG_MIRROR to run this test")
    return found


@pytest.fixture
def make_workspace(tmp_path):
    """Return a function that makes a workspace of some of the shipped pipelines (`build_workspace`)."""
    return lambda *names: build_workspace(tmp_path / "workspace", *names)


def build_workspace(root: Path, *names: str) -> Path:
    """Make a git repository with DVC, the cards, and some of the shipped pipelines; return its folder."""
    for name in names:
        shutil.copytree(
            ROOT / "pipelines" / name,
            root / "pipelines" / name,
            ignore=shutil.ignore_patterns("out", "__pycache__", "looks.csv"),
        )
    shutil.copytree(ROOT / "datasets", root / "datasets")
    (root / "src" / "ai4diag").mkdir(parents=True)
    shutil.copy(ROOT / "src" / "ai4diag" / "numerics.yaml", root / "src" / "ai4diag")
    for name in ("dvc.yaml", ".gitignore"):
        shutil.copy(ROOT / name, root)
    shutil.copytree(ROOT / ".dvc", root / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    lines = [line for line in (ROOT / "params.yaml").read_text().splitlines() if line.split(":")[0].strip() in names]
    (root / "params.yaml").write_text("\n".join(["pipelines:", *lines]) + "\n")
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "start")
    return root


def git(folder: Path, *words: str) -> None:
    """Run git as a test person."""
    person = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *person, *words], cwd=folder, check=True)
