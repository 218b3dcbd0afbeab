"""The synthetic chests: the same bits every time, nodules where the tables say."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ai4diag.data.embedded import make_phantoms
from ai4diag.data.phantom import SMALL_MM, make_phantom
from ai4diag.data.volume import read_volume


def test_the_same_seed_gives_the_same_bits_in_another_process() -> None:
    code = (
        "import hashlib; from ai4diag.data.phantom import make_phantom; p = make_phantom(3, 7);"
        "print(hashlib.sha256(p.array.tobytes() + p.affine.tobytes()).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    here = make_phantom(3, 7)
    assert hashlib.sha256(here.array.tobytes() + here.affine.tobytes()).hexdigest() == other


def test_nodules_are_bright_where_the_table_says_and_lung_is_around_them(tmp_path: Path) -> None:
    make_phantoms(tmp_path, 6)
    table = pd.read_csv(tmp_path / "annotations.csv")
    assert len(table) >= 6
    signs = []
    for line in table.itertuples():
        volume = read_volume(tmp_path / "scans" / f"{line.seriesuid}.nii.gz")
        world = np.array([-float(line.coordX), -float(line.coordY), float(line.coordZ)])  # LPS to RAS
        index = np.stack(np.meshgrid(*(np.arange(side) for side in volume.array.shape[1:]), indexing="ij"), -1)
        distance = np.linalg.norm(index @ volume.affine[:3, :3].T + volume.affine[:3, 3] - world, axis=-1)
        inside = volume.array[0][distance < 0.35 * float(line.diameter_mm)]
        assert inside.mean() > -150
        shell = (distance > 0.5 * float(line.diameter_mm) + 3) & (distance < 0.5 * float(line.diameter_mm) + 5)
        assert np.median(volume.array[0][shell]) < inside.mean() - 60
        signs.append(tuple(np.sign(np.diag(volume.affine)[:3])))
    assert len(set(signs)) > 1  # axes run both ways


def test_small_nodules_are_listed_apart() -> None:
    for number in range(8):
        phantom = make_phantom(number, 2025)
        assert all(one.diameter_mm > SMALL_MM for one in phantom.nodules)
        assert all(one.diameter_mm < SMALL_MM for one in phantom.small)
    assert make_phantom(9, 2025).nodules == ()


@pytest.mark.parametrize("site", [0, 1])
def test_voxels_are_no_cubes(site: int) -> None:
    phantom = make_phantom(site, 2025)
    spacing = np.abs(np.diag(phantom.affine)[:3])
    assert spacing[2] > 1.5 * spacing[0]
