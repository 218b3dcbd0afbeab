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


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory):
    """A workspace in which a small breast-mass was trained and evaluated, not to be changed, and the id of its run."""
    from tests.pipelines.test_tracked import evaluate, quiet, small, stages, train

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        root = build_workspace(tmp_path_factory.mktemp("evaluated") / "workspace", "breast-mass")
        stages.prepare(small(root), notify=quiet)
        train(small(root))
        return root, evaluate(small(root))


@pytest.fixture
def done(evaluated, tmp_path, monkeypatch):
    """The pipeline of a copy of it, to spoil."""
    from tests.pipelines.test_tracked import small

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(evaluated[0], tmp_path / "done")
    return small(tmp_path / "done")


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
