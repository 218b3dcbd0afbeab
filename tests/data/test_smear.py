"""The synthetic smears: the same bits every time, boxes on cells, patients that are alike within."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ai4diag.data.embedded import make_smears
from ai4diag.data.smear import CLASSES, SITES, STAINS, Patient, Smear, make_patient, make_smear
from ai4diag.data.voc import read_annotation

PLAIN = Patient("north", "wright", 11.0, 0.05, 0.5, 20, 3, 1, 1.0)


def smears(count: int = 12) -> list[Smear]:
    return [make_smear(make_patient(n, 7), np.random.default_rng([7, n])) for n in range(count)]


def test_the_same_seed_gives_the_same_bits_in_another_process() -> None:
    code = (
        "import hashlib, numpy as np; from ai4diag.data.smear import *;"
        "s = make_smear(make_patient(4, 7), np.random.default_rng([7, 4]));"
        "print(hashlib.sha256(s.image.tobytes() + s.boxes.tobytes()).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    here = make_smear(make_patient(4, 7), np.random.default_rng([7, 4]))
    assert hashlib.sha256(here.image.tobytes() + here.boxes.tobytes()).hexdigest() == other


def test_images_and_boxes_have_their_shapes_and_stay_inside() -> None:
    for smear in smears():
        assert smear.image.shape == (3, 192, 192)
        assert smear.boxes.shape == (len(smear.labels), 4)
        assert (smear.boxes >= 0).all()
        assert (smear.boxes <= 192).all()
        assert (smear.boxes[:, 2:] - smear.boxes[:, :2] >= 1.5).all()


def test_every_class_site_and_stain_appears() -> None:
    assert {int(label) for smear in smears(30) for label in smear.labels} == {0, 1, 2}
    patients = [make_patient(number, 7) for number in range(60)]
    assert {patient.site for patient in patients} == set(SITES)
    assert {patient.stain for patient in patients} == set(STAINS)


def test_cells_are_darker_than_the_slide_around_them() -> None:
    for smear in smears():
        inside = np.zeros(smear.image.shape[1:], bool)
        for box in smear.boxes:
            low, high = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
            inside[low[0] : high[0], low[1] : high[1]] = True
        green = smear.image[1].astype(float)
        slide = np.median(green[~inside])
        for box, difficult in zip(smear.boxes, smear.difficult, strict=True):
            low, high = np.rint(box[:2]).astype(int), np.rint(box[2:]).astype(int)
            if not difficult:
                assert np.percentile(green[low[0] : high[0], low[1] : high[1]], 25) < slide - 10


def test_a_lone_cell_is_boxed_tightly() -> None:
    """The dark pixels of an image with one red cell reach exactly as far as its box, to a pixel of blur."""
    checked = 0
    for seed in range(60):
        smear = make_smear(Patient("north", "wright", 12.0, 0.02, 0.4, 1.0, 0.0, 0.0, 1.0), np.random.default_rng(seed))
        if len(smear.boxes) != 1 or smear.boxes.min() < 3 or smear.boxes.max() > 189:
            continue
        box = smear.boxes[0]
        green = smear.image[1].astype(float)
        low, high = np.floor(box[:2] - 3).astype(int), np.ceil(box[2:] + 3).astype(int)
        window = green[max(0, low[0]) : high[0], max(0, low[1]) : high[1]]
        dark = window < np.percentile(window, 98) - 30
        rows, columns = np.flatnonzero(dark.sum(1) > 1), np.flatnonzero(dark.sum(0) > 1)
        found = np.array([rows[0] + low[0], columns[0] + low[1], rows[-1] + 1 + low[0], columns[-1] + 1 + low[1]])
        assert np.abs(found - box).max() < 2.5
        checked += 1
    assert checked >= 5


def test_cells_that_are_mostly_outside_are_difficult() -> None:
    drawn = smears(25)
    flags = np.concatenate([smear.difficult for smear in drawn])
    touching = np.concatenate([(s.boxes.min(1) == 0) | (s.boxes.max(1) == 192) for s in drawn])
    assert 0 < flags.mean() < 0.05
    assert touching[flags].all()


def test_cells_of_one_patient_are_more_alike_than_those_of_two() -> None:
    def size(smear: Smear) -> float:
        red = smear.boxes[(smear.labels == 0) & ~smear.difficult]
        return float(np.median(red[:, 2:] - red[:, :2]))

    sizes = np.array(
        [[size(make_smear(make_patient(p, 7), np.random.default_rng([7, p, i]))) for i in range(2)] for p in range(20)]
    )
    within, between = sizes.var(axis=1, ddof=1).mean(), sizes.mean(axis=1).var(ddof=1)
    assert between > 2 * within


def test_the_files_say_what_was_drawn(tmp_path: Path) -> None:
    paths = make_smears(tmp_path, patients=2, images_each=2)
    assert len(paths) == 2 * 2 * 2 + 1
    drawn = make_smear(make_patient(1, 2024), np.random.default_rng([2024, 1, 1]))
    read = read_annotation(tmp_path / "annotations" / "smear-001-1.xml")
    assert read.names == tuple(CLASSES[label] for label in drawn.labels)
    assert read.boxes == pytest.approx(drawn.boxes, abs=0.051)
    lines = (tmp_path / "cases.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "case_id,patient_id,site,stain"
    assert lines[4].startswith("smear-001-1,patient-001,south,")
