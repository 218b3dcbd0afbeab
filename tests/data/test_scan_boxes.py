"""Boxes in volumes: millimetres to voxels by hand, label maps, tables, and the way through prepare_scans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ai4diag.config.detection import DetectionRecipe, Grey
from ai4diag.data.catalogue import SUMS, get
from ai4diag.data.prepare_scans import EDGES, SIZES, pack, prepare_scans
from ai4diag.data.prepared import Prepared
from ai4diag.data.scan_boxes import boxes_in_mm, boxes_of_labels, boxes_of_spheres, moved_boxes
from ai4diag.data.volume import Volume, read_volume, volumes_in, write_nifti
from ai4diag.data.volume_store import affines_of
from ai4diag.errors import DataError
from tests.data.helpers import write_card

# Voxels of 2 x 0.5 x 3 mm; the first axis runs to the left, the second to the back, the third to the head.
# Voxel (0, 0, 0) lies at x = 30, y = 12, z = -90 mm (RAS).
FLIPPED = np.array([[-2.0, 0, 0, 30], [0, -0.5, 0, 12], [0, 0, 3.0, -90], [0, 0, 0, 1]])
SIDES = (16, 48, 12)


def recipe(**data: Any) -> DetectionRecipe:
    return DetectionRecipe.model_validate(
        {
            "task": "detection",
            "data": {"dataset": "toy", "split": {"test": 0.34, "validation": 0.34}, **data},
            "model": {"network": "anchor_free"},
            "evaluate": {"primary": "map_50"},
        }
    )


def scans(raw: Path, count: int = 6, affine: np.ndarray = FLIPPED) -> list[str]:
    """Write volumes whose voxels tell their place: value = number of the voxel along the second axis."""
    (raw / "images").mkdir(parents=True)
    names = [f"ct{number}" for number in range(count)]
    for number, name in enumerate(names):
        array = np.broadcast_to(np.arange(SIDES[1], dtype=np.int16)[None, :, None] + number, SIDES).copy()
        write_nifti(raw / "images" / f"{name}.nii.gz", array, Volume(array[None], affine))
    return names


def prepared(tmp_path: Path, block: dict[str, Any], classes: list[str], **data: Any) -> Prepared:
    card = write_card(
        tmp_path / "cards", tmp_path / "raw", task="detection", classes=classes, scans={"folders": ["images"], **block}
    )
    prepare_scans(tmp_path / "raw", card, recipe(**data), tmp_path / "out")
    return Prepared.open(tmp_path / "out")


SPHERES = {
    "spheres": {
        "path": "annotations.csv",
        "case": "seriesuid",
        "centre": ["coordX", "coordY", "coordZ"],
        "system": "LPS",
        "diameter_mm": "diameter_mm",
    }
}
HEADER = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"


def test_a_sphere_in_lps_on_an_anisotropic_flipped_volume_by_hand(tmp_path: Path) -> None:
    """Middle at voxel (5, 8, 4) of the file: x = 30 - 10 = 20, y = 12 - 4 = 8, z = -90 + 12 = -78; in LPS -20, -8, -78.

    A diameter of 6 mm is 3 x 12 x 2 voxels. Canonical axes run to the right and to the front, so that voxel 5 of 16
    becomes 10 and voxel 8 of 48 becomes 39; the middle of voxel 10 is at 10.5. Edges: 9 to 12, 33.5 to 45.5 and 3.5 to
    5.5.
    """
    names = scans(tmp_path / "raw")
    lines = "".join(f"{name},-20,-8,-78,6\n" for name in names)
    (tmp_path / "raw" / "annotations.csv").write_text(HEADER + lines, encoding="utf-8")
    found = prepared(tmp_path, SPHERES, ["nodule"])
    np.testing.assert_allclose(found.boxes[EDGES].to_numpy(), np.tile([9, 33.5, 3.5, 12, 45.5, 5.5], (6, 1)), atol=1e-4)
    assert found.index[SIZES].to_numpy().tolist() == [list(SIDES)] * 6
    centre, sides = boxes_in_mm(found.boxes[EDGES].to_numpy()[:1], affines_of(found.volume_table)[0])
    np.testing.assert_allclose(centre, [[20, 8, -78]], atol=1e-4)
    np.testing.assert_allclose(sides, [[6, 6, 6]], atol=1e-4)


def test_millimetres_of_the_other_convention_miss_the_sphere(tmp_path: Path) -> None:
    names = scans(tmp_path / "raw")
    lines = "".join(f"{name},-20,-8,-78,6\n" for name in names)
    (tmp_path / "raw" / "annotations.csv").write_text(HEADER + lines, encoding="utf-8")
    block = {"spheres": {**SPHERES["spheres"], "system": "RAS"}}
    with pytest.raises(DataError, match="no box of class nodule"):
        prepared(tmp_path, block, ["nodule"])


def test_a_sphere_in_a_turned_volume_is_boxed_as_its_voxels_are() -> None:
    generator = np.random.default_rng(3)
    turn, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * (0.8, 1.5, 2.5), (7, -3, 40)
    centre, diameter = affine[:3, :3] @ (12, 9, 6) + affine[:3, 3], 11.0
    index = np.stack(np.meshgrid(*(np.arange(0, 24, 0.25),) * 3, indexing="ij"), -1)
    inside = np.linalg.norm(index @ affine[:3, :3].T + affine[:3, 3] - centre, axis=-1) <= diameter / 2
    seen = index[inside]
    expected = np.concatenate([seen.min(0), seen.max(0)]) + 0.5
    np.testing.assert_allclose(boxes_of_spheres([centre], [diameter], affine)[0], expected, atol=0.5)
    middles, _ = boxes_in_mm(boxes_of_spheres([centre], [diameter], affine), affine)
    np.testing.assert_allclose(middles, [centre], atol=1e-9)


def test_boxes_around_label_maps_by_hand() -> None:
    labels = np.zeros((6, 7, 8), np.int64)
    labels[1:3, 2:5, 1:2] = 1
    labels[4:6, 5:7, 3:8] = 1
    labels[0, 0, 0] = 1
    labels[3, 3, 3] = 2
    parts = [[0, 0, 0, 1, 1, 1], [1, 2, 1, 3, 5, 2], [4, 5, 3, 6, 7, 8]]
    assert boxes_of_labels(labels, 1, each="component").tolist() == parts
    assert boxes_of_labels(labels, 1, each="component", least_voxels=2).tolist() == parts[1:]
    assert boxes_of_labels(labels, 1, each="class").tolist() == [[0, 0, 0, 6, 7, 8]]
    assert boxes_of_labels(labels, 1, each="class", least_voxels=2).tolist() == [[1, 2, 1, 6, 7, 8]]
    assert boxes_of_labels(labels, 3, each="class").shape == (0, 6)
    corner = np.zeros((2, 2, 1), np.int64)
    corner[0, 0], corner[1, 1] = 1, 1  # voxels that share an edge only are two parts
    assert len(boxes_of_labels(corner, 1, each="component")) == 2


def test_label_maps_and_a_table_of_the_same_boxes_agree(tmp_path: Path) -> None:
    names = scans(tmp_path / "raw")
    (tmp_path / "raw" / "labels").mkdir()
    lines = ["case,i0,j0,k0,i1,j1,k1,what"]
    generator = np.random.default_rng(5)
    for name in names:
        mask = np.zeros(SIDES, np.uint8)
        for number, what in ((1, "left"), (2, "right")):
            low = generator.integers(0, np.subtract(SIDES, 4))
            high = low + generator.integers(1, 4, 3)
            mask[tuple(slice(*edge) for edge in zip(low, high, strict=True))] = number
            if number == 2 or not (mask == 2).any():
                lines.append(f"{name},{','.join(map(str, [*low, *high]))},{what}")
        write_nifti(tmp_path / "raw" / "labels" / f"{name}.nii.gz", mask, Volume(mask[None], FLIPPED))
    (tmp_path / "raw" / "boxes.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    maps = {"label_maps": {"folder": "labels", "numbers": {"left": 1, "right": 2}, "each": "class"}}
    table = {
        "path": "boxes.csv",
        "case": "case",
        "low": ["i0", "j0", "k0"],
        "high": ["i1", "j1", "k1"],
        "label": "what",
    }
    one = prepared(tmp_path, maps, ["left", "right"]).boxes
    two = prepared(tmp_path, {"voxel_boxes": table}, ["left", "right"]).boxes
    np.testing.assert_allclose(one[["case", "label", *EDGES]], two[["case", "label", *EDGES]], atol=1e-4)


@pytest.mark.parametrize(
    ("number", "remove", "message"),
    [(7, None, "holds the number 7"), (1, "labels/ct0.nii.gz", "no label map named ct0")],
)
def test_faulty_label_maps_are_named(tmp_path: Path, number: int, remove: str | None, message: str) -> None:
    names = scans(tmp_path / "raw")
    (tmp_path / "raw" / "labels").mkdir()
    for name in names:
        mask = np.full(SIDES, number, np.uint8)
        write_nifti(tmp_path / "raw" / "labels" / f"{name}.nii.gz", mask, Volume(mask[None], FLIPPED))
    if remove:
        (tmp_path / "raw" / remove).unlink()
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, {"label_maps": {"folder": "labels", "numbers": {"organ": 1}, "each": "class"}}, ["organ"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seriesuid,coordX,coordY,diameter_mm\n", "no column 'coordZ'"),
        (HEADER + "ct0,1,2,three,4\n", "line 2, column 'coordZ': 'three' is no number"),
        (HEADER + "ct0,1,2,3,0\n", "line 2: found diameter 0 mm"),
        (HEADER + "ct0,1,2,3,nan\n", "is no number"),
    ],
)
def test_faulty_tables_are_named(tmp_path: Path, text: str, message: str) -> None:
    scans(tmp_path / "raw")
    (tmp_path / "raw" / "annotations.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, SPHERES, ["nodule"])


def test_what_counts_neither_way_and_what_lies_outside(tmp_path: Path) -> None:
    names = scans(tmp_path / "raw")
    lines = "".join(f"{name},-20,-8,-78,6\n" for name in names)
    more = "ct0,500,0,0,6\nct1,-31,-8,-78,9\nelsewhere,0,0,0,4\n"
    (tmp_path / "raw" / "annotations.csv").write_text(HEADER + lines + more, encoding="utf-8")
    (tmp_path / "raw" / "others.csv").write_text(HEADER + "ct2,-10,0,-70,-1\n", encoding="utf-8")
    found = prepared(tmp_path, {"spheres": {**SPHERES["spheres"], "ignored": "others.csv"}}, ["nodule"])
    codes = {finding.code: finding for finding in found.findings}
    assert codes["box-outside"].where == "ct0, nodule 2"
    assert codes["box-clipped"].where == "ct1, nodule 2"
    assert "elsewhere" in codes["box-without-image"].found
    ignored = found.boxes[found.boxes["ignore"]]
    assert ignored["case"].tolist() == [2]
    edges = ignored[EDGES].to_numpy(np.float64)[0]
    np.testing.assert_allclose((edges[3:] - edges[:3]) * (2, 0.5, 3), 10, atol=1e-3)  # no diameter: 10 mm
    assert len(found.boxes) == 8


def test_packing_resamples_a_ramp_exactly_and_keeps_its_place() -> None:
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32)[:, None, None], (40, 6, 4)).copy()
    volume = Volume(ramp[None], np.diag([1.0, 2.0, 3.0, 1.0]))
    packed, affine = pack(volume, Grey(values=(0, 255)), (0.5, 2.0, 6.0))
    assert packed.shape == (1, 80, 6, 2)
    np.testing.assert_array_equal(
        packed[0, 1:-1, 0, 0], np.rint((np.arange(80)[1:-1] + 0.5) / 2 - 0.5).astype(np.uint8)
    )
    low, high = affine @ (-0.5, -0.5, -0.5, 1), affine @ (79.5, 5.5, 1.5, 1)
    np.testing.assert_allclose(low[:3], (-0.5, -1, -1.5))
    np.testing.assert_allclose(high[:3], (39.5, 11, 10.5))
    assert pack(volume, Grey(percentiles=(0, 100)), None)[0].max() == 255
    with pytest.raises(DataError, match="nothing can be seen"):
        pack(Volume(np.zeros((1, 2, 2, 2)), np.eye(4)), Grey(percentiles=(1, 99)), None)


def test_a_spacing_in_the_wrong_unit_is_refused_before_memory_is_asked_for() -> None:
    volume = Volume(np.zeros((1, 40, 40, 40), np.int16), np.diag([700.0, 700.0, 1000.0, 1.0]), name="ct7")
    with pytest.raises(DataError, match="ct7: voxels of 700 x 700 x 1000 mm would become"):
        pack(volume, Grey(values=(-1000, 300)), (0.7, 0.7, 1.0))


def test_label_maps_follow_the_axes_of_their_image_close_to_45_degrees(tmp_path: Path) -> None:
    """Two headers of one grid, rounded differently: by itself, each would be turned to other axes."""

    def turned(degrees: float) -> np.ndarray:
        angle = np.deg2rad(degrees)
        rotation = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
        affine = np.eye(4)
        affine[:3, :3] = rotation
        return affine

    names = scans(tmp_path / "raw", affine=turned(44.99))
    (tmp_path / "raw" / "labels").mkdir()
    array = np.zeros(SIDES, np.uint8)
    array[2:5, 10:20, 3:8] = 1
    for name in names:
        write_nifti(tmp_path / "raw" / "labels" / f"{name}.nii.gz", array, Volume(array[None], turned(45.01)))
    block = {"label_maps": {"folder": "labels", "numbers": {"organ": 1}, "each": "class"}}
    found = prepared(tmp_path, block, ["organ"])
    np.testing.assert_array_equal(found.boxes[EDGES].to_numpy(), np.tile([2, 10, 3, 5, 20, 8], (6, 1)))


def test_moved_boxes_come_back() -> None:
    volume = Volume(np.zeros((1, *SIDES)), FLIPPED)
    boxes = np.array([[1.0, 2, 3, 4, 8, 5]])
    there = moved_boxes(boxes, FLIPPED, volume.canonical().affine)
    np.testing.assert_allclose(there, [[12, 40, 3, 15, 46, 5]])
    np.testing.assert_allclose(moved_boxes(there, volume.canonical().affine, FLIPPED), boxes)


def test_a_set_laid_out_by_hand_says_what_to_fetch_then_is_kept_to(tmp_path: Path) -> None:
    values = {"task": "detection", "classes": ["nodule"], "scans": {"folders": ["images"], **SPHERES}}
    card = write_card(tmp_path / "cards", tmp_path / "nothing", by_hand="Fetch the discs.", **values)
    with pytest.raises(DataError, match="not on this machine") as caught:
        get(card, tmp_path / "data")
    assert caught.value.cure == "Fetch the discs."
    scans(tmp_path / "data" / "toy", 2)
    folder = get(card, tmp_path / "data")
    assert (folder / SUMS).read_text().count("nii.gz") == 2
    assert read_volume(folder / "images" / "ct0.nii.gz").array.shape == (1, *SIDES)
    (folder / "images" / "ct1.nii.gz").unlink()
    with pytest.raises(DataError, match="is gone"):
        get(card, tmp_path / "data")


def test_folders_divide_the_cases(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    names = scans(raw)
    for number, name in enumerate(names):
        target = raw / f"subset{number // 2}"
        target.mkdir(exist_ok=True)
        (raw / "images" / f"{name}.nii.gz").rename(target / f"{name}.nii.gz")
    (raw / "images").rmdir()
    lines = "".join(f"{name},-20,-8,-78,6\n" for name in names)
    (raw / "annotations.csv").write_text(HEADER + lines, encoding="utf-8")
    parts = {"test": ["subset0"], "validation": ["subset1"], "train": ["subset2"]}
    block = {"folders": ["subset0", "subset1", "subset2"], **SPHERES}
    card = write_card(
        tmp_path / "cards",
        raw,
        task="detection",
        classes=["nodule"],
        scans=block,
        official_split={"source": "folders", "folders": parts},
    )
    prepare_scans(raw, card, recipe(split={"test": "official"}), tmp_path / "out")
    part_of = Prepared.open(tmp_path / "out").split.set_index("case_id")["part"].to_dict()
    assert part_of == dict(zip(names, ["test"] * 2 + ["validation"] * 2 + ["train"] * 2, strict=True))


def test_volumes_are_files_and_folders_of_slices(tmp_path: Path) -> None:
    (tmp_path / "series-7").mkdir()
    for name in ("series-7/1.DCM", "series-7/2.DCM", "a.nii.gz", "b.mhd", "b.raw", "notes.txt", ".hidden.nii"):
        (tmp_path / name).touch()
    assert {name: path.name for name, path in volumes_in([tmp_path], "(.+)").items()} == {
        "a": "a.nii.gz",
        "b": "b.mhd",
        "series-7": "series-7",
    }
    with pytest.raises(DataError, match="does not match the pattern"):
        volumes_in([tmp_path], "series-([0-9]+)")
    assert list(volumes_in([tmp_path], "series-([0-9]+)", others="left")) == ["7"]
    with pytest.raises(DataError, match="does not exist") as caught:
        volumes_in([tmp_path / "series-8"], "(.+)")
    assert "series-7" in str(caught.value.cure)
    (tmp_path / "a.mha").touch()
    with pytest.raises(DataError, match="the same case 'a' twice"):
        volumes_in([tmp_path], "(.+)")


@pytest.mark.parametrize(("turn", "first"), [(1, (9, 33.5)), (-1, (4, 2.5))])
def test_spheres_in_metaimage_as_luna16_has_them(tmp_path: Path, turn: int, first: tuple[float, float]) -> None:
    """The volume of the first test as MetaImage, on the back and face down (first two axes reversed in the header).

    On the back everything is as there. Face down, voxel (0, 0, 0) lies at LPS (-30, -12, -90) and the first axes run
    to the right and the front; the middle LPS (-40, -16, -78) is 10 mm right and 4 mm in front of it: voxel (5, 8, 4).
    """
    (tmp_path / "raw" / "images").mkdir(parents=True)
    lines = HEADER
    for number in range(6):
        name = f"1.3.6.1.{number}"
        header = {
            "ObjectType": "Image",
            "NDims": "3",
            "BinaryData": "True",
            "BinaryDataByteOrderMSB": "False",
            "CompressedData": "False",
            "TransformMatrix": f"{turn} 0 0 0 {turn} 0 0 0 1",
            "Offset": "-30 -12 -90",
            "CenterOfRotation": "0 0 0",
            "ElementSpacing": "2 0.5 3",
            "DimSize": " ".join(map(str, SIDES)),
            "ElementType": "MET_SHORT",
            "ElementDataFile": f"{name}.raw",
        }
        text = "".join(f"{key} = {value}\n" for key, value in header.items())
        (tmp_path / "raw" / "images" / f"{name}.mhd").write_text(text, encoding="ascii")
        array = np.full(SIDES[::-1], -800 + number, "<i2")  # the first axis runs fastest in the file
        array[4, 8, 5] = 100
        (tmp_path / "raw" / "images" / f"{name}.raw").write_bytes(array.tobytes())
        x, y = (-20, -8) if turn == 1 else (-40, -16)
        lines += f"{name},{x},{y},-78,6\n"
    (tmp_path / "raw" / "annotations.csv").write_text(lines, encoding="utf-8")
    found = prepared(tmp_path, SPHERES, ["nodule"], grey={"values": [-1024, 300]})
    edges = found.boxes[EDGES].to_numpy(np.float64)
    np.testing.assert_allclose(edges[:, :2], np.tile(first, (6, 1)), atol=1e-4)
    bright = np.argwhere(found.volumes[0][0] > 200)[0]
    np.testing.assert_allclose((edges[0, :3] + edges[0, 3:]) / 2 - 0.5, bright, atol=1e-4)
