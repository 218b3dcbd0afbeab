"""Windows against MONAI's sliding window, closed forms and one pass over everything."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from ai4diag.tasks.segmentation.windows import LEAST_WEIGHT, slide, starts, weights


@pytest.mark.parametrize("side", [10, 11, 16, 23, 64])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.8])
def test_windows_cover_everything_and_overlap_enough(side, overlap):
    window = 10
    found = starts(side, window, overlap)
    assert found[0] == 0
    assert found[-1] == max(side - window, 0)
    steps = [after - before for before, after in pairwise(found)]
    assert all(0 < step <= max(1, int(window * (1 - overlap))) for step in steps)


def test_weights_are_those_of_monai():
    from monai.data.utils import compute_importance_map

    expected = compute_importance_map((6, 9, 8), mode="gaussian", sigma_scale=0.125, device="cpu")
    found = weights((6, 9, 8))
    torch.testing.assert_close(
        found / found.max(), (expected / expected.max()).clamp(min=LEAST_WEIGHT), atol=2e-3, rtol=0
    )


def test_a_pointwise_answer_is_that_of_one_pass():
    torch.manual_seed(0)
    network = nn.Conv3d(2, 3, 1)
    image = torch.randn(2, 19, 14, 11)
    with torch.inference_mode():
        for overlap in (0.0, 0.5):
            found = slide(image, (8, 8, 8), overlap, network, at_once=3)
            torch.testing.assert_close(found, network(image[None])[0], atol=1e-5, rtol=1e-5)


def test_one_window_is_one_pass():
    torch.manual_seed(1)
    network = nn.Conv3d(1, 2, 3, padding=1)
    image = torch.randn(1, 8, 9, 10)
    with torch.inference_mode():
        torch.testing.assert_close(
            slide(image, (8, 9, 10), 0.5, network, 1), network(image[None])[0], atol=1e-6, rtol=1e-5
        )


def test_windows_that_do_not_overlap_are_separate_passes():
    torch.manual_seed(1)
    network = nn.Conv2d(1, 2, 3, padding=1)
    image = torch.randn(1, 8, 12)
    with torch.inference_mode():
        found = slide(image, (8, 6), 0.0, network, 2)
        expected = torch.cat([network(image[None, :, :, :6])[0], network(image[None, :, :, 6:])[0]], 2)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_overlapping_windows_are_those_of_monai():
    from monai.inferers import sliding_window_inference

    torch.manual_seed(2)
    network = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 2, 3, padding=1))
    image = torch.randn(1, 16, 12, 20)  # sides at which both place their windows alike
    with torch.inference_mode():
        expected = sliding_window_inference(
            image[None], (8, 8, 8), 2, network, overlap=0.5, mode="gaussian", sigma_scale=0.125
        )[0]
        found = slide(image, (8, 8, 8), 0.5, network, 2)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)
