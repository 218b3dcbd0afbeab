import pytest
import torch

from ai4diag.tasks.detection.anchor_free import BEST_CELLS, AnchorFreeNetwork, assign
from ai4diag.tasks.detection.boxes import Truth, grid_points


def truth_with(boxes, labels, ignore=None):
    labels = torch.tensor([labels])
    skipped = torch.zeros_like(labels, dtype=torch.bool) if ignore is None else torch.tensor([ignore])
    return Truth(torch.tensor([boxes], dtype=torch.float32), labels, torch.ones_like(skipped), skipped)


def outputs_for(network, grid, classes=2):
    """Low scores everywhere, and boxes of the first size."""
    return torch.full((1, classes, *grid), -4.0), torch.zeros(1, 2 * network.dimensions, *grid)


@pytest.mark.parametrize("stride", [4, 8])
def test_shapes_in_two_dimensions(stride):
    network = AnchorFreeNetwork(classes=3, channels=1, width=8, stride=stride).eval()
    scores, boxes = network.decode(network(torch.zeros(2, 1, 64, 96)))
    cells = (64 // stride) * (96 // stride)
    assert scores.shape == (2, cells, 3)
    assert boxes.shape == (2, cells, 4)
    assert 0.001 < float(scores.detach().mean()) < 0.05  # begins near 1 %


def test_volumes_give_boxes_of_six_coordinates_and_a_loss():
    network = AnchorFreeNetwork(classes=1, channels=1, dimensions=3, width=4, stride=8)
    outputs = network(torch.randn(2, 1, 32, 32, 64))
    scores, boxes = network.decode(outputs)
    assert scores.shape == (2, 4 * 4 * 8, 1)
    assert boxes.shape == (2, 4 * 4 * 8, 6)
    box = torch.tensor([[[4.0, 4, 20, 20, 22, 50]], [[0, 0, 0, 9, 9, 9]]])
    yes = torch.ones(2, 1, dtype=torch.bool)
    losses = network.loss(outputs, Truth(box, torch.zeros(2, 1, dtype=torch.long), yes, ~yes))
    losses["loss"].backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in network.parameters())


def test_decoding_a_hand_made_output_in_array_axis_order():
    network = AnchorFreeNetwork(classes=1, channels=1, width=4, stride=4)
    sides = torch.zeros(1, 4, 2, 3)
    sides[0, :, 1, 2] = torch.log(torch.tensor([1.0, 2.0, 3.0, 4.0]) / 10)  # an untrained side is 10 pixels
    box = network.decode((torch.zeros(1, 1, 2, 3), sides))[1][0, 5]
    # the centre of the cell is row 6, column 10: 1 up, 2 left, 3 down, 4 right
    assert box.tolist() == pytest.approx([5, 8, 9, 14], abs=1e-4)


def test_a_box_is_learned_by_the_best_cells_inside_it_and_by_no_others():
    points = grid_points((16, 24), 4, torch.device("cpu"))
    truth = truth_with([[8, 8, 40, 72]], [1])
    half = torch.tensor([16.0, 32.0])
    boxes = torch.cat([points - half, points + half], -1)[None]  # right where the cell is the middle
    learns, which, quality = assign(torch.full((1, 384, 2), 0.1), boxes, points, truth)
    chosen = points[learns[0]]
    assert len(chosen) == BEST_CELLS
    assert (chosen[:, 0] - 24).abs().max() <= 10
    assert (chosen[:, 1] - 40).abs().max() <= 10
    assert (which[learns] == 0).all()
    assert quality[learns].max() == pytest.approx(1.0, abs=0.25)
    assert not quality[~learns].any()


def test_nested_boxes_share_cells_by_overlap():
    points = grid_points((16, 16), 4, torch.device("cpu"))
    truth = truth_with([[0, 0, 64, 64], [24, 24, 40, 40]], [0, 1])
    boxes = torch.cat([points - 8, points + 8], -1)[None]
    learns, which, _ = assign(torch.full((1, 256, 2), 0.1), boxes, points, truth)
    assert set(which[learns].tolist()) == {0, 1}


def test_boxes_to_ignore_are_not_learned_and_do_not_punish():
    network = AnchorFreeNetwork(classes=2, channels=1, width=4)
    logits, sides = outputs_for(network, (16, 16))
    logits[0, 0, 4:8, 4:8] = 5.0  # certain, where nothing is
    empty = network.loss((logits, sides), truth_with([[0, 0, 0, 0]], [0], [True]))
    shielded = network.loss((logits, sides), truth_with([[16, 16, 32, 32]], [0], [True]))
    assert float(shielded["loss_score"]) < 0.01 * float(empty["loss_score"])
    assert float(shielded["loss_box"]) == 0


def test_an_image_without_boxes_only_teaches_low_scores():
    network = AnchorFreeNetwork(classes=2, channels=1, width=4)
    logits, sides = outputs_for(network, (8, 8))
    nothing = Truth(
        torch.zeros(1, 1, 4), torch.zeros(1, 1, dtype=torch.long), *[torch.zeros(1, 1, dtype=torch.bool)] * 2
    )
    losses = network.loss((logits, sides), nothing)
    assert float(losses["loss_box"]) == 0
    assert float(losses["loss"]) > 0


def test_the_loss_of_a_perfect_answer_is_small():
    network = AnchorFreeNetwork(classes=2, channels=1, width=4)
    truth = truth_with([[10, 10, 30, 50]], [1])
    points = grid_points((16, 16), 4, torch.device("cpu"))
    low = (points - torch.tensor([10.0, 10])).clamp(min=1e-3)
    high = (torch.tensor([30.0, 50]) - points).clamp(min=1e-3)
    sides = torch.log(torch.cat([low, high], -1) / 10).T.reshape(1, 4, 16, 16)
    logits = torch.full((1, 2, 16, 16), -12.0)
    learns = assign(torch.full((1, 256, 2), 0.1), network.decode((logits, sides))[1], points, truth)[0]
    logits[0, 1].view(-1)[learns[0]] = 12.0
    assert float(network.loss((logits, sides), truth)["loss"]) < 0.01
    swapped = truth_with([[10, 10, 50, 30]], [1])  # the same box in image order
    assert float(network.loss((logits, sides), swapped)["loss"]) > 0.3
