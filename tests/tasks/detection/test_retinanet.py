"""RetinaNet without torchvision, against MONAI's own parts and hand-made cases."""

import sys

import pytest
import torch

from ai4diag.errors import TrainingError
from ai4diag.tasks.detection.boxes import Truth
from ai4diag.tasks.detection.retinanet import RetinaNetwork, _focal


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return RetinaNetwork(classes=2, channels=3, backbone="resnet10", pyramid=16)


def truth_with(boxes, labels, real=None, ignore=None):
    labels = torch.tensor(labels)
    real = torch.ones_like(labels, dtype=torch.bool) if real is None else torch.tensor(real)
    ignore = torch.zeros_like(real) if ignore is None else torch.tensor(ignore)
    return Truth(torch.tensor(boxes, dtype=torch.float32), labels, real, ignore)


def test_it_needs_no_torchvision(network):
    network(torch.zeros(1, 3, 64, 64))
    assert "torchvision" not in sys.modules


def test_shapes_and_anchors(network):
    logits, codes, anchors = network(torch.zeros(2, 3, 64, 96))
    places = 16 * 24 + 8 * 12 + 4 * 6 + 2 * 3
    assert logits.shape == (2, places, 2)
    assert codes.shape == (2, places, 4)
    assert anchors.shape == (places, 4)
    assert anchors[0].tolist() == [-6, -6, 10, 10]  # 16 pixels around the centre of the first cell, (2, 2)
    assert anchors[1].tolist() == [-6, -2, 10, 14]  # the last axis is fastest
    scores, boxes = network.decode((logits, torch.zeros_like(codes), anchors))
    torch.testing.assert_close(boxes[1], anchors)
    assert float(scores.mean()) == pytest.approx(0.01, abs=0.01)


def test_every_box_is_learned_by_an_anchor_and_only_wanted_boxes_are(network):
    outputs = network(torch.zeros(1, 3, 64, 96))
    which = network._match(outputs[2], torch.tensor([[10.0, 10, 26, 26], [30, 40, 60, 72]]))
    assert set(which.unique().tolist()) == {-1, 0, 1}
    assert (network._match(outputs[2], torch.zeros(0, 4)) == -1).all()


def test_the_loss_follows_class_and_place_past_padding_and_ignored_boxes(network):
    _, codes, anchors = network(torch.zeros(1, 3, 64, 96))
    boxes = [[[0, 0, 0, 0], [0, 60, 20, 90], [10, 10, 26, 26]]]
    truth = truth_with(boxes, [[0, 0, 1]], [[False, True, True]], [[False, True, False]])
    which = network._match(anchors, truth.boxes[0][2:])
    logits = torch.full((1, len(anchors), 2), -8.0)
    logits[0, which == 0, 1] = 8.0
    right = network.loss((logits, torch.zeros_like(codes), anchors), truth)
    wrong = network.loss((logits.flip(-1), torch.zeros_like(codes), anchors), truth)
    assert float(right["loss_score"]) < 0.01 < float(wrong["loss_score"])


def test_volumes(network):
    volumes = RetinaNetwork(classes=1, channels=1, dimensions=3, backbone="resnet10", pyramid=8)
    outputs = volumes(torch.randn(1, 1, 32, 32, 64))
    truth = truth_with([[[4, 4, 4, 20, 20, 20]]], [[0]])
    losses = volumes.loss(outputs, truth)
    assert volumes.decode(outputs)[1].shape[-1] == 6
    assert float(losses["loss_box"].detach()) > 0


def test_focal_loss_of_hand_computed_scores():
    # p = 0.5: -ln(0.5) * 0.5^2 = 0.17329, times 1/4 where something is and 3/4 where nothing is
    found = _focal(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    assert found[0].tolist() == pytest.approx([0.17329 / 4, 0.17329 * 3 / 4], abs=1e-5)


def test_a_number_that_is_not_finite_is_a_typed_error(network):
    images = torch.zeros(1, 3, 64, 64)
    images[0, 0, 0, 0] = float("nan")
    with pytest.raises(TrainingError, match="learning_rate"):
        network.eval()(images)
