"""The learners of a time to event: against lifelines, and what they promise about ties, penalties, seeds and files."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lifelines import CoxPHFitter

from ai4diag.config.base import parse
from ai4diag.config.tabular import TabularRecipe
from ai4diag.data.prepared import Fold, Prepared, write_prepared
from ai4diag.errors import ConfigError, DataError
from ai4diag.evaluation.survival import Outcomes
from ai4diag.tasks import task
from ai4diag.tasks.base import Learner
from ai4diag.tasks.tabular.hazards import Baseline, fit_linear, log_at_risk, partial_loss
from ai4diag.training.loop import fit

from .cases import single_split

NAMES = ["age", "size", "nodes"]
FEATURES = [
    {"name": "age", "kind": "number", "unit": "years", "levels": []},
    {"name": "size", "kind": "number", "unit": "mm", "levels": []},
    {"name": "nodes", "kind": "number", "unit": "1", "levels": []},
]
EXACT = {"precision": 1e-10, "r_precision": 1e-12}
COX = {"network": "cox", "l2": 0}
MLP = {"network": "cox_mlp", "hidden": [8], "dropout": 0.0}


def cohort(n: int = 200, ties: bool = True, seed: int = 7) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {"age": rng.normal(60, 10, n), "size": rng.gamma(2, 10, n), "nodes": rng.integers(0, 5, n).astype(float)}
    )
    hazard = np.exp(0.05 * (table["age"] - 60) + 0.4 * table["nodes"] - 0.01 * table["size"]) / 900
    death, end = rng.exponential(1 / hazard), rng.uniform(100, 1500, n)
    time = np.minimum(death, end)
    table["time_days"] = np.ceil(time / 90) * 90 if ties else time
    return table.assign(event=(death <= end).astype(int))


def prepared(folder: Path, table: pd.DataFrame, **facts: Any) -> Prepared:
    number = [f"{row:03d}" for row in range(len(table))]
    index = pd.DataFrame({"case_id": [f"case-{n}" for n in number], "patient_id": [f"patient-{n}" for n in number]})
    index = index.assign(site="ulm", event=table["event"], time_days=table["time_days"])
    write_prepared(
        folder,
        facts={
            "task": "tabular",
            "target": "time_to_event",
            "dataset": "toy",
            "classes": ["alive", "died"],
            "features": FEATURES,
            "horizons_days": [365.0, 730.0],
            "survival_days": [180.0, 365.0, 730.0],
            **facts,
        },
        index=index,
        split=single_split(index),
        findings=[],
        arrays={"features": table[NAMES].to_numpy(np.float64)},
        tables={},
    )
    return Prepared.open(folder)


def recipe(model: dict[str, Any], **train: Any) -> TabularRecipe:
    values = {
        "task": "tabular",
        "data": {"dataset": "toy"},
        "model": model,
        "train": {"epochs": 40, "batch_size": 400, **train},
        "evaluate": {"primary": "c_index"},
    }
    return parse(TabularRecipe, values, "toy")


def trained(cases: Prepared, model: dict[str, Any], fold: Fold | None = None, **train: Any) -> Any:
    chosen = recipe(model, **train)
    learner: Learner = task("tabular").learner(cases, chosen, {})
    fit(learner, cases, fold or cases.folds()[-1], chosen.train, lambda name, fields: None)
    return learner


def everybody(cases: Prepared) -> Fold:
    rows = np.arange(len(cases.index))
    return Fold(0, rows, np.empty(0, np.int64), rows)


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("l2", [0.0, 20.0])
def test_coefficients_are_those_of_lifelines(tmp_path: Path, ties: bool, l2: float) -> None:
    table = cohort(ties=ties)
    cases = prepared(tmp_path, table)
    learner = trained(cases, {"network": "cox", "l2": l2}, everybody(cases))
    standard = (table[NAMES] - table[NAMES].mean()) / table[NAMES].std(ddof=0)
    n = len(table)  # lifelines penalises in units of the standard deviation with divisor n - 1
    fitter = CoxPHFitter(penalizer=l2 / n * (n - 1) / n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitter.fit(standard.assign(t=table["time_days"], e=table["event"]), "t", "e", fit_options=EXACT)
    expected = fitter.params_.to_numpy()
    found = np.array(list(learner.coefficients().values()))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert np.abs(found).max() > 0.1


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_partial_likelihood_by_hand(ties: str) -> None:
    """Two of four die on day 2, with risks 5 and 7; with Efron's ties the second faces half of both."""
    risk = torch.tensor([5.0, 7.0, 1.0, 3.0], dtype=torch.float64)
    time, event = torch.tensor([2.0, 2.0, 2.0, 4.0]), torch.tensor([True, True, False, True])
    both = 16.0
    second = both - 12.0 / 2 if ties == "efron" else both
    expected = -np.log(5 * 7 / (both * second) * 3 / 3) / 3
    assert float(partial_loss(risk.log(), time, event, ties)) == pytest.approx(expected)


