"""Models that answer together, against hand-computed answers."""

import numpy as np
import pandas as pd
import pytest

from ai4diag.errors import DataError
from ai4diag.tasks.ensemble import join


def boxes(*found):
    """One image with (box, label, score) each."""
    return {
        "boxes": np.array([edge for box, _, _ in found for edge in box], np.float32),
        "labels": np.array([label for _, label, _ in found], np.int64),
        "scores": np.array([score for _, _, score in found], np.float32),
    }


def test_scores_and_curves_are_averaged():
    one = pd.DataFrame({"score": [0.2, 0.9], "survival": [np.array([1.0, 0.5]), np.array([0.9, 0.1])]})
    two = pd.DataFrame({"score": [0.4, 0.7], "survival": [np.array([0.8, 0.3]), np.array([0.7, 0.3])]})
    joined = join([one, two], classes=2)
    assert joined["score"].tolist() == pytest.approx([0.3, 0.8])
    assert np.stack(joined["survival"]) == pytest.approx(np.array([[0.9, 0.4], [0.8, 0.2]]))


def test_one_model_answers_as_it_did():
    table = pd.DataFrame({"score": [0.25]})
    assert join([table], classes=2) is table


def test_a_box_that_both_found_keeps_its_place_and_one_that_one_found_loses_half_its_score():
    one = pd.DataFrame([boxes(([0, 0, 10, 10], 0, 0.8), ([20, 20, 30, 30], 1, 0.6))])
    two = pd.DataFrame([boxes(([0, 0, 10, 10], 0, 0.6))])
    joined = join([one, two], classes=2).iloc[0]
    assert joined["labels"].tolist() == [0, 1]
    assert joined["boxes"].tolist() == pytest.approx([0, 0, 10, 10, 20, 20, 30, 30])
    assert joined["scores"].tolist() == pytest.approx([0.7, 0.3])


def test_edges_are_the_mean_weighted_by_score():
    one, two = (pd.DataFrame([boxes(([0, 0, side, 10], 0, score))]) for side, score in ((10, 0.75), (12, 0.25)))
    joined = join([one, two], classes=1).iloc[0]
    assert joined["boxes"].tolist() == pytest.approx([0, 0, 10.5, 10])


def test_what_is_one_object_is_the_models_own_setting():
    """Boxes that overlap by a third."""
    one, two = (pd.DataFrame([boxes(([low, 0, low + 10, 10], 0, 0.8))]) for low in (0, 5))
    assert len(join([one, two], classes=1)["scores"][0]) == 2
    assert join([one, two], classes=1, same_object=0.3)["scores"][0].tolist() == pytest.approx([0.8])


def test_volumes_and_images_without_boxes():
    empty = boxes()
    one, two = pd.DataFrame([empty, boxes(([0, 0, 0, 4, 4, 4], 0, 0.5))]), pd.DataFrame([empty, empty])
    joined = join([one, two], classes=1)
    assert joined["scores"].map(len).tolist() == [0, 1]
    assert joined["boxes"][1].tolist() == pytest.approx([0, 0, 0, 4, 4, 4])


def test_models_of_different_tasks_are_refused():
    with pytest.raises(DataError, match="Only models of the same task"):
        join([pd.DataFrame({"score": [0.1]}), pd.DataFrame({"score_a": [0.1]})], classes=2)
