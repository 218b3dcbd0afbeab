"""DICOM series, made here and real ones: order, geometry, gaps, mixtures, damage, and no word about the patient."""

import logging
import shutil
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEGLSLossless, RLELossless, generate_uid

from ai4diag.data.volume import read_volume, write_nifti
from ai4diag.errors import DataError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # nibabel calls its DICOM part experimental
    from nibabel.nicom.dicomwrappers import wrapper_from_file

SECRETS = ("Simpson", "MRN-4711", "19560512", "Springfield")
OBLIQUE = (0.8, 0.6, 0.0, -0.6, 0.8, 0.0)


def series(folder: Path, slices=6, shape=(5, 7), orientation=OBLIQUE, spacing=(0.5, 0.75), step=2.5, seed=0):
    """Write a series whose file names are in no order; return its values `(slice, row, column)`."""
    folder.mkdir(exist_ok=True)
    values = np.random.default_rng(seed).integers(-500, 1500, (slices, *shape)).astype(np.int16)
    along_row, along_column = np.array(orientation[:3]), np.array(orientation[3:])
    normal, uid = np.cross(along_row, along_column), generate_uid()
    for number in range(slices):
        found = Dataset()
        found.file_meta = FileMetaDataset()
        found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        found.file_meta.MediaStorageSOPClassUID = found.SOPClassUID = CTImageStorage
        found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID = generate_uid()
        found.SeriesInstanceUID = uid
        found.PatientName, found.PatientID, found.PatientBirthDate, found.InstitutionName = SECRETS
        found.InstanceNumber = slices - number
        found.Rows, found.Columns = shape
        found.ImageOrientationPatient = list(orientation)
        found.ImagePositionPatient = [round(float(x), 6) for x in np.array([-30, 12, 100]) + normal * step * number]
        found.PixelSpacing, found.SliceThickness = list(spacing), step
        found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
        found.BitsAllocated, found.BitsStored, found.HighBit, found.PixelRepresentation = 16, 16, 15, 1
        found.RescaleSlope, found.RescaleIntercept = 1, -1024
        found.PixelData = values[number].tobytes()
        found.save_as(folder / f"{(number * 7) % slices:03d}.dcm", enforce_file_format=True)
    return values - 1024


def change(file: Path, **elements):
    found = dcmread(file)
    for name, value in elements.items():
        setattr(found, name, value)
    found.save_as(file)


def in_order(folder: Path) -> list[Path]:
    normal = np.cross(OBLIQUE[:3], OBLIQUE[3:])
    return sorted(folder.iterdir(), key=lambda file: float(np.array(dcmread(file).ImagePositionPatient) @ normal))


def test_slices_are_ordered_by_place_and_rescaled(tmp_path):
    values = series(tmp_path / "a")
    volume = read_volume(tmp_path / "a")
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array[0], values.transpose(2, 1, 0))
    assert np.allclose(volume.spacing_mm, (0.75, 0.5, 2.5))


def test_every_voxel_lies_where_nibabel_says(tmp_path):
    series(tmp_path / "a")
    volume = read_volume(tmp_path / "a")
    for number, file in enumerate(in_order(tmp_path / "a")):
        own = wrapper_from_file(file).affine  # (row, column, 0) to LPS
        for row, column in ((0, 0), (4, 0), (0, 6), (3, 2)):
            expected = (own @ [row, column, 0, 1])[:3] * (-1, -1, 1)
            assert np.allclose((volume.affine @ [column, row, number, 1])[:3], expected, atol=1e-4)


@pytest.mark.parametrize("name", ["dicom_series_small/dicom", "dicom_ct_seg_dcmqi/segmentations/ct-3slice"])
def test_real_series_lie_where_nibabel_says(mirror, tmp_path, name):
    volume = read_volume(Path(mirror) / name)
    files = list((Path(mirror) / name).iterdir())
    assert volume.array.shape[3] == len(files)
    for file in files:
        wrapper = wrapper_from_file(file)
        place = (wrapper.affine @ [0, 0, 0, 1])[:3] * (-1, -1, 1)
        index = np.linalg.inv(volume.affine) @ [*place, 1]
        assert np.allclose(index, index.round(), atol=1e-3)
        number = round(index[2])
        assert np.array_equal(volume.array[0, :, :, number], wrapper.get_data().T)
        far = (wrapper.affine @ [wrapper.image_shape[0] - 1, 2, 0, 1])[:3] * (-1, -1, 1)
        assert np.allclose((volume.affine @ [2, wrapper.image_shape[0] - 1, number, 1])[:3], far, atol=1e-3)
    write_nifti(tmp_path / "a.nii.gz", volume.array, volume)
    again = nib.load(tmp_path / "a.nii.gz")
    assert np.allclose(again.affine, volume.affine, atol=1e-4)
    assert np.array_equal(np.asarray(again.dataobj), volume.array[0])


