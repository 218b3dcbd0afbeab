"""FROC as the LUNA16 and CAMELYON16 scorers define it, by a table computed by hand.

Four images, five lesions; boxes are 10 wide and lie apart, so that a detection hits or does not.

score  what it is                     false per image   sensitivity
0.95   lesion 1                       0                 1/5
0.90   false                          1/4               1/5
0.80   lesion 2                       1/4               2/5
0.70   lesion 3                       1/4               3/5
0.65   lesion 1 again: not counted    1/4               3/5
0.62   on an ignored finding: neither 1/4               3/5
0.60   false                          2/4               3/5
0.50   false                          3/4               3/5
0.40   lesion 4                       3/4               4/5
0.30   false                          4/4               4/5
       lesion 5 is never found

Between two points the curve is linear, after the last it is level: at 1/8 it is 1/5 (level between 0 and 1/4), at 1/4
and 1/2 3/5, from 1 on 4/5. LUNA16's mean over 1/8, 1/4, 1/2, 1, 2, 4, 8 is (1 + 3 + 3 + 4 + 4 + 4 + 4) / 35; CAMELYON16
leaves out the first: (3 + 3 + 4 + 4 + 4 + 4) / 30.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ai4diag.config.plan import Evaluate, Interval, OperatingPoint
from ai4diag.evaluation.detection import DetectionCases
from ai4diag.evaluation.evaluate import evaluate
from ai4diag.evaluation.froc import FALSE_PER_IMAGE, Froc


def box(place):
    return [20.0 * place, 0.0, 20.0 * place + 10, 10.0]


def nowhere(place):
    return [20.0 * place, 100.0, 20.0 * place + 10, 110.0]


TRUTH = [[box(0), box(1)], [box(0), box(5)], [box(0)], [box(0)]]
IGNORE = [[False, False], [False, True], [False], [False]]
BOXES = [
    [box(0), box(1), box(0), nowhere(0)],  # lesions 1 and 2, lesion 1 again, false
    [box(0), box(5), nowhere(0)],  # lesion 3, the ignored finding, false
    [box(0), nowhere(0)],  # lesion 4, false
    [nowhere(0)],  # false; lesion 5 is missed
]
SCORES = [[0.95, 0.80, 0.65, 0.90], [0.70, 0.62, 0.60], [0.40, 0.50], [0.30]]
AT = [1 / 5, 3 / 5, 3 / 5, 4 / 5, 4 / 5, 4 / 5, 4 / 5]


def cases():
    labels = [[0] * len(own) for own in TRUTH], [[0] * len(own) for own in BOXES]
    return DetectionCases.from_lists(TRUTH, labels[0], IGNORE, BOXES, labels[1], SCORES, n_classes=1)


@pytest.mark.parametrize("compiled", [False, True])
def test_the_table(compiled):
    froc = Froc(cases())
    np.testing.assert_allclose(froc.sensitivities(compiled=compiled), AT, atol=1e-12)
    false, sensitivity = froc.curve()
    np.testing.assert_allclose(false * 4, [0, 0, 1, 1, 1, 2, 3, 3, 4])
    np.testing.assert_allclose(sensitivity * 5, [0, 1, 1, 2, 3, 3, 3, 4, 4])


def test_as_numpy_interpolates_it():
    """Both scorers read the rates off with numpy's linear interpolation."""
    false, sensitivity = Froc(cases()).curve()
    np.testing.assert_allclose(np.interp(FALSE_PER_IMAGE, false, sensitivity), AT)


@pytest.mark.parametrize("compiled", [False, True])
def test_between_two_points_it_is_linear(compiled):
    """One image, a tie of a hit and two false ones: from (0, 0) to (2, 1), so that 1/2 is found at 1 per image."""
    tied = DetectionCases.from_lists(
        [[box(0)]], [[0]], None, [[box(0), nowhere(0), nowhere(1)]], [[0, 0, 0]], [[0.5, 0.5, 0.5]], n_classes=1
    )
    expected = [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 1, 1]
    np.testing.assert_allclose(Froc(tied).sensitivities(compiled=compiled), expected, atol=1e-12)


def test_the_estimates_are_those_of_the_table():
    rows = pd.DataFrame(
        {
            "case_id": list("abcd"),
            "patient_id": list("abcd"),
            "fold": 0,
            "part": "test",
            "truth_boxes": [np.ravel(own) for own in TRUTH],
            "truth_labels": [np.zeros(len(own), int) for own in TRUTH],
            "truth_ignore": [np.array(own) for own in IGNORE],
            "boxes": [np.ravel(own) for own in BOXES],
            "labels": [np.zeros(len(own), int) for own in BOXES],
            "scores": [np.array(own) for own in SCORES],
        }
    )
    plan = Evaluate(
        primary="froc_cpm", interval=Interval(resamples=100), operating_point=OperatingPoint(threshold=0.55)
    )
    result = evaluate(rows, task="detection", classes=["nodule"], plan=plan)
    found = {item.name: item.value for item in result.estimates if item.subgroup == "all"}
    assert found["froc_cpm"] == pytest.approx(23 / 35)
    assert found["froc_camelyon"] == pytest.approx(22 / 30)
    names = [f"sensitivity_at_{rate}_fp" for rate in ("0.125", "0.25", "0.5", "1", "2", "4", "8")]
    assert [found[name] for name in names] == pytest.approx(AT)
    # at 0.55: lesions 1 to 3 found, two false; of lesion 1 the second box is false for F1 and PPV, as in pycocotools
    assert found["sensitivity"] == pytest.approx(3 / 5)
    assert found["ppv"] == pytest.approx(3 / 6)
