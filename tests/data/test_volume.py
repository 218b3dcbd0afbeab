"""Volumes: orientation there and back, strict NIfTI, and writing in the geometry of the input."""

import gzip
import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ai4diag.data.volume import Volume, read_volume, same_grid, stem, write_nifti
from ai4diag.errors import DataError

SIDES = (3, 4, 5)
SPACING = (0.5, 1.25, 3.0)


def rotation(degrees=(10.0, -20.0, 15.0)):
    turned = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        one, two = [other for other in range(3) if other != axis]
        step = np.eye(3)
        step[[one, one, two, two], [one, two, one, two]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        turned = turned @ step
    return turned


def affine_of(axes=(0, 1, 2), signs=(1, 1, 1), turn=None, spacing=SPACING):
    matrix = np.eye(4)
    for array_axis, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        matrix[:3, array_axis] = np.eye(3)[axis] * sign * spacing[array_axis]
    if turn is not None:
        matrix[:3, :3] = turn @ matrix[:3, :3]
    matrix[:3, 3] = -30.5, 12.25, 7
    return matrix


EVERY = [(axes, signs) for axes in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)]


def numbered(sides=SIDES, channels=1, dtype=np.int16):
    return np.arange(channels * np.prod(sides), dtype=dtype).reshape(channels, *sides)


def places(volume):
    """Value of each voxel and where it lies, sorted by value."""
    index = np.stack(np.meshgrid(*map(np.arange, volume.array.shape[1:]), indexing="ij"), -1).reshape(-1, 3)
    mm = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    values = volume.array[0].ravel()
    return mm[np.argsort(values)]


@pytest.mark.parametrize(("axes", "signs"), EVERY)
def test_canonical_moves_no_voxel_and_comes_back(axes, signs):
    volume = Volume(numbered(), affine_of(axes, signs, rotation()))
    canonical = volume.canonical()
    assert canonical.orientation == "RAS"
    np.testing.assert_allclose(places(canonical), places(volume), atol=1e-9)
    np.testing.assert_array_equal(volume.back(canonical.array), volume.array)
    oracle = nib.as_closest_canonical(nib.Nifti1Image(volume.array[0], volume.affine))
    np.testing.assert_array_equal(canonical.array[0], np.asarray(oracle.dataobj))
    np.testing.assert_allclose(canonical.affine, oracle.affine, atol=1e-9)
    assert volume.orientation == "".join(nib.aff2axcodes(volume.affine))


def test_spacing_follows_the_axes_of_the_array():
    volume = Volume(numbered(), affine_of((2, 0, 1), (-1, 1, -1), rotation()))
    assert volume.spacing_mm == pytest.approx(SPACING)
    assert volume.canonical().spacing_mm == pytest.approx((1.25, 3.0, 0.5))


def test_back_takes_any_number_of_channels_and_refuses_other_sides():
    volume = Volume(numbered(), affine_of((1, 2, 0), (1, -1, 1)))
    several = np.concatenate([volume.canonical().array] * 3)
    assert volume.back(several).shape == (3, *SIDES)
    with pytest.raises(DataError, match="canonical orientation"):
        volume.back(volume.array)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("axes", "signs"), EVERY[::7])