def test_one_slice_has_its_thickness(mirror):
    volume = read_volume(Path(mirror) / "dicom_seg_sr/ct_image.dcm")
    assert volume.array.shape == (1, 128, 128, 1)
    assert np.allclose(volume.spacing_mm, (0.661468, 0.661468, 5))


def test_slopes_may_differ_from_slice_to_slice(tmp_path):
    values = series(tmp_path / "a", orientation=(1, 0, 0, 0, 1, 0)) + 1024
    for file in (tmp_path / "a").iterdir():
        change(file, RescaleSlope=0.5 + dcmread(file).InstanceNumber, RescaleIntercept=0)
    expected = values * (0.5 + np.arange(6, 0, -1)).reshape(6, 1, 1)
    volume = read_volume(tmp_path / "a")
    assert volume.array.dtype == np.float32
    assert np.allclose(volume.array[0], expected.transpose(2, 1, 0))


def test_an_intercept_that_whole_numbers_cannot_hold(tmp_path):
    values = series(tmp_path / "a")
    for file in (tmp_path / "a").iterdir():
        change(file, RescaleIntercept="1e12")
    volume = read_volume(tmp_path / "a")
    assert volume.array.dtype == np.float32
    assert np.allclose(volume.array[0], values.transpose(2, 1, 0) + 1024 + 1e12)


def test_slices_may_be_stored_in_different_widths(tmp_path):
    values = series(tmp_path / "a")
    file = in_order(tmp_path / "a")[2]
    wide = (values[2] + 1024).astype(np.uint32) + 2**31
    change(file, BitsAllocated=32, BitsStored=32, HighBit=31, PixelRepresentation=0, PixelData=wide.tobytes())
    assert np.array_equal(read_volume(tmp_path / "a").array[0, :, :, 2], wide.T.astype(np.int64) - 1024)


def test_a_missing_slice_is_named_by_its_neighbours(tmp_path):
    series(tmp_path / "a", slices=8)
    files = in_order(tmp_path / "a")
    files[3].unlink()
    with pytest.raises(DataError, match=rf"1 slice is missing between {files[2].name} and {files[4].name}"):
        read_volume(tmp_path / "a")
    files[4].unlink()
    with pytest.raises(DataError, match="2 slices are missing"):
        read_volume(tmp_path / "a")


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"SeriesInstanceUID": "1.2.3"}, "holds 2 series"),
        ({"PixelSpacing": [0.5, 0.8]}, "pixel spacing"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}, "orientation"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "cannot be"),
        ({"PixelSpacing": [0, 0.8]}, "cannot be"),
        ({"PixelSpacing": ["nan", "1"]}, "cannot be"),
        ({"NumberOfFrames": 2}, "2 frames"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "MONOCHROME1"),
        ({"Rows": 60000, "Columns": 60000}, "size"),
        ({"Rows": 4}, "size"),
        ({"PixelData": b"\0" * 20}, "it holds 20 bytes of pixels; its header claims 70"),
        ({"ImagePositionPatient": [0, 0]}, "cannot be"),
    ],
)
def test_a_slice_that_does_not_belong_is_refused_and_named(tmp_path, elements, said):
    series(tmp_path / "a")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        change(tmp_path / "a" / "002.dcm", **elements)
    with pytest.raises(DataError, match=said) as caught:
        read_volume(tmp_path / "a")
    assert "00" in str(caught.value)


def test_slices_twice_and_uneven_distances_are_refused(tmp_path):
    series(tmp_path / "a")
    files = in_order(tmp_path / "a")
    shutil.copy(files[2], tmp_path / "a" / "copy.dcm")
    with pytest.raises(DataError, match="lie in the same place"):
        read_volume(tmp_path / "a")
    (tmp_path / "a" / "copy.dcm").unlink()
    place = np.array(dcmread(files[2]).ImagePositionPatient)
    change(files[2], ImagePositionPatient=list(place + np.cross(OBLIQUE[:3], OBLIQUE[3:]) * 0.4))
    with pytest.raises(DataError, match="mm apart"):
        read_volume(tmp_path / "a")
    change(files[2], ImagePositionPatient=list(place + np.array(OBLIQUE[:3]) * 3))
    with pytest.raises(DataError, match="beside the line"):
        read_volume(tmp_path / "a")


