"""The release gate and the comparison of a reproduction, case by case."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ai4diag.evaluation.compare import compare_estimates
from ai4diag.evaluation.gate import check_gate
from ai4diag.types import Estimate

AUROC = Estimate("auroc", 0.9, 0.85, 0.95, 100, 50)
PPV = Estimate("ppv", np.nan, np.nan, np.nan, 100, 50, note="nobody called positive")


def test_the_gate_looks_at_the_lower_limit():
    assert check_gate([AUROC], {"auroc_low": 0.85}) == []
    assert check_gate([AUROC], {"auroc_low": 0.86}) == ["auroc_low: 0.8500 is below 0.86"]
    assert check_gate([AUROC], {}) == []


def test_undefined_and_unknown_never_pass():
    assert "nobody called positive" in check_gate([PPV], {"ppv_low": 0})[0]
    assert "Did you mean 'auroc'" in check_gate([AUROC], {"aurok_low": 0})[0]
    assert "no interval" in check_gate([replace(AUROC, low=np.nan)], {"auroc_low": 0})[0]


def test_only_the_whole_test_part_opens_the_gate():
    others = [replace(AUROC, part="validation"), replace(AUROC, subgroup="sex=male"), replace(AUROC, part="contrast")]
    assert len(check_gate(others, {"auroc_low": 0.5})) == 1


def test_the_same_estimates_do_not_differ():
    assert compare_estimates([AUROC, PPV], [PPV, AUROC]) == []


def test_differences_are_named():
    assert compare_estimates([AUROC], [replace(AUROC, value=0.905, low=0.855)], 0.01) == []
    found = compare_estimates([AUROC], [replace(AUROC, value=0.92)], 0.01)
    assert [str(item) for item in found] == ["auroc (test, all): value was 0.9, is 0.92"]
    assert [item.what for item in compare_estimates([AUROC], [replace(AUROC, n=99)], 5)] == ["n"]
    assert [item.what for item in compare_estimates([AUROC], [replace(AUROC, value=np.nan)], 5)] == ["value"]
    assert [str(item) for item in compare_estimates([AUROC], [PPV])] == [
        "auroc (test, all) is missing",
        "ppv (test, all) is extra",
    ]


def test_subgroups_are_compared_with_their_own_kind():
    assert len(compare_estimates([AUROC], [replace(AUROC, subgroup="sex=male")])) == 2