def test_what_is_written_is_read_again(tmp_path, ending, axes, signs):
    volume = Volume(numbered(), affine_of(axes, signs, rotation()))
    write_nifti(tmp_path / f"a{ending}", volume.array, volume)
    again = read_volume(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(again.array, volume.array)
    assert again.array.dtype == np.int16
    assert not same_grid(volume, again)
    image = nib.load(tmp_path / f"a{ending}")
    np.testing.assert_allclose(image.get_qform(), volume.affine, atol=1e-4)
    np.testing.assert_allclose(image.affine, volume.affine, atol=1e-5)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_mask_keeps_kind_codes_and_units_and_loses_all_that_may_name_a_patient(tmp_path, kind, order):
    image = kind(numbered()[0], affine_of((0, 1, 2), (-1, -1, 1)), kind.header_class(endianness=order))
    image.set_sform(image.affine, 4)
    image.set_qform(image.affine, 2)
    image.header.set_xyzt_units("mm", "sec")
    image.header["cal_max"] = 500
    image.header.set_intent("t test", (3,))
    texts = [key for key in image.header if image.header[key].dtype.kind == "S" and key not in ("magic", "regular")]
    assert {"descrip", "aux_file", "intent_name"} <= set(texts)
    for key in texts:
        image.header[key] = b"Miller"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"patient Miller"))
    nib.save(image, tmp_path / "in.nii.gz")
    like = read_volume(tmp_path / "in.nii.gz")
    write_nifti(tmp_path / "out.nii.gz", np.ones(SIDES, np.uint8), like)
    assert gzip.decompress((tmp_path / "in.nii.gz").read_bytes()).count(b"Miller") == len(texts) + 1
    header = nib.load(tmp_path / "out.nii.gz").header
    assert type(header) is kind.header_class
    assert (int(header["sform_code"]), int(header["qform_code"])) == (4, 2)
    assert header.get_xyzt_units() == ("mm", "sec")
    assert all(bytes(header[key].item()) == b"" for key in texts)
    assert float(header["cal_max"]) == 0
    assert header.get_intent()[0] == "none"
    assert header.get_data_dtype() == np.uint8
    assert b"Miller" not in gzip.decompress((tmp_path / "out.nii.gz").read_bytes())


def test_equal_content_gives_equal_bytes(tmp_path):
    volume = Volume(numbered(), affine_of())
    for name in ("a", "b"):
        write_nifti(tmp_path / f"{name}.nii.gz", volume.array, volume)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_scaled_integers_become_numbers(tmp_path):
    image = nib.Nifti1Image(np.zeros(SIDES, np.int16), affine_of())
    image.header.set_slope_inter(0.5, -3)
    nib.save(image, tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[-2:] = np.int16(10).tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    found = nib.load(tmp_path / "a.nii").get_fdata()
    again = read_volume(tmp_path / "a.nii")
    assert again.array.dtype == np.float32
    np.testing.assert_allclose(again.array[0], found)


def saved(path, image):
    nib.save(image, path)
    return path


def test_channels_stand_last_in_the_file_and_first_in_the_array(tmp_path):
    film = np.moveaxis(numbered(channels=2), 0, -1)
    path = saved(tmp_path / "a.nii.gz", nib.Nifti1Image(film, affine_of()))
    np.testing.assert_array_equal(read_volume(path, channels=2).array, numbered(channels=2))
    assert read_volume(path, channels=None).array.shape == (2, *SIDES)
    with pytest.raises(DataError, match=r"has 2 channels.*expected 1"):
        read_volume(path)
    single = saved(tmp_path / "b.nii.gz", nib.Nifti1Image(film[..., :1], affine_of()))
    assert read_volume(single).array.shape == (1, *SIDES)


def test_a_flat_image_has_one_layer(tmp_path):
    path = saved(tmp_path / "a.nii.gz", nib.Nifti1Image(numbered()[0, :, :, 0], affine_of()))
    assert read_volume(path).array.shape == (1, 3, 4, 1)


def coded(sform=1, qform=1, change=None):
    image = nib.Nifti1Image(np.ones(SIDES, np.float32), affine_of())
    image.set_sform(affine_of() if change is None else change, sform)
    image.set_qform(affine_of(), qform)
    return image


def shifted(mm):
    matrix = affine_of()
    matrix[0, 3] += mm
    return matrix


def sheared():
    matrix = affine_of()
    matrix[:3, 0] = 1, 1, 0
    return matrix


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (coded(0, 0), "code 0"),
        (coded(1, 1, shifted(0.5)), "two things about its geometry"),
        (coded(1, 0, sheared()), "45 degrees"),
        (coded(1, 0, np.diag([1.0, 1, 0, 1])), "spacing"),
        (nib.Nifti1Image(np.ones((2, 2, 2, 1, 3), np.float32), affine_of()), "5 axes"),
        (nib.Nifti1Image(np.full(SIDES, np.nan, np.float32), affine_of()), "60 voxels that are not finite"),
        (nib.Nifti1Image(np.ones(SIDES, np.complex64), affine_of()), "complex64"),
    ],
)
def test_what_is_refused(tmp_path, image, said):
    path = saved(tmp_path / "a.nii.gz", image)
    with pytest.raises(DataError, match=said) as error:
        read_volume(path)
    assert "a.nii.gz" in str(error.value)


