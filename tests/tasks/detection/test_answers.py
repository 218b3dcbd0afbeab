import numpy as np
import pytest

from ai4diag.tasks.detection.answers import MOST_BOXES, SCORE_FLOOR, answer

SIZE = (100.0, 200.0)


def view(boxes, scores):
    """One class per column of scores."""
    return np.asarray(scores, np.float32), np.asarray(boxes, np.float32)


def test_the_better_of_two_boxes_around_one_object_stays():
    found = answer([view([[0, 0, 10, 10], [0, 0, 10, 7]], [[0.5], [0.9]])], SIZE)
    assert found.scores == pytest.approx([0.9])
    assert found.boxes.tolist() == [[0, 0, 10, 7]]


def test_equal_boxes_of_two_classes_both_stay():
    found = answer([view([[0, 0, 10, 10]], [[0.5, 0.4]])], SIZE)
    assert found.labels.tolist() == [0, 1]


def test_near_boxes_vote_on_the_edges_by_their_scores():
    # IoU 0.9: both vote; the last edge is (10 * 0.6 + 9 * 0.3) / 0.9
    found = answer([view([[0, 0, 10, 10], [0, 0, 10, 9]], [[0.6], [0.3]])], SIZE)
    assert found.boxes[0] == pytest.approx([0, 0, 10, 8.7 / 0.9])
    assert found.scores == pytest.approx([0.6])


def test_an_object_that_one_of_two_views_misses_counts_half():
    both, once = [0, 0, 10, 10], [50, 50, 60, 60]
    found = answer([view([both, once], [[0.8], [0.6]]), view([both], [[0.4]])], SIZE)
    assert found.scores == pytest.approx([0.6, 0.3])
    np.testing.assert_allclose(found.boxes, [both, once], rtol=1e-6)


def test_boxes_end_at_the_edge_of_the_image():
    found = answer([view([[-5, 190, 120, 260]], [[0.9]])], SIZE)
    assert found.boxes.tolist() == [[0, 190, 100, 200]]


def test_boxes_outside_the_image_are_not_answers():
    found = answer([view([[0, 0, 10, 10], [110, 0, 130, 20]], [[0.4], [0.9]])], SIZE)
    assert found.boxes.tolist() == [[0, 0, 10, 10]]


def test_scores_below_the_floor_and_more_than_the_most_are_dropped():
    many = [[20.0 * (n // 12), 16.0 * (n % 12), 20.0 * (n // 12) + 9, 16.0 * (n % 12) + 9] for n in range(150)]
    scores = [[SCORE_FLOOR / 2 if n < 20 else 0.5 + n / 1000] for n in range(150)]
    found = answer([view(many, scores)], (400.0, 200.0))
    assert len(found.scores) == MOST_BOXES
    assert list(found.scores) == sorted(found.scores, reverse=True)
    assert found.scores.min() > 0.5


def test_nothing_found_is_an_empty_answer():
    found = answer([view(np.zeros((0, 4)), np.zeros((0, 3)))], SIZE)
    assert (found.boxes.shape, found.labels.shape, found.scores.shape) == ((0, 4), (0,), (0,))


def test_volumes_have_boxes_of_six_coordinates():
    found = answer([view([[0, 0, 0, 4, 4, 4], [0, 0, 0, 4, 4, 3.9]], [[0.5], [0.4]])], (8.0, 8.0, 8.0))
    assert found.boxes.shape == (1, 6)
