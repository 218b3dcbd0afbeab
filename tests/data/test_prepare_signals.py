"""From WFDB records to prepared cases: windows, truth, rhythm, splits, and what is noticed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb

from ai4diag.config.card import load_card
from ai4diag.config.timeseries import TimeseriesRecipe
from ai4diag.data.check_signals import plateaus
from ai4diag.data.prepare_signals import prepare_signals
from ai4diag.data.prepared import Prepared
from ai4diag.data.signal_cases import Cutting
from ai4diag.errors import Ai4diagError, ConfigError, DataError
from tests.data.helpers import write_card
from tests.data.signal_helpers import (
    CLASSES,
    PATIENTS,
    RATE,
    beat_card,
    beat_recipe,
    drawn,
    toy_beats,
    toy_ptb_xl,
    write_beats,
    write_record,
)


def prepared(raw, card, recipe, folder: Path, **hooks) -> Prepared:
    prepare_signals(raw, card, recipe, folder, **hooks)
    return Prepared.open(folder)


@pytest.fixture(scope="module")
def beats(tmp_path_factory) -> tuple[Path, Prepared]:
    folder = tmp_path_factory.mktemp("beats")
    raw, card = toy_beats(folder)
    return raw, prepared(raw, card, beat_recipe(), folder / "out")


def test_a_window_is_the_slice_of_the_record_around_its_beat(beats) -> None:
    raw, found = beats
    assert found.signals.shape[1:] == (1, 150)
    for row in (0, 5, len(found.index) - 1):
        line = found.index.iloc[row]
        signal, _ = wfdb.rdsamp(str(raw / line["record"]))
        start = round(line["time_s"] * RATE) - 50
        np.testing.assert_allclose(found.signals[row, 0], signal[start : start + 150, 0], atol=1e-6)


def test_truth_patient_lead_and_rhythm_come_from_the_annotations(beats) -> None:
    raw, found = beats
    assert set(found.index["patient_id"]) == set(PATIENTS)
    assert set(found.index["lead"]) == {"MLII"}
    for record, lines in found.index.groupby("record"):
        expected = wfdb.rdann(str(raw / str(record)), "atr")
        at = pd.Series(expected.symbol, index=np.round(expected.sample / RATE, 6))
        times = lines["time_s"].round(6)
        assert (at[times].to_numpy() == "V").tolist() == (lines["truth"] == 1).tolist()
        before = np.diff(expected.sample, prepend=np.nan) / RATE
        rows = np.searchsorted(expected.sample / RATE, lines["time_s"] - 1e-9)
        ratio = found.features[lines.index, 0] / before[rows]
        middle = slice(6, -6)  # beats with ten intervals around them
        mean = pd.Series(before).rolling(10).mean().shift(-5).to_numpy()
        np.testing.assert_allclose(ratio[middle], 1 / mean[rows][middle], rtol=1e-6)
    assert found.facts["features"][0]["name"] == "rr_before"


def test_no_patient_is_in_two_parts(beats) -> None:
    _, found = beats
    assert found.split.groupby("patient_id")["part"].nunique().max() == 1
    assert set(found.split["part"]) == {"train", "validation", "test"}
    assert found.target == "binary"
    np.testing.assert_allclose(
        found.scales[:1], np.median(np.std(found.signals[found.index["record"] == "p1"], axis=2)), rtol=1e-5
    )


def test_another_rate_keeps_the_beat_at_its_place(tmp_path: Path) -> None:
    raw, card = toy_beats(tmp_path, 30)
    found = prepared(raw, card, beat_recipe(data={"sample_rate_hz": 125}), tmp_path / "out")
    assert (found.signals.shape[2], found.facts["sample_rate_hz"]) == (75, 125)
    normal = found.index["truth"].to_numpy() == 0
    assert np.abs(found.signals[normal, 0].argmax(axis=1) - 25).max() <= 1


def test_a_window_is_compared_with_the_median_window_of_its_own_record(beats, tmp_path: Path) -> None:
    raw, plain = beats
    window = {"around": "beat", "before_s": 0.2, "after_s": 0.4, "compare": True}
    found = prepared(raw, beat_card(tmp_path, raw), beat_recipe(data={"window": window}), tmp_path / "out")
    np.testing.assert_array_equal(found.signals[:, :1], plain.signals)
    np.testing.assert_array_equal(found.scales, np.tile(plain.scales, 2))
    assert found.facts["channels"] == ["MLII", "MLII, difference"]
    assert set(found.index["lead"]) == {"MLII"}
    for record in ("p1", "p4"):
        own = plain.signals[plain.index["record"] == record, 0].astype(np.float64)
        level = own - np.median(own, axis=1)[:, None]
        expected = level - np.median(level, axis=0)
        np.testing.assert_allclose(found.signals[found.index["record"] == record, 1], expected, atol=1e-5)
    strange = np.abs(found.signals[:, 1]).max(axis=1)
    premature = found.index["truth"].to_numpy() == 1
    assert strange[premature].min() > 2 * np.quantile(strange[~premature], 0.9)


def test_windows_of_fixed_length_are_of_the_last_class_in_them(tmp_path: Path) -> None:
    raw, card = toy_beats(tmp_path, 30)
    found = prepared(raw, card, beat_recipe(data={"window": {"length_s": 5, "step_s": 2.5}}), tmp_path / "out")
    for row, line in found.index.iterrows():
        annotation = wfdb.rdann(str(raw / line["record"]), "atr")
        at = annotation.sample / RATE
        inside = (at >= line["time_s"]) & (at < line["time_s"] + 5)
        assert line["truth"] == int("V" in np.array(annotation.symbol)[inside]), row
    assert "features" not in found.facts
    assert len(found.index) == 6 * 11


def test_what_is_wrong_with_signals_is_noticed(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for number, name in enumerate(PATIENTS):
        signal, samples, symbols = drawn(number, 60)
        if name == "p1":
            signal[2500:3000] = np.nan
        if name == "p2":
            signal[5000:7500] = 0.25
        if name == "p3":
            signal = np.clip(signal, -0.9, 0.6)
        if name == "p4":
            keep = (samples < 4000) | (samples > 6000)
            samples, symbols = samples[keep], [one for one, kept in zip(symbols, keep, strict=True) if kept]
        if name == "p5":
            samples[0] = 20
        if name == "p6":
            symbols = ["/"] * len(symbols)
        write_record(raw, name, signal)
        write_beats(raw, name, samples, symbols)
    found = prepared(raw, beat_card(tmp_path, raw, other_beats=["/"]), beat_recipe(), tmp_path / "out")
    said = {item.code: item.found for item in found.findings}
    assert said.keys() >= {"missing-samples", "flat-line", "saturated", "window-outside", "beat-gap", "no-class-beat"}
    assert "p6 (1)" in said["no-class-beat"]
    assert "too-short" not in said
    for code, record in [("missing-samples", "p1"), ("flat-line", "p2"), ("saturated", "p3"), ("beat-gap", "p4")]:
        assert record in said[code]
    assert "p5 (1)" in said["window-outside"]
    assert not np.isnan(found.signals).any()
    times = found.index.loc[found.index["record"] == "p1", "time_s"]
    assert not ((times > 10 - 0.4) & (times < 12 + 0.2)).any()
    assert ((times > 8) & (times < 10 - 0.4)).any()


@pytest.mark.parametrize(
    ("symbols", "words"),
    [
        ({"other": ["N"], "pvc": ["A"]}, "symbol 'V' at"),
        ({"other": ["V"], "pvc": ["F"]}, "symbol 'N' at"),
    ],
)
def test_an_unknown_symbol_is_an_error_of_every_record(tmp_path: Path, symbols, words: str) -> None:
    raw, card = toy_beats(tmp_path, 20, symbols=symbols)
    with pytest.raises(DataError, match=words) as caught:
        prepare_signals(raw, card, beat_recipe(), tmp_path / "out")
    assert "6 errors" in str(caught.value)


def test_beats_that_are_no_case_still_count_for_the_rhythm(tmp_path: Path) -> None:
    raw, card = toy_beats(tmp_path, 30)
    every = prepared(raw, card, beat_recipe(), tmp_path / "every")
    raw2 = tmp_path / "other" / "raw"
    for number, name in enumerate(PATIENTS):
        signal, samples, symbols = drawn(number, 30)
        marked = ["/" if at % 5 == 2 else symbol for at, symbol in enumerate(symbols)]
        write_record(raw2, name, signal)
        write_beats(raw2, name, samples, marked)
    fewer = prepared(
        raw2, beat_card(tmp_path / "other", raw2, other_beats=["/"]), beat_recipe(), tmp_path / "other" / "out"
    )
    both = every.index.reset_index().merge(fewer.index.reset_index(), on=["record", "time_s"])
    assert len(both) == len(fewer.index) < len(every.index)
    np.testing.assert_array_equal(every.features[both["index_x"]], fewer.features[both["index_y"]])


def test_records_of_one_patient_stay_together(tmp_path: Path) -> None:
    raw, card = toy_beats(tmp_path, 20, same_patient={"p2": "p1", "p4": "p3"})
    found = prepared(raw, card, beat_recipe(), tmp_path / "out")
    assert set(found.index["patient_id"]) == {"p1", "p3", "p5", "p6"}
    assert found.split.groupby("patient_id")["part"].nunique().max() == 1


def test_one_recording_under_two_names_stays_together(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for number, name in enumerate(PATIENTS):
        signal, samples, symbols = drawn(0 if name == "p6" else number, 20)
        write_record(raw, name, signal)
        write_beats(raw, name, samples, symbols)
    found = prepared(raw, beat_card(tmp_path, raw), beat_recipe(), tmp_path / "out")
    assert "duplicate-content" in {item.code for item in found.findings}
    parts = found.split.assign(record=found.index["record"]).groupby("record")["part"].first()
    assert parts["p1"] == parts["p6"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"window": {"around": "beat", "before_s": 40, "after_s": 40}}, "no case"),
        ({"window": {"length_s": 40}}, "no case"),
    ],
)
def test_records_shorter_than_a_window_have_no_case(tmp_path: Path, data, words: str) -> None:
    raw, card = toy_beats(tmp_path, 20)
    with pytest.raises(DataError, match=words):
        prepare_signals(raw, card, beat_recipe(data=data), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_the_unit_of_the_card_holds(tmp_path: Path) -> None:
    raw, card = toy_beats(tmp_path, 20, unit="uV")
    found = prepared(raw, card, beat_recipe(), tmp_path / "out")
    assert 500 < found.signals.max() < 2000
    raw, card = toy_beats(tmp_path / "b", 20, unit="mmHg")
    with pytest.raises(DataError, match="found the unit mV; expected mmHg"):
        prepare_signals(raw, card, beat_recipe(), tmp_path / "out2")


def test_windows_must_suit_the_card(tmp_path: Path) -> None:
    raw, card = toy_beats(tmp_path, 20)
    with pytest.raises(ConfigError, match=r"data\.window must be given"):
        prepare_signals(raw, card, beat_recipe(data={"window": None}), tmp_path / "out")
    for window in ({}, {"around": "beat"}, {"length_s": 2, "before_s": 1}, {"around": "beat", "length_s": 1}):
        with pytest.raises(ValueError, match="window"):
            beat_recipe(data={"window": window})


def test_preprocess_gets_samples_and_rate(tmp_path: Path) -> None:
    raw, card = toy_beats(tmp_path, 20)

    def upside_down(samples: np.ndarray, rate_hz: float) -> np.ndarray:
        assert (samples.shape, rate_hz) == ((1, 150), 250)
        return -samples

    plain = prepared(raw, card, beat_recipe(), tmp_path / "plain")
    turned = prepared(raw, card, beat_recipe(), tmp_path / "turned", preprocess=upside_down)
    np.testing.assert_array_equal(turned.signals, -plain.signals)
    with pytest.raises(DataError, match=r"preprocess returned float32 \(1, 75\)"):
        prepare_signals(raw, card, beat_recipe(), tmp_path / "bad", preprocess=lambda samples, rate: samples[:, ::2])


def ptb_xl(folder: Path, **labels) -> tuple[Path, object]:
    raw = folder / "raw"
    toy_ptb_xl(raw)
    return raw, write_card(
        folder / "cards",
        raw,
        task="timeseries",
        classes=list(CLASSES),
        case={"column": "ecg_id"},
        patient={"column": "patient_id", "pattern": r"(\d+)(?:\.0)?"},
        signals={
            "table": {
                "path": "ptbxl_database.csv",
                "columns": {100: "filename_lr", 500: "filename_hr"},
                "attributes": [
                    {"column": "sex", "levels": {"male": 0, "female": 1}},
                    {"column": "age", "bands": [50, 70]},
                ],
            },
            "channels": ["I", "II", "V1", "V5", "III"],
            "labels": {
                "column": "scp_codes",
                "groups": {"path": "scp_statements.csv", "column": "diagnostic_class"},
                "multilabel": True,
                "leave_out_unlabelled": True,
                **labels,
            },
        },
        official_split={
            "source": "strat_fold",
            "folds": {"path": "ptbxl_database.csv", "case": "ecg_id", "column": "strat_fold", "test": [10],
                      "validation": [9]},
        },
    )  # fmt: skip


def record_recipe(**data) -> TimeseriesRecipe:
    return TimeseriesRecipe.model_validate(
        {
            "task": "timeseries",
            "data": {"dataset": "toy", "split": {"test": "official"}, **data},
            "model": {"network": "resnet1d", "width": 4, "stages": 2, "blocks": 1},
            "train": {"epochs": 2},
            "evaluate": {"primary": "auroc_macro"},
        }
    )


def test_the_layout_of_ptb_xl_with_its_folds_and_superclasses(tmp_path: Path) -> None:
    raw, card = ptb_xl(tmp_path)
    found = prepared(raw, card, record_recipe(), tmp_path / "out")
    table = pd.read_csv(raw / "ptbxl_database.csv")
    assert found.target == "multilabel"
    assert found.signals.shape == (39, 5, 1000)
    assert found.facts["channels"] == ["I", "II", "V1", "V5", "III"]
    signal, _ = wfdb.rdsamp(str(raw / table["filename_lr"][5]), channel_names=["I", "II", "V1", "V5", "III"])
    np.testing.assert_allclose(found.signals[4], signal.T, atol=1e-6)
    groups = pd.read_csv(raw / "scp_statements.csv", index_col=0)["diagnostic_class"]
    for line in found.index.itertuples():
        codes = json.loads(table.set_index("ecg_id")["scp_codes"][int(line.case_id)].replace("'", '"'))
        expected = {groups[code] for code in codes} & set(CLASSES)
        assert {name for name in CLASSES if getattr(line, f"truth_{name}")} == expected
    fold = table.set_index("ecg_id")["strat_fold"]
    for line in found.split.itertuples():
        assert line.part == {9: "validation", 10: "test"}.get(fold[int(line.case_id)], "train")
    assert found.split.groupby("patient_id")["part"].nunique().max() == 1
    assert set(found.index["age"]) == {"under 50", "50 to under 70", "70 and over"}
    assert set(found.index["sex"]) == {"male", "female"}
    assert "1 of 40 records are of no class" in str([item.found for item in found.findings])


def test_plateaus_are_counted_at_the_extremes_only() -> None:
    signal = np.sin(np.arange(3000) / 30).astype(np.float32)
    assert plateaus(signal, 100) == 0
    assert plateaus(np.clip(signal, -2, 0.5), 100) == 16
    assert plateaus(np.clip(signal, -0.5, 0.5), 100) == 32
    assert plateaus(np.zeros(100, np.float32), 100) == 0
    assert plateaus(np.full(100, np.nan, np.float32), 100) == 0


def test_the_cutting_survives_json() -> None:
    recipe = beat_recipe()
    cutting = Cutting(
        ("MLII", 1), "mV", 180.0, recipe.data.window, "atr", {"a": ("N",), "b": ("V", "F")}, ("/",), ("+",)
    )
    assert Cutting.from_dict(json.loads(json.dumps(cutting.as_dict()))) == cutting


def test_a_contrast_beside_an_official_split_divides_by_case(tmp_path: Path) -> None:
    raw, _ = toy_beats(tmp_path, 30)
    (raw / "split.csv").write_text(
        "case_id,part\n" + "".join(f"p{n},{'test' if n > 4 else 'train'}\n" for n in range(1, 7))
    )
    card = beat_card(tmp_path, raw)
    values = json.loads((tmp_path / "cards" / "toy.yaml").read_text())
    values["official_split"] = {"source": "toy", "table": "split.csv"}
    (tmp_path / "cards" / "toy.yaml").write_text(json.dumps(values))
    card = load_card(tmp_path / "cards" / "toy.yaml")
    recipe = beat_recipe(data={"split": {"test": "official", "validation": 0.25, "contrast": "case_id"}})
    found = prepared(raw, card, recipe, tmp_path / "out")
    wrong, right = found.folds()
    patient = found.index["patient_id"].to_numpy()
    assert (wrong.contrast, right.contrast) == (True, False)
    assert set(patient[right.test]) == {"p5", "p6"}
    assert set(patient[wrong.test]) == set(patient[wrong.train]) == set(PATIENTS)
    assert abs(len(wrong.test) - len(right.test)) <= 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"records": [], "table": None}, "either records or table"),
        ({"symbols": {}}, "either symbols or labels"),
        ({"annotation": None}, "give annotation"),
        ({"symbols": {"other": ["N", "V"], "pvc": ["V"]}}, "symbol 'V' is given twice"),
        ({"symbols": {"pvc": ["V"], "other": ["N"]}}, "classes in order"),
        ({"channels": [0, 0]}, "given twice"),
        ({"records": ["../p1"]}, "stays inside"),
    ],
)
def test_a_card_that_cannot_be_is_refused(tmp_path: Path, change, words: str) -> None:
    with pytest.raises(Ai4diagError, match=words):
        toy_beats(tmp_path, 3, **change)
