"""NRRD and MetaImage: geometry, encodings, and headers that lie."""

import bz2
import gzip
import zlib

import nrrd
import numpy as np
import pytest

from ai4diag.data.volume import read_volume, stem
from ai4diag.errors import DataError

ANGLE = np.deg2rad(20)
ROTATION = np.array([[np.cos(ANGLE), -np.sin(ANGLE), 0], [np.sin(ANGLE), np.cos(ANGLE), 0], [0, 0, 1]])
DIRECTIONS = (ROTATION * [0.5, 0.75, 2.0]).T  # a row for each axis
ORIGIN = np.array([10.0, -20.0, 30.0])


def voxels(dtype="int16", shape=(4, 5, 6)):
    return (np.random.default_rng(0).uniform(0, 100, shape)).astype(dtype)


def expected_affine(signs=(-1, -1, 1)):
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = DIRECTIONS.T, ORIGIN
    return np.diag([*signs, 1]) @ affine


def write_nrrd(path, array, **changes):
    header = {"space": "left-posterior-superior", "space directions": DIRECTIONS, "space origin": ORIGIN} | changes
    nrrd.write(str(path), array, {key: value for key, value in header.items() if value is not None})
    return path


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
def test_nrrd_is_what_pynrrd_wrote(tmp_path, encoding, dtype):
    volume = read_volume(write_nrrd(tmp_path / "a.nrrd", voxels(dtype), encoding=encoding))
    assert volume.array.dtype == (np.float32 if dtype == "float64" else dtype)
    assert np.allclose(volume.array[0], voxels(dtype))
    assert np.allclose(volume.affine, expected_affine())
    assert np.allclose(volume.spacing_mm, (0.5, 0.75, 2))


@pytest.mark.parametrize(
    ("space", "signs"),
    [("right-anterior-superior", (1, 1, 1)), ("left-anterior-superior", (-1, 1, 1)), ("LPS", (-1, -1, 1))],
)
def test_spaces_become_ras(tmp_path, space, signs):
    volume = read_volume(write_nrrd(tmp_path / "a.nrrd", voxels(), space=space))
    assert np.allclose(volume.affine, expected_affine(signs))


@pytest.mark.parametrize("place", [0, 3])
def test_an_axis_outside_space_becomes_the_channels(tmp_path, place):
    array = np.stack([voxels(), voxels() + 1], place)
    directions = np.insert(DIRECTIONS, place, np.nan, axis=0)
    volume = read_volume(write_nrrd(tmp_path / "a.nrrd", array, **{"space directions": directions}), channels=2)
    assert np.array_equal(volume.array, [voxels(), voxels() + 1])
    assert np.allclose(volume.affine, expected_affine())


def test_a_header_with_the_voxels_beside_it(tmp_path):
    write_nrrd(tmp_path / "a.nhdr", voxels())
    assert (tmp_path / "a.raw.gz").exists()
    assert np.array_equal(read_volume(tmp_path / "a.nhdr").array[0], voxels())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"space": None, "space directions": None, "space origin": None}, "does not say where"),
        ({"space": "scanner-xyz"}, "does not say where"),
        ({"space origin": None}, "does not say where"),
        ({"space units": ["m", "m", "m"]}, "measured in m"),
        ({"encoding": "ascii"}, "holds voxels as"),
        ({"space directions": DIRECTIONS * 0}, "spacing"),
    ],
)
def test_nrrd_without_a_sure_place_is_refused(tmp_path, changes, said):
    with pytest.raises(DataError, match=said):
        read_volume(write_nrrd(tmp_path / "a.nrrd", voxels(), **changes))


