"""A million cases: estimates with intervals within the memory of a laptop."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT

MOST_GB = 1.6
"""Of the whole process, a third of which is Python, pandas and the table itself; 1.1 was measured."""
SCRIPT = """
import resource
import numpy as np, pandas as pd
from ai4diag.config.plan import Evaluate, Interval
from ai4diag.evaluation.evaluate import evaluate

n = 1_000_000
rng = np.random.default_rng(0)
truth = (rng.random(n) < 0.1).astype(int)
score = 1 / (1 + np.exp(-rng.normal(1.5 * truth - 2, 1)))
patient = np.arange(n) // 3
table = pd.DataFrame({"case_id": np.arange(n).astype(str), "patient_id": patient.astype(str), "fold": 0, "part": "test",
                      "truth": truth, "score": score})
held = table.iloc[:100_000].assign(part="validation", patient_id="other")
plan = Evaluate(primary="auroc", interval=Interval(resamples=100))
found = evaluate(pd.concat([table, held]), task="tabular", classes=("well", "ill"), plan=plan).estimates[0]
print(found.value, found.low, found.high, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9)
"""


@pytest.mark.slow
def test_a_million_cases_do_not_exhaust_memory():
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True)
    value, low, high, peak_gb = map(float, done.stdout.split())
    assert value == pytest.approx(0.8556, abs=0.002)  # normal quantiles: Phi(1.5 / sqrt(2))
    assert low < value < high < low + 0.004
    assert peak_gb < MOST_GB
