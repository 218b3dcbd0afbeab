"""The plan against sizes worked out by hand."""

import numpy as np
import pytest

from ai4diag.config.segmentation import UNet
from ai4diag.data.volume_plan import Fingerprint, Plan, make_plan, page, plan_spacing, step_bytes
from ai4diag.errors import ConfigError


def fingerprint(sides=(35.5, 50.0, 35.0), spacing=(1.0, 1.0, 1.0), most=None, channels=("T1",)):
    most = most or tuple(int(side) + 6 for side in sides)
    return Fingerprint(70, spacing, spacing, sides, spacing, sides, most, channels, ("front", "back"), (0.03, 0.02))


def test_the_hippocampus_gets_the_patch_of_nnu_net():
    plan = make_plan(fingerprint(), UNet(), 4)
    assert plan.patch == (40, 56, 40)
    assert plan.strides == ((2, 2, 2),) * 3
    assert plan.widths == (16, 32, 64, 128)
    assert (plan.dimensions, plan.across, plan.window) == (3, None, None)
    assert plan.multiple == (8, 8, 8)


def test_thick_layers_are_halved_later():
    plan = make_plan(fingerprint((160.0, 160.0, 20.0), (0.6, 0.6, 3.6)), UNet(memory_gb=40), 2)
    assert plan.strides[:2] == ((2, 2, 1), (2, 2, 1))  # 0.6 -> 1.2 -> 2.4 mm, then all three axes are alike
    assert plan.strides[2] == (2, 2, 2)
    assert plan.patch[2] % 4 == 0
    assert 20 <= plan.patch[2] < 24


def test_large_volumes_get_a_patch_that_fits_into_memory():
    large = fingerprint((250.0, 250.0, 200.0), most=(512, 512, 400))
    small, big = (make_plan(large, UNet(memory_gb=size), 2) for size in (2, 20))
    for plan, size in ((small, 2), (big, 20)):
        assert 2 * step_bytes(plan.patch, plan.strides, plan.widths, 2) <= size * 1e9
        assert plan.most_batch >= 2
        ratio = np.array(plan.patch) / (250, 250, 200)
        assert ratio.max() / ratio.min() < 1.5  # shrunk evenly
    assert np.prod(big.patch) > 5 * np.prod(small.patch)


def test_single_layers_make_two_dimensions():
    plan = make_plan(fingerprint((200.0, 180.0, 1.0), (0.5, 0.5, 5.0), (256, 256, 1)), UNet(), 4)
    assert (plan.dimensions, plan.across) == (2, 2)
    assert plan.patch[2] == 1
    assert all(stride[2] == 1 for stride in plan.strides)
    with pytest.raises(ConfigError, match="one layer"):
        make_plan(fingerprint((200.0, 180.0, 1.0), most=(256, 256, 1)), UNet(dimensions=3), 4)


def test_two_dimensions_cut_across_the_thickest_axis():
    plan = make_plan(fingerprint((160.0, 20.0, 160.0), (0.6, 5.0, 0.6)), UNet(dimensions=2), 4)
    assert (plan.dimensions, plan.across) == (2, 1)


def test_what_the_recipe_sets_is_taken():
    model = UNet(patch=(32, 48, 32), width=24, stages=3, convolutions=3, outputs=9, window=(32, 32, 32), most_width=50)
    plan = make_plan(fingerprint(), model, 4)
    assert plan.patch == (32, 48, 32)
    assert plan.widths == (24, 48, 50)
    assert (plan.convolutions, plan.outputs, plan.window) == (3, 2, (32, 32, 32))
    text = page(plan, fingerprint(), model)
    assert "4: 16, 32, 64, 128 channels\n" in page(make_plan(fingerprint(), UNet(), 4), fingerprint(), UNet())
    for words in (
        "3 convolutions  (recipe)",
        "32 x 48 x 32 voxels  (recipe)",
        "24, 48, 50 channels  (recipe)",
        "70 in training",
        "front 3.00%",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("model", "batch", "said"),
    [
        (UNet(patch=(32, 50, 32)), 4, "side 2 must be a multiple of 8"),
        (UNet(window=(32, 50, 32)), 4, "model.window is 32 x 50 x 32; with 4 stages side 2 must be a multiple of 8"),
        (UNet(window=(8, 8, 8)), 4, "model.window is 8 x 8 x 8; with 4 stages one voxel is left"),
        (UNet(patch=(8, 8, 8), stages=4), 4, "model.patch is 8 x 8 x 8; with 4 stages one voxel is left"),
        (UNet(dimensions=2, patch=(32, 32, 8)), 4, "in two dimensions it is 1 along axis 1"),
        (UNet(patch=(4, 4, 4)), 4, "too small for two stages"),
        (UNet(patch=(64, 64, 64), memory_gb=0.5), 64, "Lower train.batch_size to"),
        (UNet(patch=(512, 512, 512), memory_gb=0.5), 1, "Choose a smaller model.patch"),
    ],
)
def test_what_cannot_be_is_refused(model, batch, said):
    with pytest.raises(ConfigError, match=said):
        make_plan(fingerprint(), model, batch)


def test_volumes_larger_than_the_patch_are_predicted_in_windows():
    large = fingerprint((250.0, 250.0, 200.0), most=(512, 512, 400))
    assert make_plan(large, UNet(memory_gb=2), 2).window == make_plan(large, UNet(memory_gb=2), 2).patch
    assert make_plan(large, UNet(memory_gb=2, window="whole"), 2).window is None
    assert make_plan(fingerprint(), UNet(patch=(32, 48, 32)), 2).window == (32, 48, 32)


def test_spacing_is_the_median_and_finer_across_thick_layers():
    spacing = np.array([[1.0, 1.0, 1.0], [0.9, 1.0, 1.2], [1.1, 1.0, 1.1]])
    assert plan_spacing(spacing, np.full((3, 3), 100)) == (1.0, 1.0, 1.1)
    thick = np.tile([0.5, 0.5, 6.0], (10, 1))
    thick[:3, 2] = 3.0
    assert plan_spacing(thick, np.tile([320, 320, 24], (10, 1)))[2] == pytest.approx(3.0)
    assert plan_spacing(thick, np.tile([60, 60, 60], (10, 1)))[2] == pytest.approx(6.0)


def test_a_plan_comes_back_from_json():
    import json

    plan = make_plan(fingerprint(), UNet(window=(40, 40, 40)), 4)
    assert Plan.from_dict(json.loads(json.dumps(plan.as_dict()))) == plan