@pytest.mark.parametrize(("sform", "qform"), [(1, 0), (0, 1), (1, 1)])
def test_one_geometry_is_enough(tmp_path, sform, qform):
    other = shifted(0.2) if sform and qform else None  # a fifth of a millimetre is no contradiction
    volume = read_volume(saved(tmp_path / "a.nii.gz", coded(sform, qform, other)))
    np.testing.assert_allclose(volume.affine, shifted(0.2) if other is not None else affine_of(), atol=1e-5)


def test_other_units_are_refused(tmp_path):
    image = coded()
    image.header.set_xyzt_units("micron")
    with pytest.raises(DataError, match="micron"):
        read_volume(saved(tmp_path / "a.nii", image))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_a_file_that_ends_early_is_damaged(tmp_path, share):
    whole = saved(tmp_path / "a.nii.gz", nib.Nifti1Image(np.random.default_rng(0).random((9, 9, 9)), affine_of()))
    content = whole.read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(content[: int(len(content) * share)])
    (tmp_path / "c.nii").write_bytes(gzip.decompress(content)[: int(6000 * share)])
    for name in ("b.nii.gz", "c.nii"):
        with pytest.raises(DataError, match=name):
            read_volume(tmp_path / name)


def test_a_header_that_claims_too_much_is_refused_before_memory_is_asked_for(tmp_path):
    image = nib.Nifti1Image(np.ones(SIDES, np.float32), affine_of())
    raw = bytearray(image.to_bytes())
    raw[40:48] = np.array([3, 30000, 30000, 30000], np.int16).tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(bytes(raw)))
    for name in ("a.nii", "b.nii.gz"):
        with pytest.raises(DataError, match="claims 108000000000000 bytes"):
            read_volume(tmp_path / name)


def test_unknown_files_are_named(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_volume(tmp_path / "none.nii")
    (tmp_path / "a.niii").write_bytes(b"")
    with pytest.raises(DataError, match=r"Did you mean '\.nii"):
        read_volume(tmp_path / "a.niii")


def test_a_volume_with_a_broken_geometry_cannot_be_made():
    for affine in (np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(3), sheared()):
        with pytest.raises(DataError, match="volume"):
            Volume(numbered(), affine)
    with pytest.raises(DataError, match="expected \\(channels"):
        Volume(numbered()[0], np.eye(4))


def test_grids_are_compared_by_where_corners_lie():
    one = Volume(numbered(), affine_of())
    assert not same_grid(one, Volume(numbered(), shifted(0.04)))
    assert "places" in same_grid(one, Volume(numbered(), shifted(0.06)))
    assert "sides" in same_grid(one, Volume(numbered((3, 4, 6)), affine_of()))


def test_writing_refuses_other_sides_and_endings(tmp_path):
    volume = Volume(numbered(), affine_of())
    with pytest.raises(DataError, match="does not fit"):
        write_nifti(tmp_path / "a.nii", np.ones((3, 4, 6), np.uint8), volume)
    with pytest.raises(DataError, match=r"\.nii"):
        write_nifti(tmp_path / "a.img", np.ones(SIDES, np.uint8), volume)


def test_the_stem_is_the_name_without_the_ending():
    assert [stem(Path(name)) for name in ("a.nii.gz", "b.c.nii", "d")] == ["a", "b.c", "d"]
