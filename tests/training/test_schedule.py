"""Which cases come when."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from ai4diag.config.train import Train
from ai4diag.data.prepared import Prepared
from ai4diag.errors import ConfigError
from ai4diag.training.loop import fit
from ai4diag.training.schedule import balanced, parts_of
from tests.training.test_loop import FOLD, ToyLearner, quiet


@pytest.mark.parametrize(("count", "parts"), [(80, 3), (5, 2), (7, 7), (1, 4), (16, 1)])
def test_parts_cover_every_case_once(count, parts):
    found = parts_of(count, parts)
    assert [place for part in found for place in range(count)[part]] == list(range(count))
    sizes = [part.stop - part.start for part in found]
    assert max(sizes) - min(sizes) <= 1
    assert len(found) == min(count, parts)


def test_rare_classes_come_as_often_as_frequent_ones():
    labels = torch.tensor([0] * 90 + [1] * 7 + [4] * 3)
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        order = balanced(labels, generator)
        assert len(order) == 100
        assert sorted(torch.bincount(labels[order])[[0, 1, 4]].tolist()) == [33, 33, 34]
        counts = torch.bincount(order, minlength=100)
        assert counts[:90].max() == 1  # a frequent one at most once
        assert counts[90:97].max() - counts[90:97].min() <= 1  # the rare ones as evenly as can be
    again = [balanced(labels, torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(*again)


def test_one_class_is_an_ordinary_epoch():
    order = balanced(torch.zeros(9, dtype=torch.int64), torch.Generator())
    assert sorted(order.tolist()) == list(range(9))


class Counting(ToyLearner):
    """Remembers what it was asked."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def loss(self, rows, generator):
        self.rows += rows.tolist()
        return super().loss(rows, generator)


class Labelled(Counting):
    """A fifth of the patients had the event."""

    def balance_labels(self, rows):
        return (rows % 5 == 0).astype(np.int64)


def test_the_loop_balances_classes_and_patients(tmp_path):
    settings = Train(epochs=2, batch_size=16, balance="class")
    index = pd.DataFrame({"case_id": range(120), "patient_id": ["anna"] * 60 + ["ben"] * 15 + ["cleo"] * 45})
    prepared = Prepared(tmp_path, {}, index, pd.DataFrame())
    learner = Labelled()
    fit(learner, prepared, FOLD, settings, quiet)
    assert len(learner.rows) == 160
    assert sum(row % 5 == 0 for row in learner.rows) == 80
    assert max(learner.rows) < 80  # training rows alone
    other = Counting()
    fit(other, prepared, FOLD, settings.model_copy(update={"balance": "patient"}), quiet)
    counts = index["patient_id"].iloc[other.rows].value_counts()
    assert counts.sum() == 160
    assert counts.max() - counts.min() <= 2


def test_a_task_without_classes_of_cases_says_so(tmp_path):
    prepared = Prepared(tmp_path, {}, pd.DataFrame(), pd.DataFrame())
    with pytest.raises(ConfigError, match="one class each"):
        fit(ToyLearner(), prepared, FOLD, Train(epochs=1, balance="class"), quiet)
