"""Exact intervals against scipy and closed forms, and where a whole evaluation uses them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ai4diag.config.plan import Evaluate, Interval, OperatingPoint
from ai4diag.errors import DataError
from ai4diag.evaluation.evaluate import evaluate
from ai4diag.evaluation.exact import at_the_border, clopper_pearson
from ai4diag.evaluation.gate import check_gate
from tests.evaluation.test_evaluate import FAST, by_name


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (0, 7), (7, 7), (3, 10), (50, 50), (999, 1000)])
def test_limits_are_scipys(right, n, level):
    expected = stats.binomtest(right, n).proportion_ci(level, "exact")
    assert clopper_pearson(right, n, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_all_of_n_in_closed_form():
    for n in (1, 14, 171):
        assert clopper_pearson(n, n) == pytest.approx((0.025 ** (1 / n), 1), abs=1e-12)
        assert clopper_pearson(0, n) == pytest.approx((0, 1 - 0.025 ** (1 / n)), abs=1e-12)


@pytest.mark.parametrize(("right", "n"), [(-1, 3), (4, 3), (0, 0)])
def test_what_is_no_proportion_is_refused(right, n):
    with pytest.raises(DataError, match="no proportion"):
        clopper_pearson(right, n)


def test_patients_count_not_cases():
    unit = np.repeat(np.arange(6), 5)
    low, high, note = at_the_border(1.0, unit < 4, unit, 0.95)
    assert (low, high) == pytest.approx((0.025**0.25, 1))
    assert note == "all resamples agree; exact interval (Clopper-Pearson) of 4 patients"


@pytest.mark.parametrize(("value", "counted"), [(0.5, [True]), (1.0, None), (0.0, [False]), (float("nan"), [True])])
def test_elsewhere_there_is_none(value, counted):
    mask = None if counted is None else np.array(counted)
    assert at_the_border(value, mask, np.array(["a"]), 0.95) is None


def perfect(n=30):
    """Three visits of each patient, every one answered rightly; patients are ill or healthy."""
    patient = np.repeat(np.arange(n), 3)
    return pd.DataFrame(
        {
            "case_id": [f"v{i}" for i in range(3 * n)],
            "patient_id": [f"p{i}" for i in patient],
            "fold": 0,
            "part": "test",
            "truth": (patient % 3 == 0).astype(int),
            "score": np.where(patient % 3 == 0, 0.9, 0.1),
        }
    )


def test_a_model_without_errors():
    plan = Evaluate(primary="auroc", interval=FAST, operating_point=OperatingPoint(threshold=0.5))
    found = by_name(evaluate(perfect(), task="tabular", classes=["healthy", "ill"], plan=plan))
    patients = {"accuracy": 30, "sensitivity": 10, "specificity": 20, "ppv": 10, "npv": 20}
    for name, n in patients.items():
        assert (found[name].value, found[name].high) == (1, 1)
        assert found[name].low == pytest.approx(0.025 ** (1 / n))
        assert f"of {n} patients" in found[name].note
    for name in ("auroc", "auprc", "f1", "balanced_accuracy"):
        assert found[name].value == 1
        assert np.isnan([found[name].low, found[name].high]).all()
        assert "no interval: all resamples agree" in found[name].note
    assert check_gate(list(found.values()), {"sensitivity_low": 0.6}) == []
    assert "0.6915 is below 0.9" in check_gate(list(found.values()), {"sensitivity_low": 0.9})[0]


def test_a_model_that_is_always_wrong_and_a_level():
    table = perfect()
    table["score"] = 1 - table["score"]
    plan = Evaluate(
        primary="auroc", interval=Interval(resamples=100, level=0.9), operating_point=OperatingPoint(threshold=0.5)
    )
    found = by_name(evaluate(table, task="tabular", classes=["healthy", "ill"], plan=plan))
    assert (found["sensitivity"].value, found["sensitivity"].low) == (0, 0)
    assert found["sensitivity"].high == pytest.approx(1 - 0.05 ** (1 / 10))


def test_other_targets():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 40)
    base = {
        "case_id": [f"c{i}" for i in range(40)],
        "patient_id": [f"p{i // 2}" for i in range(40)],
        "fold": 0,
        "part": "test",
    }
    names = ("cyst", "stone", "tumour")
    columns = {f"score_{name}": np.where(truth == k, 0.8, 0.1) for k, name in enumerate(names)}
    plan = Evaluate(primary="auroc_macro", interval=FAST)
    result = evaluate(
        pd.DataFrame({**base, "truth": truth, **columns}),
        task="classification",
        target="multiclass",
        classes=names,
        plan=plan,
    )
    of_stone = by_name(result, subgroup="class=stone")
    n = pd.Series(base["patient_id"])[truth == 1].nunique()
    assert of_stone["sensitivity"].low == pytest.approx(0.025 ** (1 / n))
    assert by_name(result)["accuracy"].low == pytest.approx(0.025 ** (1 / 20))
    assert np.isnan(by_name(result)["balanced_accuracy"].low)
    wanted = {f"truth_{name}": (truth == k).astype(int) for k, name in enumerate(names)}
    plan = Evaluate(primary="auroc_macro", interval=FAST, operating_point=OperatingPoint(threshold=0.5))
    result = evaluate(
        pd.DataFrame({**base, **wanted, **columns}),
        task="classification",
        target="multilabel",
        classes=names,
        plan=plan,
    )
    assert by_name(result, subgroup="class=stone")["sensitivity"].low == pytest.approx(0.025 ** (1 / n))
    assert by_name(result)["exact_match"].low == pytest.approx(0.025 ** (1 / 20))