def test_the_minimum_has_no_slope_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient by automatic differentiation of the loss is zero at the minimum that Newton's method found."""
    table = cohort(80)
    columns = torch.from_numpy(((table[NAMES] - table[NAMES].mean()) / table[NAMES].std()).to_numpy())
    time, event = torch.from_numpy(table["time_days"].to_numpy()), torch.from_numpy(table["event"].to_numpy() == 1)

    def found() -> torch.Tensor:
        return fit_linear(columns, time, event, ties="efron", l2=3.0, steps=30, notify=lambda step, state: None)

    whole = found()
    monkeypatch.setattr("ai4diag.tasks.tabular.hazards.BLOCK", 500)
    torch.testing.assert_close(found(), whole, rtol=0, atol=1e-10)
    weights = whole.clone().requires_grad_()
    loss = partial_loss(columns @ weights, time, event, "efron") * event.sum() + 1.5 * weights.square().sum()
    (slope,) = torch.autograd.grad(loss, weights)
    assert slope.abs().max() < 1e-6


def test_shares_at_risk_of_tied_events() -> None:
    own, shares = log_at_risk(torch.tensor([1.0, 1.0, 1.0, 0.5]), torch.tensor([True, True, True, False]), "efron")
    assert own.tolist() == [0, 1, 2]
    np.testing.assert_allclose(shares.exp()[:, 0], [1, 2 / 3, 1 / 3], rtol=1e-6)
    assert shares[:, 3].isinf().all()


def test_collinear_columns_without_a_penalty_have_an_answer() -> None:
    table = cohort(80)
    one = torch.from_numpy(((table[NAMES] - table[NAMES].mean()) / table[NAMES].std()).to_numpy())
    time, event = torch.from_numpy(table["time_days"].to_numpy()), torch.from_numpy(table["event"].to_numpy() == 1)
    settings: Any = {"ties": "efron", "l2": 0.0, "steps": 30, "notify": lambda step, state: None}
    alone = fit_linear(one, time, event, **settings)
    twice = fit_linear(torch.hstack([one, one]), time, event, **settings)
    torch.testing.assert_close(twice, torch.cat([alone, alone]) / 2, rtol=0, atol=1e-6)


def test_survival_is_that_of_lifelines(tmp_path: Path) -> None:
    table = cohort(ties=False)
    cases = prepared(tmp_path, table)
    found = trained(cases, COX, everybody(cases)).predict(cases, np.arange(20))
    fitter = CoxPHFitter().fit(table, "time_days", "event", fit_options=EXACT)
    expected = fitter.predict_survival_function(table[NAMES].iloc[:20], times=[180, 365, 730]).T
    np.testing.assert_allclose(np.stack(found["survival"].tolist()), expected, atol=1e-5)
    log_risk = np.log(fitter.predict_partial_hazard(table[NAMES].iloc[:20]))
    np.testing.assert_allclose(found["score"], log_risk, atol=1e-5)
    assert found["survival_days"].iloc[3].tolist() == [180, 365, 730]


def test_baseline_by_hand() -> None:
    """Risks 1, 2, 3; deaths on days 1 (of 2 + 1 + 3) and 3 (of 3)."""
    baseline = Baseline.learn(np.log([1.0, 2.0, 3.0]), np.array([2.0, 1.0, 3.0]), np.array([False, True, True]))
    found = baseline.survival(np.log([1.0, 2.0]), np.array([0.5, 1.0, 3.0, 3.5]))
    np.testing.assert_allclose(found[0, :3], np.exp([0, -1 / 6, -1 / 6 - 1 / 3]))
    np.testing.assert_allclose(found[1], found[0] ** 2)
    assert np.isnan(found[:, 3]).all()  # nobody was under observation so long


