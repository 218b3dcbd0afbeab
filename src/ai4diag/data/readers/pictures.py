"""Pictures: JPEG, PNG, TIFF and BMP of 8 bits a channel, as they are meant to be looked at.

What a conversion would lose without a word is refused: 16 bits, transparency, colours where grey is expected. What
loses nothing is done: a palette is looked up, and a camera's note that the picture is to be turned (EXIF orientation)
is followed, because tools that show pictures and draw boxes follow it.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ai4diag.data.problems import ReadError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageFile import ImageFile

LARGEST_IMAGE_PIXELS = 100_000_000
"""A compressed file of a few bytes can declare an image that fills the memory."""
_MODES = {1: ("L", "1", "P", "LA"), 3: ("RGB", "RGBA", "L", "LA", "P", "CMYK", "YCbCr")}
_ORIENTATION = 0x0112
_EXCHANGED = (5, 6, 7, 8)
"""EXIF orientations that exchange rows and columns."""


def image_size(path: Path) -> tuple[int, int]:
    """Return rows and columns of a picture, as it is meant to be looked at; its pixels are decoded only if it turns.

    Raises:
        ReadError: not an image, or more pixels than `LARGEST_IMAGE_PIXELS`; or one that turns and is damaged.
    """
    with _open(path) as image:
        if _orientation(image) not in _EXCHANGED:
            return int(image.height), int(image.width)
        turned = _turned(path, image)  # Pillow exchanges the sides of some formats by itself, and of others not
        return int(turned.height), int(turned.width)


def read_image(path: Path, channels: int) -> npt.NDArray[np.uint8]:
    """Read an image as uint8 `(channels, rows, columns)`.

    Args:
        path: JPEG, PNG, TIFF or BMP of 8 bits per channel.
        channels: 1 (grey) or 3 (red, green, blue); a grey image gives three equal ones.

    Raises:
        ReadError: unreadable, truncated, too large, more than 8 bits per channel, pixels that are transparent, or
            colours where grey is expected.
    """
    with _open(path) as image:
        deep = any(";16" in str(tile) for tile in image.tile)  # Pillow would cut 16-bit colour to 8 bits by itself
        if image.mode not in _MODES[channels] or deep:
            expected = "8-bit grey" if channels == 1 else "8-bit colour"
            found = f"pixels of mode {image.mode}" + (" with 16 bits" if deep and image.mode[:2] != "I;" else "")
            cure = "Convert the image, with the range of values that matters, or the card."
            raise ReadError(path.name, found, expected, cure)
        picture = _without_palette(path, _turned(path, image))
        if channels == 1:
            _refuse_colour(path, picture)
        array = np.asarray(picture.convert("L" if channels == 1 else "RGB"), np.uint8)
    return np.ascontiguousarray(array[None] if channels == 1 else array.transpose(2, 0, 1))


def resample(image: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Resample uint8 `(channels, rows, columns)` to `size` = (rows, columns).

    An image that shrinks by whole factors is averaged over areas; by others it is filtered (Hamming), so that no detail
    aliases. Growing is bicubic. Rows and columns are rounded to uint8 one after the other: at most one grey level.
    """
    from PIL import Image

    if image.shape[1:] == tuple(size):
        return image
    rows, columns = image.shape[1:]
    if rows % size[0] == 0 and columns % size[1] == 0:
        method = Image.Resampling.BOX
    elif size[0] <= rows and size[1] <= columns:
        method = Image.Resampling.HAMMING  # the box filter of Pillow has no fractions of pixels
    else:
        method = Image.Resampling.BICUBIC
    planes = [Image.fromarray(plane).resize((size[1], size[0]), method) for plane in image]
    return np.stack([np.asarray(plane, np.uint8) for plane in planes])


def _without_palette(path: Path, image: Picture) -> Picture:
    """Return grey or colour without palette and without an alpha channel, which must be opaque."""
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode in ("L", "RGB") and "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode not in ("RGBA", "LA"):
        return image
    if (clear := int((np.asarray(image.getchannel("A")) < 255).sum())) > 0:
        cure = "Decide what stands behind them, and write the image without alpha."
        raise ReadError(path.name, f"{clear} pixels that are transparent", "an opaque image", cure)
    return image.convert(image.mode[:-1])


def _refuse_colour(path: Path, image: Picture) -> None:
    if image.mode == "RGB":
        pixels = np.asarray(image)
        if (pixels != pixels[..., :1]).any():
            cure = "Choose three channels on the card, or convert the image knowing what its colours stand for."
            raise ReadError(path.name, "a palette of colours", "8-bit grey", cure)


def _turned(path: Path, image: ImageFile) -> Picture:
    """Return the decoded picture as its EXIF orientation says."""
    from PIL import ImageOps

    try:
        image.load()
        turned = ImageOps.exif_transpose(image) if _orientation(image) > 1 else image
    except (OSError, SyntaxError, ValueError) as error:
        cure = "Fetch or export the file again."
        raise ReadError(path.name, f"a damaged image ({error})", "a whole image", cure) from None
    return turned


def _orientation(image: ImageFile) -> int:
    """Return the EXIF orientation, 1 for none; a damaged note counts as none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # Pillow raises what it likes on damaged EXIF, which is not what the picture needs
        return 1
    return found if 1 <= found <= 8 else 1


def _open(path: Path) -> ImageFile:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about size, where our own limit follows, and about unused metadata
            image = Image.open(path, formats=("JPEG", "PNG", "TIFF", "BMP"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        what = "no image" if isinstance(error, UnidentifiedImageError) else f"a damaged image ({error})"
        raise ReadError(path.name, what, "a JPEG, PNG, TIFF or BMP image", "Fetch or export the file again.") from None
    except Image.DecompressionBombError:
        raise _too_large(path, "more") from None
    if image.width * image.height > LARGEST_IMAGE_PIXELS:
        image.close()
        raise _too_large(path, f"{image.width} x {image.height}")
    return image


def _too_large(path: Path, found: str) -> ReadError:
    return ReadError(
        path.name,
        f"{found} pixels declared",
        f"at most {LARGEST_IMAGE_PIXELS:,} pixels",
        "Cut the image into tiles, or look at where it comes from: such a file can be made to fill the memory.",
    )
