"""Typical cases: the middle of each class, never one of the worst, found by hand."""

from __future__ import annotations

import numpy as np

from ai4diag.evaluation.typical import TYPICAL_SHOWN, typical


def of(labels, classes):
    return np.asarray(labels)[:, None] == np.arange(classes)


def test_the_middle_of_each_class_by_hand():
    labels = [0, 0, 0, 0, 0, 1, 1, 1]
    error = [0.9, 0.1, 0.3, 0.2, 0.5, 0.6, 0.4, 0.8]  # medians 0.3 and 0.6
    assert typical(of(labels, 2), error, []).tolist() == [2, 3, 5, 6]


def test_the_worst_are_not_shown_again():
    assert typical(of([0, 0, 0], 1), [0.9, 0.5, 0.1], [0, 1]).tolist() == [2]


def test_of_many_classes_the_commonest_six_give_one_each():
    labels = np.repeat(np.arange(9), np.arange(1, 10))
    rows = typical(of(labels, 9), np.zeros(len(labels)), [])
    assert labels[rows].tolist() == [3, 4, 5, 6, 7, 8]
    assert len(rows) == TYPICAL_SHOWN


def test_a_case_with_two_findings_is_shown_once_and_an_empty_class_is_none():
    presence = np.array([[True, True, False], [True, False, False]])
    assert typical(presence, [0.2, 0.2], []).tolist() == [0, 1]
    assert typical(np.zeros((0, 2), bool), [], []).tolist() == []
