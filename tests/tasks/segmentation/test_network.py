"""The U-Net's shapes, and that its answer for a case does not depend on the others; the loss against MONAI's."""

import pytest
import torch

from ai4diag.tasks.segmentation.loss import SMOOTH, dice_and_cross_entropy, losses
from ai4diag.tasks.segmentation.network import UNet


@pytest.mark.parametrize(
    ("dimensions", "strides", "size"),
    [(3, [(2, 2, 2), (2, 2, 1)], (8, 12, 6)), (2, [(2, 2), (2, 2)], (8, 12)), (3, [(2, 2, 1)], (4, 6, 5))],
)
@pytest.mark.parametrize("residual", [False, True])
def test_answers_have_the_size_of_the_image_and_coarser_ones_that_of_their_stage(dimensions, strides, size, residual):
    network = UNet(dimensions, 2, 3, [4, 8, 8][: len(strides) + 1], strides, residual=residual, outputs=5)
    answers = network(torch.randn(2, 2, *size))
    assert len(answers) == len(strides)
    assert answers[0].shape == (2, 3, *size)
    if len(answers) > 1:
        assert answers[1].shape == (2, 3, *(side // step for side, step in zip(size, strides[0], strict=True)))
    network.eval()
    assert len(network(torch.randn(1, 2, *size))) == 1


def test_every_weight_learns():
    network = UNet(3, 1, 2, [4, 8], [(2, 2, 2)], outputs=1)
    answers = network(torch.randn(2, 1, 8, 8, 8))
    losses(answers, torch.randint(0, 2, (2, 1, 8, 8, 8)), [(2, 2, 2)])["loss"].backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in network.parameters())


def test_a_case_is_answered_alike_alone_and_among_others():
    torch.manual_seed(0)
    network = UNet(3, 1, 2, [4, 8], [(2, 2, 2)]).eval()
    images = torch.randn(3, 1, 8, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(network(images)[0][1:2], network(images[1:2])[0], atol=1e-5, rtol=1e-4)


def test_the_loss_is_that_of_monai():
    from monai.losses import DiceLoss

    torch.manual_seed(3)
    logits, masks = torch.randn(3, 4, 5, 6, 7), torch.randint(0, 4, (3, 1, 5, 6, 7))
    dice, entropy = dice_and_cross_entropy(logits, masks)
    oracle = DiceLoss(
        include_background=False, to_onehot_y=True, softmax=True, batch=True, smooth_nr=SMOOTH, smooth_dr=SMOOTH
    )
    torch.testing.assert_close(dice, oracle(logits, masks))
    torch.testing.assert_close(entropy, torch.nn.functional.cross_entropy(logits, masks[:, 0]))


def test_a_perfect_answer_has_no_loss_and_an_absent_class_none_either():
    masks = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    masks[..., :2, :] = 1
    logits = torch.stack([masks[:, 0] == number for number in range(3)], 1) * 60.0
    dice, entropy = dice_and_cross_entropy(logits, masks)
    assert float(dice) == pytest.approx(0, abs=1e-6)
    assert float(entropy) == pytest.approx(0, abs=1e-6)


def test_coarser_answers_weigh_half():
    torch.manual_seed(4)
    fine, coarse = torch.randn(1, 2, 4, 6), torch.randn(1, 2, 2, 3)
    masks = torch.randint(0, 2, (1, 1, 4, 6))
    first = sum(dice_and_cross_entropy(fine, masks))
    second = sum(dice_and_cross_entropy(coarse, masks[..., ::2, ::2]))
    found = losses([fine, coarse], masks, [(2, 2)])
    torch.testing.assert_close(found["loss"], (first + second / 2) / 1.5)
    torch.testing.assert_close(found["dice_loss"] + found["cross_entropy"], first)
