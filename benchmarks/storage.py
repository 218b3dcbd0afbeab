"""Cases packed into one file: reading 2,000 small pictures, adding 5,000 to DVC, asking DVC whether all is up to date.

The last is measured in a clone of this repository that shares its cache, on the pipelines whose outputs are there and
up to date; nothing is trained.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from benchmarks import Row, agree, bound, side_by_side, versions

ROOT = Path(__file__).resolve().parent.parent
DVC = Path(sys.executable).parent / "dvc"
FEW, MANY = 2000, 5000
SIDE = 28


def run() -> list[Row]:
    """Measure on one thread."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = np.random.default_rng(0).integers(0, 256, (MANY, SIDE, SIDE, 3), dtype=np.uint8)
        np.save(folder / "images.npy", images)
        (folder / "pictures").mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image).save(folder / "pictures" / f"{number:05d}.png", compress_level=1)
        return [reading(folder, images), adding(folder), *nothing_to_do(folder)]


def reading(folder: Path, images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Row:
    """Compare a memory map with MONAI's reader of pictures."""
    import torch
    from monai.transforms import LoadImage

    torch.set_num_threads(1)
    load = LoadImage(image_only=True, reverse_indexing=False, dtype=np.uint8)
    paths = sorted((folder / "pictures").iterdir())[:FEW]

    def ours() -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
        packed = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        return [np.array(packed[row]) for row in range(FEW)]

    def peer() -> list[torch.Tensor]:
        return [load(path) for path in paths]

    agree(np.stack(ours()[:20]), np.stack([np.asarray(image) for image in peer()[:20]]), 0)
    agree(ours()[-1], images[FEW - 1], 0)
    seconds = side_by_side(ours, peer, 3)
    name = f"reading {FEW:,} pictures, {SIDE} x {SIDE} x 3, packed"
    return Row(name, "MONAI LoadImage of PNG files", *seconds, 100.0, versions("monai", "numpy", "pillow"))


def adding(folder: Path) -> Row:
    """Compare `dvc add` of one file with that of a folder of as many files as it holds pictures."""

    def add(what: str) -> Callable[[], object]:
        def work() -> object:
            place = Path(tempfile.mkdtemp(dir=folder))
            dvc(place, "init", "--no-scm", "--quiet")
            source = folder / what
            (shutil.copytree if source.is_dir() else shutil.copy)(source, place / what)
            done = dvc(place, "add", "--quiet", what)
            shutil.rmtree(place)
            return done

        return work

    seconds = side_by_side(add("images.npy"), add("pictures"), 3)
    note = "Both with `dvc init` and a copy of the files."
    name = f"dvc add of {MANY:,} pictures, packed"
    return Row(name, "dvc add of as many files", *seconds, 2.0, versions("dvc"), note)


def nothing_to_do(folder: Path) -> list[Row]:
    """Measure `dvc repro` of all pipelines when nothing has changed; no row where one of them is out of date."""
    clone = folder / "clone"
    git = str(shutil.which("git"))
    subprocess.run([git, "clone", "--quiet", "--shared", ROOT, clone], check=True)
    dvc(clone, "config", "--local", "cache.dir", str(ROOT / ".dvc" / "cache"))
    dvc(clone, "checkout", "--quiet", "--allow-missing")
    if json.loads(dvc(clone, "status", "--json").stdout):
        return []

    def ours() -> object:
        return dvc(clone, "repro", "--quiet")

    names = yaml.safe_load((clone / "params.yaml").read_text())["pipelines"]
    note = f"{len(names)} pipelines with four stages each: {', '.join(names)}."
    return [Row("dvc repro with nothing to do", "limit", *bound(3.0, ours), 1.0, versions("dvc"), note)]


def dvc(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run DVC in a folder."""
    environ = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    return subprocess.run([DVC, *words], cwd=folder, check=True, capture_output=True, env=environ)
