"""Lesson 3: right answers pass under any seed, typical wrong ones fail with the expectation that names them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from scipy.ndimage import affine_transform

from ai4diag.course import lessons
from ai4diag.course.checking import examine
from ai4diag.course.lessons.m03.headers import KEPT
from ai4diag.data import grid
from ai4diag.data.volume import Volume

SEEDS = range(4)


def verdict(exercise, seed=0, **names):
    """Return the names of expectations that are not met."""
    found = examine(lessons.find(f"m03.{exercise}"), names, Path(), seed)
    assert len(found) > 1 or not found[0].met
    return [item.name for item in found if not item.met]


def says(words, exercise, seed=1, **names):
    """Whether an answer fails with an expectation that has these words."""
    return any(words in name for name in verdict(exercise, seed, **names))


def window(stored, slope, intercept, centre, width):
    """What pydicom makes of it, with the exact linear function of DICOM PS3.3 C.11.2.1.3.2."""
    data = pydicom.Dataset()
    data.RescaleSlope, data.RescaleIntercept, data.WindowCenter, data.WindowWidth = slope, intercept, centre, width
    data.VOILUTFunction, data.BitsStored, data.PixelRepresentation = "LINEAR_EXACT", 16, 0
    data.PhotometricInterpretation = "MONOCHROME2"
    hu = apply_modality_lut(stored, data)
    shown = apply_voi_lut(hu, data)
    ends = apply_voi_lut(np.array([-1e7, 1e7]), data)
    return (shown - ends[0]) / (ends[1] - ends[0])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_window_as_pydicom_makes_it(seed):
    assert verdict("window", seed, window=window) == []


def test_wrong_windows_are_told_what_is_wrong():
    def hu_left_out(stored, slope, intercept, centre, width):
        return np.clip((stored - (centre - width / 2)) / width, 0, 1)

    def twice_as_wide(stored, slope, intercept, centre, width):
        return np.clip((stored * slope + intercept - (centre - width)) / (2 * width), 0, 1)

    def smallest_to_largest(stored, *_):
        return (stored - stored.min()) / np.ptp(stored)

    def not_cut_off(stored, slope, intercept, centre, width):
        return (stored * slope + intercept - (centre - width / 2)) / width

    def stretched(stored, slope, intercept, centre, width):
        hu = np.clip(stored * slope + intercept, centre - width / 2, centre + width / 2)
        return (hu - hu.min()) / np.ptp(hu)

    stretches = ["a picture of middle greys alone is not stretched to black and white"]
    assert all(verdict("window", seed, window=stretched) == stretches for seed in SEEDS)
    assert says("become HU", "window", window=hu_left_out)
    assert says("centre - width / 2 everything is black", "window", window=twice_as_wide)
    assert says("metal clip", "window", window=smallest_to_largest)
    assert says("everything is white", "window", window=not_cut_off)
    assert verdict("window", window=lambda *_: 0.5)


def resampled(array, affine, spacing_mm):
    """Smooth and resample with scipy, through the affines alone."""
    own = np.linalg.norm(affine[:3, :3], axis=0)
    factor = np.array(spacing_mm) / own
    new = affine @ np.diag([*factor, 1])
    new[:3, 3] += affine[:3, :3] @ ((factor - 1) / 2)
    sides = np.round(np.array(array.shape) / factor).astype(int)
    between = np.linalg.inv(affine) @ new
    return affine_transform(array, between[:3, :3], between[:3, 3], tuple(sides), order=1, mode="nearest"), new


def by_the_library(array, affine, spacing_mm):
    """What the lesson's text says."""
    new, sides = grid.finer(affine, array.shape, spacing_mm)
    return grid.linear(array[None], grid.places(new, sides, affine))[0], new


@pytest.mark.parametrize("seed", SEEDS)
def test_another_spacing_as_scipy_makes_it(seed):
    assert verdict("resample", seed, resampled=resampled) == []


@pytest.mark.parametrize("seed", [0, 26, 73, 99])  # the last three drew, once, an axis of nearly the spacing asked for
def test_another_spacing_as_the_library_makes_it(seed):
    assert verdict("resample", seed, resampled=by_the_library) == []


def test_wrong_spacings_are_told_what_is_wrong():
    def old_affine(array, affine, spacing_mm):
        return resampled(array, affine, spacing_mm)[0], affine

    def origin_kept(array, affine, spacing_mm):
        found, new = resampled(array, affine, spacing_mm)
        new[:3, 3] = affine[:3, 3]
        return found, new

    def affine_alone(array, affine, spacing_mm):
        return array, resampled(array, affine, spacing_mm)[1]

    def every_other(array, affine, spacing_mm):
        return array[::2, ::2], affine @ np.diag([2, 2, 1, 1])

    assert says("spacing is right", "resample", resampled=old_affine)
    assert says("has not moved", "resample", resampled=origin_kept)
    assert says("cover the same block", "resample", resampled=affine_alone)
    assert says("spacing is right", "resample", resampled=every_other)


