"""Copies of pictures, volumes and signals are found in whatever form; different patients are not taken for copies."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom

from ai4diag.data.leaks.align import agreement
from ai4diag.data.leaks.copies import details, look_alikes, small_picture, small_volume
from ai4diag.data.leaks.signals import similar_signals
from ai4diag.data.smear import make_patient, make_smear

COUNT = 40


@pytest.fixture(scope="module")
def fields() -> list[np.ndarray]:
    """Blood smears of 40 patients, uint8 `(3, rows, columns)`."""
    return [make_smear(make_patient(n, 7), np.random.default_rng([7, n])).image for n in range(COUNT)]


@pytest.fixture(scope="module")
def chests() -> list[np.ndarray]:
    """Pictures with one anatomy and a texture of each patient's own, as in standard views: uint8 `(1, 64, 64)`."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[-1:1:64j, -1:1:64j]
    lungs = sum(np.exp(-(((columns - side) / 0.3) ** 2) - (rows / 0.6) ** 2) for side in (-0.45, 0.45))
    own = [gaussian_filter(rng.normal(size=(64, 64)), 2) for _ in range(COUNT)]
    return [np.clip(40 + 120 * lungs + 90 * one / one.std() * 0.15, 0, 255).astype(np.uint8)[None] for one in own]


def picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))


def array(image: Image.Image) -> np.ndarray:
    found = np.asarray(image)
    return found[None] if found.ndim == 2 else found.transpose(2, 0, 1)


