"""Models trained together become what each would have become alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ai4diag.config.base import parse
from ai4diag.config.tabular import TabularRecipe
from ai4diag.data.prepared import Prepared
from ai4diag.errors import TrainingError
from ai4diag.tasks import task
from ai4diag.training.loop import fit
from ai4diag.training.stacked import fit_together
from tests.tasks.tabular.cases import folds, table, write

SETTINGS: dict[str, Any] = {"epochs": 12, "batch_size": 32, "learning_rate": 0.01}


@pytest.fixture
def cases(tmp_path: Path) -> Prepared:
    features, _, index = table(patients=60, visits=1)
    return write(tmp_path, features, index, folds(index))


def recipe(model: dict[str, Any], seed: int, **train: Any) -> TabularRecipe:
    values = {
        "task": "tabular",
        "data": {"dataset": "toy"},
        "model": model,
        "train": {**SETTINGS, **train, "seed": seed},
        "evaluate": {"primary": "auroc", "operating_point": {"threshold": 0.5}},
    }
    return parse(TabularRecipe, values, "toy")


def both(cases: Prepared, model: dict[str, Any], **train: Any) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """Return learners and histories of the trainings together, then of those one after the other."""
    own = [fold for fold in cases.folds() if not fold.contrast][:3]
    pairs = [(recipe(model, seed, **train), fold) for seed in (7, 8) for fold in own]

    def learners() -> list[Any]:
        return [task("tabular").learner(cases, chosen, {}) for chosen, _ in pairs]

    together, alone = learners(), learners()
    heard: list[list[str]] = [[] for _ in pairs]
    notify: list[Any] = [lambda name, fields, own=own: own.append(name) for own in heard]
    histories = fit_together(together, cases, [f for _, f in pairs], [r.train for r, _ in pairs], notify)
    assert histories is not None
    for names, history in zip(heard, histories, strict=True):
        assert names == ["started", *["epoch"] * len(history), "finished"]
    single = [
        fit(learner, cases, fold, chosen.train, lambda name, fields: None)
        for learner, (chosen, fold) in zip(alone, pairs, strict=True)
    ]
    return together, histories, alone, single


@pytest.mark.parametrize(
    ("model", "train"),
    [
        ({"network": "logistic_regression"}, {}),
        ({"network": "mlp", "hidden": [16, 8], "dropout": 0.0}, {}),
        ({"network": "mlp", "hidden": [16, 8], "dropout": 0.3}, {}),
        ({"network": "mlp", "hidden": [8], "dropout": 0.1}, {"ema": 0.9, "gradient_clip": 0.1, "weight_decay": 0.1}),
        ({"network": "mlp", "hidden": [8]}, {"epochs": 40, "learning_rate": 0.05, "patience": 3}),
        ({"network": "mlp", "hidden": [8]}, {"parts": ["train", "validation"], "schedule": "one_cycle"}),
        ({"network": "mlp", "hidden": [8]}, {"validate_every": 5, "warmup_epochs": 2}),
    ],
    ids=["logistic", "mlp", "dropout", "ema-clip", "patience", "all", "rarely"],
)
def test_together_is_one_after_the_other(cases: Prepared, model: dict[str, Any], train: dict[str, Any]) -> None:
    together, histories, alone, single = both(cases, model, **train)
    rows = np.arange(len(cases.index))
    scores = [[learner.predict(cases, rows)["score"].to_numpy() for learner in group] for group in (together, alone)]
    np.testing.assert_allclose(scores[0], scores[1], rtol=0, atol=1e-5)
    assert np.std(scores[0], axis=0).max() > 0.005, "folds and seeds differ"
    for many, one in zip(histories, single, strict=True):
        assert [list(event) for event in many] == [list(event) for event in one]
        assert [event["loss"] for event in many] == pytest.approx([event["loss"] for event in one], abs=1e-5)
        assert [event["learning_rate"] for event in many] == [event["learning_rate"] for event in one]
        for left, right in zip(many, one, strict=True):
            assert left["validation"] == pytest.approx(right["validation"], abs=1e-4)


def test_models_of_different_shapes_are_stacked_apart(cases: Prepared) -> None:
    """A batch size at which the folds have different numbers of steps."""
    together, histories, alone, _ = both(cases, {"network": "mlp", "hidden": [8]}, batch_size=6)
    rows = np.arange(len(cases.index))
    for left, right in zip(together, alone, strict=True):
        np.testing.assert_allclose(left.predict(cases, rows)["score"], right.predict(cases, rows)["score"], atol=1e-5)
    assert len({len(history) for history in histories}) == 1


def test_what_cannot_be_stacked_is_left_to_the_loop(cases: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    fold = cases.folds()[-1]

    def found(models: list[dict[str, Any]], **train: Any) -> Any:
        chosen = [recipe(model, 7, **train) for model in models]
        learners = [task("tabular").learner(cases, one, {}) for one in chosen]
        quiet: Any = [lambda name, fields: None] * len(models)
        return fit_together(learners, cases, [fold] * len(models), [one.train for one in chosen], quiet)

    mlp = {"network": "mlp", "hidden": [8]}
    assert found([mlp]) is None
    assert found([{"network": "gradient_boosting"}] * 2) is None
    assert found([mlp] * 2, accumulate=2) is None
    assert found([{"network": "mlp", "hidden": [400, 400]}] * 2) is None
    assert found([mlp] * 2) is not None
    monkeypatch.setattr("ai4diag.tasks.memory.free_bytes", lambda device: cases.features.nbytes)
    assert found([mlp] * 2) is None


def test_a_loss_that_is_no_number_is_named(cases: Prepared) -> None:
    with pytest.raises(TrainingError, match="seed 7 is nan in epoch"):
        both(cases, {"network": "mlp", "hidden": [8]}, learning_rate=1e30)