def onto(mask, mask_affine, image_shape, image_affine):
    """What nibabel makes of it."""
    steps = ornt_transform(io_orientation(mask_affine), io_orientation(image_affine))
    assert np.array_equal(axcodes2ornt("RAS"), io_orientation(np.eye(4)))
    return np.asarray(nib.Nifti1Image(mask, mask_affine).as_reoriented(steps).dataobj)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_mask_on_its_image_as_nibabel_puts_it(seed):
    assert verdict("overlay", seed, onto=onto) == []


def test_wrong_overlays_are_told_what_is_wrong():
    def as_it_is(mask, *_):
        return mask

    def only_reordered(mask, mask_affine, image_shape, image_affine):
        axes = np.abs(mask_affine[:3, :3]).argmax(axis=0)
        return mask.transpose(np.argsort(axes))

    def one_class(*args):
        return onto(*args) > 0

    def upright(mask, mask_affine, *_):
        return Volume(mask[None], mask_affine).canonical().array[0]

    not_home = verdict("overlay", 1, onto=upright)
    assert not_home
    assert all("the image itself does not run" in name for name in not_home)
    assert says("from right to left lies right", "overlay", onto=as_it_is)
    assert says("axes in another order", "overlay", onto=as_it_is)
    left = verdict("overlay", 1, onto=only_reordered)
    assert any("from right to left" in name for name in left)
    assert not any("it is a cube" in name for name in left)
    assert says("reversed, in another order", "overlay", onto=one_class)


def clean(dataset):
    """Take away by recursion whatever is not needed; another way than the lesson's."""
    found = pydicom.Dataset.from_json(dataset.to_json_dict())
    for element in list(found):
        if element.keyword not in KEPT.values():
            del found[element.tag]
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_a_header_that_keeps_what_is_needed(seed):
    assert verdict("clean", seed, clean=clean) == []


def test_wrong_headers_are_told_what_is_left():
    def short_list(dataset):
        found = pydicom.Dataset.from_json(dataset.to_json_dict())
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "InstitutionName"):
            del found[keyword]
        return found

    def no_private(dataset):
        found = short_list(dataset)
        found.remove_private_tags()
        return found

    def in_place(dataset):
        for element in list(dataset):
            if element.keyword not in KEPT.values():
                del dataset[element.tag]
        return dataset

    def emptied(dataset):
        found = pydicom.Dataset.from_json(dataset.to_json_dict())
        found.remove_private_tags()
        for element in found.iterall():
            if element.VR in ("PN", "LO", "SH", "LT", "UI", "DA", "AE"):
                element.value = ""
        return found

    assert verdict("clean", 1, clean=emptied) == ["nothing else is there, not even an emptied element"]
    left = verdict("clean", 1, clean=short_list)
    for place in ("short lists leave out", "free text", "sequences", "private", "UIDs"):
        assert any(place in name for name in left), place
    left = verdict("clean", 1, clean=no_private)
    assert any("inside sequences" in name for name in left)
    assert not any("private" in name for name in left)
    assert verdict("clean", 1, clean=in_place) == ["the dataset that was given is still as it was"]
    assert verdict("clean", 1, clean=lambda _: pydicom.Dataset()) == [
        "the elements of KEEP are there, with their values"
    ]
    assert verdict("clean", 1, clean=lambda dataset: dataset)


def to_share(pixels, region):
    """Multiply with a mask of coordinates."""
    if region is None:
        return None
    row, column = np.indices(pixels.shape[:2])
    inside = (row - region["y0"]) * (region["y1"] - row) >= 0
    inside &= (column - region["x0"]) * (region["x1"] - column) >= 0
    return pixels * inside.reshape(*inside.shape, *[1] * (pixels.ndim - 2))


@pytest.mark.parametrize("seed", SEEDS)
def test_pixels_that_may_be_shared(seed):
    assert verdict("pixels", seed, to_share=to_share) == []


def test_wrong_pixels_are_told_what_is_wrong():
    def one_too_few(pixels, region):
        return None if region is None else to_share(pixels, {**region, "x1": region["x1"] - 1, "y1": region["y1"] - 1})

    def exchanged(pixels, region):
        if region is None:
            return None
        return to_share(pixels, {"x0": region["y0"], "x1": region["y1"], "y0": region["x0"], "y1": region["x1"]})

    def everything(pixels, region):
        return pixels if region is None else to_share(pixels, region)

    def cut_out(pixels, region):
        return None if region is None else pixels[region["y0"] : region["y1"] + 1, region["x0"] : region["x1"] + 1]

    def in_place(pixels, region):
        if region is not None:
            pixels[: region["y0"]] = 0
        return None if region is None else to_share(pixels, region)

    def as_real_numbers(pixels, region):
        return None if region is None else to_share(pixels, region) / 1

    assert verdict("pixels", 1, to_share=as_real_numbers) == ["the type of the pixels is kept"]
    assert says("the last row and column", "pixels", to_share=one_too_few)
    assert says("x counts columns", "pixels", to_share=exchanged)
    assert verdict("pixels", 1, to_share=everything) == ["where no rectangle is known, nothing is shared: None"]
    assert says("the shape is kept", "pixels", to_share=cut_out)
    assert verdict("pixels", 1, to_share=in_place) == ["the pixels that were given are still as they were"]
