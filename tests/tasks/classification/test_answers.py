"""Losses and probabilities of each target against torch's own and hand-computed ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ai4diag.tasks.classification import answers


def logits(target, classes, members=2, cases=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(members, cases, answers.outputs(target, classes), generator=generator)


def test_loss_of_classes_is_cross_entropy_with_label_smoothing_and_weights():
    out, truth = logits("multiclass", 4), torch.tensor([0, 1, 2, 3, 0, 0, 1])
    expected = torch.stack([F.cross_entropy(one, truth, label_smoothing=0.1) for one in out]).mean()
    torch.testing.assert_close(answers.loss("multiclass", out, truth, 4, 0.1, None), expected)
    weights = answers.class_weights("multiclass", truth, 4)
    by_hand = torch.stack([F.cross_entropy(one, truth, reduction="none") * weights[truth] for one in out]).mean()
    torch.testing.assert_close(answers.loss("multiclass", out, truth, 4, 0.0, weights), by_hand)


def test_loss_of_two_classes_is_that_of_a_softmax_over_both():
    out, truth = logits("binary", 2), torch.tensor([0, 1, 1, 0, 1, 0, 0])
    both = torch.cat([torch.zeros_like(out), out], dim=2)
    expected = torch.stack([F.cross_entropy(one, truth, label_smoothing=0.2) for one in both]).mean()
    torch.testing.assert_close(answers.loss("binary", out, truth, 2, 0.2, None), expected)


def test_loss_of_findings_is_the_mean_over_them():
    out, truth = logits("multilabel", 3), torch.randint(0, 2, (7, 3), generator=torch.Generator().manual_seed(2))
    expected = F.binary_cross_entropy_with_logits(out, truth.float().expand_as(out))
    torch.testing.assert_close(answers.loss("multilabel", out, truth, 3, 0.0, None), expected)


def test_class_weights_give_every_class_the_same_sum():
    truth = torch.tensor([0] * 90 + [1] * 9 + [2])
    weights = answers.class_weights("multiclass", truth, 4)
    sums = [float(weights[k] * (truth == k).sum()) for k in range(4)]
    assert sums == pytest.approx([100 / 3, 100 / 3, 100 / 3, 0])
    assert float(weights[truth].mean()) == pytest.approx(1)
    rare = torch.zeros(1000, 2, dtype=torch.int64)
    rare[0, 0], rare[:500, 1] = 1, 1
    there, not_there = answers.class_weights("multilabel", rare, 2)
    assert there.tolist() == [answers.HEAVIEST, 1]
    assert not_there.tolist() == pytest.approx([0.5 / 0.999, 1])


@pytest.mark.parametrize(("target", "classes"), [("multiclass", 5), ("ordinal", 5), ("ordinal", 2)])
def test_probabilities_are_probabilities(target, classes):
    found = answers.probabilities(target, 5 * logits(target, classes, cases=50))
    assert found.shape == (2, 50, classes)
    assert float(found.min()) >= 0
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(2, 50))


def test_probabilities_of_a_scale_by_hand():
    out = torch.tensor([[math.log(3), 0.0, math.log(1 / 3)]])  # above the steps: 0.75, 0.5, 0.25
    torch.testing.assert_close(answers.probabilities("ordinal", out), torch.full((1, 4), 0.25))
    crossed = torch.tensor([[0.0, math.log(3)]])  # 0.5, then 0.75, which is taken for 0.5
    torch.testing.assert_close(answers.probabilities("ordinal", crossed), torch.tensor([[0.5, 0.0, 0.5]]))


def test_what_is_wanted_of_a_scale_is_to_lie_above_each_step():
    found = answers.wanted("ordinal", torch.tensor([0, 2, 3]), 4)
    assert found.tolist() == [[0, 0, 0], [1, 1, 0], [1, 1, 1]]


def test_columns_of_predictions():
    one = answers.table("binary", np.array([[0.25]], np.float32), ["normal", "ill"])
    assert one.to_dict("list") == {"score": [0.25]}
    many = answers.table("multilabel", np.array([[0.25, 0.5]], np.float32), ["oedema", "effusion"])
    assert many.to_dict("list") == {"score_oedema": [0.25], "score_effusion": [0.5]}
