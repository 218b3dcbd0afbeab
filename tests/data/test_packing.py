"""Packed images on disk, and what describes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ai4diag.data import packing


@pytest.mark.parametrize("block", [1, 100, 1 << 24])
def test_moments_are_those_of_numpy_whatever_the_block(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "BLOCK_BYTES", block)
    images = np.random.default_rng(1).integers(0, 256, (9, 2, 5, 4, 3), np.uint8)
    images[:, 1] |= 240
    rows = np.array([0, 2, 3, 8])
    mean, spread = packing.channel_moments(images, rows)
    np.testing.assert_allclose(mean, images[rows].mean(axis=(0, 2, 3, 4)), rtol=1e-13)
    np.testing.assert_allclose(spread, images[rows].std(axis=(0, 2, 3, 4)), rtol=1e-10)


def test_white_images_do_not_overflow() -> None:
    mean, spread = packing.channel_moments(np.full((300, 1, 60, 60), 255, np.uint8), np.arange(300))
    assert (mean.tolist(), spread.tolist()) == ([255.0], [0.0])


def test_the_memory_map_is_gone_afterwards_even_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), packing.memory_map(tmp_path, (2, 1, 3, 3)) as packed:
        packed[:] = 7
        assert list(tmp_path.iterdir())
        raise RuntimeError
    assert not list(tmp_path.iterdir())