def test_a_tilted_gantry_is_refused(tmp_path):
    series(tmp_path / "a")
    for number, file in enumerate(in_order(tmp_path / "a")):
        place = np.array(dcmread(file).ImagePositionPatient) + np.array(OBLIQUE[3:]) * number * 0.5
        change(file, ImagePositionPatient=[float(x) for x in place])
    with pytest.raises(DataError, match="sheared"):
        read_volume(tmp_path / "a")


def test_an_encoding_that_does_not_exist_is_refused(tmp_path):
    series(tmp_path / "a", slices=1)
    file = tmp_path / "a" / "000.dcm"
    file.write_bytes(file.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10009.1.2.1\0"))
    with pytest.raises(DataError, match=r"000\.dcm"):
        read_volume(file)


@pytest.mark.parametrize("keep", [0, 100, 200, 500, -1])
def test_truncated_files_are_refused(tmp_path, keep):
    series(tmp_path / "a")
    file = tmp_path / "a" / "001.dcm"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"001\.dcm"):
        read_volume(tmp_path / "a")


@pytest.mark.skipif(get_decoder(JPEGLSLossless).is_available, reason="a decoder of JPEG-LS is installed")
def test_a_syntax_without_decoder_says_what_to_install(tmp_path):
    series(tmp_path / "a", slices=1)
    file = tmp_path / "a" / "000.dcm"
    found = dcmread(file)
    found.file_meta.TransferSyntaxUID = JPEGLSLossless
    found.PixelData = encapsulate([b"\0" * 70])
    found["PixelData"].is_undefined_length = True
    found.save_as(file)
    with pytest.raises(DataError, match="JPEG-LS"):
        read_volume(file)


def test_run_length_encoding_is_read(tmp_path):
    values = series(tmp_path / "a")
    for file in (tmp_path / "a").iterdir():
        found = dcmread(file)
        found.compress(RLELossless)
        found.save_as(file)
    assert np.array_equal(read_volume(tmp_path / "a").array[0], values.transpose(2, 1, 0))


def test_texts_beside_the_slices_are_passed_over_and_other_files_are_not(tmp_path):
    series(tmp_path / "a")
    for name in ("LICENSE", "SOURCE.md", ".DS_Store", "DICOMDIR"):
        (tmp_path / "a" / name).write_text("words")
    assert read_volume(tmp_path / "a").array.shape == (1, 7, 5, 6)
    (tmp_path / "a" / "extra").write_bytes(b"\0" * 200)
    with pytest.raises(DataError, match="extra is no DICOM"):
        read_volume(tmp_path / "a")


def spoilt(file, target):
    """Write a slice whose identifiers are not what DICOM allows, which pydicom warns and logs about, quoting them."""
    content = file.read_bytes().replace(b"19560512", b"Simpson!")
    uid = dcmread(file).SeriesInstanceUID.encode()
    target.write_bytes(content.replace(uid, b"Simpson" + uid[7:]).replace(b"-30", b"Sim"))
    return target


def test_nothing_about_the_patient_flows_out(tmp_path, caplog, capsys):
    series(tmp_path / "a")
    said = []
    with warnings.catch_warnings(record=True) as noticed, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        said.append(repr(read_volume(tmp_path / "a")) + str(vars(read_volume(tmp_path / "a"))["header"]))
        with pytest.raises(DataError):
            read_volume(spoilt(tmp_path / "a" / "000.dcm", tmp_path / "c.dcm"))
        for damage in ({"PixelSpacing": [0, 1]}, {"SeriesInstanceUID": "1.2"}, {"PixelData": b"\0\0"}):
            shutil.copytree(tmp_path / "a", tmp_path / "b", dirs_exist_ok=True)
            change(tmp_path / "b" / "001.dcm", **damage)
            with pytest.raises(DataError) as caught:
                read_volume(tmp_path / "b")
            said.append(str(caught.value))
            assert caught.value.__suppress_context__ or caught.value.__context__ is None
    texts = " ".join([*said, *(str(one.message) for one in noticed), caplog.text, *capsys.readouterr()])
    assert not [secret for secret in SECRETS if secret.lower() in texts.lower()]


def test_real_files_full_of_names_say_none(mirror):
    for file in ("humans/ctbrain1.dcm", "ultrasounds/RGB_IMAGE.dcm", "dicom-cookies/image1.dcm"):
        with pytest.raises(DataError) as caught:
            read_volume(Path(mirror) / "dicom_deid_phi" / file)
        assert not any(word in str(caught.value).upper() for word in ("SIMPSON", "HOMER", "ZZZ", "STANFORD", "MARY"))
