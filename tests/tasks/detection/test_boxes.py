import numpy as np
import pytest
import torch

from ai4diag.evaluation.boxes import iou_matrix
from ai4diag.tasks.detection.boxes import distance_overlap, grid_points, inside, overlap, truth_of


@pytest.mark.parametrize("dimensions", [2, 3])
def test_overlap_agrees_with_the_evaluation_of_boxes(dimensions):
    generator = torch.Generator().manual_seed(1)
    low = torch.rand(20, dimensions, generator=generator) * 10
    boxes = torch.cat([low, low + torch.rand(20, dimensions, generator=generator) * 8], -1)
    mine = overlap(boxes[:, None], boxes[None])
    np.testing.assert_allclose(mine.numpy(), iou_matrix(boxes.numpy(), boxes.numpy()), atol=1e-5)


def test_distance_overlap_of_a_hand_computed_pair():
    # shared 2, union 6: 1/3. Centres 1 apart; the box around both is 2 x 3, its squared diagonal 13.
    first, second = torch.tensor([0.0, 0, 2, 2]), torch.tensor([0.0, 1, 2, 3])
    assert float(distance_overlap(first, second)) == pytest.approx(1 / 3 - 1 / 13, abs=1e-6)


def test_distance_overlap_has_a_slope_where_boxes_do_not_touch():
    first = torch.tensor([0.0, 0, 2, 2], requires_grad=True)
    distance_overlap(first, torch.tensor([8.0, 8, 9, 9])).backward()
    assert first.grad.abs().sum() > 0


def test_boxes_of_no_size_overlap_nothing():
    point = torch.tensor([1.0, 1, 1, 1])
    assert float(overlap(point, point)) == 0


def test_grid_points_are_the_centres_of_cells_with_the_last_axis_fastest():
    points = grid_points((2, 3), 4, torch.device("cpu"))
    assert points.tolist() == [[2, 2], [2, 6], [2, 10], [6, 2], [6, 6], [6, 10]]


def test_inside_is_asked_in_array_axis_order():
    wide = torch.tensor([[0.0, 0, 4, 100]])  # 4 rows, 100 columns
    points = torch.tensor([[2.0, 50], [50, 2]])
    assert inside(points, wide).tolist() == [[True, False]]


def test_truth_is_padded_and_in_pixels_of_the_packed_images(prepared):
    truth = truth_of(prepared)
    assert truth.boxes.shape == (12, 2, 4)
    assert truth.wanted.all()
    table = prepared.boxes.query("case == 5")
    expected = table[["min_0", "min_1", "max_0", "max_1"]].to_numpy() / 2
    np.testing.assert_allclose(truth.boxes[5].numpy(), expected, rtol=1e-6)
    assert truth.labels[5].tolist() == table["label"].tolist()


def test_truth_of_images_without_boxes_is_all_padding(prepared):
    import dataclasses

    bare = dataclasses.replace(prepared)
    bare.__dict__["boxes"] = prepared.boxes.query("case != 4")
    truth = truth_of(bare)
    assert not truth.real[4].any()
    assert truth.real[[3, 5]].all()