@pytest.mark.parametrize("model", [COX, MLP], ids=["cox", "cox_mlp"])
def test_risk_groups_are_thirds_of_the_training_part(tmp_path: Path, model: dict[str, Any]) -> None:
    cases = prepared(tmp_path, cohort(150))
    fold = cases.folds()[-1]
    learner = trained(cases, model)
    train = learner.predict(cases, fold.train)
    assert train["score"].mean() == pytest.approx(0, abs=1e-12)
    assert np.ptp(np.bincount(train["risk_group"])[1:]) <= 1
    test = learner.predict(cases, fold.test)
    assert (np.diff(test.sort_values("score")["risk_group"]) >= 0).all()


@pytest.mark.parametrize("model", [COX, MLP], ids=["cox", "cox_mlp"])
def test_a_learner_comes_back_from_its_folder(tmp_path: Path, model: dict[str, Any]) -> None:
    cases = prepared(tmp_path / "cases", cohort(120))
    learner = trained(cases, model, learning_rate=0.01)
    rows = cases.folds()[-1].test
    learner.save(tmp_path / "model")
    again = task("tabular").load(tmp_path / "model").predict(cases, rows)
    for name, values in learner.predict(cases, rows).items():
        for one, two in zip(values, again[name], strict=True):
            assert np.array_equal(one, two, equal_nan=True)
    other = trained(cases, model, learning_rate=0.01).predict(cases, rows)
    assert other["score"].tolist() == again["score"].tolist()


def test_the_perceptron_learns_what_a_line_cannot(tmp_path: Path) -> None:
    """The hazard is high for the youngest and the oldest."""
    rng = np.random.default_rng(7)
    table = cohort(400)
    hazard = np.exp(((table["age"] - 60) / 10) ** 2) / 2000
    death, end = rng.exponential(1 / hazard), rng.uniform(100, 1500, 400)
    table = table.assign(time_days=np.minimum(death, end), event=(death <= end).astype(int))
    cases = prepared(tmp_path, table)
    rows = cases.folds()[-1].test
    outcomes = Outcomes(table["time_days"].iloc[rows], table["event"].iloc[rows])
    line, bent = (
        float(
            outcomes.concordance(trained(cases, model, epochs=60, learning_rate=0.03).predict(cases, rows)["score"])[0]
        )
        for model in (COX, MLP)
    )
    assert line < 0.65
    assert bent > 0.7


def test_validation_chooses_the_best_weights_of_the_perceptron(tmp_path: Path) -> None:
    cases = prepared(tmp_path, cohort(150))
    fold = cases.folds()[-1]
    chosen = recipe(MLP, epochs=30, learning_rate=0.05, patience=5)
    learner: Any = task("tabular").learner(cases, chosen, {})
    history = fit(learner, cases, fold, chosen.train, lambda name, fields: None)
    best = max(event["validation"]["score"] for event in history)
    assert learner.score(cases, fold.validation)["score"] == pytest.approx(best, abs=1e-6)


def test_random_outcomes_cannot_be_learned(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    found = []
    for number in range(12):
        table = cohort(150, seed=number)
        dealt = table[["time_days", "event"]].to_numpy()[rng.permutation(150)]
        table[["time_days", "event"]] = dealt
        cases = prepared(tmp_path / str(number), table)
        rows = cases.folds()[-1].test
        outcomes = Outcomes(dealt[rows, 0], dealt[rows, 1])
        found.append(outcomes.concordance(trained(cases, COX).predict(cases, rows)["score"])[0])
    assert np.mean(found) == pytest.approx(0.5, abs=0.08)


def test_no_event_to_learn_from_is_refused(tmp_path: Path) -> None:
    cases = prepared(tmp_path, cohort(60).assign(event=0))
    with pytest.raises(DataError, match="is 'died': there is nothing to learn"):
        trained(cases, COX)


def test_a_model_of_another_target_is_refused(tmp_path: Path) -> None:
    cases = prepared(tmp_path, cohort(60))
    with pytest.raises(ConfigError, match="does not answer for the target time_to_event"):
        task("tabular").learner(cases, recipe({"network": "mlp"}), {})
    binary = dataclasses.replace(cases, facts={**cases.facts, "target": "binary"})
    with pytest.raises(ConfigError, match=r"cox, cox_mlp are for a card with table\.time"):
        task("tabular").learner(binary, recipe(COX), {})


def test_truth_is_time_and_event(tmp_path: Path) -> None:
    table = cohort(30)
    found = task("tabular").truth(prepared(tmp_path, table), np.array([4, 2]))
    assert found["time_days"].tolist() == table["time_days"].iloc[[4, 2]].tolist()
    assert found["event"].tolist() == table["event"].iloc[[4, 2]].tolist()
