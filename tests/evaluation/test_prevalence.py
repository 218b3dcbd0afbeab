"""Predictive values at a stated prevalence against natural frequencies and reweighted cases."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from ai4diag.config.plan import Evaluate, OperatingPoint
from ai4diag.errors import ConfigError
from ai4diag.evaluation.classification import at_prevalence
from ai4diag.evaluation.evaluate import evaluate
from tests.evaluation.test_evaluate import FAST, by_name, smear, tabular

PLAN = Evaluate(
    primary="ppv_at_prevalence", prevalence=0.02, interval=FAST, operating_point=OperatingPoint(threshold=0.5)
)


def test_natural_frequencies():
    """Of 10,000 women 80 have breast cancer; 90 % of these and 7 % of the others have a positive mammogram.

    72 of 766 positive ones have it (Gigerenzer, Reckoning with Risk, 2002).
    """
    found = at_prevalence(0.9, 0.93, 0.008)
    assert found["ppv_at_prevalence"] == pytest.approx(72 / (72 + 694.4))
    assert found["npv_at_prevalence"] == pytest.approx(9225.6 / (9225.6 + 8))


def test_as_if_the_cases_were_drawn_at_that_prevalence():
    table = tabular()
    found = by_name(evaluate(table, task="tabular", classes=["healthy", "ill"], plan=PLAN))
    test = table[table["part"] == "test"]
    ill = test["truth"].to_numpy() == 1
    weight = np.where(ill, 0.02 / ill.mean(), 0.98 / (1 - ill.mean()))
    called = test["score"].to_numpy() >= 0.5
    assert found["ppv_at_prevalence"].value == pytest.approx(weight[called & ill].sum() / weight[called].sum())
    assert found["npv_at_prevalence"].value == pytest.approx(weight[~called & ~ill].sum() / weight[~called].sum())
    for name in ("ppv_at_prevalence", "npv_at_prevalence"):
        assert found[name].low < found[name].value < found[name].high
    assert found["ppv_at_prevalence"].value < found["ppv"].value


def test_at_the_prevalence_of_the_test_part_nothing_changes():
    table = tabular()
    here = float(table.loc[table["part"] == "test", "truth"].mean())
    plan = PLAN.model_copy(update={"prevalence": here})
    found = by_name(evaluate(table, task="tabular", classes=["healthy", "ill"], plan=plan))
    assert found["ppv_at_prevalence"].value == pytest.approx(found["ppv"].value)
    assert found["npv_at_prevalence"].value == pytest.approx(found["npv"].value)


def test_when_nothing_is_called_it_is_undefined():
    assert np.isnan(at_prevalence(0.0, 1.0, 0.1)["ppv_at_prevalence"])
    assert np.isnan(at_prevalence(1.0, 0.0, 0.1)["npv_at_prevalence"])
    assert np.isnan(at_prevalence(np.nan, 1.0, 0.1)["ppv_at_prevalence"])
    plan = PLAN.model_copy(update={"operating_point": OperatingPoint(threshold=0.999999)})
    found = by_name(evaluate(tabular(), task="tabular", classes=["healthy", "ill"], plan=plan))["ppv_at_prevalence"]
    assert np.isnan(found.value)
    assert "0 called positive" in found.note


def test_only_two_classes_have_one():
    with pytest.raises(ConfigError, match=r"evaluate.prevalence"):
        evaluate(smear(), task="detection", classes=["a", "b", "c"], plan=Evaluate(primary="map_50", prevalence=0.1))


@pytest.mark.parametrize("value", [0, 1, 1.5, -0.1])
def test_a_prevalence_lies_within_0_and_1(value):
    with pytest.raises(ValidationError):
        Evaluate(primary="auroc", prevalence=value)
