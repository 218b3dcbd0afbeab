"""The cards of signals against the data they describe; the mirror is needed for what is not drawn here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ai4diag.config.recipe import load_recipe
from ai4diag.data.catalogue import Catalogue, get
from ai4diag.data.prepare_signals import prepare_signals
from ai4diag.data.prepared import Prepared
from ai4diag.errors import DataError
from tests.conftest import ROOT

CARDS = ROOT / "datasets"


@pytest.fixture(scope="module")
def beats(tmp_path_factory, mirror) -> Prepared:
    folder = tmp_path_factory.mktemp("mitbih")
    card = Catalogue(CARDS).card("mitbih_pvc_subset")
    recipe = load_recipe(ROOT / "pipelines" / "ecg-pvc" / "pipeline.yaml")
    prepare_signals(get(card, folder / "data", mirror), card, recipe, folder / "out")
    return Prepared.open(folder / "out")


def test_beats_of_mitbih_are_those_that_were_counted(beats: Prepared) -> None:
    counts = {"100": (2273, 1), "105": (2572, 41), "106": (2027, 520), "114": (1879, 43), "116": (2412, 109),
              "119": (1987, 444), "121": (1863, 1), "200": (2601, 826)}  # fmt: skip
    outside = {"100": 2, "116": 1, "121": 1, "200": 1}
    found = beats.index.groupby("record")["truth"].agg(["size", "sum"])
    expected = {name: (beats - outside.get(name, 0), ill) for name, (beats, ill) in counts.items()}
    assert {
        str(name): tuple(line) for name, line in zip(found.index, found.to_numpy().tolist(), strict=True)
    } == expected
    assert beats.index.groupby("lead")["record"].unique().map(sorted)["V5"] == ["114"]


def test_the_split_of_mitbih_is_that_of_de_chazal(beats: Prepared) -> None:
    ds1 = {"101", "106", "108", "109", "112", "114", "115", "116", "118", "119", "122", "124", "201", "203", "205",
           "207", "208", "209", "215", "220", "223", "230"}  # fmt: skip
    wrong, right = beats.folds()
    patient = beats.index["patient_id"].to_numpy()
    learned = set(patient[right.train]) | set(patient[right.validation])
    assert learned == {"106", "114", "116", "119"} <= ds1
    assert set(patient[right.test]) == {"100", "105", "121", "200"}
    assert not set(patient[right.test]) & ds1
    assert not set(patient[right.train]) & set(patient[right.validation])
    assert wrong.contrast
    assert set(patient[wrong.train]) == set(patient[wrong.test])


def test_rhythm_alone_tells_most_premature_beats_of_mitbih(beats: Prepared) -> None:
    truth, early = beats.index["truth"].to_numpy() == 1, beats.features[:, 0]
    assert np.nanmedian(early[truth]) < 0.75
    assert 0.98 < np.nanmedian(early[~truth]) < 1.05
    assert {item.code for item in beats.findings} == {"saturated", "window-outside"}


def test_ptb_xl_says_what_to_fetch(tmp_path: Path) -> None:
    card = Catalogue(CARDS).card("ptb_xl")
    with pytest.raises(DataError, match=r"ptb_xl is not on this machine.*ptbxl_database\.csv"):
        get(card, tmp_path)


def test_the_drawn_set_stands_in_for_ptb_xl() -> None:
    drawn, real = (Catalogue(CARDS).card(name) for name in ("drawn-ecg", "ptb_xl"))
    assert drawn.classes == real.classes
    assert drawn.signals is not None
    assert real.signals is not None
    same = {"table": None}
    assert drawn.signals.model_dump() | same | {"site": ""} == real.signals.model_dump() | same | {"site": ""}
    assert (drawn.case, drawn.patient, drawn.official_split.folds) == (
        real.case,
        real.patient,
        real.official_split.folds,
    )
