"""Whatever the bytes are, a reader gives data or one clear error that names the file, never anything else."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai4diag.data.readers.coco import CocoIndex, read_coco, read_coco_results
from ai4diag.data.readers.yolo import read_names, read_yolo
from ai4diag.data.volume import read_volume
from ai4diag.errors import DataError
from tests.data.readers.test_dicom import series
from tests.data.readers.test_text_headers import meta, voxels, write_nrrd

fuzz = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
damage = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8)
cuts = st.floats(0, 1)


def or_refused(read, name):
    """Return what `read` gives, or None when it refuses as it should: naming the file."""
    try:
        return read()
    except DataError as error:
        refusal = str(error)
    assert name in refusal
    return None


NUMBERS = ["0", "-1", "1e9", "1e400", "nan", "99999999999999999999", "", "x", "0.5"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of one good file of each format."""
    folder = tmp_path_factory.mktemp("whole")
    series(folder / "dicom", slices=1)
    return {
        "a.dcm": (folder / "dicom" / "000.dcm").read_bytes(),
        "a.nrrd": write_nrrd(folder / "a.nrrd", voxels()).read_bytes(),
        "a.mha": meta(folder / "a.mha", voxels()).read_bytes(),
    }


@pytest.mark.filterwarnings("error::ResourceWarning")
@pytest.mark.parametrize("name", ["a.dcm", "a.nrrd", "a.mha"])
@given(changes=damage, cut=cuts, header=st.booleans())
@fuzz
def test_any_damage_to_a_volume(tmp_path, whole, name, changes, cut, header):
    content = bytearray(whole[name])
    reach = min(len(content), 700) if header else len(content)
    for place, value in changes:
        content[int(place * reach)] = value
    if cut < 0.3:
        content = content[: int(cut / 0.3 * len(content))]
    (tmp_path / name).write_bytes(bytes(content))
    volume = or_refused(lambda: read_volume(tmp_path / name, channels=None), name)
    assert volume is None or (volume.array.size < 10_000 and np.isfinite(volume.affine).all())


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
@given(line=st.integers(0, 12), word=st.integers(0, 12), value=st.sampled_from(NUMBERS))
@fuzz
def test_any_number_in_a_header(tmp_path, whole, name, line, word, value):
    end = whole[name].find(b"\n\n") if name == "a.nrrd" else whole[name].find(b"LOCAL\n")
    lines = whole[name][:end].decode().split("\n")
    words = lines[line % len(lines)].split(" ")
    words[word % len(words)] = value
    lines[line % len(lines)] = " ".join(words)
    (tmp_path / name).write_bytes("\n".join(lines).encode() + whole[name][end:])
    or_refused(lambda: read_volume(tmp_path / name, channels=None), name)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(key=st.sampled_from(["images", "categories", "annotations"]), field=st.integers(0, 5), value=json_values)
@fuzz
def test_any_value_in_a_coco_file(tmp_path, key, field, value):
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 4, "height": 4}],
        "categories": [{"id": 1, "name": "RBC"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0}],
    }
    if field == 5:
        content[key] = value
    else:
        item = content[key][0]
        item[sorted(item)[field % len(item)]] = value
    (tmp_path / "a.json").write_text(json.dumps(content))
    found = or_refused(lambda: read_coco(tmp_path / "a.json"), "a.json") or {}
    assert all(np.isfinite(annotation.boxes).all() for annotation in found.values())


@given(field=st.integers(0, 5), value=json_values)
@fuzz
def test_any_value_in_coco_results(tmp_path, field, value):
    known = CocoIndex({1: {"id": 1, "file_name": "a.png"}}, {1: "RBC"})
    item = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}
    content = value if field == 5 else [item]
    if field < 5:
        item[sorted(item)[field % len(item)]] = value
    (tmp_path / "r.json").write_text(json.dumps(content))
    found = or_refused(lambda: read_coco_results(tmp_path / "r.json", known), "r.json") or {}
    assert all(np.isfinite(item.boxes).all() and np.isfinite(item.scores).all() for item in found.values())


@given(content=st.binary(max_size=60) | st.text("0123456789.- \nenaif", max_size=60).map(str.encode))
@fuzz
def test_any_yolo_file_and_any_names(tmp_path, content):
    for name in ("a.txt", "data.yaml"):
        (tmp_path / name).write_bytes(content)
    found = or_refused(lambda: read_yolo(tmp_path / "a.txt", ("RBC", "WBC"), (7, 9)), "a.txt")
    assert found is None or np.isfinite(found.boxes).all()
    assert or_refused(lambda: read_names(tmp_path / "data.yaml"), "data.yaml") != ()
