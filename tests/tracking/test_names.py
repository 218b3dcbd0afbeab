import doctest
import math

import pytest
from mlflow.utils.validation import _validate_metric_name, _validate_param_name

from ai4diag.tracking import names
from ai4diag.types import Estimate


def test_the_examples_in_the_docstrings_hold() -> None:
    result = doctest.testmod(names)
    assert result.attempted >= 4
    assert result.failed == 0


@pytest.mark.parametrize(
    "name",
    ["auroc", "map_50/class.RBC", "auroc/age.≥65", "auroc/site.../x", "a//b", "/etc/passwd", "../../x", ".", "",
     "x" * 400, "auroc/stain.H&E (2x)", "auroc/naïve.oui", "a\nb", "a/./b", "a/"],
)  # fmt: skip
def test_every_name_is_one_that_mlflow_takes(name: str) -> None:
    for suffix in names.LIMITS:
        _validate_metric_name(names.legal(name) + suffix)
    _validate_param_name(names.legal(name))


def test_different_subgroups_keep_different_names() -> None:
    found = {names.legal(f"auroc/age.{group}") for group in ("≥65", "≤65", "_65", ">65", "?65")}
    assert len(found) == 5


def test_limits_travel_with_their_value_and_counts_with_the_headline() -> None:
    whole = names.estimate_metrics(Estimate("map_50", 0.9, 0.8, math.nan, 72, 70))
    assert whole["map_50"] == 0.9
    assert whole["map_50_low"] == 0.8
    assert math.isnan(whole["map_50_high"])
    assert (whole["map_50_n"], whole["map_50_patients"]) == (72, 70)
    group = names.estimate_metrics(Estimate("map_50", 0.7, 0.6, 0.8, 72, 70, subgroup="class=RBC"))
    assert group == {"map_50/class.RBC": 0.7, "map_50_low/class.RBC": 0.6, "map_50_high/class.RBC": 0.8}


def test_parts_do_not_overwrite_each_other() -> None:
    seen: set[str] = set()
    for part in ("test", "validation", "contrast"):
        for subgroup in ("all", "site=va"):
            metrics = names.estimate_metrics(Estimate("auroc", 0.9, 0.8, 1, 9, 9, part=part, subgroup=subgroup))
            assert not seen & metrics.keys()
            seen |= metrics.keys()
    assert not seen & {name for name, _ in names.curve_metrics({"auroc": 1.0, "validation": {"auroc": 1.0}})}
