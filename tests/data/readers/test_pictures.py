"""Pictures as they are meant to be looked at; what a conversion would lose is refused."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from ai4diag.data.problems import ReadError
from ai4diag.data.readers.pictures import image_size, read_image

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
TURNED = {  # what the stored pixels look like when the note is followed (EXIF 2.3, table of tag 0x0112)
    1: PIXELS,
    2: PIXELS[:, ::-1],
    3: PIXELS[::-1, ::-1],
    4: PIXELS[::-1],
    5: PIXELS.transpose(1, 0, 2),
    6: PIXELS.transpose(1, 0, 2)[:, ::-1],
    7: PIXELS.transpose(1, 0, 2)[::-1, ::-1],
    8: PIXELS.transpose(1, 0, 2)[::-1],
}


@pytest.mark.parametrize("orientation", [*TURNED, 0, 9, 77])
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_the_note_of_the_camera_is_followed(tmp_path, orientation, ending):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{ending}"
    Image.fromarray(PIXELS).save(path, exif=exif)
    expected = TURNED.get(orientation, PIXELS)
    assert image_size(path) == expected.shape[:2]
    assert np.array_equal(read_image(path, 3), expected.transpose(2, 0, 1))


def test_damaged_notes_do_not_matter(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + b"\xff" * 30, quality=100)
    assert image_size(tmp_path / "a.jpg") == (6, 9)
    assert read_image(tmp_path / "a.jpg", 3).shape == (3, 6, 9)


def test_an_opaque_alpha_channel_is_left_out_and_another_refused(tmp_path):
    alpha = np.full((6, 9, 1), 255, np.uint8)
    Image.fromarray(np.concatenate([PIXELS, alpha], 2)).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png", 3), PIXELS.transpose(2, 0, 1))
    alpha[2, 3] = 254
    Image.fromarray(np.concatenate([PIXELS, alpha], 2)).save(tmp_path / "a.png")
    with pytest.raises(ReadError, match="1 pixels that are transparent"):
        read_image(tmp_path / "a.png", 3)
    Image.fromarray(np.concatenate([PIXELS[..., :1], alpha], 2), "LA").save(tmp_path / "b.png")
    with pytest.raises(ReadError, match="transparent"):
        read_image(tmp_path / "b.png", 1)


def test_a_palette_is_looked_up_and_its_colours_are_not_grey(tmp_path):
    picture = Image.fromarray(np.arange(54, dtype=np.uint8).reshape(6, 9) % 4, "P")
    picture.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    picture.save(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png", 3)
    assert found[:, 0, :4].T.tolist() == [[10, 20, 30], [200, 0, 0], [0, 200, 0], [0, 0, 200]]
    with pytest.raises(ReadError, match="a palette of colours"):
        read_image(tmp_path / "a.png", 1)
    picture.save(tmp_path / "b.png", transparency=2)
    with pytest.raises(ReadError, match="transparent"):
        read_image(tmp_path / "b.png", 3)
    picture.putpalette([7, 7, 7, 50, 50, 50, 90, 90, 90, 255, 255, 255])
    picture.save(tmp_path / "c.png")
    assert read_image(tmp_path / "c.png", 1)[0, 0, :4].tolist() == [7, 50, 90, 255]


def png(path, bits, colour, rows):
    """Write a PNG by hand, because Pillow writes no 16-bit colour."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], bits, colour, 0, 0, 0)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


def test_sixteen_bits_are_refused_in_grey_and_in_colour(tmp_path):
    grey = png(tmp_path / "a.png", 16, 0, np.arange(12).reshape(3, 4).astype(">u2"))
    with pytest.raises(ReadError, match="mode I;16"):
        read_image(grey, 1)
    colour = png(tmp_path / "b.png", 16, 2, np.arange(36).reshape(3, 4, 3).astype(">u2"))
    with pytest.raises(ReadError, match="mode RGB with 16 bits"):
        read_image(colour, 3)


def test_a_packed_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "a.png"
    png(path, 8, 2, np.zeros((1, 1, 3), np.uint8))
    content = path.read_bytes()
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    path.write_bytes(content[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + content[33:])
    with pytest.raises(ReadError, match="at most 100,000,000 pixels"):
        read_image(path, 3)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_truncated_picture_is_refused(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for ending in ("jpg", "png"):
        path = tmp_path / f"a.{ending}"
        Image.fromarray(noise).save(path, exif=exif)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ReadError, match="damaged image"):
            read_image(path, 3)
