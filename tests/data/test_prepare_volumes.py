"""Volumes with label maps become prepared cases: orientation, spacing, margins, numbers, and what is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ai4diag.config.card import load_card
from ai4diag.data.catalogue import verify
from ai4diag.data.prepare_volumes import prepare_volumes
from ai4diag.data.prepared import Prepared
from ai4diag.data.volume import Volume, read_volume, write_nifti
from ai4diag.data.volume_cases import look, pair_volumes
from ai4diag.data.volume_plan import Fingerprint
from ai4diag.data.volume_shown import grey_volume, voxel_counts
from ai4diag.data.volume_store import SIDES, affines_of
from ai4diag.errors import DataError
from ai4diag.masks import decode
from ai4diag.tasks.segmentation.truth import truth_columns
from tests.data.helpers import write_card
from tests.data.test_volume import affine_of, rotation
from tests.data.volume_helpers import TOY_VOLUMES, segmentation_recipe, toy_volume, toy_volumes, write_case


def prepared_of(folder, raw, card, **data):
    prepare_volumes(raw, card, segmentation_recipe(**data), folder / "out")
    return Prepared.open(folder / "out")


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes")
    raw, card = toy_volumes(folder)
    return raw, prepared_of(folder, raw, card)


def numbered(mask):
    """Class numbers of prepared cases as the label files write them."""
    return np.array([0, 5, 2], np.uint8)[mask]


def test_packed_cases_are_the_files_in_canonical_orientation(toy):
    raw, prepared = toy
    assert prepared.classes == ("ball", "box")
    for row, case in enumerate(prepared.index["case_id"]):
        image = read_volume(raw / "images" / f"{case}.nii.gz").canonical()
        label = read_volume(raw / "labels" / f"{case}.nii.gz").canonical()
        np.testing.assert_array_equal(prepared.volumes[row], image.array.astype(np.float32))
        np.testing.assert_array_equal(numbered(prepared.masks[row]), label.array)
        np.testing.assert_allclose(affines_of(prepared.volume_table)[row], image.affine, atol=1e-6)


def test_the_truth_is_the_label_map_as_it_was_drawn(toy):
    raw, prepared = toy
    truth = truth_columns(prepared, np.array([3, 1]))
    for line, row in zip(truth.itertuples(), (3, 1), strict=True):
        label = read_volume(raw / "labels" / f"{prepared.index['case_id'][row]}.nii.gz").canonical()
        np.testing.assert_array_equal(numbered(decode(line.truth_runs, line.shape, 3)), label.array[0])
        np.testing.assert_allclose(line.spacing_mm, label.spacing_mm, rtol=1e-6)


def test_foreground_voxels_are_of_their_class(toy):
    _, prepared = toy
    voxels = np.load(prepared.folder / "foreground.npy")
    table = pd.read_parquet(prepared.folder / "foreground.parquet")
    assert len(table) == 20
    for line in table.to_dict("records"):
        i, j, k = voxels[line["start"] : line["start"] + line["count"]].T
        assert (prepared.masks[line["case"]][0, i, j, k] == line["label"]).all()
        assert line["count"] == (prepared.masks[line["case"]] == line["label"]).sum()


def test_facts_describe_the_training_part(toy):
    _, prepared = toy
    fingerprint = Fingerprint.of(prepared.facts["fingerprint"])
    train = prepared.folds()[0].train
    assert fingerprint.cases == len(train)
    assert fingerprint.spacing_mm == (1.0, 1.0, 1.0)
    sides = np.array([prepared.volumes[row].shape[1:] for row in train])
    assert fingerprint.packed_sides == tuple(np.median(sides, axis=0))
    counts = voxel_counts(prepared)
    np.testing.assert_array_equal(counts[4], [(prepared.masks[4] == label).sum() for label in (1, 2)])
    np.testing.assert_allclose(fingerprint.shares, counts[train].sum(0) / sides.prod(1).sum(), atol=1e-6)


def test_scales_that_differ_are_said(toy):
    codes = {finding.code: finding for finding in toy[1].findings}
    assert codes["intensity-scales"].level == "info"
    assert "no-patient-ids" in codes


def test_other_spacing_is_resampled_and_the_truth_is_not(tmp_path):
    raw = tmp_path / "raw"
    for number in range(6):
        axes = ((0, 1, 2), (1, 2, 0))[number % 2]
        spacing = (0.8, 0.8, 2.0) if number % 2 == 0 else (0.8, 2.0, 0.8)
        sides = (24, 24, 12) if number % 2 == 0 else (24, 12, 24)
        write_case(raw, f"v{number}", *toy_volume(number, axes, (1, -1, 1), rotation(), spacing, sides))
    prepared = prepared_of(
        tmp_path, raw, write_card(tmp_path / "cards", raw, **TOY_VOLUMES), spacing_mm=(1.0, 1.0, 1.0)
    )
    grids = pd.read_parquet(prepared.folder / "grids.parquet")
    for row in range(6):
        np.testing.assert_allclose(np.linalg.norm(affines_of(prepared.volume_table)[row, :3, :3], axis=0), 1, atol=1e-6)
        truth = truth_columns(prepared, np.array([row])).iloc[0]
        label = read_volume(raw / "labels" / f"v{row}.nii.gz").canonical()
        np.testing.assert_array_equal(numbered(decode(truth["truth_runs"], truth["shape"], 3)), label.array[0])
        assert grids.loc[row, list(SIDES)].tolist() == list(label.array.shape[1:])
        drawn_ml, packed_ml = (label.array == 5).sum() * 0.8 * 0.8 * 2, (prepared.masks[row] == 1).sum()
        assert packed_ml == pytest.approx(drawn_ml, rel=0.1)


def test_empty_margins_are_cut_off_where_it_pays(tmp_path):
    raw = tmp_path / "raw"
    for number in range(6):
        image, label = toy_volume(number)
        inside = np.zeros(image.array.shape, bool)
        inside[:, 4:16, 3:15, 2:15] = True
        write_case(raw, f"v{number}", Volume(image.array * inside, image.affine), label)
    card = write_card(tmp_path / "cards", raw, **TOY_VOLUMES)
    cut = prepared_of(tmp_path, raw, card)
    assert cut.volumes[0].shape == (1, 12, 12, 13)
    np.testing.assert_allclose(
        affines_of(cut.volume_table)[0] @ (0, 0, 0, 1), affine_of() @ (0, 0, 0, 1) + (4, 3, 2, 0)
    )
    assert truth_columns(cut, np.array([0]))["shape"][0].tolist() == [20, 18, 16]
    shown = grey_volume(cut, 0)
    assert shown.shape == (20, 18, 16)
    assert not shown[:4].any()
    assert shown[4:16, 3:15, 2:15].std() > 20
    whole = prepared_of(tmp_path, raw, card, crop=False)
    assert whole.volumes[0].shape == (1, 20, 18, 16)


def test_what_has_no_partner_is_a_finding(tmp_path):
    raw, _ = toy_volumes(tmp_path, 8)
    (raw / "labels" / "v03.nii.gz").unlink()
    (raw / "images" / "v05.nii.gz").unlink()
    (raw / "images" / "notes.txt").write_text("x")
    prepared = prepared_of(tmp_path, raw, write_card(tmp_path / "cards", raw, **TOY_VOLUMES))
    assert len(prepared.index) == 6
    found = {finding.code: finding.where for finding in prepared.findings}
    assert found["image-without-label"] == "images/v03.nii.gz"
    assert found["label-without-image"] == "labels/v05.nii.gz"


def test_names_are_paired_by_patterns(tmp_path):
    raw, _ = toy_volumes(tmp_path, 6)
    for path in sorted((raw / "images").iterdir()):
        path.rename(path.with_name("scan_" + path.name.replace(".nii.gz", "_0000.nii.gz")))
    values = {**TOY_VOLUMES, "volumes": {**TOY_VOLUMES["volumes"], "image_pattern": "scan_(.+)_0000"}}
    prepared = prepared_of(tmp_path, raw, write_card(tmp_path / "cards", raw, **values))
    assert prepared.index["case_id"].tolist() == [f"v{number:02d}" for number in range(6)]
    with pytest.raises(DataError, match=r"no image in 'images' \(6 files\) has a label map"):
        prepared_of(tmp_path, raw, write_card(tmp_path / "cards", raw, **TOY_VOLUMES))


def broken_label(raw, case, change):
    label = read_volume(raw / "labels" / f"{case}.nii.gz")
    array, affine = change(label.array.astype(np.float32), label.affine.copy())
    write_nifti(raw / "labels" / f"{case}.nii.gz", array, Volume(array, affine))


def half(array, affine):
    array[0, 3, 3, 3] = 2.5
    return array, affine


def unknown(array, affine):
    array[0, 3, 3, 3] = 9
    return array, affine


def moved(array, affine):
    affine[0, 3] += 0.5
    return array, affine


def shorter(array, affine):
    return array[:, :-1], affine


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (half, "voxels of value 2.5; expected 0, 5 .ball., 2 .box."),
        (unknown, "voxels of value 9"),
        (moved, "image and label map have places that differ by up to 0.5 mm"),
        (shorter, "image and label map have sides"),
    ],
)
def test_label_maps_that_do_not_fit_are_all_named(tmp_path, change, said):
    raw, _ = toy_volumes(tmp_path, 6)
    for case in ("v01", "v04"):
        broken_label(raw, case, change)
    card = write_card(tmp_path / "cards", raw, **TOY_VOLUMES)
    with pytest.raises(DataError, match=said) as error:
        prepared_of(tmp_path, raw, card)
    assert "2 errors" in str(error.value)
    assert "v01" in str(error.value)
    assert "v04" in str(error.value)


def test_numbers_of_no_interest_are_background(tmp_path):
    raw, _ = toy_volumes(tmp_path, 6)
    broken_label(raw, "v01", unknown)
    values = {**TOY_VOLUMES, "volumes": {**TOY_VOLUMES["volumes"], "unlabelled": [9]}}
    prepared = prepared_of(tmp_path, raw, write_card(tmp_path / "cards", raw, **values))
    assert set(np.unique(prepared.masks[1])) == {0, 1, 2}


def test_copies_stay_together_and_are_reported(tmp_path):
    raw, _ = toy_volumes(tmp_path, 8)
    for folder in ("images", "labels"):
        (raw / folder / "v07.nii.gz").write_bytes((raw / folder / "v00.nii.gz").read_bytes())
    prepared = prepared_of(tmp_path, raw, write_card(tmp_path / "cards", raw, **TOY_VOLUMES))
    part = prepared.split.set_index("case_id")["part"]
    assert part["v00"] == part["v07"]
    assert "v00 = v07" in next(f.found for f in prepared.findings if f.code == "duplicate-content")


def test_an_empty_case_is_kept_with_a_warning(tmp_path):
    raw, _ = toy_volumes(tmp_path, 8)
    broken_label(raw, "v02", lambda array, affine: (array * 0, affine))
    prepared = prepared_of(tmp_path, raw, write_card(tmp_path / "cards", raw, **TOY_VOLUMES))
    assert voxel_counts(prepared)[2].tolist() == [0, 0]
    assert any(finding.code == "empty-label" and "v02" in finding.found for finding in prepared.findings)


def test_several_channels_are_packed_in_order(tmp_path):
    raw = tmp_path / "raw"
    for number in range(6):
        image, label = toy_volume(number)
        write_case(raw, f"v{number}", Volume(np.concatenate([image.array, 2 * image.array]), image.affine), label)
    values = {**TOY_VOLUMES, "volumes": {**TOY_VOLUMES["volumes"], "channels": ["T1", "T2"]}}
    prepared = prepared_of(tmp_path, raw, write_card(tmp_path / "cards", raw, **values))
    assert prepared.facts["channels"] == ["T1", "T2"]
    assert prepared.volumes[0].shape[0] == 2
    one, two = prepared.volumes[2]
    np.testing.assert_allclose(two, 2 * one)
    with pytest.raises(DataError, match="2 channels"):
        prepared_of(tmp_path, raw, write_card(tmp_path / "cards", raw, **TOY_VOLUMES))


def test_the_hippocampus_card_fits_its_files(repository, mirror):
    card = load_card(repository / "datasets" / "msd_hippocampus.yaml")
    raw = Path(mirror) / "msd_hippocampus"
    verify(card, raw)
    cases, findings = pair_volumes(raw, card.volumes)
    assert (len(cases), findings) == (104, [])
    seen = look(cases[0], card.volumes, crop=True)
    assert seen.counts.shape == (2,)
    assert (seen.counts > 500).all()
    assert len(card.all_files()) == 208
