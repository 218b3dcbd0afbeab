from __future__ import annotations

import io

import numpy as np
from PIL import Image

from ai4diag.data.similar import alike, alike_findings, fingerprint
from ai4diag.data.smear import make_patient, make_smear


def fields(count: int) -> list[np.ndarray]:
    return [make_smear(make_patient(n, 7), np.random.default_rng([7, n])).image for n in range(count)]


def saved_again(image: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream)).transpose(2, 0, 1)


def test_only_the_image_that_was_saved_again_is_found() -> None:
    images = fields(20)
    images.append(saved_again(images[3], 60))
    assert alike(np.array([fingerprint(image) for image in images])) == [(3, 20)]


def test_empty_images_are_alike_to_none() -> None:
    flat = np.full((3, 64, 64), 200, np.uint8)
    assert alike(np.array([fingerprint(flat), fingerprint(flat)])) == []


def test_images_of_one_patient_and_exact_copies_are_not_reported_here() -> None:
    pairs, ids = [(0, 1)], ["a", "b"]
    assert alike_findings(pairs, ids, ["p", "p"], ["x", "y"]) == []
    assert alike_findings(pairs, ids, ["p", "q"], ["x", "x"]) == []
    (finding,) = alike_findings(pairs, ids, ["p", "q"], ["x", "y"])
    assert "a and b" in finding.found
