"""NIfTI-1 and NIfTI-2, strictly: a file that says two different things about its geometry, or none, is refused."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ai4diag.data.volume import Volume, moved_mm
from ai4diag.errors import DataError
from ai4diag.files import write_bytes

MOST_DEFLATED = 1032
"""No deflate stream grows by more than this factor: a header that claims more voxels lies."""
SCANNER = 1
"""Code of sform and qform: millimetres in the scanner."""


def read(path: Path) -> Volume:
    """Read one NIfTI file.

    Voxels keep their integer type when the header scales nothing; else they become float32.

    Raises:
        DataError: the file is damaged, is not NIfTI, has no geometry, two that disagree by more than half a voxel, a
            unit of length other than millimetres, or voxels that are no numbers.
    """
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        image = nib.load(path)
        if not isinstance(image, nib.Nifti1Image):
            raise DataError(f"{path} is {type(image).__name__}; expected NIfTI.")
        _refuse_impossible(path, image)
        affine = _affine(path, image)
        array = np.asanyarray(image.dataobj)
    except (ImageFileError, HeaderDataError) as error:
        raise DataError(f"{path} is not readable NIfTI: {error}.", "Get the file again.") from None
    except (OSError, EOFError, ValueError, zlib.error, OverflowError) as error:
        raise DataError(f"{path} is damaged: {error}.", "Get the file again.") from None
    if array.dtype.kind not in "iuf":
        raise DataError(f"{path} has voxels of type {array.dtype}; expected whole or real numbers.")
    if array.dtype == np.float64 or array.dtype.itemsize > 8:
        array = array.astype(np.float32)
    array = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))
    return Volume(_channels_first(path, array), affine, image.header.copy(), str(path))


def write(path: Path, array: npt.NDArray[Any], affine: npt.NDArray[np.float64], like: Any = None) -> None:
    """Write `(channels, i, j, k)`; kind, units and codes come from `like`, a NIfTI header, if it is one.

    Nothing else of `like` is taken: its texts (`descrip`, `aux_file`, `db_name`, `intent_name`, `data_type`) and its
    extensions are free, and may name a patient.
    """
    import nibabel as nib

    voxels = array[0] if array.shape[0] == 1 else np.moveaxis(array, 0, -1)
    kind, codes, units = nib.Nifti1Image, (SCANNER, SCANNER), ("mm", "unknown")
    if isinstance(like, nib.Nifti1Header):
        kind = nib.Nifti2Image if isinstance(like, nib.Nifti2Header) else nib.Nifti1Image
        codes, units = (int(like["sform_code"]), int(like["qform_code"])), like.get_xyzt_units()
    header = kind.header_class()
    header.set_xyzt_units(*units)
    header.set_data_dtype(voxels.dtype)
    header.set_slope_inter(1, 0)
    image = kind(np.asfortranarray(voxels), affine, header)
    image.set_sform(affine, codes[0])
    image.set_qform(affine, codes[1])
    content = image.to_bytes()
    write_bytes(path, gzip.compress(content, 6, mtime=0) if path.name.endswith(".gz") else content)


def _refuse_impossible(path: Path, image: Any) -> None:
    """Refuse a header that claims more voxels than the file can hold, before memory is asked for."""
    shape = image.shape
    if not 2 <= len(shape) <= 4 or min(shape) < 1:
        raise DataError(f"{path} has {len(shape)} axes of {shape}; expected two to four, none empty.")
    claimed = int(np.prod([int(side) for side in shape], dtype=object)) * image.get_data_dtype().itemsize
    size = path.stat().st_size
    if claimed > size * (MOST_DEFLATED if path.name.lower().endswith(".gz") else 1):
        raise DataError(f"{path} is damaged: it claims {claimed} bytes of voxels in a file of {size}.", "Get it again.")


def _affine(path: Path, image: Any) -> npt.NDArray[np.float64]:
    """Return the one geometry of the file: sform, and qform where there is no sform."""
    header = image.header
    unit = header.get_xyzt_units()[0]
    if unit not in ("mm", "unknown"):
        raise DataError(f"{path} is measured in {unit}; expected mm.", "Write it again in millimetres.")
    sform, qform = header.get_sform(coded=True)[0], header.get_qform(coded=True)[0]
    if sform is None and qform is None:
        raise DataError(
            f"{path} does not say where its voxels lie: sform and qform both have code 0.",
            "Write it again with the scanner's geometry; sides and orientation are unknown without it.",
        )
    found: npt.NDArray[np.float64] = np.asarray(qform if sform is None else sform, np.float64)
    if sform is not None and qform is not None and np.isfinite([sform, qform]).all():
        sides = (*image.shape, 1)[:3]
        off, least = moved_mm(sform, qform, sides), float(np.linalg.norm(found[:3, :3], axis=0).min())
        if off > 0.5 * least:
            raise DataError(
                f"{path} says two things about its geometry: sform and qform place a corner {off:.3g} mm apart.",
                "Find out which is right and write the file with that one.",
            )
    return found


def _channels_first(path: Path, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return `(channels, i, j, k)` of an array of two to four axes; NIfTI has channels last."""
    if array.ndim == 2:
        return array[None, :, :, None]
    if array.ndim == 3:
        return array[None]
    return np.ascontiguousarray(np.moveaxis(array, -1, 0))