def raw_nrrd(path, sizes="4 5 6", content=b"", extra="", encoding="raw", kind="short"):
    text = f"NRRD0004\ntype: {kind}\ndimension: 3\nspace: LPS\nsizes: {sizes}\nendian: little\nencoding: {encoding}\n"
    text += f"space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n{extra}\n"
    path.write_bytes(text.encode() + content)
    return path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"content": b"\0" * 100}, "holds 100 bytes"),
        ({"content": b"\0" * 999}, "holds 999 bytes"),
        ({"sizes": "400000 500000 600000"}, "claims"),
        ({"sizes": "4 5"}, "damaged NRRD header"),
        ({"sizes": "0 5 6"}, "claims"),
        ({"sizes": "-4 5 6"}, "claims"),
        ({"sizes": "a b c"}, "damaged NRRD header"),
        ({"kind": "block"}, "type block"),
        ({"extra": "data file: ../secret.raw\n"}, "beside it"),
        ({"extra": "data file: /etc/passwd\n"}, "beside it"),
        ({"extra": "data file: missing.raw\n"}, "missing"),
        ({"extra": "byte skip: -1\n"}, "skips bytes"),
        ({"encoding": "gzip", "content": gzip.compress(b"\0" * 10_000_000)}, "more than the 240 bytes"),
        ({"encoding": "gzip", "content": gzip.compress(b"\0" * 240)[:-12]}, "damaged"),
        ({"encoding": "gzip", "content": b"no gzip"}, "damaged"),
        ({"encoding": "bzip2", "content": bz2.compress(b"\0" * 100)}, "100 of the 240"),
    ],
)
def test_an_nrrd_header_that_lies_is_refused(tmp_path, arguments, said):
    with pytest.raises(DataError, match=said):
        read_volume(raw_nrrd(tmp_path / "a.nrrd", **arguments))


@pytest.mark.parametrize("content", [b"", b"NRRD", b"GIF89a", b"\0" * 500, b"NRRD0004\n" + b"x" * 2_000_000])
def test_what_is_no_nrrd_is_refused(tmp_path, content):
    (tmp_path / "a.nrrd").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.nrrd"):
        read_volume(tmp_path / "a.nrrd")


def test_words_of_a_damaged_header_do_not_flow_out(tmp_path):
    path = raw_nrrd(tmp_path / "a.nrrd", extra="PatientName:=Simpson\nSimpson without a colon\n")
    with pytest.raises(DataError) as caught:
        read_volume(path)
    assert "Simpson" not in str(caught.value)


def meta(path, array, *, data="LOCAL", beside=None, content=None, **changes):
    kinds = {"int16": "MET_SHORT", "uint8": "MET_UCHAR", "float32": "MET_FLOAT"}
    kind = kinds[array.dtype.name]
    directions = DIRECTIONS / np.linalg.norm(DIRECTIONS, axis=1, keepdims=True)
    header = {
        "ObjectType": "Image",
        "NDims": 3,
        "BinaryData": True,
        "BinaryDataByteOrderMSB": False,
        "CompressedData": False,
        "TransformMatrix": " ".join(map(repr, directions.ravel().tolist())),
        "Offset": "10 -20 30",
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": "0.5 0.75 2",
        "DimSize": " ".join(map(str, array.shape[-3:])),
        "ElementType": kind,
        "ElementDataFile": data,
    } | changes
    ordered = [(key, value) for key, value in header.items() if key != "ElementDataFile"]
    lines = [f"{key} = {value}\n" for key, value in [*ordered, ("ElementDataFile", data)] if value is not None]
    content = array.tobytes(order="F") if content is None else content
    path.write_bytes("".join(lines).encode() + (b"" if beside else content))
    if beside:
        (path.parent / beside).write_bytes(content)
    return path


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_metaimage_in_one_file(tmp_path, dtype):
    volume = read_volume(meta(tmp_path / "a.mha", voxels(dtype)))
    assert volume.array.dtype == dtype
    assert np.array_equal(volume.array[0], voxels(dtype))
    assert np.allclose(volume.affine, expected_affine())


