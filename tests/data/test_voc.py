"""Pascal VOC and image files, good and hostile."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ai4diag.data.problems import ReadError
from ai4diag.data.readers.pictures import image_size, read_image, resample
from ai4diag.data.voc import read_annotation
from tests.data.helpers import voc


def xml(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_x_before_y_goes_in_and_rows_before_columns_come_out(tmp_path: Path) -> None:
    found = read_annotation(xml(tmp_path / "a.xml", voc([("RBC", 10, 20, 30, 50)])))
    assert found.boxes.tolist() == [[20, 10, 50, 30]]
    assert found.size == (32, 48)
    assert found.names == ("RBC",)
    assert found.difficult == (False,)


def test_a_box_covers_the_pixels_that_it_was_drawn_around(tmp_path: Path) -> None:
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[20:28, 10:15] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (box,) = read_annotation(xml(tmp_path / "a.xml", voc([("RBC", 10, 20, 15, 28)]))).boxes.astype(int)
    image = read_image(tmp_path / "a.png", 3)
    assert image.shape == (3, 32, 48)
    assert image[:, box[0] : box[2], box[1] : box[3]].min() == 255
    assert image.sum() == 255 * 3 * 8 * 5


def test_an_annotation_without_objects_has_no_boxes(tmp_path: Path) -> None:
    assert read_annotation(xml(tmp_path / "a.xml", voc([]))).boxes.shape == (0, 4)


BOMB = '<!DOCTYPE a [<!ENTITY x "{}">]><annotation><object><name>&x;</name></object></annotation>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB.format("lol" * 9), "document type"),
        (BOMB.format("lol" * 9).encode("utf-16"), "document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "document type"),
        ("<annotation><object>", "no well-formed XML"),
        ("", "no well-formed XML"),
        ("\x00\x01", "no well-formed XML"),
        ("<html/>", "root element 'html'"),
        ("<annotation><object><bndbox/></object></annotation>", "object 1: found no name"),
        (voc([("RBC", float("nan"), 1, 2, 3)]), "xmin = 'nan'"),
        (voc([("RBC", 0, float("inf"), 2, 3)]), "ymin = 'inf'"),
        (voc([("RBC", 0, 1, 2, 3)]).replace("<xmax>2</xmax>", ""), r"object 1 \(RBC\): found xmax = None"),
        ("<annotation>" + " " * 5_000_000 + "</annotation>", "at most"),
    ],
)
def test_bad_annotations_are_refused_with_file_and_cure(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(ReadError, match=message) as caught:
        read_annotation(xml(tmp_path / "a.xml", text))
    assert "a.xml" in str(caught.value)
    assert caught.value.cure


def bomb_png(path: Path, side: int) -> Path:
    """Write a PNG of some 100 bytes that declares side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("encoding", ["bogus", "utf-7", "utf-32", "zlib"])
def test_an_encoding_that_cannot_be_read_is_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.xml").write_text(f'<?xml version="1.0" encoding="{encoding}"?><annotation/>', encoding="utf-8")
    with pytest.raises(ReadError, match="no well-formed XML"):
        read_annotation(tmp_path / "a.xml")


@pytest.mark.parametrize("side", [10_100, 60_000])
def test_an_image_that_declares_too_many_pixels_is_refused(tmp_path: Path, side: int) -> None:
    with pytest.raises(ReadError, match="at most 100,000,000 pixels"):
        image_size(bomb_png(tmp_path / "a.png", side))


def test_a_truncated_image_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(ReadError, match=r"a\.jpg: found a damaged image"):
        read_image(tmp_path / "a.jpg", 3)


@pytest.mark.parametrize("content", [b"", b"not an image", b"%PDF-1.4"])
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ReadError, match="no image"):
        image_size(tmp_path / "a.jpg")


def test_sixteen_bits_are_not_cut_to_eight_silently(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 4000, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(ReadError, match="mode I;16"):
        read_image(tmp_path / "a.png", 1)


def test_grey_and_colour(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 6), 77, np.uint8)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", 1).shape == (1, 4, 6)
    assert read_image(tmp_path / "a.png", 3)[:, 0, 0].tolist() == [77, 77, 77]


def test_halving_averages_four_pixels() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (3, 32, 48), dtype=np.uint8)
    expected = image.reshape(3, 16, 2, 24, 2).mean(axis=(2, 4))
    assert np.abs(resample(image, (16, 24)).astype(float) - expected).max() <= 1


def test_resampling_keeps_size_mean_and_places() -> None:
    image = np.zeros((1, 60, 90), np.uint8)
    image[0, 20:40, 30:60] = 200
    for size in ((60, 90), (30, 30), (120, 180), (47, 71)):
        result = resample(image, size)
        assert result.shape == (1, *size)
        assert result.mean() == pytest.approx(image.mean(), rel=0.03)
        assert result[0, size[0] // 2, size[1] // 2] == 200