def saved_again(image: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    picture(image).save(stream, "JPEG", quality=quality)
    return array(Image.open(stream))


def resized(image: np.ndarray, factor: float) -> np.ndarray:
    rows, columns = image.shape[1:]
    return array(picture(image).resize((round(columns * factor), round(rows * factor)), Image.Resampling.BICUBIC))


def cropped(image: np.ndarray, share: float) -> np.ndarray:
    rows, columns = (round(side * share) for side in image.shape[1:])
    return image[:, rows : image.shape[1] - rows // 2, columns // 2 : image.shape[2] - columns]


COPIES = {
    "saved as JPEG": (lambda image: saved_again(image, 40), ""),
    "half the size": (lambda image: resized(image, 0.5), ""),
    "twice the size, other aspect": (lambda image: resized(resized(image, 2)[:, :, ::2], 1), ""),
    "cropped": (lambda image: cropped(image, 0.06), ""),
    "brighter": (lambda image: np.clip(image.astype(float) * 1.3 + 10, 0, 255).astype(np.uint8), ""),
    "other gamma": (lambda image: (255 * (image / 255) ** 1.6).astype(np.uint8), ""),
    "mirrored": (lambda image: image[:, :, ::-1], "mirrored"),
    "turned": (lambda image: np.rot90(image, axes=(1, 2)), "turned by"),
    "mirrored, smaller, saved again": (lambda image: saved_again(resized(image[:, :, ::-1], 0.6), 60), "mirrored"),
}


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("modality", ["fields", "chests"])
def test_a_copy_is_found_in_whatever_form(kind: str, modality: str, request: pytest.FixtureRequest) -> None:
    images = request.getfixturevalue(modality)
    change, way = COPIES[kind]
    small = np.stack([small_picture(np.ascontiguousarray(one)) for one in [*images, change(images[5])]])
    (pair,) = look_alikes(small, np.arange(len(small)))
    assert (pair.first, pair.second, pair.sure) == (5, COUNT, True)
    assert way in pair.way
    assert bool(way) == bool(pair.way)


@pytest.mark.parametrize("modality", ["fields", "chests"])
def test_different_patients_are_not_copies(modality: str, request: pytest.FixtureRequest) -> None:
    small = np.stack([small_picture(image) for image in request.getfixturevalue(modality)])
    assert look_alikes(small, np.arange(len(small))) == []


def test_many_copies_of_one_picture_are_found_although_each_has_rivals(fields: list[np.ndarray]) -> None:
    copies = [saved_again(fields[0], quality) for quality in (60, 70, 80, 85, 90, 95, 98)]
    small = np.stack([small_picture(image) for image in [*fields, *copies]])
    pairs = look_alikes(small, np.arange(len(small)))
    assert all(pair.sure for pair in pairs)
    assert {row for pair in pairs for row in (pair.first, pair.second)} == {0, *range(COUNT, COUNT + 7)}


def test_cases_of_one_patient_are_not_compared(fields: list[np.ndarray]) -> None:
    small = np.stack([small_picture(image) for image in [*fields, saved_again(fields[0], 60)]])
    assert look_alikes(small, np.array([*range(COUNT), 0])) == []


def test_views_of_few_patients_are_never_compared_with_their_own(fields: list[np.ndarray]) -> None:
    """Where fewer than five cases are of other patients, candidates run out; no case is then its own copy."""
    small = np.stack([small_picture(np.roll(fields[n // 4], 3 * (n % 4), axis=2)) for n in range(16)])
    for patients in ([0] * 13 + [1] * 3, [0] * 15 + [1], [0] * 16):
        for pair in look_alikes(small, np.array(patients)):
            assert patients[pair.first] != patients[pair.second]
    known = beats(16)
    signals = np.concatenate([known, known[:1] * 2])
    (found,) = similar_signals(signals, np.array([0] * 16 + [1]), np.arange(17))
    assert (found.first, found.second) == (0, 16)
    assert similar_signals(signals, np.zeros(17, np.int64), np.arange(17)) == []


def test_empty_pictures_are_like_none_and_small_sets_give_no_certainty(fields: list[np.ndarray]) -> None:
    flat = np.stack([small_picture(np.full((3, 50, 50), value, np.uint8)) for value in range(20)])
    assert look_alikes(flat, np.arange(20)) == []
    two = [small_picture(image) for image in [*fields[:14], fields[20], fields[21], saved_again(fields[20], 95)]]
    (pair,) = look_alikes(np.stack(two), np.array([0] * 14 + [1, 1, 0]), np.array([16]))
    assert not pair.sure  # only two cases of another patient: no rival
    few = np.stack([small_picture(image) for image in [*fields[:5], saved_again(fields[0], 95)]])
    (pair,) = look_alikes(few, np.arange(6))
    assert not pair.sure
    assert look_alikes(few[:1], np.arange(1)) == []
    assert look_alikes(few, np.arange(6), np.zeros(0, np.int64)) == []


def test_only_the_rows_asked_for_are_looked_up(fields: list[np.ndarray]) -> None:
    small = np.stack([small_picture(image) for image in [*fields, resized(fields[3], 0.5)]])
    assert look_alikes(small, np.arange(len(small)), np.array([7, 8])) == []
    assert len(look_alikes(small, np.arange(len(small)), np.array([3]))) == 1


def test_alignment_undoes_a_crop_and_says_how_far_pictures_agree(fields: list[np.ndarray]) -> None:
    own, other = small_picture(fields[0]), small_picture(fields[1])
    crop = small_picture(cropped(fields[0], 0.06))
    unit = details(np.stack([own, crop, other]))
    before = float((unit[0] * unit[1]).sum())
    aligned, strangers = agreement(unit[[0, 0]], unit[[1, 2]])
    assert before < 0.9 < aligned
    assert strangers < 0.7
    np.testing.assert_allclose(agreement(unit[:1], unit[:1]), 1, atol=1e-5)
    assert len(agreement(unit[:0], unit[:0])) == 0


def volumes(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(11)
    return [gaussian_filter(rng.normal(size=(30, 40, 24)), 2).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize(
    ("change", "way"),
    [
        (lambda volume: zoom(volume, 0.5, order=1), ""),
        (lambda volume: zoom(volume, 1.4, order=1), ""),
        (lambda volume: volume[1:-1, 1:-2, 1:], ""),
        (lambda volume: 40 * volume + 1000, ""),
        (lambda volume: volume[::-1], "mirrored"),
    ],
)
def test_a_copy_of_a_volume_is_found(change: object, way: str) -> None:
    known = volumes(30)
    small = np.stack([small_volume(one) for one in [*known, change(known[4])]])  # type: ignore[operator]
    (pair,) = look_alikes(small, np.arange(31))
    assert (pair.first, pair.second, pair.sure, pair.way) == (4, 30, True, way)


def test_a_volume_made_small_keeps_its_mean_and_its_places() -> None:
    volume = volumes(1)[0]
    assert small_volume(volume).mean() == pytest.approx(volume.mean(), abs=1e-5)
    blocks = np.arange(32.0).repeat(16).reshape(32, 4, 4)
    np.testing.assert_allclose(small_volume(blocks)[:, 0, 0], np.arange(16) * 2 + 0.5)


def beats(count: int, channels: int = 2) -> np.ndarray:
    """One heart beat with the noise of each recording: what all have in common is large."""
    time = np.linspace(-1, 1, 120)
    shape = np.exp(-((time / 0.05) ** 2)) - 0.2 * np.exp(-(((time - 0.3) / 0.1) ** 2))
    noise = np.random.default_rng(2).normal(0, 0.02, (count, channels, 120))
    return (shape + noise).astype(np.float32)


def test_a_copied_signal_is_found_among_beats_of_one_shape() -> None:
    known = beats(60)
    copy = np.round(known[9] * 1.5 * 200) / 200 - 0.3
    both = np.concatenate([known, copy[None].astype(np.float32)])
    (pair,) = similar_signals(both, np.arange(61), np.arange(61))
    assert (pair.first, pair.second, pair.sure) == (9, 60, True)
    assert similar_signals(known, np.arange(60), np.arange(60)) == []
    assert similar_signals(known * 0, np.arange(60), np.arange(60)) == []
    assert similar_signals(known[:1], np.arange(1), np.arange(1)) == []


def test_long_signals_are_found_by_projection_and_confirmed_whole() -> None:
    known = np.random.default_rng(4).normal(size=(50, 12, 500)).astype(np.float32).cumsum(axis=-1)
    copy = known[20] + np.random.default_rng(5).normal(0, 0.1, known[20].shape)
    both = np.concatenate([known, copy[None].astype(np.float32)])
    (pair,) = similar_signals(both, np.arange(51), np.array([50]))
    assert (pair.first, pair.second, pair.sure) == (20, 50, True)
