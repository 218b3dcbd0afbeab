"""A trained model asked about new WFDB records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb

from ai4diag.data.prepare_signals import prepare_signals
from ai4diag.data.prepared import Prepared
from ai4diag.data.readers.wfdb_records import read_record
from ai4diag.errors import DataError
from ai4diag.tasks import task
from ai4diag.tasks.timeseries.answers import detect_beats
from ai4diag.training.loop import fit
from tests.data.signal_helpers import RATE, beat_recipe, drawn, toy_beats, write_beats, write_leads, write_record
from tests.data.test_prepare_signals import ptb_xl, record_recipe

KNOWS = task("timeseries")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    raw, card = toy_beats(folder)
    recipe = beat_recipe(data={"sample_rate_hz": 125})
    prepare_signals(raw, card, recipe, folder / "out")
    prepared = Prepared.open(folder / "out")
    learner = KNOWS.learner(prepared, recipe, {})
    (fold,) = prepared.folds()
    fit(learner, prepared, fold, recipe.train, lambda name, fields: None)
    learner.save(folder / "saved")
    return raw, prepared, KNOWS.load(folder / "saved")


def test_a_known_record_gives_the_cases_and_scores_that_it_gave_in_training(model, tmp_path: Path) -> None:
    raw, prepared, learner = model
    new = KNOWS.gather([raw / "p2.hea"], learner, tmp_path / "new")
    rows = np.flatnonzero(prepared.index["record"] == "p2")
    np.testing.assert_array_equal(new.signals, prepared.signals[rows])
    np.testing.assert_array_equal(new.features, prepared.features[rows])
    np.testing.assert_array_equal(new.scales, prepared.scales[rows])
    assert new.index["case_id"].tolist() == prepared.index["case_id"].iloc[rows].tolist()
    assert len(new.split) == 0
    scores = learner.predict(new, np.arange(len(new.index)))
    np.testing.assert_array_equal(scores, learner.predict(prepared, rows))
    (path,) = KNOWS.deliver(scores, new, tmp_path)
    table = pd.read_csv(path)
    assert list(table) == ["case_id", "record", "time_s", "lead", "beats_from", "score"]
    assert set(table["beats_from"]) == {"annotations .atr"}
    np.testing.assert_allclose(table["score"], scores["score"], rtol=1e-5)
    annotation = wfdb.rdann(str(raw / "p2"), "atr")
    np.testing.assert_allclose(table["time_s"], annotation.sample[: len(table)] / RATE, atol=1e-3)


def test_without_annotations_beats_are_found_and_premature_ones_told(model, tmp_path: Path) -> None:
    _, _, learner = model
    signal, samples, symbols = drawn(9, 60)
    write_record(tmp_path / "raw", "new", signal)
    new = KNOWS.gather([tmp_path / "raw"], learner, tmp_path / "out")
    assert set(new.index["beats_from"]) == {"detector xqrs"}
    near = np.abs(new.index["time_s"].to_numpy()[:, None] - samples / RATE)
    assert (near.min(axis=1) < 0.1).mean() > 0.95
    score = learner.predict(new, np.arange(len(new.index)))["score"].to_numpy()
    early = np.array(symbols)[near.argmin(axis=1)] == "V"
    assert score[early].mean() > score[~early].mean() + 0.3


def test_symbols_of_any_beat_are_cases_in_new_records(model, tmp_path: Path) -> None:
    _, _, learner = model
    signal, samples, symbols = drawn(8, 30)
    marked = ["L", "+", *symbols[2:]]
    write_record(tmp_path / "raw", "new", signal, lead="V5")
    write_beats(tmp_path / "raw", "new", samples, marked, ending="qrs")
    new = KNOWS.gather([tmp_path / "raw" / "new.dat", tmp_path / "raw" / "new.hea"], learner, tmp_path / "out")
    assert len(new.index) == len(samples) - 1
    assert set(new.index["beats_from"]) == {"annotations .qrs"}
    assert set(new.index["lead"]) == {"V5"}


def test_what_cannot_be_answered_is_named(model, tmp_path: Path) -> None:
    _, _, learner = model
    write_record(tmp_path / "flat", "flat", np.zeros(5000))
    with pytest.raises(DataError, match="flat has no beats"):
        KNOWS.gather([tmp_path / "flat"], learner, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no WFDB records"):
        KNOWS.gather([tmp_path / "empty"], learner, tmp_path / "out")
    with pytest.raises(DataError, match=r"other\.hea: found no such file"):
        KNOWS.gather([tmp_path / "other.hea"], learner, tmp_path / "out")


def test_two_records_of_one_name_are_refused(model, tmp_path: Path) -> None:
    raw, _, learner = model
    write_record(tmp_path / "other", "p2", drawn(2, 30)[0])
    with pytest.raises(DataError, match="Two records are called 'p2'"):
        KNOWS.gather([raw / "p2.hea", tmp_path / "other"], learner, tmp_path / "out")


def test_a_model_of_changed_samples_refuses_new_records(tmp_path: Path) -> None:
    raw, card = toy_beats(tmp_path, 30)
    prepare_signals(raw, card, beat_recipe(), tmp_path / "prepared", preprocess=lambda samples, rate_hz: -samples)
    learner = KNOWS.learner(Prepared.open(tmp_path / "prepared"), beat_recipe(), {})
    learner.save(tmp_path / "saved")
    with pytest.raises(DataError, match="changes samples in `preprocess`"):
        KNOWS.gather([raw / "p2.hea"], KNOWS.load(tmp_path / "saved"), tmp_path / "out")


def test_whole_records_must_have_the_length_that_was_learned_from(tmp_path: Path) -> None:
    raw, card = ptb_xl(tmp_path)
    prepare_signals(raw, card, record_recipe(), tmp_path / "out")
    prepared = Prepared.open(tmp_path / "out")
    learner = KNOWS.learner(prepared, record_recipe(), {})
    leads = ["V1", "I", "II", "III", "V5", "V6"]
    write_leads(tmp_path / "new", "ten", np.random.default_rng(0).normal(size=(5000, 6)), leads, rate=500)
    write_leads(tmp_path / "new", "nine", np.random.default_rng(0).normal(size=(4500, 6)), leads, rate=500)
    new = KNOWS.gather([tmp_path / "new" / "ten.hea"], learner, tmp_path / "one")
    assert new.signals.shape == (1, 5, 1000)
    assert new.facts["channels"] == ["I", "II", "V1", "V5", "III"]
    scores = learner.predict(new, np.array([0]))
    (path,) = KNOWS.deliver(scores, new, tmp_path)
    assert list(pd.read_csv(path)) == ["case_id", "record", *(f"score_{name}" for name in prepared.classes)]
    with pytest.raises(DataError, match="nine has 900 samples at 100 Hz; the model answers about 1000"):
        KNOWS.gather([tmp_path / "new" / "nine.hea"], learner, tmp_path / "two")


def test_the_detector_finds_every_beat_of_a_drawn_record(tmp_path: Path) -> None:
    signal, samples, _ = drawn(2, 60)
    write_record(tmp_path, "r1", signal)
    found = detect_beats(read_record(tmp_path / "r1"))
    assert np.abs(samples[1:-1, None] - found).min(axis=1).max() <= 0.15 * RATE
    assert len(detect_beats(read_record(tmp_path / "r1", channels=[0]))) == len(found)
