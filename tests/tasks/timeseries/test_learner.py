"""The learner of signals: what it learns, what it cannot learn, what it keeps, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load
from sklearn.metrics import log_loss, roc_auc_score

from ai4diag.config.timeseries import ResNet1d
from ai4diag.data.prepare_signals import prepare_signals
from ai4diag.data.prepared import Prepared
from ai4diag.errors import ConfigError, DataError
from ai4diag.tasks import task
from ai4diag.tasks.timeseries.learner import _log_ratios
from ai4diag.tasks.timeseries.network import SignalNetwork
from ai4diag.training.loop import fit
from tests.data.signal_helpers import beat_recipe, toy_beats
from tests.data.test_prepare_signals import ptb_xl, record_recipe

KNOWS = task("timeseries")


def silent(name: str, fields: dict) -> None:
    """Hear nothing."""


@pytest.fixture(scope="module")
def beats(tmp_path_factory) -> Prepared:
    folder = tmp_path_factory.mktemp("beats")
    raw, card = toy_beats(folder, 90)
    prepare_signals(raw, card, beat_recipe(), folder / "out")
    return Prepared.open(folder / "out")


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> Prepared:
    folder = tmp_path_factory.mktemp("records")
    raw, card = ptb_xl(folder)
    prepare_signals(raw, card, record_recipe(), folder / "out")
    return Prepared.open(folder / "out")


def trained(prepared: Prepared, recipe, rows: str = "train"):
    learner = KNOWS.learner(prepared, recipe, {})
    (fold,) = prepared.folds()
    return learner, fold, fit(learner, prepared, fold, recipe.train, silent)


@pytest.mark.parametrize("normalise", ["record", "window", "channel"])
def test_premature_beats_of_new_patients_are_found(beats: Prepared, normalise: str) -> None:
    recipe = beat_recipe(model={"normalise": normalise}, train={"augment": ["scale", "noise", "shift"]})
    learner, fold, history = trained(beats, recipe)
    truth = beats.index["truth"].to_numpy()[fold.test]
    score = learner.predict(beats, fold.test)["score"].to_numpy()
    assert roc_auc_score(truth, score) > 0.99
    assert history[-1]["loss"] < history[0]["loss"]
    figures = learner.score(beats, fold.test)
    assert figures["auroc"] == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
    assert figures["log_loss"] == pytest.approx(log_loss(truth, score), rel=1e-5)
    assert figures["score"] == -figures["log_loss"]


def test_with_labels_dealt_at_random_nothing_is_learned(beats: Prepared) -> None:
    (fold,) = beats.folds()
    areas = []
    for seed in range(4):
        dealt = np.random.default_rng(seed).permutation(beats.index["truth"].to_numpy())
        other = Prepared(beats.folder, beats.facts, beats.index.assign(truth=dealt), beats.split)
        learner, fold, _ = trained(other, beat_recipe(train={"epochs": 2, "seed": seed}))
        areas.append(roc_auc_score(dealt[fold.test], learner.predict(other, fold.test)["score"]))
    assert abs(np.mean(areas) - 0.5) < 0.08


def test_the_rhythm_is_used_where_the_signal_says_nothing(beats: Prepared, tmp_path: Path) -> None:
    flat = Prepared(beats.folder, beats.facts, beats.index, beats.split)
    object.__setattr__(flat, "signals", np.random.default_rng(0).normal(size=beats.signals.shape).astype(np.float32))
    object.__setattr__(flat, "scales", np.ones_like(beats.scales))
    object.__setattr__(flat, "features", beats.features)
    found = {}
    for rhythm in (True, False):
        learner, fold, _ = trained(flat, beat_recipe(model={"rhythm": rhythm}, train={"epochs": 4}))
        found[rhythm] = learner.score(flat, fold.test)["auroc"]
    assert found[True] > 0.9
    assert found[False] < 0.7


def test_several_findings_of_whole_records(records: Prepared) -> None:
    recipe = record_recipe()
    recipe = recipe.model_copy(
        update={"train": recipe.train.model_copy(update={"epochs": 20, "learning_rate": 0.02, "batch_size": 10})}
    )
    learner, fold, _ = trained(records, recipe)
    table = learner.predict(records, fold.train)
    assert list(table) == [f"score_{name}" for name in records.classes]
    truth = KNOWS.truth(records, fold.train)
    each = [roc_auc_score(truth[f"truth_{name}"], table[f"score_{name}"]) for name in records.classes]
    assert np.mean(each) > 0.9
    assert learner.score(records, fold.train)["auroc"] == pytest.approx(np.mean(each), abs=1e-12)
    assert (table.sum(axis=1) - 1).abs().max() > 0.1


def test_one_of_several_classes(records: Prepared) -> None:
    shows = records.index[[f"truth_{name}" for name in records.classes]].to_numpy()
    index = records.index.assign(truth=shows.argmax(axis=1))
    other = Prepared(records.folder, {**records.facts, "target": "multiclass"}, index, records.split)
    learner, fold, _ = trained(other, record_recipe())
    table = learner.predict(other, fold.test).to_numpy()
    np.testing.assert_allclose(table.sum(axis=1), 1)
    truth = index["truth"].to_numpy()[fold.test]
    expected = log_loss(truth, table, labels=range(5))
    assert learner.score(other, fold.test)["log_loss"] == pytest.approx(expected, rel=1e-5)
    assert list(KNOWS.truth(other, fold.test)) == ["truth"]


def test_a_saved_model_gives_the_same_numbers(beats: Prepared, tmp_path: Path) -> None:
    learner, fold, _ = trained(beats, beat_recipe(train={"epochs": 1}))
    learner.save(tmp_path / "model")
    again = KNOWS.load(tmp_path / "model")
    np.testing.assert_array_equal(learner.predict(beats, fold.test), again.predict(beats, fold.test))
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["model.json", "model.safetensors"]
    assert not any(tensor.is_cuda for tensor in load((tmp_path / "model" / "model.safetensors").read_bytes()).values())


def test_a_record_that_is_one_case_has_no_centre() -> None:
    with pytest.raises(ValidationError, match=r"without data\.window a record is one case"):
        beat_recipe(data={"window": None}, model={"centre": True})


def test_centred_answers_have_the_usual_median_in_every_record(beats: Prepared, tmp_path: Path) -> None:
    plain, fold, _ = trained(beats, beat_recipe(train={"epochs": 1}))
    centred, _, _ = trained(beats, beat_recipe(model={"centre": True}, train={"epochs": 1}))
    everyone = np.arange(len(beats.index))
    logit = {
        name: np.log(score / (1 - score))
        for name, one in (("plain", plain), ("centred", centred))
        for score in [one.predict(beats, everyone)["score"].to_numpy()]
    }
    record = beats.index["record"].to_numpy()
    own = {name: np.median(logit["plain"][record == name]) for name in set(record)}
    expected = np.mean([np.median(logit["plain"][fold.train][record[fold.train] == name]) for name in
                        sorted(set(record[fold.train]))])  # fmt: skip
    for name, median in own.items():
        here = record == name
        np.testing.assert_allclose(logit["centred"][here], logit["plain"][here] - median + expected, atol=0.02)
    centred.save(tmp_path / "model")
    again = KNOWS.load(tmp_path / "model")
    np.testing.assert_array_equal(centred.predict(beats, fold.test), again.predict(beats, fold.test))
    alone = [again.predict(beats, fold.test[[row]])["score"].iloc[0] for row in (0, 7)]
    np.testing.assert_allclose(centred.predict(beats, fold.test)["score"].iloc[[0, 7]], alone, atol=1e-6)


def test_rows_do_not_depend_on_each_other(beats: Prepared) -> None:
    learner, fold, _ = trained(beats, beat_recipe(train={"epochs": 1}))
    together = learner.predict(beats, fold.test)["score"].to_numpy()
    alone = [learner.predict(beats, fold.test[[row]])["score"].iloc[0] for row in (0, 7, 30)]
    np.testing.assert_allclose(together[[0, 7, 30]], alone, atol=1e-6)
    assert len(learner.predict(beats, fold.test[:0])) == 0


def test_cases_that_do_not_fit_in_memory_are_learned_alike(beats: Prepared, monkeypatch) -> None:
    recipe = beat_recipe(train={"epochs": 1, "augment": ["noise"]})
    _, _, held = trained(beats, recipe)
    monkeypatch.setattr("ai4diag.tasks.timeseries.learner.fits", lambda size, device: False)
    _, _, read = trained(beats, recipe)
    assert [event["loss"] for event in held] == pytest.approx([event["loss"] for event in read], rel=1e-5)


def test_other_cases_are_refused(beats: Prepared, records: Prepared) -> None:
    learner = KNOWS.learner(beats, beat_recipe(), {})
    with pytest.raises(DataError, match="The cases have classes"):
        learner.predict(records, np.array([0]))
    for change, words in (({"samples": 99}, "samples 99"), ({"sample_rate_hz": 100}, "sample_rate_hz 100"),
                          ({"unit": "uV"}, "unit uV"), ({"features": []}, "features")):  # fmt: skip
        other = Prepared(beats.folder, {**beats.facts, **change}, beats.index, beats.split)
        with pytest.raises(DataError, match=words):
            learner.predict(other, np.array([0]))


def test_a_class_without_a_training_case_is_refused(beats: Prepared) -> None:
    (fold,) = beats.folds()
    learner = KNOWS.learner(beats, beat_recipe(), {})
    normal = fold.train[beats.index["truth"].to_numpy()[fold.train] == 0]
    with pytest.raises(DataError, match="No training case is of class 'pvc'"):
        learner.place(beats, normal, torch.device("cpu"))


def test_what_a_recipe_cannot_ask_for(beats: Prepared) -> None:
    with pytest.raises(ConfigError, match="signals know no 'flip'"):
        KNOWS.learner(beats, beat_recipe(train={"augment": ["flip"]}), {})
    with pytest.raises(ConfigError, match="signals take names"):
        KNOWS.learner(beats, beat_recipe(train={"augment": {"noise": 0.1}}), {})
    with pytest.raises(ConfigError, match="no hook 'model'"):
        KNOWS.learner(beats, beat_recipe(), {"model": print})
    with pytest.raises(ValueError, match="kernel must be odd"):
        ResNet1d(kernel=4)
    with pytest.raises(ValueError, match="cannot be fixed on it"):
        values = json.loads(beat_recipe().model_dump_json())
        values["train"]["parts"] = ["train", "validation"]
        values["evaluate"]["operating_point"] = {"youden": True}
        type(beat_recipe()).model_validate(values)


@pytest.mark.parametrize("samples", [144, 145, 1000, 17])
def test_the_network_takes_any_length(samples: int) -> None:
    network = SignalNetwork(3, 2, 5, width=4, stages=3, blocks=2, kernel=7, dropout=0.1).eval()
    signals, side = torch.randn(6, 3, samples), torch.randn(6, 2)
    found = network(signals, side)
    assert found.shape == (6, 5)
    torch.testing.assert_close(network(signals[2:3], side[2:3]), found[2:3])


def test_unknown_intervals_count_as_usual_ones() -> None:
    found = _log_ratios(np.array([[np.nan, 1.0], [0.5, 2.0], [1e-9, 1e9]]))
    np.testing.assert_allclose(found, [[0, 0], [-np.log(2), np.log(2)], [-np.log(20), np.log(20)]])
