"""Windows against numpy slices, resampling against scipy and against a sine, rhythm against a table made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import decimate

from ai4diag.data.windows import bridge, cut, resample, rhythm, starts_around, starts_of_fixed


def test_windows_are_slices() -> None:
    signals = np.random.default_rng(0).normal(size=(3, 200)).astype(np.float32)
    starts = np.array([0, 17, 150, 17])
    found = cut(signals, starts, 50)
    for window, start in zip(found, starts, strict=True):
        np.testing.assert_array_equal(window, signals[:, start : start + 50])
    assert found.flags["C_CONTIGUOUS"]


def test_windows_around_times_hold_the_time_at_the_same_place() -> None:
    signal = np.zeros((1, 1000), np.float32)
    times = np.array([1.0, 2.504, 3.996])
    signal[0, np.round(times * 100).astype(int)] = 1
    found = cut(signal, starts_around(times, 0.3, 100), 80)
    assert found.argmax(axis=2).ravel().tolist() == [30, 30, 30]


@pytest.mark.parametrize(("samples", "length", "step"), [(10, 4, 4), (10, 4, 3), (3, 4, 1), (4, 4, 9), (11, 1, 2)])
def test_fixed_windows_are_those_of_a_loop(samples: int, length: int, step: int) -> None:
    expected = [start for start in range(0, samples, step) if start + length <= samples]
    assert starts_of_fixed(samples, length, step).tolist() == expected


@pytest.mark.parametrize("wanted", [100, 125, 250, 500, 128])
def test_a_slow_sine_keeps_its_times_at_every_rate(wanted: float) -> None:
    time = np.arange(0, 10, 1 / 250)
    signals = np.stack([np.sin(2 * np.pi * 3 * time), np.cos(2 * np.pi * 5 * time)]).astype(np.float32)
    found = resample(signals, 250, wanted)
    at = np.arange(found.shape[1]) / wanted
    inside = (at > 0.5) & (at < 9.5)
    np.testing.assert_allclose(found[0, inside], np.sin(2 * np.pi * 3 * at[inside]), atol=0.01)
    np.testing.assert_allclose(found[1, inside], np.cos(2 * np.pi * 5 * at[inside]), atol=0.01)


def test_what_the_new_rate_cannot_carry_is_cut() -> None:
    time = np.arange(0, 10, 1 / 360)
    slow = np.sin(2 * np.pi * 2 * time)
    fast = np.sin(2 * np.pi * 85 * time)
    found = resample((slow + fast).astype(np.float32)[None], 360, 120)[0, 60:-60]
    other = decimate(slow + fast, 3, ftype="fir")[60:-60]
    np.testing.assert_allclose(found, slow[::3][60:-60], atol=0.02)
    np.testing.assert_allclose(found, other, atol=0.02)


def test_the_same_rate_changes_nothing_but_gaps() -> None:
    signals = np.array([[0.0, 1.0, np.nan, np.nan, 4.0], [np.nan] * 5, [2.0] * 5], np.float32)
    np.testing.assert_array_equal(resample(signals, 100, 100), [[0, 1, 2, 3, 4], [0] * 5, [2] * 5])
    np.testing.assert_array_equal(bridge(signals[2:]), signals[2:])


def test_rhythm_against_a_table_made_by_hand() -> None:
    intervals = np.array([1.0, 1.0, 0.5, 1.5, 1.0, 1.0])
    found = rhythm(np.concatenate([[0.0], np.cumsum(intervals)]))
    # the first five intervals before and after each beat, of six in all
    local = [intervals[:5].mean(), *[intervals.mean()] * 5, intervals[1:].mean()]
    np.testing.assert_allclose(found[:, 0], [np.nan, *(intervals / local[1:])])
    np.testing.assert_allclose(found[:, 1], [*(intervals / local[:-1]), np.nan])


def test_rhythm_looks_no_further_than_ten_intervals() -> None:
    slow, fast = [2.0] * 20, [0.5] * 20
    found = rhythm(np.concatenate([[0.0], np.cumsum(slow + fast)]))
    assert found[10].tolist() == [1, 1]
    assert found[30].tolist() == [1, 1]
    assert found[20].tolist() == [2.0 / 1.25, 0.5 / 1.25]


def test_rhythm_without_neighbours_or_across_a_gap_is_unknown() -> None:
    assert np.isnan(rhythm(np.array([3.0]))).all()
    assert rhythm(np.array([])).shape == (0, 2)
    found = rhythm(np.array([0.0, 1.0, 9.0, 10.0]))
    np.testing.assert_array_equal(np.isnan(found), [[True, False], [False, True], [True, False], [False, True]])
    np.testing.assert_array_equal(found[1], [1, np.nan])
