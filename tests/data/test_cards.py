"""The cards against the data they describe; needs AI4DIAG_MIRROR for what is not embedded."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy import ndimage
from sklearn.datasets import load_breast_cancer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ai4diag.config.recipe import load_recipe
from ai4diag.data.catalogue import Catalogue, get
from ai4diag.data.prepare_images import prepare_images
from ai4diag.data.prepare_scans import prepare_scans
from ai4diag.data.prepare_table import prepare_table
from ai4diag.data.prepared import Prepared
from ai4diag.errors import DataError
from tests.data.helpers import detection_recipe, tabular_recipe

CARDS = Path(__file__).parents[2] / "datasets"
MIRROR = os.environ.get("AI4DIAG_MIRROR", "")
needs_mirror = pytest.mark.skipif(not MIRROR, reason="AI4DIAG_MIRROR is not set")


def table(tmp_path: Path, name: str, drop: list[str] | None = None, **split: object) -> Prepared:
    card = Catalogue(CARDS).card(name)
    prepare_table(get(card, tmp_path / "data", MIRROR or None), card, tabular_recipe(drop, **split), tmp_path / "out")
    return Prepared.open(tmp_path / "out")


def findings(prepared: Prepared, code: str) -> list[str]:
    return [finding.found for finding in prepared.findings if finding.code == code]


def test_wdbc_is_what_scikit_learn_carries(tmp_path: Path) -> None:
    found = table(tmp_path, "wdbc", test="folds", folds=10)
    original = load_breast_cancer()
    np.testing.assert_array_equal(found.features, original.data)
    np.testing.assert_array_equal(found.index["truth"], 1 - original.target)
    assert found.classes == ("benign", "malignant")
    assert [item["name"] for item in found.facts["features"]] == original.feature_names.tolist()
    assert findings(found, "out-of-range") == []
    tests = [fold.test for fold in found.folds()[:-1]]
    assert sorted(np.concatenate(tests)) == list(range(569))
    assert {int(found.index["truth"].to_numpy()[rows].sum()) for rows in tests} <= {21, 22}


@needs_mirror
def test_the_split_of_uci_heart_is_made_again_from_the_files() -> None:
    spec = importlib.util.spec_from_file_location("uci_heart_split", CARDS / "uci_heart.split.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.text(Path(MIRROR) / "uci_heart") == (CARDS / "uci_heart.split.csv").read_text(encoding="utf-8")


@needs_mirror
def test_uci_heart_has_the_published_sizes_and_reaches_the_published_auroc(tmp_path: Path) -> None:
    found = table(tmp_path, "uci_heart", ["slope", "ca", "thal"], test="official")
    parts = found.split.assign(site=found.index["site"]).groupby("site")["part"]
    sizes = parts.agg(lambda part: (int((part != "test").sum()), int((part == "test").sum()))).to_dict()
    assert sizes == {"cleveland": (199, 104), "hungarian": (172, 89), "switzerland": (30, 16), "va": (85, 45)}
    zeros = findings(found, "zero-coded-missing")
    assert "0 in 123 of 123 rows of switzerland, in 49 of 200 rows of va" in zeros
    assert findings(found, "not-in-official-split")[0].startswith("180 of 920 cases")
    assert "va-0188 in test and va-0140 in train" in findings(found, "content-leak")[0]
    (fold,) = found.folds()
    learn = np.sort(np.concatenate([fold.train, fold.validation]))
    truth = found.index["truth"].to_numpy()
    model = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression())
    score = model.fit(found.features[learn], truth[learn]).predict_proba(found.features[fold.test])[:, 1]
    assert roc_auc_score(truth[fold.test], score) == pytest.approx(0.881, abs=0.015)


@needs_mirror
def test_parkinsons_has_32_people_who_are_never_parted(tmp_path: Path) -> None:
    found = table(tmp_path, "uci_parkinsons", test="folds", contrast="case_id")
    assert found.index["patient_id"].nunique() == 32
    assert found.index.groupby("patient_id")["truth"].first().sum() == 24
    right = found.split[found.split["contrast"] == 0]
    assert right.groupby(["fold", "patient_id"])["part"].nunique().max() == 1
    tested = found.index["truth"].to_numpy()
    for fold in found.folds():
        if len(fold.test):
            assert set(tested[fold.test]) == {0, 1}


@needs_mirror
def test_heart_failure_refuses_the_length_of_follow_up(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column 'time'"):
        table(tmp_path, "heart_failure")
    found = table(tmp_path, "heart_failure", ["time"])
    assert found.features.shape == (299, 11)
    assert found.index["truth"].sum() == 96
    assert not np.isnan(found.features).any()


@needs_mirror
def test_bccd_has_the_counts_of_its_card_and_reports_its_faults(tmp_path: Path) -> None:
    card = Catalogue(CARDS).card("bccd")
    raw = get(card, tmp_path / "data", MIRROR)
    recipe = load_recipe(
        CARDS.parent / "pipelines" / "blood-cells" / "pipeline.yaml", overrides=["data.image_size=[60, 80]"]
    )
    prepare_images(raw, card, recipe, tmp_path / "out")
    found = Prepared.open(tmp_path / "out")
    assert found.split["part"].value_counts().to_dict() == {"train": 205, "validation": 87, "test": 72}
    assert np.bincount(found.boxes["label"]).tolist() == [4153, 372, 361]
    (fold,) = found.folds()
    test = found.boxes[found.boxes["case"].isin(fold.test)]
    assert np.bincount(test["label"]).tolist() == [805, 71, 69]
    where = [finding.where for finding in found.findings if finding.code == "zero-area-box"]
    assert [place[:16] for place in where] == ["BloodImage_00338", "BloodImage_00343"]
    assert findings(found, "double-box")[0].startswith("8 pairs")
    alike = {item.cases: item for item in found.findings if item.code == "look-alike"}  # no others among 66,066 pairs
    assert set(alike) == {("BloodImage_00037", "BloodImage_00038"), ("BloodImage_00386", "BloodImage_00391")}
    tested = alike["BloodImage_00386", "BloodImage_00391"]
    assert (tested.level, tested.where) == ("warning", "validation and test")
    assert tested.waived
    assert tested.found.endswith(f"; waived: {tested.waived}")


@needs_mirror
def test_hippocampus_boxes_are_one_of_each_kind_without_specks(tmp_path: Path) -> None:
    card = Catalogue(CARDS).card("msd_hippocampus_boxes")
    raw = get(card, tmp_path / "data", MIRROR)
    prepare_scans(raw, card, detection_recipe(None, test=0.2), tmp_path / "out")
    found = Prepared.open(tmp_path / "out")
    assert found.boxes.groupby("case")["label"].apply(list).tolist() == [[0, 1]] * 104
    assert found.split["part"].value_counts().to_dict() == {"train": 71, "test": 21, "validation": 12}
    row = found.index["case_id"].tolist().index("hippocampus_292")  # a speck of eight voxels in both classes
    mask = nibabel.load(raw / "labels" / "hippocampus_292.nii.gz").get_fdata()
    for label in (0, 1):
        parts, count = ndimage.label(mask == label + 1)
        assert count == 2
        largest = np.argwhere(parts == np.bincount(parts.ravel())[1:].argmax() + 1)
        edges = found.boxes.loc[(found.boxes["case"] == row) & (found.boxes["label"] == label)].iloc[0]
        assert edges[[f"min_{axis}" for axis in range(3)]].tolist() == largest.min(axis=0).tolist()
        assert edges[[f"max_{axis}" for axis in range(3)]].tolist() == (largest.max(axis=0) + 1).tolist()
