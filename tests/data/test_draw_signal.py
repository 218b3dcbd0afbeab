"""A drawn signal shows what is in it: where it rises, how many channels there are."""

from __future__ import annotations

import numpy as np
import pytest

from ai4diag.data.draw_signal import INK, draw_signal


def middle_of_ink(image: np.ndarray) -> np.ndarray:
    rows = np.arange(len(image))[:, None]
    inked = image[..., 0] == INK
    assert inked.any(axis=0).all()
    return (rows * inked).sum(axis=0) / inked.sum(axis=0)


def test_a_slope_goes_up() -> None:
    place = middle_of_ink(draw_signal(np.linspace(-3, 5, 50)[None]))
    assert (np.diff(place) <= 0).all()
    assert place[0] > 110
    assert place[-1] < 6


def test_a_peak_is_where_it_is() -> None:
    values = np.exp(-(((np.arange(144) - 54) / 4) ** 2))
    place = middle_of_ink(draw_signal(values[None]))
    assert place.argmin() / 288 == pytest.approx(54 / 143, abs=0.02)


def test_channels_stand_below_each_other_and_a_constant_is_a_line() -> None:
    image = draw_signal(np.stack([np.zeros(100), np.arange(100.0), -np.arange(100.0)]))
    assert image.shape == (120, 288, 3)
    assert image.dtype == np.uint8
    first, second, third = (middle_of_ink(part) for part in np.split(image, 3))
    assert np.ptp(first) == 0
    assert second[0] > second[-1]
    assert third[0] < third[-1]
    assert draw_signal(np.random.default_rng(0).normal(size=(12, 1000))).shape == (336, 288, 3)
