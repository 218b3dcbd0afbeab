"""The tabular learners: against scikit-learn, and what they promise about rows, seeds, files and gaps."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from ai4diag.config.base import parse
from ai4diag.config.tabular import TabularRecipe
from ai4diag.data.prepared import Fold, Prepared
from ai4diag.errors import ConfigError, DataError
from ai4diag.tasks import task
from ai4diag.tasks.base import Learner
from ai4diag.training.loop import fit

from .cases import single_split, table, toy, write

MODELS: dict[str, dict[str, Any]] = {
    "logistic_regression": {"network": "logistic_regression"},
    "mlp": {"network": "mlp", "hidden": [16, 8]},
    "gradient_boosting": {"network": "gradient_boosting", "leaves": 4},
}
TRAIN = {"epochs": 25, "batch_size": 64, "learning_rate": 0.03, "weight_decay": 0}


def recipe(network: str, model: dict[str, Any] | None = None, **train: Any) -> TabularRecipe:
    values = {
        "task": "tabular",
        "data": {"dataset": "toy_clinic"},
        "model": {**MODELS[network], **(model or {})},
        "train": {**TRAIN, **train},
        "evaluate": {"primary": "auroc", "operating_point": {"threshold": 0.5}},
    }
    return parse(TabularRecipe, values, "toy")


def trained(prepared: Prepared, fold: Fold, chosen: TabularRecipe) -> Learner:
    learner = task("tabular").learner(prepared, chosen, {})
    fit(learner, prepared, fold, chosen.train, lambda name, fields: None)
    return learner


def scores(learner: Learner, prepared: Prepared, rows: np.ndarray) -> np.ndarray:
    return learner.predict(prepared, rows)["score"].to_numpy()


@pytest.fixture(params=MODELS)
def network(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_importing_the_task_imports_no_model() -> None:
    code = "import sys, ai4diag.tasks.tabular; print({'torch', 'lightgbm', 'mlflow', 'monai'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_learns_something(network: str, tmp_path: Path) -> None:
    prepared, fold = toy(tmp_path)
    learner = trained(prepared, fold, recipe(network, patience=5))
    truth = prepared.index["truth"].to_numpy()[fold.test]
    assert roc_auc_score(truth, scores(learner, prepared, fold.test)) > 0.8


@pytest.mark.parametrize("l2", [0.3, 1.0, 30.0])
def test_logistic_regression_is_scikit_learns(l2: float, tmp_path: Path) -> None:
    prepared, fold = toy(tmp_path)
    chosen = recipe("logistic_regression", {"l2": l2}, epochs=800, batch_size=1000, learning_rate=0.05)
    learner = trained(prepared, fold, chosen)
    columns = learner.encoding.transform(prepared.features)
    truth = prepared.index["truth"].to_numpy()
    reference = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=10_000).fit(columns[fold.train], truth[fold.train])
    weights = learner.network.state_dict()
    np.testing.assert_allclose(weights["0.weight"].numpy(), reference.coef_, atol=5e-3)
    np.testing.assert_allclose(weights["0.bias"].numpy(), reference.intercept_, atol=5e-3)
    expected = reference.predict_proba(columns[fold.test])[:, 1]
    np.testing.assert_allclose(scores(learner, prepared, fold.test), expected, atol=1e-3)


def test_saved_and_loaded_gives_the_same_scores(network: str, tmp_path: Path) -> None:
    prepared, fold = toy(tmp_path / "prepared")
    learner = trained(prepared, fold, recipe(network))
    learner.save(tmp_path / "model")
    everyone = np.arange(len(prepared.index))
    loaded = task("tabular").load(tmp_path / "model")
    np.testing.assert_array_equal(scores(loaded, prepared, everyone), scores(learner, prepared, everyone))
    loaded.save(tmp_path / "again")
    names = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert [path.read_bytes() for path in sorted((tmp_path / "again").iterdir())] == [
        (tmp_path / "model" / name).read_bytes() for name in names
    ]


def test_a_flipped_bit_is_noticed(network: str, tmp_path: Path) -> None:
    prepared, fold = toy(tmp_path / "prepared")
    trained(prepared, fold, recipe(network, epochs=2)).save(tmp_path / "model")
    (weights,) = (path for path in (tmp_path / "model").iterdir() if path.name != "model.json")
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        task("tabular").load(tmp_path / "model")
    weights.unlink()
    with pytest.raises(DataError, match="lacks"):
        task("tabular").load(tmp_path / "model")


def test_equal_seeds_give_equal_models_and_others_do_not(network: str, tmp_path: Path) -> None:
    prepared, fold = toy(tmp_path)
    first, second, other = (
        scores(trained(prepared, fold, recipe(network, epochs=5, seed=seed)), prepared, fold.test) for seed in (7, 7, 8)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_test_cases_change_nothing(network: str, tmp_path: Path) -> None:
    features, _, index = table()
    before = write(tmp_path / "before", features, index, single_split(index))
    fold = before.folds()[0]
    features, index = features.copy(), index.copy()
    features[fold.test] = [99, np.nan, 1e4, 2, np.nan]
    index.loc[fold.test, "truth"] = 1
    after = write(tmp_path / "after", features, index, single_split(index))
    chosen = recipe(network, patience=5)
    seen = np.concatenate([fold.train, fold.validation])
    np.testing.assert_array_equal(
        scores(trained(before, fold, chosen), before, seen), scores(trained(after, fold, chosen), before, seen)
    )


@pytest.mark.parametrize(("only", "absent"), [(0, "diseased"), (1, "healthy")])
def test_a_missing_class_is_explained(network: str, only: int, absent: str, tmp_path: Path) -> None:
    prepared, fold = toy(tmp_path)
    rows = fold.train[prepared.index["truth"].to_numpy()[fold.train] == only]
    with pytest.raises(DataError, match=f"None of the {len(rows)} training cases is '{absent}'"):
        trained(prepared, Fold(0, rows, fold.validation, fold.test), recipe(network))


def test_gaps_and_unseen_levels_have_a_score(network: str, tmp_path: Path) -> None:
    features, _, index = table()
    fold = write(tmp_path / "all", features, index, single_split(index)).folds()[0]
    features[fold.train, 3] = np.where(features[fold.train, 3] == 2, np.nan, features[fold.train, 3])
    features[fold.train, 1] = np.nan
    features[fold.test[:2]] = [[np.nan] * 5, [60, 240, 1, 2, 1]]
    prepared = write(tmp_path / "gaps", features, index, single_split(index))
    found = scores(trained(prepared, fold, recipe(network)), prepared, fold.test)
    assert np.isfinite(found).all()
    assert ((found > 0) & (found < 1)).all()


def test_rows_keep_their_order(network: str, tmp_path: Path) -> None:
    prepared, fold = toy(tmp_path)
    learner = trained(prepared, fold, recipe(network, epochs=3))
    np.testing.assert_allclose(
        scores(learner, prepared, fold.test[::-1]), scores(learner, prepared, fold.test)[::-1], rtol=1e-6
    )
    assert learner.predict(prepared, fold.test[:0]).columns.tolist() == ["score"]
    assert len(learner.predict(prepared, fold.test[:0])) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda facts: facts["features"].pop(), "have 4 features; the model was trained on 5"),
        (lambda facts: facts["features"].reverse(), "'sex' has name 'sex'; the model was trained on 'age'"),
        (lambda facts: facts["features"][1].update(unit="mmol/L"), "unit 'mmol/L'.*with 'mg/dL'"),
        (lambda facts: facts["features"][3]["levels"].reverse(), "'chest_pain' has levels"),
    ],
)
def test_other_features_are_refused(network: str, change: Any, message: str, tmp_path: Path) -> None:
    prepared, fold = toy(tmp_path)
    learner = trained(prepared, fold, recipe(network, epochs=1))
    other = Prepared.open(tmp_path)
    change(other.facts)
    with pytest.raises(DataError, match=message):
        learner.predict(other, fold.test)


def test_a_validation_part_with_one_class_has_no_auroc(network: str, tmp_path: Path) -> None:
    prepared, fold = toy(tmp_path)
    one_class = fold.validation[prepared.index["truth"].to_numpy()[fold.validation] == 1]
    chosen, events = recipe(network, epochs=12, patience=3), []
    learner = task("tabular").learner(prepared, chosen, {})
    fit(
        learner,
        prepared,
        Fold(0, fold.train, one_class, fold.test),
        chosen.train,
        lambda name, fields: events.append((name, fields)),
    )
    figures = [fields["validation"] for name, fields in events if name == "epoch"][-1]
    assert np.isnan(figures["auroc"])
    assert np.isfinite(figures["score"])


def test_validation_figures_are_scikit_learns(network: str, tmp_path: Path) -> None:
    prepared, fold = toy(tmp_path)
    events: list[dict[str, Any]] = []
    chosen = recipe(network, epochs=10)
    learner = task("tabular").learner(prepared, chosen, {})
    fit(learner, prepared, fold, chosen.train, lambda name, fields: events.append(fields) if name == "epoch" else None)
    truth = prepared.index["truth"].to_numpy()[fold.validation]
    score = scores(learner, prepared, fold.validation)
    figures = events[-1]["validation"]
    assert figures["auroc"] == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
    assert figures["log_loss"] == pytest.approx(log_loss(truth, score), abs=1e-9)
    assert figures["score"] == -figures["log_loss"]


def test_trees_keep_the_best_round(tmp_path: Path) -> None:
    prepared, fold = toy(tmp_path)
    chosen = recipe("gradient_boosting", epochs=300, learning_rate=0.3, patience=20)
    events: dict[str, list[dict[str, Any]]] = {"started": [], "epoch": [], "finished": []}
    learner = task("tabular").learner(prepared, chosen, {})
    fit(learner, prepared, fold, chosen.train, lambda name, fields: events[name].append(fields))
    truth = prepared.index["truth"].to_numpy()[fold.validation]
    best, ran = events["finished"][0]["best_epoch"], events["finished"][0]["epochs"]
    assert ran == best + 20
    losses = [
        log_loss(
            truth,
            scores(
                trained(prepared, fold, recipe("gradient_boosting", epochs=n, learning_rate=0.3)),
                prepared,
                fold.validation,
            ),
        )
        for n in (best - 1, best, best + 1)
    ]
    assert losses[1] == min(losses)
    assert log_loss(truth, scores(learner, prepared, fold.validation)) == pytest.approx(losses[1], abs=1e-12)
    assert [fields["epoch"] for fields in events["epoch"]] == [1, *range(10, ran, 10), ran]


def test_trees_without_validation_use_every_round(tmp_path: Path) -> None:
    prepared, fold = toy(tmp_path)
    chosen = recipe("gradient_boosting", epochs=13, parts=["train", "validation"])
    assert trained(prepared, fold, chosen).booster.current_iteration() == 13


def test_initial_weights_leave_other_random_numbers_alone(tmp_path: Path) -> None:
    prepared, fold = toy(tmp_path)
    learner = task("tabular").learner(prepared, recipe("mlp"), {})
    before = torch.get_rng_state()
    learner.place(prepared, fold.train, torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), before)


def test_truth_follows_the_rows(tmp_path: Path) -> None:
    prepared, fold = toy(tmp_path)
    found = task("tabular").truth(prepared, fold.test[::-1])
    assert found.columns.tolist() == ["truth"]
    assert found["truth"].tolist() == [prepared.index["truth"][row] for row in fold.test[::-1]]
    assert found.index.tolist() == list(range(len(fold.test)))


def test_an_unknown_hook_is_named(tmp_path: Path) -> None:
    prepared, _ = toy(tmp_path)
    with pytest.raises(ConfigError, match="Did you mean 'preprocess'"):
        task("tabular").learner(prepared, recipe("mlp"), {"preproces": print})


def test_a_model_of_another_task_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"format": 1, "task": "detection"}')
    with pytest.raises(DataError, match=r"task 'detection'.*expected 'tabular'"):
        task("tabular").load(tmp_path)