def test_metaimage_as_luna16_has_it(tmp_path):
    path = meta(
        tmp_path / "1.3.6.1.mhd", voxels(), data="1.3.6.1.raw", beside="1.3.6.1.raw", AnatomicalOrientation="RAI"
    )
    volume = read_volume(path)
    assert np.array_equal(volume.array[0], voxels())
    world = volume.affine @ [2, 3, 1, 1]  # by hand, from the header's own numbers, in LPS
    assert np.allclose(world[:3] * (-1, -1, 1), ORIGIN + 2 * DIRECTIONS[0] + 3 * DIRECTIONS[1] + DIRECTIONS[2])
    assert stem(path) == "1.3.6.1"


def test_metaimage_packed_channels_and_byte_order(tmp_path):
    packed = zlib.compress(voxels().tobytes(order="F"))
    volume = read_volume(meta(tmp_path / "a.mha", voxels(), content=packed, CompressedData=True))
    assert np.array_equal(volume.array[0], voxels())
    both = np.stack([voxels(), voxels() + 1])
    volume = read_volume(meta(tmp_path / "b.mha", both, ElementNumberOfChannels=2), channels=2)
    assert np.array_equal(volume.array, both)
    swapped = voxels().astype(">i2").tobytes(order="F")
    volume = read_volume(meta(tmp_path / "c.mha", voxels(), content=swapped, BinaryDataByteOrderMSB=True))
    assert np.array_equal(volume.array[0], voxels())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"content": b"\0" * 100}, "holds 100 bytes"),
        ({"DimSize": "100000 100000 100000"}, "claims"),
        ({"DimSize": "4 5 -6"}, "claims"),
        ({"DimSize": "4 5"}, "expected 3 numbers"),
        ({"DimSize": "4 5 6.5"}, "sides"),
        ({"ElementSpacing": None}, "does not say the spacing"),
        ({"ElementSpacing": "1 1 nan"}, "expected 3 numbers"),
        ({"Offset": None}, "does not say the place"),
        ({"TransformMatrix": None}, "does not say the directions"),
        ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, "singular or sheared"),
        ({"ElementType": "MET_OTHER"}, "MET_OTHER"),
        ({"NDims": 4}, "4 axes"),
        ({"BinaryData": False}, "holds text"),
        ({"data": "../a.raw"}, "beside it"),
        ({"data": "/etc/passwd"}, "beside it"),
        ({"data": "slice%03d.raw"}, "list of files"),
        ({"data": "LIST"}, "list of files"),
        ({"data": "missing.raw"}, "missing"),
        ({"ElementNumberOfChannels": "9" * 5000}, "channels"),
        ({"content": b"\0" * 9, "CompressedData": True, "HeaderSize": -1}, "unknown place"),
        ({"content": zlib.compress(b"\0" * 10_000_000), "CompressedData": True}, "more than the 240 bytes"),
        ({"content": zlib.compress(b"\0" * 240)[:-6], "CompressedData": True}, "break off|incomplete"),
    ],
)
def test_a_metaimage_header_that_lies_is_refused(tmp_path, changes, said):
    with pytest.raises(DataError, match=said):
        read_volume(meta(tmp_path / "a.mha", voxels(), **changes))


def test_voxels_behind_a_link_are_refused(tmp_path):
    (tmp_path / "secret").write_bytes(b"\0" * 240)
    (tmp_path / "a.raw").symlink_to(tmp_path / "secret")
    with pytest.raises(DataError, match="beside it"):
        read_volume(meta(tmp_path / "a.mhd", voxels(), data="a.raw"))


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\0" * 500, b"NDims = 3\n" * 20, b"x" * 2_000_000])
def test_what_is_no_metaimage_is_refused(tmp_path, content):
    (tmp_path / "a.mha").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.mha"):
        read_volume(tmp_path / "a.mha")


def test_a_value_that_is_not_finite_is_refused(tmp_path):
    array = voxels("float32")
    array[1, 2, 3] = np.nan
    for path in (write_nrrd(tmp_path / "a.nrrd", array), meta(tmp_path / "a.mha", array)):
        with pytest.raises(DataError, match=r"not finite, the first at \(1, 2, 3\)"):
            read_volume(path)
